"""Reading betas: order, regions, missing values, and every kind of bad input."""

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from conceptrsa.analysis.betas.read import read_betas
from conceptrsa.analysis.brain.comparable import require_comparable
from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.schema import RoiDefinition

SHAPE = (5, 6, 4)
AFFINE = np.diag([-2.0, 2.0, 2.0, 1.0])
ROIS = (RoiDefinition("visual", (1011, 2011)), RoiDefinition("hippocampus", (17,)))
STIMULI = ("n01443537_22563", "n01621127_19020", "n01677366_18182", "n02071294_46212")


def atlas() -> np.ndarray:
    labels = np.zeros(SHAPE, np.int16)
    labels[0], labels[1], labels[2, :3] = 1011, 2011, 17
    return labels


def save(data: np.ndarray, file: Path, affine: np.ndarray = AFFINE) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = nib.MGHImage if file.suffix == ".mgz" else nib.Nifti1Image
    nib.save(kind(data, affine), file)


def betas_of(subject: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(subject)
    return {stimulus: rng.standard_normal(SHAPE).astype(np.float32) for stimulus in STIMULI}


@pytest.fixture
def paper_layout(tmp_path: Path) -> Path:
    """Two subjects whose files are numbered in another order than the stimulus ids."""
    save(atlas(), tmp_path / "atlas.nii.gz")
    for subject in (1, 2):
        folder = tmp_path / "betas" / f"sub-{subject:02d}"
        for number, (stimulus, volume) in zip((6, 4, 5, 3), betas_of(subject).items(), strict=True):
            save(volume, folder / f"{stimulus}_..beta_{number:04d}.nii")
    return tmp_path


@pytest.fixture
def derivatives(tmp_path: Path) -> Path:
    """Two subjects whose volumes are not in the order of the stimulus ids."""
    for subject in (1, 2):
        name = f"sub-{subject:02d}"
        folder = tmp_path / name
        stem = folder / "func" / f"{name}_task-perception_space-MNI305_res-2_stat-effect"
        order = [STIMULI[index] for index in (2, 0, 3, 1)]
        volumes = np.stack([betas_of(subject)[stimulus] for stimulus in order], axis=-1)
        for description, scale in (("", 1), ("_desc-odd", 2), ("_desc-even", 3)):
            save(scale * volumes, Path(f"{stem}{description}_statmap.nii.gz"))
            table = pd.DataFrame({"volume": range(4), "stimulus": order, "n_runs": 35})
            shuffled = table.iloc[[3, 1, 0, 2]]
            shuffled.to_csv(f"{stem}{description}_statmap.tsv", sep="\t", index=False)
        dseg = folder / "anat" / f"{name}_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz"
        save(atlas(), dseg)
    return tmp_path


def read_paper_layout(folder: Path) -> tuple[SubjectPatterns, ...]:
    atlas_file = folder / "atlas.nii.gz"
    return read_betas(folder / "betas", ROIS, atlas=atlas_file, betas_format="paper")


def check_values(subjects: tuple[SubjectPatterns, ...], scale: float = 1) -> None:
    assert [subject.label for subject in subjects] == ["sub-01", "sub-02"]
    for number, subject in enumerate(subjects, start=1):
        assert subject.stimuli == STIMULI
        assert list(subject.rois) == ["visual", "hippocampus"]
        for roi in ROIS:
            inside = np.isin(atlas(), roi.labels)
            expected = np.stack([betas_of(number)[stimulus][inside] for stimulus in STIMULI])
            found = subject.rois[roi.name]
            np.testing.assert_array_equal(found.values, (scale * expected).astype(np.float32))
            np.testing.assert_array_equal(found.voxels, np.flatnonzero(inside))
            assert found.n_dropped == 0


def test_paper_layout_is_ordered_by_stimulus_not_by_number(paper_layout: Path) -> None:
    check_values(read_paper_layout(paper_layout))


def test_derivatives_are_ordered_by_stimulus_not_by_volume(derivatives: Path) -> None:
    check_values(read_betas(derivatives, ROIS))


def test_halves_of_the_derivatives(derivatives: Path) -> None:
    subjects = read_betas(derivatives, ROIS)
    for subject in subjects:
        for roi in subject.rois.values():
            np.testing.assert_array_equal(roi.odd, (2 * roi.values.astype(np.float32)))
            np.testing.assert_allclose(roi.even, 3 * roi.values, rtol=1e-6)
    next(derivatives.glob("sub-02/func/*desc-odd*.nii.gz")).unlink()
    first, second = read_betas(derivatives, ROIS)
    assert first.rois["visual"].odd is not None
    assert second.rois["visual"].odd is None and second.rois["visual"].even is None


def test_participants_can_be_named(derivatives: Path) -> None:
    check_values(read_betas(derivatives, ROIS, participants=["02", "sub-01"]))


@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz"])
def test_other_volume_formats(paper_layout: Path, suffix: str) -> None:
    for file in (paper_layout / "betas").rglob("*.nii"):
        save(np.asarray(nib.load(file).dataobj), file.with_suffix(suffix))
        file.unlink()
    check_values(read_paper_layout(paper_layout))


def test_betas_of_other_conditions_are_left_out_and_named(paper_layout: Path) -> None:
    save(np.ones(SHAPE), paper_layout / "betas" / "sub-01" / "fixation_..beta_0001.nii")
    subjects = read_paper_layout(paper_layout)
    check_values(subjects)
    assert "fixation_..beta_0001.nii" in subjects[0].notes[0]


def test_voxels_without_data_in_any_image_are_dropped_and_counted(paper_layout: Path) -> None:
    file = next((paper_layout / "betas" / "sub-02").glob(f"{STIMULI[2]}*"))
    volume = np.asarray(nib.load(file).dataobj).copy()
    volume[2, 0, 0], volume[2, 1, 1] = np.nan, np.inf
    save(volume, file)
    subjects = read_paper_layout(paper_layout)
    hippocampus = subjects[1].rois["hippocampus"]
    assert (hippocampus.n_voxels, hippocampus.n_dropped) == (10, 2)
    assert subjects[1].rois["visual"].n_dropped == 0
    assert subjects[0].rois["hippocampus"].n_voxels == 12
    kept = np.unravel_index(hippocampus.voxels, SHAPE)
    expected = betas_of(2)[STIMULI[0]][kept]
    np.testing.assert_array_equal(hippocampus.values[0], expected)
    assert "hippocampus 2 of 12" in subjects[1].notes[0]


def duplicate_stimulus(folder: Path) -> None:
    file = next((folder / "betas" / "sub-01").glob(f"{STIMULI[1]}*"))
    shutil.copy(file, file.with_name(f"{STIMULI[1]}_beta_0050.nii"))


def missing_stimulus(folder: Path) -> None:
    next((folder / "betas" / "sub-02").glob(f"{STIMULI[1]}*")).unlink()


def other_place(folder: Path) -> None:
    affine = AFFINE.copy()
    affine[1, 3] = -400
    save(atlas(), folder / "atlas.nii.gz", affine)


def mixed_grids(folder: Path) -> None:
    for file in (folder / "betas" / "sub-02").iterdir():
        save(np.asarray(nib.load(file).dataobj), file, np.diag([-2.0, 2.0, 2.5, 1.0]))


def absent_label(folder: Path) -> None:
    save(np.where(atlas() == 17, 0, atlas()), folder / "atlas.nii.gz")


def not_labels(folder: Path) -> None:
    save(atlas() * 0.3, folder / "atlas.nii.gz")


def missing_atlas(folder: Path) -> None:
    (folder / "atlas.nii.gz").unlink()


def truncated_beta(folder: Path) -> None:
    file = next((folder / "betas" / "sub-02").glob(f"{STIMULI[3]}*"))
    file.write_bytes(file.read_bytes()[:500])


def truncated_gzip(folder: Path) -> None:
    file = next((folder / "betas" / "sub-02").glob(f"{STIMULI[3]}*"))
    packed = gzip.compress(file.read_bytes())
    file.with_suffix(".nii.gz").write_bytes(packed[: len(packed) // 2])
    file.unlink()


def one_subject(folder: Path) -> None:
    shutil.rmtree(folder / "betas" / "sub-02")


def no_betas(folder: Path) -> None:
    for file in (folder / "betas" / "sub-01").iterdir():
        file.unlink()


def nan_volume(folder: Path) -> None:
    file = next((folder / "betas" / "sub-01").glob(f"{STIMULI[2]}*"))
    save(np.full(SHAPE, np.nan), file)


def all_nan(folder: Path) -> None:
    for file in (folder / "betas" / "sub-01").iterdir():
        volume = np.asarray(nib.load(file).dataobj).copy()
        volume[2] = np.nan
        save(volume, file)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (duplicate_stimulus, f"both betas of stimulus {STIMULI[1]}"),
        (other_place, r"holds no voxel in the grid of .*sub-01.* \(0% of it lies within"),
        (mixed_grids, "sub-02.* lies on another grid than the betas of other subjects .*sub-01"),
        (absent_label, "no voxel with label 17, which region hippocampus needs"),
        (not_labels, "not a volume of whole-number labels"),
        (missing_atlas, "atlas.nii.gz is missing"),
        (truncated_beta, "n02071294_46212.*cannot be read"),
        (truncated_gzip, "n02071294_46212.*cannot be read"),
        (no_betas, "sub-01 holds no file named"),
        (nan_volume, f"beta of stimulus {STIMULI[2]} in .*sub-01.*nii is not finite in any voxel"),
        (all_nan, "region hippocampus of sub-01 holds no voxel with data"),
    ],
)
def test_bad_input_is_named(paper_layout: Path, damage, message: str) -> None:
    damage(paper_layout)
    with pytest.raises(InputError, match=message):
        read_paper_layout(paper_layout)


def test_each_subject_keeps_its_own_stimuli(paper_layout: Path) -> None:
    missing_stimulus(paper_layout)
    first, second = read_paper_layout(paper_layout)
    assert set(first.stimuli) - set(second.stimuli) == {STIMULI[1]}
    one_subject(paper_layout)
    (alone,) = read_paper_layout(paper_layout)
    assert alone.stimuli == first.stimuli


def test_folder_without_subjects(tmp_path: Path) -> None:
    save(atlas(), tmp_path / "atlas.nii.gz")
    with pytest.raises(InputError, match="holds no sub-"):
        read_betas(tmp_path, ROIS, atlas=tmp_path / "atlas.nii.gz", betas_format="paper")
    with pytest.raises(InputError, match="run the participant level"):
        read_betas(tmp_path, ROIS, betas_format="derivatives")


@pytest.mark.parametrize(
    ("pattern", "change", "message"),
    [
        ("sub-02/func/*effect_statmap.tsv", Path.unlink, "which names the volumes"),
        ("sub-02/func/*effect_statmap.nii.gz", Path.unlink, "is missing: run the participant"),
        ("sub-02/anat/*_dseg.nii.gz", Path.unlink, "dseg.nii.gz is missing"),
        (
            "sub-02/func/*effect_statmap.nii.gz",
            lambda file: file.write_bytes(file.read_bytes()[:-200]),
            "cannot be read",
        ),
        (
            "sub-02/func/*effect_statmap.tsv",
            lambda file: file.write_text("volume\tstimulus\n0\ta\n1\tb\n2\tc\n"),
            "names 3 stimuli but .* holds 4",
        ),
        (
            "sub-02/func/*effect_statmap.tsv",
            lambda file: file.write_text("volume\tstimulus\n0\ta\n1\tb\n2\ta\n3\tc\n"),
            "names the stimulus 'a' more than once",
        ),
        (
            "sub-02/func/*effect_statmap.tsv",
            lambda file: file.write_text("volume\tstimulus\n0\ta\n1\tb\n1\tc\n3\td\n"),
            "number each volume once",
        ),
        (
            "sub-02/func/*effect_statmap.tsv",
            lambda file: file.write_text("volume\tstimulus\n0\ta\none\tb\n2\tc\n3\td\n"),
            "which is not a number",
        ),
        (
            "sub-02/func/*effect_statmap.tsv",
            lambda file: file.write_bytes("volume\tstimulus\n0\té\n".encode("latin-1")),
            "is not UTF-8 text",
        ),
        (
            "sub-02/func/*effect_statmap.tsv",
            lambda file: file.write_text("index\tname\n"),
            "lacks the columns volume, stimulus",
        ),
        (
            "sub-02/func/*effect_statmap.nii.gz",
            lambda file: shutil.copy(file, str(file).replace("task-perception", "task-imagery")),
            "several tasks",
        ),
    ],
)
def test_bad_derivatives_are_named(derivatives: Path, pattern: str, change, message: str) -> None:
    change(next(derivatives.glob(pattern)))
    with pytest.raises(InputError, match=message):
        read_betas(derivatives, ROIS)


def set_estimations(folder: Path, first: dict[str, object], second: dict[str, object]) -> None:
    for subject, estimation in (("sub-01", first), ("sub-02", second)):
        for betas in folder.glob(f"{subject}/func/*MNI305_res-2_stat-effect*_statmap.nii.gz"):
            sidecar = betas.with_name(betas.name.replace(".nii.gz", ".json"))
            sidecar.write_text(json.dumps({"Estimation": estimation}))


OF_FMRIPREP = {"Engine": "python", "Preprocessing": "fMRIPrep 25"}


@pytest.mark.parametrize(
    ("engine", "first", "second"),
    [
        ("python", 1.475 / 3, 1.476 / 3),
        ("python", 0.5, 0.492),
        ("spm", 8 / 16, 9 / 16),  # of 1.593 and 1.595 s at a TR of 3 s
    ],
)
def test_moments_that_differ_by_rounding_are_the_same(
    engine: str, first: float, second: float, derivatives: Path
) -> None:
    common = {**OF_FMRIPREP, "Engine": engine}
    moments = ({**common, "SliceTimeReference": moment} for moment in (first, second))
    set_estimations(derivatives, *moments)
    assert len(read_betas(derivatives, ROIS)) == 2


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            {**OF_FMRIPREP, "SliceTimeReference": 0.5}, {**OF_FMRIPREP, "SliceTimeReference": 0.0},
            "run fMRIPrep on both with the same --slice-time-ref, then",
        ),
        (
            {"Engine": "spm", "SliceTimeReference": 8 / 16},
            {"Engine": "spm", "SliceTimeReference": 9 / 16},
            "run the participant level again for one of them$",
        ),
        (
            {**OF_FMRIPREP, "SliceTimeReference": 0.0, "SliceTimingCorrected": True},
            {**OF_FMRIPREP, "SliceTimeReference": 0.5, "SliceTimingCorrected": False},
            "with SliceTimingCorrected = False but .* on both with --ignore slicetiming",
        ),
        (
            {"SliceTimingCorrected": True},
            {"SliceTimingCorrected": False},
            "again for one of them, both with --ignore slicetiming or both without",
        ),
        ({"HRF": "spm"}, {"HRF": "glover"}, "again for one of them$"),
        ({"SliceTimeReference": 0.5}, {}, "SliceTimeReference = None"),
    ],
)  # fmt: skip
def test_subjects_of_other_settings_are_refused(
    first: dict[str, object], second: dict[str, object], message: str, derivatives: Path
) -> None:
    set_estimations(derivatives, first, second)
    with pytest.raises(InputError, match=message):
        read_betas(derivatives, ROIS)


def test_subjects_must_have_the_same_regions() -> None:
    roi = RoiPatterns(np.arange(12.0).reshape(3, 4), np.arange(4))
    first = SubjectPatterns("01", ("a", "b", "c"), {"visual": roi, "fusiform": roi})
    second = SubjectPatterns("02", ("a", "b", "c"), {"visual": roi})
    with pytest.raises(InputError, match="sub-02 has no region fusiform"):
        require_comparable([first, second])
    with pytest.raises(
        InputError, match="the comparison holds the subject 'sub-01' more than once"
    ):
        require_comparable([first, first])
    empty = RoiPatterns(np.zeros((3, 0)), np.arange(0))
    unmeasured = replace(second, rois={"visual": roi, "fusiform": empty})
    with pytest.raises(InputError, match="region fusiform of sub-02 holds no voxel with data"):
        require_comparable([first, unmeasured])
    with pytest.raises(InputError, match="holds 2 stimuli"):
        require_comparable([replace(first, stimuli=("a", "b")), second])
