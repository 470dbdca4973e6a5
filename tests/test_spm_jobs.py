"""Job scripts for SPM, line by line against expectations that were read by hand.

The expectations in `tests/spm_jobs` were checked against SPM12's batch configuration
(`spm_cfg_st`, `spm_cfg_realign`, `spm_cfg_coreg`, `spm_cfg_fmri_spec`, `spm_cfg_fmri_est`).
"""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.spm import first_level, first_level_model
from conceptrsa.interfaces.spm.find_spm import SpmLauncher
from conceptrsa.interfaces.spm.preprocessing_jobs import (
    SpmCoregister,
    SpmRealign,
    SpmSliceTiming,
    slice_times_ms,
)

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
    """What SPM is told. Only the specification of a model is let pass, for its estimation."""
    told: list[str] = []

    def keep(launcher: SpmLauncher, text: str, folder: Path, *others: object) -> str:
        told.append(text)
        if "fmri_spec" not in text:
            raise _ToldError
        (folder / "SPM.mat").write_text("specified")
        return ""

    monkeypatch.setattr("conceptrsa.interfaces.spm.jobs.run_script", keep)
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
    found = slice_times_ms([0.0, 0.5, 1.0], axis, 1.5, (4, 4, 3, 9), Path("bold.nii"))
    assert found == expected_times


@pytest.mark.parametrize("axis", ["i", "j", "i-", "j-"])
def test_slices_along_another_axis_are_refused(axis: str) -> None:
    with pytest.raises(InputError, match=r"bold\.nii .* axis [ij].*--engine python"):
        slice_times_ms([0.0, 0.5], axis, 1.5, (2, 2, 2, 9), Path("bold.nii"))


def test_realignment_of_two_runs_together(scripts: list[str], folder: Path) -> None:
    with pytest.raises(_ToldError):
        SpmRealign(in_files=[str(folder / "run.nii")] * 2).run()
    assert scripts[0].splitlines() == expected("realign", folder)


def test_coregistration_estimates_only_and_moves_the_epi(scripts: list[str], folder: Path) -> None:
    (folder / "T1w.nii").write_bytes((folder / "head.nii").read_bytes())
    step = SpmCoregister(
        source_file=str(folder / "head.nii"), reference_file=str(folder / "T1w.nii")
    )
    with pytest.raises(_ToldError):
        step.run()
    assert scripts[0].splitlines() == expected("coregister", folder)


def make_inputs(folder: Path) -> Any:
    return first_level.SpmModelStep.input_spec(
        repetition_times=[3.0, 3.0], mask_file=str(folder / "head.nii"), time_limit=60.0
    )


def make_run(folder: Path, events: pd.DataFrame = EVENTS) -> first_level_model.Run:
    motion = np.column_stack([np.arange(3.0)] * 5 + [np.zeros(3)])
    return first_level_model.Run(folder / "run.nii", 3, events, motion)


@pytest.mark.parametrize("run_model", ["sessions", "concatenated"])
def test_first_level_model(run_model: str, scripts: list[str], folder: Path) -> None:
    runs = [make_run(folder), make_run(folder, EVENTS.iloc[:3])]
    if run_model == "sessions":
        sessions = [
            first_level_model.session_info(
                [run.scans],
                first_level_model.conditions_of(run.events, "explicit"),
                folder / f"motion{number}.mat",
                128.0,
            )
            for number, run in enumerate(runs, start=1)
        ]
        statements = ""
    else:
        conditions = first_level_model.conditions_of(
            first_level_model.concatenated(runs, 3.0), "implicit"
        )
        scans = [run.scans for run in runs]
        sessions = [first_level_model.session_info(scans, conditions, folder / "motion.mat", 128.0)]
        statements = first_level_model.concatenation(
            folder / "SPM.mat", folder / "events.mat", [3, 3]
        )
    with pytest.raises(_ToldError):
        first_level.estimate(make_inputs(folder), folder, sessions, statements)
    specified, estimated = scripts
    assert specified.splitlines() == expected(f"first_level_{run_model}", folder)
    assert estimated.splitlines() == expected("estimate", folder)


def test_no_numpy_scalar_leaks_into_a_job(scripts: list[str], folder: Path) -> None:
    conditions = first_level_model.conditions_of(EVENTS.astype({"onset": np.float64}), "explicit")
    session = first_level_model.session_info(
        [folder / "run.nii"], conditions, folder / "m.mat", np.float64(128)
    )
    with pytest.raises(_ToldError):
        first_level.estimate(make_inputs(folder), folder, [session])
    assert "np." not in scripts[0]


@pytest.mark.parametrize(("reference", "bin_number"), [(0.0, 1), (0.5, 9), (0.9375, 16)])
def test_microtime_onset_is_the_moment_of_slice_timing(reference: float, bin_number: int) -> None:
    assert first_level.microtime_onset(reference) == bin_number
    assert (bin_number - 1) / first_level.MICROTIME_BINS == reference


@pytest.mark.parametrize("reference", [0.3, 0.51, 1.0])
def test_other_moments_are_refused(reference: float) -> None:
    with pytest.raises(InputError, match="slice_time_reference"):
        first_level.microtime_onset(reference)


def test_events_are_handed_over_run_by_run(folder: Path) -> None:
    runs = [make_run(folder), make_run(folder, EVENTS.iloc[:2].assign(onset=[-1.5, 3.0]))]
    conditions = first_level_model.conditions_of(
        first_level_model.concatenated(runs, 3.0), "explicit"
    )
    assert [condition.name for condition in conditions] == [
        "fixation", "one-back", "n01_b", "n02 'a",
    ]  # fmt: skip
    first_level_model.write_events_by_run(folder / "events.mat", runs, conditions, "explicit")
    onsets = loadmat(folder / "events.mat")["onsets"]
    assert [[cell.ravel().tolist() for cell in row] for row in onsets] == [
        [[0.0, 33.0], [15.0], [6.0], [24.0]],
        [[-1.5], [], [3.0], []],
    ]
