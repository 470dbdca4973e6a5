"""Models that cannot be ruled out as the best: against plain loops, and planted truth."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from recommended_cases import TOP_10, features, patterns

from conceptrsa.analysis.comparison import compare
from conceptrsa.analysis.inference.best_models import may_be_best
from conceptrsa.analysis.inference.random_effects import (
    Estimates,
    infer,
    levels,
    mean_squares,
)


def estimated(values: np.ndarray) -> tuple[np.ndarray, Estimates]:
    """Scores (models, subjects) with the t-test's differences of each two models."""
    squares = mean_squares(values, (levels,))
    first, second = np.triu_indices(len(values), k=1)
    unit = np.eye(len(values))
    found = infer(squares, unit[first] - unit[second])
    return squares.estimates, found._replace(
        p=np.where(found.standard_error > 1e-6, found.p, np.nan)
    )


def plainly(scores: np.ndarray, differences: Estimates, alpha: float = 0.05) -> set[int]:
    """Rule out one round after the other, a pair at a time."""
    left = set(range(len(scores)))
    rows = list(combinations(range(len(scores)), 2))
    while True:
        beaten = set()
        for row, (one, other) in enumerate(rows):
            if {one, other} <= left and differences.p[row] / 2 < alpha / (len(left) - 1):
                beaten.add(other if differences.estimate[row] > 0 else one)
        if not beaten:
            return left
        left -= beaten


def test_models_are_ruled_out_round_by_round() -> None:
    generator = np.random.default_rng(0)
    sizes = set()
    for _ in range(60):
        truth = generator.choice([0, 1, 2, 4], 7)[:, None]
        scores, differences = estimated(truth + generator.standard_normal((7, 6)))
        found = may_be_best(scores, differences)
        assert {m for m, may in enumerate(found) if may} == plainly(scores, differences)
        assert found[int(scores.argmax())]
        sizes.add(sum(map(bool, found)))
    assert len(sizes) > 4


def test_the_best_is_ruled_out_no_more_often_than_promised() -> None:
    """All equal, and correlated by the subject."""
    generator = np.random.default_rng(1)
    kept = []
    for _ in range(400):
        values = generator.standard_normal((8, 5)) + generator.standard_normal(5)
        kept.append(np.mean(may_be_best(*estimated(values))))
    error = np.std(kept) / np.sqrt(len(kept))
    assert 0.95 - 2 * error < np.mean(kept) < 0.99


def test_models_of_the_same_numbers_share_their_fate_and_count_as_one() -> None:
    generator = np.random.default_rng(2)
    ahead = np.array([1.0, 0.0])[:, None] + 0.3 * generator.standard_normal((2, 6))
    alone = estimated(ahead)
    level = float(alone[1].p[0]) / 2
    both = estimated(np.concatenate([ahead, ahead, ahead]))
    for alpha, expected in ((1.01 * level, False), (0.99 * level, True)):
        assert may_be_best(*alone, alpha) == (True, expected)
        assert may_be_best(*both, alpha) == (True, expected) * 3


def test_a_model_that_was_not_compared_is_neither_in_nor_out() -> None:
    generator = np.random.default_rng(3)
    values = np.array([5.0, 0.0, 5.0])[:, None] + generator.standard_normal((3, 6))
    values[2, 0] = np.nan
    assert may_be_best(*estimated(values)) == (True, False, None)
    assert may_be_best(*estimated(values[:1])) == (True,)
    scores, differences = estimated(values[:2])
    untested = differences._replace(p=np.full(1, np.nan))
    assert may_be_best(scores, untested) == (None, None)


@pytest.mark.parametrize("metric", ["pearson", "cosine"])
def test_a_comparison_tells_which_models_may_be_best(metric: str) -> None:
    settings = replace(TOP_10, rsa_metric=metric)
    result = compare(patterns(), features(), settings)
    assert result.inference is not None
    for roi in result.rois:
        scores = result.inference.of(roi.roi).model_scores
        told = {score.model: score.may_be_best for score in scores}
        if metric == "cosine":
            assert set(told.values()) == {None}
        else:
            assert told[max(scores, key=lambda score: score.rsa).model]
    if metric == "pearson":
        assert not all(score.may_be_best for score in result.inference.of("visual").model_scores)
