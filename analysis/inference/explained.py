"""What models explain beyond others, with intervals over new subjects and new stimuli."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.inference.findings import PartialScore, VariancePart
from conceptrsa.analysis.inference.random_effects import Levels, infer, mean_squares
from conceptrsa.analysis.inference.variance_partition import partial_rsa, partition_variance
from conceptrsa.analysis.rsa.correlations import number_of_stimuli
from conceptrsa.analysis.settings import RsaMetric

MIN_STIMULI = 6
"""Fewer leave too little of an RDM once a stimulus is left out."""

MAX_GROUPS = 50
"""Stimuli are left out one by one up to so many, in so many groups beyond."""

PARTIAL_METRICS: dict[RsaMetric, RsaMetric] = {
    "pearson": "pearson",
    "spearman": "spearman",
    "kendall-tau-a": "spearman",
    "rho-a": "spearman",
    "cosine": "pearson",
    "whitened-cosine": "pearson",
}
"""Correlation that stands for each comparison where others are partialled out."""


def variance_parts(
    regions: Mapping[str, NDArray[np.float64]],
    models: NDArray[np.float64],
    groups: Sequence[str],
) -> tuple[VariancePart, ...]:
    """Partition the variance of every region's RDMs among the groups of models.

    Parameters
    ----------
    regions : mapping of str to ndarray, (folds, subjects, pairs)
    models : ndarray, (models, pairs)
    groups : sequence of str
        Each model's group.

    Returns
    -------
    tuple of VariancePart
        Empty where there is one group, or where there are fewer than 6 stimuli.
    """
    names = tuple(dict.fromkeys(groups))
    subsets = [chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size)]
    if len(names) < 2:
        return ()

    def statistic(rdms: NDArray[np.float64], of_models: NDArray[np.float64]) -> _Values:
        found = partition_variance(rdms, of_models, groups)
        singles = found.r2[..., : len(names)]
        return np.concatenate([singles, found.r2[..., -1:], found.parts], axis=-1)

    labels = [
        *(f"explained by {name}" for name in names),
        "explained by all",
        *(
            f"only by {chosen[0]}" if len(chosen) == 1 else f"shared by {' and '.join(chosen)}"
            for chosen in subsets
        ),
    ]
    return tuple(
        VariancePart(roi, label, *row)
        for roi, rows in _jackknifed(statistic, regions, models).items()
        for label, row in zip(labels, rows, strict=True)
    )


def partial_scores(
    regions: Mapping[str, NDArray[np.float64]],
    models: NDArray[np.float64],
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

    def statistic(rdms: NDArray[np.float64], of_models: NDArray[np.float64]) -> _Values:
        found = partial_rsa(rdms, of_models, groups, PARTIAL_METRICS[metric])
        every = np.concatenate([found.given_group, found.given_others[..., None]], axis=-1)
        return every.reshape(*every.shape[:-2], -1)

    given = [*group_names, "all others"]
    return tuple(
        PartialScore(roi, model, group, other, PARTIAL_METRICS[metric], *row)
        for roi, rows in _jackknifed(statistic, regions, models).items()
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


_Values = NDArray[np.float64]
_Statistic = Callable[[_Values, _Values], _Values]


def _jackknifed(
    statistic: _Statistic, regions: Mapping[str, _Values], models: _Values
) -> dict[str, list[tuple[float, float, float]]]:
    """Estimate and 95 % interval of every value of a statistic, by region.

    The statistic gives values (..., subjects, values) of RDMs (..., subjects, pairs). Leaving out
    one stimulus at a time (one of 50 groups of stimuli, if there are more) gives pseudo-values
    (Tukey, 1958), whose variance over subjects and stimuli is that of the mean.
    """
    n_stimuli = number_of_stimuli(models.shape[-1])
    if n_stimuli < MIN_STIMULI:
        return {}
    brain = np.stack(list(regions.values()))
    whole = statistic(brain, models).mean(axis=1)
    first, second = np.triu_indices(n_stimuli, k=1)
    n_groups = min(n_stimuli, MAX_GROUPS)
    group = np.arange(n_stimuli) % n_groups
    without = np.stack(
        [
            statistic(brain[..., kept], models[:, kept]).mean(axis=1)
            for left_out in range(n_groups)
            for kept in [(group[first] != left_out) & (group[second] != left_out)]
        ]
    )
    pseudo = n_groups * whole - (n_groups - 1) * without
    return {roi: _estimates(whole[r], pseudo[:, r]) for r, roi in enumerate(regions)}


def _estimates(whole: _Values, pseudo: _Values) -> list[tuple[float, float, float]]:
    """Of values (subjects, values) and pseudo-values (stimuli, subjects, values)."""
    present = np.isfinite(whole).any(axis=1)
    means = whole[present].mean(axis=0) if present.any() else np.full(whole.shape[1], np.nan)
    half_width = np.full_like(means, np.nan)
    # A value that is not there for anybody, as of a model given its own group, has no interval.
    there = np.isfinite(means) & np.isfinite(pseudo[:, present]).all(axis=(0, 1))
    if present.sum() > 1 and there.any():
        values = pseudo[:, present][..., there].transpose(2, 1, 0)
        found = infer(mean_squares(values, (Levels(), Levels())), np.eye(len(values)))
        half_width[there] = (found.upper - found.lower) / 2
    return [
        (float(mean), float(mean - half), float(mean + half))
        for mean, half in zip(means, half_width, strict=True)
    ]
