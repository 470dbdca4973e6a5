"""Slice timing: every slice's time course moved to the moment of one reference.

The method is that of SPM12's `spm_slice_timing`: a shift of phase in Fourier space.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft

from bids_config.errors import InputError
from interfaces.embedded.time_series import open_time_series, write_time_series

SLICE_AXES = ("i", "j", "k", "i-", "j-", "k-")


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
    times = np.asarray(slice_times, dtype=float)
    reference = repetition_time / 2 if reference_time is None else reference_time
    if slice_axis not in SLICE_AXES:
        raise InputError(
            f"{run.path}: the slice axis is '{slice_axis}'; "
            f"SliceEncodingDirection must be one of {', '.join(SLICE_AXES)}."
        )
    axis = "ijk".index(slice_axis[0])
    if len(times) != run.grid[axis]:
        raise InputError(
            f"{run.path} has {run.grid[axis]} slices along {slice_axis} but {len(times)} slice "
            "times; correct SliceTiming or SliceEncodingDirection in its sidecar."
        )
    if not ((times >= 0) & (times <= repetition_time)).all():
        raise InputError(
            f"{run.path}: slice times from {times.min():g} to {times.max():g} do not lie within "
            f"the repetition time of {repetition_time:g} s; SliceTiming must be in seconds."
        )
    if not 0 <= reference <= repetition_time:
        raise InputError(
            f"{run.path}: the reference time {reference:g} s does not lie within the repetition "
            f"time of {repetition_time:g} s."
        )
    if slice_axis.endswith("-"):
        times = times[::-1]

    corrected = np.empty((run.n_volumes, *run.grid[::-1]), dtype=np.float32)
    volumes = run.volumes()
    slices_in = np.moveaxis(volumes.stored.T, 3 - axis, 0)
    slices_out = np.moveaxis(corrected, 3 - axis, 0)
    for slice_in, slice_out, time in zip(slices_in, slices_out, times, strict=True):
        slice_out[:] = shift_in_time(volumes.scaled(slice_in), (reference - time) / repetition_time)
    largest = float(max(corrected.max(), -corrected.min()))
    if not np.isfinite(largest):
        raise InputError(
            f"{run.path} holds NaN or infinite values; convert it again from the scanner's files."
        )
    write_time_series(out_file, (volume.T for volume in corrected), run, run.affine, largest)
