import numpy as np
import pytest

from conceptrsa.analysis.brain.patterns import (
    EVERY_SUBJECT,
    RoiPatterns,
    SubjectPatterns,
    coverage_of,
)


def subject(label: str, voxels: list[int], n_dropped: int) -> SubjectPatterns:
    values = np.random.default_rng(0).normal(size=(3, len(voxels)))
    return SubjectPatterns(
        subject=label,
        stimuli=("a", "b", "c"),
        rois={"hippocampus": RoiPatterns(values, np.array(voxels), n_dropped)},
    )


def test_voxels_that_any_subject_lacks_are_counted_where_all_have_the_same_region():
    rows = coverage_of([subject("01", [1, 2, 3], 1), subject("02", [2, 3, 4], 1)])
    assert [(row.subject, row.n_voxels, row.n_without_betas) for row in rows] == [
        ("sub-01", 4, 1),
        ("sub-02", 4, 1),
        (EVERY_SUBJECT, 4, 2),
    ]
    assert rows[-1].share_without_betas == pytest.approx(0.5)


@pytest.mark.parametrize("voxels", [[2, 3, 4, 5], [11, 12, 13]])
def test_regions_of_each_subject_have_no_voxels_in_common(voxels):
    rows = coverage_of([subject("01", [1, 2, 3], 1), subject("02", voxels, 1)])
    assert [row.subject for row in rows] == ["sub-01", "sub-02"]
