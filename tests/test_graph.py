"""The graph: every kind, with and without a data set, with and without Graphviz."""

import os
import shutil
from pathlib import Path

import pytest

from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.cli.inspect_commands import KINDS

needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is absent")
STEPS = (
    "slice_timing", "realign", "coregister", "find_brain", "normalize", "brain_mask",
    "estimate_betas", "pool_betas", "resample_betas", "find_rois", "coverage",
    "save_t1w_mask", "save_betas_standard",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_dot_of_every_kind(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "graph.dot"
    assert main(["graph", str(out), "--kind", kind]) == 0
    text = out.read_text()
    assert text.startswith(("digraph", "strict digraph"))
    if kind != "orig":
        assert [step for step in STEPS if step not in text] == []


@pytest.mark.parametrize(
    ("arguments", "steps", "absent"),
    [
        (["--engine", "spm"], ("SpmSliceTiming", "SpmRealign", "SpmCoregister"), "pool_betas"),
        (["--engine", "spm", "--run-model", "sessions"], ("SpmSessionBetas", "pool_betas"), None),
        (
            ["--engine", "spm", "--normalization", "freesurfer"],
            ("reconstruct", "register_to_reconstruction", "ResampleByFreeSurfer"),
            "ResampleToMNI305",
        ),
        (["--normalization", "freesurfer", "--roi-source", "subject"], ("AtlasInMNI305",), "Spm"),
        (["--normalization", "freesurfer", "--roi-source", "template"], ("MNI305Rois",), "AtlasIn"),
        (["--roi-source", "fsaverage"], ("MNI305Rois", "T1wBrainMask"), "AtlasInMNI305"),
    ],
)
def test_graph_of_programs_that_are_not_installed(
    arguments: list[str],
    steps: tuple[str, ...],
    absent: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is started to draw a graph: not MATLAB either, which nipype would ask for."""
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.delenv("SPMMCRCMD", raising=False)
    out = tmp_path / "graph.dot"
    assert main(["graph", str(out), "--kind", "flat", *arguments]) == 0
    text = out.read_text()
    for step in steps:
        assert step in text
    assert absent is None or absent not in text


@needs_graphviz
@pytest.mark.parametrize("kind", KINDS)
def test_svg_of_every_kind(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "graph.svg"
    assert main(["graph", str(out), "--kind", kind]) == 0
    assert "<svg" in out.read_text()


def test_without_graphviz_it_says_so_and_writes_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    assert main(["graph", str(tmp_path / "graph.svg")]) == 0
    assert (tmp_path / "graph.dot").read_text().startswith("digraph")
    assert not (tmp_path / "graph.svg").exists()
    assert "Graphviz is not installed" in capsys.readouterr().err


def test_graph_of_a_real_data_set(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "graph.dot"
    bids = str(shared_data / "ds001246")
    options = ["--bids-dir", bids, "--dataset-config", "ds001246", "--participant-label", "02"]
    assert main(["graph", str(out), *options]) == 0
    assert "sub_02_wf" in out.read_text()
