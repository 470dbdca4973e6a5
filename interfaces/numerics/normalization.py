"""Affine registration of the brain in a T1w image with the MNI152 template.

Twelve parameters by Gauss-Newton on the squared difference of smoothed images, as in SPM's
`spm_affreg` (Friston et al. 1995), with two additions: the template is multiplied by a smooth
intensity field that is estimated along (coil sensitivity, scaling), and Tukey's biweight takes
weight from what the template does not show (what a mask left of the skull, lesions).
"""

from dataclasses import asdict, dataclass
from functools import cache

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from scipy import linalg, ndimage
from threadpoolctl import threadpool_limits

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.realignment import tukey_weights
from conceptrsa.interfaces.numerics.registration_search import (
    HALF_TURNS,
    MattesSearch,
    image_data,
    isotropic,
    starting_points,
    those_true,
)
from conceptrsa.interfaces.numerics.transforms import displacements, is_inside, rigid_matrix

GRID = 4.0  # mm
MARGIN = 8.0  # mm round the brain that counts
COARSE_FWHM, FINE_FWHM = 8.0, 5.0  # mm
COARSE_STEP = 3  # every third voxel
ITERATIONS = 60
CONVERGED = 0.005  # mm
MINIMUM_SHARE = 0.2
UNIT = 60.0  # mm, the lever that makes turns and zooms comparable with shifts

INNER_MM = 8.0  # from the edge of the brain, whose outline does not count for the detail

AGREEMENT = 3.0  # mm
MINIMUM_AGREEING = 2
COMFORTABLE_AGREEING = 4
MINIMUM_CORRELATION = 0.8
MINIMUM_DETAIL = 0.65
COMFORTABLE_DETAIL = 0.72
MINIMUM_LEAD = 0.1
MINIMUM_FILLED = 0.85
EMPTY = 0.2  # of the upper quartile of the signal in the brain
ZOOMS = (0.7, 1.45)
MAXIMUM_SHEAR = 0.2


@dataclass(frozen=True)
class Search:
    """One start of the search: its fit, and its mean distance in mm from the result."""

    name: str
    correlation: float
    detail: float
    distance: float


@dataclass(frozen=True)
class Normalization:
    """An affine registration with the template and the evidence for it.

    Attributes
    ----------
    matrix : array (4, 4)
        World of the T1w to MNI152, RAS mm.
    correlation : float
        Of T1w and template inside the template's brain, the intensity field taken out.
    detail : float
        The same well inside the brain and less smoothed, where only its inner structure counts:
        0.75 and more for good fits, negative for other contrasts.
    filled : float
        Share of the template's brain where the T1w has signal.
    zooms : tuple of 3 float
        T1w to template, along the template's axes.
    shear : float
        Largest cosine between two axes after the transform.
    searches, controls : tuple of Search
        From the several starts, and from half a turn off the result.
    """

    matrix: np.ndarray
    correlation: float
    detail: float
    filled: float
    zooms: tuple[float, float, float]
    shear: float
    searches: tuple[Search, ...]
    controls: tuple[Search, ...]

    @property
    def t1w_to_mni305(self) -> np.ndarray:
        """World of the T1w to MNI305, RAS mm (4x4)."""
        return np.asarray(mni305_grid.MNI152_TO_MNI305 @ self.matrix)

    @property
    def agreeing(self) -> int:
        """Number of starts that led to within 3 mm of the result."""
        return sum(search.distance < AGREEMENT for search in self.searches)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the result must not be used; empty for a good one."""
        correlation = (
            f"its correlation with the template is {self.correlation:.2f} (at least "
            f"{MINIMUM_CORRELATION} is needed)"
        )
        detail = (
            "the inner structure of its brain correlates with the template's by "
            f"{self.detail:.2f} (at least {MINIMUM_DETAIL} is needed)"
        )
        filled = f"it shows only {self.filled:.0%} of a brain"
        rival = max(self.controls, key=lambda control: control.detail)
        turned = f"it fits no better than after {rival.name}, so the head may be rotated"
        agreeing = f"only {self.agreeing} of {len(self.searches)} starts led to it"
        sizes = ", ".join(f"{zoom:.2f}" for zoom in self.zooms)
        is_human = ZOOMS[0] <= min(self.zooms) and max(self.zooms) <= ZOOMS[1]
        return those_true(
            (self.correlation < MINIMUM_CORRELATION, correlation),
            (self.detail < MINIMUM_DETAIL, detail),
            (self.filled < MINIMUM_FILLED, filled),
            (self.detail < rival.detail + MINIMUM_LEAD, turned),
            (self.agreeing < MINIMUM_AGREEING, agreeing),
            (not is_human, f"its zooms ({sizes}) are not those of a human head"),
            (self.shear > MAXIMUM_SHEAR, f"it is sheared by {self.shear:.2f}"),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to look at the result."""
        detail = f"inner structure correlates with the template by only {self.detail:.2f}"
        agreeing = f"{self.agreeing} of {len(self.searches)} starts led to this result"
        return those_true(
            (self.detail < COMFORTABLE_DETAIL, detail),
            (self.agreeing < COMFORTABLE_AGREEING, agreeing),
        )

    def report(self) -> dict[str, object]:
        """All figures as plain values for a JSON file."""
        return {
            "method": "robust affine registration with the MNI152 template of nilearn, "
            "then MNI152 to MNI305",
            "correlation_with_template": self.correlation,
            "correlation_of_inner_structure": self.detail,
            "share_of_brain_with_signal": self.filled,
            "zooms": list(self.zooms),
            "shear": self.shear,
            "starts_agreeing": self.agreeing,
            "starts": [asdict(search) for search in self.searches],
            "controls": [asdict(control) for control in self.controls],
            "warnings": list(self.warnings),
        }


@threadpool_limits.wrap(limits=1)
def inner_correlation(
    t1w: SpatialImage, t1w_to_mni305: np.ndarray, mask: np.ndarray | None = None
) -> float:
    """Correlate the inner structure of a brain with the template's, through a given transform.

    Parameters
    ----------
    t1w : nibabel image
        3D.
    t1w_to_mni305 : array (4, 4)
        World of the T1w to MNI305, RAS mm.
    mask : array of bool (x, y, z), optional
        Where the brain is; by default the whole image counts.

    Returns
    -------
    float
        As `Normalization.detail`; 0 without overlap. Below `MINIMUM_DETAIL` a registration by
        `normalize` would be refused.
    """
    template, brain = _template()
    detail = _Detail(template, brain, _prepared(t1w, mask))
    return detail(np.linalg.inv(mni305_grid.MNI305_TO_MNI152 @ t1w_to_mni305))


@threadpool_limits.wrap(limits=1)
def normalize(t1w: SpatialImage, mask: np.ndarray | None = None) -> Normalization:
    """Find the affine transform of a T1w to MNI152.

    Parameters
    ----------
    t1w : nibabel image
        3D.
    mask : array of bool (x, y, z), optional
        Where the brain is. Without it the whole image is registered, which succeeds where there is
        no skull, and seldom with one.

    Raises
    ------
    StepError
        If the result is not supported by the evidence; the message says in what.
    """
    head = _prepared(t1w, mask)
    template, brain = _template()
    region = ndimage.distance_transform_edt(~brain) * GRID <= MARGIN
    points = apply_affine(template.affine, np.argwhere(brain))
    centre = points.mean(axis=0)
    search = MattesSearch(template, isotropic(head, GRID), centre, region)
    coarse = _Fit(template, brain, region, head, COARSE_FWHM, COARSE_STEP)
    fine = _Fit(template, brain, region, head, FINE_FWHM)
    detail = _Detail(template, brain, head)

    def find(start: np.ndarray) -> np.ndarray:
        rigid = search.climb(start, shrink=(2,), sigmas=(8.0,))
        return coarse.minimise(coarse.minimise(rigid, rigid=True))

    starts = list(starting_points(template, head, centre))
    found = [find(start) for _, start in starts]
    best = fine.minimise(max(found, key=coarse.correlation))
    turned = [best @ rigid_matrix(np.zeros(3), turn, centre) for _, turn in HALF_TURNS]

    def describe(names: list[str], matrices: list[np.ndarray]) -> tuple[Search, ...]:
        return tuple(
            Search(
                name,
                coarse.correlation(matrix),
                detail(matrix),
                float(displacements(matrix, best, points).mean()),
            )
            for name, matrix in zip(names, matrices, strict=True)
        )

    linear = np.linalg.inv(best)[:3, :3]
    zooms = np.linalg.norm(linear, axis=1)
    cosines = (linear @ linear.T) / np.outer(zooms, zooms)
    result = Normalization(
        matrix=np.linalg.inv(best),
        correlation=coarse.correlation(best),
        detail=detail(best),
        filled=fine.filled(best),
        zooms=(float(zooms[0]), float(zooms[1]), float(zooms[2])),
        shear=float(np.abs(cosines - np.eye(3)).max()),
        searches=describe([name for name, _ in starts], found),
        controls=describe([name for name, _ in HALF_TURNS], [find(start) for start in turned]),
    )
    if result.failures:
        raise StepError(
            f"{t1w.get_filename() or 'The T1w image'} could not be registered with MNI152: "
            f"{'; '.join(result.failures)}. Check that it shows a whole human brain in T1 "
            "contrast, that its header gives the right orientation, and that its mask covers just "
            "the brain; or supply another mask (--t1w-mask) or FreeSurfer's transform "
            "(--fs-subjects-dir)."
        )
    return result


def brain_data(t1w: SpatialImage, mask: np.ndarray) -> np.ndarray:
    """Give the data (x, y, z) inside a mask, shifted to be positive there; 0 outside."""
    data = image_data(t1w)
    lowest = float(data[mask].min(initial=0.0))
    return np.where(mask, data - lowest, np.float32(0)).astype(np.float32)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson correlation; 0 where one of the two is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _prepared(t1w: SpatialImage, mask: np.ndarray | None) -> nib.Nifti1Image:
    shown = image_data(t1w) if mask is None else brain_data(t1w, mask)
    return isotropic(nib.Nifti1Image(shown, t1w.affine), 2.0)


class _Fit:
    """Robust least squares between the smoothed template and the smoothed head.

    Matrices here take the template's world to the head's, as its points sample the head.
    """

    def __init__(
        self,
        template: nib.Nifti1Image,
        brain: np.ndarray,
        region: np.ndarray,
        head: nib.Nifti1Image,
        fwhm: float,
        step: int = 1,
    ) -> None:
        voxels = np.argwhere(region)[::step]
        self._points = apply_affine(template.affine, voxels)
        self._centre = apply_affine(template.affine, np.argwhere(brain)).mean(axis=0)
        self._brain = brain[region][::step]
        self._template = _smooth(template, fwhm)[region][::step]
        self._field = self._template[:, None] * _quadratic((self._points - self._centre) / UNIT)
        smooth = _smooth(head, fwhm)
        self._head = np.stack([smooth, *np.gradient(smooth)])
        self._world_to_head = np.linalg.inv(head.affine)

    def minimise(self, start: np.ndarray, rigid: bool = False) -> np.ndarray:
        """Best 4x4 matrix near `start`: rigid motion on top of it, or all twelve parameters."""
        generators = _rigid_generators() if rigid else _affine_generators()
        to_centre, back = np.eye(4), np.eye(4)
        to_centre[:3, 3], back[:3, 3] = -self._centre, self._centre
        offsets = np.c_[self._points - self._centre, np.ones(len(self._points))]
        motions = np.stack([offsets @ generator[:3].T for generator in generators])
        matrix, weights = start, np.ones(len(self._points))
        for _ in range(ITERATIONS):
            values, gradient, inside = self._sample(matrix)
            slopes = np.einsum("kpi,pi->pk", motions, gradient @ matrix[:3, :3])
            design = np.hstack([self._field, -slopes])
            used = weights * inside
            if used.sum() < MINIMUM_SHARE * len(used):
                break
            normal = design.T @ (design * used[:, None])
            ridge = 1e-9 * np.trace(normal) / len(normal) * np.eye(len(normal))
            solution = np.linalg.solve(normal + ridge, design.T @ (used * values))
            step = solution[self._field.shape[1] :]
            residual = values - design @ solution
            shown = self._brain & inside
            weights = (
                tukey_weights(residual, residual[shown]) if shown.any() else np.ones(len(used))
            )
            step *= min(1.0, 10.0 / max(np.abs(step).max(), 1e-12))
            generator = np.tensordot(step, generators, axes=1)
            matrix = matrix @ back @ linalg.expm(generator) @ to_centre
            if np.abs(step).max() < CONVERGED:
                break
        return np.asarray(matrix)

    def correlation(self, matrix: np.ndarray) -> float:
        """Correlation in the brain of the head with the template times its intensity field."""
        values, _, inside = self._sample(matrix)
        used = self._brain & inside
        if used.sum() < 0.5 * self._brain.sum():
            return 0.0
        field, *_ = np.linalg.lstsq(self._field[used], values[used], rcond=None)
        return correlation(self._field[used] @ field, values[used])

    def filled(self, matrix: np.ndarray) -> float:
        """Share of the brain where the head has signal."""
        values, _, inside = self._sample(matrix)
        values = np.where(inside, values, 0)[self._brain]
        return float((values > EMPTY * np.percentile(values, 75)).mean())

    def _sample(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        coordinates = apply_affine(self._world_to_head @ matrix, self._points)
        inside = is_inside(coordinates, self._head.shape[1:])
        sampled = np.stack(
            [ndimage.map_coordinates(part, coordinates.T, order=1) for part in self._head]
        )
        return sampled[0], sampled[1:].T @ self._world_to_head[:3, :3], inside


class _Detail:
    """Correlation of the inner structure of two brains; matrices as for `_Fit`."""

    def __init__(self, template: nib.Nifti1Image, brain: np.ndarray, head: nib.Nifti1Image) -> None:
        inner = ndimage.distance_transform_edt(brain) * GRID > INNER_MM
        self._points = apply_affine(template.affine, np.argwhere(inner))
        self._trends = _quadratic((self._points - self._points.mean(axis=0)) / UNIT)
        self._template = self._without_trends(_smooth(template, FINE_FWHM)[inner])
        self._head = _smooth(head, FINE_FWHM)
        self._world_to_head = np.linalg.inv(head.affine)

    def __call__(self, matrix: np.ndarray) -> float:
        coordinates = apply_affine(self._world_to_head @ matrix, self._points)
        if is_inside(coordinates, self._head.shape).mean() < 0.5:
            return 0.0
        values = self._without_trends(ndimage.map_coordinates(self._head, coordinates.T, order=1))
        return correlation(values, self._template)

    def _without_trends(self, values: np.ndarray) -> np.ndarray:
        trends, *_ = np.linalg.lstsq(self._trends, values, rcond=None)
        return np.asarray(values - self._trends @ trends)


@cache
def _template() -> tuple[nib.Nifti1Image, np.ndarray]:
    """The T1 template that nilearn packages, on 4 mm voxels, and where its brain is."""
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    template = isotropic(load_mni152_template(resolution=2), GRID)
    mask = load_mni152_brain_mask(resolution=2)
    inside = nib.Nifti1Image(np.asarray(mask.dataobj, dtype=np.float32), mask.affine)
    return template, np.asarray(isotropic(inside, GRID).dataobj) > 0.5


def _smooth(image: nib.Nifti1Image, fwhm: float) -> np.ndarray:
    size = np.linalg.norm(image.affine[:3, :3], axis=0)
    sigma = fwhm / np.sqrt(8 * np.log(2)) / size
    return np.asarray(ndimage.gaussian_filter(np.asarray(image.dataobj, dtype=np.float32), sigma))


def _quadratic(points: np.ndarray) -> np.ndarray:
    x, y, z = points.T
    return np.stack([x**0, x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], axis=1)


def _affine_generators() -> np.ndarray:
    generators = np.zeros((12, 4, 4))
    for row in range(3):
        for column in range(3):
            generators[3 * row + column, row, column] = 1 / UNIT
        generators[9 + row, row, 3] = 1
    return generators


def _rigid_generators() -> np.ndarray:
    generators = np.zeros((6, 4, 4))
    for index, (row, column) in enumerate(((2, 1), (0, 2), (1, 0))):
        generators[index, row, column], generators[index, column, row] = 1 / UNIT, -1 / UNIT
        generators[3 + index, index, 3] = 1
    return generators
