"""Contribution of each pair of stimuli to the similarity of two RDMs.

A similarity of RDMs is, to first order, a mean over pairs of stimuli: replacing one pair in a
thousand changes it by a thousandth of that pair's influence. Where scores are means, their
variance over new stimuli follows from the spread of the influences (the infinitesimal jackknife),
without resampling.
"""

import numpy as np
from scipy.spatial.distance import squareform

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.rsa.correlations import (
    correlate_rdms,
    mean_ranks,
    number_of_stimuli,
    pairs_of_levels,
    split_rdms,
    standardise,
)
from conceptrsa.analysis.settings import RsaMetric, is_own
from conceptrsa.bids_config.errors import InputError


def pair_influence(rdms: Floats, others: Floats, metric: RsaMetric) -> Floats:
    """Give the influence of every pair of stimuli on the similarity of RDMs, plus the similarity.

    Parameters
    ----------
    rdms, others : ndarray, (n, pairs) and (m, pairs)
        Upper triangles in the order of `scipy.spatial.distance.pdist`.
    metric : {'pearson', 'spearman', 'kendall-tau-a', 'rho-a', 'cosine', 'whitened-cosine'}
        Of a function of the user's own the influence is found by leaving out each pair.

    Returns
    -------
    ndarray, (n, m, pairs)
        The mean over pairs is the similarity; NaN where that is NaN.

    Notes
    -----
    With vectors x, y of mean square 1, centred for correlations, and r their mean product, the
    values are x y - r (x^2 + y^2) / 2 + r (cosine and Pearson). Rank correlations have two terms
    more, because a new pair also changes the ranks of the others (Croux and Dehon, 2010).
    """
    if is_own(metric):
        return _own_influence(rdms, others, metric)
    if metric == "kendall-tau-a":
        return _tau_influence(rdms, others)
    if metric == "whitened-cosine":
        return _whitened_influence(rdms, others)
    root = np.sqrt(rdms.shape[-1])
    x, y = root * standardise(rdms, metric), root * standardise(others, metric)
    values = x[:, None] * y[None]
    similarity = values.mean(axis=-1, keepdims=True)
    if metric in ("spearman", "rho-a"):
        shifted = _rank_shift(rdms, y) / _rank_deviation(rdms, metric)[:, None, None]
        others_shifted = _rank_shift(others, x) / _rank_deviation(others, metric)[:, None, None]
        return np.asarray(values + shifted + others_shifted.swapaxes(0, 1) - 2 * similarity)
    # Row by row, since these arrays are the largest of a comparison.
    for row, square in enumerate(np.square(x, out=x)):
        values[row] -= similarity[row] * (square + y**2) / 2 - similarity[row]
    return np.asarray(values)


def _own_influence(rdms: Floats, others: Floats, metric: RsaMetric) -> Floats:
    """Jackknife pseudo-values, moved so that their mean is the similarity (Efron, 1982).

    Good for functions that change smoothly with every distance. `others` come first in a call, as
    they are of the brain where `rdms` are of models. NaN where the function cannot do without a
    pair.
    """
    n_pairs = rdms.shape[-1]

    def similarity(pairs: Integers) -> Floats:
        found = np.full((len(rdms), len(others)), np.nan)
        for row, rdm in enumerate(rdms):
            for column, other in enumerate(others):
                # A subject is not compared with itself, where the function may have no value.
                if rdm is not other and not np.array_equal(rdm, other):
                    one = correlate_rdms(other[None, pairs], rdm[None, pairs], metric)
                    found[row, column] = one[0, 0]
        return found

    everything = np.arange(n_pairs)
    complete = similarity(everything)[..., None]
    try:
        left_out = [similarity(np.delete(everything, pair)) for pair in everything]
    except InputError:
        # A function that needs all pairs of some stimuli, such as one that makes a square of them.
        return np.full((len(rdms), len(others), n_pairs), np.nan)
    values = -(n_pairs - 1) * np.stack(left_out, axis=-1)
    return np.asarray(values - values.mean(axis=-1, keepdims=True) + complete)


def _rank_shift(rdms: Floats, other: Floats) -> Floats:
    """Effect of a pair's value on the ranks of the pairs above it, weighted by the other RDM.

    Parameters
    ----------
    rdms : ndarray, (n, pairs)
    other : ndarray, (m, pairs)
        Standardised ranks.

    Returns
    -------
    ndarray, (n, m, pairs)
        Sum of the other RDM over the pairs with a larger value and half of those with the same.
    """
    order = np.argsort(rdms, axis=-1)
    ordered = np.take_along_axis(rdms, order, axis=-1)
    weights = np.swapaxes(other[:, order], 0, 1)
    from_here_on = np.cumsum(weights[..., ::-1], axis=-1)[..., ::-1]
    above = from_here_on - weights / 2
    for row, values in enumerate(ordered):
        if (values[1:] == values[:-1]).any():
            _, start, count = np.unique(values, return_index=True, return_counts=True)
            of_ties = np.add.reduceat(weights[row], start, axis=-1)
            above[row] = np.repeat(from_here_on[row][:, start] - of_ties / 2, count, axis=-1)
    shifts = np.empty_like(above)
    np.put_along_axis(shifts, np.broadcast_to(order[:, None], above.shape), above, axis=-1)
    return np.asarray(shifts)


def _rank_deviation(rdms: Floats, metric: RsaMetric) -> Floats:
    """Standard deviation that `standardise` divides ranks by."""
    if metric == "rho-a":
        return np.full(len(rdms), np.sqrt((rdms.shape[-1] ** 2 - 1) / 12))
    return np.asarray(mean_ranks(rdms).std(axis=-1))


def _whitened_influence(rdms: Floats, others: Floats) -> Floats:
    """Influence on the whitened cosine: of each stimulus from leaving it out, and of each pair.

    Whitening scales the mean, the stimuli's means and the rest of an RDM differently, and only
    products of the rest are particular to pairs: products of a part with another part cancel in
    the sum over the pairs of a stimulus.
    """
    n_pairs = rdms.shape[-1]
    n_stimuli = number_of_stimuli(n_pairs)
    n_left = n_pairs - (n_stimuli - 1)
    similarity = correlate_rdms(rdms, others, "whitened-cosine")
    without = _whitened_without_each(rdms, others)
    of_stimuli = (n_pairs * similarity[..., None] - n_left * without) / (n_stimuli - 2)
    of_stimuli -= of_stimuli.mean(axis=-1, keepdims=True)
    x, y = (
        split_rdms(np.sqrt(n_pairs) * standardise(each, "whitened-cosine"))[2]
        for each in (rdms, others)
    )
    products = x[:, None] * y[None]
    products -= similarity[..., None] * (x[:, None] ** 2 + y[None] ** 2) / 2
    return np.asarray(similarity[..., None] + pairs_of_levels(of_stimuli) + split_rdms(products)[2])


def _whitened_without_each(rdms: Floats, others: Floats) -> Floats:
    """Whitened cosines of RDMs without each of the stimuli in turn, (n, m, stimuli)."""
    lengths = [
        np.sqrt([_whitened_products(rdm[None], rdm[None])[0, 0] for rdm in each])
        for each in (rdms, others)
    ]
    scale = lengths[0][:, None] * lengths[1]
    return _whitened_products(rdms, others) / np.where(scale > 0, scale, np.nan)


def _whitened_products(rdms: Floats, others: Floats) -> Floats:
    """Products of whitened RDMs without each of the stimuli in turn, (n, m, stimuli).

    They are products of the three parts of RDMs, weighted as in `whiten`, which follow from the
    sum of all products and the sums over the pairs of each stimulus. Without a stimulus these are
    less by what its own pairs add.
    """
    x, y = (np.stack([squareform(rdm, checks=False) for rdm in each]) for each in (rdms, others))
    of_x, of_y = x.sum(axis=-1), y.sum(axis=-1)
    own = np.moveaxis(x.swapaxes(0, 1) @ np.moveaxis(y, 0, -1), 0, -1)
    products = own.sum(axis=-1, keepdims=True) / 2 - own
    of_stimuli = (of_x @ of_y.T)[..., None] - of_x[:, None] * of_y + own
    of_stimuli -= np.moveaxis(x @ of_y.T, 1, 2) + (y @ of_x.T).transpose(2, 0, 1)
    n = x.shape[-1] - 1
    n_pairs = n * (n - 1) / 2
    sums = [each.sum(axis=-1, keepdims=True) / 2 - each for each in (of_x, of_y)]
    of_means = sums[0][:, None] * sums[1] / n_pairs
    of_stimuli = (of_stimuli - 2 * (n - 1) * of_means) / max(n - 2, 1)
    return np.asarray(products + (1 / n - 1) * of_means + (2 / n - 1) * of_stimuli)


def _tau_influence(rdms: Floats, others: Floats) -> Floats:
    """Kendall's tau-a: each pair's mean concordance with all other pairs, twice, less tau."""
    n_pairs = rdms.shape[-1]
    x, y = mean_ranks(rdms).astype(np.float32), mean_ranks(others).astype(np.float32)
    concordance = np.empty((len(rdms), len(others), n_pairs))
    for pair in range(n_pairs):
        signs, other_signs = np.sign(x - x[:, pair, None]), np.sign(y - y[:, pair, None])
        concordance[..., pair] = signs @ other_signs.T
    concordance /= n_pairs - 1
    values: Floats = 2 * concordance - concordance.mean(axis=-1, keepdims=True)
    constant = (np.ptp(rdms, axis=-1) == 0)[:, None] | (np.ptp(others, axis=-1) == 0)[None]
    values[constant] = np.nan
    return values
