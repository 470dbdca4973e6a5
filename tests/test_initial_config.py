"""Configurations that `conceptrsa init` writes: what is in them, and that they are accepted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import single_trials
import supplied_data as data

import conceptrsa.pipelines.cli.run_comparison
from conceptrsa.bids_config.reader import load_comparison_config, load_dataset_config
from conceptrsa.bids_config.schema import DatasetConfig
from conceptrsa.pipelines.bids.events import read_run_events
from conceptrsa.pipelines.cli import main


def write_events(root: Path, *runs: str, name: str = "task-look") -> None:
    """Write a data set of two subjects with these events."""
    (root / "sub-01" / "func").mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    for subject in ("01", "02"):
        folder = root / f"sub-{subject}" / "func"
        folder.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(runs, start=1):
            file = folder / f"sub-{subject}_{name}_run-{number}_events.tsv"
            file.write_text(text.replace(" ", "\t"))


def init(source: Path, *options: str) -> DatasetConfig:
    out = source.parent / "study.toml"
    assert main(["init", str(source), str(out), *options]) == 0
    return load_dataset_config(out)


def test_events_with_types(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_events(
        tmp_path / "bids",
        "onset duration trial_type stim_file rt\n0 9 rest n/a n/a\n9 2 image set/cat.png 1.5\n"
        "12 2 image set/dog.png 1.2\n15 2 response n/a 1\n18 2 image set/hat.png n/a\n",
        "onset duration trial_type stim_file rt\n0 2 image set/cat.png 1\n9 2 image set/cat.png 1.5"
        "\n12 2 image set/dog.png 1.2\n15 2 image set/hat.png 1\n18 2 rest n/a n/a\n",
    )
    write_events(tmp_path / "bids", "onset duration word\n0 1 a\n", name="task-words")
    config = init(tmp_path / "bids")
    assert config.runs.task == "look" and config.name == "bids"
    assert config.events.condition_column == "stim_file"
    assert config.events.type_column == "trial_type"
    assert config.events.stimulus_types == ("image",)
    assert config.events.fixation_types == ("rest",)
    assert config.events.ignored_types == ("response",)
    assert config.events.one_back.rule == "repeat" and config.stimuli.count == 3
    assert config.rois[-1].labels == (17, 53)
    text = (tmp_path / "study.toml").read_text()
    assert "there are also words (2 runs)" in text and "cat, dog, hat" in text
    assert "follows itself 2 times" in text
    assert f"study.toml: {text.count('CHECK:')} guesses are marked" in capsys.readouterr().out
    for file in (tmp_path / "bids").rglob("*task-look*_events.tsv"):
        assert {"cat", "dog", "hat"} <= {*read_run_events(file, config.events)["condition"]}
    assert main(["init", str(tmp_path / "bids"), str(tmp_path / "study.toml")]) == 2
    assert "study.toml already exists" in capsys.readouterr().err
    assert main(["init", str(tmp_path / "bids")]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("events", "column", "types", "n_stimuli"),
    [
        ("onset duration trial_type\n0 1 face\n2 1 house\n4 1 fixation\n6 1 tool\n",
         "trial_type", ("face", "house", "tool"), 3),
        ("onset duration trial_type\n0 1 face\n2 1 house\n6 1 tool\n", "trial_type", (), 3),
        ("onset duration trial image\n0 1 1 a.jpg\n2 1 2 b.jpg\n6 1 3 c.jpg\n", "image", (), 3),
        ("onset duration 73k_id rt\n0 1 17 0.5\n2 1 46 0.7\n6 1 9999 0.9\n", "73k_id", (), 3),
    ],
)  # fmt: skip
def test_events_of_other_kinds(
    tmp_path: Path, events: str, column: str, types: tuple[str, ...], n_stimuli: int
) -> None:
    write_events(tmp_path / "bids", events)
    config = init(tmp_path / "bids")
    assert config.events.condition_column == column
    assert config.events.stimulus_types == types
    assert config.events.one_back.rule == "none"
    assert config.stimuli.count == n_stimuli


def test_the_real_events_of_ds001246(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "study.toml"
    assert main(["init", str(shared_data / "ds001246"), str(out)]) == 0
    packaged, config = load_dataset_config("ds001246"), load_dataset_config(out)
    assert config.events == packaged.events
    assert config.runs.task == packaged.runs.task
    assert '# session_pattern = "perceptionTest[0-9]+"' in out.read_text()
    command = ["run", str(shared_data / "ds001246"), str(tmp_path / "out"), "participant"]
    assert main([*command, "--dataset-config", str(out), "--dry-run"]) == 2  # images are missing


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (None, "holds no events of BOLD runs"),
        ("onset duration rt\n0 1 3\n1 1 4\n", "no column with three or more stimuli"),
    ],
)
def test_data_sets_without_stimuli(
    tmp_path: Path, events: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_events(tmp_path / "bids", *([] if events is None else [events]))
    assert main(["init", str(tmp_path / "bids")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("write", "source", "options", "regions"),
    [
        (data.write_table, "betas.tsv", ["--atlas", "atlas.nii.gz"],
         ["L visual, part", "R_visual", "17"]),
        (data.write_roi_patterns, "patterns", [], ["visual", "hippocampus"]),
        (data.write_rdms, "rdms", [], ["visual", "hippocampus"]),
        (data.write_paper_layout, "paper", ["--atlas", "atlas.nii.gz"],
         ["L visual, part", "R_visual", "17"]),
        (data.write_table, "betas.tsv", [], ["L visual, part", "R_visual", "17"]),
    ],
)  # fmt: skip
def test_betas(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path], None],
    source: str,
    options: list[str],
    regions: list[str],
) -> None:
    """The result is accepted by the comparison as it is, and holds the regions in their order."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / source)
    data.write_atlas(tmp_path / "atlas.nii.gz")
    Path("atlas.tsv").write_text("index\tname\n1011\tL visual, part\n2011\tR_visual\n17\t17\n")
    data.write_models(tmp_path / "models")
    assert main(["init", source, "study.toml", *options]) == 0
    text = Path("study.toml").read_text()
    assert "sub-01" in text or "01, 02, 03" in text
    assert "# 8 stimuli: n01443537_22563" in text
    assert (len(load_comparison_config("study.toml").rois) == len(regions)) == bool(
        options or "betas.tsv" not in source
    )
    written: list[Any] = []
    monkeypatch.setattr(
        conceptrsa.pipelines.cli.run_comparison,
        "write_comparison",
        lambda result, out, used, pictures: written.append(result),
    )
    command = ["compare", "--betas", source, "--dataset-config", "study.toml"]
    atlas = [] if source in ("patterns", "rdms") else ["--atlas", "atlas.nii.gz"]
    few = ["--n-permutations", "100", "--n-bootstraps", "100"]
    command += [*atlas, *few, "--features", "models", "--out", "out"]
    if source != "rdms":
        command += ["--no-multiverse", "--n-random-draws", "1"]
    assert main(command) == 0
    assert [roi.roi for roi in written[0].rois] == regions


def test_single_trials(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    design = single_trials.small_design()
    single_trials.write_glmsingle(tmp_path / "glmsingle", "npy", design)
    table = tmp_path / "conditions.tsv"
    single_trials.write_condition_table(table, design)
    assert main(["init", str(tmp_path / "glmsingle")]) == 2
    assert "name the stimuli with --trials FILE" in capsys.readouterr().err
    assert main(["init", str(tmp_path / "glmsingle"), "--trials", str(table)]) == 0
    text = capsys.readouterr().out
    assert "# 10 stimuli: thing00_z" in text
    assert "--out OUT --atlas NAME_OR_FILE --trials FILE" in text
    data.write_table(tmp_path / "betas.tsv")
    assert main(["init", str(tmp_path / "betas.tsv"), "--trials", str(table)]) == 2
    assert "leave --trials out" in capsys.readouterr().err


def test_derivatives_of_this_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data.write_derivatives(tmp_path / "de{riv}")
    assert main(["init", str(tmp_path / "de{riv}")]) == 0
    assert "voxels in MNI305" in capsys.readouterr().out
