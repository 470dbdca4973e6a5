"""GLM of each run on the embedded engine, and the tables that any engine's model reads."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nipype.interfaces.base import traits
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.images import save_image
from conceptrsa.bids_config.tsv import read_table, write_table
from conceptrsa.bids_config.writing import write_json
from conceptrsa.interfaces.numerics.design import (
    KINDS,
    MOTION_PARAMETERS,
    Condition,
    RunDesign,
    make_run_design,
)
from conceptrsa.interfaces.numerics.glm import (
    NOISE_MODELS,
    fit_glm,
    read_masked_series,
    scale_to_percent,
)
from conceptrsa.interfaces.python.step import Step, file_in, file_out


class GlmStep(Step):
    """Base of the steps that model runs: settings that both engines take."""

    mask_file = file_in("3D brain mask in the grid of the runs")
    slice_time_reference = traits.Range(
        0.0, 1.0, 0.5, usedefault=True, desc="moment the volumes stand for, fraction of the TR"
    )
    high_pass_seconds = traits.Float(128.0, usedefault=True, desc="cut-off period, seconds")
    noise_model = traits.Enum(*NOISE_MODELS, usedefault=True, desc="temporal noise")
    baseline = traits.Enum(
        "explicit", "implicit", usedefault=True, desc="with or without a fixation regressor"
    )


class EstimateBetas(GlmStep):
    """Fit the GLM of one run: in_file, events and motion in, a beta per condition out."""

    in_file = file_in("4D BOLD of one run, realigned, not demeaned")
    motion_file = file_in("volumes x 6: x y z in mm, pitch roll yaw in rad")
    events_file = file_in("TSV: onset (s), duration (s), condition, kind")
    repetition_time = traits.Float(mandatory=True, desc="seconds")
    hrf = traits.Enum("spm", "glover", usedefault=True, desc="haemodynamic response function")

    betas_file = file_out("4D float32, percent of the run's grand mean, NaN outside the mask")
    conditions_file = file_out("TSV: volume (from 0), condition, kind, n_events")
    design_matrix_file = file_out("TSV: a row per volume, a column per regressor")
    information_file = file_out("TSV: information matrix of the design's conditions, for PoolBetas")
    design_report_file = file_out("JSON: condition number, degrees of freedom, settings")
    residual_sd_file = file_out("3D float32, standard deviation of the whitened residuals, percent")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        inputs = self.inputs
        n_volumes = nib.load(inputs.in_file).shape[-1]
        design = make_run_design(
            read_events_table(inputs.events_file),
            read_motion(inputs.motion_file, n_volumes),
            inputs.repetition_time,
            slice_time_reference=inputs.slice_time_reference,
            hrf=inputs.hrf,
            high_pass_seconds=inputs.high_pass_seconds,
            baseline=inputs.baseline,
        )
        series = read_masked_series(inputs.in_file, inputs.mask_file)
        scale_to_percent(series)
        # One thread: matrix products on several may differ in the last digit.
        with threadpool_limits(limits=1):
            fit = fit_glm(series, design.matrix.to_numpy(), inputs.noise_model)

        columns = list(design.matrix.columns)
        conditions = [columns.index(condition.column) for condition in design.conditions]
        outputs = {
            "betas_file": folder / "betas.nii",
            "conditions_file": folder / "conditions.tsv",
            "design_matrix_file": folder / "design_matrix.tsv",
            "information_file": folder / "information.tsv",
            "design_report_file": folder / "design_matrix.json",
            "residual_sd_file": folder / "residual_sd.nii",
        }
        _write_masked(outputs["betas_file"], fit.betas[conditions].T, inputs.mask_file)
        _write_masked(outputs["residual_sd_file"], np.sqrt(fit.residual_variance), inputs.mask_file)
        write_table(outputs["conditions_file"], conditions_table(design.conditions))
        write_table(outputs["design_matrix_file"], design.matrix)
        information = design.information().reset_index(names="condition")
        write_table(outputs["information_file"], information)
        write_json(outputs["design_report_file"], self._design_report(design))
        return outputs

    def _design_report(self, design: RunDesign) -> dict[str, object]:
        n_volumes, n_regressors = design.matrix.shape
        return {
            "ConditionNumber": design.condition_number,
            "Volumes": n_volumes,
            "Regressors": n_regressors,
            "DegreesOfFreedom": n_volumes - n_regressors,
            "RepetitionTime": self.inputs.repetition_time,
            "SliceTimeReference": self.inputs.slice_time_reference,
            "HRF": self.inputs.hrf,
            "HighPassSeconds": self.inputs.high_pass_seconds,
            "NoiseModel": self.inputs.noise_model,
            "Baseline": self.inputs.baseline,
            "Units": "percent of the run's grand mean",
        }


def read_events_table(events_file: str | Path) -> pd.DataFrame:
    """Read the events of one run.

    Parameters
    ----------
    events_file : path
        TSV with the columns onset (s), duration (s), condition, kind.

    Returns
    -------
    pd.DataFrame

    Raises
    ------
    InputError
        When a column is missing or holds something else.
    """
    table = read_table(events_file)
    table.require_columns(["onset", "duration", "condition", "kind"])
    events = table.frame(texts=["condition", "kind"]).reset_index(drop=True)
    if events[["onset", "duration"]].isna().any(axis=None) or (events["duration"] < 0).any():
        raise InputError(
            f"{events_file} has an onset or a duration that is not a number of seconds: correct "
            "that row."
        )
    unknown = set(events["kind"]) - set(KINDS)
    if unknown:
        raise InputError(
            f"{events_file} has the kinds {sorted(unknown)}: allowed are {', '.join(KINDS)}."
        )
    return events


def read_motion(motion_file: str, n_volumes: int) -> NDArray[np.float64]:
    """Read the six motion parameters (mm, rad) of a run, shape (volumes, 6).

    Raises
    ------
    StepError
        When they are not six finite numbers for each volume.
    """
    motion = np.loadtxt(motion_file, ndmin=2)
    if motion.shape != (n_volumes, len(MOTION_PARAMETERS)) or not np.isfinite(motion).all():
        raise StepError(
            f"{motion_file} does not hold six finite motion parameters for each of the "
            f"{n_volumes} volumes: realign the run again."
        )
    return motion


def conditions_table(conditions: Sequence[Condition]) -> pd.DataFrame:
    """Name the volumes of a run's betas: columns volume, condition, kind, n_events."""
    return pd.DataFrame(
        [
            {"volume": volume, "condition": item.name, "kind": item.kind, "n_events": item.n_events}
            for volume, item in enumerate(conditions)
        ]
    )


def _write_masked(path: Path, values: NDArray[np.float64], mask_file: str) -> None:
    """Write (voxels,) or (voxels, volumes) as an image that is NaN outside the mask."""
    mask_image = nib.load(mask_file)
    mask = np.asanyarray(mask_image.dataobj) != 0
    volume = np.full((*mask.shape, *values.shape[1:]), np.nan, dtype=np.float32)
    volume[mask] = values
    save_image(path, volume, mask_image.affine)
