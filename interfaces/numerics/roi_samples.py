"""Images in EPI space at the voxels of regions in MNI305, and nowhere else.

A run has hundreds of volumes, and the regions a few thousand voxels: its residuals are interpolated
there, in the way of `resampling.resample`, without ever being an image in MNI305.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import sparse

from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.resampling import MissingRule, sampling_weights

Rois = Sequence[tuple[str, Sequence[int]]]
"""Name and labels of each region."""


@dataclass(frozen=True)
class RoiSampler:
    """Interpolation of images in one grid at points of the MNI305 grid.

    Attributes
    ----------
    covered : array of bool, shape (points,)
        Which points have data.
    voxels : array of int, shape (voxels used,)
        Flat C-order indices of the voxels that any point takes data from.
    weights : sparse array, shape (covered points, voxels used)
    """

    covered: NDArray[np.bool_]
    voxels: NDArray[np.intp]
    weights: sparse.csr_array

    def __call__(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Interpolate values (voxels used, ...); (points, ...), NaN where there is no data."""
        sampled = np.full((len(self.covered), *values.shape[1:]), np.nan, dtype=np.float32)
        sampled[self.covered] = self.weights @ values
        return sampled


def make_sampler(
    points: NDArray[np.intp],
    valid: NDArray[np.bool_],
    affine: NDArray[np.float64],
    to_mni305: NDArray[np.float64],
    missing: MissingRule = "excluded",
) -> RoiSampler:
    """Prepare interpolation of images that have data in the same voxels.

    Parameters
    ----------
    points : array of int, shape (points,)
        Flat C-order indices in the MNI305 grid.
    valid : array of bool, shape (x, y, z)
        Which voxels have data.
    affine : array, shape (4, 4)
        Voxel indices to world (RAS, mm).
    to_mni305 : array, shape (4, 4)
        That world to MNI305's.
    missing : {'excluded', 'zero'}
        What voxels without data count as; see `resampling.sampling_weights`.
    """
    to_voxels = np.linalg.inv(affine) @ np.linalg.inv(to_mni305) @ mni305_grid.AFFINE
    indices = np.column_stack(np.unravel_index(points, mni305_grid.SHAPE))
    covered, weights = sampling_weights(apply_affine(to_voxels, indices), valid, missing)
    weights.eliminate_zeros()
    used = np.unique(weights.indices)
    return RoiSampler(covered, np.flatnonzero(valid)[used], sparse.csr_array(weights[:, used]))


def roi_points(dseg_file: str | Path, rois: Rois) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Voxels of any region.

    Parameters
    ----------
    dseg_file : path
        Labels in the MNI305 grid.
    rois : sequence of (str, sequence of int)
        Name and labels of each region.

    Returns
    -------
    points : array of int
        Flat C-order indices, increasing.
    labels : array of int
        The label of each.
    """
    labels = np.asarray(nib.load(dseg_file).dataobj).ravel().astype(np.int64)
    points = np.flatnonzero(np.isin(labels, [label for _, members in rois for label in members]))
    return points, labels[points]
