"""The regions of one head, against those that were planted in it."""

import json
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from planted_heads import DemoHead, demo_head, dice

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics import mni305_grid, subject_regions
from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305
from conceptrsa.interfaces.numerics.normalization import normalize
from conceptrsa.interfaces.numerics.subject_regions import SubjectRegions, find_regions
from conceptrsa.interfaces.numerics.transforms import write_matrix
from conceptrsa.interfaces.python.rois import MNI305Rois

pytestmark = pytest.mark.slow

LEAST_DICE = {"visual": 0.6, "fusiform": 0.7, "parahippocampal": 0.65, "hippocampus": 0.8}
"""Of what the atlas and the warp planted, on voxels of 2 mm."""


@dataclass(frozen=True)
class Found:
    """A head of the demo by its own mask, and its regions in MNI305: planted, packaged, found."""

    head: DemoHead
    t1w_to_mni305: np.ndarray
    true: np.ndarray
    atlas: np.ndarray
    regions: SubjectRegions

    @property
    def own(self) -> np.ndarray:
        return np.asarray(self.regions.labels.dataobj)


@pytest.fixture(scope="module")
def found() -> Found:
    head = demo_head()
    matrix = normalize(head.t1w, head.brain).t1w_to_mni305
    return Found(
        head,
        matrix,
        head.truth.labels_in_mni305(matrix),
        np.asarray(desikan_killiany_mni305()[0].dataobj),
        find_regions(head.t1w, head.brain, matrix),
    )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("region", LEAST_DICE)
def test_the_atlas_fitted_to_the_head_is_nearer_to_its_regions(
    region: str, side: str, found: Found
) -> None:
    (labels,) = [
        roi.labels for roi in load_dataset_config("demo").rois if roi.name == f"{region}-{side}"
    ]
    true, atlas, own = (np.isin(x, labels) for x in (found.true, found.atlas, found.own))
    assert dice(own, true) > dice(atlas, true) + 0.1
    assert dice(own, true) > LEAST_DICE[region]
    assert 0.7 < own.sum() / true.sum() < 1.4
    centres = [np.argwhere(mask).mean(axis=0) for mask in (true, atlas, own)]
    from_atlas, from_own = (2 * np.linalg.norm(centre - centres[0]) for centre in centres[1:])
    assert from_own < min(from_atlas, 2.0)


def test_left_is_left_and_every_region_is_there(found: Found) -> None:
    names = desikan_killiany_mni305()[1]
    assert set(np.unique(found.own)) == set(np.unique(found.atlas)) == {0, *names}
    own = []
    for index, name in names.items():
        mask = found.own == index
        x = apply_affine(mni305_grid.AFFINE, np.argwhere(mask).mean(axis=0))[0]
        if "lh" in name or "Left" in name:
            assert x < 0, name
        elif "rh" in name or "Right" in name:
            assert x > 0, name
        own.append(dice(mask, found.true == index))
    assert np.median(own) > 0.65
    assert min(own) > 0.3


def test_grid_and_evidence(found: Found) -> None:
    image, regions = found.regions.labels, found.regions
    assert image.shape == mni305_grid.SHAPE and image.get_data_dtype() == np.int16
    np.testing.assert_array_equal(image.affine, mni305_grid.AFFINE)
    assert 0.4 < regions.before < regions.after - 0.2
    assert 0.05 < regions.jacobian[0] < 1 < regions.jacobian[1] < 10
    assert 0.6 < regions.grey_share < 0.9
    assert regions.warnings == ()


def test_cortical_labels_keep_to_grey_matter(found: Found) -> None:
    """The planted regions are the atlas', of which a part lies in white matter and liquid."""
    cortex = found.own >= 1000
    brain = found.own > 0
    to_voxels = np.linalg.inv(found.t1w_to_mni305 @ found.head.t1w.affine) @ mni305_grid.AFFINE
    voxels = np.rint(apply_affine(to_voxels, np.argwhere(cortex))).astype(int)
    values = np.asarray(found.head.t1w.dataobj)[tuple(voxels.T)]
    white = np.median(np.asarray(found.head.t1w.dataobj)[found.head.brain])
    assert 0.5 < cortex.sum() / brain.sum() < 0.9
    assert np.mean((values > 0.5 * white) & (values < 1.4 * white)) > 0.9


def test_the_step_gives_what_the_function_gives(
    found: Found, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []

    def find(t1w: nib.Nifti1Image, mask: np.ndarray, matrix: np.ndarray) -> SubjectRegions:
        seen.append((t1w.shape, mask.dtype, mask.sum(), matrix))
        return found.regions

    monkeypatch.setattr("conceptrsa.interfaces.python.rois.find_regions", find)
    nib.save(found.head.t1w, tmp_path / "T1w.nii")
    mask = nib.Nifti1Image(found.head.brain.astype(np.uint8), found.head.t1w.affine)
    nib.save(mask, tmp_path / "mask.nii")
    write_matrix(tmp_path / "matrix.txt", found.t1w_to_mni305)
    step = MNI305Rois(
        t1w_file=str(tmp_path / "T1w.nii"),
        t1w_mask_file=str(tmp_path / "mask.nii"),
        t1w_to_mni305_file=str(tmp_path / "matrix.txt"),
    )
    assert step.files_read() == []
    outputs = step.run(cwd=str(tmp_path)).outputs
    ((shape, dtype, n_voxels, matrix),) = seen
    assert shape == found.head.t1w.shape
    assert dtype.kind == "b" and n_voxels == found.head.brain.sum()
    np.testing.assert_allclose(matrix, found.t1w_to_mni305, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(nib.load(outputs.dseg_file).dataobj), found.own)
    report = json.loads(Path(outputs.report_file).read_text())
    assert report["correlation_with_template_warped"] == found.regions.after
    assert len(Path(outputs.labels_file).read_text().splitlines()) == 84


def still(head: np.ndarray, _: np.ndarray) -> np.ndarray:
    """No displacement at all, in no time."""
    return np.zeros((*head.shape, 3), dtype=np.float32)


def test_a_field_that_folds_is_refused(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    def fold(head: np.ndarray, template: np.ndarray) -> np.ndarray:
        field = still(head, template)
        field[40:44, ..., 0] = [[[3.0]], [[1.0]], [[-1.0]], [[-3.0]]]
        return field

    monkeypatch.setattr(subject_regions, "_register", fold)
    with pytest.raises(StepError, match=r"least local volume -.*--roi-source template"):
        find_regions(found.head.t1w, found.head.brain, found.t1w_to_mni305)


def test_a_field_that_fits_worse_is_refused(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    def shift(head: np.ndarray, template: np.ndarray) -> np.ndarray:
        return still(head, template) + np.float32([5, 0, 0])

    monkeypatch.setattr(subject_regions, "_register", shift)
    with pytest.raises(StepError, match="could not be warped to this head"):
        find_regions(found.head.t1w, found.head.brain, found.t1w_to_mni305)


def test_without_displacement_the_regions_are_the_atlas_in_grey_matter(
    found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deep structures are the atlas', apart from the voxels of MNI152 that they go through."""
    monkeypatch.setattr(subject_regions, "_register", still)
    regions = find_regions(found.head.t1w, found.head.brain, found.t1w_to_mni305)
    assert regions.before == pytest.approx(regions.after)
    np.testing.assert_allclose(regions.jacobian, 1)
    own = np.asarray(regions.labels.dataobj)
    shifts = []
    for label in (10, 49, 11, 50, 12, 51, 17, 53, 18, 54, 16):
        mask, in_atlas = own == label, found.atlas == label
        assert dice(mask, in_atlas) > 0.75
        shifts.append(np.argwhere(mask).mean(axis=0) - np.argwhere(in_atlas).mean(axis=0))
    # In voxels of 2 mm; rounding twice shifts a small structure, but not all of them one way.
    assert np.abs(shifts).max() < 1
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.3


def test_a_head_in_which_grey_and_white_look_alike_is_warned_of(
    found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the brain is as bright as its white matter, and only its outline is left."""
    monkeypatch.setattr(subject_regions, "_register", still)
    data = np.where(found.head.brain, 800.0, 20.0).astype(np.float32)
    data += 10 * np.random.default_rng(0).standard_normal(data.shape, dtype=np.float32)
    flat = nib.Nifti1Image(data, found.head.t1w.affine)
    regions = find_regions(flat, found.head.brain, found.t1w_to_mni305)
    (warning,) = regions.warnings
    assert "check that the T1w image separates grey from white" in warning
