"""Voxel selection against values worked out by hand."""

import numpy as np
import pytest

from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns
from conceptrsa.analysis.brain.voxel_selection import (
    Scores,
    SelectedVoxels,
    max_beta,
    rank_voxels,
    select_voxels,
)
from conceptrsa.analysis.settings import ComparisonSettings, settings_for
from conceptrsa.bids_config.errors import InputError


def subject(**rois: np.ndarray) -> SubjectPatterns:
    n_stimuli = len(next(iter(rois.values())))
    return SubjectPatterns(
        "01",
        tuple(f"s{row:03d}" for row in range(n_stimuli)),
        {name: RoiPatterns(values, np.arange(values.shape[1])) for name, values in rois.items()},
    )


def select(
    subject: SubjectPatterns,
    settings: ComparisonSettings,
    scores: Scores | None = None,
    sizes: dict[str, int] | None = None,
    seed: int = 0,
) -> dict[str, SelectedVoxels]:
    """Select voxels of the highest betas, the settings' number of each region, unless told."""
    scores = scores or {name: max_beta(roi.values) for name, roi in subject.rois.items()}
    return {
        roi: select_voxels(
            subject,
            roi,
            settings,
            scores,
            (sizes or {}).get(roi, settings.n_voxels),
            np.random.default_rng(seed),
        )
        for roi in subject.rois
    }


def test_equal_scores_keep_the_order_of_the_voxels() -> None:
    np.testing.assert_array_equal(rank_voxels(np.array([1.0, 3.0, 2.0, 3.0, 1.0])), [1, 3, 2, 0, 4])


def test_voxels_without_a_score_come_last() -> None:
    np.testing.assert_array_equal(rank_voxels(np.array([np.nan, 3.0, np.nan, 4.0])), [3, 1, 0, 2])


def test_top_n() -> None:
    values = np.array([[5.0, 1.0, 4.0, 2.0, 0.0], [0.0, 6.0, 4.0, 2.0, 4.0]])
    found = select(subject(visual=values), settings_for("paper", n_voxels=3))
    np.testing.assert_array_equal(found["visual"].columns, [1, 0, 2])
    assert found["visual"].warnings == ()


def test_top_n_of_a_small_region_takes_all_and_says_so() -> None:
    found = select(subject(amygdala=np.eye(4)), settings_for("paper", n_voxels=30))
    assert sorted(found["amygdala"].columns) == [0, 1, 2, 3]
    assert "holds 4 voxels with data, fewer than the requested 30" in found["amygdala"].warnings[0]


def test_all() -> None:
    found = select(subject(visual=np.eye(4)), settings_for("paper", voxel_selection="all"))
    np.testing.assert_array_equal(found["visual"].columns, np.arange(4))


def test_threshold_leaves_exactly_30_hippocampal_voxels() -> None:
    rng = np.random.default_rng(3)
    rois = {"visual": rng.standard_normal((50, 900)), "hippocampus": rng.standard_normal((50, 200))}
    found = select(subject(**rois), settings_for("paper", voxel_selection="threshold"))
    threshold = sorted(rois["hippocampus"].max(axis=0), reverse=True)[30]
    assert len(found["hippocampus"].columns) == 30
    expected = [v for v in range(900) if rois["visual"][:, v].max() > threshold]
    assert found["visual"].columns.tolist() == expected
    assert 30 < len(expected) < 900


def test_threshold_is_strict_where_scores_tie() -> None:
    hippocampus = np.array([[4.0, 3.0, 3.0, 3.0, 1.0]] * 2)
    visual = np.array([[3.0, 3.5, 5.0]] * 2)
    settings = settings_for("paper", voxel_selection="threshold", n_voxels=3)
    found = select(subject(visual=visual, hippocampus=hippocampus), settings)
    assert found["hippocampus"].columns.tolist() == [0]
    assert found["visual"].columns.tolist() == [1, 2]


def test_threshold_of_a_small_hippocampus_takes_all_of_it() -> None:
    hippocampus = np.array([[4.0, 3.0, 2.0]] * 2)
    visual = np.array([[1.9, 2.0, 2.1]] * 2)
    settings = settings_for("paper", voxel_selection="threshold", n_voxels=5)
    found = select(subject(visual=visual, hippocampus=hippocampus), settings)
    assert found["hippocampus"].columns.tolist() == [0, 1, 2]
    assert found["visual"].columns.tolist() == [1, 2]
    assert "hippocampus holds 3 voxels" in found["hippocampus"].warnings[0]


def test_threshold_needs_its_region() -> None:
    with pytest.raises(InputError, match="region hippocampus, which sub-01 lacks"):
        select(subject(visual=np.eye(4)), settings_for("paper", voxel_selection="threshold"))


def test_scores_of_other_runs_decide() -> None:
    """The betas of the patterns would put the voxels in the reverse order."""
    values = np.array([[4.0, 3.0, 2.0, 1.0]] * 2)
    scores = {"visual": np.array([1.0, 2.0, 3.0, 4.0]), "hippocampus": np.array([3.5, 0, 0, 0])}
    both = subject(visual=values, hippocampus=values)
    found = select(both, settings_for("paper", n_voxels=3), scores)
    assert found["visual"].columns.tolist() == [3, 2, 1]
    settings = settings_for("paper", voxel_selection="threshold", n_voxels=3)
    scores = {"visual": np.array([1.0, 2.0, 3.0, 4.0]), "hippocampus": np.array([5.0, 4, 3, 2.5])}
    found = select(both, settings, scores)
    assert found["hippocampus"].columns.tolist() == [0, 1, 2]
    assert found["visual"].columns.tolist() == [2, 3]


def test_voxels_without_a_score_are_above_no_threshold() -> None:
    values = np.eye(5)
    scores = {
        "visual": np.array([np.nan, 9.0, 1.0, 4.0, 3.0]),
        "hippocampus": np.array([np.nan, 7.0, 6.0, 5.0, 3.5]),
    }
    settings = settings_for("paper", voxel_selection="threshold", n_voxels=3)
    found = select(subject(visual=values, hippocampus=values), settings, scores)
    assert found["hippocampus"].columns.tolist() == [1, 2, 3]
    assert found["visual"].columns.tolist() == [1, 3]
    scores["hippocampus"][:] = np.nan
    with pytest.raises(InputError, match="no voxel of region hippocampus of sub-01 has a score"):
        select(subject(visual=values, hippocampus=values), settings, scores)


def test_best_n_takes_the_number_of_each_region() -> None:
    values = np.array([[4.0, 1.0, 3.0, 2.0]] * 2)
    settings = settings_for("paper", voxel_selection="best-n")
    found = select(
        subject(visual=values, fusiform=values), settings, sizes={"visual": 3, "fusiform": 9}
    )
    assert found["visual"].columns.tolist() == [0, 2, 3]
    assert found["fusiform"].columns.tolist() == [0, 2, 3, 1]
    assert len(found["fusiform"].warnings) == 1
    assert (
        "fusiform holds 4 voxels with data, fewer than the requested 9"
        in found["fusiform"].warnings[0]
    )


@pytest.mark.parametrize("voxel_selection", ["top-n", "best-n"])
def test_voxels_with_an_exact_zero_are_skipped_where_asked_for(voxel_selection: str) -> None:
    values = np.array([[9.0, 1.0, 8.0, 2.0, 7.0, 3.0], [0.0, 1.0, -1.0, 2.0, -0.0, 3.0]])
    settings = settings_for("paper", voxel_selection=voxel_selection, n_voxels=3, skip_zeros=True)
    found = select(subject(visual=values), settings, sizes={"visual": 3})
    assert found["visual"].columns.tolist() == [2, 5, 3]
    assert found["visual"].warnings == ()
    settings = settings_for("paper", voxel_selection=voxel_selection, n_voxels=5, skip_zeros=True)
    found = select(subject(visual=values), settings, sizes={"visual": 5})
    assert found["visual"].columns.tolist() == [2, 5, 3, 1]
    assert "holds 4 voxels with data, fewer than the requested 5" in found["visual"].warnings[0]


def test_threshold_and_all_do_not_look_at_zeros() -> None:
    values = np.array([[4.0, 3.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    both = subject(visual=values, hippocampus=values)
    settings = settings_for("paper", voxel_selection="threshold", n_voxels=3, skip_zeros=True)
    assert select(both, settings)["visual"].columns.tolist() == [0, 1, 2]
    settings = settings_for("paper", voxel_selection="all", skip_zeros=True)
    assert select(both, settings)["visual"].columns.tolist() == [0, 1, 2, 3]


def test_random_voxels_are_distinct_and_equally_likely() -> None:
    values = np.random.default_rng(0).standard_normal((3, 10))
    settings = settings_for("paper", voxel_selection="random", n_voxels=4)
    counts = np.zeros(10)
    for seed in range(1000):
        columns = select(subject(visual=values), settings, seed=seed)["visual"].columns
        assert len(set(columns)) == 4
        counts[columns] += 1
    # Binomial(1000, 0.4): a standard deviation of 15.5.
    assert np.abs(counts - 400).max() < 5 * 15.5


def test_random_voxels_of_a_region_do_not_depend_on_other_regions() -> None:
    values = np.random.default_rng(0).standard_normal((3, 100))
    settings = settings_for("paper", voxel_selection="random", n_voxels=5)

    def columns(seed: int, **rois: np.ndarray) -> dict[str, list[int]]:
        found = select(subject(**rois), settings, seed=seed)
        return {name: selected.columns.tolist() for name, selected in found.items()}

    both = columns(1, fusiform=values, visual=values)
    assert columns(1, visual=values)["visual"] == both["visual"]
    assert both["visual"] != both["fusiform"]
    assert columns(2, visual=values)["visual"] != both["visual"]


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
