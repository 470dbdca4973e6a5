"""A run that replaces the betas of other runs says so."""

import json
from pathlib import Path

import pytest

from conceptrsa.pipelines.bids.dataset import BoldRun, SubjectInputs
from conceptrsa.pipelines.execution.earlier_results import notes_on_other_runs
from conceptrsa.pipelines.workflows.sidecars import of_runs


@pytest.fixture
def subject() -> SubjectInputs:
    runs = tuple(
        BoldRun(
            "01", None, str(n), Path(f"/raw/sub-01/func/sub-01_task-t_run-{n}_bold.nii"),
            Path("/raw/events.tsv"), 2.0, (0.0,) * 5, "k",
        )
        for n in (1, 2)
    )  # fmt: skip
    return SubjectInputs("01", Path("/raw/sub-01/anat/sub-01_T1w.nii"), runs)


def left(out_dir: Path, content: str) -> None:
    file = out_dir / "sub-01/func/sub-01_task-t_space-MNI305_res-2_stat-effect_statmap.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def test_betas_of_other_runs_are_named(subject: SubjectInputs, tmp_path: Path) -> None:
    others = [*of_runs(subject)[:1], "bids:raw:sub-01/func/sub-01_task-t_run-9_bold.nii"]
    left(tmp_path, json.dumps({"Sources": others}))
    (note,) = notes_on_other_runs(tmp_path, [subject], "t")
    assert note.startswith(f"sub-01: the betas of 2 runs in {tmp_path} are replaced by those of 2")
    assert "(1 in common)" in note


def test_the_same_runs_and_no_results_are_no_matter(subject: SubjectInputs, tmp_path: Path) -> None:
    assert not list(notes_on_other_runs(tmp_path, [subject], "t"))
    left(tmp_path, json.dumps({"Sources": of_runs(subject)}))
    assert not list(notes_on_other_runs(tmp_path, [subject], "t"))
    for damaged in ("[]", "{", '{"Sources": null}', '{"Sources": 3}'):
        left(tmp_path, damaged)
        assert not list(notes_on_other_runs(tmp_path, [subject], "t"))
