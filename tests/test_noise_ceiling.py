"""Noise ceilings against plain loops and rsatoolbox."""

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr

from conceptrsa.analysis.rsa.correlations import correlate_rdms
from conceptrsa.analysis.rsa.distances import compute_rdm
from conceptrsa.analysis.rsa.nested_ceilings import nested_ceilings
from conceptrsa.analysis.rsa.noise_ceiling import (
    ceiling_from_correlations,
    ceiling_p_value,
    noise_ceiling,
    normalise,
    sem_of_ceilings,
)

METRICS = {
    "pearson": "corr",
    "spearman": "spearman",
    "kendall-tau-a": "tau-a",
    "rho-a": "rho-a",
    "cosine": "cosine",
    "whitened-cosine": "cosine_cov",
}


def plain_ceilings(rdms: np.ndarray, metric: str) -> np.ndarray:
    """Pairwise, lower and upper ceiling of each subject as their definitions say."""
    correlate = {"pearson": pearsonr, "spearman": spearmanr}[metric]
    scaled = [
        rankdata(rdm) if metric == "spearman" else (rdm - rdm.mean()) / rdm.std() for rdm in rdms
    ]
    rows = []
    for i, rdm in enumerate(rdms):
        others = [j for j in range(len(rdms)) if j != i]
        pairwise = np.mean([correlate(rdm, rdms[j]).statistic for j in others])
        lower = correlate(rdm, np.mean([scaled[j] for j in others], axis=0)).statistic
        upper = correlate(rdm, np.mean(scaled, axis=0)).statistic
        rows.append((pairwise, lower, upper))
    return np.array(rows).T


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
@pytest.mark.parametrize("n_subjects", [2, 5])
def test_definitions(metric: str, n_subjects: int) -> None:
    rng = np.random.default_rng(n_subjects)
    rdms = rng.random((n_subjects, 300)) * rng.uniform(0.5, 2, (n_subjects, 1)) + rng.random(300)
    found = noise_ceiling(rdms, metric)
    np.testing.assert_allclose(
        [found.pairwise, found.lower, found.upper], plain_ceilings(rdms, metric), atol=1e-12
    )


def test_two_subjects_by_hand() -> None:
    found = ceiling_from_correlations(np.array([[1.0, 0.28], [0.28, 1.0]]))
    np.testing.assert_allclose(found.pairwise, [0.28, 0.28])
    np.testing.assert_allclose(found.lower, [0.28, 0.28])
    np.testing.assert_allclose(found.upper, [0.8, 0.8])  # 1.28 / sqrt(2.56)


def test_batches_equal_one_by_one() -> None:
    rdms = np.random.default_rng(2).random((3, 4, 5, 105))
    for metric in METRICS:
        batch = noise_ceiling(rdms, metric)
        single = noise_ceiling(rdms[2, 1], metric)
        np.testing.assert_allclose(batch.lower[2, 1], single.lower, atol=1e-14)
        np.testing.assert_allclose(batch.upper[2, 1], single.upper, atol=1e-14)


@pytest.mark.parametrize("metric", METRICS)
def test_subjects_without_rdm_are_left_out(metric: str) -> None:
    rdms = np.random.default_rng(2).random((4, 105))
    full = noise_ceiling(rdms[[0, 1, 3]], metric)
    rdms[2] = np.nan
    found = noise_ceiling(rdms, metric)
    for name in ("pairwise", "lower", "upper"):
        np.testing.assert_allclose(getattr(found, name)[[0, 1, 3]], getattr(full, name))
        assert np.isnan(getattr(found, name)[2])
    rdms[:3] = np.nan
    assert np.isnan(noise_ceiling(rdms, metric).pairwise).all()


def test_a_constant_pattern_takes_only_its_subject_out_of_a_sweep() -> None:
    betas = np.random.default_rng(4).standard_normal((4, 8, 10))
    betas[1, 4, :5] = 1.0
    sizes = np.arange(3, 11)
    found = nested_ceilings(betas, sizes, "correlation", "pearson")
    others = nested_ceilings(betas[[0, 2, 3]], sizes, "correlation", "pearson")
    np.testing.assert_allclose(found.pairwise[:3, [0, 2, 3]], others.pairwise[:3])
    np.testing.assert_allclose(found.lower[:3, [0, 2, 3]], others.lower[:3])
    assert np.isnan(found.pairwise[:3, 1]).all()
    assert np.isfinite(found.pairwise[3:]).all()


def test_opposite_rdms_have_no_mean() -> None:
    found = ceiling_from_correlations(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    assert np.isnan(found.upper).all()
    np.testing.assert_allclose(found.pairwise, [-1, -1])


def test_two_subjects_have_no_standard_error() -> None:
    ceilings = np.array([[0.2, 0.1, 0.4], [0.2, 0.3, np.nan], [0.2, 0.5, 0.4]])
    expected = [0, 0.2 / np.sqrt(3), np.nan]
    np.testing.assert_allclose(sem_of_ceilings(ceilings), expected, atol=1e-15)


@pytest.mark.parametrize("n_subjects", [2, 5])
def test_one_in_twenty_noise_ceilings_passes(n_subjects: int) -> None:
    rng = np.random.default_rng(n_subjects)
    n_passed = 0
    for _ in range(300):
        values = rng.standard_normal((n_subjects, 8, 12))
        rdms = np.stack([compute_rdm(subject, "correlation") for subject in values])
        n_passed += ceiling_p_value(rdms, "pearson", rng) <= 0.05
    assert 3 <= n_passed <= 30


def test_shared_rdms_pass_the_permutation() -> None:
    rng = np.random.default_rng(0)
    rdms = rng.random(120) + 0.5 * rng.random((3, 120))
    assert ceiling_p_value(rdms, "spearman", rng) == 1 / 200
    rdms[0] = np.nan
    assert ceiling_p_value(rdms, "pearson", rng) == 1 / 200
    rdms[1] = np.nan
    assert np.isnan(ceiling_p_value(rdms, "pearson", rng))


def test_normalisation_needs_a_ceiling_above_zero() -> None:
    found = normalise(np.array([[0.2, 0.3], [0.2, 0.3], [0.2, 0.3]]), np.array([0.4, 0.0, -0.1]))
    np.testing.assert_allclose(found[0], [0.5, 0.75])
    assert np.isnan(found[1:]).all()


@pytest.mark.filterwarnings("ignore:Noise ceiling for tau")
@pytest.mark.parametrize(("metric", "method"), METRICS.items())
@pytest.mark.parametrize("tied", [False, True])
def test_rsatoolbox(metric: str, method: str, tied: bool) -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    rng = np.random.default_rng(9)
    rdms = (rng.random((5, 190)) + rng.random(190)) * rng.uniform(0.5, 2, (5, 1))
    if tied:
        rdms = rdms.round(1)
    their_rdms = rsatoolbox.rdm.RDMs(rdms)
    bounds = rsatoolbox.inference.boot_noise_ceiling(their_rdms, method=method)
    _, test_set, ceil_set = rsatoolbox.inference.crossvalsets.sets_leave_one_out_rdm(their_rdms)
    same_bounds = rsatoolbox.inference.cv_noise_ceiling(
        their_rdms, ceil_set, test_set, method=method
    )
    found = noise_ceiling(rdms, metric)
    np.testing.assert_allclose([found.lower.mean(), found.upper.mean()], bounds, atol=1e-10)
    np.testing.assert_allclose([found.lower.mean(), found.upper.mean()], same_bounds, atol=1e-10)


@pytest.mark.parametrize("metric", METRICS)
def test_pairwise_is_the_mean_with_the_others(metric: str) -> None:
    rdms = np.random.default_rng(5).random((4, 45)).round(1)
    alike = correlate_rdms(rdms, rdms, metric)
    expected = [np.delete(alike[i], i).mean() for i in range(4)]
    np.testing.assert_allclose(noise_ceiling(rdms, metric).pairwise, expected, atol=1e-14)


@pytest.mark.parametrize("metric", METRICS)
def test_bounds_that_take_long_can_be_left_out(metric: str) -> None:
    rdms = np.random.default_rng(5).random((4, 45))
    quick, full = noise_ceiling(rdms, metric, spearman_bounds=False), noise_ceiling(rdms, metric)
    np.testing.assert_array_equal(quick.pairwise, full.pairwise)
    ranked = metric in ("spearman", "rho-a", "kendall-tau-a")
    assert np.isnan(quick.lower).all() == ranked
    assert np.isfinite(full.lower).all()
