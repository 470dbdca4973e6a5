"""Variance that models explain beyond others, with intervals for new subjects and stimuli."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import squareform

from conceptrsa.analysis.arrays import Booleans, Floats, Integers
from conceptrsa.analysis.inference.findings import PartialScore, VariancePart
from conceptrsa.analysis.inference.random_effects import (
    Factor,
    infer,
    levels,
    mean_squares,
    one_level,
)
from conceptrsa.analysis.rsa.correlations import (
    mean_ranks,
    number_of_stimuli,
    split_rdms,
    whiten,
)
from conceptrsa.analysis.settings import MANY_STIMULI, RsaMetric
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import map_on_threads

MIN_STIMULI = 6
"""Fewer leave too little of an RDM once a stimulus is left out."""

MAX_GROUPS, MAX_GROUPS_OF_MANY = 50, 20
"""Stimuli are left out one by one, or in so many groups; in fewer groups where they are many."""

_PARTIAL_METRICS: dict[RsaMetric, RsaMetric] = {
    "pearson": "pearson",
    "spearman": "spearman",
    "kendall-tau-a": "spearman",
    "rho-a": "spearman",
    "cosine": "pearson",
    "whitened-cosine": "pearson",
}


def partial_metric(metric: RsaMetric) -> RsaMetric:
    """Correlation that stands for a comparison where others are partialled out."""
    return _PARTIAL_METRICS.get(metric, "spearman")


MAX_COMBINED = 4
"""Groups up to which every combination is a part; of more, what several share is one part."""

SPANNED = 1e-8
"""Residual of an RDM, as a share of its length, that is only rounding."""

NEARLY_SPANNED = 1e-5
"""A smaller square of what is left of an RDM is taken from what is left, not from differences."""


class SameStimuli(NamedTuple):
    """RDMs over the same stimuli, of one or more subjects and of the models.

    Attributes
    ----------
    regions : mapping of str to ndarray, (folds, subjects, pairs)
    models : ndarray, (models, pairs)
    stimuli : sequence of str
        Their names, where there are several studies.
    """

    regions: Mapping[str, Floats]
    models: Floats
    stimuli: Sequence[str] = ()


def variance_parts(
    studies: Sequence[SameStimuli], groups: Sequence[str]
) -> tuple[VariancePart, ...]:
    """Partition the variance of every region's RDMs among the groups of models.

    Parameters
    ----------
    studies : sequence of SameStimuli
        One of all subjects, or one of each, where they saw different stimuli.
    groups : sequence of str
        Each model's group.

    Returns
    -------
    tuple of VariancePart
        Empty where there is one group, or where there are fewer than 6 stimuli.
    """
    names = tuple(dict.fromkeys(groups))
    if len(names) < 2:
        return ()

    def statistic(some: _SomeStimuli) -> Floats:
        model_space = _span(_units(whiten(some.models)))
        coordinates, in_stimuli, in_rest = some.whitened(model_space.basis)
        found = _partition(coordinates, in_stimuli, in_rest, model_space, groups)
        singles = found.r2[..., : len(names)]
        return np.concatenate([singles, found.r2[..., -1:], found.parts], axis=-1)

    labels = [
        *(f"explained by {name}" for name in names),
        "explained by all",
        *(f"only by {name}" for name in names),
        *shared_parts(names),
    ]
    return tuple(
        VariancePart(roi, label, *row)
        for roi, rows in _intervals(statistic, studies).items()
        for label, row in zip(labels, rows, strict=True)
    )


def shared_parts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the parts that several groups share, in the order of the partition; all last."""
    if len(names) > MAX_COMBINED:
        return ("shared by several",)
    joint = " + " if any(" and " in name for name in names) else " and "
    return tuple(f"shared by {joint.join(one)}" for one in _subsets(names) if len(one) > 1)


def partial_scores(
    studies: Sequence[SameStimuli],
    names: Sequence[str],
    groups: Sequence[str],
    metric: RsaMetric,
) -> tuple[PartialScore, ...]:
    """Correlate every region's RDMs with each model, models of other groups held constant.

    Returns
    -------
    tuple of PartialScore
        Given each other group, and all others; empty where `variance_parts` is. Comparisons for
        which there is no partial correlation are replaced by Pearson's, rank-based ones by
        Spearman's.
    """
    group_names = tuple(dict.fromkeys(groups))
    if len(group_names) < 2:
        return ()
    by_rank = partial_metric(metric) == "spearman"

    def statistic(some: _SomeStimuli) -> Floats:
        model_space = _span(_units(mean_ranks(some.models) if by_rank else some.models))
        fit = some.ranked if by_rank else some.centred
        found = _partial(*fit(model_space.basis), model_space, groups)
        return found.reshape(*found.shape[:-2], -1)

    given = [*group_names, "all others"]
    return tuple(
        PartialScore(roi, model, group, other, partial_metric(metric), *row)
        for roi, rows in _intervals(statistic, studies).items()
        for (model, group, other), row in zip(
            (
                (model, group, other)
                for model, group in zip(names, groups, strict=True)
                for other in given
            ),
            rows,
            strict=True,
        )
        # With two groups, the other one is all others.
        if other != group and (other in group_names or len(group_names) > 2)
    )


@dataclass(frozen=True)
class _SomeStimuli:
    """Brain and model RDMs over some of the stimuli, and the sums that least squares need.

    The brain's RDMs, by far the most, stay as they are: what they have in common with models
    follows from products with vectors that are zero at the pairs left out.

    Attributes
    ----------
    brain : sequence of ndarray, (folds, subjects, pairs)
        RDMs of each region, over all stimuli.
    models : ndarray, (models, kept pairs)
        RDMs over the stimuli that are kept.
    kept : ndarray of bool, (pairs,)
    squares : ndarray, (2, regions, folds, subjects)
        Sums of squares over the kept pairs of what the brain's RDMs, as `split_rdms` splits them,
        hold of the stimuli, and of the rest.
    """

    brain: Sequence[Floats]
    models: Floats
    kept: Booleans
    squares: Floats

    def whitened(self, basis: Floats) -> tuple[Floats, Floats, Floats]:
        """Coordinates of whitened RDMs of length 1, and their squared parts in each stratum."""
        n_stimuli = number_of_stimuli(self.models.shape[-1])
        # Whitening is symmetric: that of the few axes is that of the many RDMs.
        products = self._products(whiten(basis.T).T)
        in_stimuli, in_rest = self.squares * np.array([2 / n_stimuli, 1.0])[:, None, None, None]
        square = _positive(in_stimuli + in_rest)
        return products / np.sqrt(square)[..., None], in_stimuli / square, in_rest / square

    def centred(self, basis: Floats) -> tuple[Floats, Floats]:
        """Coordinates of RDMs of length 1, and the square of what lies outside of the basis."""
        length = np.sqrt(_positive(self.squares.sum(axis=0)))[..., None]
        coordinates = self._products(basis) / length
        outside = 1 - _square(coordinates)
        for place in zip(*np.nonzero(outside < NEARLY_SPANNED), strict=True):
            rdm = _units(self.brain[place[0]][place[1:]][self.kept])
            outside[place] = _square(rdm - basis @ coordinates[place])
        return coordinates, outside

    def ranked(self, basis: Floats) -> tuple[Floats, Floats]:
        """As `centred`, of the RDMs' ranks among the pairs that are kept."""
        found = [_fit(_units(mean_ranks(rdms[..., self.kept])), basis) for rdms in self.brain]
        coordinates, outside = zip(*found, strict=True)
        return np.stack(coordinates), np.stack(outside)

    def _products(self, vectors: Floats) -> Floats:
        """Sums of products of vectors (kept pairs, vectors) with all of the brain's RDMs."""
        everywhere = np.zeros((len(self.kept), vectors.shape[1]))
        everywhere[self.kept] = vectors
        return np.stack([rdms @ everywhere for rdms in self.brain])


def _positive(values: Floats) -> Floats:
    return np.where(values > 0, values, np.nan)


_Statistic = Callable[[_SomeStimuli], Floats]


def _intervals(
    statistic: _Statistic, studies: Sequence[SameStimuli]
) -> dict[str, list[tuple[float, float, float]]]:
    """Estimate and 95 % interval of every value of a statistic, by region."""
    n_sets, sets = _sets_left_out(studies)
    found = [
        _jackknifed(statistic, study, of_study, n_sets)
        for study, of_study in zip(studies, sets, strict=True)
    ]
    # A subject with very few stimuli says nothing.
    found = [of_one for of_one in found if of_one]
    if not found:
        return {}
    regions = [roi for roi in found[0] if all(roi in of_one for of_one in found)]
    joined = {
        roi: (
            np.concatenate([of_one[roi][0] for of_one in found]),
            np.concatenate([of_one[roi][1] for of_one in found], axis=1),
        )
        for roi in regions
    }
    if n_sets:
        return {roi: _estimates(*values) for roi, values in joined.items()}
    return {roi: _estimates_over_subjects(whole) for roi, (whole, _) in joined.items()}


def _sets_left_out(studies: Sequence[SameStimuli]) -> tuple[int, list[Integers]]:
    """Sets of stimuli that are left out in turn, and the set of each stimulus.

    A stimulus is in the same set in all studies. There are no sets where no two studies share
    stimuli, as their values are independent; every stimulus is then in set -1.
    """
    if len(studies) == 1:
        n_stimuli = number_of_stimuli(studies[0].models.shape[-1])
        n_sets = _number_of_sets(n_stimuli)
        return n_sets, [np.arange(n_stimuli) % n_sets]
    names = [set(study.stimuli) for study in studies]
    if all(len(one & other) < MIN_STIMULI for one, other in combinations(names, 2)):
        return 0, [np.full(len(study.stimuli), -1) for study in studies]
    every = sorted(set().union(*names))
    n_sets = _number_of_sets(len(every))
    set_of = {name: place % n_sets for place, name in enumerate(every)}
    return n_sets, [np.array([set_of[name] for name in study.stimuli]) for study in studies]


def _number_of_sets(n_stimuli: int) -> int:
    return min(n_stimuli, MAX_GROUPS if n_stimuli <= MANY_STIMULI else MAX_GROUPS_OF_MANY)


def _jackknifed(
    statistic: _Statistic, study: SameStimuli, group: Integers, n_groups: int
) -> dict[str, tuple[Floats, Floats]]:
    """Values (subjects, values) of a statistic by region, and pseudo-values (stimuli, ...).

    The statistic gives values (regions, folds, subjects, values). Leaving out one stimulus at a
    time (or one group of them, see `MAX_GROUPS`) gives pseudo-values (Tukey, 1958), whose variance
    over subjects and stimuli is that of the mean.
    """
    regions, models, _ = study
    n_stimuli = number_of_stimuli(models.shape[-1])
    if n_stimuli < MIN_STIMULI:
        return {}
    _require_usable(models)
    brain = list(regions.values())
    first, second = np.triu_indices(n_stimuli, k=1)
    squares = np.stack(
        map_on_threads(lambda rdms: _squares_without(rdms, group, n_groups), brain), axis=2
    )

    def leaving_out(one: int) -> Floats:
        kept = (group[first] != one) & (group[second] != one)
        some = _SomeStimuli(brain, models[:, kept], kept, squares[one])
        return np.asarray(statistic(some).mean(axis=1))

    # Measured: whitened models, their space and what is made on the way.
    n_bytes = 8 * models.nbytes
    # The last leaves nothing out.
    without = np.stack(map_on_threads(leaving_out, range(n_groups + 1), n_bytes))
    whole = without[-1]
    pseudo = n_groups * whole - (n_groups - 1) * without[:-1]
    return {roi: (whole[r], pseudo[:, r]) for r, roi in enumerate(regions)}


def _squares_without(rdms: Floats, group: Integers, n_groups: int) -> Floats:
    """Sums of squares in both strata of RDMs (..., pairs) without each group of stimuli.

    Parameters
    ----------
    rdms : ndarray, (..., pairs)
    group : ndarray of int, (stimuli,)
        The groups, from 0.
    n_groups : int

    Returns
    -------
    ndarray, (groups + 1, 2, ...)
        See `_SomeStimuli`; last, where no group is left out.
    """
    kept = group[:, None] != np.arange(n_groups + 1)
    left_out = (~kept).astype(np.float64)
    n_stimuli = kept.sum(axis=0)
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    found = np.empty((n_groups + 1, 2, *rdms.shape[:-1]))
    for place in np.ndindex(rdms.shape[:-1]):
        # About the mean, so that squares lose less to rounding.
        square = squareform(rdms[place] - rdms[place].mean(), checks=False)
        # What each stimulus (row) sums to with those kept (a column for each group).
        sums = np.where(kept, square.sum(axis=1, keepdims=True) - square @ left_out, 0.0)
        np.square(square, out=square)
        of_squares = np.where(kept, square.sum(axis=1, keepdims=True) - square @ left_out, 0.0)
        mean = sums.sum(axis=0) / (2 * n_pairs)
        of_level = (sums - (n_stimuli - 1) * mean) / np.maximum(n_stimuli - 2, 1)
        of_stimuli = (n_stimuli - 2) * _square(np.where(kept, of_level, 0.0).T)
        every = of_squares.sum(axis=0) / 2 - n_pairs * mean**2
        found[(slice(None), 0, *place)] = of_stimuli
        found[(slice(None), 1, *place)] = every - of_stimuli
    return found


def _estimates(whole: Floats, pseudo: Floats) -> list[tuple[float, float, float]]:
    """Of values (subjects, values) and pseudo-values (stimuli, subjects, values)."""
    present = np.isfinite(whole).any(axis=1)
    # A value that is not there for anybody, as of a model given its own group, has no interval.
    there = np.asarray(np.isfinite(pseudo[:, present]).all(axis=(0, 1)))
    values = pseudo[:, present].transpose(2, 1, 0)
    over_subjects = one_level if len(whole) == 1 else levels
    return _with_intervals(whole[present], values, (over_subjects, levels), there)


def _estimates_over_subjects(whole: Floats) -> list[tuple[float, float, float]]:
    """Of values (subjects, values) of subjects who saw different stimuli."""
    present = np.isfinite(whole).any(axis=1)
    there = np.ones(whole.shape[1], dtype=bool)
    return _with_intervals(whole[present], whole[present].T, (levels,), there)


def _with_intervals(
    whole: Floats, values: Floats, factors: Sequence[Factor], there: Booleans
) -> list[tuple[float, float, float]]:
    """Means of values (subjects, values), and intervals from values (values, ...) over factors."""
    means = whole.mean(axis=0) if len(whole) else np.full(whole.shape[1], np.nan)
    half_width = np.full_like(means, np.nan)
    there = there & np.isfinite(means)
    if (len(whole) > 1 or factors[0] is one_level) and there.any():
        found = infer(mean_squares(values[there], factors), np.eye(there.sum()))
        half_width[there] = (found.upper - found.lower) / 2
    return [
        (float(mean), float(mean - half), float(mean + half))
        for mean, half in zip(means, half_width, strict=True)
    ]


@dataclass(frozen=True)
class VariancePartition:
    """Shares of the variance of brain RDMs; arrays (..., subsets).

    Attributes
    ----------
    subsets : tuple of tuple of str
        All that can be made of the groups, the single groups first, all groups last. Of more than
        4 groups, only the single groups, all but one, and all.
    r2_raw : ndarray
        Share explained by all models of a subset's groups together.
    chance : ndarray
        Mean share that they would explain if the stimuli of the brain RDM were relabelled.
    r2 : ndarray
        The share corrected for chance, 1 - (1 - r2_raw) / (1 - chance); can be negative.
    parts : ndarray
        Of the corrected share of all groups, what exactly the groups of a subset have in common
        and no other group explains (commonality analysis). Of more than 4 groups, what each group
        alone explains, and what several share. The parts add up to the last of `r2`; one is
        negative by noise, or where groups suppress each other.
    """

    subsets: tuple[tuple[str, ...], ...]
    r2_raw: Floats
    chance: Floats
    r2: Floats
    parts: Floats


def partition_variance(rdms: Floats, models: Floats, groups: Sequence[str]) -> VariancePartition:
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

    Returns
    -------
    VariancePartition
        NaN where models explain everything by their number alone.

    Raises
    ------
    InputError
        On a model RDM that holds a NaN or is constant.
    """
    _require_usable(models)
    values = _units(whiten(rdms))
    model_space = _span(_units(whiten(models)))
    in_stimuli, in_rest = (_square(part) for part in split_rdms(values)[1:])
    return _partition(values @ model_space.basis, in_stimuli, in_rest, model_space, groups)


def _partition(
    coordinates: Floats,
    in_stimuli: Floats,
    in_rest: Floats,
    model_space: "_Span",
    groups: Sequence[str],
) -> VariancePartition:
    """Partition from coordinates (..., dimensions) and the squared parts in strata (...)."""
    names = tuple(dict.fromkeys(groups))
    subsets = _subsets(names)
    n_pairs = len(model_space.basis)
    n_stimuli = number_of_stimuli(n_pairs)
    products_of_stimuli, products_of_rest = (
        part @ part.T for part in split_rdms(model_space.basis.T)[1:]
    )
    r2_raw = np.empty((*coordinates.shape[:-1], len(subsets)))
    chance = np.empty_like(r2_raw)
    for index, chosen in enumerate(subsets):
        axes = model_space.axes([group in chosen for group in groups])
        chance_of_stimuli = np.sum((products_of_stimuli @ axes) * axes) / (n_stimuli - 1)
        chance_in_rest = np.sum((products_of_rest @ axes) * axes) / max(n_pairs - n_stimuli, 1)
        chance[..., index] = in_stimuli * chance_of_stimuli + in_rest * chance_in_rest
        r2_raw[..., index] = _square(coordinates @ axes)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(chance < 1 - SPANNED, 1 - (1 - r2_raw) / (1 - chance), np.nan)
    return VariancePartition(subsets, r2_raw, chance, r2, _commonality(r2, names, subsets))


def partial_rsa(rdms: Floats, models: Floats, groups: Sequence[str], metric: RsaMetric) -> Floats:
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
    ndarray, (..., models, groups + 1)
        With the models of each group held constant; last, those of all groups but a model's own.
        NaN for a model given its own group; for a model, or a brain RDM, that the models held
        constant explain up to rounding; and for all models where there is a single group.

    Raises
    ------
    InputError
        On a model RDM that holds a NaN or is constant.
    ValueError
        On another metric.
    """
    if metric not in ("pearson", "spearman"):
        raise ValueError(f"there is no partial correlation of the kind {metric}")
    _require_usable(models)
    if metric == "spearman":
        rdms, models = mean_ranks(rdms), mean_ranks(models)
    model_space = _span(_units(models))
    return _partial(*_fit(_units(rdms), model_space.basis), model_space, groups)


def _fit(values: Floats, basis: Floats) -> tuple[Floats, Floats]:
    """Coordinates of values (..., pairs), and the square of what lies outside of the basis."""
    coordinates = values @ basis
    return coordinates, _square(values - coordinates @ basis.T)


def _partial(
    coordinates: Floats, outside: Floats, model_space: "_Span", groups: Sequence[str]
) -> Floats:
    """Partial correlations from coordinates (..., dimensions) and squares outside (...)."""
    names = tuple(dict.fromkeys(groups))
    found = np.full((*coordinates.shape[:-1], len(groups), len(names) + 1), np.nan)
    for column, name in enumerate(names):
        own = np.asarray(groups) == name
        if own.all():
            continue
        for constant, correlated, place in ((own, ~own, column), (~own, own, -1)):
            axes = model_space.axes(constant)
            left = coordinates - coordinates @ axes @ axes.T
            of_models = model_space.models[:, correlated]
            models_left = of_models - axes @ (axes.T @ of_models)
            length = np.sqrt(outside + _square(left))
            lengths_of_models = np.linalg.norm(models_left, axis=0)
            with np.errstate(divide="ignore", invalid="ignore"):
                found[..., correlated, place] = (
                    left
                    @ models_left
                    / np.where(length > SPANNED, length, np.nan)[..., None]
                    / np.where(lengths_of_models > SPANNED, lengths_of_models, np.nan)
                )
    return found


def _subsets(names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """All that can be made of the names, single ones first, all last; of many names, some."""
    n_names = len(names)
    many = n_names > MAX_COMBINED
    sizes = (1, n_names - 1, n_names) if many else range(1, n_names + 1)
    return tuple(chosen for size in sizes for chosen in combinations(names, size))


def _require_usable(models: Floats) -> None:
    for index, rdm in enumerate(models):
        if not (np.isfinite(rdm).all() and np.ptp(rdm) > 0):
            raise InputError(
                f"the RDM of model {index + 1} of {len(models)} holds a NaN or is constant, so it "
                "explains nothing: leave the model out"
            )


def _units(vectors: Floats) -> Floats:
    """Centre vectors (..., pairs) and scale them to length 1; NaN for constant ones."""
    values: Floats = vectors - vectors.mean(axis=-1, keepdims=True)
    length: Floats = np.linalg.norm(values, axis=-1, keepdims=True)
    units: Floats = values / np.where(length > 0, length, np.nan)
    return units


@dataclass(frozen=True)
class _Span:
    """The space of all models' RDMs, in which those of any group are a few short vectors.

    Attributes
    ----------
    basis : ndarray, (pairs, dimensions)
        Orthonormal.
    models : ndarray, (dimensions, models)
        Coordinates.
    """

    basis: Floats
    models: Floats

    def axes(self, chosen: Sequence[bool] | Booleans) -> Floats:
        """Orthonormal axes (dimensions, rank) of some models, which may depend on each other."""
        vectors, singular, _ = np.linalg.svd(
            self.models[:, np.asarray(chosen)], full_matrices=False
        )
        return np.asarray(vectors[:, singular > SPANNED * singular[0]])


def _span(models: Floats) -> _Span:
    return _Span(*np.linalg.qr(models.T))


def _square(values: Floats) -> Floats:
    return np.asarray(np.square(values).sum(axis=-1))


def _commonality(r2: Floats, names: tuple[str, ...], subsets: Sequence[tuple[str, ...]]) -> Floats:
    """Inclusion and exclusion: what is explained with some groups but not without them."""
    position = {chosen: index for index, chosen in enumerate(subsets)}
    if len(names) > MAX_COMBINED:
        every = r2[..., -1:]
        others = [tuple(other for other in names if other != name) for name in names]
        alone = every - r2[..., [position[chosen] for chosen in others]]
        return np.concatenate([alone, every - alone.sum(axis=-1, keepdims=True)], axis=-1)
    parts = np.zeros_like(r2)
    for index, chosen in enumerate(subsets):
        for size in range(len(chosen) + 1):
            for added in combinations(chosen, size):
                together = tuple(n for n in names if n not in chosen or n in added)
                if together:
                    parts[..., index] -= (-1) ** size * r2[..., position[together]]
    return parts
