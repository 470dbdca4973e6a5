"""Select the voxels of a region that enter an RDM."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.brain.patterns import Half, RoiPatterns, SubjectPatterns
from conceptrsa.analysis.settings import ComparisonSettings, VoxelScore
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import did_you_mean


def voxel_scores(roi: RoiPatterns, score: VoxelScore, half: Half | None) -> Floats:
    """Score every voxel of a region by all runs, or by nothing but one half of them.

    Parameters
    ----------
    roi : RoiPatterns
    score : {'max-beta', 'reliability', 'ncsnr'}
        See `max_beta`, `reliability` and `ncsnr`. The last two compare runs: all of them, or those
        of the half; where all runs may be used and single runs are not known, the two halves.
    half : {'odd', 'even'} or None
        Runs that may be looked at.

    Returns
    -------
    ndarray, (voxels,)
        NaN where a voxel has none.

    Raises
    ------
    InputError
        If the score compares runs and there are not two of them to compare.
    """
    if score == "max-beta":
        return max_beta(roi.betas_of(half))
    runs = _runs_to_compare(roi, score, half)
    return reliability(runs) if score == "reliability" else ncsnr(runs)


def max_beta(values: Floats) -> Floats:
    """The paper's score of a voxel: its highest beta for any stimulus, (stimuli, voxels) in."""
    return np.asarray(values.max(axis=0))


def reliability(runs: Floats) -> Floats:
    """Correlation over stimuli of the mean betas of the odd and of the even runs.

    Parameters
    ----------
    runs : ndarray, (runs, stimuli, voxels)
        Two or more, counted from 1.

    Returns
    -------
    ndarray, (voxels,)
        NaN where a voxel does not vary over stimuli.
    """
    halves = runs[0::2].mean(axis=0), runs[1::2].mean(axis=0)
    odd, even = (half - half.mean(axis=0) for half in halves)
    length = np.sqrt((odd**2).sum(axis=0) * (even**2).sum(axis=0))
    return np.asarray((odd * even).sum(axis=0) / np.where(length > 0, length, np.nan))


def ncsnr(runs: Floats) -> Floats:
    """Noise ceiling signal-to-noise ratio: standard deviation of the signal over that of noise.

    As Allen et al. (2022, Nature Neuroscience 25, 116-126): the noise is what a voxel's beta for a
    stimulus varies by from run to run, the signal what it varies by from stimulus to stimulus
    once the noise's share is taken out, not less than zero. The two are the variance components
    of a two-way analysis of variance, stimuli x runs, so that a shift of a whole run, which
    Allen et al. removed by z-scoring sessions, counts as neither.

    Parameters
    ----------
    runs : ndarray, (runs, stimuli, voxels)
        Two or more runs, or halves of the runs; the noise is then that of a half.

    Returns
    -------
    ndarray, (voxels,)
        NaN where a voxel's betas do not vary from run to run, as outside of what was measured.
    """
    n_runs, n_stimuli, _ = runs.shape
    about_run_mean = runs - runs.mean(axis=1, keepdims=True)
    of_stimulus = about_run_mean.mean(axis=0)
    residual = about_run_mean - of_stimulus
    noise = (residual**2).sum(axis=(0, 1)) / ((n_runs - 1) * (n_stimuli - 1))
    signal = (of_stimulus**2).sum(axis=0) / (n_stimuli - 1) - noise / n_runs
    return np.asarray(np.sqrt(np.maximum(signal, 0.0) / np.where(noise > 0, noise, np.nan)))


def _runs_to_compare(roi: RoiPatterns, score: str, half: Half | None) -> Floats:
    runs = roi.runs_of(half)
    if runs is not None and len(runs) >= 2:
        return runs
    if half is None and roi.odd is not None and roi.even is not None:
        return np.stack([roi.odd, roi.even])
    needed = "of single runs, two or more" if half is None else f"of two or more {half} runs"
    raise InputError(
        f"the voxel score {score} compares runs, but there are no betas {needed}: supply "
        "them (the participant level writes them with --run-betas), or choose --voxel-score "
        "max-beta"
    )


Scores = Mapping[str, Floats]


@dataclass(frozen=True)
class SelectedVoxels:
    """The voxels that one subject contributes to a region.

    Attributes
    ----------
    columns : ndarray of int
        Columns of the region's patterns, in the selection's order.
    warnings : tuple of str
        Where fewer voxels were there than asked for.
    """

    columns: Integers
    warnings: tuple[str, ...] = ()


def rank_voxels(scores: Floats) -> Integers:
    """Columns from the highest score to the lowest; of equal scores the lower column first.

    Those without a score (NaN) come last.
    """
    return np.argsort(-scores, kind="stable")


def select_voxels(
    subject: SubjectPatterns,
    roi: str,
    settings: ComparisonSettings,
    scores: Scores,
    size: int,
    generator: np.random.Generator,
) -> SelectedVoxels:
    """Select the voxels of a region of one subject as `settings.voxel_selection` says.

    Parameters
    ----------
    subject : SubjectPatterns
    roi : str
        Name of the region.
    settings : ComparisonSettings
        With `skip_zeros`, voxels with a beta of exactly 0 for any stimulus are never among those
        of the highest scores (top-n, best-n); the threshold does not look at zeros, as in the
        authors' code.
    scores : mapping of str to ndarray, (voxels,)
        Score of every voxel, from whatever runs, of the region and of the one that sets the
        threshold.
    size : int
        Number of voxels, for top-n, best-n and random.
    generator : Generator
        For random; made anew for each region, it gives voxels that do not depend on which other
        regions there are.

    Raises
    ------
    InputError
        If the region that sets the threshold is not among the regions, or has no scores.
    """
    patterns = subject.rois[roi]
    match settings.voxel_selection:
        case "top-n" | "best-n":
            order = rank_voxels(scores[roi])
            if settings.skip_zeros:
                order = order[(patterns.values[:, order] != 0).all(axis=0)]
            return _first(subject, roi, order, size)
        case "threshold":
            threshold, warnings = _threshold(
                subject, scores, settings.threshold_roi, settings.n_voxels
            )
            return SelectedVoxels(np.flatnonzero(scores[roi] > threshold), warnings)
        case "random":
            seed = [int(generator.integers(2**32)), zlib.crc32(roi.encode())]
            order = np.random.default_rng(seed).permutation(patterns.n_voxels)
            return _first(subject, roi, order, size)
        case "all":
            return SelectedVoxels(np.arange(patterns.n_voxels))


def _first(subject: SubjectPatterns, roi: str, order: Integers, size: int) -> SelectedVoxels:
    too_few = (_too_few(subject, roi, len(order), size),) if len(order) < size else ()
    return SelectedVoxels(order[:size], too_few)


def _threshold(
    subject: SubjectPatterns, scores: Scores, threshold_roi: str, n_voxels: int
) -> tuple[float, tuple[str, ...]]:
    """Threshold of the scores: the (n + 1)th highest of one region (paper, Appendix A.2)."""
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
            f"no voxel of region {threshold_roi} of {subject.label} has a score that could set the "
            "threshold: choose --voxel-score max-beta, or another voxel selection"
        )
    if len(of_region) > n_voxels:
        return float(of_region[n_voxels]), ()
    below_all = float(np.nextafter(of_region[-1], -np.inf))
    if len(of_region) < n_voxels:
        return below_all, (_too_few(subject, threshold_roi, len(of_region), n_voxels),)
    return below_all, ()


def _too_few(subject: SubjectPatterns, roi: str, n_there: int, n_voxels: int) -> str:
    return (
        f"{subject.label}: region {roi} holds {n_there} voxels with data, fewer than the requested "
        f"{n_voxels}; all of them are used"
    )
