"""Intervals and variances from bootstrap samples (first axis); samples with NaN are left out."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def percentile_interval(samples: NDArray[np.float64], level: float = 0.95) -> NDArray[np.float64]:
    """Percentile interval of samples (bootstraps, ...).

    Returns
    -------
    ndarray, (2, ...)
        Lower and upper end; NaN where no sample is left.
    """
    tail = (1 - level) / 2
    ends = np.full((2, *samples.shape[1:]), np.nan)
    some = np.isfinite(samples).any(axis=0)
    ends[:, some] = np.nanquantile(samples[:, some], [tail, 1 - tail], axis=0)
    return ends


def bootstrap_variance(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance over samples (bootstraps, ...), n - 1; NaN for fewer than two."""
    present = np.isfinite(samples)
    count = present.sum(axis=0)
    mean = np.where(present, samples, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(present, samples - mean, 0.0) ** 2
    return np.where(count > 1, squares.sum(axis=0) / np.maximum(count - 1, 1), np.nan)


def one_factor_variance(samples: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Variance over samples of one factor of n subjects or stimuli, times n / (n - 1).

    A bootstrap draws from n values about their own mean, and gives too little by that factor.
    """
    return bootstrap_variance(samples) * (n / (n - 1) if n > 1 else np.nan)


def two_factor_variance(
    both: NDArray[np.float64],
    subjects: NDArray[np.float64],
    stimuli: NDArray[np.float64],
    n_subjects: int,
    n_stimuli: int,
) -> NDArray[np.float64]:
    """Variance to be expected with new subjects and new stimuli (Schuett et al., 2023).

    A bootstrap over both factors counts the variance of measurement noise three times. The
    corrected variance adds those of the two factors and takes off their interaction, each with
    its small-sample factor; it is kept between the larger of the two and that over both.

    Parameters
    ----------
    both, subjects, stimuli : ndarray, (bootstraps, ...)
        The same quantity in samples over both factors and over either one, from the same draws.
        A sample with a NaN in any of the three is left out of all.
    n_subjects, n_stimuli : int

    Returns
    -------
    ndarray, (...)
        NaN for one subject.
    """
    present = np.isfinite(both) & np.isfinite(subjects) & np.isfinite(stimuli)
    of_both, of_subjects, of_stimuli = (
        bootstrap_variance(np.where(present, values, np.nan))
        for values in (both, subjects, stimuli)
    )
    if n_subjects < 2 or n_stimuli < 2:
        return np.full_like(of_both, np.nan)
    subject_factor = n_subjects / (n_subjects - 1)
    stimulus_factor = n_stimuli / (n_stimuli - 1)
    interaction = of_both - of_subjects - of_stimuli
    corrected = (
        subject_factor * of_subjects
        + stimulus_factor * of_stimuli
        - subject_factor * stimulus_factor * interaction
    )
    at_least = np.maximum(subject_factor * of_subjects, stimulus_factor * of_stimuli)
    return np.minimum(np.maximum(corrected, at_least), of_both)


def t_interval(
    estimate: NDArray[np.float64],
    variance: NDArray[np.float64],
    degrees_of_freedom: int,
    level: float = 0.95,
) -> NDArray[np.float64]:
    """Interval about estimates (...) with corrected variances.

    Parameters
    ----------
    estimate, variance : ndarray, (...)
    degrees_of_freedom : int
        Of the smallest factor resampled: min(subjects, stimuli) - 1.
    level : float

    Returns
    -------
    ndarray, (2, ...)
    """
    half = np.sqrt(variance) * stats.t.ppf((1 + level) / 2, degrees_of_freedom)
    return np.stack([estimate - half, estimate + half])
