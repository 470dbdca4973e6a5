"""Multivoxel patterns of one or more subjects: what every source of betas is turned into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bids_config.errors import InputError
from bids_config.names import spelt_otherwise

if TYPE_CHECKING:
    from typing_extensions import TypeIs

MIN_SUBJECTS = 2
"""The noise ceiling correlates each subject with the others."""

MIN_STIMULI = 3
"""Two stimuli give an RDM of one number, which correlates with nothing."""


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
        Voxels of the region left out because a beta of theirs is not finite.
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

    @property
    def n_voxels(self) -> int:
        """Number of usable voxels."""
        return int(self.values.shape[1])


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
    """

    subject: str
    stimuli: tuple[str, ...]
    rois: Mapping[str, RoiPatterns]
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    estimation: Mapping[str, Any] = field(default_factory=dict)
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


def require_comparable(subjects: Sequence[SubjectPatterns] | Sequence[SubjectRdms]) -> None:
    """Check that subjects can be compared: enough of them, with the same stimuli and regions.

    Raises
    ------
    InputError
        On a single subject, a subject given twice, fewer than three stimuli, duplicate or unsorted
        stimuli, a stimulus or region that one subject lacks, or a region that is empty or zero; on
        RDMs of another size than the stimuli ask for, with missing distances, or of other folds
        than another subject's.
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
        if not roi.values.any():
            raise InputError(
                f"every beta of {subject.label} in region {name} is 0 in {subject.origin}: the "
                "region lies outside of what was measured; check its coverage, or leave the region "
                "out"
            )


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
