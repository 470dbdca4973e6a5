"""A real head with skull and neck: found as it is and disturbed, and what is no such head refused.

All transforms are compared in mm over the brain with those of the undisturbed image.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import real_head_subject
from nibabel.affines import apply_affine
from real_head_subject import CONFIG, STIMULI, TASK, Planted, write_subject
from scipy import ndimage

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.brain_mask import T1wMask, find_brain
from conceptrsa.interfaces.numerics.normalization import Normalization, normalize
from conceptrsa.interfaces.numerics.subject_regions import SubjectRegions, find_regions
from conceptrsa.interfaces.numerics.transforms import displacements, mask_points, rigid_matrix
from conceptrsa.pipelines.cli import main

pytestmark = pytest.mark.slow

Disturbed = tuple[nib.Nifti1Image, np.ndarray]


@dataclass(frozen=True)
class Head:
    """The image as it is, and what is found in it."""

    image: nib.Nifti1Image
    brain: T1wMask
    normalization: Normalization

    @property
    def data(self) -> np.ndarray:
        return np.asarray(self.image.dataobj, dtype=np.float32)


@pytest.fixture(scope="module")
def head_file(shared_data: Path) -> Path:
    return shared_data / "heads" / "head_01.nii.gz"


@pytest.fixture(scope="module")
def head(head_file: Path) -> Head:
    image = nib.load(head_file)
    brain = find_brain(image)
    return Head(image, brain, normalize(image, brain.mask))


@pytest.fixture(scope="module")
def regions(head: Head) -> SubjectRegions:
    return find_regions(head.image, head.brain.mask, head.normalization.t1w_to_mni305)


# --- As it is


def test_brain_and_place_are_found_without_a_doubt(head: Head) -> None:
    assert "network" in head.brain.method
    assert head.brain.warnings == ()
    assert 1300 < head.brain.volume_ml < 1800
    result = head.normalization
    assert result.detail > 0.72 and result.warnings == ()
    assert result.agreeing == len(result.searches)
    assert 0.9 < min(result.zooms) < max(result.zooms) < 1.25


def test_hippocampi_have_their_place_and_size(regions: SubjectRegions) -> None:
    """In MNI305, where brains are larger than they are."""
    labels = np.asarray(regions.labels.dataobj)
    assert regions.warnings == ()
    centres = []
    for label in (17, 53):
        voxels = np.argwhere(labels == label)
        assert 2.5 < len(voxels) * 8 / 1000 < 7
        centres.append(apply_affine(mni305_grid.AFFINE, voxels.mean(axis=0)))
    left, right = centres
    assert left[0] < -18 and right[0] > 18
    assert np.abs(left - right * [-1, 1, 1]).max() < 5
    assert -32 < left[1] < -12 and -25 < left[2] < -5


# --- Disturbed


def resampled(image: nib.Nifti1Image, voxel: float) -> nib.Nifti1Image:
    factor = voxel / np.linalg.norm(image.affine[:3, :3], axis=0)
    data = np.asarray(image.dataobj, dtype=np.float32)
    smooth = ndimage.gaussian_filter(data, 0.42 * np.sqrt(factor**2 - 1))
    shape = tuple(np.ceil(np.array(image.shape) / factor).astype(int))
    scale = np.diag([*factor, 1.0])
    return nib.Nifti1Image(
        ndimage.affine_transform(smooth, scale, output_shape=shape, order=1), image.affine @ scale
    )


def moved_turned_and_coarse(head: Head) -> Disturbed:
    coarse = resampled(head.image, 2.0)
    centre = mask_points(head.brain.mask, head.image.affine).mean(axis=0)
    motion = rigid_matrix(np.array([12.0, -12, 10]), np.array([0.2, 0.1, -0.15]), centre)
    return nib.Nifti1Image(np.asarray(coarse.dataobj), motion @ coarse.affine), motion


def far_off_with_axes_exchanged(head: Head) -> Disturbed:
    turn = np.zeros((4, 4))
    turn[[2, 0, 1, 3], [0, 1, 2, 3]] = 1
    turn[0, 1], turn[0, 3] = -1, head.image.shape[0] - 1
    data = np.ascontiguousarray(head.data[::-1].transpose(2, 0, 1))
    motion = rigid_matrix(np.array([300.0, -200, 250]), np.zeros(3))
    return nib.Nifti1Image(data, motion @ head.image.affine @ turn), motion


def top_cut(head: Head) -> Disturbed:
    """The uppermost 30 mm of the brain are not in the picture."""
    last = np.flatnonzero(head.brain.mask.any(axis=(0, 1)))[-1]
    height = np.linalg.norm(head.image.affine[:3, 2])
    return head.image.slicer[:, :, : last - round(30 / height)], np.eye(4)


@pytest.mark.parametrize("disturb", [moved_turned_and_coarse, far_off_with_axes_exchanged, top_cut])
def test_a_disturbed_image_leads_to_the_same_place_or_to_a_refusal(
    disturb: Callable[[Head], Disturbed], head: Head
) -> None:
    image, motion = disturb(head)
    try:
        found = normalize(image, find_brain(image).mask)
    except StepError:
        assert disturb is top_cut
        return
    points = mask_points(head.brain.mask, head.image.affine)[::50]
    off = displacements(found.matrix @ motion, head.normalization.matrix, points)
    assert off.mean() < 1.5


# --- Wrong


def upside_down(head: Head, _: Path) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.ascontiguousarray(head.data[:, :, ::-1]), head.image.affine)


def half_empty(head: Head, _: Path) -> nib.Nifti1Image:
    data = head.data.copy()
    data[: data.shape[0] // 2] = 0
    return nib.Nifti1Image(data, head.image.affine)


def epi_of_a_phantom_or_head(_: Head, shared_data: Path) -> nib.Nifti1Image:
    return nib.load(next((shared_data / "dcm_qa_stc").rglob("*.nii"))).slicer[..., 0]


def epi_of_someone(_: Head, shared_data: Path) -> nib.Nifti1Image:
    return nib.load(shared_data / "nibabel_coregistration" / "someones_epi.nii.gz")


@pytest.mark.parametrize(
    "make", [upside_down, half_empty, epi_of_a_phantom_or_head, epi_of_someone]
)
def test_what_is_no_t1w_of_a_whole_head_the_right_way_up_is_refused(
    make: Callable[[Head, Path], nib.Nifti1Image], head: Head, shared_data: Path
) -> None:
    image = make(head, shared_data)
    with pytest.raises(StepError, match="--t1w-mask"):
        normalize(image, find_brain(image).mask)


# --- From raw BIDS to betas


@dataclass(frozen=True)
class Subject:
    """Derivatives of a subject with this head, and what was planted in its EPI."""

    folder: Path
    planted: Planted

    def file(self, pattern: str) -> Path:
        (path,) = self.folder.glob(pattern)
        return path


@pytest.fixture(scope="module")
def subject(head: Head, head_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("real")
    planted = write_subject(folder / "bids", head_file, head.brain.mask, head.normalization.matrix)
    (folder / "config.toml").write_text(CONFIG)
    code = main([
        "run", str(folder / "bids"), str(folder / "out"), "participant",
        "--dataset-config", str(folder / "config.toml"), "--nprocs", "2",
    ])  # fmt: skip
    assert code == 0
    return Subject(folder / "out" / "sub-01", planted)


def test_the_brain_mask_is_left_with_how_it_was_found(subject: Subject, head: Head) -> None:
    mask = nib.load(subject.file("anat/sub-01_desc-brain_mask.nii.gz"))
    np.testing.assert_allclose(mask.affine, head.image.affine, atol=1e-4)
    assert np.array_equal(np.asarray(mask.dataobj) > 0, head.brain.mask)
    sidecar = json.loads(subject.file("anat/sub-01_desc-brain_mask.json").read_text())
    assert sidecar["Type"] == "Brain" and "network" in sidecar["method"]
    assert sidecar["volume_ml"] == pytest.approx(head.brain.volume_ml)
    assert sidecar["warnings"] == []


def test_the_epi_is_found_in_the_anatomy(subject: Subject, head: Head) -> None:
    found = np.loadtxt(subject.file(f"func/sub-01_task-{TASK}_from-boldref_to-T1w_xfm.txt"))
    in_epi = np.linalg.inv(subject.planted.bold_to_t1w)
    points = apply_affine(in_epi, mask_points(head.brain.mask, head.image.affine)[::50])
    off = displacements(found, subject.planted.bold_to_t1w, points)
    assert off.mean() < 2
    to_mni305 = np.loadtxt(subject.file("anat/sub-01_from-T1w_to-MNI305_xfm.txt"))
    np.testing.assert_allclose(to_mni305, head.normalization.t1w_to_mni305, atol=1e-3)


def test_regions_are_those_of_the_head_and_are_covered(
    subject: Subject, regions: SubjectRegions
) -> None:
    stem = "anat/sub-01_space-MNI305_seg-DesikanKilliany_res-2_dseg"
    labels = np.asarray(nib.load(subject.file(f"{stem}.nii.gz")).dataobj)
    assert (labels != np.asarray(regions.labels.dataobj)).mean() < 0.001
    sidecar = json.loads(subject.file(f"{stem}.json").read_text())
    assert "fitted to the subject" in sidecar["Description"]
    assert sidecar["correlation_with_template_warped"] == pytest.approx(regions.after, abs=0.01)
    coverage = pd.read_csv(subject.file("func/*_desc-coverage_rois.tsv"), sep="\t")
    assert list(coverage.columns) == [
        "roi", "n_voxels", "n_covered", "coverage", "distance_from_atlas_mm",
    ]  # fmt: skip
    assert len(coverage) == 4
    assert (coverage["coverage"] > 0.85).all()
    assert coverage["distance_from_atlas_mm"].between(0, 8).all()
    assert (coverage["distance_from_atlas_mm"] > 0).any()


def test_betas_in_epi_space_are_the_planted_responses(subject: Subject) -> None:
    stem = f"func/sub-01_task-{TASK}_space-boldref"
    image = nib.load(subject.file(f"{stem}_stat-effect_statmap.nii.gz"))
    table = pd.read_csv(subject.file(f"{stem}_stat-effect_statmap.tsv"), sep="\t")
    np.testing.assert_allclose(image.affine, subject.planted.bold_affine, atol=1e-3)
    assert sorted(table["stimulus"]) == list(STIMULI)
    betas = np.asarray(image.dataobj)
    responsive = subject.planted.responsive
    assert 200 < responsive.sum() < 800
    assert np.isfinite(betas[responsive]).mean() > 0.99
    used = responsive & np.isfinite(betas).all(axis=-1)
    for volume, stimulus in enumerate(table["stimulus"]):
        planted = subject.planted.responses[STIMULI.index(stimulus)]
        assert np.corrcoef(betas[used, volume], planted[used])[0, 1] > 0.6
    brain = np.asarray(nib.load(subject.file(f"{stem}_desc-brain_mask.nii.gz")).dataobj) > 0
    away = brain & ~ndimage.binary_dilation(responsive, iterations=3)
    away &= np.isfinite(betas).all(axis=-1)
    assert betas[used].mean() > 1 and abs(betas[away].mean()) < 0.2


def test_the_report_is_there(subject: Subject) -> None:
    page = (subject.folder.parent / "sub-01.html").read_text()
    for missing in ("nothing to look at", "no map of", "no outlines", "not saved"):
        assert missing not in page
    assert page.count('class="run"') == real_head_subject.N_RUNS
