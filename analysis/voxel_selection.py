"""Which voxels of a region enter an RDM."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.patterns import SubjectPatterns
from analysis.settings import ComparisonSettings
from analysis.voxel_scores import max_beta
from bids_config.errors import InputError
from bids_config.tables import did_you_mean

Scores = Mapping[str, NDArray[np.float64]]


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


def rank_voxels(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Columns from the highest score to the lowest; of equal scores the lower column first.

    Those without a score (NaN) come last.
    """
    return np.argsort(-scores, kind="stable")


def select_voxels(
    subject: SubjectPatterns,
    settings: ComparisonSettings,
    scores: Scores | None = None,
    sizes: Mapping[str, int] | None = None,
    generator: np.random.Generator | None = None,
) -> SelectedVoxels:
    """Select the voxels of every region of one subject as `settings.voxel_selection` says.

    Parameters
    ----------
    subject : SubjectPatterns
    settings : ComparisonSettings
        With `skip_zeros`, voxels with a beta of exactly 0 for any stimulus are never among those
        of the highest scores (top-n, best-n); the threshold does not look at zeros, as in the
        authors' code.
    scores : mapping of str to ndarray, (voxels,), optional
        Score of every voxel by region, from whatever runs; by default the highest beta.
    sizes : mapping of str to int, optional
        Number of voxels by region, for best-n.
    generator : Generator, optional
        For random; the voxels of a region do not depend on which other regions there are.

    Raises
    ------
    InputError
        If the region that sets the threshold is not among the regions, or has no scores.
    """
    if scores is None:
        scores = {name: max_beta(roi.values) for name, roi in subject.rois.items()}
    n_each = dict.fromkeys(subject.rois, settings.n_voxels)
    match settings.voxel_selection:
        case "top-n":
            return _highest(subject, scores, n_each, settings.skip_zeros)
        case "best-n":
            if sizes is None:
                raise ValueError("best-n needs the number of voxels of each region")
            return _highest(subject, scores, sizes, settings.skip_zeros)
        case "threshold":
            return _above_threshold(subject, scores, settings.threshold_roi, settings.n_voxels)
        case "random":
            if generator is None:
                raise ValueError("a random selection needs a generator")
            return _at_random(subject, n_each, generator)
        case "all":
            return SelectedVoxels(
                {name: np.arange(roi.n_voxels) for name, roi in subject.rois.items()}
            )


def _highest(
    subject: SubjectPatterns, scores: Scores, sizes: Mapping[str, int], skip_zeros: bool
) -> SelectedVoxels:
    candidates = {}
    for name, roi in subject.rois.items():
        order = rank_voxels(scores[name])
        candidates[name] = order[(roi.values[:, order] != 0).all(axis=0)] if skip_zeros else order
    return _first(subject, candidates, sizes)


def _at_random(
    subject: SubjectPatterns, sizes: Mapping[str, int], generator: np.random.Generator
) -> SelectedVoxels:
    seed = int(generator.integers(2**32))
    candidates = {
        name: np.random.default_rng([seed, zlib.crc32(name.encode())]).permutation(roi.n_voxels)
        for name, roi in subject.rois.items()
    }
    return _first(subject, candidates, sizes)


def _first(
    subject: SubjectPatterns, candidates: Mapping[str, NDArray[np.intp]], sizes: Mapping[str, int]
) -> SelectedVoxels:
    return SelectedVoxels(
        columns={name: order[: sizes[name]] for name, order in candidates.items()},
        warnings=tuple(
            _too_few(subject, name, len(order), sizes[name])
            for name, order in candidates.items()
            if len(order) < sizes[name]
        ),
    )


def _above_threshold(
    subject: SubjectPatterns, scores: Scores, threshold_roi: str, n_voxels: int
) -> SelectedVoxels:
    """Voxels whose score exceeds the (n + 1)th highest of one region (paper, Appendix A.2)."""
    if threshold_roi not in subject.rois:
        raise InputError(
            f"the threshold selection takes its threshold from region {threshold_roi}, which "
            f"{subject.label} lacks{did_you_mean(threshold_roi, subject.rois)}: add that "
            "region, or choose another --voxel-selection"
        )
    of_region = scores[threshold_roi]
    of_region = np.sort(of_region[~np.isnan(of_region)])[::-1]
    if len(of_region) == 0:
        raise InputError(
            f"no voxel of region {threshold_roi} of {subject.label} has a score that could be a "
            "threshold: choose --voxel-score max-beta, or another voxel selection"
        )
    warnings: tuple[str, ...] = ()
    if len(of_region) > n_voxels:
        threshold = of_region[n_voxels]
    else:
        threshold = np.nextafter(of_region[-1], -np.inf)
        if len(of_region) < n_voxels:
            warnings = (_too_few(subject, threshold_roi, len(of_region), n_voxels),)
    columns = {name: np.flatnonzero(scores[name] > threshold) for name in subject.rois}
    return SelectedVoxels(columns, warnings)


def _too_few(subject: SubjectPatterns, roi: str, n_there: int, n_voxels: int) -> str:
    return (
        f"{subject.label}: region {roi} holds {n_there} voxels with data, fewer than the "
        f"{n_voxels} asked for; all of them are used"
    )
