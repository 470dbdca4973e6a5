"""Whether subjects can be compared with each other."""

from collections.abc import Mapping, Sequence, Sized
from hashlib import sha256

import numpy as np

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.brain.patterns import (
    MIN_STIMULI,
    RoiPatterns,
    SubjectPatterns,
    SubjectRdms,
    have_patterns,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import require_distinct

TELLING_VOXELS = 10
"""With fewer voxels, betas of two stimuli may be equal by chance if they are whole numbers."""


def require_comparable(subjects: Sequence[SubjectPatterns] | Sequence[SubjectRdms]) -> None:
    """Check that subjects can be compared: each once, with the same regions.

    Raises
    ------
    InputError
        On no subject, a subject given twice, fewer than three stimuli, duplicate or unsorted
        stimuli, a region that one subject lacks, or a region without data; on RDMs of another size
        than the stimuli ask for, with missing distances, or of other folds than another subject's;
        on stimuli, halves or subjects with the same numbers throughout.
    """
    require_some(subjects)
    labels = [subject.label for subject in subjects]
    require_distinct(
        labels, "the comparison holds the subject", "keep one set of betas per subject"
    )
    for subject in subjects:
        _require_distinct_stimuli(subject)
    every_roi = list(dict.fromkeys(roi for subject in subjects for roi in subject.rois))
    for subject in subjects:
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


def require_some(subjects: Sized) -> None:
    """Raise InputError where there is no subject."""
    if not subjects:
        raise InputError("there is no subject to compare: give betas of at least one")


def _require_distinct_stimuli(subject: SubjectPatterns | SubjectRdms) -> None:
    stimuli = subject.stimuli
    if len(stimuli) < MIN_STIMULI:
        raise InputError(
            f"{subject.origin} holds {len(stimuli)} stimuli of {subject.label}: comparing RDMs "
            f"needs at least {MIN_STIMULI}"
        )
    what = f"{subject.origin}: {subject.label} has the stimulus"
    require_distinct(stimuli, what, "keep it once")
    if list(stimuli) != sorted(stimuli):
        raise InputError(f"the patterns of {subject.label} must be sorted by stimulus id")


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
    values = [roi.values for roi in rois]
    for row, stimulus in enumerate(subject.stimuli):
        other = first.setdefault(_digest([of_roi[row] for of_roi in values]), stimulus)
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
            "the same, so one is a copy: give those of each half, or only those of all runs"
        )


def _require_no_copy(subjects: Sequence[SubjectPatterns] | Sequence[SubjectRdms]) -> None:
    """Refuse two subjects with the same numbers, of which the noise ceiling would be 1."""
    alike: dict[bytes, list[SubjectPatterns | SubjectRdms]] = {}
    for subject in subjects:
        others = alike.setdefault(_digest(_first_numbers(subject)), [])
        for other in others:
            if _digest(_numbers(other)) == _digest(_numbers(subject)):
                raise InputError(
                    f"{other.label} and {subject.label} in {subject.origin} have the same "
                    f"{subject.datum}s in every region, so one is a copy: give each subject its "
                    "own, or leave one out"
                )
        others.append(subject)


def _numbers(subject: SubjectPatterns | SubjectRdms) -> list[Floats]:
    return [roi.values if isinstance(roi, RoiPatterns) else roi for roi in subject.rois.values()]


def _first_numbers(subject: SubjectPatterns | SubjectRdms) -> list[Floats]:
    """Values of the first stimulus: if these differ, the others need not be compared."""
    return [
        roi.of_stimuli([0]).values if isinstance(roi, RoiPatterns) else roi[:, :1]
        for roi in subject.rois.values()
    ]


def _digest(arrays: Sequence[Floats]) -> bytes:
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
                f"the RDMs {of} are of shape {rdms.shape} but {n_folds[roi]} of {n_pairs} "
                f"distances are needed for {n_stimuli} stimuli: give RDMs of all named stimuli, "
                "and of halves for all or for none"
            )
        if not np.isfinite(rdms).all():
            raise InputError(
                f"a distance {of} is not finite: compute it again, or leave that stimulus out"
            )
        if not np.ptp(rdms, axis=1).all():
            raise InputError(
                f"all distances {of} are the same, so no model can explain them: compute them "
                "again, or leave the region out"
            )
