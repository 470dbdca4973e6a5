"""Distances that reckon with noise: Mahalanobis and cross-validated Mahalanobis ("crossnobis").

After Walther et al. (2016). Both are squared and divided by the number of voxels, as the
Euclidean distance of `analysis.rdm`.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from analysis.rdm import compute_rdm
from bids_config.errors import InputError

MIN_RUNS = 2


def mahalanobis_rdm(
    patterns: NDArray[np.float64], covariance: NDArray[np.float64]
) -> NDArray[np.float64]:
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


def crossnobis_rdm(
    runs: NDArray[np.floating], covariance: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
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
        Of the noise; none takes the identity, which gives cross-validated Euclidean distances.

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
    distances: NDArray[np.float64] = own[first] + own[second] - 2 * products[first, second]
    return distances


def _cholesky(covariance: NDArray[np.float64], n_voxels: int) -> NDArray[np.float64]:
    """Lower triangle whose product with its transpose is the covariance."""
    values = np.asarray(covariance, dtype=np.float64)
    if values.shape != (n_voxels, n_voxels):
        raise InputError(
            f"the covariance of the residuals is {' x '.join(map(str, values.shape))} but there "
            f"are {n_voxels} voxels: estimate it from the same voxels as the betas"
        )
    try:
        triangle: NDArray[np.float64] = cholesky(values, lower=True)
    except (LinAlgError, ValueError) as error:
        raise InputError(
            f"the covariance of the residuals of {n_voxels} voxels is not positive definite: "
            "shrink it, use more runs, or choose a distance that does not need it"
        ) from error
    return triangle


def _whitened(patterns: NDArray[np.floating], triangle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Patterns (stimuli, voxels) whose noise has the identity as covariance."""
    values = np.asarray(patterns, dtype=np.float64)
    missing = np.asarray(np.isnan(values).any(axis=1))
    whitened: NDArray[np.float64] = solve_triangular(
        triangle, np.where(missing[:, None], 0.0, values).T, lower=True, check_finite=False
    ).T
    whitened[missing] = np.nan
    return whitened
