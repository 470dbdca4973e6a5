"""What one region's scores say about new subjects and new stimuli: intervals and tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import num_obs_y

from conceptrsa.analysis.inference.influence import pair_influence
from conceptrsa.analysis.inference.mixed_model import compare_groups
from conceptrsa.analysis.inference.random_effects import (
    Estimates,
    Levels,
    MeanSquares,
    Pairs,
    infer,
    mean_squares,
)
from conceptrsa.analysis.inference.ratio import Ratios, ratios_to_last
from conceptrsa.analysis.rsa.noise_ceiling import noise_ceiling
from conceptrsa.analysis.settings import RsaMetric

MIN_SUBJECTS_OF_CEILING = 3
"""Two subjects have one ceiling, which cannot vary over subjects."""


@dataclass(frozen=True)
class Bounds:
    """A noise ceiling with its interval.

    Attributes
    ----------
    estimate, lower, upper : float
        Mean over folds and subjects, and the ends of its interval; NaN where unknown.
    """

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class CeilingEstimates:
    """Noise ceilings with intervals over new subjects and stimuli.

    Attributes
    ----------
    pairwise : Bounds
        The mean similarity of two subjects' RDMs.
    nili_lower, nili_upper : Bounds
        Nili et al. (2014), for as many subjects as there are.
    p : float
        Two-sided, of the pairwise ceiling against zero.
    """

    pairwise: Bounds
    nili_lower: Bounds
    nili_upper: Bounds
    p: float


@dataclass(frozen=True)
class Generalisation:
    """Inference about one region over new subjects and new stimuli.

    Attributes
    ----------
    n_subjects, n_stimuli : int
        Subjects with a complete RDM in every fold, and stimuli.
    models : Estimates
        Mean score of each model.
    model_pairs : Estimates
        Differences of each two models (first less second), in the order of
        `itertools.combinations`.
    group_pairs : Estimates
        Differences of the mean scores of each two groups, over new models, too.
    ceilings : CeilingEstimates
    normalised : Ratios
        Mean score of each model divided by the mean pairwise ceiling.
    """

    n_subjects: int
    n_stimuli: int
    models: Estimates
    model_pairs: Estimates
    group_pairs: Estimates
    ceilings: CeilingEstimates
    normalised: Ratios


def generalise(
    brain: NDArray[np.float64],
    models: NDArray[np.float64],
    groups: Sequence[str],
    metric: RsaMetric,
    confidence: float = 0.95,
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
    confidence : float
        Coverage of the intervals.
    """
    brain = brain[:, np.isfinite(brain).all(axis=(0, 2))]
    n_subjects, n_stimuli = brain.shape[1], num_obs_y(models[0])
    if n_subjects < 2:
        raise ValueError("inference over subjects needs two of them with RDMs")
    scores = _mean_influence(brain, models, metric)
    squares = mean_squares(scores, (Levels(), Pairs(n_stimuli)))
    membership = np.asarray(groups)
    group_pairs = [
        compare_groups(
            scores,
            [np.flatnonzero(membership == group) for group in pair],
            n_stimuli,
            confidence,
        )
        for pair in combinations(dict.fromkeys(groups), 2)
    ]
    with_ceiling = _with_pairwise_ceiling(scores, brain, metric)
    return Generalisation(
        n_subjects=n_subjects,
        n_stimuli=n_stimuli,
        models=infer(squares, np.eye(len(models)), confidence),
        model_pairs=infer(squares, _differences(len(models)), confidence),
        group_pairs=_joined(group_pairs),
        ceilings=_ceilings(brain, metric, with_ceiling, confidence),
        normalised=_normalised(with_ceiling, len(models), confidence),
    )


def _mean_influence(
    brain: NDArray[np.float64], models: NDArray[np.float64], metric: RsaMetric
) -> NDArray[np.float64]:
    """Influences (models, subjects, pairs), means over folds."""
    total = np.zeros((len(models), *brain.shape[1:]))
    for rdms in brain:
        total += pair_influence(models, rdms, metric)
    return np.asarray(total / len(brain))


def _with_pairwise_ceiling(
    scores: NDArray[np.float64], brain: NDArray[np.float64], metric: RsaMetric
) -> MeanSquares | None:
    """Scores and then the pairwise ceiling, both as means over pairs of subjects."""
    n_subjects = brain.shape[1]
    if n_subjects < MIN_SUBJECTS_OF_CEILING:
        return None
    first, second = np.triu_indices(n_subjects, k=1)
    agreement = np.zeros((len(first), brain.shape[-1]))
    for rdms in brain:
        agreement += pair_influence(rdms, rdms, metric)[first, second] / len(brain)
    of_pairs = (scores[:, first] + scores[:, second]) / 2
    factors = Pairs(n_subjects), Pairs(num_obs_y(brain[0, 0]))
    return mean_squares(np.concatenate([of_pairs, agreement[None]]), factors)


def _ceilings(
    brain: NDArray[np.float64],
    metric: RsaMetric,
    with_ceiling: MeanSquares | None,
    confidence: float,
) -> CeilingEstimates:
    """All ceilings; Nili's bounds move with the pairwise ceiling.

    For n subjects whose RDMs, of length 1, have the mean correlation c, the upper bound is
    sqrt((1 + (n - 1) c) / n), and the lower bound c sqrt((n - 1) / (1 + (n - 2) c)) where all
    pairs of subjects correlate alike.
    """
    ceilings = noise_ceiling(brain, metric)
    pairwise, lower, upper = (
        float(np.mean(values)) for values in (ceilings.pairwise, ceilings.lower, ceilings.upper)
    )
    if with_ceiling is None:
        return CeilingEstimates(
            pairwise=Bounds(pairwise, np.nan, np.nan),
            nili_lower=Bounds(lower, np.nan, np.nan),
            nili_upper=Bounds(upper, np.nan, np.nan),
            p=np.nan,
        )
    last = np.eye(len(with_ceiling.estimates))[-1:]
    found = infer(with_ceiling, last, confidence)
    interval = np.array([found.lower[0], found.upper[0]])
    n = brain.shape[1]

    def nili_lower(c: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(c * np.sqrt((n - 1) / np.maximum(1 + (n - 2) * c, 1e-12)))

    def nili_upper(c: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.sqrt(np.maximum(1 + (n - 1) * c, 0.0) / n))

    centre = np.array(pairwise)
    lower_ends = lower + nili_lower(interval) - nili_lower(centre)
    upper_ends = upper + nili_upper(interval) - nili_upper(centre)
    return CeilingEstimates(
        pairwise=Bounds(pairwise, *map(float, interval)),
        nili_lower=Bounds(lower, *map(float, lower_ends)),
        nili_upper=Bounds(upper, *map(float, upper_ends)),
        p=float(found.p[0]),
    )


def _normalised(with_ceiling: MeanSquares | None, n_models: int, confidence: float) -> Ratios:
    if with_ceiling is None:
        nothing = np.full(n_models, np.nan)
        reason = "two subjects have one noise ceiling, whose uncertainty over subjects is unknown"
        return Ratios(nothing, nothing, nothing, reason)
    return ratios_to_last(with_ceiling, confidence)


def _differences(n: int) -> NDArray[np.float64]:
    """Contrasts (pairs, n) of each two of n."""
    first, second = np.triu_indices(n, k=1)
    unit = np.eye(n)
    return np.asarray(unit[first] - unit[second])


def _joined(estimates: Sequence[Estimates]) -> Estimates:
    names = ("estimate", "standard_error", "lower", "upper", "p")
    return Estimates(
        *(
            np.concatenate([getattr(each, name) for each in estimates])
            if estimates
            else np.empty(0)
            for name in names
        )
    )


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

    rdms: NDArray[np.float64]
    rsa: NDArray[np.float64]
    ceiling_p: float

    @property
    def n_complete(self) -> int:
        """Subjects with an RDM in every fold."""
        return int(np.isfinite(self.rdms).all(axis=(0, 2)).sum())
