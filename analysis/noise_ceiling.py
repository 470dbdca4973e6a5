"""How well any model could do, judged by how well subjects agree."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.rsa import mean_ranks, standardise
from analysis.settings import RsaMetric


@dataclass(frozen=True)
class NoiseCeiling:
    """Noise ceilings of each subject; arrays (..., subjects).

    Attributes
    ----------
    pairwise : ndarray
        The paper's: mean correlation of a subject's RDM with each other subject's.
    lower, upper : ndarray
        Nili et al. (2014): correlation of a subject's RDM with the mean of the others' and with
        the mean of all, the RDMs z-scored (Pearson) or ranked (Spearman) before the mean.
    """

    pairwise: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def noise_ceiling(
    rdms: NDArray[np.float64], metric: RsaMetric, *, spearman_bounds: bool = True
) -> NoiseCeiling:
    """Ceilings of subjects' RDMs.

    Parameters
    ----------
    rdms : ndarray, (..., subjects, pairs)
    metric : {'pearson', 'spearman'}
    spearman_bounds : bool
        False leaves Spearman's lower and upper bounds NaN: ranking the mean RDMs takes longer
        than all the rest.
    """
    units = standardise(rdms, metric)
    correlations = units @ units.swapaxes(-1, -2)
    if metric == "pearson":
        return ceiling_from_correlations(correlations)
    pairwise = _mean_with_others(correlations)
    if not spearman_bounds:
        unknown = np.full_like(pairwise, np.nan)
        return NoiseCeiling(pairwise, unknown, unknown)
    ranks = mean_ranks(rdms)
    all_ranks = ranks.sum(axis=-2, keepdims=True)
    return NoiseCeiling(
        pairwise,
        lower=(units * standardise(all_ranks - ranks, metric)).sum(axis=-1),
        upper=(units * standardise(all_ranks, metric)).sum(axis=-1),
    )


def noise_ceiling_of_present(rdms: NDArray[np.float64], metric: RsaMetric) -> NoiseCeiling:
    """Ceilings of the subjects that have an RDM (subjects, pairs); those without (NaN) get NaN.

    With fewer than two subjects left all are NaN.
    """
    present = np.isfinite(rdms).all(axis=-1)
    ceilings = np.full((3, len(rdms)), np.nan)
    if present.sum() >= 2:
        found = noise_ceiling(rdms[present], metric)
        ceilings[:, present] = found.pairwise, found.lower, found.upper
    return NoiseCeiling(*ceilings)


def ceiling_from_correlations(correlations: NDArray[np.float64]) -> NoiseCeiling:
    """All ceilings from the Pearson correlations between subjects' RDMs.

    With a_i the row sums of the correlation matrix and T its total, the correlation with the mean
    of all z-scored RDMs is a_i / sqrt(T), and with the mean of the others
    (a_i - 1) / sqrt(T - 2 a_i + 1).

    Parameters
    ----------
    correlations : ndarray, (..., subjects, subjects)
        Symmetric, ones on the diagonal.

    Returns
    -------
    NoiseCeiling
        NaN where the mean RDM is constant.
    """
    n_subjects = correlations.shape[-1]
    pairwise = _mean_with_others(correlations)
    with_others = pairwise * (n_subjects - 1)
    total = n_subjects + with_others.sum(axis=-1, keepdims=True)
    return NoiseCeiling(
        pairwise,
        lower=_ratio(with_others, total - 2 * with_others - 1),
        upper=_ratio(with_others + 1, total),
    )


def _mean_with_others(correlations: NDArray[np.float64]) -> NDArray[np.float64]:
    with_all: NDArray[np.float64] = correlations.sum(axis=-1)
    with_self = np.diagonal(correlations, axis1=-2, axis2=-1)
    n_others = int(correlations.shape[-1]) - 1
    return (with_all - with_self) / n_others


def _ratio(covariance: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 1e-12, covariance / np.sqrt(variance), np.nan)


def normalise(
    rsa: NDArray[np.float64], pairwise_ceiling: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Divide each subject's scores (subjects, models) by that subject's ceiling (subjects,).

    NaN where the ceiling is not above zero: a share of nothing has no meaning. The pairwise
    ceiling c is a reliability, the attainable maximum is sqrt(c): results above 1 are legitimate.
    """
    usable: NDArray[np.float64] = np.where(pairwise_ceiling > 0, pairwise_ceiling, np.nan)
    return rsa / usable[:, None]
