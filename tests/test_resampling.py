import time

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import rigid_matrix, write_matrix
from conceptrsa.interfaces.python.normalize import ResampleToMNI305

AFFINE = rigid_matrix(np.array([-30.0, -40, -20]), np.array([0.1, -0.2, 0.3])) @ np.diag(
    [3.0, 3, 3.5, 1]
)
GRID_SHAPE, GRID = (
    (24, 26, 22),
    np.array([[-2.0, 0, 0, 20], [0, 0, 2, -30], [0, -2, 0, 30], [0, 0, 0, 1]]),
)
MOTION = rigid_matrix(np.array([3.0, -4, 5]), np.array([0.05, 0.1, -0.05]))


def volumes(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(20, 22, 18, count)).astype(np.float32)


def by_scipy(volume: np.ndarray, order: int) -> np.ndarray:
    matrix = np.linalg.inv(AFFINE) @ np.linalg.inv(MOTION) @ GRID
    return ndimage.affine_transform(
        volume, matrix[:3, :3], matrix[:3, 3], GRID_SHAPE, order=order, cval=np.nan
    )


def test_equals_scipy_inside():
    data = volumes()
    result = resample(data, AFFINE, GRID_SHAPE, GRID, MOTION)
    expected = np.stack([by_scipy(volume, 1) for volume in np.moveaxis(data, 3, 0)], axis=3)
    inside = np.isfinite(expected)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(result[inside], expected[inside], atol=2e-5)


def test_3d_and_4d_agree():
    data = volumes()
    every = resample(data, AFFINE, GRID_SHAPE, GRID, MOTION)
    one = resample(data[..., 1], AFFINE, GRID_SHAPE, GRID, MOTION)
    assert one.shape == GRID_SHAPE
    np.testing.assert_array_equal(one, every[..., 1])


def test_resampling_into_the_same_grid_changes_nothing():
    data = volumes()
    data[3:6, 4, 5] = np.nan
    np.testing.assert_array_equal(resample(data, AFFINE, data.shape[:3], AFFINE), data)


def test_a_linear_ramp_stays_one_round_missing_voxels():
    ramp = np.broadcast_to(np.arange(20.0)[:, None, None], (20, 22, 18)).copy()
    ramp[10, 11, 9] = np.nan
    shift = np.eye(4)
    shift[1, 3] = 0.25
    result = resample(ramp, np.eye(4), ramp.shape, np.eye(4), shift)
    np.testing.assert_allclose(result[10, 12, 9], 10)
    assert np.isnan(result[10, 11, 9])
    assert np.isnan(result).sum() == 1


def test_nan_where_less_than_half_of_the_weight_is_valid():
    data = np.arange(8.0).reshape(8, 1, 1)
    data[4] = np.nan
    half = np.eye(4)

    def value(shift: float) -> float:
        half[0, 3] = -shift
        return float(resample(data, np.eye(4), (8, 1, 1), np.eye(4), half)[3, 0, 0])

    assert value(0.25) == pytest.approx(3)
    assert value(0.5) == pytest.approx(3)
    assert np.isnan(value(0.51))


def test_each_volume_keeps_its_own_missing_voxels():
    data = volumes(2)
    data[5, 5, 5, 0] = np.nan
    both = resample(data, AFFINE, GRID_SHAPE, GRID, MOTION)
    apart = [resample(data[..., k], AFFINE, GRID_SHAPE, GRID, MOTION) for k in (0, 1)]
    np.testing.assert_allclose(both, np.stack(apart, axis=3), atol=1e-6)


def test_nearest_keeps_labels_and_equals_scipy():
    labels = np.random.default_rng(1).integers(1, 2036, size=(20, 22, 18)).astype(np.int16)
    result = resample(labels, AFFINE, GRID_SHAPE, GRID, MOTION, "nearest")
    expected = by_scipy(labels.astype(float), 0)
    inside = np.isfinite(by_scipy(labels.astype(float), 1))
    assert result.dtype == np.int16
    np.testing.assert_array_equal(result[inside], expected[inside])
    assert set(np.unique(result)) <= {0, *np.unique(labels)}


def test_fifty_volumes_take_about_a_second():
    data = np.random.default_rng(0).normal(size=(64, 64, 50, 50)).astype(np.float32)
    affine = np.diag([3.0, 3, 3, 1])
    affine[:3, 3] = [-96, -110, -70]
    before = time.process_time()
    result = resample(data, affine, mni305_grid.SHAPE, mni305_grid.AFFINE)
    assert time.process_time() - before < 10
    assert result.shape == (76, 76, 93, 50)


def test_step_applies_both_transforms_once(tmp_path):
    data = volumes(2)
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "betas.nii")
    second = rigid_matrix(np.array([0.0, 5, 0]), np.array([0, 0, 0.2]))
    write_matrix(tmp_path / "bold_to_t1w.txt", MOTION)
    write_matrix(tmp_path / "t1w_to_mni305.txt", second)
    step = ResampleToMNI305(
        in_file=str(tmp_path / "betas.nii"),
        bold_to_t1w_file=str(tmp_path / "bold_to_t1w.txt"),
        t1w_to_mni305_file=str(tmp_path / "t1w_to_mni305.txt"),
    )
    out = nib.load(step.run(cwd=str(tmp_path)).outputs.out_file)
    expected = resample(data, AFFINE, mni305_grid.SHAPE, mni305_grid.AFFINE, second @ MOTION)
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(out.get_fdata(), expected, atol=1e-5)
    np.testing.assert_array_equal(out.affine, mni305_grid.AFFINE)
