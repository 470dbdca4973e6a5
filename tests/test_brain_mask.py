import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import from_matvec
from planted_heads import epi, head, random_rigid
from scipy import ndimage

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics import brain_mask as module
from conceptrsa.interfaces.numerics.brain_mask import brain_mask
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import write_matrix
from conceptrsa.interfaces.python.masks import BrainMask


@pytest.fixture(scope="module")
def planted():
    return random_rigid(np.random.default_rng(0))


def t1w_mask() -> nib.Nifti1Image:
    return nib.Nifti1Image(head().brain.astype(np.uint8), head().affine)


def brain_in_epi(image: nib.Nifti1Image, bold_to_t1w: np.ndarray) -> np.ndarray:
    parts = head()
    return (
        resample(
            parts.brain.astype(np.uint8),
            parts.affine,
            image.shape,
            image.affine,
            np.linalg.inv(bold_to_t1w),
            "nearest",
        )
        > 0
    )


def test_mask_holds_the_brain_with_its_dropout_and_little_more(planted, tmp_path):
    image = epi(np.random.default_rng(0), planted)
    valid = np.ones(image.shape, dtype=np.uint8)
    valid[:, :, 30:] = 0
    nib.save(image, tmp_path / "mean.nii")
    nib.save(nib.Nifti1Image(valid, image.affine), tmp_path / "valid.nii")
    write_matrix(tmp_path / "bold_to_t1w.txt", planted)
    nib.save(t1w_mask(), tmp_path / "t1w_mask.nii")
    step = BrainMask(
        boldref_file=str(tmp_path / "mean.nii"),
        valid_mask_file=str(tmp_path / "valid.nii"),
        bold_to_t1w_file=str(tmp_path / "bold_to_t1w.txt"),
        t1w_mask_file=str(tmp_path / "t1w_mask.nii"),
    )
    mask = np.asarray(nib.load(step.run(cwd=str(tmp_path)).outputs.mask_file).dataobj) > 0
    brain = brain_in_epi(image, planted)
    seen = brain & (valid > 0)
    assert not mask[:, :, 30:].any()
    assert (mask & seen).sum() > 0.995 * seen.sum()
    assert mask.sum() < 1.35 * seen.sum()
    dark = seen & (image.get_fdata() < 0.2 * np.percentile(image.get_fdata(), 98))
    assert dark.sum() > 100
    assert mask[dark].mean() > 0.95


def test_dilation_widens_by_as_many_mm(planted, monkeypatch):
    image = epi(np.random.default_rng(0), planted)
    valid = np.ones(image.shape, dtype=bool)
    sizes = []
    for dilation in (0.0, 4.0):
        monkeypatch.setattr(module, "DILATION", dilation)
        sizes.append(np.asarray(brain_mask(image, valid, planted, t1w_mask()).dataobj).sum())
    assert 1.1 < sizes[1] / sizes[0] < 1.3


def test_epi_beside_the_brain_is_refused(planted):
    image = epi(np.random.default_rng(0), planted)
    beside = planted.copy()
    beside[2, 3] += 200
    with pytest.raises(StepError, match="inside the EPI"):
        brain_mask(image, np.ones(image.shape, dtype=bool), beside, t1w_mask())


def test_mask_does_not_depend_on_the_voxels_and_the_border_of_the_t1w(planted):
    """Voxels of other sizes, axes in another order, and a picture that ends with the brain."""
    image = epi(np.random.default_rng(0), planted)
    valid = np.ones(image.shape, dtype=bool)
    parts = head()
    (box,) = ndimage.find_objects(parts.brain.astype(np.int8))
    corner = from_matvec(np.eye(3), [part.start for part in box])
    tight = nib.Nifti1Image(parts.brain[box].astype(np.uint8), parts.affine @ corner)
    turned = np.eye(4)[[2, 0, 1, 3]]
    exchanged = nib.Nifti1Image(
        parts.brain.astype(np.uint8).transpose(1, 2, 0), parts.affine @ turned
    )
    slabs = nib.Nifti1Image(
        np.repeat(parts.brain.astype(np.uint8), 2, axis=0),
        parts.affine @ np.diag([0.5, 1, 1, 1]) @ from_matvec(np.eye(3), [-0.5, 0, 0]),
    )
    usual, *others = (
        np.asarray(brain_mask(image, valid, planted, mask).dataobj) > 0
        for mask in (t1w_mask(), tight, exchanged, slabs)
    )
    assert np.array_equal(usual, others[0])
    assert np.array_equal(usual, others[1])
    assert (usual ^ others[2]).sum() < 0.03 * usual.sum()
