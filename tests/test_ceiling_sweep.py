"""The incremental sweep against a plain loop over numbers of voxels."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr

from conceptrsa.analysis.brain.voxel_selection import max_beta, rank_voxels
from conceptrsa.analysis.rsa import nested_ceilings
from conceptrsa.analysis.rsa.ceiling_sweep import (
    CeilingSweep,
    draw_orders,
    mean_over_folds,
    peak_size,
    sweep_ceiling,
    sweep_sizes,
    sweep_top,
)
from conceptrsa.analysis.rsa.nested_ceilings import ceilings_of_orders
from conceptrsa.analysis.rsa.nested_ceilings import nested_ceilings as numpy_ceilings
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling, noise_ceiling
from conceptrsa.analysis.settings import settings_for
from conceptrsa.bids_config.machine import Share, limited_to

PDIST_NAME = {"correlation": "correlation", "cosine": "cosine", "euclidean": "sqeuclidean"}


@pytest.fixture(params=["numba", "numpy"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sweep by compiled kernels, then as where numba is not installed."""
    if request.param == "numba":
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(nested_ceilings, "_kernels", lambda: None)
    return request.param


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


def by_max_beta(betas: list[np.ndarray]) -> list[np.ndarray]:
    return [rank_voxels(max_beta(values)) for values in betas]


def plain_sweep(
    ordered: list[np.ndarray], sizes: np.ndarray, rdm_metric: str, rsa_metric: str
) -> np.ndarray:
    """Mean pairwise correlation of each subject, (sizes, subjects), one RDM after the other."""
    correlate = {"pearson": pearsonr, "spearman": spearmanr}[rsa_metric]
    found = np.empty((len(sizes), len(ordered)))
    for row, size in enumerate(sizes):
        rdms = [pdist(values[:, :size], PDIST_NAME[rdm_metric]) for values in ordered]
        for i, rdm in enumerate(rdms):
            others = [other for j, other in enumerate(rdms) if j != i]
            found[row, i] = np.mean([correlate(rdm, other).statistic for other in others])
    return found


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("rdm_metric", list(PDIST_NAME))
@pytest.mark.parametrize("rsa_metric", ["pearson", "spearman"])
@pytest.mark.parametrize("shift", [0.0, 20.0])
def test_plain_loop(rdm_metric: str, rsa_metric: str, shift: float) -> None:
    settings = settings_for(
        "paper",
        rdm_metric=rdm_metric,
        rsa_metric=rsa_metric,
        n_random_draws=1,
        sweep_dense_until=20,
        sweep_log_points=8,
    )
    betas = patterns(shift=shift)
    sweep = sweep_ceiling("visual", betas, by_max_beta(betas), settings)
    ordered = [
        values[:, sorted(range(130), key=lambda v, b=values: -b[:, v].max())] for values in betas
    ]
    expected = plain_sweep(ordered, sweep.n_voxels, rdm_metric, rsa_metric)
    np.testing.assert_allclose(sweep.top.pairwise, expected, rtol=0, atol=1e-12)
    for row, size in enumerate(sweep.n_voxels):
        rdms = np.stack([pdist(values[:, :size], PDIST_NAME[rdm_metric]) for values in ordered])
        ceiling = noise_ceiling(rdms, rsa_metric)
        np.testing.assert_allclose(sweep.top.lower[row], ceiling.lower, rtol=0, atol=1e-12)
        np.testing.assert_allclose(sweep.top.upper[row], ceiling.upper, rtol=0, atol=1e-12)


def test_random_draws_are_nested_and_without_replacement() -> None:
    """All voxels drawn without replacement are all voxels, in whatever order."""
    betas = patterns()
    settings = settings_for("paper", n_random_draws=6)
    sweep = sweep_ceiling("visual", betas, by_max_beta(betas), settings)
    assert sweep.random.pairwise.shape == (6, len(sweep.n_voxels), 4)
    for draw in range(6):
        np.testing.assert_allclose(
            sweep.random.pairwise[draw, -1], sweep.top.pairwise[-1], rtol=0, atol=1e-12
        )
    assert np.ptp(sweep.random.pairwise[:, 0], axis=0).min() > 0.01


def test_seed_and_region_decide_the_draws() -> None:
    def draws(roi: str, seed: int, n: int = 5) -> np.ndarray:
        settings = settings_for("paper", seed=seed, n_random_draws=n)
        betas = patterns(n_voxels=20)
        return sweep_ceiling(roi, betas, by_max_beta(betas), settings).random.pairwise

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
    sweep = sweep_ceiling(
        "visual", betas, by_max_beta(betas), settings_for("paper", n_random_draws=2)
    )
    assert sweep.n_voxels[-1] == 25
    assert np.isfinite(sweep.top.pairwise).all()


def test_region_too_small_for_a_sweep() -> None:
    betas = [values[:, :2] for values in patterns()]
    sweep = sweep_ceiling(
        "visual", betas, by_max_beta(betas), settings_for("paper", n_random_draws=2)
    )
    assert sweep.top.pairwise.shape == (0, 4)
    assert sweep.random.pairwise.shape == (2, 0, 4)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("constant", [1.0, 3.7])
def test_constant_pattern_is_missing_only_while_it_is_constant(constant: float) -> None:
    betas = patterns(n_voxels=10)
    betas[1][4, :5] = constant
    order = np.tile(np.arange(10), (1, 4, 1))
    found = ceilings_of_orders(betas, order, np.arange(3, 11), "correlation", "pearson")
    assert np.isnan(found.pairwise[0, :3, 1]).all()
    assert np.isfinite(found.pairwise[0, :3, [0, 2, 3]]).all()
    assert np.isfinite(found.pairwise[0, 3:]).all()


@pytest.mark.parametrize("n_stimuli", [3, 8, 11])
@pytest.mark.parametrize("rdm_metric", list(PDIST_NAME))
@pytest.mark.parametrize("rsa_metric", ["pearson", "spearman"])
def test_kernels_equal_numpy_on_odd_data(n_stimuli: int, rdm_metric: str, rsa_metric: str) -> None:
    """Constant patterns, subjects of different size, gaps between sizes."""
    pytest.importorskip("numba")
    rng = np.random.default_rng(n_stimuli)
    betas = [rng.standard_normal((n_stimuli, n)) for n in (40, 31, 35, 60)]
    betas[1][0] = 0.0
    betas[2][1, :9] = 2.5
    orders = np.stack([[rng.permutation(31) for _ in betas] for _ in range(7)])
    sizes = np.array([3, 4, 5, 11, 12, 30, 31])
    found = ceilings_of_orders(betas, orders, sizes, rdm_metric, rsa_metric)
    ordered = np.stack(
        [[values[:, o] for values, o in zip(betas, draw, strict=True)] for draw in orders]
    )
    expected = numpy_ceilings(ordered, sizes, rdm_metric, rsa_metric)
    np.testing.assert_allclose(found.pairwise, expected.pairwise, rtol=0, atol=1e-12)
    # Where the others' RDMs nearly cancel, their mean amplifies rounding.
    np.testing.assert_allclose(found.lower, expected.lower, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.upper, expected.upper, rtol=0, atol=1e-10)
    assert np.isnan(found.pairwise[:, :, 1]).all() == (rdm_metric != "euclidean")


@pytest.mark.parametrize("rdm_metric", list(PDIST_NAME))
def test_equal_patterns_tie_in_the_kernels(rdm_metric: str) -> None:
    """Two stimuli with the same betas have the same distances to all others, rounding or not."""
    pytest.importorskip("numba")
    betas = patterns(n_voxels=40)
    for values in betas:
        values[[3, 7]] = values[1]
    sizes = np.arange(3, 41)
    order = np.tile(np.arange(40), (1, 4, 1))
    found = ceilings_of_orders(betas, order, sizes, rdm_metric, "spearman")
    expected = plain_sweep(betas, sizes, rdm_metric, "spearman")
    np.testing.assert_allclose(found.pairwise[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rsa_metric", ["pearson", "spearman"])
def test_number_of_cores_changes_no_bit(rsa_metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    betas = patterns(n_voxels=25)
    settings = settings_for("paper", rsa_metric=rsa_metric, n_random_draws=9)

    def sweep(n_cores: int, at_once: int) -> np.ndarray:
        monkeypatch.setattr(nested_ceilings, "NUMBERS_AT_ONCE", at_once)
        with limited_to(Share(n_cores, 10**9)):
            found = sweep_ceiling("visual", betas, by_max_beta(betas), settings)
        return found.random.pairwise

    np.testing.assert_array_equal(sweep(1, 10**6), sweep(3, 10**6))
    np.testing.assert_array_equal(sweep(1, 10**6), sweep(2, 1))


@pytest.mark.parametrize("rsa_metric", ["kendall-tau-a", "rho-a", "cosine", "whitened-cosine"])
def test_other_comparisons_are_those_of_the_noise_ceiling(rsa_metric: str) -> None:
    betas = patterns(n_voxels=60)
    orders = by_max_beta(betas)
    settings = settings_for(
        "paper", rsa_metric=rsa_metric, rdm_metric="euclidean", n_random_draws=1, sweep_log_points=4
    )
    sweep = sweep_ceiling("visual", betas, orders, settings)
    assert 3 < len(sweep.n_voxels) < 58
    for row, size in enumerate(sweep.n_voxels):
        ordered = [values[:, order[:size]] for values, order in zip(betas, orders, strict=True)]
        rdms = np.stack([pdist(values, "sqeuclidean") / size for values in ordered])
        expected = noise_ceiling(rdms, rsa_metric)
        np.testing.assert_allclose(sweep.top.pairwise[row], expected.pairwise, rtol=0, atol=1e-12)
        np.testing.assert_allclose(sweep.top.upper[row], expected.upper, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rdm_metric", ["mahalanobis", "crossnobis"])
def test_distances_that_need_the_noise_are_replaced_and_it_is_said(rdm_metric: str) -> None:
    betas = patterns(n_voxels=20)
    settings = settings_for("paper", rdm_metric=rdm_metric)
    sweep = sweep_top(betas, by_max_beta(betas), settings)
    plain = sweep_top(betas, by_max_beta(betas), replace(settings, rdm_metric="correlation"))
    np.testing.assert_array_equal(sweep.top.pairwise, plain.top.pairwise)
    assert f"correlation distances in place of {rdm_metric}" in sweep.note
    assert plain.note == ""


def test_fewer_draws_by_tau_are_said() -> None:
    betas = patterns(n_voxels=6)
    settings = settings_for("paper", rsa_metric="kendall-tau-a", n_random_draws=100)
    sweep = sweep_ceiling("visual", betas, by_max_beta(betas), settings)
    assert len(sweep.random.pairwise) == 10
    assert "10 random draws in place of 100" in sweep.note
    few = replace(settings, n_random_draws=3)
    assert sweep_ceiling("visual", betas, by_max_beta(betas), few).note.find("draws") == -1


def test_voxels_enter_in_the_order_given() -> None:
    """Ranked by other runs, betas of the scored runs must not change the order."""
    betas = patterns(n_voxels=30)
    other = patterns(n_voxels=31)
    orders = [rank_voxels(max_beta(values[:, :30])) for values in other]
    sweep = sweep_top(betas, orders, settings_for("paper"))
    ordered = [values[:, order] for values, order in zip(betas, orders, strict=True)]
    expected = plain_sweep(ordered, sweep.n_voxels, "correlation", "pearson")
    np.testing.assert_allclose(sweep.top.pairwise, expected, rtol=0, atol=1e-12)
    assert not np.allclose(
        sweep.top.pairwise, sweep_top(betas, by_max_beta(betas), settings_for("paper")).top.pairwise
    )


def test_mean_pattern_is_removed_where_asked_for() -> None:
    betas = patterns(n_voxels=30, shift=20.0)
    orders = by_max_beta(betas)
    settings = settings_for("paper", remove_mean_pattern=True, n_random_draws=1)
    sweep = sweep_ceiling("visual", betas, orders, settings)
    centred = [values - values.mean(axis=0) for values in betas]
    expected = sweep_ceiling(
        "visual", centred, orders, replace(settings, remove_mean_pattern=False)
    )
    np.testing.assert_allclose(sweep.top.pairwise, expected.top.pairwise, rtol=0, atol=1e-12)
    np.testing.assert_allclose(sweep.random.pairwise, expected.random.pairwise, rtol=0, atol=1e-12)
    assert not np.allclose(
        sweep.top.pairwise, sweep_top(betas, orders, settings_for("paper")).top.pairwise
    )


def test_draws_with_replacement() -> None:
    betas = patterns(n_voxels=50)
    generator = np.random.default_rng(0)
    orders = draw_orders(betas, 50, 40, generator, replacement=True)
    assert orders.shape == (40, 4, 50)
    distinct = np.array([len(set(order)) for draw in orders for order in draw])
    # Of n voxels drawn n times, a share of 1 - (1 - 1/n)^n is seen on average.
    assert distinct.mean() == pytest.approx(50 * (1 - (1 - 1 / 50) ** 50), abs=0.5)
    assert set(np.unique(orders)) == set(range(50))


def test_unlucky_draws_are_made_again() -> None:
    """A third of the draws take the same value of the third stimulus three times."""
    values = np.random.default_rng(1).standard_normal((5, 4))
    values[2, :2] = 0.0
    orders = draw_orders([values, values], 4, 200, np.random.default_rng(2), replacement=True)
    assert np.ptp(values[:, orders[..., :3]], axis=-1).all()
    hopeless = draw_orders([np.zeros((5, 4))], 4, 1, np.random.default_rng(2), replacement=True)
    assert hopeless.shape == (1, 1, 4)


def curve(*means: float) -> CeilingSweep:
    """A sweep of two subjects whose mean ceilings are given."""
    pairwise = np.array([[mean - 0.1, mean + 0.1] for mean in means]).reshape(-1, 2)
    ceiling = NoiseCeiling(pairwise, pairwise, pairwise)
    return CeilingSweep("visual", np.arange(3, 3 + len(means)), ceiling, ceiling)


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ((0.1, 0.3, 0.2), 4),
        ((0.1, 0.3, 0.2, 0.3), 4),
        ((0.1, 0.3, 0.2, 0.3 + 1e-15), 4),
        ((np.nan, 0.1, 0.2), 5),
        ((-0.2, -0.1, -0.3), 4),
        ((np.nan, np.nan), 4),
        ((), 3),
    ],
)
def test_peak(means: tuple[float, ...], expected: int) -> None:
    assert peak_size(curve(*means)) == expected


def test_mean_over_folds() -> None:
    mean = mean_over_folds([curve(0.1, 0.5), curve(0.3, np.nan)])
    np.testing.assert_allclose(mean.top.pairwise[0], [0.1, 0.3])
    assert np.isnan(mean.top.pairwise[1]).all()
    assert mean.roi == "visual"


def test_kernels_do_without_a_cache(tmp_path: Path) -> None:
    """Where no directory can be written to, numba refuses to cache and must be asked otherwise."""
    pytest.importorskip("numba")
    code = (
        "from numba.core.caching import CacheImpl\n"
        "CacheImpl._locator_classes = []\n"
        "import numpy as np\n"
        "from conceptrsa.analysis.rsa import nested_ceilings_numba as kernels\n"
        "print(kernels.dot(np.ones(3), np.ones(3)))\n"
    )
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert found.stdout.strip() == "3.0", found.stderr


def test_numba_is_imported_only_where_a_sweep_runs() -> None:
    code = "import sys, conceptrsa.analysis.rsa.ceiling_sweep; print('numba' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "False", found.stderr
