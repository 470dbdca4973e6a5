"""The target grid, and FreeSurfer's worlds around it."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.freesurfer_subject import (
    labels_mni305,
    read_register_dat,
    read_talairach,
    scanner_to_tkr,
    segmentation_file,
)
from conceptrsa.interfaces.numerics.transforms import rigid_matrix
from conceptrsa.interfaces.python.normalize import Normalize
from conceptrsa.interfaces.python.rois import MNI305Rois

TALAIRACH = rigid_matrix(np.array([2.0, -20, 15]), np.array([0.1, 0.02, -0.05])) @ np.diag(
    [1.08, 1.02, 1.11, 1]
)


def write_subject(folder, labels=None):
    """A FreeSurfer subject directory with talairach.xfm and a conformed aparc+aseg.mgz."""
    transforms = folder / "mri" / "transforms"
    transforms.mkdir(parents=True)
    rows = "\n".join(" ".join(f"{number:.6f}" for number in row) for row in TALAIRACH[:3])
    (transforms / "talairach.xfm").write_text(
        "MNI Transform File\n% avi2talxfm\n\n"
        f"Transform_Type = Linear;\nLinear_Transform = \n{rows};\n"
    )
    anatomy = conformed(labels)
    nib.save(anatomy, folder / "mri" / "aparc+aseg.mgz")
    return anatomy


def conformed(labels=None):
    data = np.zeros((128, 128, 128), dtype=np.int32) if labels is None else labels
    affine = np.array([[-2.0, 0, 0, 121], [0, 0, 2, -150], [0, -2, 0, 140], [0, 0, 0, 1]])
    return nib.MGHImage(data, affine)


def test_grid_is_that_of_mni305_cor_subfov2():
    corners = apply_affine(mni305_grid.AFFINE, [(0, 0, 0), np.array(mni305_grid.SHAPE) - 1])
    np.testing.assert_array_equal(corners, [[74, -109, 85], [-76, 75, -65]])
    assert np.linalg.det(mni305_grid.AFFINE[:3, :3]) == pytest.approx(-8)


def test_anterior_commissure_moves_by_a_few_mm_between_the_mni_spaces():
    np.testing.assert_allclose(
        apply_affine(mni305_grid.MNI305_TO_MNI152, [0.0, 0, 0]), [-0.0429, 1.5496, 1.1840]
    )
    np.testing.assert_allclose(
        mni305_grid.MNI152_TO_MNI305 @ mni305_grid.MNI305_TO_MNI152, np.eye(4), atol=1e-12
    )


def test_tkregister_world_is_that_of_nibabel():
    anatomy = conformed()
    np.testing.assert_allclose(
        scanner_to_tkr(anatomy) @ anatomy.affine, anatomy.header.get_vox2ras_tkr(), atol=1e-12
    )
    point = apply_affine(anatomy.affine, [10, 20, 30])
    np.testing.assert_allclose(
        apply_affine(scanner_to_tkr(anatomy), point),
        apply_affine(anatomy.header.get_vox2ras_tkr(), [10, 20, 30]),
    )


def test_formula_of_mri_vol2vol_agrees_with_the_route_through_the_scanner():
    """R * inv(talairach.xfm) * inv(Rtal) and world to world find the same EPI voxel."""
    anatomy = conformed()
    epi_affine = rigid_matrix(np.array([-90.0, -80, -60]), np.array([0.2, 0, 0.1]))
    epi = nib.Nifti1Image(np.zeros((64, 64, 50)), epi_affine @ np.diag([3.0, 3, 3, 1]))
    bold_to_t1w = rigid_matrix(np.array([4.0, -3, 2]), np.array([0.02, 0.05, -0.03]))

    registration = (
        scanner_to_tkr(epi) @ np.linalg.inv(bold_to_t1w) @ np.linalg.inv(scanner_to_tkr(anatomy))
    )
    grid = nib.Nifti1Image(np.zeros(mni305_grid.SHAPE, dtype=np.uint8), mni305_grid.AFFINE)
    tkr_to_mni305 = TALAIRACH @ np.linalg.inv(scanner_to_tkr(anatomy))
    tkr = registration @ np.linalg.inv(tkr_to_mni305) @ np.linalg.inv(scanner_to_tkr(grid))
    epi_tkr = scanner_to_tkr(epi) @ epi.affine
    grid_tkr = scanner_to_tkr(grid) @ grid.affine
    by_freesurfer = np.linalg.inv(epi_tkr) @ tkr @ grid_tkr

    by_world = np.linalg.inv(TALAIRACH @ bold_to_t1w @ epi.affine) @ mni305_grid.AFFINE
    np.testing.assert_allclose(by_freesurfer, by_world, atol=1e-9)


def test_talairach_is_read(tmp_path):
    write_subject(tmp_path / "sub-01")
    np.testing.assert_allclose(read_talairach(tmp_path / "sub-01"), TALAIRACH, atol=1e-6)


@pytest.mark.parametrize(
    "content",
    ["", "hello", "MNI Transform File\nTransform_Type = Linear;\nLinear_Transform =\n1 2 3;\n"],
)
def test_broken_xfm_is_refused(tmp_path, content):
    path = tmp_path / "mri" / "transforms" / "talairach.xfm"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(InputError, match=r"talairach\.xfm is not"):
        read_talairach(tmp_path)


def test_missing_freesurfer_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"talairach\.xfm is missing"):
        read_talairach(tmp_path)
    with pytest.raises(InputError, match=r"aparc\+aseg\.mgz"):
        labels_mni305(segmentation_file(tmp_path), TALAIRACH)
    write_subject(tmp_path / "sub-01")
    (tmp_path / "sub-01" / "mri" / "aparc+aseg.mgz").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"aparc\+aseg\.mgz"):
        labels_mni305(segmentation_file(tmp_path / "sub-01"), TALAIRACH)


def test_register_dat_is_read(tmp_path):
    path = tmp_path / "register.dat"
    rows = "\n".join(" ".join(map(str, row)) for row in TALAIRACH)
    path.write_text(f"sub-01\n3.0\n3.0\n0.15\n{rows}\nround\n")
    subject, matrix = read_register_dat(path)
    assert subject == "sub-01"
    np.testing.assert_allclose(matrix, TALAIRACH)
    path.write_text("sub-01\n3.0\n")
    with pytest.raises(InputError, match=r"register\.dat"):
        read_register_dat(path)


def test_steps_take_freesurfer_where_it_is_given(tmp_path):
    """A ball of label 17 lands where talairach.xfm takes its centre."""
    anatomy = conformed()
    centre_mni305 = np.array([-26.0, -24, -16])
    places = apply_affine(TALAIRACH @ anatomy.affine, np.indices(anatomy.shape).reshape(3, -1).T)
    ball = np.linalg.norm(places - centre_mni305, axis=1) < 12
    labels = np.where(ball, 17, 0).astype(np.int32).reshape(anatomy.shape)
    write_subject(tmp_path / "sub-01", labels)
    picture = np.random.default_rng(0).normal(size=(4, 4, 4))
    nib.save(nib.Nifti1Image(picture, np.eye(4)), tmp_path / "T1w.nii")
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "mask.nii")

    normalized = Normalize(
        in_file=str(tmp_path / "T1w.nii"),
        mask_file=str(tmp_path / "mask.nii"),
        fs_subject_dir=str(tmp_path / "sub-01"),
    ).run(cwd=str(tmp_path))
    written = np.loadtxt(normalized.outputs.transform_file)
    np.testing.assert_allclose(written, TALAIRACH, atol=1e-6)
    found = MNI305Rois(
        fs_subject_dir=str(tmp_path / "sub-01"),
        t1w_to_mni305_file=normalized.outputs.transform_file,
    ).run(cwd=str(tmp_path))
    dseg = nib.load(found.outputs.dseg_file)
    voxels = np.argwhere(np.asarray(dseg.dataobj) == 17)
    assert dseg.shape == mni305_grid.SHAPE
    np.testing.assert_allclose(
        apply_affine(mni305_grid.AFFINE, voxels.mean(axis=0)), centre_mni305, atol=0.7
    )
    assert 8 * len(voxels) == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.05)
    assert Path(found.outputs.labels_file).read_text() == "index\tname\n17\tLeft-Hippocampus\n"
