"""RDMs against hand-computed values and scipy."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from conceptrsa.analysis.models.feature_files import Features, ModelRdm
from conceptrsa.analysis.models.model_set import ModelSet
from conceptrsa.analysis.rsa import distances
from conceptrsa.analysis.rsa.distances import (
    compute_rdm,
    compute_single_rdm,
    metric_of_models,
    without_distance,
)


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


@pytest.mark.parametrize("metric", ["correlation", "cosine", "euclidean"])
@pytest.mark.parametrize("n_stimuli", [7, 21, 22])
def test_many_patterns_by_blocks(metric: str, n_stimuli: int, monkeypatch) -> None:
    patterns = np.random.default_rng(4).standard_normal((n_stimuli, 30)) + 3
    patterns[2] = patterns[5]
    patterns[4, 1] = np.nan
    expected = compute_rdm(patterns, metric)
    monkeypatch.setattr(distances, "MANY_PATTERNS", 3)
    monkeypatch.setattr(distances, "PATTERNS_AT_ONCE", 7)
    np.testing.assert_allclose(compute_rdm(patterns, metric), expected, atol=1e-13)
    single = compute_single_rdm(patterns, metric)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=2e-6)


@pytest.mark.parametrize("metric", ["correlation", "cosine", "euclidean"])
def test_single_precision_of_distances_that_hardly_differ(metric: str, monkeypatch) -> None:
    generator = np.random.default_rng(5)
    patterns = 3 * generator.standard_normal(30) + 1e-4 * generator.standard_normal((20, 30))
    expected = compute_rdm(patterns, metric)
    monkeypatch.setattr(distances, "MANY_PATTERNS", 3)
    single = compute_single_rdm(patterns, metric)
    np.testing.assert_allclose(single, expected, rtol=1e-6)


def test_models_of_some_stimuli_in_single_precision() -> None:
    names = tuple("abcdefgh")
    values = np.random.default_rng(6).standard_normal((8, 30))
    whole = ModelRdm("B", "visual", names, compute_rdm(values, "cosine"))
    models = ModelSet((Features("A", "visual", names, values), whole), names)
    some = models.of_stimuli(["g", "a", "d"])
    found = some.rdms("correlation")
    rows = [6, 0, 3]
    np.testing.assert_allclose(found[0], compute_rdm(values[rows], "correlation"), atol=1e-14)
    np.testing.assert_allclose(found[1], compute_rdm(values[rows], "cosine"), atol=1e-14)
    single = some.single_rdms("correlation")
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, found.astype(np.float32))
    assert some.names == models.names


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
