"""Rigid registration of the mean EPI with the T1w of the same person.

From several starts, Mattes mutual information finds the neighbourhood of the optimum (SimpleITK,
coarse levels); the best is taken to full resolution and refined on normalised mutual information
(NMI). A result that the evidence does not support is refused: starts that disagree, no advantage
over placements half a turn off, or an EPI that lies outside the T1w.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.affines import apply_affine
from scipy import ndimage

from bids_config.errors import StepError
from interfaces.embedded.mutual_information import NormalisedMutualInformation
from interfaces.embedded.resampling import resample
from interfaces.embedded.transforms import (
    displacements,
    from_sitk_transform,
    rigid_matrix,
    to_sitk,
    to_sitk_transform,
)

REFERENCE_VOXEL = 2.0  # mm
AGREEMENT = 4.0  # mm
FAR_FROM_HEADER = 30.0  # mm

MINIMUM_AGREEING = 2
MINIMUM_CONTRAST = 1.15
MINIMUM_OVERLAP = 0.5
COMFORTABLE_AGREEING = 4
COMFORTABLE_CONTRAST = 1.3

# Name, shift in mm, turn in rad: pitch is what a head differs in most from scan to scan.
_PERTURBATIONS = (
    ("", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    (", nodded", (4.0, 8.0, -8.0), (-0.2, 0.05, 0.0)),
    (", tipped back", (-4.0, -8.0, 8.0), (0.2, 0.0, 0.1)),
)
_HALF_TURNS = tuple(
    (f"half a turn about {axis}", np.pi * unit) for axis, unit in zip("xyz", np.eye(3), strict=True)
)


@dataclass(frozen=True)
class Start:
    """Where a search began, and where it led on the coarse levels.

    `distance` is the mean over the EPI's bright voxels, in mm, from the final result.
    """

    name: str
    nmi: float
    distance: float


@dataclass(frozen=True)
class Coregistration:
    """A rigid registration and the evidence for it.

    Attributes
    ----------
    matrix : array (4, 4)
        World of the source (EPI) to world of the reference (T1w), RAS mm.
    nmi : float
        Normalised mutual information at the result; 1 is none.
    contrast : float
        nmi - 1 over that of the best search that began half a turn off: how much better the
        images fit than a head fits any other head-shaped thing.
    overlap : float
        Share of the source's bright voxels inside the reference.
    moved : float
        Mean distance in mm from the alignment that the headers state.
    starts, controls : tuple of Start
        The searches, and those that began half a turn off.
    """

    matrix: np.ndarray
    nmi: float
    contrast: float
    overlap: float
    moved: float
    starts: tuple[Start, ...]
    controls: tuple[Start, ...]

    @property
    def agreeing(self) -> int:
        """How many of the starts led to within 4 mm of the result."""
        return sum(start.distance < AGREEMENT for start in self.starts)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the result must not be used; empty for a good one."""
        found = []
        if self.agreeing < MINIMUM_AGREEING:
            found.append(f"only {self.agreeing} of {len(self.starts)} starts led to it")
        if self.contrast < MINIMUM_CONTRAST:
            found.append(
                f"its mutual information is {self.contrast:.2f} times that of a head turned "
                f"by half a turn (at least {MINIMUM_CONTRAST} is needed)"
            )
        if self.overlap < MINIMUM_OVERLAP:
            found.append(f"only {self.overlap:.0%} of the EPI lies inside the T1w image")
        return tuple(found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes a look at the result worth while."""
        found = []
        if self.agreeing < COMFORTABLE_AGREEING:
            found.append(f"{self.agreeing} of {len(self.starts)} starts led to the result")
        if self.contrast < COMFORTABLE_CONTRAST:
            found.append(f"mutual information only {self.contrast:.2f} times that of the controls")
        if self.moved > FAR_FROM_HEADER:
            found.append(f"the headers are {self.moved:.0f} mm off")
        return tuple(found)


def coregister(
    source: nib.spatialimages.SpatialImage, reference: nib.spatialimages.SpatialImage
) -> Coregistration:
    """Find the rigid motion that takes the mean EPI to the T1w of the same person.

    Parameters
    ----------
    source : nibabel image
        Mean EPI, 3D; NaN where there is no data.
    reference : nibabel image
        T1w, 3D, with the skull or without.

    Raises
    ------
    StepError
        If the result is not supported by the evidence; the message says in what.
    """
    moving = _without_nan(source)
    fixed = _isotropic(_without_nan(reference))
    similarity = NormalisedMutualInformation(source, fixed)
    climb = _Climb(moving, fixed, similarity.centre)

    starts = list(_starts(moving, fixed, similarity.centre))
    coarse = [climb.coarse(start) for _, start in starts]
    values = [similarity(matrix) for matrix in coarse]
    best = coarse[int(np.argmax(values))]
    turned = [best @ rigid_matrix(np.zeros(3), turn, similarity.centre) for _, turn in _HALF_TURNS]
    controls = [climb.coarse(start) for start in turned]
    control_values = [similarity(matrix) for matrix in controls]
    matrix, nmi = similarity.refine(climb.fine(best))

    points = _bright_points(moving)
    result = Coregistration(
        matrix=matrix,
        nmi=nmi,
        contrast=(nmi - 1) / max(*(value - 1 for value in control_values), 1e-9),
        overlap=_share_inside(fixed, matrix, points),
        moved=float(displacements(matrix, np.eye(4), points).mean()),
        starts=_describe([name for name, _ in starts], values, coarse, matrix, points),
        controls=_describe(
            [name for name, _ in _HALF_TURNS], control_values, controls, matrix, points
        ),
    )
    if result.failures:
        raise StepError(
            f"The EPI could not be registered with the T1w image: {'; '.join(result.failures)}. "
            "Check that both show the same person's brain and that their headers are right."
        )
    return result


class _Climb:
    """Mattes mutual information by gradient descent; the EPI's voxels sample the T1w."""

    def __init__(self, moving: nib.Nifti1Image, fixed: nib.Nifti1Image, centre: np.ndarray) -> None:
        self._images = to_sitk(moving), to_sitk(fixed)
        self._centre = (centre * [-1, -1, 1]).tolist()

    def coarse(self, start: np.ndarray) -> np.ndarray:
        """Climb on every fourth, then every second voxel, smoothed by 8 and 4 mm."""
        return self._climb(start, (4, 2), (8.0, 4.0))

    def fine(self, start: np.ndarray) -> np.ndarray:
        """Climb on all voxels, smoothed by 2 mm."""
        return self._climb(start, (1,), (2.0,))

    def _climb(
        self, start: np.ndarray, shrink: tuple[int, ...], sigmas: tuple[float, ...]
    ) -> np.ndarray:
        transform = self._rigid(start)
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetMetricAsMattesMutualInformation(32)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, 100, relaxationFactor=0.5)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel(shrink)
        method.SetSmoothingSigmasPerLevel(sigmas)
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
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
        transform.SetMatrix(affine.GetMatrix(), 1e-6)
        shift = np.array(affine.TransformPoint(self._centre)) - self._centre
        transform.SetTranslation(shift.tolist())
        return transform


def _starts(
    moving: nib.Nifti1Image, fixed: nib.Nifti1Image, centre: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    centred = np.eye(4)
    centred[:3, 3] = _bright_points(fixed).mean(axis=0) - _bright_points(moving).mean(axis=0)
    for anchor, alignment in (("header", np.eye(4)), ("centre of mass", centred)):
        for name, shift, turn in _PERTURBATIONS:
            perturbed = rigid_matrix(np.array(shift), np.array(turn), centre)
            yield anchor + name, alignment @ perturbed


def _describe(
    names: list[str],
    values: list[float],
    matrices: list[np.ndarray],
    result: np.ndarray,
    points: np.ndarray,
) -> tuple[Start, ...]:
    return tuple(
        Start(name, value, float(displacements(matrix, result, points).mean()))
        for name, value, matrix in zip(names, values, matrices, strict=True)
    )


def _without_nan(image: nib.spatialimages.SpatialImage) -> nib.Nifti1Image:
    data = np.nan_to_num(np.asarray(image.dataobj, dtype=np.float32))
    if data.ndim != 3 or np.ptp(data) == 0:
        raise StepError(
            f"{image.get_filename() or 'An image to register'} holds no picture: "
            "it must be 3D and not constant."
        )
    return nib.Nifti1Image(data, image.affine)


def _isotropic(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """The image on 2 mm voxels along the world's axes, smoothed first where it is finer."""
    size = np.linalg.norm(image.affine[:3, :3], axis=0)
    sigma = 0.42 * np.sqrt(np.maximum((REFERENCE_VOXEL / size) ** 2 - 1, 0))
    smooth = ndimage.gaussian_filter(np.asarray(image.dataobj), sigma)
    corners = apply_affine(image.affine, list(product(*((0, n - 1) for n in image.shape))))
    extent = np.ceil(np.ptp(corners, axis=0) / REFERENCE_VOXEL).astype(int) + 1
    shape = (int(extent[0]), int(extent[1]), int(extent[2]))
    affine = np.diag([REFERENCE_VOXEL] * 3 + [1.0])
    affine[:3, 3] = corners.min(axis=0)
    return nib.Nifti1Image(np.nan_to_num(resample(smooth, image.affine, shape, affine)), affine)


def _bright_points(image: nib.Nifti1Image) -> np.ndarray:
    data = np.asarray(image.dataobj)
    low, high = np.percentile(data, [1, 98])
    return np.asarray(apply_affine(image.affine, np.argwhere(data > low + 0.3 * (high - low))))


def _share_inside(image: nib.Nifti1Image, matrix: np.ndarray, points: np.ndarray) -> float:
    if len(points) == 0:
        return 0.0
    coordinates = apply_affine(np.linalg.inv(image.affine) @ matrix, points)
    return float(((coordinates >= 0) & (coordinates <= np.array(image.shape) - 1)).all(1).mean())
