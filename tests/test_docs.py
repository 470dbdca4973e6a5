"""The pages are built, and what they tell a reader to type is run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_demo import small_settings

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.pipelines.cli import build_parser, main
from conceptrsa.pipelines.demo.demo_dataset import write_demo_dataset
from conceptrsa.pipelines.demo.demo_settings import PLANTED_ROIS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```(?:sh|bash|console)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
STIMULI = tuple(f"thing_{n:02d}" for n in range(12))
FEW_DRAWS = ["--n-random-draws", "1"]
FEW_SAMPLES = ["--n-permutations", "100", "--n-bootstraps", "100"]


def commands_of(page: Path) -> list[str]:
    """Lines that begin with the command, with those that they go on in, without comments."""
    blocks = [block for _, block in BLOCK.findall(page.read_text(encoding="utf-8"))]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("conceptrsa ")]


def words_of(command: str) -> list[str]:
    return shlex.split(command, comments=True)[1:]


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
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ROOT / "docs", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "reference" / "command_line.html").read_text(encoding="utf-8")
    assert "--participant-label" in page and "--betas-format" in page


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which a small data set stands where `conceptrsa demo demo` puts one."""
    folder = tmp_path_factory.mktemp("tutorial")
    random = np.random.default_rng(3)
    planted = {roi.model: random.standard_normal((12, 40)) for roi in PLANTED_ROIS.values()}
    write_demo_dataset(folder / "demo", planted, STIMULI, small_settings(n_subjects=2), 2)
    pictures = folder / "demo" / "bids" / "stimuli"
    pictures.mkdir()
    for name in STIMULI:
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(pictures / f"{name}.png")
    labels = "".join(f"{name}\tcat number {row}\n" for row, name in enumerate(STIMULI))
    (pictures / "labels.tsv").write_text(f"stimulus\tlabel\n{labels}", encoding="utf-8")
    return folder


@pytest.mark.slow
def test_the_tutorial_is_run(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs the extra 'networks'")
    monkeypatch.chdir(demo)
    monkeypatch.setenv("XDG_CACHE_HOME", str(demo / "cache"))
    made, *steps = commands_of(ROOT / "docs" / "tutorial.md")
    # This one is what `make demo` runs.
    assert made == "conceptrsa demo demo" and len(steps) == 8
    for step in steps:
        fewer = FEW_DRAWS if " group " in step or " compare " in step else []
        fewer = fewer + FEW_SAMPLES if fewer and "paper" not in step else fewer
        if " compare " in step:  # figures are drawn once, by the group level
            monkeypatch.setattr("conceptrsa.analysis.output.write.write_figures", lambda *_: None)
        assert main([*words_of(step), *fewer]) == 0, step
    for table in ("out/group/scores.tsv", "paper/group/rsa.tsv", "own/group/scores.tsv"):
        assert (demo / table).stat().st_size > 0
    assert (demo / "out/group/report.html").exists()


def test_the_data_set_of_the_docs_is_one(
    demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    example = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    monkeypatch.chdir(demo)
    Path("things.toml").write_text(example, encoding="utf-8")
    assert load_dataset_config("things.toml").name == "things"
    dry_run, _ = commands_of(ROOT / "docs" / "adding.md")
    assert main(words_of(dry_run.replace("BIDS_DIR", "demo/bids"))) == 0
    assert "sub-02: 2 runs" in capsys.readouterr().out
