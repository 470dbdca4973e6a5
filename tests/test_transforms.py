import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.affines import apply_affine

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.numerics.transforms import (
    displacements,
    flip_ras_lps,
    from_sitk_transform,
    mask_points,
    read_matrix,
    rigid_matrix,
    to_sitk,
    to_sitk_transform,
    write_matrix,
)

OBLIQUE = rigid_matrix(np.array([4.0, -7, 11]), np.array([0.3, -0.2, 0.1])) @ np.diag(
    [-2.0, 2.5, 3, 1]
)


def oblique_image() -> nib.Nifti1Image:
    data = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    return nib.Nifti1Image(data, OBLIQUE)


def test_written_matrices_are_read_back(tmp_path):
    write_matrix(tmp_path / "xfm.txt", OBLIQUE)
    np.testing.assert_allclose(read_matrix(tmp_path / "xfm.txt"), OBLIQUE, atol=1e-10)


@pytest.mark.filterwarnings("ignore:loadtxt")
@pytest.mark.parametrize(
    "content", [None, "", "1 2 3\n", "a b c d\n", "1 0 0 0\n0 1 0 0\n0 0 0 0\n0 0 0 1\n"]
)
def test_what_is_no_affine_matrix_is_refused(tmp_path, content):
    path = tmp_path / "xfm.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"xfm\.txt"):
        read_matrix(path)


def test_rigid_matrix_turns_about_the_centre_then_shifts():
    centre = np.array([10.0, 20, 30])
    quarter = rigid_matrix(np.array([1.0, 2, 3]), np.array([0, 0, np.pi / 2]), centre)
    np.testing.assert_allclose(apply_affine(quarter, centre), [11, 22, 33], atol=1e-12)
    np.testing.assert_allclose(apply_affine(quarter, [11, 20, 30]), [11, 23, 33], atol=1e-12)


def test_sitk_sees_each_voxel_where_nibabel_sees_it():
    image = oblique_image()
    converted = to_sitk(image)
    for voxel in ((0, 0, 0), (4, 2, 1), (1, 5, 6)):
        lps = converted.TransformIndexToPhysicalPoint(voxel)
        np.testing.assert_allclose(
            np.array(lps) * [-1, -1, 1], apply_affine(image.affine, voxel), atol=1e-9
        )
        assert converted[voxel] == pytest.approx(image.get_fdata()[voxel])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(converted).T, image.get_fdata())


def test_sheared_images_are_refused():
    sheared = OBLIQUE.copy()
    sheared[0, 1] += 1
    with pytest.raises(InputError, match="shear"):
        to_sitk(nib.Nifti1Image(np.zeros((4, 4, 4), dtype=np.float32), sheared))


def test_transforms_go_to_sitk_and_back():
    transform = to_sitk_transform(OBLIQUE)
    point = np.array([3.0, -5, 8])
    moved = np.array(transform.TransformPoint((point * [-1, -1, 1]).tolist())) * [-1, -1, 1]
    np.testing.assert_allclose(moved, apply_affine(OBLIQUE, point), atol=1e-9)
    np.testing.assert_allclose(from_sitk_transform(transform), OBLIQUE, atol=1e-9)
    np.testing.assert_allclose(flip_ras_lps(flip_ras_lps(OBLIQUE)), OBLIQUE)


def test_euler_transforms_with_a_centre_are_read():
    euler = sitk.Euler3DTransform((5.0, 6.0, 7.0), 0.1, 0.2, 0.3, (1.0, 2.0, 3.0))
    matrix = from_sitk_transform(euler)
    expected = np.array(euler.TransformPoint((-9.0, -8.0, 7.0))) * [-1, -1, 1]
    np.testing.assert_allclose(apply_affine(matrix, [9.0, 8, 7]), expected, atol=1e-9)


def test_displacements_and_mask_points():
    mask = np.zeros((3, 3, 3), dtype=bool)
    mask[0, 0, 0] = mask[1, 2, 0] = True
    points = mask_points(mask, np.diag([2.0, 2, 2, 1]))
    np.testing.assert_array_equal(points, [[0, 0, 0], [2, 4, 0]])
    shifted = np.eye(4)
    shifted[:3, 3] = [3, 0, 4]
    np.testing.assert_allclose(displacements(np.eye(4), shifted, points), [5, 5])
