"""Betas pooled: over all, odd and even runs, and over partitions at the voxels of regions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
from nipype.interfaces.base import isdefined, traits
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from conceptrsa.bids_config.errors import StepError
from conceptrsa.bids_config.tsv import read_table, write_table
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.numerics.glm import (
    read_masked_series,
    residual_basis,
    scale_to_percent,
    shrunk_covariance,
)
from conceptrsa.interfaces.numerics.mni305_grid import RoiSampler, make_sampler, roi_points
from conceptrsa.interfaces.numerics.pooling import (
    pool_betas,
    pooling_weights,
    read_run_betas,
    read_run_conditions,
)
from conceptrsa.interfaces.numerics.transforms import read_matrix
from conceptrsa.interfaces.python.rois import TakesRegions
from conceptrsa.interfaces.python.step import (
    Step,
    file_in,
    file_out,
    files_in,
    optional_files,
)

LARGEST_DISAGREEMENT = 0.01
"""Of the pooled betas sampled here and resampled there: RMS, as a share of their own."""


class PoolBetas(Step):
    """Pool the betas of each stimulus over runs, matching stimuli by name."""

    betas_files = files_in("betas of each run, in run order")
    conditions_files = files_in("conditions of each run, in run order")
    information_files = optional_files(
        "information of each run's design: joint estimate; without them: mean over runs"
    )

    pooled_file = file_out("4D betas from all runs, a volume a stimulus, by id")
    odd_file = file_out("the same from the 1st, 3rd, ... run")
    even_file = file_out("the same from the 2nd, 4th, ... run; NaN for one run")
    stimuli_file = file_out("TSV: volume (from 0), stimulus, n_runs, n_runs_odd, n_runs_even")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        inputs = self.inputs
        outputs = {f"{name}_file": folder / f"{name}.nii" for name in ("pooled", "odd", "even")}
        information = inputs.information_files if isdefined(inputs.information_files) else ()
        runs = read_run_betas(inputs.betas_files, inputs.conditions_files, information)
        with threadpool_limits(limits=1):
            stimuli = pool_betas(runs, *outputs.values())
        write_table(folder / "stimuli.tsv", stimuli)
        return {**outputs, "stimuli_file": folder / "stimuli.tsv"}


class TakesSamplePlaces(TakesRegions):
    """Base of the steps that sample images in EPI space at the voxels of regions."""

    bold_to_t1w_file = file_in("4x4 matrix, RAS mm")
    t1w_to_mni305_file = file_in("4x4 matrix, RAS mm; the identity of runs in a standard space")
    missing = traits.Enum(
        "excluded", "zero", usedefault=True, desc="what voxels without data count as"
    )


class GivesRoiSamples(TakesSamplePlaces):
    """Base of the steps that sample a run, or several that are one model."""

    betas_file = file_out(".npy, float32 (conditions, points), NaN without data")
    residuals_file = file_out(".npy, float32 (points, degrees of freedom), NaN without data")


def sample_betas(inputs: Any, betas_file: str | Path) -> tuple[RoiSampler, NDArray[np.float32]]:
    """Make the sampler of images that have data where all betas are finite; and sample the betas.

    Parameters
    ----------
    inputs : traits
        Of a step that derives from `TakesSamplePlaces`.
    betas_file : path
        4D, in EPI space.

    Returns
    -------
    sampler : RoiSampler
        For the points of all regions.
    betas : array (points, volumes)
    """
    image = nib.load(betas_file)
    betas = np.asarray(image.dataobj)
    points, _, grid = roi_points(inputs.dseg_file, inputs.rois)
    to_standard = read_matrix(inputs.t1w_to_mni305_file) @ read_matrix(inputs.bold_to_t1w_file)
    valid = np.isfinite(betas).all(axis=-1)
    sampler = make_sampler(points, valid, image.affine, to_standard, inputs.missing, grid)
    return sampler, sampler(betas.reshape(-1, betas.shape[-1])[sampler.voxels])


def write_samples(
    folder: Path, betas: NDArray[np.float32], residuals: NDArray[np.float32]
) -> dict[str, Path]:
    """Write the two arrays of `GivesRoiSamples`; give their paths by its names."""
    paths = {}
    for name, array in (("betas", betas), ("residuals", residuals)):
        path = paths[f"{name}_file"] = folder / f"{name}.npy"
        with atomic_path(path) as temporary:
            np.save(temporary, np.ascontiguousarray(array))
    return paths


class SampleRun(GivesRoiSamples):
    """Betas and least-squares residuals of one run at the voxels of all regions.

    The residuals are those of ordinary least squares, whichever noise the betas were estimated
    with: they are unbiased for the covariance between voxels, and least squares of interpolated
    data are interpolated least squares. They are written as the independent numbers of
    `conceptrsa.interfaces.numerics.glm.residual_basis`.
    """

    in_file = file_in("4D BOLD of the run, realigned")
    mask_file = file_in("3D brain mask in the grid of in_file")
    betas_file = file_in("its betas, from EstimateBetas")
    design_matrix_file = file_in("its design, from EstimateBetas")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        inputs = self.inputs
        sampler, of_voxels = sample_betas(inputs, inputs.betas_file)
        in_mask = np.flatnonzero(np.asanyarray(nib.load(inputs.mask_file).dataobj) != 0)
        series = read_masked_series(inputs.in_file, inputs.mask_file)
        scale_to_percent(series)
        used = series[:, np.searchsorted(in_mask, sampler.voxels)]
        design = read_table(inputs.design_matrix_file).frame(texts=()).to_numpy()
        with threadpool_limits(limits=1):
            residuals = residual_basis(design).T @ used
        return write_samples(folder, of_voxels.T, sampler(residuals.T))


class CollectRunBetas(TakesSamplePlaces):
    """Pool the samples of runs into partitions, and estimate each region's residual covariance.

    The file holds `stimulus` (stimuli), `run` and `half` (partitions; odd or even), and a group a
    region with `betas` (partitions, stimuli, voxels), `voxels` (flat C-order indices in the grid,
    increasing) and `residual_covariance` (voxels, voxels) with the attributes `shrinkage` and
    `degrees_of_freedom`. Voxels without data in any run are left out.
    """

    betas_files = files_in("of each sample")
    residuals_files = files_in("of each sample")
    conditions_files = files_in("TSV: volume, condition, kind, of each sample")
    information_files = optional_files(
        "of each design: joint estimate; without them: mean over samples"
    )
    partitions = traits.List(
        traits.List(traits.Int()), mandatory=True, desc="samples (from 0) pooled in each partition"
    )
    names = traits.List(traits.Str(), mandatory=True, desc="of each partition")
    pooled_boldref_file = file_in("pooled betas in EPI space")
    pooled_standard_file = file_in("the same in the standard space of the regions")

    out_file = file_out("HDF5; see `CollectRunBetas`")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        inputs = self.inputs
        points, labels, _ = roi_points(inputs.dseg_file, inputs.rois)
        self._require_same_places(points)
        stimuli, betas = self._pooled()
        residuals = [np.load(file, mmap_mode="r") for file in inputs.residuals_files]
        finite = np.isfinite(betas).all(axis=(0, 1))
        for sample in residuals:
            finite &= np.isfinite(sample[:, 0])
        out_file = folder / "run_betas.h5"
        # Without a lock of its own: `atomic_path` holds one on the temporary file.
        with atomic_path(out_file) as temporary, h5py.File(temporary, "w", locking=False) as file:
            _write_text(file, "stimulus", stimuli)
            _write_text(file, "run", inputs.names)
            _write_text(file, "half", [("odd", "even")[n % 2] for n in range(len(betas))])
            for name, members in inputs.rois:
                chosen = np.flatnonzero(finite & np.isin(labels, members))
                if len(chosen) == 0:
                    raise StepError(
                        f"No voxel of region {name} has betas in every run: check the field of "
                        "view of each, or leave the region out of the data set configuration."
                    )
                group = file.create_group(name)
                _write(group, "voxels", points[chosen].astype(np.int64))
                _write(group, "betas", betas[:, :, chosen].astype(np.float32))
                with threadpool_limits(limits=1):
                    covariance = shrunk_covariance(sample[chosen] for sample in residuals)
                written = _write(
                    group, "residual_covariance", covariance.matrix.astype(np.float32)
                )  # fmt: skip
                written.attrs["shrinkage"] = covariance.shrinkage
                written.attrs["degrees_of_freedom"] = covariance.degrees_of_freedom
        return {"out_file": out_file}

    def _pooled(self) -> tuple[list[str], NDArray[np.float64]]:
        """Ids of the stimuli, and betas (partitions, stimuli, points)."""
        inputs = self.inputs
        information = inputs.information_files if isdefined(inputs.information_files) else ()
        runs = read_run_conditions(inputs.conditions_files, information)
        samples = [np.load(file, mmap_mode="r") for file in inputs.betas_files]
        stimuli = sorted({stimulus for run in runs for stimulus in run.stimuli})
        pooled = []
        for name, members in zip(inputs.names, inputs.partitions, strict=True):
            part = [runs[member] for member in members]
            missing = set(stimuli).difference(*(run.stimuli for run in part))
            if missing:
                raise StepError(
                    f"Stimulus {min(missing)} is not shown in the partition of the runs {name}: "
                    "raise --runs-per-partition, or leave --run-betas out."
                )
            weights = pooling_weights(part, stimuli)
            pooled.append(
                sum(
                    weight @ np.asarray(samples[member], dtype=np.float64)
                    for weight, member in zip(weights, members, strict=True)
                )
            )
        return stimuli, np.array(pooled)

    def _require_same_places(self, points: NDArray[np.intp]) -> None:
        """Make sure that sampling gives what resampling did, whichever program did that."""
        _, sampled = sample_betas(self.inputs, self.inputs.pooled_boldref_file)
        resampled = np.asarray(nib.load(self.inputs.pooled_standard_file).dataobj)
        resampled = resampled.reshape(-1, resampled.shape[-1])[points]
        both = np.isfinite(sampled) & np.isfinite(resampled)
        difference = (sampled - resampled)[both]
        largest = LARGEST_DISAGREEMENT * np.sqrt(np.mean(resampled[both] ** 2)) if both.any() else 0
        if both.sum() < np.isfinite(resampled).sum() / 2 or (
            np.sqrt(np.mean(difference**2)) > largest
        ):
            raise StepError(
                "Betas sampled at the regions' voxels are not those of the standard space, so the "
                f"two lie in different places: compare {self.inputs.bold_to_t1w_file} and "
                f"{self.inputs.t1w_to_mni305_file} with what made "
                f"{self.inputs.pooled_standard_file}, or leave --run-betas out."
            )


def _write_text(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    encoded = [text.encode() for text in texts]
    # Of one length: texts of any length are kept where files of the same content may differ.
    dtype = h5py.string_dtype("utf-8", max(map(len, encoded)))
    _write(file, name, np.array(encoded, dtype=dtype))


def _write(group: h5py.Group, name: str, data: NDArray[Any]) -> h5py.Dataset:
    return group.create_dataset(name, data=data, track_times=False)
