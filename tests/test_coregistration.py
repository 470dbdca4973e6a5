import json

import nibabel as nib
import numpy as np
import pytest
from planted_heads import epi, head, random_rigid, t1w

from bids_config.errors import StepError
from interfaces.coregister import Coregister
from interfaces.embedded.coregistration import coregister
from interfaces.embedded.transforms import displacements, mask_points


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
    [(True, slice(None)), (False, slice(None)), (True, slice(None, 26)), (True, slice(12, None))],
    ids=["skull", "no skull in T1w", "top missing", "bottom missing"],
)
def test_planted_motion_is_found(skull, slices):
    """Bright fluid, dropout, oblique EPI; starts up to 8 mm and 0.1 rad off."""
    generator = np.random.default_rng(3)
    planted = random_rigid(generator)
    result = coregister(epi(generator, planted, slices), t1w(generator, skull=skull))
    assert error(result.matrix, planted, head().brain_points) < 1
    assert result.agreeing == len(result.starts)
    assert result.warnings == ()


@pytest.mark.parametrize("seed", [0, 1])
def test_real_pair_comes_back_together(real_pair, seed):
    image, anatomy = real_pair
    data = image.get_fdata(dtype=np.float32)
    planted = random_rigid(np.random.default_rng(seed))
    moved = nib.Nifti1Image(data, np.linalg.inv(planted) @ image.affine)
    brain = mask_points(data > 0.3 * np.percentile(data, 99), image.affine)
    assert error(coregister(moved, anatomy).matrix, planted, brain) < 1


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
    out_of_field[:, :, :6] = data[:, :, 27:] + noise[:, :, :6]
    out_of_field[:, :, :6] *= np.linspace(0.1, 1, 6) < 0.3
    distance = np.linalg.norm(np.indices((60, 60, 60)) - 29.5, axis=0)
    ball = (distance < 26) + 0.05 * generator.normal(size=distance.shape)
    centred = np.diag([3.0, 3, 3, 1])
    centred[:3, 3] = -88
    turned_over = np.asarray(anatomy.dataobj)[:, ::-1]
    return {
        "noise": (nib.Nifti1Image(noise, image.affine), anatomy),
        "out of the field": (nib.Nifti1Image(out_of_field, image.affine), anatomy),
        "a ball": (image, nib.Nifti1Image(ball.astype(np.float32), centred)),
        "back to front": (image, nib.Nifti1Image(turned_over, anatomy.affine)),
        "constant": (nib.Nifti1Image(np.ones_like(data), image.affine), anatomy),
    }


@pytest.mark.parametrize(
    "case", ["noise", "out of the field", "a ball", "back to front", "constant"]
)
def test_what_cannot_be_registered_is_refused(real_pair, case):
    with pytest.raises(StepError):
        coregister(*refused_sources(*real_pair)[case])


def test_step_writes_matrix_and_evidence(real_pair, tmp_path):
    image, anatomy = real_pair
    nib.save(image, tmp_path / "mean.nii")
    nib.save(anatomy, tmp_path / "T1w.nii")
    step = Coregister(
        source_file=str(tmp_path / "mean.nii"), reference_file=str(tmp_path / "T1w.nii")
    )
    outputs = [step.run(cwd=str(tmp_path)).outputs for _ in range(2)]
    matrices = [np.loadtxt(output.transform_file) for output in outputs]
    np.testing.assert_array_equal(*matrices)
    np.testing.assert_allclose(matrices[0], np.eye(4), atol=0.5)
    with open(outputs[0].report_file) as stream:
        report = json.load(stream)
    assert report["starts_agreeing"] == 6
    assert report["normalised_mutual_information"] == pytest.approx(1.131, abs=0.005)
    assert report["warnings"] == []
