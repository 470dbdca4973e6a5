"""Tests of scores over subjects, who see the same stimuli, and of groups over models' means.

They are the paper's: signed ranks against a reference model, Welch's t between groups. Sign flips
are offered beside them. Which test answers which question stands in `docs/statistics.md`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

import numpy as np
from scipy import stats

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.inference.findings import (
    SIGN_FLIP,
    SIGNED_RANK,
    WELCH,
    ZERO,
    GroupTest,
    ModelTest,
    Score,
)
from conceptrsa.analysis.rsa.correlations import mean_over_subjects

ROUNDING = 1e-12
"""Two scores that differ by less are the same."""

MAX_ENUMERATED = 13
"""With up to this many subjects, sign patterns are enumerated if ties or zeros occur."""

MAX_FLIPPED = 16
"""Up to so many subjects all sign patterns are tried by the sign-flip test."""

N_RANDOM_FLIPS = 2**MAX_FLIPPED
"""Sign patterns tried beyond that, the observed one among them."""

Test = TypeVar("Test", ModelTest, GroupTest)


def signed_rank_floor(n: int) -> float:
    """Smallest two-sided p of a signed-rank test of n differences, 2 / 2^n; NaN for none."""
    return min(1.0, 2.0 ** (1 - n)) if n else np.nan


def compare_models_with_reference(
    scores: Mapping[str, Floats], models: Sequence[str], reference: str, score: Score
) -> tuple[ModelTest, ...]:
    """Wilcoxon's signed-rank test over subjects of every model against the reference model.

    Parameters
    ----------
    scores : mapping of str to ndarray, (subjects, models)
        By region; subjects with a NaN in either model are left out.
    models : sequence of str
        Names of the columns.
    reference : str
        One of them.
    score : {'rsa', 'rsa_normalised'}

    Returns
    -------
    tuple of ModelTest
        Corrected over all of them.
    """
    column = list(models).index(reference)
    tests = []
    for roi, values in scores.items():
        for index, model in enumerate(models):
            if index == column:
                continue
            differences = values[:, index] - values[:, column]
            differences = _without_rounding(differences[np.isfinite(differences)])
            statistic, p, test = _signed_rank(differences)
            tests.append(
                ModelTest(
                    roi=roi,
                    model=model,
                    reference=reference,
                    score=score,
                    statistic=statistic,
                    p=p,
                    test=test,
                    n=len(differences),
                    p_floor=signed_rank_floor(int(np.count_nonzero(differences))),
                )
            )
    return correct(tests)


def flip_signs(
    scores: Mapping[str, Floats], models: Sequence[str], reference: str, seed: int
) -> tuple[ModelTest, ...]:
    """Sign-flip tests over subjects of every model against zero and against the reference model.

    Parameters as in `compare_models_with_reference`; subjects with a NaN in any model are left
    out.
    """
    column = list(models).index(reference)
    against_zero: list[ModelTest] = []
    against_reference: list[ModelTest] = []
    for roi, every in scores.items():
        values = every[np.isfinite(every).all(axis=1)]
        differences = _without_rounding(values - values[:, [column]])
        for tested, other, tests in (
            (values, ZERO, against_zero),
            (differences, reference, against_reference),
        ):
            found = sign_flip_test(tested, np.random.default_rng([seed, 5]))
            tests.extend(
                ModelTest(
                    roi=roi,
                    model=name,
                    reference=other,
                    statistic=float(tested[:, m].mean()) if len(tested) else np.nan,
                    p=float(found.p[m]),
                    test=f"{SIGN_FLIP}, {'exact' if found.exact else 'random flips'}",
                    n=len(tested),
                    p_floor=found.p_floor,
                )
                for m, name in enumerate(models)
                if name != other
            )
    return (*correct(against_zero), *correct(against_reference))


@dataclass(frozen=True)
class SignFlipTest:
    """Result of a sign-flip test; arrays (tests,).

    Attributes
    ----------
    p : ndarray
        Two-sided; NaN where a subject's value is missing or all are zero.
    p_floor : float
        The smallest p that so many subjects can give: 2 / 2^n, 0.0625 for 5.
    exact : bool
        Whether all sign patterns were tried.
    """

    p: Floats
    p_floor: float
    exact: bool


def sign_flip_test(values: Floats, generator: np.random.Generator) -> SignFlipTest:
    """Test whether subjects' values are symmetric about zero, by their mean.

    It speaks of new subjects who see *these* stimuli: chance agreement of a model with these
    stimuli is common to all subjects, and is taken for an effect.

    Parameters
    ----------
    values : ndarray, (subjects, tests)
        Scores, or differences between scores.
    generator : Generator
        Draws sign patterns for more than 16 subjects.
    """
    n_subjects = len(values)
    exact = n_subjects <= MAX_FLIPPED
    if exact:
        signs = _every_sign(n_subjects)
    else:
        signs = generator.choice((-1.0, 1.0), size=(N_RANDOM_FLIPS, n_subjects))
        signs[0] = 1.0
    scale = np.abs(values).sum(axis=0)
    # Sums that differ by rounding alone are ties.
    as_large = np.abs(signs @ values) >= np.abs(values.sum(axis=0)) - 1e-12 * scale
    testable = np.isfinite(scale) & (scale > 0)
    # A pattern and its opposite give the same size, so half of them were tried if exact.
    floor = 2.0 ** (1 - n_subjects) if exact else max(2.0 ** (1 - n_subjects), 1 / N_RANDOM_FLIPS)
    return SignFlipTest(np.where(testable, as_large.mean(axis=0), np.nan), min(1.0, floor), exact)


@lru_cache(maxsize=4)
def _every_sign(n: int) -> Floats:
    """Sign patterns of n values with the last one positive, (2^(n - 1), n)."""
    patterns = np.arange(2 ** max(n - 1, 0))[:, None] >> np.arange(n)[None] & 1
    return np.asarray(1.0 - 2.0 * patterns, dtype=np.float64)


def compare_groups(
    scores: Mapping[str, Floats], groups: Sequence[str], score: Score
) -> tuple[GroupTest, ...]:
    """Welch's t-test between the models' means over subjects, for every pair of groups.

    Parameters
    ----------
    scores : mapping of str to ndarray, (subjects, models)
        By region; NaN values are left out of the means.
    groups : sequence of str
        Each model's group.
    score : {'rsa', 'rsa_normalised'}

    Returns
    -------
    tuple of GroupTest
        Corrected over all of them.
    """
    membership = np.asarray(groups)
    tests = []
    for roi, values in scores.items():
        means = mean_over_subjects(values)
        for group_a, group_b in combinations(dict.fromkeys(groups), 2):
            means_a, means_b = (
                means[(membership == group) & np.isfinite(means)] for group in (group_a, group_b)
            )
            statistic, p = _welch(means_a, means_b)
            tests.append(
                GroupTest(
                    roi=roi,
                    group_a=group_a,
                    group_b=group_b,
                    score=score,
                    mean_a=float(np.mean(means_a)) if len(means_a) else np.nan,
                    mean_b=float(np.mean(means_b)) if len(means_b) else np.nan,
                    statistic=statistic,
                    p=p,
                    test=WELCH,
                    n=len(means_a) + len(means_b),
                )
            )
    return correct(tests)


def _without_rounding(differences: Floats) -> Floats:
    """Differences between scores, those that rounding made set to zero."""
    return np.where(np.abs(differences) < ROUNDING, 0.0, differences)


def correct(tests: Sequence[Test]) -> tuple[Test, ...]:
    """Tests of one kind with `p_corrected` by Benjamini and Hochberg over all of them."""
    corrected = benjamini_hochberg(np.array([test.p for test in tests], dtype=np.float64))
    return tuple(
        replace(test, p_corrected=float(p)) for test, p in zip(tests, corrected, strict=True)
    )


def benjamini_hochberg(p_values: Floats) -> Floats:
    """P-values corrected for the false discovery rate; NaN stay and do not count as tests."""
    corrected = np.full(len(p_values), np.nan)
    tested = np.isfinite(p_values)
    if tested.any():
        corrected[tested] = stats.false_discovery_control(p_values[tested], method="bh")
    return corrected


def _signed_rank(differences: Floats) -> tuple[float, float, str]:
    """Statistic, two-sided p, and the name of the test with the method that was possible."""
    name = SIGNED_RANK
    nonzero = np.abs(differences[differences != 0])
    if len(differences) == 0:
        return np.nan, np.nan, f"{name}; impossible: no subject has both values"
    if len(nonzero) == 0:
        return np.nan, np.nan, f"{name}; impossible: no differences"
    if len(nonzero) == len(differences) == len(np.unique(nonzero)):
        order = np.argsort(nonzero)
        statistic, p = _exact_signed_rank(tuple(np.sign(differences[order]).tolist()))
        return statistic, p, f"{name}, exact"
    if len(differences) <= MAX_ENUMERATED:
        every_sign = stats.PermutationMethod(n_resamples=2 ** (MAX_ENUMERATED + 1))
        result = stats.wilcoxon(differences, method=every_sign)
        return float(result.statistic), float(result.pvalue), f"{name}, exact with ties"
    result = stats.wilcoxon(differences, method="approx")
    return float(result.statistic), float(result.pvalue), f"{name}, asymptotic because of ties"


@lru_cache(maxsize=65536)
def _exact_signed_rank(signs: tuple[float, ...]) -> tuple[float, float]:
    """Statistic and p of differences without ties, given their signs in the order of their sizes.

    Kept, since a few subjects have few orders of signs, and tests are many.
    """
    ranks = np.arange(1, len(signs) + 1) * np.array(signs)
    result = stats.wilcoxon(ranks, method="exact")
    return float(result.statistic), float(result.pvalue)


def _welch(a: Floats, b: Floats) -> tuple[float, float]:
    """Welch's t and two-sided p; NaN for a group of fewer than two models or without variance."""
    if min(len(a), len(b)) < 2 or (np.ptp(a) == 0 and np.ptp(b) == 0):
        return np.nan, np.nan
    result = stats.ttest_ind(a, b, equal_var=False)
    return float(result.statistic), float(result.pvalue)
