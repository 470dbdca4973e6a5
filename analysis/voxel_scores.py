"""What voxels are ordered by before the first of them are taken."""

import numpy as np
from numpy.typing import NDArray

from analysis.folds import Half, betas_of, runs_of
from analysis.patterns import RoiPatterns
from analysis.settings import VoxelScore
from bids_config.errors import InputError


def voxel_scores(roi: RoiPatterns, score: VoxelScore, half: Half | None) -> NDArray[np.float64]:
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
        return max_beta(betas_of(roi, half))
    runs = _runs_to_compare(roi, score, half)
    return reliability(runs) if score == "reliability" else ncsnr(runs)


def max_beta(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The paper's score of a voxel: its highest beta for any stimulus, (stimuli, voxels) in."""
    return np.asarray(values.max(axis=0))


def reliability(runs: NDArray[np.float64]) -> NDArray[np.float64]:
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


def ncsnr(runs: NDArray[np.float64]) -> NDArray[np.float64]:
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


def _runs_to_compare(roi: RoiPatterns, score: str, half: Half | None) -> NDArray[np.float64]:
    runs = runs_of(roi, half)
    if runs is not None and len(runs) >= 2:
        return runs
    if half is None and roi.odd is not None and roi.even is not None:
        return np.stack([roi.odd, roi.even])
    needed = "of single runs, two or more" if half is None else f"of two or more {half} runs"
    raise InputError(
        f"the voxel score {score} compares runs, but there are no betas {needed}: run the "
        "participant level with --run-betas, or choose --voxel-score max-beta"
    )
