"""How well any model could do, judged by how well subjects agree."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.rsa import mean_ranks, standardise
from analysis.settings import RsaMetric
from analysis.significance import sem_over_subjects


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

    A subject whose RDM is constant or holds a NaN gets NaN, and does not touch the others; where
    fewer than two subjects are left, all get NaN.

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
    present = np.isfinite(pairwise)[..., None]
    ranks = np.where(present, mean_ranks(rdms), 0.0)
    all_ranks = ranks.sum(axis=-2, keepdims=True)
    return NoiseCeiling(
        pairwise,
        lower=(units * standardise(all_ranks - ranks, metric)).sum(axis=-1),
        upper=(units * standardise(all_ranks, metric)).sum(axis=-1),
    )


def ceiling_from_correlations(correlations: NDArray[np.float64]) -> NoiseCeiling:
    """All ceilings from the Pearson correlations between subjects' RDMs.

    With a_i the row sums of the correlation matrix and T its total, the correlation with the mean
    of all z-scored RDMs is a_i / sqrt(T), and with the mean of the others
    (a_i - 1) / sqrt(T - 2 a_i + 1).

    Parameters
    ----------
    correlations : ndarray, (..., subjects, subjects)
        Symmetric, ones on the diagonal; NaN in the row and column of a subject without RDM.

    Returns
    -------
    NoiseCeiling
        NaN for a subject without RDM, and where the mean RDM is constant.
    """
    pairwise = _mean_with_others(correlations)
    n_present = np.isfinite(pairwise).sum(axis=-1, keepdims=True)
    with_others = pairwise * (n_present - 1)
    total = n_present + np.nansum(with_others, axis=-1, keepdims=True)
    return NoiseCeiling(
        pairwise,
        lower=_ratio(with_others, total - 2 * with_others - 1),
        upper=_ratio(with_others + 1, total),
    )


def _mean_with_others(correlations: NDArray[np.float64]) -> NDArray[np.float64]:
    with_all: NDArray[np.float64] = np.nansum(correlations, axis=-1)
    with_self = np.diagonal(correlations, axis1=-2, axis2=-1)
    n_others = np.isfinite(with_self).sum(axis=-1, keepdims=True) - 1
    return np.where(n_others > 0, (with_all - with_self) / np.maximum(n_others, 1), np.nan)


def _ratio(covariance: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 1e-12, covariance / np.sqrt(variance), np.nan)


def sem_of_ceilings(pairwise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard error over subjects (first axis); NaN for two subjects, whose ceilings are one."""
    enough = np.isfinite(pairwise).sum(axis=0) > 2
    return np.where(enough, sem_over_subjects(pairwise), np.nan)


def normalise(
    rsa: NDArray[np.float64], pairwise_ceiling: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Divide each subject's scores (subjects, models) by that subject's ceiling (subjects,).

    NaN where the ceiling is not above zero: a share of nothing has no meaning. The pairwise
    ceiling c is a reliability, the attainable maximum is sqrt(c): results above 1 are legitimate.
    """
    usable: NDArray[np.float64] = np.where(pairwise_ceiling > 0, pairwise_ceiling, np.nan)
    return rsa / usable[:, None]
