"""Correlations between RDMs against scipy and rsatoolbox."""

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from analysis.rsa import correlate_rdms, mean_ranks


def test_by_hand() -> None:
    rdm = np.array([[1.0, 2.0, 3.0]])
    others = np.array([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [1.0, 10.0, 100.0]])
    np.testing.assert_allclose(correlate_rdms(rdm, others, "pearson")[0, :2], [-1, 0.5])
    np.testing.assert_allclose(correlate_rdms(rdm, others, "spearman"), [[-1, 0.5, 1]])


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("tied", [False, True])
def test_scipy(metric: str, tied: bool) -> None:
    rng = np.random.default_rng(5)
    rdms, others = rng.standard_normal((3, 190)), rng.standard_normal((4, 190))
    if tied:
        rdms, others = np.round(rdms), np.round(others)
    oracle = {"pearson": pearsonr, "spearman": spearmanr}[metric]
    expected = [[oracle(a, b).statistic for b in others] for a in rdms]
    np.testing.assert_allclose(correlate_rdms(rdms, others, metric), expected, atol=1e-12)


def test_ranks_equal_scipy() -> None:
    rng = np.random.default_rng(6)
    values = np.stack([rng.standard_normal(100), rng.integers(0, 7, 100), np.zeros(100)])
    np.testing.assert_array_equal(mean_ranks(values), rankdata(values, axis=-1))


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_constant_and_missing_rdms_give_nan(metric: str) -> None:
    rdms = np.random.default_rng(0).random((3, 45))
    rdms[1] = 0.3
    rdms[2, 7] = np.nan
    found = correlate_rdms(rdms, rdms, metric)
    assert found[0, 0] == pytest.approx(1)
    assert np.isnan(found[1:]).all()
    assert np.isnan(found[:, 1:]).all()


@pytest.mark.parametrize(("metric", "method"), [("pearson", "corr"), ("spearman", "spearman")])
def test_rsatoolbox(metric: str, method: str) -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    rng = np.random.default_rng(7)
    rdms, others = rng.random((5, 190)), rng.random((6, 190))
    expected = rsatoolbox.rdm.compare(
        rsatoolbox.rdm.RDMs(rdms), rsatoolbox.rdm.RDMs(others), method=method
    )
    np.testing.assert_allclose(correlate_rdms(rdms, others, metric), expected, atol=1e-10)
