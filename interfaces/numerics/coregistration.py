"""Rigid registration of the mean EPI with the T1w of the same person.

From several starts, Mattes mutual information finds the neighbourhood of the optimum (SimpleITK,
coarse levels); the best is refined on normalised mutual information (NMI) at full resolution.
A result that the evidence does not support is refused: starts that disagree, no advantage over
placements half a turn off, or an EPI that lies outside the T1w.
"""

from dataclasses import asdict, dataclass

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from threadpoolctl import threadpool_limits

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics.registration_search import (
    HALF_TURNS,
    MattesSearch,
    NormalisedMutualInformation,
    bright_points,
    image_data,
    isotropic,
    starting_points,
    those_true,
)
from conceptrsa.interfaces.numerics.transforms import displacements, is_inside, rigid_matrix

COARSE_VOXEL, FINE_VOXEL = 4.0, 2.0  # mm, of the T1w
COARSE_STEPS, COARSE_SIGMAS = (4, 2), (8.0, 4.0)  # voxels, mm
AGREEMENT = 4.0  # mm
FAR_FROM_HEADER = 30.0  # mm

MINIMUM_AGREEING = 2
MINIMUM_NMI = 1.01
MINIMUM_CONTRAST = 1.15
MINIMUM_OVERLAP = 0.5
COMFORTABLE_AGREEING = 4
COMFORTABLE_CONTRAST = 1.2


@dataclass(frozen=True)
class Start:
    """Start of a search, and its result before the refinement.

    `distance` is the mean over the EPI's bright voxels, in mm, from the final result.
    """

    name: str
    nmi: float
    distance: float


METHOD = "Mattes mutual information from several starts, refined on normalised mutual information"


@dataclass(frozen=True)
class Coregistration:
    """A rigid registration and the evidence for it.

    Attributes
    ----------
    method : str
        How it was found.
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

    method: str
    matrix: np.ndarray
    nmi: float
    contrast: float
    overlap: float
    moved: float
    starts: tuple[Start, ...]
    controls: tuple[Start, ...]

    @property
    def agreeing(self) -> int:
        """Number of starts that led to within 4 mm of the result."""
        return sum(start.distance < AGREEMENT for start in self.starts)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the result must not be used; empty for a good one."""
        agreeing = f"only {self.agreeing} of {len(self.starts)} starts led to it"
        contrast = (
            f"its mutual information is {self.contrast:.2f} times that of a head rotated by 180 "
            f"degrees (at least {MINIMUM_CONTRAST} is needed)"
        )
        overlap = f"only {self.overlap:.0%} of the EPI lies inside the T1w image"
        return those_true(
            (self.agreeing < MINIMUM_AGREEING, agreeing),
            (self.nmi < MINIMUM_NMI, "the images share almost no information"),
            (self.contrast < MINIMUM_CONTRAST, contrast),
            (self.overlap < MINIMUM_OVERLAP, overlap),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to inspect the result."""
        agreeing = f"{self.agreeing} of {len(self.starts)} starts led to this result"
        contrast = f"mutual information only {self.contrast:.2f} times that of the controls"
        return those_true(
            (self.agreeing < COMFORTABLE_AGREEING, agreeing),
            (self.contrast < COMFORTABLE_CONTRAST, contrast),
            (self.moved > FAR_FROM_HEADER, f"the headers are {self.moved:.0f} mm off"),
        )

    def report(self) -> dict[str, object]:
        """All figures as plain values for a JSON file."""
        return {
            "method": self.method,
            "normalised_mutual_information": self.nmi,
            "contrast_to_controls": self.contrast,
            "overlap": self.overlap,
            "distance_from_header_mm": self.moved,
            "starts_agreeing": self.agreeing,
            "starts": [asdict(start) for start in self.starts],
            "controls": [asdict(control) for control in self.controls],
            "warnings": list(self.warnings),
        }


def coregister(
    source: SpatialImage,
    reference: SpatialImage,
    given: np.ndarray | None = None,
    method: str = METHOD,
) -> Coregistration:
    """Find the rigid motion that takes the mean EPI to the T1w of the same person.

    Parameters
    ----------
    source, reference, given, method
        As for `gather_evidence`.

    Raises
    ------
    StepError
        If the result is not supported by the evidence; the message says in what.
    """
    result: Coregistration = gather_evidence(source, reference, given, method)
    if result.failures:
        raise StepError(
            f"The EPI could not be registered with the T1w image: {'; '.join(result.failures)}. "
            "Check that both show the same person's brain, and that their headers are right."
        )
    return result


@threadpool_limits.wrap(limits=1)
def gather_evidence(
    source: SpatialImage,
    reference: SpatialImage,
    given: np.ndarray | None = None,
    method: str = METHOD,
) -> Coregistration:
    """Find the rigid motion, or take one, and gather the evidence for it, whatever it says.

    The searches are made even where a motion is given: how many of them lead to it is part of the
    evidence.

    Parameters
    ----------
    source : nibabel image
        Mean EPI, 3D; NaN where there is no data.
    reference : nibabel image
        T1w, 3D, with the skull or without.
    given : array (4, 4), optional
        World of the source to world of the reference, RAS mm, found in another way.
    method : str
        How it was found.
    """
    moving = nib.Nifti1Image(image_data(source), source.affine)
    fixed = isotropic(nib.Nifti1Image(image_data(reference), reference.affine), FINE_VOXEL)
    similarity = NormalisedMutualInformation(source, fixed)
    search = MattesSearch(moving, isotropic(fixed, COARSE_VOXEL), similarity.centre)

    starts = list(starting_points(moving, fixed, similarity.centre))
    coarse = [search.climb(start, COARSE_STEPS, COARSE_SIGMAS) for _, start in starts]
    values = [similarity(matrix) for matrix in coarse]
    best = coarse[int(np.argmax(values))] if given is None else given
    turned = [best @ rigid_matrix(np.zeros(3), turn, similarity.centre) for _, turn in HALF_TURNS]
    controls = [search.climb(start, COARSE_STEPS, COARSE_SIGMAS) for start in turned]
    control_values = [similarity(matrix) for matrix in controls]
    matrix, nmi = similarity.refine(best) if given is None else (given, similarity(given))

    points = bright_points(moving)

    def describe(
        names: list[str], values: list[float], matrices: list[np.ndarray]
    ) -> tuple[Start, ...]:
        return tuple(
            Start(name, value, float(displacements(found, matrix, points).mean()))
            for name, value, found in zip(names, values, matrices, strict=True)
        )

    return Coregistration(
        method=method,
        matrix=matrix,
        nmi=nmi,
        contrast=(nmi - 1) / max(*(value - 1 for value in control_values), 1e-9),
        overlap=_share_inside(fixed, matrix, points),
        moved=float(displacements(matrix, np.eye(4), points).mean()),
        starts=describe([name for name, _ in starts], values, coarse),
        controls=describe([name for name, _ in HALF_TURNS], control_values, controls),
    )


def _share_inside(image: nib.Nifti1Image, matrix: np.ndarray, points: np.ndarray) -> float:
    if len(points) == 0:
        return 0.0
    voxels = apply_affine(np.linalg.inv(image.affine) @ matrix, points)
    return float(is_inside(voxels, image.shape).mean())
