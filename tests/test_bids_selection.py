"""Runs and images are chosen as fMRIPrep lets choose them, and unknown choices are told apart."""

import json
from pathlib import Path
from typing import Any

import pytest

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.pipelines.bids.dataset import Reading, SubjectInputs
from conceptrsa.pipelines.bids.layout import (
    BidsDataset,
    BidsFilters,
    matches,
    parse_entities,
    read_filters,
)
from conceptrsa.pipelines.bids.reading import read_dataset
from conceptrsa.pipelines.cli import main

CONFIG = load_dataset_config("demo")
EVENTS = (
    "onset\tduration\tevent_type\tstimulus_name\n"
    "0\t12\trest\tn/a\n12\t9\tstimulus\tx\n21\t9\tstimulus\ty\n"
)
TIMING = {"RepetitionTime": 3.0, "SliceTiming": [0.0, 1.5]}


def add_run(root: Path, subject: str, session: str, entities: str) -> None:
    """Name a run; names are all that is looked at here."""
    folder = root / f"sub-{subject}" / f"ses-{session}" / "func"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"sub-{subject}_ses-{session}_task-perception_{entities}"
    (folder / f"{stem}_bold.nii.gz").touch()
    (folder / f"{stem}_events.tsv").write_text(EVENTS)


def add_t1w(root: Path, subject: str, session: str, acquisition: str) -> None:
    folder = root / f"sub-{subject}" / f"ses-{session}" / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"sub-{subject}_ses-{session}_acq-{acquisition}_T1w.nii.gz").touch()


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    root = tmp_path / "bids"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / "task-perception_bold.json").write_text(json.dumps(TIMING))
    for subject in ("01", "02"):
        for session in ("a", "b"):
            for entities in ("dir-AP_run-01", "dir-PA_run-02"):
                add_run(root, subject, session, entities)
        add_t1w(root, subject, "a", "fast")
        add_t1w(root, subject, "b", "mprage")
    return root


def read(bids: Path, **reading: Any) -> tuple[SubjectInputs, ...]:
    return read_dataset(bids, CONFIG, names_only=True, reading=Reading(**reading))


def filters(tmp_path: Path, content: object) -> BidsFilters:
    file = tmp_path / "filters.json"
    file.write_text(json.dumps(content))
    return read_filters(file)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ({}, 4),
        ({"session": "a"}, 2),
        ({"session": ["a", "b"], "direction": "AP"}, 2),
        ({"run": 1}, 2),
        ({"run": "1"}, 2),
        ({"run": [1, 2], "datatype": "func", "suffix": "bold"}, 4),
        ({"acquisition": None}, 4),
        ({"direction": "*"}, 4),
        ({"direction": [None, "PA"]}, 2),
    ],
)
def test_bold_runs_by_the_entities_in_their_names(
    wanted: dict[str, Any], taken: int, bids: Path, tmp_path: Path
) -> None:
    chosen = filters(tmp_path, {"bold": wanted, "fmap": {"acquisition": "x"}})
    for subject in read(bids, filters=chosen):
        assert len(subject.runs) == taken


def test_labels_that_look_like_numbers_stay_texts() -> None:
    assert matches({"run": "01"}, {"run": 1})
    assert not matches({"session": "01"}, {"session": "1"})
    assert not matches({"run": "01"}, {"run": 2})


def test_the_t1w_image_by_its_entities(bids: Path, tmp_path: Path) -> None:
    chosen = filters(tmp_path, {"t1w": {"acquisition": "mprage"}})
    assert [subject.t1w.name for subject in read(bids, filters=chosen)] == [
        "sub-01_ses-b_acq-mprage_T1w.nii.gz",
        "sub-02_ses-b_acq-mprage_T1w.nii.gz",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"BOLD": {"run": 1}},
            "'BOLD', which is not a kind of image (did you mean 'bold'?)",
        ),
        ({"bold": {"acq": "x"}}, "'acq', which is not a BIDS entity"),
        ({"bold": ["run"]}, "must give 'bold' a JSON object of BIDS entities"),
        ({"bold": {"run": 1.5}}, "the value 1.5"),
        ({"bold": {"run": {"a": 1}}}, "give a text"),
        (["bold"], "must hold a JSON object"),
        ({"t1w": {"acquisition": "none"}}, "2 T1w images"),
        ({"bold": {"run": 7}}, "no BOLD run of task perception, filtered by"),
    ],
)
def test_a_filter_that_makes_no_sense_is_told_in_one_sentence(
    content: object, said: str, bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "filters.json"
    file.write_text(json.dumps(content))
    arguments = ["--dataset-config", "demo", "--bids-filter-file", str(file)]
    assert main(["run", str(bids), str(tmp_path / "out"), "participant", *arguments]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "conceptrsa: " in line]
    assert len(error) == 1 and said in error[0]


def dry_run(bids: Path, out: Path, *options: str) -> None:
    main([
        "run", str(bids), str(out), "participant", "--dataset-config", "demo", "--dry-run",
        "--skip-bids-validation", *options,
    ])  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "with prefix"])
def test_labels_with_and_without_their_prefix(
    prefix: str, bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subject, session, task = ("sub-02", "ses-b", "task-perception") if prefix else (
        "02", "b", "perception"
    )  # fmt: skip
    options = ("--participant-label", subject, "--session-label", session, "--task-id", task)
    dry_run(bids, tmp_path / "out", *options)
    text = capsys.readouterr().out
    assert "sub-01" not in text and "ses-a_task" not in text
    assert text.count("  run sub-02_ses-b_task-perception_") == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--participant-label", "03"], "'03' is not a participant in"),
        (["--participant-label", "sub-03"], "choose from 01, 02"),
        (["--session-label", "ses-c"], "choose from a, b"),
        (["--task-id", "task-rest"], "no BOLD run of task rest"),
        (["--task-id", "rest"], "(tasks there: perception; sessions: a, b)"),
    ],
)
def test_unknown_labels_are_answered_with_what_there_is(
    options: list[str],
    said: str,
    bids: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["run", str(bids), str(tmp_path / "out"), "participant", "--dataset-config", "demo"]
    assert main([*arguments, *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error and error.startswith("conceptrsa: ")


def names(bids: Path) -> list[str]:
    dataset = BidsDataset(bids)
    found = dataset.find("bold", (".nii.gz",), "01") + dataset.find("T1w", (".nii.gz",), "01")
    return [file.path.name for file in found]


def test_names_behind_a_linked_folder_are_found(bids: Path, tmp_path: Path) -> None:
    before = names(bids)
    session = bids / "sub-01" / "ses-b"
    elsewhere = session.rename(tmp_path / "on another disk")
    session.symlink_to(elsewhere)
    assert names(bids) == before
    add_run(bids, "01", "b", "dir-AP_run-03")
    assert len(names(bids)) == len(before) + 1


def test_links_in_a_circle_come_to_an_end(bids: Path) -> None:
    before = names(bids)
    (bids / "sub-01" / "ses-b" / "again").symlink_to(bids / "sub-01")
    assert names(bids) == before


def test_hidden_files_and_folders_are_passed_over(bids: Path) -> None:
    before = names(bids)
    func = bids / "sub-01" / "ses-a" / "func"
    first = next(func.glob("*_bold.nii.gz"))
    (func / f"._{first.name}").touch()  # macOS
    (func / ".trash").mkdir()
    (func / ".trash" / first.name).touch()
    assert names(bids) == before


@pytest.mark.parametrize(
    ("path", "entities"),
    [
        (
            "/sub-01/ses-a/func/sub-01_ses-a_task-x_dir-AP_run-01_echo-2_part-mag_bold.nii.gz",
            {
                "subject": "01", "session": "a", "task": "x", "direction": "AP", "run": "01",
                "echo": "2", "part": "mag", "datatype": "func", "suffix": "bold",
                "extension": ".nii.gz",
            },
        ),
        (
            "/task-x_acq-a+b_events.tsv",
            {"task": "x", "acquisition": "a+b", "datatype": "", "suffix": "events",
             "extension": ".tsv"},
        ),
        (
            "/sub-01/anat/sub-01_rec-r_ce-c_desc-preproc_T1w.nii",
            {"subject": "01", "reconstruction": "r", "ceagent": "c", "datatype": "anat",
             "suffix": "T1w", "extension": ".nii"},
        ),
    ],
)  # fmt: skip
def test_entities_by_the_names_of_pybids(path: str, entities: dict[str, str]) -> None:
    assert parse_entities(path) == entities
