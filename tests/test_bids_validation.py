"""The BIDS validator looks at the input first, and what it finds is told in one sentence."""

import json
import logging
import shutil
import stat
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from validation import bids_errors

from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.bids import validation
from conceptrsa.pipelines.bids.validation import (
    find_validator,
    list_lines,
    require_valid,
    run_validator,
)
from conceptrsa.pipelines.cli import main

needs_validator = pytest.mark.skipif(
    find_validator() is None, reason="bids-validator-deno is not installed"
)
EVENTS = (
    "onset\tduration\tevent_type\tstimulus_name\n"
    "0\t12\trest\tn/a\n12\t9\tstimulus\tx\n21\t9\tstimulus\ty\n"
)
SIDECAR = {"TaskName": "perception", "RepetitionTime": 3.0, "SliceTiming": [0.0, 0.5, 1.0, 1.5]}


def save_image(file: Path, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    image = nib.Nifti1Image(values, np.diag([3.0, 3, 3, 1]))
    if len(shape) == 4:
        image.header.set_zooms((3.0, 3.0, 3.0, 3.0))
    image.header.set_xyzt_units("mm", "sec")
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, file)


@pytest.fixture
def bids(tmp_path: Path) -> Path:
    """Two subjects of a run each: valid, but for warnings."""
    root = tmp_path / "bids"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / "task-perception_bold.json").write_text(json.dumps(SIDECAR))
    for subject in ("01", "02"):
        folder = root / f"sub-{subject}"
        save_image(folder / "anat" / f"sub-{subject}_T1w.nii.gz", (4, 4, 4))
        stem = f"sub-{subject}_task-perception"
        save_image(folder / "func" / f"{stem}_bold.nii.gz", (4, 4, 4, 24))
        (folder / "func" / f"{stem}_events.tsv").write_text(EVENTS)
    return root


def spoil(bids: Path, subject: str) -> None:
    """Three files that have no place in BIDS."""
    for number in range(3):
        (bids / f"sub-{subject}" / "func" / f"sub-{subject}_what{number}.txt").write_text("x")


@needs_validator
def test_warnings_stop_nothing_and_are_listed(
    bids: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        require_valid(bids, {"01", "02"}, tmp_path / "logs")
    lines = (tmp_path / "logs" / validation.LIST_NAME).read_text().splitlines()
    assert lines[0].startswith(f"BIDS validator on {bids}: 0 errors, ")
    assert any(line.startswith("warning ") for line in lines[1:])
    assert f"is valid BIDS ({lines[0].split()[-2]} warnings" in caplog.text


@needs_validator
def test_errors_end_the_run_with_one_sentence_and_the_whole_list(
    bids: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(bids, "01")
    spoil(bids, "02")
    out = tmp_path / "out"
    arguments = ["run", str(bids), str(out), "participant", "--dataset-config", "demo"]
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    whole_list = out / "logs" / "bids-validator.txt"
    assert "found 6 errors (NOT_INCLUDED /sub-0" in error and "; ...)" in error
    assert str(whole_list) in error and "--skip-bids-validation" in error
    assert whole_list.read_text().count("error NOT_INCLUDED /sub-0") == 6
    assert not (out / "sub-01").exists()


@needs_validator
def test_errors_of_other_participants_are_of_no_matter(bids: Path) -> None:
    spoil(bids, "02")
    require_valid(bids, {"01"})
    with pytest.raises(InputError, match="3 errors"):
        require_valid(bids, {"02"})


@needs_validator
def test_the_real_data_set_is_valid_once_its_images_are_there(
    shared_data: Path, tmp_path: Path
) -> None:
    bids = tmp_path / "ds001246"
    shutil.copytree(shared_data / "ds001246", bids)
    validator = find_validator()
    assert validator is not None
    errors = [issue for issue in run_validator(validator, bids) if issue.is_error]
    # Of its git-annexed images only the names are here, so its three sidecars describe nothing.
    assert {issue.code for issue in errors} == {"SIDECAR_WITHOUT_DATAFILE"}
    assert {issue.location for issue in errors} == {
        "/T1w.json", "/inplaneT2.json", "/task-perception_bold.json"
    }  # fmt: skip
    n_slices = len(json.loads((bids / "task-perception_bold.json").read_text())["SliceTiming"])
    for events in bids.glob("sub-*/*/func/*_events.tsv"):
        image = events.with_name(events.name.replace("_events.tsv", "_bold.nii.gz"))
        save_image(image, (2, 2, n_slices, 178))
    for subject in bids.glob("sub-*"):
        anat = subject / "ses-anatomy" / "anat"
        save_image(anat / f"{subject.name}_ses-anatomy_T1w.nii.gz", (2, 2, 2))
        session = next(subject.glob("ses-perceptionTest*"))
        name = f"{subject.name}_{session.name}_inplaneT2.nii.gz"
        save_image(session / "anat" / name, (2, 2, 2))
    assert bids_errors(bids, tmp_path) == []


def fake_validator(tmp_path: Path, does: str) -> str:
    script = tmp_path / "validator"
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("echo it broke >&2; exit 1", "exit code 1: it broke"),
        ("echo no json", "its answer cannot be read"),
        ("echo '{}'", "its answer cannot be read"),
        ("sleep 5", "timed out"),
    ],
)
def test_a_validator_that_fails_stops_the_run(
    does: str, said: str, bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "TIME_LIMIT", 1.0)
    with pytest.raises(InputError, match=said):
        run_validator(fake_validator(tmp_path, does), bids)


def test_without_a_validator_there_is_one_line(
    bids: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(validation, "find_validator", lambda: None)
    with caplog.at_level(logging.INFO):
        require_valid(bids, {"01"})
    assert caplog.messages == [
        "the BIDS validator is not installed, so the data set was not validated; to install it: "
        "pip install 'conceptrsa[bids]'"
    ]


def test_validation_can_be_skipped(
    bids: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise AssertionError("asked for the validator")

    monkeypatch.setattr(validation, "find_validator", fail)
    arguments = ["run", str(bids), str(tmp_path / "out"), "participant", "--dataset-config", "demo"]
    with pytest.raises(AssertionError, match="asked for"):
        main(arguments)
    # What comes next is that these runs of one stimulus more than baseline are no experiment.
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    assert main([*arguments, "--skip-bids-validation", "--stimuli", str(pictures)]) == 2
    assert "holds no picture" in capsys.readouterr().err


def test_the_list_has_every_error_and_counts_warnings(tmp_path: Path) -> None:
    issues = [
        validation.Issue(True, "BAD_NAME", "/a", "is bad"),
        validation.Issue(False, "KEY", "/b", ""),
        validation.Issue(False, "KEY", "/c", ""),
        validation.Issue(True, "NO_README", "", ""),
    ]
    assert list(list_lines(tmp_path, issues)) == [
        f"BIDS validator on {tmp_path}: 2 errors, 2 warnings",
        "error BAD_NAME /a is bad",
        "error NO_README (whole data set)",
        "warning KEY (2 times)",
    ]
