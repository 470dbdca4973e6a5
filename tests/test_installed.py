"""The wheel, in an environment of its own, beside a lab's own packages of the same names."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("analysis", "bids_config", "interfaces", "pipelines")

NOTEBOOK = """
import analysis, pipelines
assert analysis.MINE and pipelines.MINE
import numpy as np
import conceptrsa as crsa
assert "site-packages" in crsa.__file__, crsa.__file__
rng = np.random.default_rng(0)
names = ["ant", "bee", "cat", "dog", "elk"]
subjects = [
    crsa.SubjectPatterns.from_arrays(label, names, {"V1": rng.normal(size=(4, 5, 12))})
    for label in ("01", "02", "03")
]
models = [crsa.Features("net", "visual", names, rng.normal(size=(5, 6)))]
result = crsa.compare(subjects, models, n_permutations=100, multiverse=False)
assert list(result.scores["model"]) == ["net"]
result.save("out")
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the source distribution, which is built from what git knows of."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    listed = run("git", "ls-files", cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.split("\n"):
        file = ROOT / name
        if not name or not (file.is_symlink() or file.is_file()):
            continue
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.is_symlink():
            copy.symlink_to(file.readlink())
        else:
            copy.write_bytes(file.read_bytes())
    built = run(sys.executable, "-m", "build", "--no-isolation", "-o", out, ".", cwd=source)
    assert built.returncode == 0, built.stderr[-2000:]
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_holds_one_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"conceptrsa"}
    in_wheel = {name for name in names if name.startswith("conceptrsa/")}
    listed = run("git", "ls-files", *PACKAGES, cwd=ROOT).stdout.split()
    expected = {f"conceptrsa/{name}" for name in listed if (ROOT / name).is_file()}
    assert expected <= in_wheel


def test_the_wheel_works_beside_packages_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    environment, lab = tmp_path / "venv", tmp_path / "lab"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    installed = run(*pip, wheel, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    # Dependencies come from where the tests run; an editable install there is not followed.
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    for package in ("analysis", "pipelines", "interfaces", "bids_config"):
        (lab / package).mkdir(parents=True)
        (lab / package / "__init__.py").write_text("MINE = True\n")
    (lab / "notebook.py").write_text(NOTEBOOK)

    api = run(python, "notebook.py", cwd=lab, PYTHONPATH=".")
    assert api.returncode == 0, api.stderr
    assert (lab / "out" / "group" / "report.html").is_file()
    for command in ([environment / "bin" / "conceptrsa"], [python, "-m", "conceptrsa"]):
        said = run(*command, "--version", cwd=lab, PYTHONPATH=".")
        assert (said.returncode, said.stdout.split()[0]) == (0, "conceptrsa"), said.stderr
        listed = run(*command, "models", cwd=lab, PYTHONPATH=".")
        assert listed.returncode == 0 and "CLIP" in listed.stdout, listed.stderr
    wrapper = run(environment / "bin" / "conceptrsa-docker", "--help", cwd=lab, PYTHONPATH=".")
    assert wrapper.returncode == 0 and "--container-engine" in wrapper.stdout, wrapper.stderr
