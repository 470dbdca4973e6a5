"""What one region's scores say about new subjects and new stimuli: intervals and tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.inference.influence import pair_influence
from conceptrsa.analysis.inference.random_effects import (
    Estimates,
    Factor,
    MeanSquares,
    Ratios,
    compact_pairs,
    difference_of_groups,
    errors_by_factor,
    infer,
    levels,
    mean_squares,
    pairs,
    ratios_to_last,
)
from conceptrsa.analysis.rsa.noise_ceiling import noise_ceiling
from conceptrsa.analysis.settings import RsaMetric

MIN_SUBJECTS_OF_CEILING = 3
"""Two subjects have one ceiling, which cannot vary over subjects."""

INFLUENCES_AT_ONCE = 64_000_000
"""Bytes of influences that are computed at a time, next to those that are kept."""

SMALLEST_ERROR = 1e-6
"""Standard errors that are no larger come from rounding."""


@dataclass(frozen=True)
class CeilingEstimates:
    """Noise ceilings with intervals over new subjects and stimuli.

    Attributes
    ----------
    estimate, lower, upper : ndarray, (3,)
        Means over folds and subjects, and the ends of their intervals (NaN where unknown): of the
        pairwise ceiling, the mean similarity of two subjects' RDMs; and of the lower and upper
        bound of Nili et al. (2014), for as many subjects as there are.
    p : float
        Two-sided, of the pairwise ceiling against zero.
    """

    estimate: Floats
    lower: Floats
    upper: Floats
    p: float


@dataclass(frozen=True)
class Generalisation:
    """Inference about one region over new subjects and new stimuli.

    Attributes
    ----------
    models : Estimates
        Mean score of each model.
    errors : ndarray, (2, models)
        Standard errors of these, over new subjects with the same stimuli, and over new stimuli with
        the same subjects.
    model_pairs : Estimates
        Differences of each two models (first less second), in the order of
        `itertools.combinations`.
    group_pairs : Estimates
        Differences of the mean scores of each two groups, over new models, too.
    ceilings : CeilingEstimates
    normalised : Ratios
        Mean score of each model divided by the mean pairwise ceiling.
    """

    models: Estimates
    errors: Floats
    model_pairs: Estimates
    group_pairs: Estimates
    ceilings: CeilingEstimates
    normalised: Ratios


def generalise(
    brain: Floats, models: Floats, groups: Sequence[str], metric: RsaMetric
) -> Generalisation:
    """Estimate scores, differences and ceilings with intervals over new subjects and stimuli.

    Parameters
    ----------
    brain : ndarray, (folds, subjects, pairs)
        RDMs of the region. Subjects with a NaN in any fold are left out.
    models : ndarray, (models, pairs)
        A model with a NaN gets NaN, as do its differences, and is no member of its group.
    groups : sequence of str
        Each model's group; pairs of groups are in the order in which groups first appear.
    metric : str
    """
    brain = brain[:, np.isfinite(brain).all(axis=(0, 2))]
    if brain.shape[1] < 2:
        raise ValueError("inference over subjects needs two of them with RDMs")
    compact, stimuli = compact_pairs(_influences(brain, models, metric))
    n_scores = len(models) * brain.shape[1]
    scores = compact[:n_scores].reshape(len(models), brain.shape[1], -1)
    agreement = compact[n_scores:]
    squares = mean_squares(scores, (levels, stimuli))
    membership = np.asarray(groups)
    group_pairs = [
        compare_groups(scores, [np.flatnonzero(membership == group) for group in pair], stimuli)
        for pair in combinations(dict.fromkeys(groups), 2)
    ]
    with_ceiling = _with_pairwise_ceiling(scores, agreement, stimuli)
    first, second = np.triu_indices(len(models), k=1)
    unit = np.eye(len(models))
    return Generalisation(
        models=_tested(infer(squares, unit)),
        errors=errors_by_factor(squares, unit),
        model_pairs=_tested(infer(squares, unit[first] - unit[second])),
        group_pairs=Estimates(*np.concatenate([np.empty((5, 0)), *group_pairs], axis=1)),
        ceilings=_ceilings(brain, metric, with_ceiling),
        normalised=_normalised(with_ceiling, len(models)),
    )


def bytes_to_generalise(brain: Floats, models: Floats) -> int:
    """Roughly what `generalise` takes of the memory: its influences, twice their part at once."""
    n_subjects = brain.shape[1]
    n_influences: int = (len(models) + n_subjects) * n_subjects * models.shape[-1]
    return 8 * n_influences + 2 * INFLUENCES_AT_ONCE


def _tested(estimates: Estimates) -> Estimates:
    """Take away the p of what varies by rounding alone, as models that are the same do."""
    varies = estimates.standard_error > SMALLEST_ERROR
    return estimates._replace(p=np.where(varies, estimates.p, np.nan))


def compare_groups(
    influence: Floats, groups: Sequence[Integers], stimuli: Factor = pairs
) -> Estimates:
    """Difference in mean score between two groups, over new subjects, stimuli and models.

    Parameters
    ----------
    influence : ndarray, (models, subjects, pairs)
        From `conceptrsa.analysis.inference.influence`, means over folds. A model with a NaN is no
        member of its group.
    groups : two ndarrays of int
        Models of the first and of the second group.
    stimuli : Factor
        That of the pairs of stimuli, or of their compact coordinates.

    Returns
    -------
    Estimates
        Of one element; NaN where either group has no model, or neither has two, because nothing
        is then known of how models differ.

    Notes
    -----
    The linear mixed model score ~ group + (1 | subject) + (1 | stimulus) + (1 | group:model) and
    all interactions, in a balanced design, by the method of moments: where no component is
    negative that is restricted maximum likelihood.
    """
    usable = np.isfinite(influence.sum(axis=(1, 2)))
    first, second = (group[usable[group]] for group in groups)
    if min(len(first), len(second)) == 0 or max(len(first), len(second)) == 1:
        return Estimates(*(np.full(1, np.nan) for _ in range(5)))
    factors = levels, stimuli, difference_of_groups(first, second)
    values = np.moveaxis(influence, 0, -1)[None]
    return infer(mean_squares(values, factors), np.ones((1, 1)))


def _influences(brain: Floats, models: Floats, metric: RsaMetric) -> Floats:
    """Influences of pairs of stimuli, means over folds, in one array.

    Returns
    -------
    ndarray, (models * subjects + pairs of subjects, pairs)
        On the scores of each model in each subject, then on the similarity of each two subjects.
    """
    _, n_subjects, n_pairs = brain.shape
    first, second = np.triu_indices(n_subjects, k=1)
    n_scores = len(models) * n_subjects
    influences = np.zeros((n_scores + len(first), n_pairs))
    for rdms in brain:
        influences[n_scores:] += pair_influence(rdms, rdms, metric)[first, second]
    scores = influences[:n_scores].reshape(len(models), n_subjects, n_pairs)
    at_once = max(1, INFLUENCES_AT_ONCE // (8 * n_subjects * n_pairs))
    for rdms in brain:
        for start in range(0, len(models), at_once):
            some = slice(start, start + at_once)
            scores[some] += pair_influence(models[some], rdms, metric)
    influences /= len(brain)
    return influences


def _with_pairwise_ceiling(
    scores: Floats, agreement: Floats, stimuli: Factor
) -> MeanSquares | None:
    """Scores and then the pairwise ceiling, both as means over pairs of subjects."""
    n_subjects = scores.shape[1]
    if n_subjects < MIN_SUBJECTS_OF_CEILING:
        return None
    first, second = np.triu_indices(n_subjects, k=1)
    of_pairs = (scores[:, first] + scores[:, second]) / 2
    return mean_squares(np.concatenate([of_pairs, agreement[None]]), (pairs, stimuli))


def _ceilings(
    brain: Floats, metric: RsaMetric, with_ceiling: MeanSquares | None
) -> CeilingEstimates:
    """All ceilings; Nili's bounds move with the pairwise ceiling.

    For n subjects whose RDMs, of length 1, have the mean correlation c, the upper bound is
    sqrt((1 + (n - 1) c) / n), and the lower bound c sqrt((n - 1) / (1 + (n - 2) c)) where all
    pairs of subjects correlate alike.
    """
    estimate = np.array([np.mean(values) for values in noise_ceiling(brain, metric)])
    if with_ceiling is None:
        nothing = np.full(3, np.nan)
        return CeilingEstimates(estimate, nothing, nothing, np.nan)
    last = np.eye(len(with_ceiling.estimates))[-1:]
    found = infer(with_ceiling, last)
    n = brain.shape[1]

    def moved(end: Floats) -> Floats:
        """Ends of all three intervals, from that of the pairwise ceiling."""
        there, here = bounds(end[0]), bounds(estimate[0])
        return np.array([end[0], *(estimate[1:] + there - here)])

    def bounds(c: float) -> Floats:
        lower = c * np.sqrt((n - 1) / np.maximum(1 + (n - 2) * c, 1e-12))
        upper = np.sqrt(np.maximum(1 + (n - 1) * c, 0.0) / n)
        return np.array([lower, upper])

    return CeilingEstimates(estimate, moved(found.lower), moved(found.upper), float(found.p[0]))


def _normalised(with_ceiling: MeanSquares | None, n_models: int) -> Ratios:
    if with_ceiling is None:
        nothing = np.full(n_models, np.nan)
        reason = "two subjects have one noise ceiling, whose uncertainty over subjects is unknown"
        return Ratios(nothing, nothing, nothing, reason)
    return ratios_to_last(with_ceiling)


@dataclass(frozen=True)
class ScoredRegion:
    """One region of the primary analysis; a subject without an RDM in a fold has none in any.

    Attributes
    ----------
    rdms : ndarray, (folds, subjects, pairs)
    rsa : ndarray, (subjects, models)
    ceiling_p : float
        Of the pairwise ceiling, by permutation.
    """

    rdms: Floats
    rsa: Floats
    ceiling_p: float

    @property
    def n_complete(self) -> int:
        """Subjects with an RDM in every fold."""
        return int(np.isfinite(self.rdms).all(axis=(0, 2)).sum())
