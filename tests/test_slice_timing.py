"""Slice timing against sinusoids with known phases, a plain loop, and a real EPI."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.numerics.slice_timing import correct_slice_timing, shift_in_time
from conceptrsa.interfaces.python.preprocess import SliceTiming

TR = 3.0
INTERLEAVED = [0.0, 1.5, 0.5, 2.0, 1.0, 2.5]


def sinusoid(times, frequency, phase=0.3):
    return np.sin(2 * np.pi * frequency * times + phase)


def write_run(path, data, dtype=np.float32):
    image = nib.Nifti1Image(data.astype(dtype), np.diag([3, 3, 3, 1]))
    image.header.set_zooms((3, 3, 3, TR))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path


def acquired(signal, slice_times, axis, n_volumes=100):
    """A run in which each slice samples `signal` at its own time."""
    shape = [2, 2, 2]
    shape[axis] = len(slice_times)
    run = np.empty((*shape, n_volumes))
    for index, slice_time in enumerate(slice_times):
        np.moveaxis(run, axis, 0)[index] = signal(np.arange(n_volumes) * TR + slice_time)
    return run


@pytest.mark.parametrize("frequency", [0.01, 0.05, 0.1, 0.15])
@pytest.mark.parametrize("shift", [-0.5, -0.13, 0.27, 0.5])
def test_sinusoids_get_their_known_phase(frequency, shift):
    # Tapered to zero at both ends, so that nothing is lost where the run is cut.
    def signal(times):
        return sinusoid(times, frequency) * np.exp(-(((times - 300) / 75) ** 2))

    times = np.arange(200) * TR
    shifted = shift_in_time(signal(times), shift)
    np.testing.assert_allclose(shifted, signal(times + shift * TR), atol=1e-3)


def test_far_from_the_ends_an_untapered_sinusoid_is_right_and_linear_interpolation_is_not():
    times = np.arange(400) * TR
    shift, frequency = 0.4, 0.15
    expected = sinusoid(times + shift * TR, frequency)
    middle = slice(100, 300)
    by_phase = shift_in_time(sinusoid(times, frequency), shift)
    by_line = np.interp(times + shift * TR, times, sinusoid(times, frequency))
    error = np.abs(by_phase - expected)[middle].max()
    error_of_line = np.abs(by_line - expected)[middle].max()
    assert error < 0.01
    assert error_of_line > 0.3


def test_no_shift_is_the_identity():
    series = np.random.default_rng(0).normal(size=(17, 3)).astype(np.float32)
    np.testing.assert_array_equal(shift_in_time(series, 0), series)


@pytest.mark.parametrize("n_volumes", [3, 31, 64, 178])
def test_equals_a_plain_loop_of_the_published_method(n_volumes):
    """SPM's recipe spelled out voxel by voxel: ramp, FFT, linear phase, real part."""
    rng = np.random.default_rng(n_volumes)
    series = 1000 + 10 * rng.normal(size=(n_volumes, 4))
    shift = 0.37
    n_padded = 2 ** (int(np.floor(np.log2(n_volumes))) + 1)
    expected = np.empty_like(series)
    for column in range(4):
        voxel = series[:, column]
        n_ramp = n_padded - n_volumes
        ramp = np.linspace(voxel[-1], voxel[0], n_ramp) if n_ramp > 1 else voxel[:1]
        transform = np.fft.fft(np.concatenate([voxel, ramp]))
        for bin_number in range(1, n_padded):
            signed = bin_number if bin_number <= n_padded // 2 else bin_number - n_padded
            transform[bin_number] *= np.exp(2j * np.pi * signed / n_padded * shift)
        expected[:, column] = np.fft.ifft(transform).real[:n_volumes]
    np.testing.assert_allclose(shift_in_time(series, shift), expected, atol=1e-3)


@pytest.mark.parametrize("axis_name", ["i", "j", "k", "i-", "j-", "k-"])
def test_every_axis_and_direction(tmp_path, axis_name):
    axis = "ijk".index(axis_name[0])
    by_position = INTERLEAVED[::-1] if axis_name.endswith("-") else INTERLEAVED

    def signal(times):
        return sinusoid(times, 0.04) * np.exp(-(((times - 150) / 40) ** 2))

    run = write_run(tmp_path / "run.nii", acquired(signal, by_position, axis))
    correct_slice_timing(run, tmp_path / "out.nii", INTERLEAVED, axis_name, TR)
    corrected = nib.load(tmp_path / "out.nii").get_fdata()
    expected = signal(np.arange(100) * TR + TR / 2)
    np.testing.assert_allclose(corrected, np.broadcast_to(expected, corrected.shape), atol=1e-3)


def test_multiband_times_and_a_chosen_reference(tmp_path):
    def signal(times):
        return sinusoid(times, 0.04) * np.exp(-(((times - 150) / 40) ** 2))

    times = [0.0, 1.0, 2.0] * 2
    run = acquired(signal, times, axis=2)
    write_run(tmp_path / "run.nii", run)
    correct_slice_timing(tmp_path / "run.nii", tmp_path / "out.nii", times, "k", TR, 1.0)
    corrected = nib.load(tmp_path / "out.nii").get_fdata()
    expected = signal(np.arange(100) * TR + 1.0)
    np.testing.assert_allclose(corrected, np.broadcast_to(expected, corrected.shape), atol=1e-3)
    np.testing.assert_array_equal(corrected[:, :, [1, 4]], run[:, :, [1, 4]].astype(np.float32))


def test_integers_stay_16_bit_and_round_less_than_their_own_unit(tmp_path):
    rng = np.random.default_rng(1)
    data = rng.integers(0, 2000, size=(4, 5, 6, 40))
    write_run(tmp_path / "int.nii", data, np.int16)
    write_run(tmp_path / "float.nii", data, np.float32)
    for kind in ("int", "float"):
        correct_slice_timing(
            tmp_path / f"{kind}.nii", tmp_path / f"{kind}_out.nii", INTERLEAVED, "k", TR
        )
    as_int, as_float = (nib.load(tmp_path / f"{kind}_out.nii") for kind in ("int", "float"))
    assert as_int.get_data_dtype() == np.int16
    assert as_float.get_data_dtype() == np.float32
    assert as_int.header.get_zooms() == (3, 3, 3, TR)
    assert as_int.header.get_xyzt_units() == ("mm", "sec")
    difference = np.abs(as_int.get_fdata() - as_float.get_fdata()).max()
    assert difference <= 0.51 * as_int.dataobj.slope < 0.1


def test_real_epi(shared_data, tmp_path):
    folder = shared_data / "dcm_qa_stc"
    sidecar = json.loads((folder / "Siemens_fMRIcontin_30x30x36_4.json").read_text())
    original = nib.load(folder / "Siemens_fMRIcontin_30x30x36_4.nii")
    reference = sidecar["SliceTiming"][17]
    step = SliceTiming(
        in_file=str(folder / "Siemens_fMRIcontin_30x30x36_4.nii"),
        slice_times=sidecar["SliceTiming"],
        repetition_time=sidecar["RepetitionTime"],
        reference_time=reference,
    )
    result = step.run(cwd=tmp_path)
    corrected = nib.load(result.outputs.out_file)
    assert Path(result.outputs.out_file).parent == tmp_path
    assert corrected.shape == original.shape
    np.testing.assert_allclose(corrected.affine, original.affine, atol=1e-4)
    before, after = original.get_fdata(), corrected.get_fdata()
    np.testing.assert_allclose(after[:, :, 17], before[:, :, 17], atol=corrected.dataobj.slope)
    assert abs(after.mean() / before.mean() - 1) < 0.01
    # Between the first and the last volume nothing is extrapolated: voxels stay alike.
    assert np.corrcoef(after[..., 1].ravel(), before[..., 1].ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("change", "part_of_message"),
    [
        ({"slice_times": INTERLEAVED[:-1]}, "6 slices along axis k but its sidecar has 5"),
        ({"slice_times": [1000 * time for time in INTERLEAVED]}, r"must be seconds \(not ms\)"),
        ({"slice_times": [np.nan] * 6}, "slice times from nan to nan but a TR of 3 s"),
        ({"slice_axis": "x"}, "SliceEncodingDirection"),
        ({"reference_time": 4.0}, "reference time 4 s"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, change, part_of_message):
    run = write_run(tmp_path / "run.nii", np.ones((2, 2, 6, 10)))
    fitting = {"slice_times": INTERLEAVED, "slice_axis": "k", "repetition_time": TR}
    with pytest.raises(InputError, match=part_of_message) as caught:
        correct_slice_timing(run, tmp_path / "out.nii", **(fitting | change))
    assert str(run) in str(caught.value)
    assert not (tmp_path / "out.nii").exists()
