import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from planted_heads import epi, head, random_rigid, t1w
from scipy.ndimage import binary_dilation, gaussian_filter

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.brain_mask import find_brain
from conceptrsa.interfaces.numerics.normalization import (
    COMFORTABLE_DETAIL,
    MINIMUM_DETAIL,
    inner_correlation,
    normalize,
)
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import displacements, rigid_matrix
from conceptrsa.interfaces.python.normalize import Normalize


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


@pytest.fixture(scope="module")
def brain(anatomy):
    return find_brain(anatomy).mask


@pytest.fixture(scope="module")
def usual(anatomy, brain):
    return normalize(anatomy, brain)


def save_with_mask(image: nib.Nifti1Image, mask: np.ndarray, folder: Path) -> dict[str, str]:
    """Write both, and name them as inputs of `Normalize`."""
    nib.save(image, folder / "T1w.nii")
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), image.affine), folder / "mask.nii")
    return {"in_file": str(folder / "T1w.nii"), "mask_file": str(folder / "mask.nii")}


def test_planted_transform_of_a_brain_without_skull_is_found():
    generator = np.random.default_rng(5)
    planted = random_affine(generator)
    result = normalize(t1w(generator, planted, skull=False))
    points = apply_affine(np.linalg.inv(planted), head().brain_points)
    assert displacements(result.matrix, planted, points).mean() < 0.7
    assert displacements(result.matrix, planted, points).max() < 1.5
    assert result.agreeing == len(result.searches)
    assert result.detail > COMFORTABLE_DETAIL
    assert result.warnings == ()
    native = t1w(np.random.default_rng(5), planted, skull=False)
    assert inner_correlation(native, result.t1w_to_mni305) == pytest.approx(result.detail, abs=0.05)


def test_head_with_skull_and_neck_off_the_origin_is_found_by_its_mask():
    """A mask that is 2 mm too wide lets some fluid and no scalp in."""
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
    mask = np.pad(binary_dilation(head().brain), ((0, 0), (0, 0), (40, 0)))
    result = normalize(nib.Nifti1Image(data, np.linalg.inv(planted) @ affine), mask)
    points = apply_affine(np.linalg.inv(planted), head().brain_points)
    assert displacements(result.matrix, planted, points).mean() < 1.0


def test_order_of_the_axes_and_a_far_origin_do_not_matter(anatomy, brain, usual):
    data = np.asarray(anatomy.dataobj, dtype=np.float32)
    turn = np.zeros((4, 4))
    turn[[2, 0, 1, 3], [0, 1, 2, 3]] = 1
    turn[0, 1], turn[0, 3] = -1, data.shape[0] - 1
    far = rigid_matrix(np.array([300.0, -200, 250]), np.zeros(3))
    exchanged = nib.Nifti1Image(
        np.ascontiguousarray(data[::-1].transpose(2, 0, 1)), far @ anatomy.affine @ turn
    )
    result = normalize(exchanged, brain[::-1].transpose(2, 0, 1))
    points = apply_affine(anatomy.affine, np.argwhere(brain)[::50])
    assert displacements(result.matrix @ far, usual.matrix, points).max() < 0.5
    assert result.detail == pytest.approx(usual.detail, abs=0.01)


def test_real_head_lies_on_the_template(anatomy, brain, tmp_path):
    files = save_with_mask(anatomy, brain, tmp_path)
    outputs = Normalize(**files).run(cwd=str(tmp_path)).outputs
    to_mni152 = mni305_grid.MNI305_TO_MNI152 @ np.loadtxt(outputs.transform_file)
    template, mask = load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)
    moved = resample(
        np.asarray(anatomy.dataobj), anatomy.affine, mask.shape, mask.affine, to_mni152
    )
    seen = (np.asarray(mask.dataobj) > 0) & np.isfinite(moved)
    assert seen.sum() > 0.98 * np.asarray(mask.dataobj).sum()
    assert np.corrcoef(moved[seen], template.get_fdata()[seen])[0, 1] > 0.85
    report = json.loads(Path(outputs.report_file).read_text())
    assert report["correlation_with_template"] > 0.95
    assert report["correlation_of_inner_structure"] > 0.9
    assert report["starts_agreeing"] == 6
    assert 0.9 < min(report["zooms"]) < max(report["zooms"]) < 1.1


def inverted(data: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Liquid bright and white matter dark, as in T2 contrast."""
    return np.where(brain, data[brain].max() + 1 - data, 0)


WRONG = {
    "noise": lambda data, _: np.random.default_rng(0).normal(size=data.shape),
    "back to front": lambda data, _: data[:, ::-1],
    "upside down": lambda data, _: data[:, :, ::-1],
    "inverted contrast": inverted,
    "constant": lambda data, _: np.ones_like(data),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "masked"), [*((case, True) for case in WRONG), ("upside down", False)]
)
def test_what_is_no_t1w_of_a_head_as_its_header_says_is_refused(anatomy, brain, case, masked):
    wrong = WRONG[case]
    data = np.asarray(anatomy.dataobj, dtype=np.float32)
    image = nib.Nifti1Image(wrong(data, brain).astype(np.float32), anatomy.affine)
    turned = {"back to front": brain[:, ::-1], "upside down": brain[:, :, ::-1]}.get(case, brain)
    with pytest.raises(StepError, match=r"could not be registered|it is constant"):
        normalize(image, turned if masked else None)


def test_an_epi_is_no_t1w():
    """Its outline fits the template; what is inside does not."""
    generator = np.random.default_rng(0)
    planted = random_rigid(generator)
    image = epi(generator, planted)
    parts = head()
    brain = resample(
        parts.brain.astype(np.uint8), parts.affine, image.shape, image.affine,
        np.linalg.inv(planted), "nearest",
    )  # fmt: skip
    with pytest.raises(StepError, match=f"inner structure .* {MINIMUM_DETAIL} is needed"):
        normalize(image, brain > 0)
    assert inner_correlation(image, mni305_grid.MNI152_TO_MNI305 @ planted, brain > 0) < 0


def test_an_image_beside_the_template_has_no_inner_structure():
    image = t1w(np.random.default_rng(1), skull=False)
    beside = rigid_matrix(np.array([0.0, 0, 400]), np.zeros(3))
    assert inner_correlation(image, beside @ mni305_grid.MNI152_TO_MNI305) == 0


def test_a_transform_from_elsewhere_is_held_against_the_template(anatomy, brain, usual, tmp_path):
    transform = usual.t1w_to_mni305
    assert inner_correlation(anatomy, transform, brain) > 0.9
    aside = np.eye(4)
    aside[:3, 3] = [0, 30, 20]
    wrong = aside @ transform
    assert inner_correlation(anatomy, wrong, brain) < 0.2

    files = save_with_mask(anatomy, brain, tmp_path)
    transforms = tmp_path / "sub-01" / "mri" / "transforms"
    transforms.mkdir(parents=True)
    for matrix, n_warnings in ((transform, 0), (wrong, 1)):
        rows = "\n".join(" ".join(f"{value:.8f}" for value in row) for row in matrix[:3])
        (transforms / "talairach.xfm").write_text(
            f"MNI Transform File\nTransform_Type = Linear;\nLinear_Transform =\n{rows};\n"
        )
        step = Normalize(**files, fs_subject_dir=str(tmp_path / "sub-01"))
        report = json.loads(Path(step.run(cwd=str(tmp_path)).outputs.report_file).read_text())
        assert len(report["warnings"]) == n_warnings


def test_a_reconstruction_of_another_image_is_refused(tmp_path: Path) -> None:
    """The same image, but FreeSurfer's lies 15 mm away: its talairach.xfm fits that place only."""
    rng = np.random.default_rng(0)
    picture = gaussian_filter(rng.normal(size=(48, 48, 48)), 3.0).astype(np.float32)
    affine = np.diag([3.0, 3, 3, 1])
    whole = np.ones(picture.shape, dtype=bool)
    files = save_with_mask(nib.Nifti1Image(picture, affine), whole, tmp_path)
    transforms = tmp_path / "sub-01" / "mri" / "transforms"
    transforms.mkdir(parents=True)
    (transforms / "talairach.xfm").write_text(
        "MNI Transform File\n\nTransform_Type = Linear;\nLinear_Transform = \n"
        "1 0 0 0\n0 1 0 0\n0 0 1 0;\n"
    )
    step = Normalize(**files, fs_subject_dir=str(tmp_path / "sub-01"))
    orig = tmp_path / "sub-01" / "mri" / "orig.mgz"
    nib.save(nib.MGHImage(picture, affine), orig)
    report = step.run(cwd=str(tmp_path)).outputs.report_file
    assert json.loads(Path(report).read_text())["correlation_with_orig"] > 0.99
    moved = affine.copy()
    moved[:3, 3] = 15
    nib.save(nib.MGHImage(picture, moved), orig)
    with pytest.raises(StepError, match=r"orig\.mgz do not show the same head"):
        step.run(cwd=str(tmp_path))
