"""Intervals and tests of one region's scores for new subjects and new stimuli."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from conceptrsa.analysis.arrays import Booleans, Floats, Integers
from conceptrsa.analysis.inference.findings import CeilingName
from conceptrsa.analysis.inference.influence import pair_influence
from conceptrsa.analysis.inference.own_stimuli import (
    SharedInfluence,
    errors_of_own,
    mean_squares_of_own,
)
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
from conceptrsa.analysis.rsa.correlations import number_of_stimuli
from conceptrsa.analysis.rsa.noise_ceiling import noise_ceiling
from conceptrsa.analysis.settings import RsaMetric

OVER_SUBJECTS: tuple[CeilingName, ...] = ("pairwise", "lower", "upper")
"""Noise ceilings that compare subjects."""

MIN_SUBJECTS_OF_CEILING = 3
"""Two subjects have one ceiling, which cannot vary over subjects."""

INFLUENCES_AT_ONCE = 64_000_000
"""Bytes of influences that are computed at a time, next to those that are kept."""

HALF_CEILING = "scores use all runs, but the noise ceiling uses half of them, which is lower"

SMALLEST_ERROR = 1e-6
"""Standard errors that are no larger come from rounding."""


@dataclass(frozen=True)
class CeilingEstimates:
    """Noise ceilings with intervals over new subjects and stimuli.

    Attributes
    ----------
    names : tuple of {'pairwise', 'lower', 'upper', 'split-half'}
        The pairwise ceiling, the mean similarity of two subjects' RDMs, and the lower and upper
        bound of Nili et al. (2014) for as many subjects as there are; or where subjects share too
        few stimuli, the similarity of a subject's RDMs of two halves of the runs.
    estimate, lower, upper : ndarray, (ceilings,)
        Means over folds and subjects, and the ends of their intervals (NaN where unknown).
    p : float
        Two-sided, of the first ceiling against zero.
    """

    names: tuple[CeilingName, ...]
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
        Standard errors of these, over new subjects with the same stimuli (or where subjects have
        stimuli of their own, with new ones), and over new stimuli with the same subjects.
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


@dataclass(frozen=True)
class OwnScores:
    """Scores of subjects on stimuli of their own.

    Attributes
    ----------
    rsa : ndarray, (subjects, models)
    counts : ndarray of int, (subjects, subjects)
        Stimuli that two subjects share; on the diagonal, those of each.
    """

    rsa: Floats
    counts: Integers

    def of_subjects(self, rows: Booleans) -> "OwnScores":
        """Give some of the subjects."""
        return OwnScores(self.rsa[rows], self.counts[np.ix_(rows, rows)])


def generalise(
    brain: Floats,
    models: Floats,
    groups: Sequence[str],
    metric: RsaMetric,
    own: OwnScores | None = None,
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
    own : OwnScores, optional
        Scores on more stimuli than the RDMs hold, some of which may be each subject's own.
    """
    present = np.asarray(np.isfinite(brain).all(axis=(0, 2)))
    brain = brain[:, present]
    if brain.shape[1] < 2:
        raise ValueError("inference over subjects needs two subjects with RDMs")
    compact, stimuli = compact_pairs(_influences(brain, models, metric))
    n_scores = len(models) * brain.shape[1]
    scores = compact[:n_scores].reshape(len(models), brain.shape[1], -1)
    agreement = compact[n_scores:]
    if own is None:
        squares = mean_squares(scores, (levels, stimuli))
        errors = errors_by_factor(squares, np.eye(len(models)))
    else:
        own = own.of_subjects(present)
        some = range(number_of_stimuli(models.shape[-1]))
        everyone = tuple(range(brain.shape[1]))
        shared = [SharedInfluence(everyone, scores, some, stimuli)]
        single = [
            SharedInfluence((subject,), scores[:, [subject]], some, stimuli) for subject in everyone
        ]
        squares = mean_squares_of_own(own.rsa.T, own.counts, shared)
        errors = errors_of_own(squares, own.counts, single)
    with_ceiling = _with_pairwise_ceiling(scores, agreement, stimuli)
    return _generalisation(
        squares,
        errors,
        groups,
        ceilings=_ceilings(brain, metric, with_ceiling),
        normalised=_normalised(with_ceiling, len(models)),
    )


@dataclass(frozen=True)
class SingleSubject:
    """One subject in one region, on stimuli of its own or some of them.

    Attributes
    ----------
    brain : ndarray, (folds, pairs)
    models : ndarray, (models, pairs)
    stimuli : tuple of str
    halves : ndarray, (folds, 2, pairs), or None
        RDMs of the odd and of the even runs.
    """

    brain: Floats
    models: Floats
    stimuli: tuple[str, ...]
    halves: Floats | None = None

    def influence(self, metric: RsaMetric) -> Floats:
        """Influences of pairs on the scores, and then on the ceiling where there are halves."""
        scores = np.zeros_like(self.models)
        for rdm in self.brain:
            scores += pair_influence(self.models, rdm[None], metric)[:, 0] / len(self.brain)
        if self.halves is None:
            return scores
        agreement = np.zeros(self.models.shape[-1])
        for odd, even in self.halves:
            agreement += pair_influence(odd[None], even[None], metric)[0, 0] / len(self.halves)
        return np.concatenate([scores, agreement[None]])


def generalise_apart(
    region: "OwnRegion", groups: Sequence[str], metric: RsaMetric
) -> Generalisation:
    """Estimate scores and differences where subjects share too few stimuli for a noise ceiling.

    Of a single subject, over new stimuli only.

    Parameters
    ----------
    region : OwnRegion
        Of subjects with RDMs.
    groups : sequence of str
    metric : str
    """
    own, subjects, shared = region.scores, region.single, region.shared
    scores, ceilings = own.rsa.T, region.ceilings
    with_ceiling = ceilings is not None and bool(np.isfinite(ceilings).all())
    if ceilings is not None and with_ceiling:
        scores = np.concatenate([scores, ceilings[None]])

    def influence(places: tuple[int, ...], data: Sequence[SingleSubject]) -> SharedInfluence:
        # Some subjects may have halves where others, and so the study, have no ceiling.
        values = np.stack([one.influence(metric)[: len(scores)] for one in data], axis=1)
        compact, stimuli = compact_pairs(values.reshape(-1, values.shape[-1]))
        compact = compact.reshape(*values.shape[:2], -1)
        return SharedInfluence(places, compact, data[0].stimuli, stimuli)

    single = [influence((place,), [subject]) for place, subject in enumerate(subjects)]
    of_sets = [influence(places, data) for places, data in shared.items()]
    squares = mean_squares_of_own(scores, own.counts, of_sets if len(subjects) > 1 else single)
    errors = errors_of_own(squares, own.counts, single)
    n_models = own.rsa.shape[1]
    nothing = np.full(n_models, np.nan)
    if not with_ceiling:
        reason = (
            "there is no noise ceiling: no other subject saw the same stimuli, and there are no "
            "RDMs of odd and even runs"
            if len(subjects) == 1
            else "there is no noise ceiling: subjects share too few stimuli, and there are no RDMs "
            "of odd and even runs of all of them"
        )
        return _generalisation(
            squares,
            errors,
            groups,
            CeilingEstimates((), np.empty(0), np.empty(0), np.empty(0), np.nan),
            Ratios(nothing, nothing, nothing, reason),
        )
    found = infer(squares, np.eye(n_models + 1)[-1:])
    ceiling = CeilingEstimates(
        ("split-half",), found.estimate, found.lower, found.upper, float(found.p[0])
    )
    of_models = MeanSquares(
        squares.estimates[:-1],
        tuple(part._replace(products=part.products[:-1, :-1]) for part in squares.parts),
    )
    normalised = ratios_to_last(squares)
    if region.of_all_runs:
        normalised = Ratios(nothing, nothing, nothing, HALF_CEILING)
    return _generalisation(of_models, errors[:, :-1], groups, ceiling, normalised)


def _generalisation(
    squares: MeanSquares,
    errors: Floats,
    groups: Sequence[str],
    ceilings: CeilingEstimates,
    normalised: Ratios,
) -> Generalisation:
    n_models = len(squares.estimates)
    membership = np.asarray(groups)
    group_pairs = [
        compare_groups(squares, [np.flatnonzero(membership == group) for group in pair])
        for pair in combinations(dict.fromkeys(groups), 2)
    ]
    first, second = np.triu_indices(n_models, k=1)
    unit = np.eye(n_models)
    return Generalisation(
        models=_tested(infer(squares, unit)),
        errors=errors,
        model_pairs=_tested(infer(squares, unit[first] - unit[second])),
        group_pairs=Estimates(*np.concatenate([np.empty((5, 0)), *group_pairs], axis=1)),
        ceilings=ceilings,
        normalised=normalised,
    )


def bytes_to_generalise(n_subjects: int, models: Floats) -> int:
    """Roughly what `generalise` takes of the memory: its influences, twice their part at once."""
    n_influences: int = (len(models) + n_subjects) * n_subjects * models.shape[-1]
    return 8 * n_influences + 2 * INFLUENCES_AT_ONCE


def _tested(estimates: Estimates) -> Estimates:
    """Take away the p of what varies by rounding alone, as models that are the same do."""
    varies = estimates.standard_error > SMALLEST_ERROR
    return estimates._replace(p=np.where(varies, estimates.p, np.nan))


def compare_groups(squares: MeanSquares, groups: Sequence[Integers]) -> Estimates:
    """Difference in mean score between two groups, over new subjects, stimuli and models.

    Parameters
    ----------
    squares : MeanSquares
        Of the models' scores. A model with a NaN is no member of its group.
    groups : two ndarrays of int
        Models of the first and of the second group.

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
    usable = np.isfinite(squares.estimates)
    first, second = (group[usable[group]] for group in groups)
    if min(len(first), len(second)) == 0 or max(len(first), len(second)) == 1:
        return Estimates(*(np.full(1, np.nan) for _ in range(5)))
    return infer(difference_of_groups(squares, first, second), np.ones((1, 1)))


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
        return CeilingEstimates(OVER_SUBJECTS, estimate, nothing, nothing, np.nan)
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

    ends = moved(found.lower), moved(found.upper)
    return CeilingEstimates(OVER_SUBJECTS, estimate, *ends, float(found.p[0]))


def _normalised(with_ceiling: MeanSquares | None, n_models: int) -> Ratios:
    if with_ceiling is None:
        nothing = np.full(n_models, np.nan)
        reason = "two subjects give one noise ceiling, whose uncertainty over subjects is unknown"
        return Ratios(nothing, nothing, nothing, reason)
    return ratios_to_last(with_ceiling)


@dataclass(frozen=True)
class OwnRegion:
    """One region on each subject's own stimuli.

    Attributes
    ----------
    scores : OwnScores
    ceilings : ndarray, (subjects,), or None
        Split-half ceilings; None where subjects are compared on common stimuli, or have no halves.
    single : tuple of SingleSubject
        Each subject on its own stimuli, or 1000 of them; empty where there are common stimuli.
    shared : mapping of tuple of int to tuple of SingleSubject
        Subjects, by their places, on stimuli that they share; empty likewise.
    of_all_runs : bool
        Whether scores are of all runs, of which split-half ceilings are not.
    """

    scores: OwnScores
    ceilings: Floats | None = None
    single: tuple[SingleSubject, ...] = ()
    shared: Mapping[tuple[int, ...], tuple[SingleSubject, ...]] = field(default_factory=dict)
    of_all_runs: bool = False

    def of_subjects(self, rows: Booleans) -> "OwnRegion":
        """Give some of the subjects."""
        places = {int(old): new for new, old in enumerate(np.flatnonzero(rows))}
        shared = {}
        for subjects, data in self.shared.items():
            kept = [at for at, subject in enumerate(subjects) if subject in places]
            if len(kept) > 1:
                here = tuple(places[subjects[at]] for at in kept)
                shared[here] = tuple(data[at] for at in kept)
        single = [one for one, is_there in zip(self.single, rows, strict=True) if is_there]
        ceilings = None if self.ceilings is None else self.ceilings[rows]
        own = self.scores.of_subjects(rows)
        return OwnRegion(own, ceilings, tuple(single), shared, self.of_all_runs)


@dataclass(frozen=True)
class ScoredRegion:
    """One region of the primary analysis; a subject without an RDM in a fold has none in any.

    Attributes
    ----------
    rdms : ndarray, (folds, subjects, pairs)
        Of common stimuli; without pairs if there are none.
    rsa : ndarray, (subjects, models)
    ceiling_p : float
        Of the noise ceiling, by permutation.
    own : OwnRegion or None
        Where scores are of other stimuli than the RDMs.
    """

    rdms: Floats
    rsa: Floats
    ceiling_p: float
    own: OwnRegion | None = None

    @property
    def is_apart(self) -> bool:
        """Whether each subject is analysed for itself."""
        return self.own is not None and bool(self.own.single)

    @property
    def complete(self) -> Booleans:
        """Which subjects have an RDM in every fold, (subjects,)."""
        if self.is_apart:
            return np.asarray(np.isfinite(self.rsa).any(axis=1))
        return np.asarray(np.isfinite(self.rdms).all(axis=(0, 2)))

    @property
    def is_enough(self) -> bool:
        """Whether results generalise to new subjects, or to new stimuli of the only subject."""
        n_complete = int(self.complete.sum())
        return n_complete >= 2 or (self.is_apart and n_complete == len(self.rsa) == 1)
