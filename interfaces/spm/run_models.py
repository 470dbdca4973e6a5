"""Betas by SPM's models of all runs, some runs, or a session per run, as nipype steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import traits
from numpy.typing import NDArray
from scipy.linalg import block_diag
from threadpoolctl import threadpool_limits

from conceptrsa.bids_config.errors import StepError
from conceptrsa.bids_config.tsv import write_table
from conceptrsa.interfaces.numerics.design import column_name
from conceptrsa.interfaces.numerics.glm import residual_basis
from conceptrsa.interfaces.numerics.pooling import stimuli_table
from conceptrsa.interfaces.programs import remove_all
from conceptrsa.interfaces.python.pool_runs import (
    GivesRoiSamples,
    sample_betas,
    write_samples,
)
from conceptrsa.interfaces.python.run_glm import conditions_table
from conceptrsa.interfaces.python.step import file_out, files_out
from conceptrsa.interfaces.spm import first_level
from conceptrsa.interfaces.spm import first_level_model as spm_model
from conceptrsa.interfaces.spm.first_level_model import EstimatedModel, Run, TimedCondition
from conceptrsa.interfaces.spm.spm_files import WORKPLACE, workplace

SPLITS = {"all": slice(None), "odd": slice(0, None, 2), "even": slice(1, None, 2)}
LARGEST_DISAGREEMENT = 1e-3
"""Largest difference between the residual variance and SPM's `ResMS`, as a share of the latter."""


class SpmSessionBetas(first_level.SpmModelStep):
    """Estimate one model with a session per run (`spm_fmri_spm_ui`, `spm_spm`).

    Lists are in the order of the runs.
    """

    betas_files = files_out("4D, a volume a condition")
    conditions_files = files_out("TSV: volume, condition, kind, n_events")
    information_files = files_out("information of each session's design")
    design_matrices = files_out("TSV a run")
    spm_mat_file = file_out("SPM.mat, estimated")

    def _run_in(self, folder: Path) -> dict[str, Path | list[Path]]:
        inputs = self.inputs
        betas, tables, information = [], [], []
        with workplace(folder) as plain:
            runs = first_level.read_runs(inputs, plain)
            conditions = [spm_model.conditions_of(run.events, inputs.baseline) for run in runs]
            sessions = []
            for number, (run, of_run) in enumerate(zip(runs, conditions, strict=True), start=1):
                regressors = plain / f"motion{number:02d}.mat"
                spm_model.write_motion_regressors(regressors, [run])
                sessions.append(
                    spm_model.session_info(
                        [run.scans], of_run, regressors, inputs.high_pass_seconds
                    )
                )
            model = first_level.estimate(inputs, plain, sessions)
            for number, of_run in enumerate(conditions, start=1):
                betas.append(folder / f"betas{number:02d}.nii")
                first_level.stack_betas(
                    plain, first_level.columns_of(model, number, of_run), betas[-1]
                )
                tables.append(folder / f"conditions{number:02d}.tsv")
                write_table(tables[-1], conditions_table(of_run))
                ordered = [condition.column for condition in of_run]
                matrix = spm_model.information(model, number).loc[ordered, ordered]
                information.append(folder / f"information{number:02d}.tsv")
                write_table(information[-1], matrix.reset_index(names="condition"))
            designs = first_level.write_designs(model, runs, folder)
            remove_all([*plain.glob("beta_*.nii"), *(run.scans for run in runs)])
        return {
            "betas_files": betas,
            "conditions_files": tables,
            "information_files": information,
            "design_matrices": designs,
            "spm_mat_file": folder / WORKPLACE / "SPM.mat",
        }


class SpmConcatenatedBetas(first_level.SpmModelStep):
    """Estimate one model of concatenated runs, a regressor per condition over all of them.

    Its betas stay beside `SPM.mat` under the paper's numbers: 1 fixation, 2 one-back, 3 and on the
    images (an implicit baseline has no fixation, and one number less).
    """

    split = traits.Enum(*SPLITS, usedefault=True, desc="runs: all, 1st 3rd ..., or 2nd 4th ...")

    betas_file = file_out("4D float32, a volume a stimulus by id, NaN without data")
    stimuli_file = file_out("TSV: volume (from 0), stimulus, n_runs, n_runs_odd, n_runs_even")
    design_matrices = files_out("TSV a run")
    spm_mat_file = file_out("SPM.mat, estimated; not there for a split without runs", exists=False)

    def _run_in(self, folder: Path) -> dict[str, Path | list[Path]]:
        inputs = self.inputs
        outputs: dict[str, Path | list[Path]] = {
            "betas_file": folder / "betas.nii",
            "stimuli_file": folder / "stimuli.tsv",
            "design_matrices": [],
        }
        with workplace(folder) as plain:
            every_run = first_level.read_runs(inputs, plain)
            stimuli = stimuli_table([run.stimuli for run in every_run])
            columns: list[int | None] = [None] * len(stimuli)
            if runs := every_run[SPLITS[inputs.split]]:
                model, of_condition = estimate_concatenated(inputs, plain, runs)
                columns = [
                    of_condition.get(column_name(name, "stimulus")) for name in stimuli["stimulus"]
                ]
                outputs["design_matrices"] = first_level.write_designs(model, runs, folder)
                outputs["spm_mat_file"] = folder / WORKPLACE / "SPM.mat"
            first_level.stack_betas(plain, columns, folder / "betas.nii", inputs.mask_file)
            remove_all([run.scans for run in every_run])
        write_table(folder / "stimuli.tsv", stimuli)
        return outputs


class SpmSamplePartition(first_level.SpmModelStep, GivesRoiSamples):
    """Betas and residuals of a few runs at the voxels of regions, by one model of them.

    The runs are concatenated. SPM whitens and filters the data of all voxels in the same way, so
    its residuals of interpolated data would be its residuals, interpolated.
    """

    conditions_file = file_out("TSV: volume, condition, kind, n_events")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        inputs = self.inputs
        with workplace(folder) as plain:
            runs = first_level.read_runs(inputs, plain)
            model, of_condition = estimate_concatenated(inputs, plain, runs, residuals=True)
            stimuli = [
                condition for condition in _conditions(inputs, runs) if condition.kind == "stimulus"
            ]
            stack = plain / "stimuli.nii"
            first_level.stack_betas(
                plain, [of_condition[stimulus.column] for stimulus in stimuli], stack
            )
            sampler, betas = sample_betas(inputs, stack)
            residuals = _independent_residuals(plain, model, sampler.voxels)
            remove_all([*plain.glob("Res_*.nii"), *plain.glob("beta_*.nii"), stack])
            remove_all([run.scans for run in runs])
        write_table(folder / "conditions.tsv", conditions_table(stimuli))
        return {
            "conditions_file": folder / "conditions.tsv",
            **write_samples(folder, betas.T, sampler(residuals)),
        }


def estimate_concatenated(
    inputs: Any, plain: Path, runs: Sequence[Run], residuals: bool = False
) -> tuple[EstimatedModel, dict[str, int]]:
    """Estimate one model of concatenated runs.

    Parameters
    ----------
    inputs : traits
        Of a `first_level.SpmModelStep`.
    plain : Path
        Working folder of SPM, in which the betas of the conditions remain.
    runs : sequence of Run
    residuals : bool
        Whether SPM writes its residuals as well.

    Returns
    -------
    EstimatedModel
    dict
        Design column (counted from 0) of each condition, by its column name.
    """
    conditions = _conditions(inputs, runs)
    regressors = plain / "motion.mat"
    spm_model.write_motion_regressors(regressors, runs)
    spm_model.write_events_by_run(plain / "events.mat", runs, conditions, inputs.baseline)
    session = spm_model.session_info(
        [run.scans for run in runs], conditions, regressors, inputs.high_pass_seconds
    )
    n_volumes = [run.n_volumes for run in runs]
    statements = spm_model.concatenation(plain / "SPM.mat", plain / "events.mat", n_volumes)
    model = first_level.estimate(
        inputs, plain, [session], statements, n_residuals=sum(n_volumes) if residuals else 0
    )
    numbers = first_level.columns_of(model, 1, conditions)
    of_condition = {c.column: number for c, number in zip(conditions, numbers, strict=True)}
    nuisance = range(len(conditions), len(model.names))
    remove_all([first_level.beta_file(plain, column) for column in nuisance])
    return model, of_condition


def _conditions(inputs: Any, runs: Sequence[Run]) -> tuple[TimedCondition, ...]:
    events = spm_model.concatenated(runs, inputs.repetition_times[0])
    return spm_model.conditions_of(events, inputs.baseline)


def _independent_residuals(
    folder: Path, model: EstimatedModel, voxels: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Residuals (voxels, degrees of freedom) as independent numbers.

    SPM's lie in what neither filter nor design explains, after whitening.

    Raises
    ------
    StepError
        If their variance is not that of SPM's `ResMS`.
    """
    basis = residual_basis(np.hstack([block_diag(*model.filters), model.whitened]))
    volumes = np.empty((len(basis), len(voxels)))
    for volume, values in enumerate(volumes):
        image = nib.load(first_level.residual_file(folder, volume))
        values[:] = np.asarray(image.dataobj).ravel()[voxels]
    with threadpool_limits(limits=1):
        residuals = (basis.T @ volumes).T
    by_spm = np.asarray(nib.load(folder / "ResMS.nii").dataobj, dtype=float).ravel()[voxels]
    difference = np.abs((residuals**2).mean(axis=1) - by_spm)
    if not (difference <= LARGEST_DISAGREEMENT * by_spm).all():
        raise StepError(
            f"SPM's residuals do not have the variance that its ResMS.nii says in "
            f"{folder.resolve()}; make room if the disk is full, and run the same command again."
        )
    return residuals
