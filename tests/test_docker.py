"""The recipe of the images, as far as it can be tested without building them (test_image.py)."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
SCRIPTS = ("download.sh", "lock.sh", "spm-octave.sh", "spm-standalone.sh")
VERSION = re.compile(r"\d+\.\d+\.\d+|r\d{4,}|R20\d\d[ab]")

NOT_NEEDED = (
    "bin/freeview.bin",
    "bin/dmri_train",
    "lib/qt/lib/libQt5Core.so.5",
    "models/synthstrip.1.pt",
    "python/lib/python3.8/site-packages/tensorflow/__init__.py",
    "subjects/bert/mri/orig.mgz",
    "subjects/fsaverage5/surf/lh.white",
    "tktools/tkregister2.bin",
    "trctrain/hcp/subject.txt",
)


def _tool(name: str) -> str:
    beside_python = Path(sys.executable).with_name(name)
    found = shutil.which(beside_python) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (pip install '.[dev]')")
    return found


def _run(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command, environment = [str(word) for word in words], {**os.environ, **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def _instructions(keyword: str) -> list[str]:
    """Arguments of every instruction of that name, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return re.findall(rf"^{keyword} (.*)$", joined, flags=re.MULTILINE)


def _environment(stage: str) -> dict[str, str]:
    """Variables that a stage sets itself."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    (text,) = re.findall(rf"^FROM \S+ AS {stage}$(.*?)(?=^FROM|\Z)", joined, re.M | re.S)
    lines = re.findall(r"^ENV (.*)$", text, re.M)
    pairs = re.findall(r'(\w+)=("[^"]*"|\S+)', " ".join(lines))
    return {name: value.strip('"') for name, value in pairs}


def _required() -> list[str]:
    return (DOCKER / "freesurfer-required.txt").read_text().split()


def test_hadolint_finds_nothing() -> None:
    done = _run(_tool("hadolint"), "--config", DOCKER / ".hadolint.yaml", DOCKER / "Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script: str) -> None:
    done = _run(_tool("shellcheck"), DOCKER / script)
    assert done.returncode == 0, done.stdout


def test_everything_downloaded_names_its_version() -> None:
    urls = re.findall(r"https?://\S+", "\n".join(_instructions("ARG")))
    without = [url for url in urls if not VERSION.search(url)]
    # An index of packages, whose versions docker/requirements-networks.txt holds.
    assert without == ["https://download.pytorch.org/whl/cpu"]
    assert "http" not in "\n".join(_instructions("RUN"))


def test_base_image_is_pinned_and_nothing_is_latest() -> None:
    assert re.search(r"^ARG BASE_IMAGE=python:\d+\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    stages = re.findall(r" AS ([\w-]+)$", DOCKERFILE, flags=re.MULTILINE)
    given = {"${BASE_IMAGE}", "${SPM_OCTAVE_IMAGE}"}
    assert {line.split()[0] for line in _instructions("FROM")} <= {*given, *stages}
    assert "latest" not in DOCKERFILE


def _locked(name: str) -> dict[str, str]:
    """Versions of a lock file, in which every package has a hash."""
    blocks = re.split(r"\n(?=\S)", (DOCKER / name).read_text().strip())
    assert all(re.fullmatch(r"\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", b) for b in blocks)
    return dict(block.split()[0].split("==") for block in blocks)


def test_every_dependency_is_held_at_a_version_that_the_project_allows() -> None:
    first, networks = _locked("requirements.txt"), _locked("requirements-networks.txt")
    assert not first.keys() & networks.keys()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    without = [*project["dependencies"], *extras["fast"], *extras["bids"]]
    for names, pins in ((without, first), (extras["networks"], first | networks)):
        for requirement in map(Requirement, names):
            pin = pins.get(canonicalize_name(requirement.name))
            assert pin is not None, f"{requirement.name} is not locked: run docker/lock.sh"
            assert requirement.specifier.contains(pin), f"{requirement} does not allow {pin}"


def test_torch_comes_without_cuda() -> None:
    networks = _locked("requirements-networks.txt")
    assert networks["torch"].endswith("+cpu") and networks["torchvision"].endswith("+cpu")
    assert not [name for name in networks if name.startswith(("nvidia", "cuda", "triton"))]


def test_image_and_label_carry_the_version_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    labels = re.findall(r'org\.opencontainers\.image\.version="(.*)"', DOCKERFILE)
    assert labels == [version]


def test_entry_point_is_a_bids_app() -> None:
    assert _instructions("ENTRYPOINT") == ['["conceptrsa", "run"]'] * 3
    environment = _environment("spm-system")
    assert environment["CONCEPTRSA_ENGINE"] == "spm"
    assert environment["CONCEPTRSA_NORMALIZATION"] == "freesurfer"


def test_nipype_finds_standalone_spm() -> None:
    environment = _environment("spm-system")
    assert environment["FORCE_SPMMCR"] == "1"
    program, runtime, mode = environment["SPMMCRCMD"].split()
    assert f"docker/spm-standalone.sh {program}" in DOCKERFILE
    assert (runtime, mode) == ("${MCR}", "script")
    assert "LD_LIBRARY_PATH" not in environment


def test_no_licence_enters_the_image() -> None:
    assert not any("license" in line.lower() for line in _instructions("(?:COPY|ADD)"))
    patterns = (ROOT / ".dockerignore").read_text().split("\n")
    assert not any(fnmatch.fnmatch("license.txt", p.lstrip("!")) for p in patterns if p[:1] == "!")


def test_build_context_holds_what_the_build_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    metadata = {project["project"]["readme"], *project["project"]["license-files"]}
    assert {pattern.rstrip("*") for pattern in packages} | metadata | {"pyproject.toml"} <= kept
    assert all((ROOT / name).exists() for name in kept)


def test_trimming_freesurfer_keeps_what_is_needed(tmp_path: Path) -> None:
    tar = shutil.which("tar")
    if tar is None or "GNU" not in _run(tar, "--version").stdout:
        pytest.skip("GNU tar, which the image has, is not here")
    for name in (*_required(), *NOT_NEEDED, "python/packages/freesurfer/models/keep.py"):
        path = tmp_path / "whole" / "freesurfer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.write_text(name)
    with tarfile.open(tmp_path / "freesurfer.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "whole" / "freesurfer", "freesurfer")

    options = re.search(r"tar (--extract .*?) &&", " ".join(_instructions("RUN")))
    assert options is not None
    words = (
        options[1]
        .replace("/tmp/freesurfer.tar.gz", str(tmp_path / "freesurfer.tar.gz"))
        .replace("/opt", str(tmp_path))
        .replace("/etc", str(DOCKER))
        .split()
    )
    done = _run(tar, *words)
    assert done.returncode == 0, done.stderr

    trimmed = tmp_path / "freesurfer"
    assert [name for name in _required() if not (trimmed / name).exists()] == []
    assert [name for name in NOT_NEEDED if (trimmed / name).exists()] == []
    assert (trimmed / "python/packages/freesurfer/models/keep.py").exists()


def test_needed_files_of_freesurfer_are_looked_for() -> None:
    assert {
        "average/mni152.register.dat",
        "average/mni305.cor.subfov1.mgz",
        "average/mni305.cor.subfov2.mgz",
        "average/mni305.cor.subfov2.reg",
        "bin/bbregister",
        "bin/mri_vol2vol",
        "bin/recon-all",
        "bin/tkregister2",
        "subjects/fsaverage/mri/aparc+aseg.mgz",
        "subjects/fsaverage/mri/orig.mgz",
        "subjects/fsaverage/mri/transforms/talairach.xfm",
    } <= set(_required())


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    folder = tmp_path / "mcr of two words" / "v97"
    (folder / "runtime" / "glnxa64").mkdir(parents=True)
    return folder


def _start_spm(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    spm = tmp_path / "spm"
    spm.write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH"\nprintf "%s\\n" "$@"\nexit 7\n')
    spm.chmod(0o755)
    launcher = DOCKER / "spm-standalone.sh"
    return _run("/bin/sh", launcher, *arguments, SPM_STANDALONE=str(spm))


def test_launcher_passes_arguments_libraries_and_exit_code(tmp_path: Path, runtime: Path) -> None:
    done = _start_spm(tmp_path, str(runtime), "script", "/a folder/job.m")
    libraries, *arguments = done.stdout.splitlines()
    assert done.returncode == 7
    assert arguments == ["script", "/a folder/job.m"]
    assert libraries.startswith(f"{runtime}/runtime/glnxa64:{runtime}/bin/glnxa64:")


def test_launcher_refuses_a_folder_without_the_runtime(tmp_path: Path) -> None:
    done = _start_spm(tmp_path, str(tmp_path), "script", "job.m")
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr


@pytest.mark.parametrize(
    ("checksum", "code"),
    [("", 0), ("2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824", 0), ("0", 1)],
)
def test_download_verifies_a_checksum_when_given(tmp_path: Path, checksum: str, code: int) -> None:
    if shutil.which("curl") is None or shutil.which("sha256sum") is None:
        pytest.skip("curl or sha256sum, which the image has, is not here")
    (tmp_path / "source").write_text("hello")
    url = (tmp_path / "source").as_uri()
    done = _run("bash", DOCKER / "download.sh", url, tmp_path / "copy", checksum)
    assert done.returncode == code, done.stderr
    assert "2cf24dba" in done.stdout


def test_download_fails_where_curl_does(tmp_path: Path) -> None:
    curl = tmp_path / "curl"
    curl.write_text("#!/bin/sh\nexit 22\n")
    curl.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    url = "https://example.org/absent-1.0.0.zip"
    done = _run("bash", DOCKER / "download.sh", url, tmp_path / "copy", PATH=path)
    assert done.returncode == 22


def _start_octave(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    octave = tmp_path / "bin" / "octave-cli"
    octave.parent.mkdir()
    octave.write_text('#!/bin/sh\necho "$CONCEPTRSA_SPM $CONCEPTRSA_SCRIPT"\nexit 7\n')
    octave.chmod(0o755)
    path = f"{octave.parent}{os.pathsep}{os.environ['PATH']}"
    spm = str(tmp_path / "spm 12")
    return _run("/bin/sh", DOCKER / "spm-octave.sh", *arguments, PATH=path, SPM_OCTAVE=spm)


def test_launcher_of_octave_passes_the_script_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / "spm 12").mkdir()
    (tmp_path / "spm 12" / "spm.m").write_text("")
    done = _start_octave(tmp_path, "script", "/a folder/it's.m")
    assert done.returncode == 7
    assert done.stdout.strip() == f"{tmp_path}/spm 12 /a folder/it's.m"


def test_launcher_of_octave_refuses_a_folder_without_spm(tmp_path: Path) -> None:
    done = _start_octave(tmp_path, "script", "job.m")
    assert done.returncode == 2
    assert f"{tmp_path}/spm 12" in done.stderr
