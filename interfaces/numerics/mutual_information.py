"""Normalised mutual information of two images under a transform between their worlds.

NMI = (H(a) + H(b)) / H(a, b) (Studholme et al. 1999), from a joint histogram that is smoothed as
in SPM's `spm_coreg`. It is 1 for unrelated images and grows with their agreement, whatever the
contrast of each.
"""

import numpy as np
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from scipy import ndimage, optimize

from conceptrsa.interfaces.numerics.transforms import rigid_matrix

BINS = 64
HISTOGRAM_SIGMA = 2.0
MAXIMUM_POINTS = 60_000
MINIMUM_OVERLAP = 0.3
_RADIUS = 50.0


class NormalisedMutualInformation:
    """NMI of a moving image with a fixed one, as a function of the 4x4 matrix between them.

    The moving image is sampled near its voxel centres, each point shifted by a random part of a
    voxel (fixed seed) so that the two grids cannot lock into each other.

    Parameters
    ----------
    moving, fixed : nibabel image
        3D. Voxels of `moving` that are not finite are left out.
    seed : int
        Of the random shifts.
    """

    def __init__(
        self,
        moving: SpatialImage,
        fixed: SpatialImage,
        seed: int = 0,
    ) -> None:
        data = np.asarray(moving.dataobj, dtype=np.float32)
        voxels = np.argwhere(np.isfinite(data))
        voxels = voxels[:: max(1, len(voxels) // MAXIMUM_POINTS)]
        shifts = np.random.default_rng(seed).uniform(-0.5, 0.5, voxels.shape)
        voxels = np.clip(voxels + shifts, 0, np.array(data.shape) - 1)
        sampled = ndimage.map_coordinates(np.nan_to_num(data), voxels.T, order=1)
        self.points = apply_affine(moving.affine, voxels)
        self.centre = self.points.mean(axis=0)
        self._moving_bins = _to_bins(sampled)
        self._fixed_bins = _to_bins(np.nan_to_num(np.asarray(fixed.dataobj, dtype=np.float32)))
        self._world_to_fixed = np.linalg.inv(fixed.affine)

    def __call__(self, matrix: np.ndarray) -> float:
        """NMI where the 4x4 `matrix` takes the moving image's world to the fixed one's.

        It is 1, the value of unrelated images, where less than 0.3 of the points fall inside.
        """
        coordinates, inside = self._coordinates(matrix)
        if inside.mean() < MINIMUM_OVERLAP:
            return 1.0
        fixed = ndimage.map_coordinates(self._fixed_bins, coordinates[inside].T, order=1)
        joint = ndimage.gaussian_filter(
            _joint_histogram(self._moving_bins[inside], fixed), HISTOGRAM_SIGMA
        )
        return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / _entropy(joint)

    def refine(self, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        """Maximise the NMI over rigid motions near `matrix` by Powell's method.

        Returns
        -------
        matrix : array (4, 4)
        nmi : float
        """

        def moved(parameters: np.ndarray) -> np.ndarray:
            shift, turn = parameters[:3], parameters[3:] / _RADIUS
            return np.asarray(matrix @ rigid_matrix(shift, turn, self.centre))

        def cost(parameters: np.ndarray) -> float:
            return -self(moved(parameters))

        found = optimize.minimize(
            cost,
            np.zeros(6),
            method="Powell",
            options={"xtol": 0.02, "ftol": 1e-6, "maxiter": 8},
        )
        return moved(found.x), -float(found.fun)

    def _coordinates(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        coordinates = apply_affine(self._world_to_fixed @ matrix, self.points)
        last = np.array(self._fixed_bins.shape) - 1
        return coordinates, ((coordinates >= 0) & (coordinates <= last)).all(axis=1)


def _to_bins(values: np.ndarray) -> np.ndarray:
    # Percentiles keep a few very bright voxels from squeezing the brain into a handful of bins.
    low, high = np.percentile(values, [0.1, 99.8])
    scale = (BINS - 1) / max(high - low, np.finfo(np.float32).tiny)
    return np.asarray(np.clip((values - low) * scale, 0, BINS - 1), dtype=np.float32)


def _joint_histogram(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # Each pair is shared out over the four bins around it, so NMI is smooth in the parameters.
    side = BINS + 1
    row, column = first.astype(np.intp), second.astype(np.intp)
    row_part, column_part = first - row, second - column
    joint = np.zeros(side * side)
    for down, row_weight in ((0, 1 - row_part), (1, row_part)):
        for right, column_weight in ((0, 1 - column_part), (1, column_part)):
            cells = (row + down) * side + column + right
            joint += np.bincount(cells, row_weight * column_weight, minlength=side * side)
    return np.asarray(joint.reshape(side, side)[:BINS, :BINS])


def _entropy(histogram: np.ndarray) -> float:
    share = histogram[histogram > 0] / histogram.sum()
    return -float(np.sum(share * np.log(share)))
