"""Sign-flip test against enumeration and scipy."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from conceptrsa.analysis.inference.tests_over_subjects import sign_flip_test

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("n", [2, 5, 8])
def test_equals_enumeration_and_scipy(n):
    values = np.random.default_rng(n).standard_normal((n, 4)) + 0.5
    found = sign_flip_test(values, GENERATOR)
    signs = np.array(list(product((1, -1), repeat=n)))
    expected = (np.abs(signs @ values) >= np.abs(values.sum(axis=0)) - 1e-12).mean(axis=0)
    np.testing.assert_allclose(found.p, expected)
    scipys = stats.permutation_test(
        (values,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
        axis=0,
    )
    np.testing.assert_allclose(found.p, scipys.pvalue)
    assert found.exact


def test_ties_and_zeros_are_counted():
    values = np.array([[1.0, 0, 1], [1, 0, -1], [2, 0, 0], [0.5, 0, 0.25]])
    signs = np.array(list(product((1, -1), repeat=4)))
    expected = (np.abs(signs @ values) >= np.abs(values.sum(axis=0))).mean(axis=0)
    found = sign_flip_test(values, GENERATOR)
    np.testing.assert_allclose(found.p[[0, 2]], expected[[0, 2]])
    assert np.isnan(found.p[1])


def test_five_subjects_cannot_reach_five_percent():
    found = sign_flip_test(np.full((5, 1), 0.3) + np.arange(5)[:, None] / 100, GENERATOR)
    assert found.p[0] == found.p_floor == 0.0625


def test_missing_values_give_no_p():
    values = np.ones((6, 2))
    values[2, 1] = np.nan
    found = sign_flip_test(values, GENERATOR)
    assert found.p[0] == found.p_floor
    assert np.isnan(found.p[1])


def test_many_subjects_draw_signs():
    generator = np.random.default_rng(2)
    values = generator.standard_normal((20, 3)) + np.array([0, 0.3, 0.6])
    found = sign_flip_test(values, generator)
    assert not found.exact
    np.testing.assert_allclose(found.p, stats.ttest_1samp(values, 0).pvalue, atol=0.03)
