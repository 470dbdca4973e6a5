"""Distances that reckon with noise against loops over runs, scipy and rsatoolbox."""

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis

from conceptrsa.analysis.rsa.distances import compute_rdm, crossnobis_rdm, mahalanobis_rdm
from conceptrsa.bids_config.errors import InputError


def noise_covariance(n_voxels: int, seed: int = 0) -> np.ndarray:
    mixing = np.random.default_rng(seed).standard_normal((n_voxels, 2 * n_voxels))
    return mixing @ mixing.T / n_voxels


def noisy_runs(n_runs: int, n_stimuli: int, n_voxels: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    signal = 10 + rng.standard_normal((n_stimuli, n_voxels))
    return signal + rng.standard_normal((n_runs, n_stimuli, n_voxels))


def their_dataset(runs: np.ndarray):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    n_runs, n_stimuli, n_voxels = runs.shape
    return rsatoolbox.data.Dataset(
        runs.reshape(-1, n_voxels),
        obs_descriptors={
            "stimulus": np.tile(np.arange(n_stimuli), n_runs),
            "run": np.repeat(np.arange(n_runs), n_stimuli),
        },
    )


def test_crossnobis_by_hand() -> None:
    # One voxel, two runs, three stimuli: the product of the differences in both runs.
    runs = np.array([[[0.0], [1.0], [3.0]], [[0.0], [2.0], [-1.0]]])
    np.testing.assert_allclose(crossnobis_rdm(runs), [1 * 2, 3 * -1, 2 * -3])


@pytest.mark.parametrize("n_runs", [2, 5])
@pytest.mark.parametrize("with_covariance", [False, True])
def test_crossnobis_visits_all_ordered_pairs_of_runs(n_runs: int, with_covariance: bool) -> None:
    runs = noisy_runs(n_runs, 6, 4)
    covariance = noise_covariance(4) if with_covariance else np.eye(4)
    precision = np.linalg.inv(covariance)
    expected = [
        np.mean(
            [
                (runs[a, i] - runs[a, j]) @ precision @ (runs[b, i] - runs[b, j])
                for a in range(n_runs)
                for b in range(n_runs)
                if a != b
            ]
        )
        / 4
        for i in range(6)
        for j in range(i + 1, 6)
    ]
    found = crossnobis_rdm(runs, covariance if with_covariance else None)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("with_covariance", [False, True])
def test_crossnobis_of_rsatoolbox(with_covariance: bool) -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    runs = noisy_runs(7, 12, 30)
    covariance = noise_covariance(30) if with_covariance else None
    theirs = rsatoolbox.rdm.calc_rdm(
        their_dataset(runs),
        method="crossnobis",
        descriptor="stimulus",
        cv_descriptor="run",
        noise=None if covariance is None else np.linalg.inv(covariance),
    )
    np.testing.assert_allclose(
        crossnobis_rdm(runs, covariance), theirs.dissimilarities[0], atol=1e-10
    )


def test_crossnobis_of_noise_is_zero_on_average_where_euclidean_is_not() -> None:
    rng = np.random.default_rng(2)
    runs = rng.standard_normal((300, 4, 5, 10))
    crossed = np.array([crossnobis_rdm(data) for data in runs])
    plain = np.array([compute_rdm(data.mean(axis=0), "euclidean") for data in runs])
    standard_error = crossed.std() / np.sqrt(crossed.size / 4)
    assert abs(crossed.mean()) < 4 * standard_error
    assert plain.mean() == pytest.approx(2 / 4, abs=0.02)


def test_single_precision_is_summed_in_double() -> None:
    runs = noisy_runs(6, 8, 40).astype(np.float32)
    found = crossnobis_rdm(runs)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, crossnobis_rdm(runs.astype(np.float64)), atol=1e-12)


@pytest.mark.parametrize("covariance", [None, noise_covariance(6)])
def test_a_missing_beta_takes_only_its_stimulus_out(covariance: np.ndarray | None) -> None:
    runs = noisy_runs(3, 4, 6)
    complete = crossnobis_rdm(runs, covariance)
    runs[1, 0, 2] = np.nan
    found = crossnobis_rdm(runs, covariance)
    np.testing.assert_array_equal(np.isnan(found), [True, True, True, False, False, False])
    np.testing.assert_allclose(found[3:], complete[3:])


def test_mahalanobis_of_scipy() -> None:
    patterns, covariance = noisy_runs(1, 6, 9)[0], noise_covariance(9)
    precision = np.linalg.inv(covariance)
    expected = [
        mahalanobis(patterns[i], patterns[j], precision) ** 2 / 9
        for i in range(6)
        for j in range(i + 1, 6)
    ]
    np.testing.assert_allclose(mahalanobis_rdm(patterns, covariance), expected, atol=1e-12)


def test_mahalanobis_of_rsatoolbox() -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    patterns, covariance = noisy_runs(1, 12, 30)[0], noise_covariance(30)
    theirs = rsatoolbox.rdm.calc_rdm(
        rsatoolbox.data.Dataset(patterns), method="mahalanobis", noise=np.linalg.inv(covariance)
    )
    np.testing.assert_allclose(
        mahalanobis_rdm(patterns, covariance), theirs.dissimilarities[0], atol=1e-10
    )


def test_without_noise_all_three_are_one_distance() -> None:
    patterns = noisy_runs(1, 6, 9)[0]
    expected = compute_rdm(patterns, "euclidean")
    np.testing.assert_allclose(mahalanobis_rdm(patterns, np.eye(9)), expected, atol=1e-12)
    np.testing.assert_allclose(
        crossnobis_rdm(np.stack([patterns] * 3), np.eye(9)), expected, atol=1e-12
    )


def test_errors() -> None:
    runs = noisy_runs(3, 4, 5)
    with pytest.raises(InputError, match=r"at least 2 runs but there are 1"):
        crossnobis_rdm(runs[:1])
    with pytest.raises(InputError, match=r"4 x 4 but there are 5 voxels"):
        crossnobis_rdm(runs, np.eye(4))
    for broken in (np.zeros((5, 5)), np.full((5, 5), np.nan), np.diag([1.0, 1, 1, 1, -1])):
        with pytest.raises(InputError, match="not positive definite"):
            mahalanobis_rdm(runs[0], broken)
