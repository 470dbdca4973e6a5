"""The incremental sweep against a plain loop over numbers of voxels."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

from analysis.ceiling_sweep import nested_ceilings, sweep_ceiling, sweep_sizes
from analysis.noise_ceiling import noise_ceiling
from analysis.settings import ComparisonSettings


def patterns(n_subjects: int = 4, n_voxels: int = 130, shift: float = 0.0) -> list[np.ndarray]:
    """Betas of a common signal, noise, and a shift common to all images."""
    rng = np.random.default_rng(n_voxels)
    signal = rng.standard_normal((12, 5))
    return [
        signal @ rng.standard_normal((5, n_voxels))
        + 2 * rng.standard_normal((12, n_voxels))
        + shift * rng.standard_normal(n_voxels)
        for _ in range(n_subjects)
    ]


def plain_sweep(
    ordered: list[np.ndarray], sizes: np.ndarray, rdm_metric: str, rsa_metric: str
) -> np.ndarray:
    """Mean pairwise correlation of each subject, (sizes, subjects), one RDM after the other."""
    correlate = {"pearson": pearsonr, "spearman": spearmanr}[rsa_metric]
    found = np.empty((len(sizes), len(ordered)))
    for row, size in enumerate(sizes):
        rdms = [pdist(values[:, :size], rdm_metric) for values in ordered]
        for i, rdm in enumerate(rdms):
            others = [other for j, other in enumerate(rdms) if j != i]
            found[row, i] = np.mean([correlate(rdm, other).statistic for other in others])
    return found


@pytest.mark.parametrize("rdm_metric", ["correlation", "cosine"])
@pytest.mark.parametrize("rsa_metric", ["pearson", "spearman"])
@pytest.mark.parametrize("shift", [0.0, 20.0])
def test_plain_loop(rdm_metric: str, rsa_metric: str, shift: float) -> None:
    settings = ComparisonSettings(
        rdm_metric=rdm_metric,
        rsa_metric=rsa_metric,
        n_random_draws=1,
        sweep_dense_until=20,
        sweep_log_points=8,
    )
    betas = patterns(shift=shift)
    sweep = sweep_ceiling("visual", betas, settings)
    ordered = [
        values[:, sorted(range(130), key=lambda v, b=values: -b[:, v].max())] for values in betas
    ]
    expected = plain_sweep(ordered, sweep.n_voxels, rdm_metric, rsa_metric)
    np.testing.assert_allclose(sweep.top.pairwise, expected, rtol=0, atol=1e-12)
    for row, size in enumerate(sweep.n_voxels):
        rdms = np.stack([pdist(values[:, :size], rdm_metric) for values in ordered])
        ceiling = noise_ceiling(rdms, rsa_metric)
        np.testing.assert_allclose(sweep.top.lower[row], ceiling.lower, rtol=0, atol=1e-12)
        np.testing.assert_allclose(sweep.top.upper[row], ceiling.upper, rtol=0, atol=1e-12)


def test_random_draws_are_nested_and_without_replacement() -> None:
    """All voxels drawn without replacement are all voxels, in whatever order."""
    sweep = sweep_ceiling("visual", patterns(), ComparisonSettings(n_random_draws=6))
    assert sweep.random.pairwise.shape == (6, len(sweep.n_voxels), 4)
    for draw in range(6):
        np.testing.assert_allclose(
            sweep.random.pairwise[draw, -1], sweep.top.pairwise[-1], rtol=0, atol=1e-12
        )
    assert np.ptp(sweep.random.pairwise[:, 0], axis=0).min() > 0.01


def test_seed_and_region_decide_the_draws() -> None:
    def draws(roi: str, seed: int, n: int = 5) -> np.ndarray:
        settings = ComparisonSettings(seed=seed, n_random_draws=n)
        return sweep_ceiling(roi, patterns(n_voxels=20), settings).random.pairwise

    np.testing.assert_array_equal(draws("visual", 1), draws("visual", 1))
    np.testing.assert_array_equal(draws("visual", 1)[:3], draws("visual", 1, n=3))
    assert not np.allclose(draws("visual", 1), draws("visual", 2))
    assert not np.allclose(draws("visual", 1), draws("fusiform", 1))


def test_sizes() -> None:
    np.testing.assert_array_equal(sweep_sizes(7, 100, 100), [3, 4, 5, 6, 7])
    assert len(sweep_sizes(2, 100, 100)) == 0
    sizes = sweep_sizes(5000, 100, 100)
    assert sizes[:98].tolist() == list(range(3, 101))
    assert sizes[-1] == 5000
    assert (np.diff(sizes) > 0).all()
    assert len(sizes) == 198


def test_smallest_region_ends_the_sweep() -> None:
    betas = patterns(n_voxels=40)
    betas[2] = betas[2][:, :25]
    sweep = sweep_ceiling("visual", betas, ComparisonSettings(n_random_draws=2))
    assert sweep.n_voxels[-1] == 25
    assert np.isfinite(sweep.top.pairwise).all()


def test_region_too_small_for_a_sweep() -> None:
    betas = [values[:, :2] for values in patterns()]
    sweep = sweep_ceiling("visual", betas, ComparisonSettings(n_random_draws=2))
    assert sweep.top.pairwise.shape == (0, 4)
    assert sweep.random.pairwise.shape == (2, 0, 4)


def test_constant_pattern_is_missing_only_while_it_is_constant() -> None:
    betas = np.stack(patterns(n_voxels=10))
    betas[1, 4, :5] = 1.0
    found = nested_ceilings(betas, np.arange(3, 11), "correlation", "pearson")
    assert np.isnan(found.pairwise[:3, 1]).all()
    assert np.isfinite(found.pairwise[:3, [0, 2, 3]]).all()
    assert np.isfinite(found.pairwise[3:]).all()
