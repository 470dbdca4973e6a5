"""Voxel scores against SciPy, an analysis of variance in plain loops, and planted truth."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import f_oneway, pearsonr

from conceptrsa.analysis.brain.patterns import RoiPatterns
from conceptrsa.analysis.brain.voxel_selection import (
    max_beta,
    ncsnr,
    reliability,
    voxel_scores,
)
from conceptrsa.bids_config.errors import InputError


def planted(
    signal: np.ndarray, n_runs: int, n_stimuli: int, noise: float = 1.0, drift: float = 0.0
) -> np.ndarray:
    """Betas (runs, stimuli, voxels) with a standard deviation of the signal for each voxel."""
    rng = np.random.default_rng(n_runs)
    truth = signal * rng.standard_normal((n_stimuli, len(signal)))
    runs = truth + noise * rng.standard_normal((n_runs, n_stimuli, len(signal)))
    return runs + drift * rng.standard_normal((n_runs, 1, len(signal)))


def region(runs: np.ndarray, *, keep_runs: bool = True) -> RoiPatterns:
    return RoiPatterns(
        runs.mean(axis=0),
        np.arange(runs.shape[-1]),
        halves=(runs[::2].mean(axis=0), runs[1::2].mean(axis=0)),
        runs=runs if keep_runs else None,
    )


def test_max_beta_is_the_highest_beta_of_any_stimulus() -> None:
    values = np.array([[1.0, -3.0, 0.0], [-9.0, -2.0, 5.0], [0.5, -4.0, 5.0]])
    np.testing.assert_array_equal(max_beta(values), [1.0, -2.0, 5.0])


def test_reliability_is_the_correlation_of_the_halves() -> None:
    runs = planted(np.array([0.0, 0.5, 2.0]), 7, 20)
    odd, even = runs[[0, 2, 4, 6]].mean(axis=0), runs[[1, 3, 5]].mean(axis=0)
    expected = [pearsonr(odd[:, v], even[:, v]).statistic for v in range(3)]
    np.testing.assert_allclose(reliability(runs), expected, rtol=0, atol=1e-14)


def test_a_voxel_that_does_not_vary_has_no_reliability_and_no_ncsnr() -> None:
    runs = planted(np.ones(3), 4, 10)
    runs[..., 1] = 0.0
    for scores in (reliability(runs), ncsnr(runs)):
        assert np.isnan(scores[1])
        assert np.isfinite(scores[[0, 2]]).all()


def test_ncsnr_by_a_plain_analysis_of_variance() -> None:
    runs = planted(np.array([0.0, 0.4, 1.0, 3.0]), 5, 12, drift=2.0)
    n_runs, n_stimuli, n_voxels = runs.shape
    for voxel in range(n_voxels):
        betas = runs[..., voxel]
        grand = betas.mean()
        residual = sum(
            (betas[r, s] - betas[r].mean() - betas[:, s].mean() + grand) ** 2
            for r, s in product(range(n_runs), range(n_stimuli))
        ) / ((n_runs - 1) * (n_stimuli - 1))
        of_stimuli = n_runs * sum((betas[:, s].mean() - grand) ** 2 for s in range(n_stimuli))
        signal = (of_stimuli / (n_stimuli - 1) - residual) / n_runs
        expected = np.sqrt(max(signal, 0.0) / residual)
        assert ncsnr(runs)[voxel] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_ncsnr_without_drift_follows_from_the_f_statistic() -> None:
    """F = 1 + R ncsnr^2 in a one-way analysis, and run means of zero make the two-way one equal."""
    runs = planted(np.array([0.5, 1.5]), 6, 300)
    runs -= runs.mean(axis=1, keepdims=True)
    statistic = f_oneway(*np.moveaxis(runs, 1, 0)).statistic
    # The one-way residual has 300 x 5 degrees of freedom, the two-way one 299 x 5.
    expected = np.sqrt((statistic * 299 / 300 - 1) / 6)
    np.testing.assert_allclose(ncsnr(runs), expected, rtol=1e-9)


@pytest.mark.parametrize("drift", [0.0, 5.0])
def test_ncsnr_finds_the_planted_ratio(drift: float) -> None:
    truth = np.array([0.3, 1.0, 2.0])
    signal = np.repeat(truth, 400)
    found = ncsnr(planted(signal, 6, 50, drift=drift)).reshape(3, 400).mean(axis=1)
    np.testing.assert_allclose(found, truth, rtol=0.05)


def test_ncsnr_of_halves_orders_voxels_as_runs_do() -> None:
    signal = np.linspace(0.2, 2.0, 60)
    runs = planted(signal, 8, 200)
    halves = voxel_scores(region(runs, keep_runs=False), "ncsnr", None)
    # Halves of four runs each have half of a run's noise.
    np.testing.assert_allclose(halves / 2, signal, rtol=0.15, atol=0.1)
    np.testing.assert_allclose(
        voxel_scores(region(runs), "ncsnr", None), signal, rtol=0.15, atol=0.1
    )


@pytest.mark.parametrize("half", ["odd", "even"])
@pytest.mark.parametrize("score", ["max-beta", "reliability", "ncsnr"])
def test_a_half_is_scored_by_its_own_runs_only(half: str, score: str) -> None:
    runs = planted(np.array([0.2, 0.8, 1.5]), 8, 20)
    other = 1 if half == "odd" else 0
    spoiled = runs.copy()
    spoiled[other::2] = 100 * np.random.default_rng(5).standard_normal(spoiled[other::2].shape)
    found = voxel_scores(region(runs), score, half)
    np.testing.assert_array_equal(found, voxel_scores(region(spoiled), score, half))
    own = runs[1 - other :: 2]
    expected = {
        "max-beta": max_beta(own.mean(axis=0)),
        "reliability": reliability(own),
        "ncsnr": ncsnr(own),
    }
    np.testing.assert_array_equal(found, expected[score])
    assert not np.array_equal(found, voxel_scores(region(runs), score, None))


def test_all_runs_are_scored_by_their_halves_where_runs_are_not_known() -> None:
    runs = planted(np.ones(4), 6, 15)
    whole = region(runs)
    halves = region(runs, keep_runs=False)
    found = voxel_scores(halves, "reliability", None)
    np.testing.assert_allclose(found, voxel_scores(whole, "reliability", None), rtol=1e-12)


@pytest.mark.parametrize("score", ["reliability", "ncsnr"])
@pytest.mark.parametrize("half", ["odd", None])
def test_runs_that_are_not_there_are_asked_for(score: str, half: str | None) -> None:
    runs = planted(np.ones(4), 3, 15)
    alone = RoiPatterns(runs[0], np.arange(4)) if half is None else region(runs, keep_runs=False)
    with pytest.raises(InputError, match=f"voxel score {score} compares runs.*--run-betas"):
        voxel_scores(alone, score, half)


def test_one_run_in_a_half_is_too_few() -> None:
    with pytest.raises(InputError, match="two or more even runs"):
        voxel_scores(region(planted(np.ones(4), 3, 15)), "ncsnr", "even")
