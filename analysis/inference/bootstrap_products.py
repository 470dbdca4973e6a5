"""Weighted comparisons of RDMs that are products of vectors: Pearson, cosine, whitened cosine."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SampleComparison:
    """Comparisons in every sample of one fold, for every subject, drawn or not.

    Attributes
    ----------
    scores : ndarray, (bootstraps, subjects, models)
    among : ndarray, (bootstraps, subjects, subjects)
        Between the subjects' RDMs.
    lower, upper : ndarray, (bootstraps, subjects)
        With the mean RDM of the other drawn subjects, all copies of the subject left out, and
        with that of all drawn; only the values of drawn subjects mean something.
    """

    scores: NDArray[np.float64]
    among: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def pair_weights(counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """How often each pair of distinct stimuli occurs, (..., pairs), from counts (..., stimuli)."""
    first, second = np.triu_indices(counts.shape[-1], k=1)
    as_float = counts.astype(np.float64)
    return as_float[..., first] * as_float[..., second]


ProductMetric = Literal["pearson", "cosine", "whitened-cosine"]


def compare_weighted_products(
    stimuli: NDArray[np.intp],
    subjects: NDArray[np.intp],
    brain: NDArray[np.float64],
    models: NDArray[np.float64],
    metric: ProductMetric,
) -> SampleComparison:
    """Compare in all samples at once: one product of the weights with all products of two RDMs.

    Centring (Pearson) and double centring (whitened cosine) are projections, and take a product
    of two vectors of few elements off a weighted sum of products. Ceilings need no mean RDMs: with
    p the weights with which RDMs of length 1 enter the mean and A their products, the comparison
    of subject s with the mean of all is (Ap)_s / sqrt(p'Ap), and with the mean of the others
    ((Ap)_s - p_s) / sqrt(p'Ap - 2 p_s (Ap)_s + p_s^2).

    Parameters
    ----------
    stimuli, subjects : ndarray of int, (bootstraps, n)
        How often each was drawn.
    brain : ndarray, (subjects, pairs)
    models : ndarray, (models, pairs)
        All without NaN.
    metric : {'pearson', 'cosine', 'whitened-cosine'}

    Returns
    -------
    SampleComparison
        NaN where an RDM is constant in a sample.
    """
    n_subjects = len(brain)
    rdms = np.concatenate([brain, models])
    if metric == "pearson":
        rdms = rdms - rdms.mean(axis=1, keepdims=True)
    # Of one size, so that one limit tells rounding from variance.
    rdms = rdms / np.sqrt(np.square(rdms).mean(axis=1, keepdims=True))
    weights = pair_weights(stimuli)
    products = (rdms[:n_subjects, None] * rdms).reshape(-1, rdms.shape[1])
    raw = (weights @ products.T).reshape(len(weights), n_subjects, len(rdms))
    squares = weights @ np.square(rdms).T
    removed, coefficients = _projections(stimuli, weights, rdms, metric)
    covariance = raw - removed[:, :n_subjects] @ coefficients.swapaxes(1, 2)
    variance = squares - np.einsum("brk,brk->br", removed, coefficients)
    varies = variance > 1e-12 * weights.sum(axis=1, keepdims=True)
    length = np.sqrt(np.where(varies, variance, np.nan))
    unit = covariance / (length[:, :n_subjects, None] * length[:, None])
    among, scores = np.split(unit, [n_subjects], axis=2)
    # The mean is taken over RDMs of length 1 before whitening, as in rsatoolbox.
    shares = length[:, :n_subjects] / np.sqrt(squares[:, :n_subjects])
    pooled = subjects * (shares if metric == "whitened-cosine" else np.isfinite(shares))
    return SampleComparison(scores, among, *_bounds(among, pooled))


def _projections(
    stimuli: NDArray[np.intp],
    weights: NDArray[np.float64],
    rdms: NDArray[np.float64],
    metric: ProductMetric,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors (bootstraps, rdms, k), the product of which is taken off the sums of products."""
    if metric == "cosine":
        nothing = np.zeros((len(weights), len(rdms), 0))
        return nothing, nothing
    if metric == "pearson":
        sums = (weights @ rdms.T)[..., None]
        return sums, sums / weights.sum(axis=1)[:, None, None]
    return _double_centring(stimuli, rdms)


def _double_centring(
    stimuli: NDArray[np.intp], rdms: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What double centring takes off, where pairs of a stimulus with itself are missing.

    Whitened RDMs are the Gram matrices of centred patterns (Diedrichsen et al., 2021). With copies
    of stimuli, whose distances are left out, centring is the least-squares fit of b_i + b_j to all
    distances between two different stimuli (twice) and to the zeros of the diagonal (once).
    """
    n_stimuli = stimuli.shape[1]
    first, second = np.triu_indices(n_stimuli, k=1)
    squares = np.zeros((len(rdms), n_stimuli, n_stimuli))
    squares[:, first, second] = squares[:, second, first] = rdms
    counts = stimuli.astype(np.float64)
    sums = np.einsum("bi,rij->brj", counts, squares, optimize=True) * counts[:, None]
    normal = counts[:, :, None] * counts[:, None, :]
    diagonal = np.arange(n_stimuli)
    n_others = counts.sum(axis=1, keepdims=True) - counts
    normal[:, diagonal, diagonal] = np.where(counts > 0, counts * (n_others + 2), 1.0)
    return sums, np.linalg.solve(normal, sums.swapaxes(1, 2)).swapaxes(1, 2)


def _bounds(
    among: NDArray[np.float64], pooled: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper bound of every subject, (bootstraps, subjects)."""
    weights = np.where(np.isfinite(pooled), pooled, 0.0)
    # A subject whose RDM is constant in a sample is left out of the mean.
    with_mean = (np.nan_to_num(among) @ weights[..., None])[..., 0]
    own = np.diagonal(among, axis1=1, axis2=2)
    total = (weights * with_mean).sum(axis=1, keepdims=True)
    lower = _ratio(with_mean - weights, total - 2 * weights * with_mean + weights**2)
    upper = _ratio(with_mean, total)
    return np.where(np.isfinite(own), lower, np.nan), np.where(np.isfinite(own), upper, np.nan)


def _ratio(product: NDArray[np.float64], square: NDArray[np.float64]) -> NDArray[np.float64]:
    usable = square > 1e-12
    return np.where(usable, product / np.sqrt(np.where(usable, square, 1.0)), np.nan)
