"""Starts and coarse search that both registrations share.

A search that begins in one place can end in the wrong one without a sign of it. So searches begin
in several places whose agreement is evidence, and, as a control, half a turn away from the result,
where no search can be right.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from scipy import ndimage, optimize
from scipy.linalg import polar

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import (
    from_sitk_transform,
    is_inside,
    rigid_matrix,
    to_sitk,
    to_sitk_transform,
)

HEAD_HEIGHT = 160.0  # mm
BINS = 64
HISTOGRAM_SIGMA = 2.0
MAXIMUM_POINTS = 60_000
MINIMUM_OVERLAP = 0.3
_RADIUS = 50.0

# Name, shift in mm, turn in rad: pitch is what a head differs in most from scan to scan.
_PERTURBATIONS = (
    ("", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    (", nodded", (4.0, 8.0, -8.0), (-0.2, 0.05, 0.0)),
    (", tipped back", (-4.0, -8.0, 8.0), (0.2, 0.0, 0.1)),
)
HALF_TURNS = tuple(
    (f"half a turn about {axis}", np.pi * unit) for axis, unit in zip("xyz", np.eye(3), strict=True)
)


def those_true(*sentences: tuple[bool, str]) -> tuple[str, ...]:
    """Give the sentences that hold."""
    return tuple(sentence for holds, sentence in sentences if holds)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep ITK to one thread, without which the order of its sums and so the result varies.

    The method's own SetNumberOfThreads does not reach its metric.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


class MattesSearch:
    """Rigid search by gradient descent on Mattes mutual information (one thread, no sampling).

    The voxels of `moving` sample `fixed`: with an EPI that shows part of the head, all that it
    shows is used wherever it lies.

    Parameters
    ----------
    moving, fixed : nibabel image
        3D, finite. The matrices found take the world of `moving` to that of `fixed`.
    centre : array (3,)
        Point about which is turned, in mm in the world of `moving`.
    mask : array of bool, optional
        Which voxels of `moving` count; all by default.
    """

    def __init__(
        self,
        moving: nib.Nifti1Image,
        fixed: nib.Nifti1Image,
        centre: np.ndarray,
        mask: np.ndarray | None = None,
    ) -> None:
        self._images = to_sitk(moving), to_sitk(fixed)
        self._mask = None
        if mask is not None:
            shown = nib.Nifti1Image(mask.astype(np.float32), moving.affine)
            self._mask = sitk.Cast(to_sitk(shown), sitk.sitkUInt8)
        self._centre = (centre * [-1, -1, 1]).tolist()

    @_one_thread()
    def climb(
        self, start: np.ndarray, shrink: tuple[int, ...], sigmas: tuple[float, ...]
    ) -> np.ndarray:
        """Climb from `start` (its rigid part), one level after the other.

        Parameters
        ----------
        start : array (4, 4)
        shrink : tuple of int
            Step in voxels along each axis, by level.
        sigmas : tuple of float
            Gaussian smoothing of both images in mm, by level.
        """
        transform = self._rigid(start)
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(32)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100, relaxationFactor=0.5)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel(shrink)
        method.SetSmoothingSigmasPerLevel(sigmas)
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
        if self._mask is not None:
            method.SetMetricFixedMask(self._mask)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(*self._images)
        except RuntimeError:
            # ITK refuses a placement without overlap: this start led nowhere.
            return start
        return from_sitk_transform(transform)

    def _rigid(self, matrix: np.ndarray) -> sitk.Euler3DTransform:
        affine = to_sitk_transform(matrix)
        transform = sitk.Euler3DTransform()
        transform.SetCenter(self._centre)
        rotation, _ = polar(np.reshape(affine.GetMatrix(), (3, 3)))
        transform.SetMatrix(rotation.ravel().tolist(), 1e-6)
        shift = np.array(affine.TransformPoint(self._centre)) - self._centre
        transform.SetTranslation(shift.tolist())
        return transform


class NormalisedMutualInformation:
    """NMI of a moving image with a fixed one, as a function of the 4x4 matrix between them.

    NMI = (H(a) + H(b)) / H(a, b) (Studholme et al. 1999), from a joint histogram that is smoothed
    as in SPM's `spm_coreg`. It is 1 for unrelated images and grows with their agreement, whatever
    the contrast of each.

    The moving image is sampled near its voxel centres, each point shifted by a random part of a
    voxel (fixed seed) so that the two grids cannot lock into each other.

    Parameters
    ----------
    moving, fixed : nibabel image
        3D. Voxels of `moving` that are not finite are left out.
    """

    def __init__(self, moving: SpatialImage, fixed: SpatialImage) -> None:
        data = np.asarray(moving.dataobj, dtype=np.float32)
        voxels = np.argwhere(np.isfinite(data))
        voxels = voxels[:: max(1, len(voxels) // MAXIMUM_POINTS)]
        shifts = np.random.default_rng(0).uniform(-0.5, 0.5, voxels.shape)
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
        coordinates = apply_affine(self._world_to_fixed @ matrix, self.points)
        inside = is_inside(coordinates, self._fixed_bins.shape)
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


def starting_points(
    moving: nib.Nifti1Image, fixed: nib.Nifti1Image, centre: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Starts by name: as the headers say and centre on centre, each with fixed perturbations."""
    centred = np.eye(4)
    centred[:3, 3] = _head_centre(fixed) - _head_centre(moving)
    for anchor, alignment in (("header", np.eye(4)), ("centre of mass", centred)):
        for name, shift, turn in _PERTURBATIONS:
            perturbed = rigid_matrix(np.array(shift), np.array(turn), centre)
            yield anchor + name, alignment @ perturbed


def _head_centre(image: nib.Nifti1Image) -> np.ndarray:
    points = bright_points(image)
    # Measured from the top, so that a neck and shoulders in the picture do not count.
    return np.asarray(points[points[:, 2] > points[:, 2].max() - HEAD_HEIGHT].mean(axis=0))


def image_data(image: SpatialImage) -> np.ndarray:
    """Give the data (x, y, z) of a 3D image as float32, 0 where they are not finite.

    Raises
    ------
    StepError
        If the image is not 3D or is constant.
    """
    data = np.asarray(image.dataobj, dtype=np.float32)
    data = np.nan_to_num(data, posinf=0, neginf=0)
    if data.ndim > 3 and set(data.shape[3:]) == {1}:
        data = data.reshape(data.shape[:3])
    if data.ndim != 3 or np.ptp(data) == 0:
        raise StepError(
            f"{image.get_filename() or 'An image'} is not a 3D image, or it is constant."
        )
    return data


def isotropic(image: nib.Nifti1Image, voxel: float) -> nib.Nifti1Image:
    """The image on cubic voxels (mm) along the world's axes, smoothed first where it is finer."""
    size = np.linalg.norm(image.affine[:3, :3], axis=0)
    sigma = 0.42 * np.sqrt(np.maximum((voxel / size) ** 2 - 1, 0))
    smooth = ndimage.gaussian_filter(np.asarray(image.dataobj), sigma)
    corners = apply_affine(image.affine, list(product(*((0, n - 1) for n in image.shape))))
    extent = np.ceil(np.ptp(corners, axis=0) / voxel).astype(int) + 1
    shape = (int(extent[0]), int(extent[1]), int(extent[2]))
    affine = np.diag([voxel] * 3 + [1.0])
    affine[:3, 3] = corners.min(axis=0)
    return nib.Nifti1Image(np.nan_to_num(resample(smooth, image.affine, shape, affine)), affine)


def bright_points(image: nib.Nifti1Image) -> np.ndarray:
    """World coordinates (n, 3) in mm of the voxels that are not background."""
    data = np.asarray(image.dataobj)
    low, high = np.percentile(data, [1, 98])
    return np.asarray(apply_affine(image.affine, np.argwhere(data > low + 0.3 * (high - low))))
