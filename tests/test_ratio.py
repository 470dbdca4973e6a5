"""Fieller's intervals against the textbook formula and by coverage."""

import numpy as np
import pytest
from scipy import stats

from conceptrsa.analysis.inference.random_effects import levels, mean_squares, ratios_to_last


def textbook_interval(a: float, b: float, covariance: np.ndarray, t: float) -> tuple[float, float]:
    """Fieller's formula as printed: g, then the centre and the reach about it."""
    (v11, v12), (_, v22) = covariance
    ratio, g = a / b, t**2 * v22 / b**2
    inner = v11 - 2 * ratio * v12 + ratio**2 * v22 - g * (v11 - v12**2 / v22)
    centre, reach = ratio - g * v12 / v22, t / abs(b) * np.sqrt(inner)
    return (centre - reach) / (1 - g), (centre + reach) / (1 - g)


def test_intervals_from_one_mean_square_are_the_textbooks():
    generator = np.random.default_rng(3)
    values = generator.standard_normal((3, 8)) * 0.4 + np.array([0.5, -1.0, 2.0])[:, None]
    found = ratios_to_last(mean_squares(values, [levels]))
    critical = stats.t.ppf(0.975, 7)
    for index in range(2):
        pair = values[[index, 2]]
        lower, upper = textbook_interval(*pair.mean(axis=1), np.cov(pair) / 8, critical)
        assert found.lower[index] == pytest.approx(lower, rel=1e-4)
        assert found.upper[index] == pytest.approx(upper, rel=1e-4)
        assert found.ratio[index] == pytest.approx(pair[0].mean() / pair[1].mean())


@pytest.mark.parametrize("ceiling", [0.05, -2.0])
def test_withheld_where_the_ceiling_is_not_above_zero(ceiling):
    generator = np.random.default_rng(5)
    values = generator.standard_normal((2, 6)) * 0.3 + np.array([0.2, ceiling])[:, None]
    found = ratios_to_last(mean_squares(values, [levels]))
    assert np.isnan(found.ratio).all() and np.isnan(found.lower).all()
    assert "not known to be above zero" in found.withheld


def test_coverage():
    generator = np.random.default_rng(6)
    covered = []
    for _ in range(150):
        common = generator.standard_normal(6) * 0.3
        values = np.stack([0.5 + common, 1 + common]) + generator.standard_normal((2, 6)) * 0.2
        found = ratios_to_last(mean_squares(values, [levels]))
        covered.append(not (found.lower[0] > 0.5 or found.upper[0] < 0.5))
    assert 0.89 < np.mean(covered) < 0.99
