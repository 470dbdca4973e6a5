"""Multivoxel patterns of one or more subjects: what every source of betas is turned into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import spelt_otherwise

if TYPE_CHECKING:
    from typing_extensions import TypeIs

MIN_SUBJECTS = 2
"""The noise ceiling correlates each subject with the others."""

MIN_STIMULI = 3
"""Two stimuli give an RDM of one number, which correlates with nothing."""


NOTHING = 1e-6
"""What varies over stimuli by less than this share of its values is rounding, and no data."""

RESIDUE = 1e-9
"""What varies by less than this share of the median voxel is rounding around 0."""

TELLING_VOXELS = 10
"""In fewer the betas of two stimuli can be the same by chance, where they are whole numbers."""


@dataclass(frozen=True)
class RoiPatterns:
    """The betas of one subject in one region of interest.

    Attributes
    ----------
    values : ndarray, (stimuli, voxels)
        Betas, finite, in the units of their source; voxels in the order of `voxels`.
    voxels : ndarray of int, (voxels,)
        Flat (C order) indices of the voxels in the volume's grid, increasing.
    n_dropped : int
        Voxels of the region left out because they hold no data.
    n_same : int
        Those of them whose betas are finite, but the same for all stimuli.
    odd, even : ndarray, (stimuli, voxels), or None
        Betas of the first, third, ... and of the second, fourth, ... runs, where known.
    runs : ndarray, (runs, stimuli, voxels), or None
        Betas of each run in the order of the runs, where known.
    residual_covariance : ndarray, (voxels, voxels), or None
        Covariance of the linear model's residuals, shrunk so that it can be inverted.
    """

    values: NDArray[np.float64]
    voxels: NDArray[np.intp]
    n_dropped: int = 0
    odd: NDArray[np.float64] | None = None
    even: NDArray[np.float64] | None = None
    runs: NDArray[np.float64] | None = None
    residual_covariance: NDArray[np.float32] | NDArray[np.float64] | None = None
    n_same: int = 0

    @property
    def n_voxels(self) -> int:
        """Number of usable voxels."""
        return int(self.values.shape[1])

    def of_voxels(self, columns: NDArray[np.intp]) -> "RoiPatterns":
        """Give some of the voxels; the others count as dropped."""
        covariance = self.residual_covariance
        return replace(
            self,
            values=np.ascontiguousarray(self.values[:, columns]),
            voxels=self.voxels[columns],
            n_dropped=self.n_dropped + self.n_voxels - len(columns),
            odd=None if self.odd is None else np.ascontiguousarray(self.odd[:, columns]),
            even=None if self.even is None else np.ascontiguousarray(self.even[:, columns]),
            runs=None if self.runs is None else np.ascontiguousarray(self.runs[:, :, columns]),
            residual_covariance=(
                None if covariance is None else covariance[np.ix_(columns, columns)]
            ),
        )

    def with_data(self) -> "RoiPatterns":
        """Leave out voxels that are not finite somewhere, or the same for all stimuli."""
        covariance = self.residual_covariance
        # A voxel without covariance has none with any voxel, and its own is enough to tell.
        variances = None if covariance is None else np.diagonal(covariance)[None]
        finite = finite_voxels(self.values, self.odd, self.even, self.runs, variances)
        varying = varying_voxels(self.values, self.odd, self.even, self.runs)
        complete = finite & varying
        if complete.all():
            return self
        n_same = self.n_same + int(np.count_nonzero(finite & ~varying))
        return replace(self.of_voxels(np.flatnonzero(complete)), n_same=n_same)


def finite_voxels(*arrays: NDArray[Any] | None) -> NDArray[np.bool_]:
    """Which voxels, the last axis, are finite throughout all arrays that are there."""
    present = [array for array in arrays if array is not None]
    of_each = [np.isfinite(array).all(axis=tuple(range(array.ndim - 1))) for array in present]
    complete: NDArray[np.bool_] = np.logical_and.reduce(of_each)
    return complete


def varying_voxels(*arrays: NDArray[np.float64] | None) -> NDArray[np.bool_]:
    """Which voxels differ between stimuli in all arrays (..., stimuli, voxels) that are there.

    Programs write 0 or another number outside of what was measured, in all runs or in one. Of
    fewer than three stimuli two may be the same by chance, so that nothing is known.
    """
    present = [array for array in arrays if array is not None]
    varying = np.ones(present[0].shape[-1], dtype=bool)
    for array in present:
        if array.shape[-2] < MIN_STIMULI:
            continue
        of_array = vary_between(array.min(axis=-2), array.max(axis=-2))
        varying &= of_array.reshape(-1, len(varying)).all(axis=0)
    return varying


def vary_between(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell of lowest and highest values (..., voxels) whether they differ by more than rounding."""
    with np.errstate(over="ignore", invalid="ignore"):
        spread = high - low
        some = spread[np.isfinite(spread) & (spread > 0)]
        residue = RESIDUE * np.median(some) if some.size else 0.0
        rounding = NOTHING * np.maximum(np.abs(low), np.abs(high))
        varying: NDArray[np.bool_] = spread > np.maximum(residue, rounding)
    return varying


class _Labelled:
    """How a subject is spoken of in tables and messages."""

    datum: ClassVar[str]
    subject: str
    sources: tuple[Path, ...]

    @property
    def label(self) -> str:
        """The subject as BIDS spells it in tables and folders."""
        return f"sub-{self.subject}"

    @property
    def origin(self) -> str:
        """Where the data came from, for messages."""
        return str(self.sources[0].parent) if self.sources else "the patterns given"


@dataclass(frozen=True)
class SubjectPatterns(_Labelled):
    """The betas of one subject in every region.

    Attributes
    ----------
    subject : str
        Label without `sub-`.
    stimuli : tuple of str
        Stimulus ids, one per row of every region's values, sorted.
    rois : mapping of str to RoiPatterns
        By region name, in the order of presentation.
    sources : tuple of Path
        The files that the betas and regions were read from.
    notes : tuple of str
        What happened while reading that the user should know.
    estimation : mapping
        How the betas were estimated, as their sidecar has it; empty where that is not known.
    kind : {'t', 'z'} or None
        What their files say that they hold in place of betas.
    """

    subject: str
    stimuli: tuple[str, ...]
    rois: Mapping[str, RoiPatterns]
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    estimation: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None
    datum: ClassVar[str] = "beta"


@dataclass(frozen=True)
class SubjectRdms(_Labelled):
    """The RDMs of one subject in every region, where patterns are not known.

    Attributes
    ----------
    subject : str
        Label without `sub-`.
    stimuli : tuple of str
        Stimulus ids, sorted.
    rois : mapping of str to ndarray, (folds, pairs)
        By region name, in the order of presentation; finite, pairs in `pdist` order.
    sources : tuple of Path
        The files that the RDMs were read from.
    notes : tuple of str
        What happened while reading that the user should know.
    """

    subject: str
    stimuli: tuple[str, ...]
    rois: Mapping[str, NDArray[np.float64]]
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    datum: ClassVar[str] = "RDM"


def have_patterns(
    subjects: Sequence[SubjectPatterns] | Sequence[SubjectRdms],
) -> "TypeIs[Sequence[SubjectPatterns]]":
    """Tell whether subjects come with patterns, or with RDMs only."""
    return all(isinstance(subject, SubjectPatterns) for subject in subjects)


def with_data_only(subject: SubjectPatterns) -> SubjectPatterns:
    """Leave out voxels that hold no data, and say how many in the subject's notes.

    Parameters
    ----------
    subject : SubjectPatterns

    Returns
    -------
    SubjectPatterns
        See `RoiPatterns.with_data`.
    """
    rois = {name: roi.with_data() for name, roi in subject.rois.items()}
    outdated = voxel_notes(subject)
    notes = [note for note in subject.notes if note not in outdated]
    complete = replace(subject, rois=rois, notes=tuple(notes))
    return replace(complete, notes=(*notes, *voxel_notes(complete)))


def voxel_notes(subject: SubjectPatterns) -> tuple[str, ...]:
    """Say which of a subject's voxels were left out, and which may lack data."""
    rois = subject.rois
    counts = {
        "left out because a beta is not finite": {
            name: roi.n_dropped - roi.n_same for name, roi in rois.items()
        },
        "left out because their beta is the same for all stimuli (of all runs, a half or a run), "
        "as outside of a mask": {name: roi.n_same for name, roi in rois.items()},
        "whose beta is exactly 0 for some stimuli but not for all, kept": {
            name: _n_with_zeros(roi) for name, roi in rois.items()
        },
    }
    sizes = {name: roi.n_dropped + roi.n_voxels for name, roi in rois.items()}
    return tuple(
        f"{subject.label}: voxels {what}: "
        + ", ".join(f"{name} {n} of {sizes[name]}" for name, n in of_rois.items() if n)
        for what, of_rois in counts.items()
        if any(of_rois.values())
    )


def _n_with_zeros(roi: RoiPatterns) -> int:
    arrays = [array for array in (roi.values, roi.odd, roi.even) if array is not None]
    return int(np.count_nonzero(np.logical_or.reduce([(a == 0).any(axis=0) for a in arrays])))


def require_comparable(subjects: Sequence[SubjectPatterns] | Sequence[SubjectRdms]) -> None:
    """Check that subjects can be compared: enough of them, with the same stimuli and regions.

    Raises
    ------
    InputError
        On a single subject, a subject given twice, fewer than three stimuli, duplicate or unsorted
        stimuli, a stimulus or region that one subject lacks, or a region without data; on
        RDMs of another size than the stimuli ask for, with missing distances, or of other folds
        than another subject's; on stimuli, halves or subjects with the same numbers throughout.
    """
    if len(subjects) < MIN_SUBJECTS:
        found = f"only {subjects[0].label} in {subjects[0].origin}" if subjects else "none"
        raise InputError(
            f"the noise ceiling needs the betas of at least {MIN_SUBJECTS} subjects but there is "
            f"{found}: add another subject"
        )
    labels = [subject.label for subject in subjects]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"{label} is given more than once: keep one set of betas per subject")
    for subject in subjects:
        _require_distinct_stimuli(subject)
    every_stimulus = set().union(*(subject.stimuli for subject in subjects))
    every_roi = list(dict.fromkeys(roi for subject in subjects for roi in subject.rois))
    for subject in subjects:
        _require_stimuli(subject, every_stimulus)
        for roi in every_roi:
            _require_roi(subject, roi)
    if have_patterns(subjects):
        for subject in subjects:
            _require_values(subject)
    else:
        n_folds = {roi: len(rdms) for roi, rdms in subjects[0].rois.items()}
        for subject in subjects:
            _require_rdms(subject, n_folds)
    _require_no_copy(subjects)


def _require_distinct_stimuli(subject: SubjectPatterns | SubjectRdms) -> None:
    stimuli = subject.stimuli
    if len(stimuli) < MIN_STIMULI:
        raise InputError(
            f"{subject.origin} holds {len(stimuli)} stimuli of {subject.label}: comparing RDMs "
            f"needs at least {MIN_STIMULI}"
        )
    for before, after in pairwise(stimuli):
        if before == after:
            raise InputError(
                f"stimulus {after} of {subject.label} is there twice in {subject.origin}: keep one "
                "beta per stimulus"
            )
        if before > after:
            raise InputError(f"the patterns of {subject.label} must be sorted by stimulus id")


def _require_stimuli(subject: SubjectPatterns | SubjectRdms, expected: set[str]) -> None:
    missing = sorted(expected - set(subject.stimuli))
    if missing:
        raise InputError(
            f"{subject.label} has no {subject.datum} of stimulus {missing[0]} in {subject.origin}, "
            "which another subject has: add it, or take that stimulus out of every subject"
            f"{spelt_otherwise(missing[0], subject.stimuli)}"
        )


def _require_roi(subject: SubjectPatterns | SubjectRdms, roi: str) -> None:
    if roi not in subject.rois:
        raise InputError(
            f"{subject.label} has no region {roi}, which another subject has: use the same regions "
            "for all subjects"
        )


def _require_values(subject: SubjectPatterns) -> None:
    for name, roi in subject.rois.items():
        if roi.n_voxels == 0:
            raise InputError(
                f"region {name} of {subject.label} holds no voxel with data in {subject.origin}: "
                "check its coverage, or leave the region out"
            )
    rois = subject.rois.values()
    are_telling = sum(roi.n_voxels for roi in rois) >= TELLING_VOXELS
    first: dict[bytes, str] = {}
    for row, stimulus in enumerate(subject.stimuli):
        other = first.setdefault(_digest([roi.values[row] for roi in rois]), stimulus)
        if other != stimulus and are_telling:
            raise InputError(
                f"the betas of {subject.label} for {other} and {stimulus} in {subject.origin} are "
                "the same in every voxel, so one is a copy: give each its own beta"
            )
    if all(
        roi.odd is not None and roi.even is not None and np.array_equal(roi.odd, roi.even)
        for roi in rois
    ):
        raise InputError(
            f"the betas of the odd and of the even runs of {subject.label} in {subject.origin} are "
            "the same, so one is a copy: give those of each half, or of all runs alone"
        )


def _require_no_copy(subjects: Sequence[SubjectPatterns] | Sequence[SubjectRdms]) -> None:
    """Refuse two subjects with the same numbers, of which the noise ceiling would be 1."""
    first: dict[bytes, str] = {}
    for subject in subjects:
        rois = subject.rois.values()
        arrays = [roi.values if isinstance(roi, RoiPatterns) else roi for roi in rois]
        other = first.setdefault(_digest(arrays), subject.label)
        if other != subject.label:
            raise InputError(
                f"{other} and {subject.label} in {subject.origin} have the same {subject.datum}s "
                "in every region, so one is a copy: give each subject its own, or leave one out"
            )


def _digest(arrays: Sequence[NDArray[np.float64]]) -> bytes:
    found = sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).data)
    return found.digest()


def _require_rdms(subject: SubjectRdms, n_folds: Mapping[str, int]) -> None:
    n_stimuli = len(subject.stimuli)
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    for roi, rdms in subject.rois.items():
        of = f"of {subject.label} in region {roi} from {subject.origin}"
        if rdms.shape != (n_folds[roi], n_pairs):
            raise InputError(
                f"the RDMs {of} are of shape {rdms.shape} where {n_folds[roi]} of {n_pairs} "
                f"distances are needed for {n_stimuli} stimuli: give every subject RDMs of the "
                "same stimuli, and of halves for all or for none"
            )
        if not np.isfinite(rdms).all():
            raise InputError(
                f"a distance {of} is not finite: compute it again, or leave that stimulus out of "
                "every subject"
            )
        if not np.ptp(rdms, axis=1).all():
            raise InputError(
                f"all distances {of} are the same, so that they compare with nothing: compute "
                "them again, or leave the region out"
            )


EVERY_SUBJECT = "all subjects"


@dataclass(frozen=True)
class RegionCoverage:
    """The voxels of one region in one subject, or those that all subjects share.

    Attributes
    ----------
    roi, subject : str
        The subject is 'all subjects' in the row of voxels that no subject lacks; there is such a
        row where the region is the same set of voxels in every subject.
    n_voxels : int
        Voxels of the region.
    n_without_betas : int
        Those that lack a beta: in this subject, or in any.
    share_without_betas : float
    """

    roi: str
    subject: str
    n_voxels: int
    n_without_betas: int
    share_without_betas: float


def coverage_of(subjects: Sequence[SubjectPatterns]) -> tuple[RegionCoverage, ...]:
    """Count the voxels without betas of every region.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns
    """
    rows = []
    for name in subjects[0].rois:
        regions = [subject.rois[name] for subject in subjects]
        sizes = [region.n_voxels + region.n_dropped for region in regions]
        for subject, region, size in zip(subjects, regions, sizes, strict=True):
            rows.append(_row(name, subject.label, size, region.n_dropped))
        seen = reduce(np.union1d, [region.voxels for region in regions])
        if len(set(sizes)) == 1 and len(seen) <= sizes[0]:
            shared = reduce(np.intersect1d, [region.voxels for region in regions])
            rows.append(_row(name, EVERY_SUBJECT, sizes[0], sizes[0] - len(shared)))
    return tuple(rows)


def _row(roi: str, subject: str, size: int, lacking: int) -> RegionCoverage:
    return RegionCoverage(roi, subject, size, lacking, lacking / size if size else 0.0)
