"""Betas and residuals of a few runs at the voxels of regions, by a model of SPM's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import File, SimpleInterface
from numpy.typing import NDArray
from scipy.linalg import block_diag
from threadpoolctl import threadpool_limits

from conceptrsa.bids_config.errors import StepError
from conceptrsa.bids_config.tsv import write_table
from conceptrsa.interfaces.numerics.covariance import residual_basis
from conceptrsa.interfaces.programs.image_files import remove_all
from conceptrsa.interfaces.python.estimate import conditions_table
from conceptrsa.interfaces.python.estimate_runs import (
    RoiSamplesOutputSpec,
    SamplingInputSpec,
    sampler_of,
    write_samples,
)
from conceptrsa.interfaces.spm.concatenated import estimate_concatenated
from conceptrsa.interfaces.spm.first_level import (
    SpmModelInputSpec,
    read_runs,
    residual_file,
    stack_betas,
)
from conceptrsa.interfaces.spm.model import Condition, EstimatedModel, conditions_of
from conceptrsa.interfaces.spm.model import concatenated as concatenated_events
from conceptrsa.interfaces.spm.spm_files import workplace

LARGEST_DISAGREEMENT = 1e-3
"""Of the residual variance computed here and SPM's `ResMS`, as a share of the latter."""


class SpmSamplePartitionInputSpec(SpmModelInputSpec, SamplingInputSpec):
    """Inputs of `SpmSamplePartition`."""


class SpmSamplePartitionOutputSpec(RoiSamplesOutputSpec):
    """Outputs of `SpmSamplePartition`."""

    conditions_file = File(exists=True, desc="TSV: volume, condition, kind, n_events")


class SpmSamplePartition(SimpleInterface):
    """Estimate one model of the runs of a partition, concatenated, with its residuals.

    SPM whitens and filters the data of all voxels in the same way, so its residuals of interpolated
    data would be its residuals, interpolated.
    """

    input_spec = SpmSamplePartitionInputSpec
    output_spec = SpmSamplePartitionOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs, folder = self.inputs, Path(runtime.cwd)
        with workplace(folder) as plain:
            runs = read_runs(inputs, plain)
            model, of_condition = estimate_concatenated(inputs, plain, runs, residuals=True)
            events = concatenated_events(runs, inputs.repetition_times[0])
            conditions = _stimuli(conditions_of(events, inputs.baseline))
            stack = plain / "stimuli.nii"
            stack_betas(plain, [of_condition[condition.column] for condition in conditions], stack)
            image = nib.load(stack)
            betas = np.asarray(image.dataobj)
            sampler = sampler_of(inputs, np.isfinite(betas).all(axis=-1), image.affine)
            of_voxels = betas.reshape(-1, betas.shape[-1])[sampler.voxels]
            residuals = _independent_residuals(plain, model, sampler.voxels)
            remove_all([
                *plain.glob("Res_*.nii"), *plain.glob("beta_*.nii"), stack,
                *(run.scans for run in runs),
            ])  # fmt: skip
        self._results.update(write_samples(folder, sampler(of_voxels).T, sampler(residuals)))
        table = folder / "conditions.tsv"
        write_table(table, conditions_table(conditions))
        self._results["conditions_file"] = str(table)
        return runtime


def _stimuli(conditions: Sequence[Condition]) -> list[Condition]:
    return [condition for condition in conditions if condition.kind == "stimulus"]


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
        image = nib.load(residual_file(folder, volume))
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
