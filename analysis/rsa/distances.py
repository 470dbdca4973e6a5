"""Representational dissimilarity matrices."""

from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.spatial.distance import pdist

from conceptrsa.analysis.arrays import Booleans, Floats, Singles
from conceptrsa.analysis.rsa.correlations import rows_of_pairs
from conceptrsa.analysis.settings import OwnFunction, RdmMetric, rdm_metric_of
from conceptrsa.bids_config.errors import InputError

MANY_PATTERNS = 1000
"""With more patterns, products are computed in blocks, once for each pair."""

PATTERNS_AT_ONCE = 512

SMALLEST_SPREAD = 1e-4
"""Standard deviation of distances below which products in single precision are not exact enough."""

ENOUGH_DISTANCES = 1_000_000
"""Number of values that suffice to estimate their standard deviation."""


def compute_rdm(patterns: Floats, metric: RdmMetric | Callable[..., Any]) -> Floats:
    """Compute the distances between all pairs of patterns.

    Parameters
    ----------
    patterns : ndarray, (stimuli, features)
        Voxels of a brain region or features of a model.
    metric : {'correlation', 'cosine', 'euclidean'} or callable
        One minus Pearson's correlation; one minus the cosine of the angle; or the *squared*
        Euclidean distance divided by the number of features, as in rsatoolbox, so that the
        Mahalanobis and crossnobis distances of `conceptrsa.analysis.rsa.distances` differ from it
        in nothing but what they do about noise. A function takes the patterns and gives the pairs.

    Returns
    -------
    ndarray, (pairs,)
        In the order of `scipy.spatial.distance.pdist`. A distance is NaN where a pattern holds a
        NaN or has no direction: constant over the features (correlation) or zero (cosine).

    Raises
    ------
    ValueError
        If the distance needs more than patterns.
    InputError
        If a function returns anything but the pairs.

    Examples
    --------
    >>> import numpy as np
    >>> import conceptrsa as crsa
    >>> patterns = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 2.0, 1.0]])
    >>> crsa.compute_rdm(patterns, "correlation").round(6)
    array([0., 2., 2.])
    """
    metric = rdm_metric_of(metric)
    if isinstance(metric, OwnFunction):
        return _own_distances(metric, patterns)
    if metric in ("mahalanobis", "crossnobis"):
        raise ValueError(
            f"{metric} distances need noise or runs: see mahalanobis_rdm and crossnobis_rdm"
        )
    if metric == "euclidean":
        values = np.asarray(patterns, dtype=np.float64)
        if len(values) > MANY_PATTERNS:
            return _distances_by_blocks(_about_mean(values), metric, np.empty(_n_pairs(values)))
        distances: Floats = pdist(values, "sqeuclidean")
        distances /= values.shape[1]
        return distances
    units = unit_patterns(patterns, metric)
    if len(units) > MANY_PATTERNS:
        return _distances_by_blocks(units, metric, np.empty(_n_pairs(units)))
    first, second = np.triu_indices(len(patterns), k=1)
    return 1.0 - (units @ units.T)[first, second]


def compute_single_rdm(patterns: Floats, metric: RdmMetric | Callable[..., Any]) -> Singles:
    """Distances between all pairs of patterns, in single precision.

    For thousands of patterns, where it takes half the memory and time. As `compute_rdm` otherwise,
    to some 2e-7; distances that hardly differ are computed in double precision first.
    """
    metric = rdm_metric_of(metric)
    if len(patterns) > MANY_PATTERNS and metric in ("correlation", "cosine", "euclidean"):
        euclidean = metric == "euclidean"
        values = _about_mean(patterns) if euclidean else unit_patterns(patterns, metric)
        single = np.empty(_n_pairs(values), dtype=np.float32)
        distances = _distances_by_blocks(values.astype(np.float32), metric, single)
        largest = float(np.einsum("pf,pf->p", values, values).max())
        if euclidean:
            largest /= values.shape[1]
        some = distances[:: max(1, len(distances) // ENOUGH_DISTANCES)]
        if not some.std() < SMALLEST_SPREAD * largest:
            return distances
    return compute_rdm(patterns, metric).astype(np.float32)


def _about_mean(patterns: Floats) -> Floats:
    """Patterns less their mean: short, so that little is lost in differences of products."""
    values = np.asarray(patterns, dtype=np.float64)
    finite = np.isfinite(values).all(axis=1)
    return np.asarray(values - values[finite].mean(axis=0)) if finite.any() else values


def _n_pairs(patterns: Floats) -> int:
    return len(patterns) * (len(patterns) - 1) // 2


Precise = TypeVar("Precise", Floats, Singles)


def _distances_by_blocks(values: Precise, metric: RdmMetric, distances: Precise) -> Precise:
    """Fill in distances from the products of blocks of patterns with those after them.

    For correlation and cosine, patterns are of length 1.
    """
    n, n_features = values.shape
    own = np.einsum("pf,pf->p", values, values)
    rows = rows_of_pairs(n)
    for start in range(0, n, PATTERNS_AT_ONCE):
        block = slice(start, start + PATTERNS_AT_ONCE)
        products = values[block] @ values[start:].T
        if metric == "euclidean":
            products *= -2
            products += own[block, None]
            products += own[start:]
            products /= n_features
            np.maximum(products, 0.0, out=products)
        else:
            np.subtract(1.0, products, out=products)
        for level, row in islice(rows, len(products)):
            distances[row] = products[level - start, level - start + 1 :]
    return distances


def _own_distances(metric: OwnFunction, patterns: Floats) -> Floats:
    # A copy: what the function does to its array is its own affair.
    found = metric.function(np.array(patterns, dtype=np.float64))
    n_pairs = len(patterns) * (len(patterns) - 1) // 2
    remedy = f"it must return the {n_pairs} pairs in the order of scipy.spatial.distance.pdist"
    try:
        distances = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{metric} returned no array of numbers ({error}): {remedy}") from error
    if distances.shape != (n_pairs,):
        raise InputError(
            f"{metric} gave an array of shape {distances.shape} for {len(patterns)} patterns: "
            f"{remedy}"
        )
    if np.isfinite(patterns).all() and not np.isfinite(distances).all():
        raise InputError(f"{metric} gave a distance that is not finite: {remedy}, all finite")
    return distances


def metric_of_models(metric: RdmMetric) -> RdmMetric:
    """Distance between a model's features that belongs to a distance between brain patterns.

    Features have no noise, and without noise Mahalanobis and crossnobis are Euclidean.
    """
    return "euclidean" if metric in ("mahalanobis", "crossnobis") else metric


def without_distance(patterns: Floats, metric: RdmMetric) -> Booleans:
    """Find patterns (stimuli, features) without a distance to any other, as (stimuli,).

    Those that are not finite and, for correlation and cosine, those without a direction.
    """
    values = np.asarray(patterns, dtype=np.float64)
    missing = np.asarray(~np.isfinite(values).all(axis=1))
    if metric in ("correlation", "cosine"):
        with np.errstate(invalid="ignore"):
            missing = missing | np.isnan(unit_patterns(values, metric)).any(axis=1)
    return missing


def out_of_range(patterns: Floats) -> bool:
    """Whether the largest value is so large, or so small, that its square is no number."""
    largest = float(np.abs(patterns).max(initial=0.0))
    return largest > 1e100 or 0 < largest < 1e-100


def unit_patterns(patterns: Floats, metric: RdmMetric) -> Floats:
    """Patterns scaled to length 1, after subtracting their mean for the correlation distance.

    A pattern without a direction becomes NaN.
    """
    values = np.asarray(patterns, dtype=np.float64)
    length_before: Floats = np.linalg.norm(values, axis=1, keepdims=True)
    if metric == "correlation":
        values = values - values.mean(axis=1, keepdims=True)
    length: Floats = np.linalg.norm(values, axis=1, keepdims=True)
    # What subtracting the mean leaves of a constant pattern is rounding, not a direction.
    rounding = 1e-13 * length_before
    return values / np.where(length > rounding, length, np.nan)


MIN_RUNS = 2


def mahalanobis_rdm(patterns: Floats, covariance: Floats) -> Floats:
    """Squared Mahalanobis distances between all pairs of patterns, divided by the voxels.

    Parameters
    ----------
    patterns : ndarray, (stimuli, voxels)
    covariance : ndarray, (voxels, voxels)
        Of the noise.

    Returns
    -------
    ndarray, (pairs,)
        In the order of `scipy.spatial.distance.pdist`; NaN for a pattern that holds a NaN.

    Raises
    ------
    InputError
        If the covariance has another size or is not positive definite.
    """
    return compute_rdm(_whitened(patterns, _cholesky(covariance, patterns.shape[-1])), "euclidean")


def crossnobis_rdm(runs: NDArray[np.floating], covariance: Floats | None = None) -> Floats:
    """Cross-validated squared Mahalanobis distances, divided by the voxels.

    The mean over all ordered pairs of different runs of the product of a difference of patterns in
    one run with the same difference in the other, which is also the mean over runs left out of the
    product with the mean of the remaining ones, and what rsatoolbox computes. As noise of different
    runs is unrelated, a distance is zero on average, and negative as often as not, where two
    stimuli evoke the same pattern. With T the sum of the runs x_r, the products of different runs
    sum to T T' less all x_r x_r', so no pair of runs has to be visited.

    Parameters
    ----------
    runs : ndarray, (runs, stimuli, voxels)
        Betas of each run, in single or double precision.
    covariance : ndarray, (voxels, voxels), optional
        Covariance of the noise; None: the identity, for cross-validated Euclidean distances.

    Returns
    -------
    ndarray, (pairs,)
        In the order of `scipy.spatial.distance.pdist`; NaN for a stimulus with a NaN in any run.

    Raises
    ------
    InputError
        On fewer than two runs, or if the covariance has another size or is not positive definite.
    """
    n_runs, n_stimuli, n_voxels = runs.shape
    if n_runs < MIN_RUNS:
        raise InputError(
            f"crossnobis distances need the betas of at least {MIN_RUNS} runs but there are "
            f"{n_runs}: supply the betas of each run, or choose another distance"
        )
    triangle = None if covariance is None else _cholesky(covariance, n_voxels)
    total = np.zeros((n_stimuli, n_voxels))
    within = np.zeros((n_stimuli, n_stimuli))
    # Run by run, so that a copy in double precision stays in the processor's cache.
    for run in runs:
        values = np.asarray(run, dtype=np.float64)
        if triangle is not None:
            values = _whitened(values, triangle)
        total += values
        within += values @ values.T
    products = (total @ total.T - within) / (n_runs * (n_runs - 1) * n_voxels)
    first, second = np.triu_indices(n_stimuli, k=1)
    own = np.diagonal(products)
    distances: Floats = own[first] + own[second] - 2 * products[first, second]
    return distances


def _cholesky(covariance: Floats, n_voxels: int) -> Floats:
    """Lower triangle whose product with its transpose is the covariance."""
    values = np.asarray(covariance, dtype=np.float64)
    if values.shape != (n_voxels, n_voxels):
        raise InputError(
            f"the covariance of the residuals is {' x '.join(map(str, values.shape))} but there "
            f"are {n_voxels} voxels: estimate it from the same voxels as the betas"
        )
    try:
        triangle: Floats = cholesky(values, lower=True)
    except (LinAlgError, ValueError) as error:
        raise InputError(
            f"the covariance of the residuals of {n_voxels} voxels is not positive definite: "
            "shrink it, use more runs, or choose a distance that does not need it"
        ) from error
    return triangle


def _whitened(patterns: NDArray[np.floating], triangle: Floats) -> Floats:
    """Patterns (stimuli, voxels) whose noise has the identity as covariance."""
    values = np.asarray(patterns, dtype=np.float64)
    missing = np.asarray(np.isnan(values).any(axis=1))
    whitened: Floats = solve_triangular(
        triangle, np.where(missing[:, None], 0.0, values).T, lower=True, check_finite=False
    ).T
    whitened[missing] = np.nan
    return whitened
