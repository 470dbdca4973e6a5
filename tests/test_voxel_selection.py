"""Voxel selection against values worked out by hand."""

import numpy as np
import pytest

from analysis.patterns import RoiPatterns, SubjectPatterns
from analysis.settings import ComparisonSettings
from analysis.voxel_selection import max_beta, rank_voxels, select_voxels
from bids_config.errors import InputError


def subject(**rois: np.ndarray) -> SubjectPatterns:
    n_stimuli = len(next(iter(rois.values())))
    return SubjectPatterns(
        "01",
        tuple(f"s{row:03d}" for row in range(n_stimuli)),
        {name: RoiPatterns(values, np.arange(values.shape[1])) for name, values in rois.items()},
    )


def test_score_is_the_highest_beta_of_any_stimulus() -> None:
    values = np.array([[1.0, -3.0, 0.0], [-9.0, -2.0, 5.0], [0.5, -4.0, 5.0]])
    np.testing.assert_array_equal(max_beta(values), [1.0, -2.0, 5.0])


def test_equal_scores_keep_the_order_of_the_voxels() -> None:
    np.testing.assert_array_equal(rank_voxels(np.array([1.0, 3.0, 2.0, 3.0, 1.0])), [1, 3, 2, 0, 4])


def test_top_n() -> None:
    values = np.array([[5.0, 1.0, 4.0, 2.0, 0.0], [0.0, 6.0, 4.0, 2.0, 4.0]])
    found = select_voxels(subject(visual=values), ComparisonSettings(n_voxels=3))
    np.testing.assert_array_equal(found.columns["visual"], [1, 0, 2])
    assert found.warnings == ()


def test_top_n_of_a_small_region_takes_all_and_says_so() -> None:
    found = select_voxels(subject(amygdala=np.eye(4)), ComparisonSettings(n_voxels=30))
    assert sorted(found.columns["amygdala"]) == [0, 1, 2, 3]
    assert "holds 4 voxels with data, fewer than the 30" in found.warnings[0]


def test_all() -> None:
    found = select_voxels(subject(visual=np.eye(4)), ComparisonSettings(voxel_selection="all"))
    np.testing.assert_array_equal(found.columns["visual"], np.arange(4))


def test_threshold_leaves_exactly_30_hippocampal_voxels() -> None:
    rng = np.random.default_rng(3)
    rois = {"visual": rng.standard_normal((50, 900)), "hippocampus": rng.standard_normal((50, 200))}
    found = select_voxels(subject(**rois), ComparisonSettings(voxel_selection="threshold"))
    threshold = sorted(rois["hippocampus"].max(axis=0), reverse=True)[30]
    assert len(found.columns["hippocampus"]) == 30
    expected = [v for v in range(900) if rois["visual"][:, v].max() > threshold]
    assert found.columns["visual"].tolist() == expected
    assert 30 < len(expected) < 900


def test_threshold_is_strict_where_scores_tie() -> None:
    hippocampus = np.array([[4.0, 3.0, 3.0, 3.0, 1.0]] * 2)
    visual = np.array([[3.0, 3.5, 5.0]] * 2)
    settings = ComparisonSettings(voxel_selection="threshold", n_voxels=3)
    found = select_voxels(subject(visual=visual, hippocampus=hippocampus), settings)
    assert found.columns["hippocampus"].tolist() == [0]
    assert found.columns["visual"].tolist() == [1, 2]


def test_threshold_of_a_small_hippocampus_takes_all_of_it() -> None:
    hippocampus = np.array([[4.0, 3.0, 2.0]] * 2)
    visual = np.array([[1.9, 2.0, 2.1]] * 2)
    settings = ComparisonSettings(voxel_selection="threshold", n_voxels=5)
    found = select_voxels(subject(visual=visual, hippocampus=hippocampus), settings)
    assert found.columns["hippocampus"].tolist() == [0, 1, 2]
    assert found.columns["visual"].tolist() == [1, 2]
    assert "hippocampus holds 3 voxels" in found.warnings[0]


def test_threshold_needs_its_region() -> None:
    with pytest.raises(InputError, match="region hippocampus, which sub-01 lacks"):
        select_voxels(subject(visual=np.eye(4)), ComparisonSettings(voxel_selection="threshold"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"voxel_selection": "best"},
        {"rdm_metric": "euclid"},
        {"rsa_metric": "kendall"},
        {"preset": "mine"},
        {"n_voxels": 2},
        {"n_random_draws": 0},
        {"seed": -1},
    ],
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        ComparisonSettings(**wrong)
