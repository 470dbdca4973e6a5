"""Weighted comparisons of RDMs by ranks: Spearman, rho-a, Kendall's tau-a."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.inference.bootstrap_products import SampleComparison, pair_weights

RankMetric = Literal["spearman", "rho-a", "kendall-tau-a"]

SIGNS_AT_ONCE = 200_000


def compare_weighted_ranks(
    stimuli: NDArray[np.intp],
    subjects: NDArray[np.intp],
    brain: NDArray[np.float64],
    models: NDArray[np.float64],
    metric: RankMetric,
) -> SampleComparison:
    """Compare sample by sample, ranks of weighted entries from cumulative weights.

    The order of each RDM's entries is found once. Only the mean RDMs of the ceilings, means of the
    drawn subjects' ranks in the sample, are ordered anew.

    Parameters
    ----------
    stimuli, subjects : ndarray of int, (bootstraps, n)
        How often each was drawn.
    brain : ndarray, (subjects, pairs)
    models : ndarray, (models, pairs)
        All without NaN.
    metric : {'spearman', 'rho-a', 'kendall-tau-a'}

    Returns
    -------
    SampleComparison
        NaN where an RDM is constant in a sample (Spearman), and in the ceilings of subjects that
        were not drawn.
    """
    n_subjects = len(brain)
    places = dense_ranks(np.concatenate([brain, models]))
    with_brain = np.empty((len(stimuli), n_subjects, n_subjects + len(models)))
    bounds = np.full((2, len(stimuli), n_subjects), np.nan)
    for index, (stimuli_drawn, subjects_drawn) in enumerate(zip(stimuli, subjects, strict=True)):
        all_weights = pair_weights(stimuli_drawn)
        occurs = np.flatnonzero(all_weights)
        weights = all_weights[occurs]
        ranks = weighted_ranks(places[:, occurs], weights, places.shape[1])
        of_brain = ranks[:n_subjects]
        drawn = np.flatnonzero(subjects_drawn)
        shares = subjects_drawn[drawn, None] * of_brain[drawn]
        pooled = shares.sum(axis=0)
        means = dense_ranks(np.concatenate([pooled[None], pooled - shares]))
        mean_ranks = weighted_ranks(means, weights, len(weights))
        found = compare_ranks(of_brain, np.concatenate([ranks, mean_ranks]), weights, metric)
        with_brain[index], with_means = np.split(found, [len(ranks)], axis=1)
        bounds[0, index, drawn] = with_means[drawn, 1 + np.arange(len(drawn))]
        bounds[1, index, drawn] = with_means[drawn, 0]
    among, scores = np.split(with_brain, [n_subjects], axis=2)
    return SampleComparison(scores, among, *bounds)


def dense_ranks(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Ranks from 0 along the last axis, equal values sharing one and none left out."""
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    steps = np.zeros(values.shape, dtype=np.intp)
    np.cumsum(ordered[..., 1:] != ordered[..., :-1], axis=-1, out=steps[..., 1:])
    ranks = np.empty_like(steps)
    np.put_along_axis(ranks, order, steps, axis=-1)
    return ranks


def weighted_ranks(
    places: NDArray[np.intp], weights: NDArray[np.float64], n_places: int
) -> NDArray[np.float64]:
    """Mean ranks from 1 of entries that occur several times, all copies tied.

    Parameters
    ----------
    places : ndarray of int, (rdms, entries)
        Numbers below `n_places` in the order of the values, equal for equal values.
    weights : ndarray, (entries,)
        How often each entry occurs.
    n_places : int

    Returns
    -------
    ndarray, (rdms, entries)
    """
    n_rdms = len(places)
    shifted = places + n_places * np.arange(n_rdms)[:, None]
    occurrences = np.bincount(
        shifted.ravel(), np.tile(weights, n_rdms), minlength=n_rdms * n_places
    ).reshape(n_rdms, n_places)
    middle = np.cumsum(occurrences, axis=1) - (occurrences - 1) / 2
    return np.asarray(middle.ravel()[shifted])


def compare_ranks(
    ranks: NDArray[np.float64],
    others: NDArray[np.float64],
    weights: NDArray[np.float64],
    metric: RankMetric,
) -> NDArray[np.float64]:
    """Compare ranks (n, entries) with others (m, entries), entries occurring several times."""
    total = weights.sum()
    if metric == "kendall-tau-a":
        return np.asarray(_concordance(ranks, others, weights) / (total * (total - 1)))
    centre = (total + 1) / 2
    deviations, other_deviations = ranks - centre, others - centre
    weighted = deviations * weights
    products = weighted @ other_deviations.T
    if metric == "rho-a":
        return np.asarray(products * (12 / (total**3 - total)))
    squares = np.einsum("np,np->n", weighted, deviations)
    other_squares = np.square(other_deviations) @ weights
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(products / np.sqrt(squares[:, None] * other_squares))


def _concordance(
    ranks: NDArray[np.float64], others: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Concordant minus discordant pairs of entries, each two entries counted in both orders."""
    n_entries = len(weights)
    n_rows = max(1, SIGNS_AT_ONCE // n_entries)
    found = np.zeros((len(ranks), len(others)))
    for start in range(0, n_entries, n_rows):
        rows = slice(start, start + n_rows)
        signs = np.sign(ranks[:, rows, None] - ranks[:, None]) * weights
        signs *= weights[rows, None]
        other_signs = np.sign(others[:, rows, None] - others[:, None])
        found += signs.reshape(len(ranks), -1) @ other_signs.reshape(len(others), -1).T
    return found
