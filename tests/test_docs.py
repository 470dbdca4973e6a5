"""The pages are built, and what they tell a reader to type is run."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from commands_in_pages import ROOT, commands_of, words_of
from small_demo import write_pictures

from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config import load_dataset_config
from conceptrsa.pipelines.cli import build_parser, main

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    ("page", "command"),
    [
        pytest.param(page, command, id=f"{page.stem}: {command[:60]}")
        for page in PAGES
        for command in commands_of(page)
        if "..." not in command
    ],
)
def test_every_command_is_one(page: Path, command: str) -> None:
    build_parser().parse_args(words_of(command))


def test_links_between_pages_lead_somewhere() -> None:
    lost = [
        (page.name, link)
        for page in [*PAGES, *(ROOT / "docs" / "decisions").glob("*.md")]
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert not lost


def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("furo", reason="needs the extra 'docs'")
    pytest.importorskip("sphinx_gallery", reason="needs the extra 'docs'")
    # The gallery writes beside the pages, which read what is beside them.
    for folder in (folder for folder in ROOT.iterdir() if folder.name not in ("docs", "out")):
        (tmp_path / folder.name).symlink_to(folder)
    ignored = shutil.ignore_patterns("gallery", "*_times.rst")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=ignored)
    built = tmp_path / "html"
    done = subprocess.run(  # `test_gallery.py` runs the examples
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-D", "plot_gallery=0",
         tmp_path / "docs", built],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (built / "reference" / "command_line.html").read_text(encoding="utf-8")
    assert "--participant-label" in page and "--betas-format" in page
    assert (built / "gallery" / "betas_to_answer.html").is_file()
    assert (built / "searchindex.js").is_file()  # the search needs no server


def test_the_example_of_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    readme = PAGES[0].read_text(encoding="utf-8")
    example, printed = re.search(
        r"```python\n(.*?)```.*?```text\n(.*?)```", readme, re.DOTALL
    ).groups()
    assert len([line for line in example.splitlines() if line]) <= 20
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, said = done.stdout.split(), printed.split()
    assert len(found) == len(said)
    for one, other in zip(found, said, strict=True):
        try:
            assert float(one) == pytest.approx(float(other), abs=0.011)
        except ValueError:
            assert one == other
    assert done.stderr.count("ComparisonWarning") == 1  # it warns of what not to trust


def test_the_page_of_licences_has_every_network_and_atlas() -> None:
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in page.splitlines()]
    for name in read_zoo().names:
        assert [name, read_zoo().find(name).licence] in rows
    atlases = tomllib.loads((ROOT / "analysis/betas/atlases.toml").read_text(encoding="utf-8"))
    for atlas in atlases["atlas"]:
        assert [f"`{atlas['name'].replace('{n}', 'N')}`", atlas["licence"]] in rows


@pytest.fixture
def demo(small_demo: Path, tmp_path: Path) -> Path:
    """Folder in which a small data set stands where `conceptrsa demo demo` puts one."""
    shutil.copytree(small_demo, tmp_path / "demo")
    write_pictures(tmp_path / "demo" / "bids")
    return tmp_path


def test_the_data_set_of_the_docs_is_one(
    demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    example = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    monkeypatch.chdir(demo)
    init, dry_run, _ = (
        words_of(command.replace("BIDS_DIR", "demo/bids"))
        for command in commands_of(ROOT / "docs" / "adding.md")
    )
    Path("things.toml").unlink(missing_ok=True)
    assert main(init) == 0  # what it writes is accepted as it is
    for name in ("bids", "things"):
        assert load_dataset_config("things.toml").name == name
        assert main(dry_run) == 0
        assert "sub-02: 2 runs" in capsys.readouterr().out
        Path("things.toml").write_text(example, encoding="utf-8")
