"""Betas as volumes in every form, read and compared with what was written."""

from pathlib import Path

import numpy as np
import pytest
import supplied_data as data

from conceptrsa.analysis.betas.read import read_betas
from conceptrsa.analysis.brain.patterns import SubjectPatterns, have_patterns


def read(path: Path, **options) -> tuple[SubjectPatterns, ...]:
    subjects = read_betas(path, data.ROIS, **options)
    assert have_patterns(subjects)
    return subjects


def check(
    subjects: tuple[SubjectPatterns, ...],
    *,
    halves: bool = True,
    runs: bool = False,
    labels: tuple[str, ...] = data.SUBJECTS,
) -> None:
    """Compare with the betas that were written."""
    assert tuple(subject.subject for subject in subjects) == labels
    for subject in subjects:
        assert subject.stimuli == data.STIMULI
        assert list(subject.rois) == [roi.name for roi in data.ROIS]
        for roi in data.ROIS:
            found = subject.rois[roi.name]
            expected = data.patterns_of(subject.subject, roi)
            close = {"rtol": 1e-6, "atol": 1e-7}
            np.testing.assert_allclose(found.values, expected.mean(axis=0), **close)
            np.testing.assert_array_equal(found.voxels, np.flatnonzero(data.inside(roi)))
            if halves:
                np.testing.assert_allclose(found.odd, expected[0::2].mean(axis=0), **close)
                np.testing.assert_allclose(found.even, expected[1::2].mean(axis=0), **close)
            else:
                assert found.odd is None and found.even is None
            if runs:
                np.testing.assert_array_equal(found.runs, expected)
            else:
                assert found.runs is None


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every form of volumes, and an atlas."""
    folder = tmp_path_factory.mktemp("betas")
    data.write_atlas(folder / "atlas.nii.gz")
    data.write_per_subject_atlases(folder / "atlases")
    data.write_derivatives(folder / "derivatives")
    data.write_derivatives(folder / "without_halves", halves=False)
    data.write_paper_layout(folder / "paper")
    data.write_spm(folder / "spm")
    data.write_statmaps(folder / "statmaps")
    data.write_table(folder / "table.tsv")
    return folder
