import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from planted_heads import head, random_rigid, t1w
from scipy.ndimage import gaussian_filter

from bids_config.errors import StepError
from interfaces.embedded import mni305
from interfaces.embedded.normalization import normalize, template_correlation
from interfaces.embedded.resampling import resample
from interfaces.embedded.transforms import displacements
from interfaces.normalize import Normalize


def random_affine(generator: np.random.Generator) -> np.ndarray:
    """Twelve parameters: 15 mm, 0.2 rad, zooms of 12 %, shears of 0.04."""
    shape = np.eye(4)
    shape[:3, :3] = np.diag(1 + generator.uniform(-0.12, 0.12, 3)) @ (
        np.eye(3) + generator.uniform(-0.04, 0.04, (3, 3)) * (1 - np.eye(3))
    )
    return random_rigid(generator, 15, 0.2) @ shape


@pytest.fixture(scope="module")
def anatomy(shared_data):
    return nib.load(shared_data / "nibabel_coregistration" / "someones_anatomy.nii.gz")


def test_planted_transform_of_a_brain_without_skull_is_found():
    generator = np.random.default_rng(5)
    planted = random_affine(generator)
    result = normalize(t1w(generator, planted, skull=False))
    points = apply_affine(np.linalg.inv(planted), head().brain_points)
    assert displacements(result.matrix, planted, points).mean() < 0.7
    assert displacements(result.matrix, planted, points).max() < 1.5
    assert result.agreeing == len(result.searches)
    assert result.warnings == ()


def test_head_with_skull_and_neck_off_the_origin_is_found():
    generator = np.random.default_rng(6)
    off = np.eye(4)
    off[:3, 3] = [10, 50, -60]
    planted = off @ random_affine(generator)
    image = t1w(generator)
    data = np.pad(image.get_fdata(dtype=np.float32), ((0, 0), (0, 0), (40, 0)))
    affine = image.affine.copy()
    affine[2, 3] -= 80
    x, y, z = apply_affine(affine, np.indices(data.shape).reshape(3, -1).T).T
    neck = ((z < -78) & (np.hypot(x, y + 30) < 60)).reshape(data.shape)
    data[neck] = generator.uniform(200, 500, neck.sum())
    result = normalize(nib.Nifti1Image(data, np.linalg.inv(planted) @ affine))
    points = apply_affine(np.linalg.inv(planted), head().brain_points)
    assert displacements(result.matrix, planted, points).mean() < 1.5


def test_real_head_lies_on_the_template(anatomy, tmp_path):
    nib.save(anatomy, tmp_path / "T1w.nii")
    outputs = Normalize(in_file=str(tmp_path / "T1w.nii")).run(cwd=str(tmp_path)).outputs
    to_mni152 = mni305.MNI305_TO_MNI152 @ np.loadtxt(outputs.transform_file)
    template, mask = load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)
    moved = resample(
        np.asarray(anatomy.dataobj), anatomy.affine, mask.shape, mask.affine, to_mni152
    )
    brain = (np.asarray(mask.dataobj) > 0) & np.isfinite(moved)
    assert brain.sum() > 0.98 * np.asarray(mask.dataobj).sum()
    assert np.corrcoef(moved[brain], template.get_fdata()[brain])[0, 1] > 0.85
    report = json.loads(Path(outputs.report_file).read_text())
    assert report["correlation_with_template"] > 0.95
    assert report["starts_agreeing"] == 6
    assert 0.9 < min(report["zooms"]) < max(report["zooms"]) < 1.1


@pytest.mark.parametrize("case", ["noise", "back to front", "constant"])
def test_what_cannot_be_registered_is_refused(anatomy, case):
    data = np.asarray(anatomy.dataobj, dtype=np.float32)
    images = {
        "noise": np.random.default_rng(0).normal(size=data.shape).astype(np.float32),
        "back to front": data[:, ::-1],
        "constant": np.ones_like(data),
    }
    with pytest.raises(StepError):
        normalize(nib.Nifti1Image(images[case], anatomy.affine))


def test_a_transform_from_elsewhere_is_held_against_the_template(anatomy, tmp_path):
    transform = normalize(anatomy).t1w_to_mni305
    assert template_correlation(anatomy, transform) > 0.95
    aside = np.eye(4)
    aside[:3, 3] = [0, 30, 20]
    wrong = aside @ transform
    assert template_correlation(anatomy, wrong) < 0.6

    nib.save(anatomy, tmp_path / "T1w.nii")
    transforms = tmp_path / "sub-01" / "mri" / "transforms"
    transforms.mkdir(parents=True)
    for matrix, n_warnings in ((transform, 0), (wrong, 1)):
        rows = "\n".join(" ".join(f"{value:.8f}" for value in row) for row in matrix[:3])
        (transforms / "talairach.xfm").write_text(
            f"MNI Transform File\nTransform_Type = Linear;\nLinear_Transform =\n{rows};\n"
        )
        step = Normalize(in_file=str(tmp_path / "T1w.nii"), fs_subject_dir=str(tmp_path / "sub-01"))
        report = json.loads(Path(step.run(cwd=str(tmp_path)).outputs.report_file).read_text())
        assert len(report["warnings"]) == n_warnings


def test_a_reconstruction_of_another_image_is_refused(tmp_path: Path) -> None:
    """The same image, but FreeSurfer's lies 15 mm away: its talairach.xfm fits that place only."""
    rng = np.random.default_rng(0)
    picture = gaussian_filter(rng.normal(size=(48, 48, 48)), 3.0).astype(np.float32)
    affine = np.diag([3.0, 3, 3, 1])
    nib.save(nib.Nifti1Image(picture, affine), tmp_path / "T1w.nii")
    transforms = tmp_path / "sub-01" / "mri" / "transforms"
    transforms.mkdir(parents=True)
    (transforms / "talairach.xfm").write_text(
        "MNI Transform File\n\nTransform_Type = Linear;\nLinear_Transform = \n"
        "1 0 0 0\n0 1 0 0\n0 0 1 0;\n"
    )
    step = Normalize(in_file=str(tmp_path / "T1w.nii"), fs_subject_dir=str(tmp_path / "sub-01"))
    orig = tmp_path / "sub-01" / "mri" / "orig.mgz"
    nib.save(nib.MGHImage(picture, affine), orig)
    report = step.run(cwd=str(tmp_path)).outputs.report_file
    assert json.loads(Path(report).read_text())["correlation_with_orig"] > 0.99
    moved = affine.copy()
    moved[:3, 3] = 15
    nib.save(nib.MGHImage(picture, moved), orig)
    with pytest.raises(StepError, match=r"orig\.mgz do not show the same head"):
        step.run(cwd=str(tmp_path))
