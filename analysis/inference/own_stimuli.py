"""The variance of mean scores where each subject saw stimuli of its own, some of them shared.

Scores of two subjects vary together only by the stimuli that both saw. So the variance of their
mean is that of independent scores, which is known from how they differ between subjects, plus the
mean covariance of two subjects, which the shared stimuli tell. Where all stimuli are shared this is
the crossed design of `conceptrsa.analysis.inference.random_effects`; where none is, the t-test.

Variances are components of single stimuli and single pairs, which some of the stimuli tell as well
as all: where there are thousands, they are found on a part of them.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.inference.random_effects import (
    SMALLEST_SHARE_OF_PAIRS,
    Factor,
    MeanSquares,
    Part,
    infer,
    levels,
    mean_squares,
    one_level,
)

SUBJECTS, STIMULI = 0, 1
OF_STIMULI, OF_PAIRS = (STIMULI, 0), (STIMULI, 1)
"""Strata of the stimuli: what a stimulus does to all its pairs, and what is particular to pairs."""


@dataclass(frozen=True)
class SharedInfluence:
    """Contribution of shared stimuli to the scores of the subjects that share them.

    Attributes
    ----------
    subjects : tuple of int
        Places of the subjects among all.
    values : ndarray, (statistics, subjects, units)
        Influences of pairs of stimuli, or their compact coordinates.
    stimuli : collection
        Names of the stimuli, or their places among all.
    factor : Factor
        Splits the units.
    """

    subjects: tuple[int, ...]
    values: Floats
    stimuli: Collection[Hashable]
    factor: Factor

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        return len(self.stimuli)

    def mean_squares(self) -> MeanSquares:
        """Analyse the variance over these subjects, or in the only one, and stimuli."""
        over_subjects = levels if len(self.subjects) > 1 else one_level
        return mean_squares(self.values, (over_subjects, self.factor))


def mean_squares_of_own(
    scores: Floats, counts: Integers, shared: Sequence[SharedInfluence]
) -> MeanSquares:
    """Mean squares of scores over subjects with stimuli of their own.

    Parameters
    ----------
    scores : ndarray, (statistics, subjects)
        Each subject's, from all of its stimuli.
    counts : ndarray of int, (subjects, subjects)
        Stimuli that two subjects share; on the diagonal, those of each.
    shared : sequence of SharedInfluence
        Of stimuli, or some of them, that two or more subjects share, each two subjects once; of a
        single subject, its own.

    Returns
    -------
    MeanSquares
        As of a crossed design, for `conceptrsa.analysis.inference.random_effects.infer`.

    Notes
    -----
    For scores with components a of stimuli and b of pairs, two subjects s and t that share m
    stimuli have the covariance 4 m a / (n_s n_t) + 2 m (m - 1) b / (n_s (n_s - 1) n_t (n_t - 1)).
    """
    n_subjects = len(counts)
    parts: list[Part] = []
    if n_subjects > 1:
        over_subjects = mean_squares(scores, (levels,))
        parts += over_subjects.parts
    merged: dict[tuple[tuple[int, int], ...], list[Part]] = {}
    for one in shared:
        pairs_of_subjects = [(s, t) for s in one.subjects for t in one.subjects if s != t]
        share = len(pairs_of_subjects) / max(n_subjects * (n_subjects - 1), 1)
        if n_subjects == 1:
            pairs_of_subjects, share = [(0, 0)], 1.0
        per_stimulus, per_pair = np.mean(
            [_weights(counts, s, t) for s, t in pairs_of_subjects], axis=0
        )
        for part in _resized(one.mean_squares(), one.n_stimuli, per_stimulus, per_pair):
            merged.setdefault(part.strata, []).append(part._replace(weight=share * part.weight))
    means = {strata: _mean_part(of_sets) for strata, of_sets in merged.items()}
    if len(shared) > 1:
        components = _components(means)
        for strata, of_sets in merged.items():
            df = _df_of_mean(of_sets, shared, components)
            means[strata] = means[strata]._replace(df=df)
    parts += means.values()
    return MeanSquares(np.asarray(scores.mean(axis=1)), tuple(parts))


def errors_of_own(
    squares: MeanSquares, counts: Integers, single: Sequence[SharedInfluence]
) -> Floats:
    """Standard errors of mean scores over new subjects and over new stimuli, (2, statistics).

    Parameters
    ----------
    squares : MeanSquares
        From `mean_squares_of_own`.
    counts : ndarray of int, (subjects, subjects)
    single : sequence of SharedInfluence
        Of each subject's own stimuli, or some of them.
    """
    n_subjects = len(counts)
    if n_subjects == 1:
        only = infer(squares, np.eye(len(squares.estimates))).standard_error
        return np.stack([np.full_like(only, np.nan), only])
    over_stimuli = np.zeros(len(squares.estimates))
    subtracted = np.zeros_like(over_stimuli)
    for subject, one in enumerate(single):
        weights = _weights(counts, subject, subject)
        for part in _resized(one.mean_squares(), one.n_stimuli, *weights):
            variances = part.weight * np.diagonal(part.products) / n_subjects**2
            over_stimuli += variances
            subtracted += part.share * np.maximum(-variances, 0.0)
    over_subjects = np.full(len(squares.estimates), np.nan)
    for part in squares.parts:
        variances = part.weight * np.diagonal(part.products)
        if part.strata == ((SUBJECTS, 0),):
            over_subjects = variances
        else:
            sign = 1 if len(part.strata) == 1 else -1
            over_stimuli += sign * variances * (n_subjects - 1) / n_subjects
    # As in `infer`, at least half of what is particular to pairs.
    over_stimuli = np.maximum(over_stimuli, SMALLEST_SHARE_OF_PAIRS * subtracted)
    return np.asarray(np.sqrt(np.stack([over_subjects, over_stimuli])))


def _weights(counts: Integers, one: int, other: int) -> tuple[float, float]:
    """Weights of the components of stimuli and pairs in the covariance of two subjects."""
    n, m = float(counts[one, one]), float(counts[other, other])
    shared = float(counts[one, other])
    return 4 * shared / (n * m), 2 * shared * (shared - 1) / (n * (n - 1) * m * (m - 1))


def _resized(
    squares: MeanSquares, n_stimuli: int, per_stimulus: float, per_pair: float
) -> list[Part]:
    """Parts that hold stimuli, weighed for another number of stimuli than they were found on.

    The mean squares of stimuli and of pairs have the expectations b + (n - 2) a and b.
    """
    of_stimuli = per_stimulus / (n_stimuli - 2)
    of_pairs = per_pair - of_stimuli
    weights = {OF_STIMULI: of_stimuli, OF_PAIRS: of_pairs}
    shares = {OF_STIMULI: 1.0, OF_PAIRS: per_pair / max(-of_pairs, per_pair) if per_pair else 0.0}
    resized = []
    for part in squares.parts:
        stratum = part.strata[-1]
        if stratum[0] != STIMULI:
            continue
        over_subjects = part.weight / _weight_of(stratum, n_stimuli)
        weight = over_subjects * weights[stratum]
        resized.append(part._replace(weight=weight, share=shares[stratum]))
    return resized


def _weight_of(stratum: tuple[int, int], n_stimuli: int) -> float:
    """Weight of a stratum in the variance of a mean over all pairs of so many stimuli."""
    if stratum == OF_STIMULI:
        return 4 / (n_stimuli * (n_stimuli - 2))
    return -2 / ((n_stimuli - 1) * (n_stimuli - 2))


def _mean_part(parts: Sequence[Part]) -> Part:
    """One part of several sets of shared stimuli."""
    weight = sum(part.weight for part in parts)
    if len(parts) == 1 or weight == 0:
        return parts[0]
    products = sum(part.weight * part.products for part in parts) / weight
    return parts[0]._replace(weight=weight, products=np.asarray(products))


class _Components(NamedTuple):
    """Terms of the mean squares of two subjects, in units of the mean square of pairs.

    Attributes
    ----------
    stimuli, pairs : float
        The same in both subjects.
    own_stimuli, own_pairs : float
        Of each subject alone.
    """

    stimuli: float
    own_stimuli: float
    pairs: float
    own_pairs: float

    def in_means(self, both: int, n_subjects: int, m_subjects: int, overlap: float) -> float:
        """Covariance of what a stimulus does to the means of two sets of subjects."""
        own = both / (n_subjects * m_subjects)
        of_stimuli = self.stimuli + own * self.own_stimuli
        return of_stimuli + overlap * self.pairs_in_means(both, n_subjects, m_subjects)

    def pairs_in_means(self, both: int, n_subjects: int, m_subjects: int) -> float:
        """Covariance of what is particular to a pair of stimuli, of the same means."""
        return self.pairs + both / (n_subjects * m_subjects) * self.own_pairs


def _components(means: Mapping[tuple[tuple[int, int], ...], Part]) -> _Components:
    """Components of the mean squares of two subjects, in the sum over statistics."""

    def square(*strata: tuple[int, int]) -> float:
        return float(np.nansum(np.diagonal(means[strata].products))) if strata in means else 0.0

    own_pairs = square((SUBJECTS, 0), OF_PAIRS)
    own_stimuli = max(square((SUBJECTS, 0), OF_STIMULI) - own_pairs, 0.0)
    pairs = max(square(OF_PAIRS) - own_pairs / 2, 0.0)
    stimuli = max(square(OF_STIMULI) - own_stimuli / 2 - pairs - own_pairs / 2, 0.0)
    return _Components(stimuli, own_stimuli, pairs, own_pairs)


def _df_of_mean(
    parts: Sequence[Part], shared: Sequence[SharedInfluence], components: _Components
) -> int:
    """Degrees of freedom of the mean of one part over sets that overlap.

    By Satterthwaite's formula they are 1 / sum of w_k w_l c_kl, for weights w and covariances c of
    two mean squares, as a share of twice the product of their expectations.
    """
    weights = np.array([part.weight for part in parts])
    if not weights.any():
        return parts[0].df
    weights /= weights.sum()
    strata = parts[0].strata
    alike = [[_covariance(strata, one, other, components) for one in shared] for other in shared]
    return max(int(1 / (weights @ np.array(alike) @ weights) + 1e-6), 1)


def _covariance(
    strata: tuple[tuple[int, int], ...],
    one: SharedInfluence,
    other: SharedInfluence,
    components: _Components,
) -> float:
    """Covariance of a mean square of two sets, as a share of twice their expectations' product."""
    n, m = one.n_stimuli, other.n_stimuli
    n_subjects, m_subjects = len(one.subjects), len(other.subjects)
    shared = len(set(one.stimuli) & set(other.stimuli))
    both = len(set(one.subjects) & set(other.subjects))
    overlap = shared / np.sqrt(n * m)
    of_stimuli = strata[-1] == OF_STIMULI

    def covariance(both: int, n_subjects: int, m_subjects: int, overlap: float) -> float:
        if len(strata) > 1:
            return of_stimuli * components.own_stimuli + overlap * components.own_pairs
        if of_stimuli:
            return components.in_means(both, n_subjects, m_subjects, overlap)
        return components.pairs_in_means(both, n_subjects, m_subjects)

    of_one = covariance(n_subjects, n_subjects, n_subjects, 1.0)
    of_other = covariance(m_subjects, m_subjects, m_subjects, 1.0)
    of_both = covariance(both, n_subjects, m_subjects, overlap if of_stimuli else 1.0)
    correlation = of_both**2 / (of_one * of_other) if of_one * of_other > 0 else 1.0
    if of_stimuli:
        correlation *= _trace(shared, n, m) / ((n - 1) * (m - 1))
    else:
        correlation *= _df_of_pairs(shared) / (_df_of_pairs(n) * _df_of_pairs(m))
    if len(strata) > 1:
        correlation *= _trace(both, n_subjects, m_subjects) / ((n_subjects - 1) * (m_subjects - 1))
    return correlation


def _trace(shared: int, n: int, m: int) -> float:
    """Trace of the product of two projections, which subtract the means of n and of m levels."""
    return shared * (1 - 1 / n - 1 / m) + shared**2 / (n * m)


def _df_of_pairs(n_stimuli: int) -> float:
    return max(n_stimuli * (n_stimuli - 3) / 2, 0.0)
