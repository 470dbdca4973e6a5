"""Representational dissimilarity matrices."""

import numpy as np
from numpy.typing import NDArray

from analysis.settings import RdmMetric


def compute_rdm(patterns: NDArray[np.float64], metric: RdmMetric) -> NDArray[np.float64]:
    """Distances between all pairs of patterns.

    Parameters
    ----------
    patterns : ndarray, (stimuli, features)
        Voxels of a brain region or features of a model.
    metric : {'correlation', 'cosine'}
        One minus Pearson's correlation, or one minus the cosine of the angle.

    Returns
    -------
    ndarray, (pairs,)
        In the order of `scipy.spatial.distance.pdist`. A distance is NaN where a pattern has no
        direction: constant over the features (correlation) or zero (cosine).
    """
    units = unit_patterns(patterns, metric)
    first, second = np.triu_indices(len(patterns), k=1)
    return 1.0 - (units @ units.T)[first, second]


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
