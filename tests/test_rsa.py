"""Comparisons of RDMs against scipy, rsatoolbox and their definitions."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr

from conceptrsa.analysis.rsa import correlations
from conceptrsa.analysis.rsa.correlations import (
    correlate_rdms,
    mean_ranks,
    standardise,
    whiten,
)

METRICS = {
    "pearson": "corr",
    "spearman": "spearman",
    "kendall-tau-a": "tau-a",
    "rho-a": "rho-a",
    "cosine": "cosine",
    "whitened-cosine": "cosine_cov",
}
"""Every comparison and rsatoolbox's name of it."""


def test_by_hand() -> None:
    rdm = np.array([[1.0, 2.0, 3.0]])
    others = np.array([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [1.0, 10.0, 100.0], [1.0, 1.0, 2.0]])
    np.testing.assert_allclose(correlate_rdms(rdm, others, "pearson")[0, :2], [-1, 0.5])
    np.testing.assert_allclose(correlate_rdms(rdm, others, "spearman")[0, :3], [-1, 0.5, 1])
    # Of the last RDM's three pairs of distances two are concordant and one is tied; broken at
    # random, the tie makes rho 1 or 1/2.
    np.testing.assert_allclose(
        correlate_rdms(rdm, others, "kendall-tau-a"), [[-1, 1 / 3, 1, 2 / 3]]
    )
    np.testing.assert_allclose(correlate_rdms(rdm, others, "rho-a"), [[-1, 0.5, 1, 0.75]])
    cosine = 9 / np.sqrt(14 * 6)
    assert correlate_rdms(rdm, others, "cosine")[0, 3] == pytest.approx(cosine)


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


@pytest.mark.parametrize("n_pairs", [3, 45, 190, 1225])
def test_kendall_without_ties_is_scipys_tau_b(n_pairs: int) -> None:
    rng = np.random.default_rng(n_pairs)
    rdms, others = rng.standard_normal((3, n_pairs)), rng.standard_normal((4, n_pairs))
    expected = [[kendalltau(a, b).statistic for b in others] for a in rdms]
    np.testing.assert_allclose(correlate_rdms(rdms, others, "kendall-tau-a"), expected, atol=1e-12)


@pytest.mark.parametrize("n_pairs", [10, 15, 66])
@pytest.mark.parametrize("by_sorting", [False, True])
def test_kendall_with_ties_counts_pairs(
    n_pairs: int, by_sorting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_sorting:
        monkeypatch.setattr(correlations, "MAX_PAIRS_OF_SIGNS", 0)
    rng = np.random.default_rng(n_pairs)
    rdms, others = rng.integers(0, 4, (2, n_pairs)), rng.standard_normal((3, n_pairs)).round(1)
    expected = [
        [
            np.mean(
                [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i, j in combinations(range(n_pairs), 2)]
            )
            for b in others
        ]
        for a in rdms
    ]
    np.testing.assert_allclose(correlate_rdms(rdms, others, "kendall-tau-a"), expected, atol=1e-12)


def test_rho_a_is_the_mean_over_random_breaking_of_ties() -> None:
    rng = np.random.default_rng(3)
    rdm, other = rng.integers(0, 3, 45).astype(float), rng.integers(0, 4, 45).astype(float)
    jitter = 1e-3 * rng.random((2, 20_000, 45))
    broken = mean_ranks(rdm + jitter[0]), mean_ranks(other + jitter[1])
    rhos = [np.corrcoef(a, b)[0, 1] for a, b in zip(*broken, strict=True)]
    found = correlate_rdms(rdm[None], other[None], "rho-a")[0, 0]
    assert found == pytest.approx(np.mean(rhos), abs=5 * np.std(rhos) / np.sqrt(len(rhos)))


@pytest.mark.parametrize("n_stimuli", [3, 4, 9])
def test_whitening_inverts_the_covariance_of_noisy_distances(n_stimuli: int) -> None:
    pairs = list(combinations(range(n_stimuli), 2))
    contrasts = np.zeros((len(pairs), n_stimuli))
    for row, (i, j) in enumerate(pairs):
        contrasts[row, i], contrasts[row, j] = 1, -1
    covariance = (contrasts @ contrasts.T) ** 2
    rdms = np.random.default_rng(n_stimuli).random((4, len(pairs)))
    inverse = 2 * np.linalg.inv(covariance)
    np.testing.assert_allclose(whiten(rdms) @ whiten(rdms).T, rdms @ inverse @ rdms.T, atol=1e-12)


def test_ranks_equal_scipy() -> None:
    rng = np.random.default_rng(6)
    values = np.stack([rng.standard_normal(100), rng.integers(0, 7, 100), np.zeros(100)])
    np.testing.assert_array_equal(mean_ranks(values), rankdata(values, axis=-1))


@pytest.mark.parametrize("metric", METRICS)
def test_constant_and_missing_rdms_give_nan(metric: str) -> None:
    rdms = np.random.default_rng(0).random((3, 45))
    rdms[1] = 0.0 if "cosine" in metric else 0.3
    rdms[2, 7] = np.nan
    found = correlate_rdms(rdms, rdms, metric)
    assert found[0, 0] == pytest.approx(1)
    assert np.isnan(found[1:]).all()
    assert np.isnan(found[:, 1:]).all()


@pytest.mark.parametrize("metric", METRICS)
def test_batches_equal_one_by_one(metric: str) -> None:
    rng = np.random.default_rng(4)
    rdms, models = rng.random((2, 3, 4, 45)).round(1), rng.random((6, 45)).round(1)
    found = correlate_rdms(rdms, models, metric)
    assert found.shape == (2, 3, 4, 6)
    alone = correlate_rdms(rdms[1, 2], models, metric)
    np.testing.assert_allclose(found[1, 2], alone, atol=1e-14)


@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric != "kendall-tau-a"])
def test_standardising_commutes_with_relabelling(metric: str) -> None:
    rng = np.random.default_rng(8)
    square = rng.random((10, 10))
    square = square + square.T
    first, second = np.triu_indices(10, k=1)
    order = rng.permutation(10)
    relabelled = square[order[first], order[second]]
    units = np.zeros((10, 10))
    units[first, second] = units[second, first] = standardise(square[first, second], metric)
    np.testing.assert_allclose(
        standardise(relabelled, metric), units[order[first], order[second]], atol=1e-14
    )


def test_kendall_has_no_standardised_form() -> None:
    with pytest.raises(ValueError, match="no sum of products"):
        standardise(np.arange(6.0), "kendall-tau-a")


@pytest.mark.parametrize(("metric", "method"), METRICS.items())
@pytest.mark.parametrize("tied", [False, True])
def test_rsatoolbox(metric: str, method: str, tied: bool) -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    rng = np.random.default_rng(7)
    rdms, others = rng.random((5, 190)), rng.random((6, 190))
    if tied:
        rdms, others = np.round(rdms, 1), np.round(others)
    expected = rsatoolbox.rdm.compare(
        rsatoolbox.rdm.RDMs(rdms), rsatoolbox.rdm.RDMs(others), method=method
    )
    np.testing.assert_allclose(correlate_rdms(rdms, others, metric), expected, atol=1e-10)
