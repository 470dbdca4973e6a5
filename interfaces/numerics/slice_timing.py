"""Slice timing: every slice's time course moved to the moment of one reference.

The method is that of SPM12's `spm_slice_timing`: a shift of phase in Fourier space.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.numerics.time_series import (
    not_finite,
    open_time_series,
    write_time_series,
)

SLICE_AXES = ("i", "j", "k", "i-", "j-", "k-")
TIME_TOLERANCE = 0.001  # s; headers hold single precision, converters round to milliseconds


def shift_in_time(series: ArrayLike, shift: float) -> NDArray[np.float32]:
    """Time courses as they would have been sampled `shift` samples later.

    Before the transform they are padded to the next power of two by a straight line from the
    last sample back to the first, so that the periodic continuation has no jump.

    Parameters
    ----------
    series : array_like, shape (times, ...)
        Samples at equal distances.
    shift : float
        In samples; below 0 is earlier.

    Returns
    -------
    ndarray of float32, shape (times, ...)
        `series` itself, unchanged, where `shift` is 0.
    """
    samples = np.asarray(series, dtype=np.float32)
    if shift == 0:
        return samples
    n_samples = len(samples)
    n_padded = 1 << n_samples.bit_length()
    to_first = np.linspace(1, 0, n_padded - n_samples, dtype=np.float32)[::-1]
    to_first = to_first.reshape(-1, *[1] * (samples.ndim - 1))
    ramp = samples[-1] + to_first * (samples[0] - samples[-1])
    spectrum = fft.rfft(np.concatenate([samples, ramp]), axis=0, overwrite_x=True)
    phase = np.exp(2j * np.pi * fft.rfftfreq(n_padded) * shift).astype(np.complex64)
    spectrum *= phase.reshape(-1, *[1] * (samples.ndim - 1))
    shifted = fft.irfft(spectrum, n_padded, axis=0, overwrite_x=True)[:n_samples]
    return np.asarray(shifted, dtype=np.float32)


def times_by_place(
    slice_times: Sequence[float],
    slice_axis: str,
    repetition_time: float,
    grid: Sequence[int],
    image: Path,
) -> NDArray[np.float64]:
    """Give the time of each slice in the order in which an image holds them.

    Parameters
    ----------
    slice_times, slice_axis, repetition_time
        As for `correct_slice_timing`.
    grid : sequence of int
        Voxels along i, j, k.
    image : Path
        For messages.

    Raises
    ------
    InputError
        If there is no such axis, or times and image do not fit together.
    """
    if slice_axis not in SLICE_AXES:
        raise InputError(
            f"{image}: the slice axis is {slice_axis!r}; SliceEncodingDirection must be one of "
            f"{', '.join(SLICE_AXES)}."
        )
    n_slices = grid["ijk".index(slice_axis[0])]
    if len(slice_times) != n_slices:
        raise InputError(
            f"{image} has {n_slices} slices along axis {slice_axis} but its sidecar has "
            f"{len(slice_times)} slice times: correct SliceTiming or SliceEncodingDirection, or "
            "give --ignore slicetiming"
        )
    times = within_volume(slice_times, repetition_time, f"{image} has")
    return times[::-1] if slice_axis.endswith("-") else times


def within_volume(
    slice_times: Sequence[float], repetition_time: float, whose: str
) -> NDArray[np.float64]:
    """Give slice times, those that are outside the volume by rounding brought to its ends.

    Raises
    ------
    InputError
        If one lies outside by more, or is no number; `whose` is how the sentence begins.
    """
    times = np.asarray(slice_times, dtype=np.float64)
    outside = (times < -TIME_TOLERANCE) | (times > repetition_time + TIME_TOLERANCE)
    if outside.any() or not np.isfinite(times).all():
        raise InputError(
            f"{whose} slice times from {times.min():g} to {times.max():g} but a TR of "
            f"{repetition_time:g} s: they must be seconds (not ms) from 0 up to the TR; correct "
            "SliceTiming, or give --ignore slicetiming"
        )
    return np.clip(times, 0, repetition_time)


def correct_slice_timing(
    in_file: str | Path,
    out_file: str | Path,
    slice_times: Sequence[float],
    slice_axis: str,
    repetition_time: float,
    reference_time: float | None = None,
) -> None:
    """Write a run as if all slices had been acquired at the reference time.

    Parameters
    ----------
    in_file, out_file : str or Path
        A 4D NIfTI file, and the `.nii` to write (int16 with a scale where the input stores
        integers, else float32).
    slice_times : sequence of float
        When each slice is acquired, in s after the start of its volume; any order, and equal
        times for slices acquired together. BIDS: `SliceTiming`.
    slice_axis : str
        Axis of the slices, 'i', 'j' or 'k'; with '-' the first time is that of the last slice.
        BIDS: `SliceEncodingDirection`.
    repetition_time : float
        In s.
    reference_time : float, optional
        In s; half the repetition time by default.

    Raises
    ------
    InputError
        If times and image do not fit together.
    """
    run = open_time_series(in_file)
    times = times_by_place(slice_times, slice_axis, repetition_time, run.grid, run.path)
    axis = "ijk".index(slice_axis[0])
    reference = repetition_time / 2 if reference_time is None else reference_time
    if not 0 <= reference <= repetition_time:
        raise InputError(
            f"{run.path}: the reference time {reference:g} s does not lie within the repetition "
            f"time of {repetition_time:g} s."
        )
    corrected = np.empty((run.n_volumes, *run.grid[::-1]), dtype=np.float32)
    volumes = run.volumes().without_spikes()
    slices_in = np.moveaxis(volumes.stored.T, 3 - axis, 0)
    slices_out = np.moveaxis(corrected, 3 - axis, 0)
    for slice_in, slice_out, time in zip(slices_in, slices_out, times, strict=True):
        slice_out[:] = shift_in_time(volumes.scaled(slice_in), (reference - time) / repetition_time)
    largest = float(max(corrected.max(), -corrected.min()))
    if not np.isfinite(largest):
        raise not_finite(run.path)
    write_time_series(out_file, (volume.T for volume in corrected), run, run.affine, largest)
