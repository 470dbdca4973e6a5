"""Fieller's intervals against the textbook formula and by coverage."""

import numpy as np
import pytest
from scipy import stats

from analysis.inference.random_effects import Levels, mean_squares
from analysis.inference.ratio import fieller_interval, ratios_to_last


def test_textbook_formula():
    """Fieller's formula as printed: g, then the centre and the reach about it."""
    a, b, t = 1.3, 2.1, 2.2
    v11, v22, v12 = 0.04, 0.09, 0.02
    ratio, g = a / b, t**2 * v22 / b**2
    inner = v11 - 2 * ratio * v12 + ratio**2 * v22 - g * (v11 - v12**2 / v22)
    centre, reach = ratio - g * v12 / v22, t / b * np.sqrt(inner)
    found = fieller_interval(a, b, np.array([[v11, v12], [v12, v22]]), t)
    np.testing.assert_allclose(found, [(centre - reach) / (1 - g), (centre + reach) / (1 - g)])


def test_ends_are_where_the_test_stops_rejecting():
    covariance = np.array([[0.04, 0.01], [0.01, 0.02]])
    for end in fieller_interval(0.8, 1.0, covariance, 2.5):
        contrast = np.array([1, -end])
        assert abs(contrast @ [0.8, 1.0]) == pytest.approx(
            2.5 * np.sqrt(contrast @ covariance @ contrast)
        )


def test_a_denominator_that_could_be_zero_gives_everything():
    assert fieller_interval(1.0, 0.1, np.eye(2) * 0.04, 2.0) == (-np.inf, np.inf)


def test_intervals_from_one_mean_square_are_the_textbooks():
    generator = np.random.default_rng(3)
    values = generator.standard_normal((3, 8)) * 0.4 + np.array([0.5, -1.0, 2.0])[:, None]
    found = ratios_to_last(mean_squares(values, [Levels()]))
    critical = stats.t.ppf(0.975, 7)
    for index in range(2):
        pair = values[[index, 2]]
        lower, upper = fieller_interval(*pair.mean(axis=1), np.cov(pair) / 8, critical)
        assert found.lower[index] == pytest.approx(lower, rel=1e-4)
        assert found.upper[index] == pytest.approx(upper, rel=1e-4)
        assert found.ratio[index] == pytest.approx(pair[0].mean() / pair[1].mean())


@pytest.mark.parametrize("ceiling", [0.05, -2.0])
def test_withheld_where_the_ceiling_is_not_above_zero(ceiling):
    generator = np.random.default_rng(5)
    values = generator.standard_normal((2, 6)) * 0.3 + np.array([0.2, ceiling])[:, None]
    found = ratios_to_last(mean_squares(values, [Levels()]))
    assert np.isnan(found.ratio).all() and np.isnan(found.lower).all()
    assert "not known to be above zero" in found.withheld


def test_coverage():
    generator = np.random.default_rng(6)
    covered = []
    for _ in range(150):
        common = generator.standard_normal(6) * 0.3
        values = np.stack([0.5 + common, 1 + common]) + generator.standard_normal((2, 6)) * 0.2
        found = ratios_to_last(mean_squares(values, [Levels()]))
        covered.append(not (found.lower[0] > 0.5 or found.upper[0] < 0.5))
    assert 0.89 < np.mean(covered) < 0.99
