"""Estimate the highest possible score of a model from the agreement of subjects."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import squareform

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.rsa.correlations import (
    correlate_rdms,
    mean_ranks,
    number_of_stimuli,
    sem_over_subjects,
    standardise,
    standardise_ranks,
    whiten,
)
from conceptrsa.analysis.rsa.relabelled_rdms import add_relabelled
from conceptrsa.analysis.settings import RsaMetric, is_own, is_product, rsa_metric_of

N_PERMUTATIONS = 199
"""Permutations of the test of whether subjects agree beyond chance."""

SUMS_AT_ONCE = 1_000_000
"""Sums of relabelled distances that are held at a time."""


class NoiseCeiling(NamedTuple):
    """Noise ceilings of each subject; arrays (..., subjects).

    Attributes
    ----------
    pairwise : ndarray
        Mean comparison of a subject's RDM with each other subject's.
    lower, upper : ndarray
        Nili et al. (2014): comparison of a subject's RDM with the mean of the others' and with
        the mean of all. Before the mean, RDMs are z-scored (Pearson), ranked (Spearman, rho-a,
        tau-a) or scaled to one length (cosines), as in rsatoolbox; NaN for a function of the
        user's own. The upper bound is the highest value that a model can have for Pearson,
        Spearman and the cosine; for tau-a and the whitened cosine such a mean only comes near it.
    """

    pairwise: Floats
    lower: Floats
    upper: Floats


def noise_ceiling(
    rdms: Floats, metric: RsaMetric | Callable[..., Any], *, spearman_bounds: bool = True
) -> NoiseCeiling:
    """Compute the noise ceilings of subjects' RDMs.

    A subject whose RDM cannot be compared (see
    `conceptrsa.analysis.rsa.correlations.correlate_rdms`) gets NaN, without effect on the others.
    If fewer than two subjects are left, all get NaN.

    Parameters
    ----------
    rdms : ndarray, (..., subjects, pairs)
    metric : {'pearson', 'spearman', 'kendall-tau-a', 'rho-a', 'cosine', 'whitened-cosine'} \
            or callable
        A function takes the RDMs of a subject and of another one, and gives a number.
    spearman_bounds : bool
        False leaves the lower and upper bounds of Spearman, rho-a and tau-a NaN: ranking the mean
        RDMs takes longer than all the rest.

    Returns
    -------
    NoiseCeiling
        `pairwise`, `lower` and `upper`, each of shape (..., subjects).

    Examples
    --------
    Three subjects whose RDMs share a signal:

    >>> import numpy as np
    >>> import conceptrsa as crsa
    >>> rng = np.random.default_rng(0)
    >>> rdms = rng.uniform(size=45) + 0.1 * rng.uniform(size=(3, 45))  # (subjects, pairs)
    >>> ceiling = crsa.noise_ceiling(rdms, "pearson")
    >>> ceiling.pairwise.round(2), ceiling.upper.round(2)
    (array([0.99, 0.99, 0.99]), array([1., 1., 1.]))
    """
    metric = rsa_metric_of(metric)
    if is_own(metric):
        return _own_ceiling(rdms, metric)
    if not is_product(metric):
        ranks = mean_ranks(rdms)
        return _rank_ceiling(ranks, metric, correlate_rdms(ranks, ranks, metric), spearman_bounds)
    if metric == "whitened-cosine":
        # Before the mean the RDMs have one length as they are, not one length when whitened.
        whitened = whiten(standardise(rdms, "cosine"))
        lengths = np.linalg.norm(whitened, axis=-1)
        units = whitened / lengths[..., None]
        return ceiling_from_correlations(units @ units.swapaxes(-1, -2), weights=lengths)
    if metric in ("pearson", "cosine"):
        units = standardise(rdms, metric)
        return ceiling_from_correlations(units @ units.swapaxes(-1, -2))
    ranks = mean_ranks(rdms)
    units = standardise_ranks(ranks, metric)
    return _rank_ceiling(ranks, metric, units @ units.swapaxes(-1, -2), spearman_bounds, units)


def split_half_ceiling(halves: Floats, metric: RsaMetric) -> float:
    """Ceiling of one subject's scores, where no other subject saw the same stimuli.

    It is that of RDMs of half of the runs. What RDMs of all runs would give does not follow from
    it: with twice the data the noise of a distance falls to between a half and a fourth, depending
    on the signal, so that the formula of Spearman and Brown does not hold.

    Parameters
    ----------
    halves : ndarray, (folds, 2, pairs)
        RDMs of the odd and of the even runs.
    metric : str
    """
    found = [correlate_rdms(odd[None], even[None], metric)[0, 0] for odd, even in halves]
    return float(np.mean(found))


def ceiling_from_correlations(correlations: Floats, weights: Floats | None = None) -> NoiseCeiling:
    """All ceilings from the products of subjects' RDMs, each scaled to length 1.

    With A these products, w the weights of the scaled RDMs in the mean RDM, a = A w and
    T = w' A w, the product with the mean of all is a_i / sqrt(T), and with the mean of the others
    (a_i - w_i) / sqrt(T - 2 w_i a_i + w_i^2).

    Parameters
    ----------
    correlations : ndarray, (..., subjects, subjects)
        Symmetric, ones on the diagonal; NaN in the row and column of a subject without RDM.
    weights : ndarray, (..., subjects), optional
        All ones unless given; of subjects without RDM they are of no consequence.

    Returns
    -------
    NoiseCeiling
        NaN for a subject without RDM, and where the mean RDM is constant.
    """
    pairwise = _mean_with_others(correlations)
    present = np.isfinite(pairwise)
    if weights is None:
        weights = np.ones(pairwise.shape)
    weights = np.where(present, weights, 0.0)
    with_all = np.where(present, np.nansum(correlations * weights[..., None, :], axis=-1), np.nan)
    total = np.nansum(weights * with_all, axis=-1, keepdims=True)
    return NoiseCeiling(
        pairwise,
        lower=_ratio(with_all - weights, total - 2 * weights * with_all + weights**2),
        upper=_ratio(with_all, total),
    )


def _own_ceiling(rdms: Floats, metric: RsaMetric) -> NoiseCeiling:
    """Pairwise ceiling by a function of the user's own; no subject is compared with itself.

    Which mean of RDMs would come close to all of them is not known, so there are no bounds.
    """
    n_subjects = rdms.shape[-2]
    similarities = np.full((*rdms.shape[:-1], n_subjects), np.nan)
    for first in range(n_subjects):
        for second in range(n_subjects):
            one, other = rdms[..., [first], :], rdms[..., [second], :]
            similarities[..., first, second] = (
                np.where(np.isfinite(one).all(axis=-1), 1.0, np.nan)[..., 0]
                if first == second
                else correlate_rdms(one, other, metric)[..., 0, 0]
            )
    pairwise = _mean_with_others(similarities)
    unknown = np.full_like(pairwise, np.nan)
    return NoiseCeiling(pairwise, unknown, unknown)


def _rank_ceiling(
    ranks: Floats,
    metric: RsaMetric,
    correlations: Floats,
    bounds: bool,
    units: Floats | None = None,
) -> NoiseCeiling:
    """Ceilings whose bounds are those of mean ranks; `units` are the standardised ranks."""
    pairwise = _mean_with_others(correlations)
    if not bounds:
        unknown = np.full_like(pairwise, np.nan)
        return NoiseCeiling(pairwise, unknown, unknown)
    present = np.isfinite(pairwise)[..., None]
    summed = np.where(present, ranks, 0.0)
    of_all = summed.sum(axis=-2, keepdims=True)
    of_others = of_all - summed
    if units is None:
        lower, upper = (
            correlate_rdms(ranks[..., None, :], sums[..., None, :], metric)[..., 0, 0]
            for sums in (of_others, of_all)
        )
    else:
        lower, upper = (
            np.einsum("...p,...p->...", units, standardise(sums, metric))
            for sums in (of_others, of_all)
        )
    return NoiseCeiling(pairwise, lower, upper)


def _mean_with_others(correlations: Floats) -> Floats:
    with_all: Floats = np.nansum(correlations, axis=-1)
    with_self = np.diagonal(correlations, axis1=-2, axis2=-1)
    n_others = np.isfinite(with_self).sum(axis=-1, keepdims=True) - 1
    return np.where(n_others > 0, (with_all - with_self) / np.maximum(n_others, 1), np.nan)


def _ratio(covariance: Floats, variance: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 1e-12, covariance / np.sqrt(variance), np.nan)


def sem_of_ceilings(pairwise: Floats) -> Floats:
    """Standard error over subjects (first axis); NaN for two subjects, whose ceilings are one."""
    enough = np.isfinite(pairwise).sum(axis=0) > 2
    return np.where(enough, sem_over_subjects(pairwise), np.nan)


def normalise(rsa: Floats, pairwise_ceiling: Floats) -> Floats:
    """Divide each subject's scores (subjects, models) by that subject's ceiling (subjects,).

    NaN where the ceiling is not above zero: a share of nothing has no meaning. The pairwise
    ceiling c is a reliability, the attainable maximum is sqrt(c): results above 1 are legitimate.
    """
    usable: Floats = np.where(pairwise_ceiling > 0, pairwise_ceiling, np.nan)
    return rsa / usable[:, None]


def ceiling_p_value(rdms: Floats, metric: RsaMetric, generator: np.random.Generator) -> float:
    """One-sided p of the mean pairwise noise ceiling, stimuli permuted in each subject's RDM.

    A standard error over subjects would not do: their ceilings share pairs, and two subjects
    have one and the same.

    Parameters
    ----------
    rdms : ndarray, (folds, subjects, pairs) or (subjects, pairs)
        The ceiling is the mean over folds, in which a subject's stimuli are permuted alike;
        subjects without an RDM (NaN) in a fold are left out.
    metric : str
        One that is no sum of products, as Kendall's tau-a, is replaced by Spearman's rho.
    generator : Generator
        Draws the permutations.

    Returns
    -------
    float
        Share of the permutations, the identity among them, whose ceiling is as high; NaN for
        fewer than two subjects.
    """
    return _p_of_agreement([rdms], metric, generator)


def split_half_p_value(
    halves: Sequence[Floats], metric: RsaMetric, generator: np.random.Generator
) -> float:
    """One-sided p of the mean split-half ceiling, stimuli permuted in one half of the runs.

    Parameters
    ----------
    halves : sequence of ndarray, (folds, 2, pairs)
        RDMs of halves of each subject, on its own stimuli.
    metric, generator
        As in `ceiling_p_value`.
    """
    return _p_of_agreement(halves, metric, generator)


def _p_of_agreement(
    sets: Sequence[Floats], metric: RsaMetric, generator: np.random.Generator
) -> float:
    """P-value of the agreement within sets of RDMs (folds, rdms, pairs), summed over the sets."""
    replaced = metric if is_product(metric) else "spearman"
    null = np.zeros(N_PERMUTATIONS)
    observed = tolerance = 0.0
    n_sets = 0
    for rdms in sets:
        units = standardise(rdms.reshape(-1, *rdms.shape[-2:]), replaced)
        units = units[:, np.isfinite(units).all(axis=(0, 2))]
        if units.shape[1] < 2:
            continue
        n_sets += 1
        null += _permuted_agreement(units, generator)
        observed += float(np.square(units.sum(axis=1)).sum())
        tolerance += 1e-12 * len(units)
    if n_sets == 0:
        return np.nan
    # Rounding must not put a permutation that changes nothing below the identity.
    as_high = null >= observed - tolerance
    return float((1 + as_high.sum()) / (1 + N_PERMUTATIONS))


def _permuted_agreement(units: Floats, generator: np.random.Generator) -> Floats:
    """Squared lengths of sums of unit vectors (folds, rdms, pairs), the stimuli of each permuted.

    They grow with the mean of the correlations.
    """
    _, n_rdms, n_pairs = units.shape
    squares = [[squareform(rdm, checks=False) for rdm in fold] for fold in units]
    n_stimuli = number_of_stimuli(n_pairs)
    order = np.tile(np.arange(n_stimuli), (n_rdms, 1))
    shuffled = np.stack([generator.permuted(order, axis=1) for _ in range(N_PERMUTATIONS)])
    null = np.zeros(N_PERMUTATIONS)
    at_once = max(1, SUMS_AT_ONCE // n_pairs)
    for start in range(0, N_PERMUTATIONS, at_once):
        some = slice(start, start + at_once)
        for fold in squares:
            total = np.zeros((len(null[some]), n_pairs))
            for rdm, square in enumerate(fold):
                add_relabelled(square, shuffled[some, rdm], range(n_stimuli - 1), total)
            null[some] += np.einsum("np,np->n", total, total)
    return null
