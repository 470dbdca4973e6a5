"""Job scripts for SPM, line by line against expectations that were read by hand.

The expectations in `tests/spm_jobs` were checked against SPM12's batch configuration
(`spm_cfg_st`, `spm_cfg_realign`, `spm_cfg_coreg`, `spm_cfg_fmri_spec`, `spm_cfg_fmri_est`).
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_config.errors import InputError
from interfaces.spm import first_level, model
from interfaces.spm.jobs import CoregisterJob, RealignJob
from interfaces.spm.launcher import SpmLauncher
from interfaces.spm.script import compose
from interfaces.spm.slice_timing import SpmSliceTiming, slice_times_ms

EXPECTED = Path(__file__).parent / "spm_jobs"
EVENTS = pd.DataFrame(
    {
        "onset": [0.0, 6.0, 15.0, 24.0, 33.0],
        "duration": [6.0, 9.0, 9.0, 9.0, 6.0],
        "condition": ["fixation", "n01_b", "one-back", "n02 'a", "fixation"],
        "kind": ["fixation", "stimulus", "one-back", "stimulus", "fixation"],
    }
)


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What SPM is told; it is not run, and nothing is asked of its results."""
    told: list[str] = []

    def keep(launcher: SpmLauncher, text: str, *others: object) -> str:
        told.append(text)
        raise _ToldError

    monkeypatch.setattr("interfaces.spm.jobs.run_script", keep)
    monkeypatch.setenv("SPMMCRCMD", "sh script")
    return told


class _ToldError(Exception):
    pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with an image of two slices and three volumes."""
    monkeypatch.chdir(tmp_path)
    nib.save(nib.Nifti1Image(np.ones((4, 4, 2, 3), np.int16), np.eye(4)), tmp_path / "run.nii")
    nib.save(nib.Nifti1Image(np.ones((4, 4, 2), np.int16), np.eye(4)), tmp_path / "head.nii")
    return tmp_path


def expected(name: str, folder: Path) -> list[str]:
    return (EXPECTED / f"{name}.m").read_text().replace("{folder}", str(folder)).splitlines()


def test_slice_timing_in_milliseconds(scripts: list[str], folder: Path) -> None:
    step = SpmSliceTiming(
        in_file=str(folder / "run.nii"),
        slice_times=[1.5, 0.0],
        slice_axis="k",
        repetition_time=3.0,
    )
    with pytest.raises(_ToldError):
        step.run()
    assert scripts[0].splitlines() == expected("slice_timing", folder)


@pytest.mark.parametrize(
    ("axis", "expected_times"), [("k", [0.0, 500.0, 1000.0]), ("k-", [1000.0, 500.0, 0.0])]
)
def test_slice_times_follow_the_third_axis(axis: str, expected_times: list[float]) -> None:
    assert slice_times_ms([0.0, 0.5, 1.0], axis, Path("bold.nii")) == expected_times


@pytest.mark.parametrize("axis", ["i", "j", "i-", "j-"])
def test_slices_along_another_axis_are_refused(axis: str) -> None:
    with pytest.raises(InputError, match=r"bold\.nii .* axis [ij].*--engine python"):
        slice_times_ms([0.0, 0.5], axis, Path("bold.nii"))


def test_realignment_of_two_runs_together(folder: Path) -> None:
    for name in ("run01.nii", "run02.nii"):
        (folder / name).write_bytes((folder / "run.nii").read_bytes())
    job = RealignJob(
        in_files=[str(folder / "run01.nii"), str(folder / "run02.nii")],
        jobtype="estwrite",
        quality=0.9,
        separation=4.0,
        fwhm=5.0,
        register_to_mean=True,
        interp=2,
        wrap=[0, 0, 0],
        write_which=[2, 1],
        write_interp=4,
        write_wrap=[0, 0, 0],
        write_mask=True,
    )
    assert compose(job.job()).splitlines() == expected("realign", folder)


def test_coregistration_estimates_only_and_moves_the_epi(folder: Path) -> None:
    job = CoregisterJob(
        source=[str(folder / "head.nii")],
        target=str(folder / "run.nii"),
        jobtype="estimate",
        cost_function="nmi",
        separation=[4.0, 2.0],
        tolerance=[0.02] * 3 + [0.001] * 3 + [0.01] * 3 + [0.001] * 3,
        fwhm=[7.0, 7.0],
    )
    assert compose(job.job()).splitlines() == expected("coregister", folder)


def make_inputs(folder: Path) -> first_level.SpmModelInputSpec:
    return first_level.SpmModelInputSpec(
        repetition_times=[3.0, 3.0], mask_file=str(folder / "head.nii"), time_limit=60.0
    )


def make_run(folder: Path, events: pd.DataFrame = EVENTS) -> model.Run:
    motion = np.column_stack([np.arange(3.0)] * 5 + [np.zeros(3)])
    return model.Run(folder / "run.nii", 3, events, motion)


@pytest.mark.parametrize("run_model", ["sessions", "concatenated"])
def test_first_level_model(run_model: str, scripts: list[str], folder: Path) -> None:
    runs = [make_run(folder), make_run(folder, EVENTS.iloc[:3])]
    if run_model == "sessions":
        sessions = [
            model.session_info(
                [run.scans],
                model.conditions_of(run.events, "explicit"),
                folder / f"motion{number}.mat",
                128.0,
            )
            for number, run in enumerate(runs, start=1)
        ]
        n_volumes: list[int] = []
    else:
        events = model.concatenated(runs, 3.0)
        conditions = model.conditions_of(events, "implicit")
        scans = [run.scans for run in runs]
        sessions = [model.session_info(scans, conditions, folder / "motion.mat", 128.0)]
        n_volumes = [3, 3]
    with pytest.raises(_ToldError):
        first_level.estimate(make_inputs(folder), folder, sessions, n_volumes)
    assert scripts[0].splitlines() == expected(f"first_level_{run_model}", folder)


def test_estimation_and_what_is_read_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "SPM.mat").write_bytes(b"")
    job = first_level.EstimateJob(
        spm_mat_file=str(folder / "SPM.mat"),
        estimation_method={"Classical": 1},
        write_residuals=False,
    )
    text = compose(job.job(), model.export(folder / "SPM.mat", folder / "xX.mat"))
    assert text.splitlines() == expected("estimate", folder)


def test_no_numpy_scalar_leaks_into_a_job(scripts: list[str], folder: Path) -> None:
    conditions = model.conditions_of(EVENTS.astype({"onset": np.float64}), "explicit")
    session = model.session_info(
        [folder / "run.nii"], conditions, folder / "m.mat", np.float64(128)
    )
    with pytest.raises(_ToldError):
        first_level.estimate(make_inputs(folder), folder, [session])
    assert "np." not in scripts[0]
