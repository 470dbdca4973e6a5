"""RDMs against hand-computed values and scipy."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from conceptrsa.analysis.rsa.distances import compute_rdm, metric_of_models, without_distance


def test_by_hand() -> None:
    patterns = np.array([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0], [0.0, 1.0, 0.0]])
    # Centred: (-1, 0, 1), (2, 0, -2), (-1, 2, -1) / 3: correlations -1, 0, 0.
    np.testing.assert_allclose(compute_rdm(patterns, "correlation"), [2.0, 1.0, 1.0], atol=1e-15)
    # Angles: 20 / sqrt(14 * 56), 2 / sqrt(14), 4 / sqrt(56).
    cosines = [20 / 28, 2 / np.sqrt(14), 4 / np.sqrt(56)]
    np.testing.assert_allclose(compute_rdm(patterns, "cosine"), 1 - np.array(cosines), atol=1e-15)


@pytest.mark.parametrize("metric", ["correlation", "cosine"])
@pytest.mark.parametrize(("n_voxels", "shift"), [(3, 0.0), (30, 0.0), (700, 50.0)])
def test_scipy(metric: str, n_voxels: int, shift: float) -> None:
    patterns = np.random.default_rng(n_voxels).standard_normal((50, n_voxels)) + shift
    np.testing.assert_allclose(compute_rdm(patterns, metric), pdist(patterns, metric), atol=1e-12)


@pytest.mark.parametrize(("metric", "flat"), [("correlation", 0.1), ("cosine", 0.0)])
def test_a_pattern_without_direction_has_no_distance(metric: str, flat: float) -> None:
    patterns = np.random.default_rng(0).standard_normal((4, 30))
    patterns[1] = flat
    missing = np.isnan(compute_rdm(patterns, metric))
    np.testing.assert_array_equal(missing, [True, False, False, True, True, False])


def test_rsatoolbox() -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    patterns = np.random.default_rng(1).standard_normal((20, 40))
    dataset = rsatoolbox.data.Dataset(patterns)
    expected = rsatoolbox.rdm.calc_rdm(dataset, method="correlation").dissimilarities[0]
    np.testing.assert_allclose(compute_rdm(patterns, "correlation"), expected, atol=1e-10)


@pytest.mark.parametrize("n_voxels", [3, 700])
def test_euclidean_is_squared_and_per_feature(n_voxels: int) -> None:
    rsatoolbox = pytest.importorskip("rsatoolbox")
    patterns = np.random.default_rng(2).standard_normal((20, n_voxels)) + 5
    found = compute_rdm(patterns, "euclidean")
    np.testing.assert_allclose(found, pdist(patterns) ** 2 / n_voxels, atol=1e-12)
    dataset = rsatoolbox.data.Dataset(patterns)
    expected = rsatoolbox.rdm.calc_rdm(dataset, method="euclidean").dissimilarities[0]
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_patterns_without_distance_are_named() -> None:
    patterns = np.random.default_rng(3).standard_normal((5, 30))
    patterns[1], patterns[2] = 0.1, 0.0
    patterns[4, 3] = np.nan
    expected = {
        "correlation": [False, True, True, False, True],
        "cosine": [False, False, True, False, True],
        "euclidean": [False, False, False, False, True],
    }
    for metric, missing in expected.items():
        np.testing.assert_array_equal(without_distance(patterns, metric), missing)
        involved = np.array([i in np.flatnonzero(missing) for i in range(5)])
        first, second = np.triu_indices(5, k=1)
        np.testing.assert_array_equal(
            np.isnan(compute_rdm(patterns, metric)), involved[first] | involved[second]
        )


def test_distances_that_need_noise_or_runs_are_elsewhere() -> None:
    patterns = np.random.default_rng(4).standard_normal((5, 30))
    for metric in ("mahalanobis", "crossnobis"):
        with pytest.raises(ValueError, match="see mahalanobis_rdm and crossnobis_rdm"):
            compute_rdm(patterns, metric)
        assert metric_of_models(metric) == "euclidean"
    assert metric_of_models("cosine") == "cosine"
