"""Realignment against planted motion of an analytic head, and a real EPI.

The head is a formula: its images are evaluated at moved points, so that planting motion
involves no interpolation.
"""

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.interfaces.numerics.realignment import (
    estimate_motion,
    motion_parameters,
    rigid_matrix,
    rigid_parameters,
)
from conceptrsa.interfaces.numerics.resampling import axis_filters, spline_coefficients
from conceptrsa.interfaces.numerics.reslicing import common_field_of_view, realign_files
from conceptrsa.interfaces.numerics.time_series import open_time_series
from conceptrsa.interfaces.python.preprocess import Realign

GRID = (56, 64, 46)
AFFINE = np.array([[-3.0, 0, 0, 83], [0, 3, 0, -95], [0, 0, 3, -64], [0, 0, 0, 1]])
NOISE = 8.0  # the head's intensities lie about 600


def rigid(translation=(0, 0, 0), rotation_vector=(0, 0, 0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    matrix[:3, 3] = translation
    return matrix


class Head:
    """An ellipsoid with a soft border, filled with waves of many directions and lengths."""

    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        directions = rng.normal(size=(14, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        self.waves = directions * 2 * np.pi / rng.uniform(18, 45, (14, 1))
        self.phases = rng.uniform(0, 2 * np.pi, 14)

    def __call__(self, world):
        """Intensity at world points (3, ...) in mm."""
        radius = np.sqrt((world[0] / 70) ** 2 + (world[1] / 85) ** 2 + (world[2] / 62) ** 2)
        inside = 1 / (1 + np.exp(20 * (radius - 1)))
        waves = np.einsum("wa,aijk->wijk", self.waves, world) + self.phases[:, *[None] * 3]
        return inside * (600 + 50 * np.cos(waves).sum(axis=0))


def image_of(head, motion, affine=AFFINE, grid=GRID):
    """Image of a head whose point x has gone to `motion` @ x."""
    voxels = np.stack(np.meshgrid(*map(np.arange, grid), indexing="ij"))
    to_head = np.linalg.inv(motion) @ affine
    return head(np.einsum("ab,bijk->aijk", to_head[:3, :3], voxels) + to_head[:3, 3, *[None] * 3])


def write_run(path, volumes, affine=AFFINE, dtype=np.int16):
    data = np.stack(volumes, axis=-1)
    data = np.rint(data) if np.issubdtype(dtype, np.integer) else data
    image = nib.Nifti1Image(data.astype(dtype), affine)
    image.header.set_zooms((*image.header.get_zooms()[:3], 3.0))
    nib.save(image, path)
    return path


@dataclass(frozen=True)
class Planted:
    head: Head
    files: list[Path]
    motions: list[np.ndarray]  # first volume of the first run to each volume


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Three runs: head motion, noise, task-like signal, global drift; jumps between runs.

    The second run starts 5 mm and 3 degrees away. The third is of another session: the head
    lies elsewhere and the slices were planned elsewhere, as its affine says.
    """
    rng = np.random.default_rng(20)
    folder = tmp_path_factory.mktemp("planted")
    head = Head()
    moved_slices = rigid((3, -4, 5), (0.03, 0, 0.02)) @ AFFINE
    starts = [
        (rigid(), AFFINE),
        (rigid((3, -2, 3.5), np.deg2rad([2, -1, 2])), AFFINE),
        (rigid((-4, 3, 1), (0.02, 0.03, -0.02)), moved_slices),
    ]
    files, motions = [], []
    for number, (start, affine) in enumerate(starts):
        steps = rng.normal(size=(8, 6)) * [0.25, 0.25, 0.25, 0.004, 0.004, 0.004]
        steps[0] = 0
        path = np.cumsum(steps, axis=0)
        run_motions = [rigid(step[:3], step[3:]) @ start for step in path]
        volumes = []
        for index, motion in enumerate(run_motions):
            volume = image_of(head, motion, affine)
            volume[15:35, 10:20, 13:26] *= 1 + 0.03 * (index % 2)
            volume *= 1 + 0.01 * index / 8
            volumes.append(volume + NOISE * rng.normal(size=GRID))
        files.append(write_run(folder / f"run-{number + 1}.nii", volumes, affine))
        motions.append(np.array(run_motions))
    return Planted(head, files, motions)


@pytest.fixture(scope="module")
def realigned(planted, tmp_path_factory):
    return realign_files(planted.files, tmp_path_factory.mktemp("realigned"), n_threads=1)


def displacement(motion, other):
    """Root mean square distance in mm over a sphere of 60 mm between two motions."""
    directions = np.random.default_rng(1).normal(size=(3, 300))
    points = 60 * directions / np.linalg.norm(directions, axis=0)
    difference = motion - other
    moved = difference[..., :3, :3] @ points + difference[..., :3, 3:]
    return np.sqrt((moved**2).sum(axis=-2).mean(axis=-1))


def test_parameters_are_in_the_order_of_spm():
    c, s = np.cos(0.2), np.sin(0.2)
    pitch = [[1, 0, 0], [0, c, s], [0, -s, c]]
    roll = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    yaw = [[c, s, 0], [-s, c, 0], [0, 0, 1]]
    for position, expected in enumerate([pitch, roll, yaw], start=3):
        parameters = np.zeros(6)
        parameters[position] = 0.2
        np.testing.assert_allclose(rigid_matrix(parameters)[:3, :3], expected, atol=1e-15)
    combined = rigid_matrix([1, 2, 3, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(
        combined[:3, :3], np.array(pitch) @ np.array(roll) @ np.array(yaw), atol=1e-15
    )
    np.testing.assert_array_equal(combined[:, 3], [1, 2, 3, 1])
    parameters = [4.0, -5.0, 6.0, 0.3, -0.2, 0.5]
    np.testing.assert_allclose(rigid_parameters(rigid_matrix(parameters)), parameters, atol=1e-14)


def test_coefficients_equal_those_of_scipy():
    from scipy import ndimage

    volume = np.random.default_rng(0).normal(size=(12, 9, 7)).astype(np.float32)
    filters = axis_filters(volume.shape, 3, (0.7, 0.0, 1.1))
    smoothed = ndimage.gaussian_filter(volume.astype(float), (0.7, 0, 1.1), mode="mirror")
    expected = ndimage.spline_filter(smoothed, 3, mode="mirror")
    np.testing.assert_allclose(spline_coefficients(volume, filters), expected, atol=1e-5)


def test_planted_motion_is_found(planted, realigned):
    errors = []
    for file, motions in zip(realigned.motions, planted.motions, strict=True):
        found = np.linalg.inv([rigid_matrix(row) for row in np.loadtxt(file)])
        errors.append(displacement(found, motions))
    errors = np.concatenate(errors)
    assert np.sqrt((errors**2).mean()) < 0.02
    assert errors.max() < 0.05


def test_motion_files_follow_spm(planted, realigned):
    """They hold the way from a volume back to the first one, which itself did not move."""
    first, second, _ = (np.loadtxt(file) for file in realigned.motions)
    assert first.shape == (8, 6)
    np.testing.assert_allclose(first[0], 0, atol=1e-12)
    back = rigid_parameters(np.linalg.inv(planted.motions[1][0]))
    np.testing.assert_allclose(second[0, :3], back[:3], atol=0.05)
    np.testing.assert_allclose(second[0, 3:], back[3:], atol=0.001)


def test_resliced_volumes_show_the_head_where_it_was_first(planted, realigned):
    still = image_of(planted.head, np.eye(4))
    valid = nib.load(realigned.valid_mask).get_fdata() > 0
    assert valid.mean() > 0.6
    for file in realigned.runs:
        run = nib.load(file)
        np.testing.assert_allclose(run.affine, AFFINE, atol=1e-4)
        assert run.header.get_zooms()[3] == 3.0
        volumes = run.get_fdata()
        assert (volumes[~valid] == 0).all()
        for index in (0, 7):
            task = np.abs(volumes[..., index] / (1 + 0.01 * index / 8) - still)[valid]
            assert np.sqrt((task**2).mean()) < 1.6 * NOISE
    mean = nib.load(realigned.mean)
    np.testing.assert_allclose(mean.affine, AFFINE, atol=1e-4)
    difference = (mean.get_fdata() - still)[valid]
    assert np.sqrt((difference**2).mean()) < 0.9 * NOISE
    runs = np.concatenate([nib.load(file).get_fdata() for file in realigned.runs], axis=-1)
    step = max(nib.load(file).dataobj.slope for file in realigned.runs)
    np.testing.assert_allclose(mean.get_fdata(), runs.mean(axis=-1), atol=step)


def test_files_do_not_depend_on_threads_or_compression(planted, realigned, tmp_path):
    compressed = []
    for file in planted.files:
        compressed.append(tmp_path / f"{file.name}.gz")
        with file.open("rb") as source, gzip.open(compressed[-1], "wb", 1) as target:
            shutil.copyfileobj(source, target)
    again = realign_files(compressed, tmp_path / "again", n_threads=2)
    ones = [*realigned.runs, realigned.mean, *realigned.motions, realigned.valid_mask]
    others = [*again.runs, again.mean, *again.motions, again.valid_mask]
    for one, other in zip(ones, others, strict=True):
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()


def test_integers_stay_16_bit_and_round_less_than_their_own_unit(planted, tmp_path):
    as_int = nib.load(planted.files[0])
    volumes = as_int.get_fdata()[..., :3]
    short = write_run(tmp_path / "int.nii", list(np.moveaxis(volumes, -1, 0)))
    long = write_run(tmp_path / "float.nii", list(np.moveaxis(volumes, -1, 0)), dtype=np.float32)
    from_int = nib.load(realign_files([short], tmp_path / "a").runs[0])
    from_float = nib.load(realign_files([long], tmp_path / "b").runs[0])
    assert from_int.get_data_dtype() == np.int16
    assert from_float.get_data_dtype() == np.float32
    difference = np.abs(from_int.get_fdata() - from_float.get_fdata()).max()
    assert 0 < difference <= 0.51 * from_int.dataobj.slope < 0.1


def test_no_overshoot_leaves_the_range_of_16_bits(tmp_path):
    """The worst case for a cubic spline: a lattice of alternating extremes, half a voxel off."""
    from conceptrsa.interfaces.numerics.reslicing import LARGEST_OVERSHOOT, resliced_volumes

    signs = np.array([(-1) ** abs(i) * (1 if i <= 0 else -1) for i in range(-10, 10)])
    lattice = np.einsum("i,j,k->ijk", signs, signs, signs).astype(float)
    run = open_time_series(write_run(tmp_path / "lattice.nii", [lattice], np.eye(4), np.float32))
    shift = rigid((0.5, 0.5, 0.5))[None]
    worst = next(resliced_volumes(run, shift, run, np.ones(run.grid, dtype=bool)))
    largest = np.abs(worst).max()
    np.testing.assert_allclose(largest, LARGEST_OVERSHOOT, rtol=1e-4)


def test_valid_mask_is_the_common_field_of_view(tmp_path):
    run = open_time_series(
        write_run(tmp_path / "run.nii", [np.zeros((10, 11, 12))] * 3, np.diag([3, 3, 3, 1]))
    )
    motions = np.array([rigid(), rigid((0, 0, 6.3)), rigid((-3, 0.1, 0))])
    valid = common_field_of_view([run], [motions])
    expected = np.zeros((10, 11, 12), dtype=bool)
    # 0.1 mm is within the tolerance; 6.3 mm takes three slices; -3 mm takes one.
    expected[1:, :, :-3] = True
    np.testing.assert_array_equal(valid, expected)


def test_voxels_that_leave_the_field_of_view_do_not_pull(tmp_path):
    """A slab through the middle of the head, which moves along the cut."""
    rng = np.random.default_rng(3)
    grid = (56, 64, 24)
    affine = rigid((0, 0, 27)) @ AFFINE
    motions = [rigid((0, 0, 0.8 * index), (0.006 * index, 0, 0)) for index in range(6)]
    volumes = [
        image_of(Head(1), motion, affine, grid) + NOISE * rng.normal(size=grid)
        for motion in motions
    ]
    run = open_time_series(write_run(tmp_path / "slab.nii", volumes, affine))
    (found,) = estimate_motion([run])
    assert displacement(found, np.array(motions)).max() < 0.06


def test_real_epi(shared_data, tmp_path):
    """Small motion in the real run; motion planted into it by another program is found."""
    source = shared_data / "dcm_qa_stc" / "Siemens_fMRIcontin_30x30x36_4.nii"
    original = nib.load(source)
    data = original.get_fdata()

    motion = rigid((1.5, -1, 0.8), np.deg2rad([1, -0.5, 0.7]))
    zooms = np.linalg.norm(original.affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(data[..., 2].T)
    image.SetSpacing(zooms.tolist())
    image.SetOrigin(original.affine[:3, 3].tolist())
    image.SetDirection((original.affine[:3, :3] / zooms).ravel().tolist())
    backwards = sitk.AffineTransform(3)
    backwards.SetMatrix(np.linalg.inv(motion)[:3, :3].ravel().tolist())
    backwards.SetTranslation(np.linalg.inv(motion)[:3, 3].tolist())
    moved = sitk.GetArrayFromImage(sitk.Resample(image, backwards, sitk.sitkBSpline3)).T
    planted = nib.Nifti1Image(
        np.stack([data[..., 0], data[..., 1], moved], axis=-1).astype(np.int16),
        original.affine,
        original.header,
    )
    nib.save(planted, tmp_path / "planted.nii")

    (as_it_was,) = estimate_motion([open_time_series(source)])
    parameters = motion_parameters(as_it_was)
    assert np.abs(parameters[:, :3]).max() < 0.5
    assert np.abs(parameters[:, 3:]).max() < 0.01
    result = Realign(in_files=[str(tmp_path / "planted.nii")]).run(cwd=tmp_path).outputs
    found = np.linalg.inv([rigid_matrix(row) for row in np.loadtxt(result.motion_files[0])])
    assert displacement(found[2], motion @ as_it_was[2]) < 0.1

    valid = nib.load(result.valid_mask_file).get_fdata() > 0
    resliced = nib.load(result.out_files[0]).get_fdata()[valid]
    unaligned = planted.get_fdata()[valid]
    similarity = np.corrcoef(resliced.T)[0, 2]
    assert similarity > 0.99
    assert similarity > np.corrcoef(unaligned.T)[0, 2] + 0.02


def test_shapes_must_agree(planted, tmp_path):
    other = write_run(tmp_path / "other.nii", [np.ones((4, 5, 6))] * 2)
    with pytest.raises(InputError, match=r"other\.nii has \(4, 5, 6\) voxels"):
        realign_files([planted.files[0], other], tmp_path)


def test_unreadable_and_unusable_images_are_named(planted, tmp_path):
    with gzip.open(tmp_path / "run.nii.gz", "wb") as file:
        file.write(planted.files[0].read_bytes())
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes((tmp_path / "run.nii.gz").read_bytes()[:50000])
    with pytest.raises(InputError, match=r"cut\.nii\.gz cannot be read"):
        realign_files([cut], tmp_path)
    flat = tmp_path / "flat.nii"
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6)), AFFINE), flat)
    with pytest.raises(InputError, match=r"flat\.nii has the shape 4 x 5 x 6"):
        realign_files([flat], tmp_path)
    holes = np.ones((10, 10, 10))
    holes[3] = np.nan
    not_a_number = write_run(tmp_path / "nan.nii", [np.ones((10, 10, 10)), holes], dtype=float)
    with pytest.raises(InputError, match=r"NaN.*volume 2"):
        open_time_series(not_a_number).volumes()[1]


@pytest.mark.parametrize(
    ("spoil", "part_of_message"),
    [
        (lambda volumes: [np.zeros(GRID), *volumes[1:]], "volume 1 of .*bad.nii: it shows no head"),
        (lambda volumes: [volumes[0], volumes[1], np.zeros(GRID)], "volume 3 of .*bad.nii"),
        (lambda volumes: [volumes[0], 1000 - volumes[0]], "volume 2 of .*bad.nii"),
        (lambda volumes: [volumes[0], np.roll(volumes[0], 20, axis=1)], "volume 2 of .*bad.nii"),
    ],
)
def test_a_failed_fit_stops_the_step(planted, tmp_path, spoil, part_of_message):
    volumes = [image_of(planted.head, motion) for motion in planted.motions[0][:3]]
    bad = write_run(tmp_path / "bad.nii", spoil(volumes))
    with pytest.raises(StepError, match=part_of_message):
        realign_files([bad], tmp_path)
    assert not list(tmp_path.glob("*realigned*"))
