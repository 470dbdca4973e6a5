import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from planted_heads import epi, head, random_rigid, t1w

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics.coregistration import coregister
from conceptrsa.interfaces.numerics.transforms import displacements, mask_points, write_matrix
from conceptrsa.interfaces.python.preprocess import CheckCoregistration, Coregister


def error(result: np.ndarray, planted: np.ndarray, points_in_t1w: np.ndarray) -> float:
    """Mean displacement in mm over the brain."""
    points = nib.affines.apply_affine(np.linalg.inv(planted), points_in_t1w)
    return float(displacements(result, planted, points).mean())


@pytest.fixture(scope="module")
def real_pair(shared_data):
    folder = shared_data / "nibabel_coregistration"
    return nib.load(folder / "someones_epi.nii.gz"), nib.load(folder / "someones_anatomy.nii.gz")


@pytest.mark.parametrize(
    ("skull", "slices"),
    [(True, slice(None, 26)), (False, slice(12, None))],
    ids=["top missing", "no skull in T1w, bottom missing"],
)
def test_planted_motion_is_found(skull, slices):
    """Bright fluid, dropout, oblique slab; starts up to 8 mm and 0.1 rad off."""
    generator = np.random.default_rng(2)
    planted = random_rigid(generator)
    result = coregister(epi(generator, planted, slices), t1w(generator, skull=skull))
    assert error(result.matrix, planted, head().brain_points) < 1
    assert result.agreeing == len(result.starts)
    assert result.warnings == ()


def test_real_pair_comes_back_together_and_always_the_same(real_pair, tmp_path):
    image, anatomy = real_pair
    data = image.get_fdata(dtype=np.float32)
    planted = random_rigid(np.random.default_rng(0))
    moved = nib.Nifti1Image(data, np.linalg.inv(planted) @ image.affine)
    nib.save(moved, tmp_path / "mean.nii")
    nib.save(anatomy, tmp_path / "T1w.nii")
    result = coregister(nib.load(tmp_path / "mean.nii"), nib.load(tmp_path / "T1w.nii"))
    brain = mask_points(data > 0.3 * np.percentile(data, 99), image.affine)
    assert error(result.matrix, planted, brain) < 1

    step = Coregister(
        source_file=str(tmp_path / "mean.nii"), reference_file=str(tmp_path / "T1w.nii")
    )
    outputs = step.run(cwd=str(tmp_path)).outputs
    np.testing.assert_allclose(np.loadtxt(outputs.transform_file), result.matrix, atol=1e-10)
    report = json.loads(Path(outputs.report_file).read_text())
    assert report["starts_agreeing"] == 6
    assert report["normalised_mutual_information"] == pytest.approx(1.131, abs=0.005)
    assert report["warnings"] == []


def test_header_far_off_is_mended_with_a_warning(real_pair):
    image, anatomy = real_pair
    planted = np.eye(4)
    planted[:3, 3] = [0, 20, 70]
    moved = nib.Nifti1Image(image.get_fdata(), np.linalg.inv(planted) @ image.affine)
    result = coregister(moved, anatomy)
    brain = mask_points(image.get_fdata() > 30, image.affine)
    assert error(result.matrix, planted, brain) < 1
    assert any("headers" in warning for warning in result.warnings)


def refused_sources(image, anatomy):
    generator = np.random.default_rng(0)
    data = image.get_fdata(dtype=np.float32)
    noise = generator.normal(size=data.shape).astype(np.float32)
    out_of_field = np.full_like(data, data.min())
    out_of_field[:, :, :6] = data[:, :, -6:]
    turned_over = np.asarray(anatomy.dataobj)[:, ::-1]
    return {
        "noise": (nib.Nifti1Image(noise, image.affine), anatomy),
        "out of the field": (nib.Nifti1Image(out_of_field, image.affine), anatomy),
        "back to front": (image, nib.Nifti1Image(turned_over, anatomy.affine)),
        "constant": (nib.Nifti1Image(np.ones_like(data), image.affine), anatomy),
    }


@pytest.mark.parametrize("case", ["noise", "out of the field", "back to front", "constant"])
def test_what_cannot_be_registered_is_refused(real_pair, case):
    with pytest.raises(StepError):
        coregister(*refused_sources(*real_pair)[case])


@pytest.mark.parametrize(
    ("shift", "said"), [(0, []), (25, ["the mean EPI and the T1w image do not seem to be aligned"])]
)
def test_what_was_registered_before_is_checked(real_pair, tmp_path, shift, said):
    """A doubt about fMRIPrep's coregistration is a warning, and none about a good one."""
    image, anatomy = real_pair
    affine = image.affine + np.array([[0, 0, 0, 0], [0, 0, 0, shift], [0] * 4, [0] * 4])
    data = image.get_fdata(dtype=np.float32)
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "mean.nii")
    nib.save(nib.Nifti1Image(np.ones(data.shape, np.uint8), affine), tmp_path / "mask.nii")
    nib.save(anatomy, tmp_path / "T1w.nii")
    write_matrix(tmp_path / "identity.txt", np.eye(4))
    step = CheckCoregistration(
        source_file=str(tmp_path / "mean.nii"),
        mask_file=str(tmp_path / "mask.nii"),
        reference_file=str(tmp_path / "T1w.nii"),
        transform_file=str(tmp_path / "identity.txt"),
    )
    report = json.loads(Path(step.run(cwd=str(tmp_path)).outputs.report_file).read_text())
    assert [warning.split(" as fMRIPrep")[0] for warning in report["warnings"]] == said
