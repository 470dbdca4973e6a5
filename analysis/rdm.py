"""Representational dissimilarity matrices."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from analysis.settings import RdmMetric


def compute_rdm(patterns: NDArray[np.float64], metric: RdmMetric) -> NDArray[np.float64]:
    """Distances between all pairs of patterns.

    Parameters
    ----------
    patterns : ndarray, (stimuli, features)
        Voxels of a brain region or features of a model.
    metric : {'correlation', 'cosine', 'euclidean'}
        One minus Pearson's correlation; one minus the cosine of the angle; or the *squared*
        Euclidean distance divided by the number of features, as in rsatoolbox, so that the
        Mahalanobis and crossnobis distances of `analysis.crossnobis` differ from it in nothing
        but what they do about noise.

    Returns
    -------
    ndarray, (pairs,)
        In the order of `scipy.spatial.distance.pdist`. A distance is NaN where a pattern holds a
        NaN or has no direction: constant over the features (correlation) or zero (cosine).

    Raises
    ------
    ValueError
        On a distance that needs more than patterns.
    """
    if metric in ("mahalanobis", "crossnobis"):
        raise ValueError(f"{metric} distances need noise or runs: see analysis.crossnobis")
    if metric == "euclidean":
        values = np.asarray(patterns, dtype=np.float64)
        distances: NDArray[np.float64] = pdist(values, "sqeuclidean")
        distances /= values.shape[1]
        return distances
    units = unit_patterns(patterns, metric)
    first, second = np.triu_indices(len(patterns), k=1)
    return 1.0 - (units @ units.T)[first, second]


def metric_of_models(metric: RdmMetric) -> RdmMetric:
    """Distance between a model's features that belongs to a distance between brain patterns.

    Features have no noise, and without noise Mahalanobis and crossnobis are Euclidean.
    """
    return "euclidean" if metric in ("mahalanobis", "crossnobis") else metric


def without_distance(patterns: NDArray[np.float64], metric: RdmMetric) -> NDArray[np.bool_]:
    """Which patterns of (stimuli, features) have no distance to any other, (stimuli,).

    Those that are not finite and, for correlation and cosine, those without a direction.
    """
    values = np.asarray(patterns, dtype=np.float64)
    missing = np.asarray(~np.isfinite(values).all(axis=1))
    if metric in ("correlation", "cosine"):
        with np.errstate(invalid="ignore"):
            missing = missing | np.isnan(unit_patterns(values, metric)).any(axis=1)
    return missing


def out_of_range(patterns: NDArray[np.float64]) -> bool:
    """Whether the largest value is so large, or so small, that its square is no number."""
    largest = float(np.abs(patterns).max(initial=0.0))
    return largest > 1e100 or 0 < largest < 1e-100


def unit_patterns(patterns: NDArray[np.float64], metric: RdmMetric) -> NDArray[np.float64]:
    """Patterns scaled to length 1, after subtracting their mean for the correlation distance.

    A pattern without a direction becomes NaN.
    """
    values = np.asarray(patterns, dtype=np.float64)
    length_before: NDArray[np.float64] = np.linalg.norm(values, axis=1, keepdims=True)
    if metric == "correlation":
        values = values - values.mean(axis=1, keepdims=True)
    length: NDArray[np.float64] = np.linalg.norm(values, axis=1, keepdims=True)
    # What subtracting the mean leaves of a constant pattern is rounding, not a direction.
    rounding = 1e-13 * length_before
    return values / np.where(length > rounding, length, np.nan)
