"""The paper's tests: each model against a reference, and groups of models against each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from conceptrsa.analysis.rsa.correlations import mean_over_subjects

Score = Literal["rsa", "rsa_normalised"]

ROUNDING = 1e-12
"""Two scores that differ by less are the same."""

MAX_ENUMERATED = 13
"""So many subjects' sign patterns are enumerated where ties or zeros rule out the exact table."""

SIGNED_RANK = "Wilcoxon signed-rank, two-sided"
WELCH = "Welch t, two-sided; treats models as independent"


@dataclass(frozen=True)
class ModelTest:
    """One model against the reference model in one region.

    Attributes
    ----------
    score : {'rsa', 'rsa_normalised'}
        Which values of the subjects were compared.
    statistic, p, p_corrected : float
        Statistic (that of the signed ranks, or a mean difference), p, and p corrected by Benjamini
        and Hochberg over all rows of the same score, test and kind of reference (zero, the
        reference model, or every other model); NaN where no test was possible.
    test : str
        The test, and how its p was found.
    n : int
        Subjects with both values.
    p_floor : float
        The smallest p that so many subjects whose values differ, or so many permutations, can give.
    p_max : float
        Corrected for all tests of the same kind in all regions by the largest statistic, where
        the test is one of permutations; else NaN.
    low, high : float
        95 % interval of the statistic, where the test has one; else NaN.
    """

    roi: str
    model: str
    reference: str
    score: Score
    statistic: float
    p: float
    p_corrected: float
    test: str
    n: int
    p_floor: float
    p_max: float = np.nan
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class GroupTest:
    """One group of models against another in one region.

    Attributes
    ----------
    mean_a, mean_b : float
        Means over the models' means over subjects.
    statistic, p, p_corrected : float
        Welch's t, two-sided p, and p corrected as in `ModelTest`; NaN where no test was possible.
    test : str
    n : int
        Models of both groups together.
    p_floor : float
        NaN for a t-test, which has none.
    p_max, low, high : float
        As in `ModelTest`.
    """

    roi: str
    group_a: str
    group_b: str
    score: Score
    mean_a: float
    mean_b: float
    statistic: float
    p: float
    p_corrected: float
    test: str
    n: int
    p_floor: float = np.nan
    p_max: float = np.nan
    low: float = np.nan
    high: float = np.nan


def signed_rank_floor(n: int) -> float:
    """Smallest two-sided p of a signed-rank test of n differences, 2 / 2^n; NaN for none."""
    return min(1.0, 2.0 ** (1 - n)) if n else np.nan


def compare_models_with_reference(
    scores: Mapping[str, NDArray[np.float64]],
    models: Sequence[str],
    reference: str,
    score: Score,
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
            differences = without_rounding(differences[np.isfinite(differences)])
            statistic, p, test = _signed_rank(differences)
            tests.append(
                ModelTest(
                    roi=roi,
                    model=model,
                    reference=reference,
                    score=score,
                    statistic=statistic,
                    p=p,
                    p_corrected=np.nan,
                    test=test,
                    n=len(differences),
                    p_floor=signed_rank_floor(int(np.count_nonzero(differences))),
                )
            )
    return correct(tests)


def compare_groups(
    scores: Mapping[str, NDArray[np.float64]], groups: Sequence[str], score: Score
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
                    p_corrected=np.nan,
                    test=WELCH,
                    n=len(means_a) + len(means_b),
                )
            )
    return correct(tests)


def without_rounding(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences between scores, those that rounding made set to zero."""
    return np.where(np.abs(differences) < ROUNDING, 0.0, differences)


def benjamini_hochberg(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P-values corrected for the false discovery rate; NaN stay and do not count as tests."""
    corrected = np.full(len(p_values), np.nan)
    tested = np.isfinite(p_values)
    if tested.any():
        corrected[tested] = stats.false_discovery_control(p_values[tested], method="bh")
    return corrected


def _signed_rank(differences: NDArray[np.float64]) -> tuple[float, float, str]:
    """Statistic, two-sided p, and the name of the test with the method that was possible."""
    name = SIGNED_RANK
    nonzero = np.abs(differences[differences != 0])
    if len(differences) == 0:
        return np.nan, np.nan, f"{name}; impossible: no subject has both values"
    if len(nonzero) == 0:
        return np.nan, np.nan, f"{name}; impossible: no differences"
    if len(nonzero) == len(differences) == len(np.unique(nonzero)):
        result = stats.wilcoxon(differences, method="exact")
        return float(result.statistic), float(result.pvalue), f"{name}, exact"
    if len(differences) <= MAX_ENUMERATED:
        every_sign = stats.PermutationMethod(n_resamples=2 ** (MAX_ENUMERATED + 1))
        result = stats.wilcoxon(differences, method=every_sign)
        return float(result.statistic), float(result.pvalue), f"{name}, exact with ties"
    result = stats.wilcoxon(differences, method="approx")
    return float(result.statistic), float(result.pvalue), f"{name}, asymptotic because of ties"


def _welch(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
    """Welch's t and two-sided p; NaN for a group of fewer than two models or without variance."""
    if min(len(a), len(b)) < 2 or (np.ptp(a) == 0 and np.ptp(b) == 0):
        return np.nan, np.nan
    result = stats.ttest_ind(a, b, equal_var=False)
    return float(result.statistic), float(result.pvalue)


Test = TypeVar("Test", ModelTest, GroupTest)


def correct(tests: Sequence[Test]) -> tuple[Test, ...]:
    """Tests of one kind with `p_corrected` by Benjamini and Hochberg over all of them."""
    corrected = benjamini_hochberg(np.array([test.p for test in tests], dtype=np.float64))
    return tuple(
        replace(test, p_corrected=float(p)) for test, p in zip(tests, corrected, strict=True)
    )
