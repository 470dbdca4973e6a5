"""When the slices of a BOLD run were acquired, from its sidecar."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import units
from conceptrsa.interfaces.numerics.slice_timing import SLICE_AXES, within_volume
from conceptrsa.pipelines.bids.layout import Sidecar

LONGEST_TR = 60.0  # s


@dataclass(frozen=True)
class Timing:
    """Timing of a run.

    Attributes
    ----------
    repetition_time : float
        TR (s).
    slice_times : tuple of float
        Acquisition time (s) of each slice, along `slice_axis`; empty where slices were corrected
        already, or are not to be.
    slice_axis : str
        'i', 'j' or 'k'; with '-' the first time belongs to the last slice.
    """

    repetition_time: float
    slice_times: tuple[float, ...]
    slice_axis: str


def read_timing(bold: Path, sidecar: Sidecar, ignore_slices: bool) -> Timing:
    """Take TR and slice times from a sidecar and check them.

    Parameters
    ----------
    bold : Path
    sidecar : Sidecar
    ignore_slices : bool
        Take no slice times, whether there are some or not.

    Raises
    ------
    InputError
        When there is no sidecar, TR or slice times are missing, are no numbers, or cannot be
        seconds.
    """
    if not sidecar.files:
        name = bold.name.removesuffix(".gz").removesuffix(".nii") + ".json"
        raise InputError(
            f"{bold} has no JSON sidecar: add {name}, or one in a parent folder, with "
            "RepetitionTime and SliceTiming in seconds"
        )
    nearest = sidecar.files[-1]
    if "VolumeTiming" in sidecar.values and "RepetitionTime" not in sidecar.values:
        raise InputError(
            f"{bold} has VolumeTiming in place of RepetitionTime ({nearest}), so its volumes are "
            "not equally spaced, which the model needs: leave the run out"
        )
    if "RepetitionTime" not in sidecar.values:
        raise InputError(f"{bold} has no RepetitionTime: add it, in seconds, to {nearest}")
    repetition_time = check_tr(sidecar.values["RepetitionTime"], bold, nearest)
    if ignore_slices:
        return Timing(repetition_time, (), "k")
    if "SliceTiming" not in sidecar.values:
        raise InputError(
            f"{bold} has no SliceTiming: add it, in seconds, to {nearest}, or give --ignore "
            "slicetiming to skip slice timing correction"
        )
    slice_times = sidecar.values["SliceTiming"]
    if (
        not isinstance(slice_times, list)
        or not slice_times
        or not all(map(_is_number, slice_times))
    ):
        raise InputError(
            f"{nearest} gives {bold.name} a SliceTiming that is not a list of numbers: correct it, "
            "or give --ignore slicetiming"
        )
    within_volume(slice_times, repetition_time, f"{nearest} gives {bold.name}")
    slice_axis = sidecar.values.get("SliceEncodingDirection", "k")
    if slice_axis not in SLICE_AXES:
        raise InputError(
            f"{nearest} gives {bold.name} SliceEncodingDirection {slice_axis!r}: give one of i, j, "
            "k, i-, j-, k-"
        )
    return Timing(repetition_time, tuple(map(float, slice_times)), slice_axis)


def tr_in_header(header: Any) -> float | None:
    """Give the TR (s) in the header of an image; None where it does not say."""
    zooms = header.get_zooms()
    if len(zooms) < 4:
        return None
    unit = units(header)[1] if hasattr(header, "get_xyzt_units") else "msec"
    time = float(zooms[3])
    if unit == "unknown" and time > LONGEST_TR:
        unit = "msec"
    return time * {"msec": 1e-3, "usec": 1e-6}.get(unit, 1.0) or None


def check_tr(value: object, bold: Path, source: Path) -> float:
    """Give a repetition time (s) as a number; InputError where it cannot be one."""
    if not _is_number(value) or not 0 < value <= LONGEST_TR:
        raise InputError(
            f"{source} gives {bold.name} RepetitionTime {value!r}: give seconds (not ms), above 0 "
            f"and up to {LONGEST_TR:g}"
        )
    return float(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
