"""What both registrations share: where to start, and how to get near.

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
from scipy import ndimage
from scipy.linalg import polar

from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import (
    from_sitk_transform,
    rigid_matrix,
    to_sitk,
    to_sitk_transform,
)

HEAD_HEIGHT = 160.0  # mm

# Name, shift in mm, turn in rad: pitch is what a head differs in most from scan to scan.
_PERTURBATIONS = (
    ("", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    (", nodded", (4.0, 8.0, -8.0), (-0.2, 0.05, 0.0)),
    (", tipped back", (-4.0, -8.0, 8.0), (0.2, 0.0, 0.1)),
)
HALF_TURNS = tuple(
    (f"half a turn about {axis}", np.pi * unit) for axis, unit in zip("xyz", np.eye(3), strict=True)
)


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
