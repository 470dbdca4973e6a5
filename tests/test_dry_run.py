"""The dry run: what would be done, with what time and disk, and everything that is missing."""

import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from conceptrsa.bids_config.durations import duration
from conceptrsa.interfaces.freesurfer.installation import NEEDED_FILES
from conceptrsa.interfaces.numerics import brain_mask
from conceptrsa.pipelines.bids.dataset import BoldRun, SubjectInputs
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.dry_run import print_totals
from conceptrsa.pipelines.execution.forecast import forecast_subject
from conceptrsa.pipelines.participant_options import ParticipantOptions, SlurmSettings

OF_PAPER = ("--dataset-config", "ds001246")
STEPS = (
    "slice timing", "realignment", "coregistration", "brain mask of the T1w",
    "normalization to MNI305", "GLM",
    "betas in MNI305", "regions of interest", "derivatives",
)  # fmt: skip


@pytest.fixture(autouse=True)
def without_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (
        "SPMMCRCMD",
        "MCR",
        "FREESURFER_HOME",
        "FS_LICENSE",
        "CONCEPTRSA_ENGINE",
        "CONCEPTRSA_NORMALIZATION",
    ):
        monkeypatch.delenv(variable, raising=False)


def test_the_real_tree_of_names_and_events(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = str(shared_data / "ds001246")
    out = tmp_path / "out"
    arguments = ["run", bids, str(out), "participant", *OF_PAPER, "--engine", "spm", "--dry-run"]
    assert main(arguments) == 2  # as images and SPM are missing
    text = capsys.readouterr().out
    subjects = re.findall(
        r"^sub-(\d\d): 35 runs \(35 of their images are missing\), 50 stimuli, 1750 pres"
        r"entations, 175 one-backs; about .*, [\d.]+ GB$",
        text,
        re.MULTILINE,
    )
    assert subjects == ["01", "02", "03", "04", "05"]
    assert len(re.findall(r"^  run sub-0\d_ses-\S+_bold.nii.gz  TR 3 s$", text, re.M)) == 175
    for step in STEPS:
        found = re.findall(rf"^  step {step} +about +[\d.]+ (s|min|h) +[\d.]+ GB$", text, re.M)
        assert len(found) == 5
    assert "problem: no SPM was found" in text
    assert "problem: 5 alike (sub-01, sub-02, sub-03 and 2 more participants), the first: " in text
    assert text.count("has no T1w image") == 1
    assert "64 x 64 voxels" in text
    assert not out.exists()


@pytest.mark.parametrize("engine", ["python", "spm"])
def test_run_wise_betas_have_their_steps_and_their_disk(
    engine: str, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "run", str(shared_data / "ds001246"), str(tmp_path / "out"), "participant", *OF_PAPER,
        "--engine", engine, "--dry-run", "--participant-label", "01", "--keep-work",
    ]  # fmt: skip
    assert main(arguments) == 2
    without = capsys.readouterr().out
    assert main([*arguments, "--run-betas"]) == 2
    text = capsys.readouterr().out
    found = re.findall(
        r"^  step (run-wise betas|residual covariance) +about +[\d.]+ (?:s|min|h) +([\d.]+) GB$",
        text, re.M,
    )  # fmt: skip
    assert [name for name, _ in found] == ["run-wise betas", "residual covariance"]
    assert all(float(gigabytes) > 0.1 for _, gigabytes in found)
    added = set(text.splitlines()) - set(without.splitlines())
    assert sum(line.startswith("  step") for line in added) == 2
    totals = [float(re.search(r"([\d.]+) GB of disk", t).group(1)) for t in (without, text)]
    assert totals[1] - totals[0] == pytest.approx(sum(float(g) for _, g in found), abs=0.11)


def test_a_partition_without_a_stimulus_is_a_problem(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids = tmp_path / "bids"
    shutil.copytree(shared_data / "ds001246", bids, ignore=shutil.ignore_patterns("sub-0[2-5]"))
    for events in bids.glob("sub-01/ses-perceptionTest*/func/*_run-01_events.tsv"):
        table = pd.read_csv(events, sep="\t", dtype=str, keep_default_na=False)
        stimulus = min(set(table["stimulus_name"]) - {"n/a"})
        table[table["stimulus_name"] != stimulus].to_csv(events, sep="\t", index=False)
    arguments = ["run", str(bids), str(tmp_path / "out"), "participant", *OF_PAPER, "--dry-run"]
    for size, is_problem in (("1", True), ("3", False)):
        main([*arguments, "--run-betas", "--runs-per-partition", size])
        text = capsys.readouterr().out
        assert (f"problem: {stimulus} is not shown in " in text) == is_problem
        assert ("raise --runs-per-partition above 1" in text) == is_problem


def test_a_number_of_runs_without_run_wise_betas_is_refused(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", str(shared_data / "ds001246"), str(tmp_path / "out")]
    assert main([*arguments, "participant", *OF_PAPER, "--runs-per-partition", "2"]) == 2
    assert "--runs-per-partition needs --run-betas" in capsys.readouterr().err
    assert main([*arguments, "group", "--run-betas"]) == 2
    assert "--run-betas belongs to the participant level" in capsys.readouterr().err


def test_the_network_is_asked_for_where_brains_must_be_found(
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [
        "run", str(shared_data / "ds001246"), str(tmp_path / "out"), "participant",
        "--participant-label", "01", "--dry-run", *OF_PAPER,
    ]  # fmt: skip
    main(arguments)
    assert "deepbet" not in capsys.readouterr().out
    found = brain_mask.find_spec
    monkeypatch.setattr(
        brain_mask, "find_spec", lambda name: None if name == "deepbet" else found(name)
    )
    main(arguments)
    assert "`pip install --no-deps deepbet`" in capsys.readouterr().out
    (tmp_path / "sub-01" / "mri").mkdir(parents=True)
    (tmp_path / "sub-01" / "mri" / "brainmask.mgz").touch()
    main([*arguments, "--fs-subjects-dir", str(tmp_path)])
    assert "deepbet" not in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["FreeSurfer", "licence"])
def test_freesurfer_and_its_licence_are_asked_for(
    missing: str,
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if missing == "licence":
        (tmp_path / "fs" / "bin").mkdir(parents=True)
        for name in ("recon-all", "tkregister2", "mri_vol2vol", "bbregister"):
            shutil.copyfile("/bin/true", tmp_path / "fs" / "bin" / name)
            (tmp_path / "fs" / "bin" / name).chmod(0o755)
        monkeypatch.setenv("FREESURFER_HOME", str(tmp_path / "fs"))
    arguments = [
        "run", str(shared_data / "ds001246"), str(tmp_path / "out"), "participant",
        "--normalization", "freesurfer", "--participant-label", "01", "--dry-run", *OF_PAPER,
    ]  # fmt: skip
    assert main(arguments) == 2
    problems = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("problem:")
    ]  # fmt: skip
    # Each thing that is missing has its line: T1w, BOLD, fsaverage, FreeSurfer, its licence.
    assert len(problems) == (5 if missing == "FreeSurfer" else 4)
    assert sum("fsaverage" in problem for problem in problems) == 1
    assert sum("licence file" in problem for problem in problems) == 1
    assert any("no FreeSurfer was found" in p for p in problems) == (missing == "FreeSurfer")


def make_subject(folder: Path, n_volumes: int = 10) -> SubjectInputs:
    bold = folder / "bold.nii"
    nib.save(nib.Nifti1Image(np.zeros((8, 9, 5, n_volumes), np.int16), np.eye(4)), bold)
    events = pd.DataFrame(
        {"onset": [0.0], "duration": [2.0], "condition": ["a"], "kind": ["stimulus"]}
    )
    run = BoldRun(
        "01", None, "1", bold, folder / "events.tsv", 2.0, (0.0,) * 5, "k", conditions=events
    )
    return SubjectInputs("01", folder / "T1w.nii", (run, run))


def test_sizes_are_read_where_there_are_images(tmp_path: Path) -> None:
    subject = make_subject(tmp_path)
    size = forecast_subject(subject, ParticipantOptions(), tmp_path).size
    assert (size.n_runs, size.n_volumes, size.n_voxels, size.n_stimuli) == (2, 20, 360, 1)
    assert not size.is_assumed
    subject.runs[0].bold.unlink()
    size = forecast_subject(subject, ParticipantOptions(), tmp_path).size
    assert size.is_assumed and size.n_voxels == 64 * 64 * 5 and size.n_volumes == 2


def test_recon_all_is_counted_only_where_it_will_run(tmp_path: Path) -> None:
    subject = make_subject(tmp_path)
    options = ParticipantOptions(normalization="freesurfer")
    assert forecast_subject(subject, options, tmp_path).steps[0].name == "recon-all"
    for name in NEEDED_FILES:
        path = tmp_path / "sourcedata" / "freesurfer" / "sub-01" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert forecast_subject(subject, options, tmp_path).steps[0].name == "slice timing"


def test_processes_of_this_machine_are_no_matter_to_slurm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = make_subject(tmp_path)
    for options, said in (
        (ParticipantOptions(n_procs=3, memory_mb=1), "with 1 at a time"),
        (ParticipantOptions(n_procs=3, memory_mb=1, slurm=SlurmSettings()), "GB of memory a job"),
    ):
        forecasts = [forecast_subject(subject, options, tmp_path)] * 3
        print_totals(forecasts, options, tmp_path, 1.0)
        totals = capsys.readouterr().out
        assert said in totals
        assert ("--mem-mb" in totals) is (options.slurm is None)


def test_durations_in_the_unit_that_suits() -> None:
    assert [duration(seconds) for seconds in (8, 600, 9000)] == ["8 s", "10 min", "2.5 h"]
