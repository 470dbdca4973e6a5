"""Tests of models and groups against hand-computed p-values and scipy."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from conceptrsa.analysis.inference.tests_over_subjects import (
    benjamini_hochberg,
    compare_groups,
    compare_models_with_reference,
    signed_rank_floor,
)
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects


def exact_signed_rank(differences: np.ndarray) -> float:
    """Two-sided p by enumerating all signs (zeros dropped, ties sharing ranks)."""
    nonzero = differences[differences != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    observed = ranks[nonzero > 0].sum()
    sums = np.array(
        [np.dot(signs, ranks) for signs in product([0, 1], repeat=len(ranks))], dtype=float
    )
    tails = (sums <= observed + 1e-9).mean(), (sums >= observed - 1e-9).mean()
    return min(1.0, 2 * min(tails))


@pytest.mark.parametrize(("n", "floor"), [(5, 0.0625), (2, 0.5), (6, 0.03125), (1, 1.0)])
def test_floor(n: int, floor: float) -> None:
    assert signed_rank_floor(n) == floor


def test_five_subjects_reach_the_floor_and_not_below() -> None:
    scores = {"visual": np.array([[0.1, 0.2], [0.1, 0.3], [0.1, 0.4], [0.1, 0.5], [0.1, 0.6]])}
    (found,) = compare_models_with_reference(scores, ["ResNet50", "CLIP"], "ResNet50", "rsa")
    assert (found.model, found.reference, found.n) == ("CLIP", "ResNet50", 5)
    assert found.p == found.p_floor == found.p_corrected == 0.0625
    assert found.statistic == 0
    assert found.test == "Wilcoxon signed-rank, two-sided, exact"


def test_exact_p_by_enumeration() -> None:
    rng = np.random.default_rng(0)
    for n in (4, 5, 8):
        values = rng.standard_normal((n, 2))
        (found,) = compare_models_with_reference({"v": values}, ["a", "b"], "a", "rsa")
        assert found.p == pytest.approx(exact_signed_rank(values[:, 1] - values[:, 0]))


def test_ties_stay_exact_for_few_subjects() -> None:
    differences = np.array([0.25, 0.25, -0.25, 0.5, 0.5, 0.75])
    values = np.column_stack([np.zeros(6), differences])
    (found,) = compare_models_with_reference({"v": values}, ["a", "b"], "a", "rsa")
    assert found.p == pytest.approx(exact_signed_rank(differences))
    assert found.test.endswith("exact with ties")


def test_missing_subjects_lower_n_and_raise_the_floor() -> None:
    values = np.random.default_rng(1).standard_normal((5, 2))
    values[3, 1] = np.nan
    values[4, 0] = np.nan
    (found,) = compare_models_with_reference({"v": values}, ["a", "b"], "a", "rsa")
    assert (found.n, found.p_floor) == (3, 0.25)
    assert found.p == pytest.approx(exact_signed_rank(values[:3, 1] - values[:3, 0]))


def test_no_difference_is_not_testable() -> None:
    (found,) = compare_models_with_reference({"v": np.ones((5, 2))}, ["a", "b"], "a", "rsa")
    assert np.isnan(found.p)
    assert "impossible" in found.test
    (none,) = compare_models_with_reference({"v": np.full((5, 2), np.nan)}, ["a", "b"], "a", "rsa")
    assert none.n == 0
    assert none.test.endswith("no subject has both values")
    assert np.isnan([none.p, none.p_floor]).all()


def test_equal_values_raise_the_floor() -> None:
    values = np.column_stack([np.zeros(6), [0.0, 0.0, 0.1, 0.2, 0.3, 0.4]])
    (found,) = compare_models_with_reference({"v": values}, ["a", "b"], "a", "rsa")
    assert (found.n, found.p_floor) == (6, 0.125)
    assert found.p == pytest.approx(0.125)


def test_benjamini_hochberg_by_hand() -> None:
    # Sorted .01 .02 .03 .5: times 4/rank = .04 .04 .04 .5, made monotone from the right.
    found = benjamini_hochberg(np.array([0.03, np.nan, 0.5, 0.01, 0.02]))
    np.testing.assert_allclose(found, [0.04, np.nan, 0.5, 0.04, 0.04])
    p_values = np.random.default_rng(0).random(40) ** 2
    np.testing.assert_allclose(
        benjamini_hochberg(p_values), stats.false_discovery_control(p_values)
    )
    assert np.isnan(benjamini_hochberg(np.full(3, np.nan))).all()


def test_correction_runs_over_regions_and_models() -> None:
    rng = np.random.default_rng(2)
    scores = {roi: rng.standard_normal((8, 3)) for roi in ("visual", "fusiform")}
    found = compare_models_with_reference(scores, ["a", "b", "c"], "b", "rsa")
    assert [(test.roi, test.model) for test in found] == [
        ("visual", "a"),
        ("visual", "c"),
        ("fusiform", "a"),
        ("fusiform", "c"),
    ]
    np.testing.assert_allclose(
        [test.p_corrected for test in found],
        stats.false_discovery_control([test.p for test in found]),
    )


def test_welch_over_model_means() -> None:
    scores = np.random.default_rng(3).standard_normal((5, 7))
    groups = ["multimodal", "visual", "multimodal", "visual", "language", "visual", "language"]
    found = {(t.group_a, t.group_b): t for t in compare_groups({"v": scores}, groups, "rsa")}
    assert list(found) == [
        ("multimodal", "visual"),
        ("multimodal", "language"),
        ("visual", "language"),
    ]
    means = scores.mean(axis=0)
    a, b = means[[0, 2]], means[[1, 3, 5]]
    test = found["multimodal", "visual"]
    squared = a.var(ddof=1) / 2, b.var(ddof=1) / 3
    t = (a.mean() - b.mean()) / np.sqrt(sum(squared))
    freedom = sum(squared) ** 2 / (squared[0] ** 2 / 1 + squared[1] ** 2 / 2)
    assert test.statistic == pytest.approx(t)
    assert test.p == pytest.approx(2 * stats.t.sf(abs(t), freedom))
    assert (test.mean_a, test.mean_b, test.n) == pytest.approx((a.mean(), b.mean(), 5))
    assert "treats models as independent" in test.test
    assert np.isnan(test.p_floor)


def test_group_of_one_model_is_not_testable() -> None:
    scores = np.random.default_rng(3).standard_normal((5, 3))
    (found,) = compare_groups({"v": scores}, ["visual", "visual", "language"], "rsa")
    assert np.isnan([found.p, found.p_corrected]).all()
    assert found.mean_b == pytest.approx(scores[:, 2].mean())


def test_mean_and_sem_skip_missing_values() -> None:
    values = np.array([[1.0, np.nan, np.nan], [2.0, 4.0, np.nan], [6.0, np.nan, np.nan]])
    np.testing.assert_allclose(mean_over_subjects(values), [3.0, 4.0, np.nan])
    expected = [stats.sem(values[:, 0]), np.nan, np.nan]
    np.testing.assert_allclose(sem_over_subjects(values), expected)
