"""The target space: FreeSurfer's MNI305 grid at 2 mm, and images there or at voxels of regions.

The grid is that of FreeSurfer's `average/mni305.cor.subfov2`, into which `mri_vol2vol --tal
--talres 2` resamples; the affine between the two MNI spaces is that of FreeSurfer's
`average/mni152.register.dat`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import sparse

from conceptrsa.bids_config import image_spaces
from conceptrsa.interfaces.numerics.resampling import (
    Interpolation,
    MissingRule,
    resample,
    sampling_weights,
)

SHAPE: Final = (76, 76, 93)

AFFINE: Final = np.array(
    [
        [-2.0, 0.0, 0.0, 74.0],
        [0.0, 0.0, 2.0, -109.0],
        [0.0, -2.0, 0.0, 85.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)

AFFINE.setflags(write=False)

MNI305_TO_MNI152: Final = image_spaces.MNI305_TO_MNI152
MNI152_TO_MNI305: Final = image_spaces.MNI152_TO_MNI305

Rois = Sequence[tuple[str, Sequence[int]]]
"""Name and labels of each region."""
Grid = tuple[tuple[int, ...], NDArray[np.float64]]
"""Shape, and affine from voxels to world (RAS, mm)."""


def to_mni305(
    data: np.ndarray,
    affine: np.ndarray,
    world_to_mni305: np.ndarray,
    interpolation: Interpolation = "linear",
) -> np.ndarray:
    """Resample a 3D or 4D array into the MNI305 grid; see `resampling.resample`.

    Parameters
    ----------
    data : array (x, y, z) or (x, y, z, volumes)
        NaN where there is no data.
    affine : array (4, 4)
        Voxel indices to world RAS mm.
    world_to_mni305 : array (4, 4)
        That world to MNI305, RAS mm.
    interpolation : {'linear', 'nearest'}
    """
    return resample(data, affine, SHAPE, AFFINE, world_to_mni305, interpolation)


@dataclass(frozen=True)
class RoiSampler:
    """Interpolation of images in one grid at points of another one, and nowhere else.

    A run has hundreds of volumes, and the regions a few thousand voxels: its residuals are
    interpolated there, in the way of `resampling.resample`, without ever being an image there.

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
    to_world: NDArray[np.float64],
    missing: MissingRule = "excluded",
    grid: Grid = (SHAPE, AFFINE),
) -> RoiSampler:
    """Prepare interpolation of images that have data in the same voxels.

    Parameters
    ----------
    points : array of int, shape (points,)
        Flat C-order indices in the grid.
    valid : array of bool, shape (x, y, z)
        Which voxels have data.
    affine : array, shape (4, 4)
        Voxel indices to world (RAS, mm).
    to_world : array, shape (4, 4)
        That world to the grid's.
    missing : {'excluded', 'zero'}
        What voxels without data count as; see `resampling.sampling_weights`.
    grid : tuple of shape and affine
        That of the points, MNI305's by default.
    """
    shape, grid_affine = grid
    to_voxels = np.linalg.inv(affine) @ np.linalg.inv(to_world) @ grid_affine
    indices = np.column_stack(np.unravel_index(points, shape))
    covered, weights = sampling_weights(apply_affine(to_voxels, indices), valid, missing)
    weights.eliminate_zeros()
    used = np.unique(weights.indices)
    return RoiSampler(covered, np.flatnonzero(valid)[used], sparse.csr_array(weights[:, used]))


def roi_points(
    dseg_file: str | Path, rois: Rois
) -> tuple[NDArray[np.intp], NDArray[np.int64], Grid]:
    """Voxels of any region.

    Parameters
    ----------
    dseg_file : path
        Labels in the grid of the betas.
    rois : sequence of (str, sequence of int)
        Name and labels of each region.

    Returns
    -------
    points : array of int
        Flat C-order indices, increasing.
    labels : array of int
        The label of each.
    grid : tuple of shape and affine
        Of the labels.
    """
    image = nib.load(dseg_file)
    labels = np.asarray(image.dataobj).ravel().astype(np.int64)
    points = np.flatnonzero(np.isin(labels, [label for _, members in rois for label in members]))
    return points, labels[points], (image.shape, image.affine)
