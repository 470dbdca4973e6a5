"""What is legal BIDS is not refused, and what fMRIPrep calls otherwise is found."""

import json
import logging
from pathlib import Path

import pytest
from odd_inputs import bids

from conceptrsa.analysis.betas.beta_index import Request
from conceptrsa.analysis.betas.statmaps import list_statmaps
from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError, grouped
from conceptrsa.bids_config.schema import EventsConfig, OneBackConfig
from conceptrsa.bids_config.spaces import MNI305
from conceptrsa.pipelines.bids.dataset import Reading, SubjectInputs
from conceptrsa.pipelines.bids.events import read_run_events
from conceptrsa.pipelines.bids.layout import read_filters
from conceptrsa.pipelines.bids.reading import read_dataset, survey
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.reports.subject_records import read_cautions
from conceptrsa.pipelines.workflows.mni305 import NormalizationSettings
from conceptrsa.pipelines.workflows.sidecars import SubjectDerivatives

CONFIG = load_dataset_config("demo")


def read(root: Path, reading: Reading | None = None) -> tuple[SubjectInputs, ...]:
    return read_dataset(root, CONFIG, names_only=True, reading=reading)


@pytest.mark.parametrize("entities", bids.OF_RUNS.values(), ids=bids.OF_RUNS)
def test_runs_are_told_apart_by_every_entity(entities: tuple[str, str], tmp_path: Path) -> None:
    root = bids.make(tmp_path / "raw", {"01": entities})
    (subject,) = read(root)
    assert [run.bold.name for run in subject.runs] == [
        f"{bids.stem('01', one)}_bold.nii.gz" for one in entities
    ]
    assert [run.events.name for run in subject.runs] == [
        f"{bids.stem('01', one)}_events.tsv" for one in entities
    ]


def test_reconstructions_of_one_recording_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read(bids.make(tmp_path / "raw", {"01": ("rec-dico", "rec-orig")}))
    assert f"sub-01 in {tmp_path / 'raw'} has runs of 2 reconstructions (rec-)" in caplog.text


def test_echoes_are_one_run(tmp_path: Path) -> None:
    root = bids.make(tmp_path / "raw", {"01": ()})
    for echo in bids.MULTIPLE_ECHOES:
        bids.add_run(root, "01", f"run-01_{echo}", None)
    (root / "sub-01/func/sub-01_task-perception_run-01_events.tsv").write_text(bids.EVENTS)
    with pytest.raises(InputError, match="one of 3 echoes of a run, which are not combined"):
        read(root)
    (tmp_path / "f.json").write_text('{"bold": {"echo": 2}}')
    (subject,) = read(root, Reading(read_filters(tmp_path / "f.json")))
    assert [run.bold.name for run in subject.runs] == [
        "sub-01_task-perception_run-01_echo-2_bold.nii.gz"
    ]
    fmriprep = bids.make_fmriprep(tmp_path / "fmriprep", "01", ["run-01"])
    (subject,) = read(root, Reading(derivatives_dir=fmriprep))
    (run,) = subject.runs
    assert run.image.name == "sub-01_task-perception_run-01_space-T1w_desc-preproc_bold.nii.gz"
    assert run.bold.name == "sub-01_task-perception_run-01_bold.nii.gz"


def test_parts_of_complex_images(tmp_path: Path) -> None:
    root = bids.make(tmp_path / "raw", {"01": ()})
    for part in ("part-mag", "part-phase", "part-real", "part-imag"):
        bids.add_run(root, "01", f"run-1_{part}", None)
    (root / "sub-01/func/sub-01_task-perception_run-1_events.tsv").write_text(bids.EVENTS)
    (subject,) = read(root)
    assert [run.bold.name for run in subject.runs] == [
        "sub-01_task-perception_run-1_part-mag_bold.nii.gz"
    ]
    (root / "sub-01/func/sub-01_task-perception_run-1_part-mag_bold.nii.gz").unlink()
    with pytest.raises(InputError, match="without its magnitude"):
        read(root)


def test_one_run_spelt_twice(tmp_path: Path) -> None:
    root = bids.make(tmp_path / "raw", {"01": ("run-1", "run-01")})
    with pytest.raises(InputError, match="have names of the same run"):
        read(root)


@pytest.mark.parametrize("folder", bids.OTHER_DATA)
def test_events_of_other_data_are_no_lost_runs(folder: str, tmp_path: Path) -> None:
    root = bids.make(tmp_path / "raw", {"01": ("run-1",)})
    bids.add_other_data(root, "01", folder)
    (subject,) = read(root)
    assert [run.events.parent.name for run in subject.runs] == ["func"]
    problems = survey(root, CONFIG)[1]
    assert problems and not any("has no BOLD image beside it" in problem for problem in problems)


def test_participants_without_a_run_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = bids.make(tmp_path / "raw", {"01": ("run-1",), "02": ("run-1",), "03": ()})
    bids.touch(root / "sub-emptyroom/ses-1/meg/sub-emptyroom_ses-1_task-noise_meg.fif")
    with caplog.at_level(logging.WARNING):
        assert [subject.subject for subject in read(root)] == ["01", "02"]
        read(root)
    assert caplog.text.count("are left out: sub-03, sub-emptyroom") == 1
    with pytest.raises(InputError, match="sub-03 has no BOLD run of task perception"):
        read_dataset(root, CONFIG, ["03"], names_only=True)


def test_events_without_a_stimulus_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "x_events.tsv"
    file.write_text("onset\tduration\tstim_file\n0\tn/a\tn/a\n3\t1\timages/a.png\n6\t1\tb.png\n")
    events = read_run_events(file, EventsConfig("stim_file", OneBackConfig("none")))
    assert events["condition"].tolist() == ["a", "b"]
    root = bids.make(tmp_path / "raw", {"01": ("run-1", "run-2")}, file.read_text())
    config = tmp_path / "c.toml"
    config.write_text(
        'name = "x"\n[runs]\ntask = "perception"\n[events]\ncondition_column = "stim_file"\n'
        '[events.one_back]\nrule = "none"\n[rois]\nv = [1011]\n[stimuli]\n'
    )
    read_dataset(root, load_dataset_config(config), names_only=True)
    assert "2 events in 2 of 2 runs" in caplog.text


def test_volume_timing_is_said_to_be_none_of_ours(tmp_path: Path) -> None:
    root = bids.make(tmp_path / "raw", {"01": ("run-1",)})
    sidecar = {"VolumeTiming": [0.0, 3.0, 9.0], "SliceTiming": [0.0, 0.1]}
    (root / "task-perception_bold.json").write_text(json.dumps(sidecar))
    with pytest.raises(InputError, match="has VolumeTiming in place of RepetitionTime"):
        read(root)


@pytest.mark.parametrize(
    ("raw", "made"), [("run-01", "run-1"), ("run-1", "run-01"), ("run-01_echo-1", "run-1")]
)
def test_numbers_that_fmriprep_writes_otherwise(raw: str, made: str, tmp_path: Path) -> None:
    root = bids.make(tmp_path / "raw", {"01": (raw,)})
    fmriprep = bids.make_fmriprep(tmp_path / "fmriprep", "01", [made])
    (subject,) = read(root, Reading(derivatives_dir=fmriprep))
    run = subject.runs[0].preprocessed
    assert run is not None
    assert run.bold.name == f"{bids.stem('01', made)}_space-T1w_desc-preproc_bold.nii.gz"
    assert run.confounds.name == f"{bids.stem('01', made)}_desc-confounds_timeseries.tsv"


def test_run_1_is_not_taken_for_run_10(tmp_path: Path) -> None:
    root = bids.make(tmp_path / "raw", {"01": ("run-01", "run-10")})
    fmriprep = bids.make_fmriprep(tmp_path / "fmriprep", "01", ["run-10"])
    said = r"run-01_space-T1w\S+ is missing in T1w and every other space \(1 other runs exist"
    with pytest.raises(InputError, match=said):
        read(root, Reading(derivatives_dir=fmriprep))


def test_the_spaces_that_are_there_are_named(tmp_path: Path) -> None:
    root = bids.make(tmp_path / "raw", {"01": ("run-01",)})
    spaces = ("_space-MNI152NLin2009cAsym_res-2", "_space-MNI152NLin6Asym", "")
    fmriprep = bids.make_fmriprep(tmp_path / "fmriprep", "01", ["run-1"], spaces=spaces)
    surface = "sub-01_task-perception_run-1_hemi-L_space-fsaverage5_bold.func.gii"
    bids.touch(fmriprep / "sub-01/func" / surface)
    with pytest.raises(InputError) as caught:
        read(root, Reading(derivatives_dir=fmriprep))
    assert str(caught.value) == (
        f"{fmriprep} holds runs of task perception in MNI152NLin2009cAsym:res-2, "
        "MNI152NLin6Asym and their own space: choose --space MNI152NLin2009cAsym:res-2 or --space "
        "MNI152NLin6Asym"
    )


def test_headers_that_say_one_second(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = ("run-1", "run-2")
    root = bids.make(tmp_path / "raw", {"01": runs})
    fmriprep = bids.make_fmriprep(tmp_path / "fmriprep", "01", runs, header_tr=1.0)
    t1w = fmriprep / "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz"
    bids.save_t1w(t1w)
    reading = Reading(derivatives_dir=fmriprep)
    assert survey(root, CONFIG, reading=reading)[1] == ()
    (subject,) = read_dataset(root, CONFIG, reading=reading)
    assert [run.repetition_time for run in subject.runs] == [bids.TR, bids.TR]
    assert "2 of 2 runs have a TR in their header that differs" in caplog.text
    assert "1 s in the header, 2 s in the sidecar" in caplog.text

    sidecar = tmp_path / "out/sub-01/func/sub-01_x_space-MNI305_res-2_stat-effect_statmap.json"
    sidecar.parent.mkdir(parents=True)
    files = SubjectDerivatives(subject, "perception", NormalizationSettings())
    _, content = files.betas(MNI305.entities, {"Engine": "python"})[0]
    sidecar.write_text(json.dumps(content))
    assert any(
        "the headers of 2 of fMRIPrep's images give another TR (1 s)" in caution
        for caution in read_cautions(tmp_path / "out", "01")
    )


def test_right_headers_need_no_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = bids.make(tmp_path / "raw", {"01": ("run-1",)})
    fmriprep = bids.make_fmriprep(tmp_path / "fmriprep", "01", ["run-1"], header_tr=bids.TR)
    (subject,) = read(root, Reading(derivatives_dir=fmriprep))
    assert subject.runs[0].preprocessed is not None
    assert subject.runs[0].preprocessed.wrong_header_tr is None
    assert not caplog.records


def test_equal_problems_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subjects = {f"{n:02d}": ("run-1", "run-2") for n in range(1, 31)}
    root = bids.make(tmp_path / "raw", subjects)
    (root / "sub-07/func/sub-07_task-perception_run-2_events.tsv").unlink()
    assert len(survey(root, CONFIG)[1]) == 91
    arguments = ["run", str(root), str(tmp_path / "out"), "participant", "--dataset-config",
                 "demo", "--dry-run", "--skip-bids-validation", "--engine", "python"]  # fmt: skip
    assert main(arguments) == 2
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]
    assert len(said) == 2
    assert "sub-07_task-perception_run-2_bold.nii.gz has no events file" in said[0]
    assert said[1].startswith(
        "problem: 90 alike (sub-01, sub-02, sub-03 and 27 more participants), the first: "
        f"{root}/sub-01/anat/sub-01_T1w.nii.gz cannot be read"
    )


def test_different_problems_stay_apart() -> None:
    sentences = ["a/x has 3 slices: correct it", "b/y has 4 slices: correct it", "a/x is empty"]
    assert grouped(sentences) == [
        "2 alike, the first: a/x has 3 slices: correct it",
        "a/x is empty",
    ]


def test_maps_of_runs_are_told_apart_too(tmp_path: Path) -> None:
    for entities in ("dir-AP_run-1", "dir-PA_run-1"):
        bids.touch(tmp_path / f"sub-01_task-x_{entities}_contrast-a_stat-effect_statmap.nii.gz")
    bids.touch(tmp_path / "sub-02_task-x_dir-AP_run-01_contrast-a_stat-effect_statmap.nii.gz")
    first, second = list_statmaps(Request(tmp_path, rois=()))
    assert [image.run for image in first.images] == ["dir-AP_run-1", "dir-PA_run-1"]
    assert [image.run for image in second.images] == ["run-1"]
