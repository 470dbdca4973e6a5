"""A BIDS folder is read in the right order, and every bad input is refused in one sentence."""

import gzip
import json
import logging
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.bids.dataset import links_outside
from conceptrsa.pipelines.bids.reading import read_dataset, survey
from conceptrsa.pipelines.graph import example_settings
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.workflows.participant import init_dataset_wf

CONFIG = load_dataset_config("demo")
SHAPE = (8, 7, 6, 24)
TR = 3.0
SLICE_TIMES = [1.5, 0.0, 2.0, 0.5, 2.5, 1.0]
SIDECAR = "task-perception_bold.json"
RUNS = [("a2", "1"), ("a2", "2"), ("a2", "10"), ("a10", "1")]
EVENTS = (
    "onset\tduration\tevent_type\tstimulus_name\n"
    "0\t12\trest\tn/a\n12\t9\tstimulus\tx\n21\t9\tstimulus\ty\n30\t9\tstimulus\ty\n"
)


def save_image(
    file: Path,
    shape: tuple[int, ...],
    tr: float = TR,
    affine: np.ndarray | None = None,
    time_unit: str = "sec",
) -> None:
    """Write noise, which does not compress, so that a truncated file is truncated in its voxels."""
    values = np.random.default_rng(0).integers(0, 1000, shape, dtype=np.int16)
    image = nib.Nifti1Image(values, np.diag([3.0, 3, 3, 1]) if affine is None else affine)
    if len(shape) == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], tr))
    image.header.set_xyzt_units("mm", time_unit)
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, file)


def bold_name(subject: str, session: str, run: str) -> str:
    prefix = f"sub-{subject}_ses-{session}_task-perception_run-{run}"
    return f"sub-{subject}/ses-{session}/func/{prefix}_bold.nii.gz"


FIRST_BOLD, SECOND_BOLD = bold_name("01", "a2", "1"), bold_name("01", "a2", "2")
FIRST_EVENTS = FIRST_BOLD.replace("_bold.nii.gz", "_events.tsv")
T1W = "sub-01/ses-anat/anat/sub-01_ses-anat_T1w.nii.gz"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects with four runs each; the timing stands in a sidecar at the root."""
    root = tmp_path_factory.mktemp("pristine")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / SIDECAR).write_text(json.dumps({"RepetitionTime": TR, "SliceTiming": SLICE_TIMES}))
    for subject in ("01", "02"):
        save_image(root / T1W.replace("sub-01", f"sub-{subject}"), (9, 9, 9))
        for session, run in RUNS:
            bold = root / bold_name(subject, session, run)
            save_image(bold, SHAPE)
            bold.with_name(bold.name.replace("_bold.nii.gz", "_events.tsv")).write_text(EVENTS)
    return root


@pytest.fixture
def bids(pristine: Path, tmp_path: Path) -> Path:
    """A copy to spoil; entities in the name of a folder above the data set are none of its own."""
    return Path(shutil.copytree(pristine, tmp_path / "sub-9_ses-9_run-9" / "data"))


def edit_json(file: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes a key."""
    values = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def truncate(file: Path, kept: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])


def test_subjects_and_runs_in_natural_order(bids: Path) -> None:
    subjects = read_dataset(bids, CONFIG)
    assert [subject.subject for subject in subjects] == ["01", "02"]
    assert subjects[0].t1w == bids / T1W
    runs = subjects[1].runs
    assert [(run.session, run.run) for run in runs] == RUNS
    for run in runs:
        assert run.session is not None and run.run is not None
        assert run.bold == bids / bold_name("02", run.session, run.run)
        assert run.events.parent == run.bold.parent
        assert run.subject == "02"
        assert run.repetition_time == TR
        assert run.slice_times == tuple(SLICE_TIMES)
        assert run.slice_axis == "k"


@pytest.mark.parametrize("labels", [["02"], ["sub-02"], ["02", "sub-02"]])
def test_participants_with_and_without_prefix(bids: Path, labels: list[str]) -> None:
    assert [subject.subject for subject in read_dataset(bids, CONFIG, labels)] == ["02"]


def test_links_to_places_outside_are_said(bids: Path, tmp_path: Path) -> None:
    image, table = bids / FIRST_BOLD, bids / FIRST_EVENTS
    annexed = bids / ".git" / "annex" / "key"
    annexed.parent.mkdir(parents=True)
    image.rename(annexed)
    image.symlink_to(annexed)
    assert links_outside(read_dataset(bids, CONFIG), bids) == ""
    elsewhere = tmp_path / "elsewhere.tsv"
    table.rename(elsewhere)
    table.symlink_to(elsewhere)
    said = links_outside(read_dataset(bids, CONFIG), bids)
    assert said.startswith("1 of ") and f"{table} -> {elsewhere}" in said


def test_sessions_narrow_down_runs_but_not_the_t1w(bids: Path) -> None:
    (subject,) = read_dataset(bids, CONFIG, ["01"], ["ses-a10"])
    assert [(run.session, run.run) for run in subject.runs] == [("a10", "1")]
    assert subject.t1w == bids / T1W


def test_session_pattern_and_other_tasks(bids: Path) -> None:
    other = SECOND_BOLD.replace("task-perception", "task-rest")
    (bids / SECOND_BOLD).rename(bids / other)
    (bids / SECOND_BOLD.replace("_bold.nii.gz", "_events.tsv")).unlink()
    config = replace(CONFIG, runs=replace(CONFIG.runs, session_pattern="a[0-9]"))
    (subject,) = read_dataset(bids, config, ["01"])
    assert [(run.session, run.run) for run in subject.runs] == [("a2", "1"), ("a2", "10")]


def test_nearest_sidecar_has_the_last_word(bids: Path) -> None:
    near = bids / FIRST_BOLD.replace(".nii.gz", ".json")
    near.write_text(json.dumps({"SliceTiming": SLICE_TIMES[::-1], "SliceEncodingDirection": "k-"}))
    other_run = bids / "task-perception_run-3_bold.json"
    other_run.write_text('{"RepetitionTime": 99}')
    first, second = read_dataset(bids, CONFIG, ["01"])[0].runs[:2]
    assert (first.repetition_time, first.slice_times) == (TR, tuple(SLICE_TIMES[::-1]))
    assert (first.slice_axis, second.slice_axis) == ("k-", "k")
    assert (second.repetition_time, second.slice_times) == (TR, tuple(SLICE_TIMES))


def test_events_shared_by_all_runs_lie_at_the_root(bids: Path) -> None:
    for events in bids.glob("sub-*/ses-*/func/*_events.tsv"):
        events.unlink()
    shared = bids / "task-perception_events.tsv"
    shared.write_text(EVENTS)
    assert {run.events for run in read_dataset(bids, CONFIG)[0].runs} == {shared}


def test_conditions_of_a_run_are_in_a_file_of_its_own(bids: Path, tmp_path: Path) -> None:
    """Runs of different subjects, locked apart, may be at it at the same time."""
    for events in bids.glob("sub-*/ses-*/func/*_events.tsv"):
        events.unlink()
    (bids / "task-perception_events.tsv").write_text(EVENTS)
    subjects = read_dataset(bids, CONFIG)
    work = tmp_path / "work"
    workflow = init_dataset_wf(
        subjects, CONFIG, example_settings(CONFIG, ParticipantOptions()), work
    )
    for label in ("01", "02"):
        files = workflow.get_node(f"sub_{label}_wf.inputnode").inputs.events_files
        names = [Path(bold_name(label, *run)).name for run in RUNS]
        assert [Path(file) for file in files] == [
            work / "conditions" / f"sub-{label}" / name.replace("_bold.nii.gz", "_events.tsv")
            for name in names
        ]
        assert all(Path(file).is_file() for file in files)


def test_several_t1w_images_are_told(bids: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_image(bids / T1W.replace("_T1w", "_run-2_T1w"), (9, 9, 9))
    with caplog.at_level(logging.WARNING):
        subject = read_dataset(bids, CONFIG, ["01"])[0]
    assert subject.t1w == bids / T1W
    assert "sub-01 has 2 T1w images" in caplog.text and T1W in caplog.text


def test_header_in_milliseconds_or_without_tr_is_understood(bids: Path) -> None:
    save_image(bids / FIRST_BOLD, SHAPE, tr=3000, time_unit="msec")
    save_image(bids / SECOND_BOLD, SHAPE, tr=0)
    assert len(read_dataset(bids, CONFIG, ["01"])[0].runs) == 4


def test_uncompressed_images_are_read(bids: Path) -> None:
    for bold in bids.glob("sub-01/ses-*/func/*_bold.nii.gz"):
        bold.with_suffix("").write_bytes(gzip.decompress(bold.read_bytes()))
        bold.unlink()
    assert read_dataset(bids, CONFIG, ["01"])[0].runs[0].bold == bids / FIRST_BOLD[:-3]


def test_derivatives_and_sourcedata_are_left_out(bids: Path) -> None:
    for folder in ("derivatives/x", "sourcedata"):
        save_image(bids / folder / FIRST_BOLD, SHAPE)
    assert len(read_dataset(bids, CONFIG, ["01"])[0].runs) == 4


def test_names_only_needs_no_image(bids: Path) -> None:
    with_images = read_dataset(bids, CONFIG)
    (bids / FIRST_BOLD).unlink()
    (bids / SECOND_BOLD).unlink()
    (bids / SECOND_BOLD).symlink_to(".git/annex/objects/x")
    (bids / bold_name("02", "a2", "1")).write_bytes(b"")
    assert read_dataset(bids, CONFIG, names_only=True) == with_images
    (bids / T1W).unlink()
    subject = read_dataset(bids, CONFIG, names_only=True)[0]
    assert subject.t1w == bids / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    assert subject.runs == with_images[0].runs


def test_real_names_of_ds001246(shared_data: Path) -> None:
    config = load_dataset_config("ds001246")
    subjects = read_dataset(shared_data / "ds001246", config, names_only=True)
    assert [subject.subject for subject in subjects] == ["01", "02", "03", "04", "05"]
    sessions = [len({run.session for run in subject.runs}) for subject in subjects]
    assert sessions == [4, 4, 5, 4, 6]
    for subject in subjects:
        assert len(subject.runs) == 35
        order = [(str(run.session), str(run.run)) for run in subject.runs]
        assert order == sorted(order)
        for run in subject.runs:
            assert (run.repetition_time, run.slice_axis, len(run.slice_times)) == (3.0, "k", 50)
            assert run.slice_times[:2] == (1.505, 0.0) and max(run.slice_times) == 2.9525


def shifted(distance: float) -> np.ndarray:
    affine = np.diag([3.0, 3, 3, 1])
    affine[0, 3] = distance
    return affine


Break = Callable[[Path], object]
BAD_INPUTS: dict[str, tuple[Break, str]] = {
    "no description": (
        lambda root: (root / "dataset_description.json").unlink(),
        "has no dataset_description.json",
    ),
    "broken description": (
        lambda root: (root / "dataset_description.json").write_text("{"),
        "is not valid JSON",
    ),
    "derivative": (
        lambda root: edit_json(root / "dataset_description.json", DatasetType="derivative"),
        "is a BIDS derivative",
    ),
    "missing T1w": (lambda root: (root / T1W).unlink(), "sub-01 has no T1w image"),
    "T1w series": (lambda root: save_image(root / T1W, (9, 9, 9, 3)), "9 x 9 x 9 x 3: a T1w"),
    "T1w slice": (lambda root: save_image(root / T1W, (9, 9, 1)), "9 x 9 x 1: a T1w"),
    "missing sidecar": (
        lambda root: (root / SIDECAR).unlink(),
        "run-1_bold.nii.gz has no JSON sidecar: add sub-01_ses-a2_task-perception_run-1_bold.json",
    ),
    "broken sidecar": (
        lambda root: (root / SIDECAR).write_text('{"RepetitionTime": 3,'),
        f"{SIDECAR} is not valid JSON",
    ),
    "sidecar a list": (lambda root: (root / SIDECAR).write_text("[]"), "must hold a JSON object"),
    "missing TR": (
        lambda root: edit_json(root / SIDECAR, RepetitionTime=None),
        "run-1_bold.nii.gz has no RepetitionTime",
    ),
    "TR in ms": (
        lambda root: edit_json(root / SIDECAR, RepetitionTime=3000),
        "RepetitionTime 3000: give seconds (not ms)",
    ),
    "TR a text": (lambda root: edit_json(root / SIDECAR, RepetitionTime="3"), "RepetitionTime '3'"),
    "missing slice times": (
        lambda root: edit_json(root / SIDECAR, SliceTiming=None),
        "run-1_bold.nii.gz has no SliceTiming",
    ),
    "slice times in ms": (
        lambda root: edit_json(root / SIDECAR, SliceTiming=[1000 * t for t in SLICE_TIMES]),
        "slice times from 0 to 2500 but a TR of 3 s",
    ),
    "slice times a text": (
        lambda root: edit_json(root / SIDECAR, SliceTiming="ascending"),
        "not a list of numbers",
    ),
    "slice time missing": (
        lambda root: edit_json(root / SIDECAR, SliceTiming=SLICE_TIMES[1:]),
        "has 6 slices along axis k but its sidecar has 5 slice times",
    ),
    "slices along another axis": (
        lambda root: edit_json(root / SIDECAR, SliceEncodingDirection="j-"),
        "has 7 slices along axis j- but",
    ),
    "no such axis": (
        lambda root: edit_json(root / SIDECAR, SliceEncodingDirection="z"),
        "SliceEncodingDirection 'z': give one of i, j, k",
    ),
    "missing events": (
        lambda root: (root / FIRST_EVENTS).unlink(),
        "has no events file: add sub-01_ses-a2_task-perception_run-1_events.tsv",
    ),
    "events without condition": (
        lambda root: (root / FIRST_EVENTS).write_text(EVENTS.replace("stimulus_name", "name")),
        "lacks the column stimulus_name",
    ),
    "events longer than run": (
        lambda root: (root / FIRST_EVENTS).write_text(EVENTS + "66\t12\tstimulus\tx\n"),
        "has events until 78 s (last onset 66 s) but its run ends after 72 s",
    ),
    "truncated .nii.gz": (lambda root: truncate(root / FIRST_BOLD, 0.7), "truncated or damaged"),
    "truncated checksum": (lambda root: truncate(root / FIRST_BOLD, 0.9999), "truncated or damag"),
    "truncated T1w": (lambda root: truncate(root / T1W, 0.7), "truncated or damaged"),
    "truncated header": (lambda root: truncate(root / FIRST_BOLD, 0.001), "cannot be read"),
    "empty image": (lambda root: (root / FIRST_BOLD).write_bytes(b""), "cannot be read"),
    "text for an image": (
        lambda root: (root / FIRST_BOLD).write_text("<html>404</html>"),
        "cannot be read",
    ),
    "content not fetched": (
        lambda root: (
            (root / FIRST_BOLD).unlink(),
            (root / FIRST_BOLD).symlink_to(".git/annex/objects/x"),
        ),
        "`datalad get`",
    ),
    "image gone": (lambda root: (root / FIRST_BOLD).unlink(), "has no BOLD image beside it"),
    "3D BOLD": (lambda root: save_image(root / FIRST_BOLD, SHAPE[:3]), "must have four dimensions"),
    "short BOLD": (
        lambda root: save_image(root / FIRST_BOLD, (*SHAPE[:3], 19)),
        "has 19 volumes but at least 20",
    ),
    "TR differs from header": (
        lambda root: save_image(root / FIRST_BOLD, SHAPE, tr=2.0),
        "TR of 2 s in its header but 3 s in its sidecar",
    ),
    "another shape": (
        lambda root: save_image(root / SECOND_BOLD, (9, *SHAPE[1:])),
        "run-1_bold.nii.gz in shape (9 x 7 x 6, not 8 x 7 x 6)",
    ),
    "another voxel size": (
        lambda root: save_image(root / SECOND_BOLD, SHAPE, affine=np.diag([3.0, 3, 4, 1])),
        "in voxel size (3 x 3 x 4 mm, not 3 x 3 x 3)",
    ),
    "another orientation": (
        lambda root: save_image(root / SECOND_BOLD, SHAPE, affine=np.diag([-3.0, 3, 3, 1])),
        "in orientation (LAS, not RAS)",
    ),
    "another place": (
        lambda root: save_image(root / SECOND_BOLD, SHAPE, affine=shifted(60)),
        "in place (60 mm away)",
    ),
    "the same run twice": (
        lambda root: save_image(root / FIRST_BOLD.replace("_run-1", "_run-01"), SHAPE),
        "have names of the same run",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS.keys())
def test_bad_input_is_one_sentence(bids: Path, spoil: Break, message: str) -> None:
    spoil(bids)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        read_dataset(bids, CONFIG)
    sentence = str(caught.value)
    assert str(bids) in sentence and "\n" not in sentence
    assert sentence in survey(bids, CONFIG)[1]


def test_truncated_uncompressed_image(bids: Path) -> None:
    plain = bids / FIRST_BOLD[:-3]
    plain.write_bytes(gzip.decompress((bids / FIRST_BOLD).read_bytes()))
    (bids / FIRST_BOLD).unlink()
    truncate(plain, 0.9)
    with pytest.raises(InputError, match=r"run-1_bold\.nii is truncated \(14832 bytes of 16480\)"):
        read_dataset(bids, CONFIG)


def test_no_problem_is_found_where_none_is(bids: Path) -> None:
    assert survey(bids, CONFIG)[1] == ()


def test_small_moves_between_sessions_are_no_fault(bids: Path) -> None:
    save_image(bids / SECOND_BOLD, SHAPE, affine=shifted(20))
    assert not survey(bids, CONFIG)[1]


@pytest.mark.parametrize(
    ("participants", "sessions", "message"),
    [
        (["03"], None, "'03' is not a participant in .*choose from 01, 02"),
        (["sub-1"], None, "'1' is not a participant"),
        (None, ["b"], "'b' is not a session .*choose from a2, a10, anat"),
        (None, ["anat"], "sub-01 has no BOLD run of task perception, chosen sessions anat"),
    ],
)
def test_unknown_labels_list_those_there(
    bids: Path, participants: list[str] | None, sessions: list[str] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_dataset(bids, CONFIG, participants, sessions)


def test_unknown_task_lists_those_there(bids: Path) -> None:
    config = replace(CONFIG, runs=replace(CONFIG.runs, task="imagery"))
    with pytest.raises(InputError, match=r"task imagery in .* \(tasks there: perception;"):
        read_dataset(bids, config)


def test_number_of_stimuli_is_checked_where_known(bids: Path) -> None:
    config = replace(CONFIG, stimuli=replace(CONFIG.stimuli, count=3))
    with pytest.raises(InputError, match=r"4 runs of sub-01 .* show 2 different stimuli .* says 3"):
        read_dataset(bids, config)


def test_no_folder_and_no_subjects(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        read_dataset(tmp_path / "absent", CONFIG)
    (tmp_path / "dataset_description.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds no sub-\* folder"):
        read_dataset(tmp_path, CONFIG)


@pytest.mark.parametrize("n_threads", [1, 4])
def test_all_problems_are_found_at_once(bids: Path, n_threads: int) -> None:
    (bids / T1W).unlink()
    (bids / FIRST_EVENTS).unlink()
    truncate(bids / FIRST_BOLD, 0.7)
    save_image(bids / SECOND_BOLD, SHAPE, tr=2.0)
    truncate(bids / bold_name("02", "a10", "1"), 0.7)
    problems = survey(bids, CONFIG, n_threads=n_threads)[1]
    expected = ["no T1w", "no events file", "TR of 2 s", FIRST_BOLD, "sub-02_ses-a10"]
    assert len(problems) == len(expected)
    assert all(part in problem for part, problem in zip(expected, problems, strict=True))
    with pytest.raises(InputError, match="no T1w"):
        read_dataset(bids, CONFIG)
