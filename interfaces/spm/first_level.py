"""Inputs of all run models; specify, estimate and read back a model of SPM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import traits

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.images import save_image
from conceptrsa.bids_config.tsv import write_table
from conceptrsa.interfaces.programs import provide
from conceptrsa.interfaces.python.run_glm import GlmStep, read_events_table, read_motion
from conceptrsa.interfaces.python.step import files_in
from conceptrsa.interfaces.spm import first_level_model as spm_model
from conceptrsa.interfaces.spm.first_level_model import EstimatedModel, Run, TimedCondition
from conceptrsa.interfaces.spm.jobs import (
    DesignJob,
    EstimateJob,
    SpmStep,
    launcher_of,
)

MICROTIME_BINS = 16
_SERIAL_CORRELATIONS = {"ar1": "AR(1)", "ols": "none"}


class SpmModelStep(SpmStep, GlmStep):
    """Estimates models of runs by SPM."""

    in_files = files_in("4D realigned runs")
    motion_files = files_in("per run, volumes x 6: mm, rad")
    events_files = files_in("per run, TSV: onset, duration, condition, kind")
    repetition_times = traits.List(traits.Float, mandatory=True, desc="per run (s)")
    spm_threads = traits.Range(
        low=1, value=1, usedefault=True, nohash=True, desc="processors for matrix products"
    )


def read_runs(inputs: Any, folder: Path) -> list[Run]:
    """Read events and motion of all runs, and have their images where SPM can read them.

    Raises
    ------
    InputError
        If the repetition times differ, which one SPM model cannot have.
    """
    if len(set(inputs.repetition_times)) > 1:
        raise InputError(
            f"the runs have the repetition times {sorted(set(inputs.repetition_times))} s, but an "
            "SPM model has only one; use --engine python."
        )
    runs = []
    files = zip(inputs.in_files, inputs.events_files, inputs.motion_files, strict=True)
    for number, (in_file, events_file, motion_file) in enumerate(files, start=1):
        scans = folder / f"bold{number:02d}.nii"
        provide(Path(in_file), scans)
        n_volumes = nib.load(in_file).shape[-1]
        events, motion = read_events_table(events_file), read_motion(motion_file, n_volumes)
        runs.append(Run(scans, n_volumes, events, motion))
    return runs


def estimate(
    inputs: Any,
    folder: Path,
    sessions: Sequence[dict[str, object]],
    concatenation: str = "",
    n_residuals: int = 0,
) -> EstimatedModel:
    """Specify and estimate a model, and read its design back.

    Parameters
    ----------
    inputs : traits
        Of one of the interfaces.
    folder : Path
        Working folder of SPM, in which the betas remain as `beta_0001.nii` and on.
    sessions : sequence of dict
        For nipype's `Level1Design`.
    concatenation : str
        Statements of `first_level_model.concatenation` where the runs are one session.
    n_residuals : int
        Volumes of the model where its residuals are written as well, as `Res_0001.nii` and on.

    Raises
    ------
    StepError
        If SPM does not do it.
    """
    launcher = launcher_of(inputs)
    mask, spm_mat, exported = folder / "mask_explicit.nii", folder / "SPM.mat", folder / "xX.mat"
    provide(Path(inputs.mask_file), mask)
    design = DesignJob(
        spm_mat_dir=str(folder),
        timing_units="secs",
        interscan_interval=float(inputs.repetition_times[0]),
        microtime_resolution=MICROTIME_BINS,
        microtime_onset=float(microtime_onset(inputs.slice_time_reference)),
        session_info=list(sessions),
        bases={"hrf": {"derivs": [0, 0]}},
        volterra_expansion_order=1,
        global_intensity_normalization="none",
        model_serial_correlations=_SERIAL_CORRELATIONS[inputs.noise_model],
        flags={"mthresh": float("-inf"), "mask": np.array([f"{mask},1"], dtype=object)},
    )
    design.run_in(launcher, folder, [spm_mat], after=concatenation)

    job = EstimateJob(
        spm_mat_file=str(spm_mat),
        estimation_method={"Classical": 1},
        write_residuals=n_residuals > 0,
    )
    residuals = [residual_file(folder, volume) for volume in range(n_residuals)]
    outputs = [spm_mat, exported, folder / "mask.nii", folder / "ResMS.nii", *residuals]
    export = spm_model.export(spm_mat, exported)
    job.run_in(launcher, folder, outputs, after=export, n_threads=inputs.spm_threads)
    model = spm_model.read_model(exported)
    for column in range(len(model.names)):
        if not beta_file(folder, column).is_file():
            raise StepError(
                f"SPM estimated its model, but {beta_file(folder, column).name} is missing in "
                f"{folder.resolve()}; free some space if the disk is full, and run the same "
                "command again."
            )
    return model


def microtime_onset(slice_time_reference: float) -> int:
    """SPM's `fmri_t0`: the bin in which the volumes were taken, 9 of 16 for half the TR.

    Raises
    ------
    InputError
        If the moment that slices were corrected to is no beginning of a bin.
    """
    bins = MICROTIME_BINS * slice_time_reference
    if abs(bins - round(bins)) > 1e-6 or round(bins) >= MICROTIME_BINS:
        raise InputError(
            f"slice_time_reference = {slice_time_reference:g} is not among SPM's {MICROTIME_BINS} "
            "moments of a volume: give 0, 0.0625, 0.125, ... 0.9375 (0.5 is TR/2), or use "
            "--engine python."
        )
    return round(bins) + 1


def stack_betas(
    folder: Path, columns: Sequence[int | None], target: Path, grid: str | None = None
) -> None:
    """Gather SPM's beta images (columns counted from 0) in one 4D image, float32.

    Parameters
    ----------
    folder : Path
        With `beta_0001.nii` and on.
    columns : sequence of int or None
        Design column of each volume; None for one without data, NaN.
    target : Path
        File that is written.
    grid : str, optional
        Image that gives the grid where no volume has data.
    """
    known = next((column for column in columns if column is not None), None)
    like = nib.load(grid if known is None and grid else beta_file(folder, known or 0))
    data = np.full((*like.shape[:3], len(columns)), np.nan, dtype=np.float32)
    for volume, column in enumerate(columns):
        if column is not None:
            data[..., volume] = np.asanyarray(nib.load(beta_file(folder, column)).dataobj)
    save_image(target, data, like.affine)


def write_designs(model: EstimatedModel, runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write the design of each run as a table; give the paths of the files."""
    paths = []
    for number in range(1, len(runs) + 1):
        paths.append(folder / f"design{number:02d}.tsv")
        design = spm_model.run_design(model, number, [run.n_volumes for run in runs])
        write_table(paths[-1], design)
    return paths


def columns_of(
    model: EstimatedModel, session: int, conditions: Sequence[TimedCondition]
) -> list[int]:
    """Design columns of conditions, found by session and name."""
    found = model.conditions(session)
    wanted = [condition.column for condition in conditions]
    if set(found) != set(wanted):
        odd = sorted(set(found) ^ set(wanted))[0]
        raise StepError(f"SPM's design and the events disagree about the condition '{odd}'.")
    return [found[column] for column in wanted]


def residual_file(folder: Path, volume: int) -> Path:
    """SPM's whitened and filtered residuals of a volume (counted from 0)."""
    return folder / f"Res_{volume + 1:04d}.nii"


def beta_file(folder: Path, column: int) -> Path:
    """SPM's betas of a design column (counted from 0)."""
    return folder / f"beta_{column + 1:04d}.nii"
