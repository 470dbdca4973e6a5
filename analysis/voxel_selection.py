"""Which voxels of a region enter an RDM."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.patterns import SubjectPatterns
from analysis.settings import ComparisonSettings
from bids_config.errors import InputError


@dataclass(frozen=True)
class SelectedVoxels:
    """The voxels that one subject contributes.

    Attributes
    ----------
    columns : mapping of str to ndarray of int
        Columns of the patterns of each region, in the selection's order.
    warnings : tuple of str
        Where fewer voxels were there than asked for.
    """

    columns: Mapping[str, NDArray[np.intp]]
    warnings: tuple[str, ...] = ()


def max_beta(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The paper's score of a voxel: its highest beta for any stimulus, (stimuli, voxels) in."""
    return np.asarray(values.max(axis=0))


def rank_voxels(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Columns from the highest score to the lowest; of equal scores the lower column first."""
    return np.argsort(-scores, kind="stable")


def select_voxels(subject: SubjectPatterns, settings: ComparisonSettings) -> SelectedVoxels:
    """Select the voxels of every region of one subject as `settings.voxel_selection` says.

    Raises
    ------
    InputError
        If the region that sets the threshold is not among the regions.
    """
    if settings.voxel_selection == "top-n":
        return _top_n(subject, settings.n_voxels)
    if settings.voxel_selection == "threshold":
        return _above_threshold(subject, settings.threshold_roi, settings.n_voxels)
    return SelectedVoxels({name: np.arange(roi.n_voxels) for name, roi in subject.rois.items()})


def _top_n(subject: SubjectPatterns, n_voxels: int) -> SelectedVoxels:
    columns = {
        name: rank_voxels(max_beta(roi.values))[:n_voxels] for name, roi in subject.rois.items()
    }
    warnings = tuple(
        _too_few(subject, name, n_voxels)
        for name, roi in subject.rois.items()
        if roi.n_voxels < n_voxels
    )
    return SelectedVoxels(columns, warnings)


def _above_threshold(subject: SubjectPatterns, threshold_roi: str, n_voxels: int) -> SelectedVoxels:
    """Voxels whose score exceeds the (n + 1)th highest of one region (paper, Appendix A.2)."""
    if threshold_roi not in subject.rois:
        raise InputError(
            f"the threshold selection takes its threshold from region {threshold_roi}, which "
            f"{subject.label} lacks: add that region, or name another as threshold_roi"
        )
    scores = np.sort(max_beta(subject.rois[threshold_roi].values))[::-1]
    warnings: tuple[str, ...] = ()
    if len(scores) > n_voxels:
        threshold = scores[n_voxels]
    else:
        threshold = np.nextafter(scores[-1], -np.inf)
        if len(scores) < n_voxels:
            warnings = (_too_few(subject, threshold_roi, n_voxels),)
    columns = {
        name: np.flatnonzero(max_beta(roi.values) > threshold) for name, roi in subject.rois.items()
    }
    return SelectedVoxels(columns, warnings)


def _too_few(subject: SubjectPatterns, roi: str, n_voxels: int) -> str:
    return (
        f"{subject.label}: region {roi} holds {subject.rois[roi].n_voxels} voxels with data, fewer "
        f"than the {n_voxels} asked for; all of them are used"
    )
