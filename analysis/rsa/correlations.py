"""Compare RDMs, and average the scores over subjects."""

from collections.abc import Iterator
from functools import lru_cache
from math import isqrt
from typing import cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

from conceptrsa.analysis.arrays import Booleans, Floats, Singles
from conceptrsa.analysis.settings import (
    OwnFunction,
    RsaMetric,
    is_own,
    is_product,
)
from conceptrsa.bids_config.errors import InputError

MAX_PAIRS_OF_SIGNS = 4000
"""With more pairs, Kendall's tau-a is faster by sorting than by comparing all with all."""

VECTORS_OF_SIGNS = 128
"""Number of vectors whose signs of differences are cached, at most 2 MB each."""

Words = NDArray[np.uint64]


def correlate_rdms(rdms: Floats, others: Floats, metric: RsaMetric) -> Floats:
    """Compare every RDM of one set with every RDM of another.

    Parameters
    ----------
    rdms, others : ndarray, (..., n, pairs) and (..., m, pairs)
        Upper triangles in the order of `scipy.spatial.distance.pdist`.
    metric : {'pearson', 'spearman', 'kendall-tau-a', 'rho-a', 'cosine', 'whitened-cosine'}
        Spearman: Pearson's correlation of the ranks, ties sharing their mean rank. Kendall's
        tau-a: share of concordant less share of discordant pairs among *all* pairs of distances.
        Rho-a: what Spearman's rho would be on average if ties were broken at random (Schuett et
        al. 2023). Both of these, unlike Spearman's rho, do not reward a model for predicting
        ties. Whitened cosine: the cosine after the covariance that distances have because they
        share stimuli is taken out (Diedrichsen et al. 2021), which is the alignment of the
        centred similarity matrices. One's own function takes two vectors
        and gives a number, the higher the more alike.

    Returns
    -------
    ndarray, (..., n, m)
        NaN where an RDM holds a NaN, is constant (the correlations) or zero (the cosines).
    """
    if is_own(metric):
        return _own_similarities(cast(OwnFunction, metric), rdms, others)
    if metric == "kendall-tau-a":
        return _kendall_tau_a(rdms, others)
    return standardise(rdms, metric) @ standardise(others, metric).swapaxes(-1, -2)


def _own_similarities(metric: OwnFunction, rdms: Floats, others: Floats) -> Floats:
    """Compare by a function of the user's own, (..., n, m); NaN where an RDM holds a NaN.

    Its first argument is of the brain, its second of a model (or of another subject).
    """
    rdms, others = _of_one_batch(rdms, others)
    found = np.full((*rdms.shape[:-1], others.shape[-2]), np.nan)
    for place in np.ndindex(found.shape):
        *leads, row, column = place
        rdm, other = rdms[(*leads, row)], others[(*leads, column)]
        if np.isfinite(rdm).all() and np.isfinite(other).all():
            found[place] = _own_similarity(metric, rdm, other)
    return found


def _own_similarity(metric: OwnFunction, rdm: Floats, other: Floats) -> float:
    remedy = (
        "it must take two vectors of pairs and return one finite number, higher for more similar "
        "RDMs"
    )
    try:
        number = np.asarray(metric.function(rdm.copy(), other.copy()), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{metric} failed on two RDMs of {len(rdm)} pairs ({error}): {remedy} (return "
            ".statistic of scipy's results)"
        ) from error
    if number.size != 1 or not np.isfinite(number).all():
        raise InputError(f"{metric} gave {number} for two RDMs of {len(rdm)} pairs: {remedy}")
    return float(number.item())


def standardise(rdms: Floats, metric: RsaMetric) -> Floats:
    """Transform RDM vectors (..., pairs) so that sums of products are what `metric` compares by.

    Relabelling stimuli before or after gives the same. The vectors have length 1, except for
    rho-a of RDMs with ties, which are shorter. NaN as in `correlate_rdms`.

    Raises
    ------
    ValueError
        For Kendall's tau-a, which is no sum of products over pairs of stimuli.
    """
    if not is_product(metric):
        raise ValueError(f"{metric} is no sum of products: use correlate_rdms")
    values = np.asarray(rdms, dtype=np.float64)
    if metric == "cosine":
        return _scale_to_length_1(values.copy())
    if metric == "whitened-cosine":
        return _scale_to_length_1(whiten(values))
    if metric in ("spearman", "rho-a"):
        return standardise_ranks(mean_ranks(values), metric)
    return _scale_to_length_1(_centred(values))


def standardise_ranks(ranks: Floats, metric: RsaMetric) -> Floats:
    """Give what `standardise` gives, for Spearman or rho-a, of RDMs whose ranks these are."""
    units = _centred(ranks)
    if metric == "rho-a":
        n_pairs = ranks.shape[-1]
        length_without_ties = np.sqrt((n_pairs**3 - n_pairs) / 12)
        constant = ~units.any(axis=-1, keepdims=True)
        return units / np.where(constant, np.nan, length_without_ties)
    return _scale_to_length_1(units)


def mean_ranks(values: Floats) -> Floats:
    """Ranks from 1 along the last axis, ties sharing their mean rank; rows with NaN become NaN.

    The same as `scipy.stats.rankdata`, several times faster on rows without ties.
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    ranks = np.empty_like(values)
    places = np.broadcast_to(np.arange(1.0, values.shape[-1] + 1), values.shape)
    np.put_along_axis(ranks, order, places, axis=-1)
    tied = (ordered[..., 1:] == ordered[..., :-1]).any(axis=-1)
    if tied.any():
        ranks[tied] = rankdata(values[tied], axis=-1)
    ranks[np.isnan(ordered[..., -1])] = np.nan
    return ranks


def whiten(rdms: Floats) -> Floats:
    """Multiply RDM vectors (..., pairs) by the inverse root of noisy distances' covariance V.

    V (Diedrichsen et al. 2021, sigma_k the identity) is 4 on its diagonal and 1 for two pairs that
    share a stimulus, so it only distinguishes the three parts of an RDM that `split_rdms` gives,
    with eigenvalues 2n, n and 2 for n stimuli. Scaling the parts by the roots of 1/n, 2/n and 1
    saves the (pairs x pairs) matrix; the common factor is of no consequence for a cosine.
    """
    mean, of_stimuli, rest = split_rdms(rdms)
    n_stimuli = number_of_stimuli(rest.shape[-1])
    whitened: Floats = np.sqrt(1 / n_stimuli) * mean + np.sqrt(2 / n_stimuli) * of_stimuli + rest
    return whitened


def split_rdms(rdms: Floats) -> tuple[Floats, Floats, Floats]:
    """Split RDM vectors (..., pairs) into orthogonal parts that add up to them.

    Returns
    -------
    mean : ndarray, (..., 1)
    of_stimuli : ndarray, (..., pairs)
        Distance of the two stimuli of a pair from all others: a sum of a value for each.
    rest : ndarray, (..., pairs)
        Part specific to pairs; its mean over the pairs of any stimulus is zero.
    """
    values = np.asarray(rdms, dtype=np.float64)
    n_stimuli = number_of_stimuli(values.shape[-1])
    mean: Floats = values.mean(axis=-1, keepdims=True)
    centred = values - mean
    # Of centred distances a_i + a_j + rest, those of stimulus i sum to (n - 2) a_i.
    of_stimuli = pairs_of_levels(sums_by_level(centred) / max(n_stimuli - 2, 1))
    return mean, of_stimuli, centred - of_stimuli


def sums_by_level(values: Floats) -> Floats:
    """Sum the pairs that each stimulus (or subject) is in: (..., pairs) to (..., levels)."""
    n_levels = number_of_stimuli(values.shape[-1])
    sums = np.zeros((*values.shape[:-1], n_levels))
    for level, row in rows_of_pairs(n_levels):
        sums[..., level] += values[..., row].sum(axis=-1)
        sums[..., level + 1 :] += values[..., row]
    return sums


def pairs_of_levels(values: Floats) -> Floats:
    """Sum of the values of both members of each pair: (..., levels) to (..., pairs)."""
    n_levels = values.shape[-1]
    sums = np.empty((*values.shape[:-1], n_levels * (n_levels - 1) // 2))
    for level, row in rows_of_pairs(n_levels):
        np.add(values[..., level, None], values[..., level + 1 :], out=sums[..., row])
    return sums


def rows_of_pairs(n_levels: int) -> Iterator[tuple[int, slice]]:
    """Each level but the last, and where its pairs with those after it are in `pdist`'s order."""
    end = 0
    for level in range(n_levels - 1):
        start, end = end, end + n_levels - 1 - level
        yield level, slice(start, end)


def number_of_stimuli(n_pairs: int) -> int:
    """Give the number of stimuli with this many pairs."""
    return (1 + isqrt(1 + 8 * n_pairs)) // 2


def mean_over_subjects(values: Floats) -> Floats:
    """Mean over the first axis of the values that are there; NaN where none is."""
    present = np.isfinite(values)
    count = present.sum(axis=0)
    total = np.where(present, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def sem_over_subjects(values: Floats) -> Floats:
    """Standard error of the mean over the first axis (n - 1); NaN for fewer than two values."""
    count = np.isfinite(values).sum(axis=0)
    return np.asarray(np.sqrt(variance_of_present(values) / np.maximum(count, 1)))


def variance_of_present(values: Floats) -> Floats:
    """Variance (n - 1) over the first axis of the values that are there; NaN for fewer than two."""
    present = np.isfinite(values)
    count = present.sum(axis=0)
    deviation = np.where(present, values - mean_over_subjects(values), 0.0)
    return np.where(count > 1, (deviation**2).sum(axis=0) / np.maximum(count - 1, 1), np.nan)


def _centred(values: Floats) -> Floats:
    """Subtract the mean; exactly zero where what is left is only the rounding of a constant."""
    mean: Floats = values.mean(axis=-1, keepdims=True)
    centred = values - mean
    length = np.sqrt(np.einsum("...p,...p->...", centred, centred))[..., None]
    constant = length <= 1e-13 * np.sqrt(values.shape[-1]) * np.abs(mean)
    if constant.any():
        centred *= ~constant
    return centred


def _scale_to_length_1(values: Floats) -> Floats:
    """Scale vectors in place; NaN for those of length zero."""
    length = np.sqrt(np.einsum("...p,...p->...", values, values))[..., None]
    values /= np.where(length > 0, length, np.nan)
    return values


def _kendall_tau_a(rdms: Floats, others: Floats) -> Floats:
    rdms, others = _of_one_batch(rdms, others)
    tau = np.empty((*rdms.shape[:-1], others.shape[-2]))
    by_signs = rdms.shape[-1] <= MAX_PAIRS_OF_SIGNS
    first, second = (mean_ranks(rdms), mean_ranks(others)) if by_signs else (rdms, others)
    of_two_sets = _tau_by_signs if by_signs else _tau_by_sorting
    for index in np.ndindex(rdms.shape[:-2]):
        tau[index] = of_two_sets(first[index], second[index])
    return np.where(vary(rdms)[..., :, None] & vary(others)[..., None, :], tau, np.nan)


def _of_one_batch(rdms: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Broadcast the leading axes of both to a common shape."""
    rdms, others = np.asarray(rdms, dtype=np.float64), np.asarray(others, dtype=np.float64)
    batch = np.broadcast_shapes(rdms.shape[:-2], others.shape[:-2])
    return (
        np.broadcast_to(rdms, (*batch, *rdms.shape[-2:])),
        np.broadcast_to(others, (*batch, *others.shape[-2:])),
    )


def vary(rdms: Floats | Singles) -> Booleans:
    """Whether RDMs (..., pairs) are without NaN and not constant."""
    return np.asarray(rdms.min(axis=-1) < rdms.max(axis=-1))


def _tau_by_signs(ranks: Floats, others: Floats) -> Floats:
    """Kendall's tau-a of ranks (n, pairs) and (m, pairs), differences of a vector held as bits."""
    n_pairs = ranks.shape[-1]
    every = n_pairs * (n_pairs - 1) // 2
    signs = [_signs_of_ranks(one) for one in ranks]
    balance = np.empty((len(ranks), len(others)))
    for column, other in enumerate(others):
        other_rises, other_differs = _signs_of_ranks(other)
        for row, (rises, differs) in enumerate(signs):
            discordant = rises ^ other_rises
            if differs is None and other_differs is None:
                balance[row, column] = every - 2 * _count_bits(discordant)
                continue
            untied = other_differs if differs is None else differs
            if differs is not None and other_differs is not None:
                untied = differs & other_differs
            assert untied is not None
            balance[row, column] = _count_bits(untied) - 2 * _count_bits(discordant & untied)
    tau: Floats = balance / every
    return tau


def _signs_of_ranks(ranks: Floats) -> tuple[Words, Words | None]:
    """Signs of all differences of ranks; constant ones in place of NaN."""
    if np.isnan(ranks[0]):
        ranks = np.zeros_like(ranks)
    return _signs_of_differences((2 * ranks).astype(np.int16).tobytes())


@lru_cache(maxsize=VECTORS_OF_SIGNS)
def _signs_of_differences(doubled_ranks: bytes) -> tuple[Words, Words | None]:
    """Whether the later of two ranks is higher, and whether they differ, a bit each.

    Comparing the vector with itself shifted, round its end, by one to half its length takes every
    two of its entries once. None in place of the second where all ranks differ. Kept, since a
    vector is compared with many.
    """
    doubled = np.frombuffer(doubled_ranks, dtype=np.int16)
    n_ranks = len(doubled)
    shifted = sliding_window_view(np.concatenate([doubled, doubled]), n_ranks)[1 : n_ranks // 2 + 1]
    rises = shifted > doubled
    is_tied = np.bincount(doubled).max() > 1
    differs = shifted != doubled if is_tied else None
    if n_ranks % 2 == 0:
        for flags in (rises, differs):
            if flags is not None:
                flags[-1, n_ranks // 2 :] = False
    return _as_bits(rises), None if differs is None else _as_bits(differs)


def _as_bits(flags: Booleans) -> Words:
    packed = np.packbits(flags.ravel())
    words = np.zeros(-(-len(packed) // 8), dtype=np.uint64)
    words.view(np.uint8)[: len(packed)] = packed
    return words


def _count_bits(words: Words) -> int:
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def _tau_by_sorting(rdms: Floats, others: Floats) -> Floats:
    """Kendall's tau-a of (n, pairs) with (m, pairs), from SciPy's tau-c for its numerator."""
    n_pairs = rdms.shape[-1]
    n_values = [len(np.unique(rdm)) for rdm in rdms]
    n_other_values = [len(np.unique(rdm)) for rdm in others]
    tau = np.empty((len(rdms), len(others)))
    for row, rdm in enumerate(rdms):
        for column, other in enumerate(others):
            fewest = min(n_values[row], n_other_values[column])
            tau_c = kendalltau(rdm, other, variant="c", method="asymptotic").statistic
            tau[row, column] = tau_c * (fewest - 1) / fewest * n_pairs / (n_pairs - 1)
    return tau
