"""Betas that hold nothing, or that are not the response to one condition."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import supplied_data as data
from betas_forms import read
from odd_inputs import betas as odd

from analysis.comparison import compare
from analysis.models.feature_files import Features
from analysis.patterns import RoiPatterns, SubjectPatterns, require_comparable
from analysis.results import ComparisonResult
from analysis.settings import settings_for
from bids_config.errors import InputError

QUICK = {"n_permutations": 100, "n_bootstraps": 100, "n_random_draws": 2, "multiverse": False}
SAME = (
    "voxels left out because their beta is the same for all stimuli (of all runs, a half or a "
    f"run), as outside of a mask: visual {odd.N_UNMEASURED} of 70"
)
NOT_FINITE = f"voxels left out because a beta is not finite: visual {odd.N_UNMEASURED} of 70"
ALL, ODD, ONE_RUN = slice(None), slice(0, None, 2), slice(1, 2)
FORMS: dict[str, Callable[[Path], None]] = {
    "derivatives": data.write_derivatives,
    "paper": data.write_paper_layout,
    "spm": data.write_spm,
    "statmaps": data.write_statmaps,
    "table.tsv": data.write_table,
    "npz": data.write_roi_patterns,
    "h5": lambda folder: data.write_roi_patterns(folder, "h5"),
}
HOLDS = {"derivatives": (ALL, ODD), "paper": (ALL,)}
"""Parts of the runs of which the betas are in a form, where not of each run."""


def results(subjects: tuple[SubjectPatterns, ...]) -> ComparisonResult:
    selection = {} if subjects[0].rois["visual"].odd is not None else {"voxel_selection": "all"}
    rng = np.random.default_rng(5)
    models = [
        Features(name, "visual", data.STIMULI, rng.standard_normal((len(data.STIMULI), 6)), "")
        for name in ("one", "two")
    ]
    return compare(subjects, models, settings_for("recommended", **QUICK, **selection))


def written(
    folder: Path, form: str, runs_of: Callable[[str], np.ndarray], patch: pytest.MonkeyPatch
) -> tuple[SubjectPatterns, ...]:
    path = folder / form
    with patch.context() as patched:
        patched.setattr(data, "runs_of", runs_of)
        FORMS[form](path)
    data.write_atlas(folder / "atlas.nii.gz")
    options = {} if form in ("derivatives", "npz", "h5") else {"atlas": folder / "atlas.nii.gz"}
    return read(path, stimuli=data.STIMULI, **options)


@pytest.mark.parametrize(
    ("form", "runs", "value", "rounding"),
    [
        (form, runs, value, 0.0)
        for form in FORMS
        for runs in HOLDS.get(form, (ALL, ODD, ONE_RUN))
        for value in (0.0, -7.3)
    ]
    + [("table.tsv", ALL, 1000.0, 1e-5), ("npz", ALL, 0.0, 1e-9)],
)
def test_voxels_that_are_the_same_for_all_stimuli_count_as_missing(
    form: str,
    runs: slice,
    value: float,
    rounding: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = written(tmp_path / "same", form, odd.runs_with(value, runs, rounding), monkeypatch)
    missing = written(tmp_path / "missing", form, odd.runs_with(np.nan, runs), monkeypatch)
    for subject, expected in zip(found, missing, strict=True):
        assert f"{subject.label}: {SAME}" in subject.notes
        assert f"{subject.label}: {NOT_FINITE}" in expected.notes
        for name, roi in expected.rois.items():
            np.testing.assert_array_equal(subject.rois[name].values, roi.values)
            np.testing.assert_array_equal(subject.rois[name].voxels, roi.voxels)
            np.testing.assert_array_equal(subject.rois[name].odd, roi.odd)
            assert subject.rois[name].n_dropped == roi.n_dropped
    if runs != ALL or value:
        return
    one, other = results(found), results(missing)
    assert one.coverage == other.coverage
    assert f"sub-01: {SAME}" in one.warnings
    for roi, of_missing in zip(one.primary.rois, other.primary.rois, strict=True):
        np.testing.assert_array_equal(roi.rsa, of_missing.rsa)
        np.testing.assert_array_equal(roi.ceiling.pairwise, of_missing.ceiling.pairwise)
        np.testing.assert_array_equal(roi.n_voxels, of_missing.n_voxels)
    for sweep, of_missing_sweep in zip(one.sweeps, other.sweeps, strict=True):
        np.testing.assert_array_equal(sweep.random.pairwise, of_missing_sweep.random.pairwise)


def test_run_betas_of_the_derivatives_are_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "runs_of", odd.runs_with(0.0, ONE_RUN))
    data.write_derivatives(tmp_path)
    data.write_run_betas(tmp_path)
    for subject in read(tmp_path, with_runs=True):
        assert subject.notes == (f"{subject.label}: {SAME}",)
        assert subject.rois["visual"].runs.shape[-1] == 70 - odd.N_UNMEASURED


def made_by_hand(**arrays: np.ndarray) -> tuple[SubjectPatterns, ...]:
    rng = np.random.default_rng(1)
    subjects = []
    for label in ("01", "02"):
        values = rng.standard_normal((len(data.STIMULI), 20))
        roi = RoiPatterns(values, np.arange(20), odd=values + 0.1, even=values - 0.1)
        subjects.append(SubjectPatterns(label, data.STIMULI, {"visual": roi}))
    return tuple(subjects)


@pytest.mark.parametrize("part", ["values", "odd", "even"])
def test_patterns_made_by_hand_are_looked_at_too(part: str) -> None:
    subjects = made_by_hand()
    for subject in subjects:
        getattr(subject.rois["visual"], part)[:, :5] = 0
    result = results(subjects)
    note = SAME.replace(f"visual {odd.N_UNMEASURED} of 70", "visual 5 of 20")
    assert f"sub-02: {note}" in result.warnings
    assert result.coverage[0].n_without_betas == 5


def test_a_region_outside_of_the_mask_is_refused() -> None:
    subjects = made_by_hand()
    subjects[1].rois["visual"].values[:] = 3.0
    with pytest.raises(InputError, match="region visual of sub-02 holds no voxel with data"):
        results(subjects)


def test_voxels_with_a_zero_in_some_images_are_kept_and_told() -> None:
    subjects = made_by_hand()
    subjects[0].rois["visual"].values[2, 3:6] = 0
    note = "sub-01: voxels whose beta is exactly 0 for some stimuli but not for all, kept: "
    assert f"{note}visual 3 of 20" in results(subjects).warnings


def test_two_equal_betas_by_chance_are_data() -> None:
    """Of integers, as many scanners and packages store them."""
    subjects = made_by_hand()
    roi = subjects[0].rois["visual"]
    runs = np.stack([roi.values[:2].round(), roi.values[:2].round()])
    of_two = RoiPatterns(np.ones((2, 20)), np.arange(20), runs=runs)
    assert of_two.with_data() is of_two
    require_comparable([replace(subject) for subject in subjects])
