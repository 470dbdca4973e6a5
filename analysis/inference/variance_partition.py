"""What groups of models explain of brain RDMs, each alone and together, and partial RSA."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.spatial.distance import squareform

from conceptrsa.analysis.rsa.correlations import (
    mean_ranks,
    number_of_stimuli,
    split_rdms,
    whiten,
)
from conceptrsa.analysis.settings import RsaMetric
from conceptrsa.bids_config.errors import InputError

N_RELABELLINGS = 200
"""Relabellings that the chance level of non-negative weights is the mean of."""

SPANNED = 1e-8
"""What is left of an RDM, as a share of its length, where others explain it up to rounding."""


@dataclass(frozen=True)
class VariancePartition:
    """Shares of the variance of brain RDMs; arrays (..., subsets).

    Attributes
    ----------
    groups : tuple of str
    subsets : tuple of tuple of str
        All that can be made of the groups, the single groups first, all groups last.
    r2_raw : ndarray
        Share explained by all models of a subset's groups together.
    chance : ndarray
        Mean share that they would explain if the stimuli of the brain RDM were relabelled.
    r2 : ndarray
        The share corrected for chance, 1 - (1 - r2_raw) / (1 - chance); can be negative.
    parts : ndarray
        Of the corrected share of all groups, what exactly the groups of a subset have in common
        and no other group explains (commonality analysis). The parts add up to the last of `r2`;
        one is negative by noise, or where groups suppress each other.
    """

    groups: tuple[str, ...]
    subsets: tuple[tuple[str, ...], ...]
    r2_raw: NDArray[np.float64]
    chance: NDArray[np.float64]
    r2: NDArray[np.float64]
    parts: NDArray[np.float64]

    @property
    def unique(self) -> NDArray[np.float64]:
        """What each group explains beyond all others, (..., groups)."""
        return self.parts[..., : len(self.groups)]


@dataclass(frozen=True)
class PartialRsa:
    """Partial correlations of brain RDMs with model RDMs.

    Attributes
    ----------
    groups : tuple of str
    given_group : ndarray, (..., models, groups)
        With the models of one group held constant; NaN for a model's own group.
    given_others : ndarray, (..., models)
        With the models of all groups but a model's own held constant.
    """

    groups: tuple[str, ...]
    given_group: NDArray[np.float64]
    given_others: NDArray[np.float64]


def partition_variance(
    rdms: NDArray[np.float64],
    models: NDArray[np.float64],
    groups: Sequence[str],
    *,
    non_negative: bool = False,
    generator: np.random.Generator | None = None,
) -> VariancePartition:
    """Partition the variance of brain RDMs by least squares on the model RDMs of groups.

    All RDMs are whitened first (`conceptrsa.analysis.rsa.correlations.whiten`): distances that
    share a stimulus are related, and unwhitened ones let the few values of a stimulus that is far
    from all others decide the fit. The shares are then corrected by the mean that models unrelated
    to the brain reach, which follows exactly from the symmetry of relabelling: relabelling mixes
    neither an RDM's mean, nor its part of stimuli, nor the rest, and spreads each of them evenly,
    so that a model space with squared lengths s and t in the last two (of n - 1 and pairs - n
    dimensions) explains on average s / (n - 1) of the one and t / (pairs - n) of the other. For
    white RDMs this is the usual adjusted R squared.

    It was chosen by simulation: 16 models in groups of 5, 8 and 3, 50 stimuli, 5 subjects sharing
    an RDM unrelated to any model, so that the truth is 0. With Euclidean distances in three
    dimensions, the mean share of all models was 0.147 to 0.184 raw, 0.136 to 0.173 with the
    usual adjustment, 0.04 to 0.19 with weights fitted to the other subjects (who share what
    the models match by chance) and -0.2 to -0.4 with weights tested on the pairs of two held-out
    stimuli, in subjects or between them, because fitting 16 weights costs more than they
    explain; with this correction it was 0.001 to 0.002, with a standard deviation of 0.003 to
    0.007. With correlation distances in many dimensions all corrections agreed. Shares
    of planted groups came out within 0.02 of those with 300 stimuli.

    Parameters
    ----------
    rdms : ndarray, (..., pairs)
        Of subjects, or their mean, or permutations of either; NaN gives NaN.
    models : ndarray, (models, pairs)
    groups : sequence of str
        Each model's group.
    non_negative : bool
        Whether weights of models are at least zero, as they are if a brain region holds the
        models' features weighted; the chance level is then the mean over relabellings that
        `generator` draws, and takes correspondingly longer.
    generator : Generator, optional
        Needed for non-negative weights.

    Returns
    -------
    VariancePartition
        NaN where models explain everything by their number alone.

    Raises
    ------
    InputError
        On a model RDM that holds a NaN or is constant.
    """
    names, members = _members(groups)
    _require_usable(models)
    values = whiten(rdms)
    values = _scaled(values - values.mean(axis=-1, keepdims=True))
    predictors = whiten(models)
    predictors = _scaled(predictors - predictors.mean(axis=-1, keepdims=True))
    subsets = [chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size)]
    orders = _relabellings(models.shape[-1], generator) if non_negative else None
    _, of_stimuli, rest = split_rdms(values)
    in_parts = _square(of_stimuli), _square(rest)
    r2_raw = np.empty((*values.shape[:-1], len(subsets)))
    chance = np.empty_like(r2_raw)
    for index, chosen in enumerate(subsets):
        columns = predictors[np.concatenate([members[name] for name in chosen])]
        r2_raw[..., index], chance[..., index] = (
            _unconstrained(values, in_parts, columns)
            if orders is None
            else _non_negative(values, columns, orders)
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(chance < 1 - SPANNED, 1 - (1 - r2_raw) / (1 - chance), np.nan)
    return VariancePartition(
        groups=names,
        subsets=tuple(subsets),
        r2_raw=r2_raw,
        chance=chance,
        r2=r2,
        parts=_commonality(r2, names, subsets),
    )


def partial_rsa(
    rdms: NDArray[np.float64],
    models: NDArray[np.float64],
    groups: Sequence[str],
    metric: RsaMetric,
) -> PartialRsa:
    """Correlate brain RDMs with each model RDM while models of other groups are held constant.

    Both are replaced by what least squares on the other models leaves of them.

    Parameters
    ----------
    rdms : ndarray, (..., pairs)
        NaN or constant gives NaN.
    models : ndarray, (models, pairs)
    groups : sequence of str
        Each model's group.
    metric : {'pearson', 'spearman'}
        Spearman: everything by ranks.

    Returns
    -------
    PartialRsa
        NaN for a model, or a brain RDM, that the models held constant explain up to rounding, and
        for all models where there is a single group.

    Raises
    ------
    InputError
        On a model RDM that holds a NaN or is constant.
    ValueError
        On another metric.
    """
    if metric not in ("pearson", "spearman"):
        raise ValueError(f"there is no partial correlation of the kind {metric}")
    names, members = _members(groups)
    _require_usable(models)
    values, predictors = (
        (mean_ranks(rdms), mean_ranks(models))
        if metric == "spearman"
        else (
            np.asarray(rdms, dtype=np.float64),
            np.asarray(models, dtype=np.float64),
        )
    )
    values = _scaled(values - values.mean(axis=-1, keepdims=True))
    predictors = _scaled(predictors - predictors.mean(axis=-1, keepdims=True))
    given_group = np.full((*values.shape[:-1], len(predictors), len(names)), np.nan)
    given_others = np.full(given_group.shape[:-1], np.nan)
    for column, name in enumerate(names):
        own = np.isin(np.arange(len(predictors)), members[name])
        if own.all():
            continue
        given_group[..., ~own, column] = _correlate_residuals(
            values, predictors[~own], predictors[own]
        )
        given_others[..., own] = _correlate_residuals(values, predictors[own], predictors[~own])
    return PartialRsa(names, given_group, given_others)


def _members(groups: Sequence[str]) -> tuple[tuple[str, ...], dict[str, NDArray[np.intp]]]:
    """The groups in their order, and the models of each."""
    names = tuple(dict.fromkeys(groups))
    membership = np.asarray(groups)
    return names, {name: np.flatnonzero(membership == name) for name in names}


def _require_usable(models: NDArray[np.float64]) -> None:
    for index, rdm in enumerate(models):
        if not (np.isfinite(rdm).all() and np.ptp(rdm) > 0):
            raise InputError(
                f"the RDM of model {index + 1} of {len(models)} holds a NaN or is constant, so it "
                "explains nothing: leave that model out"
            )


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale vectors (..., pairs) to length 1; NaN for those of length zero."""
    length: NDArray[np.float64] = np.linalg.norm(values, axis=-1, keepdims=True)
    return values / np.where(length > 0, length, np.nan)


def _basis(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal basis (pairs, rank) of vectors (n, pairs), which may depend on each other."""
    vectors, singular, _ = np.linalg.svd(columns.T, full_matrices=False)
    return np.asarray(vectors[:, singular > SPANNED * singular[0]])


def _unconstrained(
    values: NDArray[np.float64],
    in_parts: tuple[NDArray[np.float64], NDArray[np.float64]],
    columns: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of centred vectors of length 1 that columns explain, and its mean by chance.

    `in_parts` is how much of the vectors' squared length is of stimuli, and in the rest.
    """
    basis = _basis(columns)
    n_pairs = values.shape[-1]
    n_stimuli = number_of_stimuli(n_pairs)
    _, basis_of_stimuli, basis_rest = split_rdms(basis.T)
    chance_of_stimuli = np.square(basis_of_stimuli).sum() / (n_stimuli - 1)
    chance_in_rest = np.square(basis_rest).sum() / max(n_pairs - n_stimuli, 1)
    chance = in_parts[0] * chance_of_stimuli + in_parts[1] * chance_in_rest
    return _square(values @ basis), chance


def _relabellings(n_pairs: int, generator: np.random.Generator | None) -> NDArray[np.intp]:
    """Random orders of the stimuli (relabellings, stimuli), the same for all shares."""
    if generator is None:
        raise ValueError("non-negative weights need a generator")
    in_order = np.tile(np.arange(number_of_stimuli(n_pairs)), (N_RELABELLINGS, 1))
    return generator.permuted(in_order, axis=1)


def _square(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.square(values).sum(axis=-1))


def _non_negative(
    values: NDArray[np.float64], columns: NDArray[np.float64], orders: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `_unconstrained` with weights of at least zero."""
    basis, triangle = np.linalg.qr(columns.T)
    first, second = np.triu_indices(orders.shape[1], k=1)
    r2 = np.full(values.shape[:-1], np.nan)
    chance = np.full_like(r2, np.nan)
    for index in np.ndindex(r2.shape):
        if np.isnan(values[index]).any():
            continue
        square = squareform(values[index], checks=False)
        relabelled = square[orders[:, first], orders[:, second]]
        r2[index] = _explained(triangle, values[index] @ basis)
        chance[index] = np.mean([_explained(triangle, target) for target in relabelled @ basis])
    return r2, chance


def _explained(triangle: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """Squared length that non-negative weights explain of a target of length 1 or less."""
    _, left = nnls(triangle, target)
    return float(target @ target - left**2)


def _commonality(
    r2: NDArray[np.float64], names: tuple[str, ...], subsets: Sequence[tuple[str, ...]]
) -> NDArray[np.float64]:
    """Inclusion and exclusion: what is explained with some groups but not without them."""
    position = {chosen: index for index, chosen in enumerate(subsets)}
    parts = np.zeros_like(r2)
    for index, chosen in enumerate(subsets):
        for size in range(len(chosen) + 1):
            for added in combinations(chosen, size):
                together = tuple(n for n in names if n not in chosen or n in added)
                if together:
                    parts[..., index] -= (-1) ** size * r2[..., position[together]]
    return parts


def _correlate_residuals(
    values: NDArray[np.float64], models: NDArray[np.float64], constant: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Correlate (..., pairs) with (n, pairs), both without what `constant` (m, pairs) explains."""
    basis = _basis(constant)
    residuals = [vectors - vectors @ basis @ basis.T for vectors in (values, models)]
    units = [
        left / np.where(length > SPANNED, length, np.nan)
        for left in residuals
        for length in [np.linalg.norm(left, axis=-1, keepdims=True)]
    ]
    return np.asarray(units[0] @ units[1].T)
