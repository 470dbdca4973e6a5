"""Are the images whole, and do they fit their sidecars, their events and one another?"""

import gzip
import math
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes

from bids_config.errors import InputError
from pipelines.bids_runs import RunFiles, SubjectFiles
from pipelines.bids_timing import SLICE_AXES, TIME_TOLERANCE, Timing
from pipelines.events import check_events_fit_run
from pipelines.problems import Problems

MIN_VOLUMES = 20
VOXEL_SIZE_TOLERANCE = 0.01  # relative
MAX_CENTRE_DISTANCE = 50.0  # mm; laid down anew a subject moves by centimetres, not by a head
AFFINE_TOLERANCE = 1e-3  # mm
CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class ImageHeader:
    """What is known of a NIfTI file before its voxels are read.

    Attributes
    ----------
    file : Path
    shape : tuple of int
    affine : (4, 4) array
        Voxel indices to RAS mm.
    repetition_time : float or None
        TR (s), None where the header does not say.
    n_bytes : int
        Length of the whole file, uncompressed.
    """

    file: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    repetition_time: float | None
    n_bytes: int


def check_images(subjects: Sequence[SubjectFiles], n_threads: int, problems: Problems) -> None:
    """Check all headers, then read every image to its end.

    Parameters
    ----------
    subjects : sequence of SubjectFiles
        What was found by name.
    n_threads : int
        How many images are read through at the same time.
    problems : Problems
        Takes what is wrong.
    """
    headers = [header for subject in subjects for header in _check_subject(subject, problems)]
    with ThreadPoolExecutor(n_threads) as pool:
        checks = [pool.submit(check_complete, header) for header in headers]
        try:
            for check in checks:
                with problems.noted():
                    check.result()
        finally:  # what has not begun need not be read after the first error or an interrupt
            for check in checks:
                check.cancel()


def _check_subject(files: SubjectFiles, problems: Problems) -> list[ImageHeader]:
    """Check the headers of a subject and give back those that could be read."""
    readable = []
    if files.t1w is not None:
        with problems.noted():
            t1w = read_image_header(files.t1w)
            readable.append(t1w)
            check_t1w(t1w)
    first = None
    for run in files.runs:
        with problems.noted():
            header = read_image_header(run.image)
            readable.append(header)
            _check_run(run, header)
            first = first or header
            check_same_grid(first, header)
            if run.preprocessed is not None:
                check_same_voxels(first, header)
    return readable


def _check_run(run: RunFiles, header: ImageHeader) -> None:
    check_series(header)
    if run.timing is None:
        return
    if run.preprocessed is None:  # fMRIPrep's headers are wrong at times; its sidecars count
        check_timing_fits(header, run.timing)
    if run.events is not None and run.events_file is not None:
        repetition_time = run.timing.repetition_time
        duration = header.shape[3] * repetition_time
        check_events_fit_run(run.events, duration, run.events_file, tolerance=repetition_time)


def read_image_header(file: Path) -> ImageHeader:
    """Read the header of a NIfTI file, not its voxels; InputError where it cannot be read."""
    if file.is_symlink() and not file.exists():
        raise InputError(
            f"{file} is a link to a file that is not here: fetch its content (git-annex and "
            "DataLad: `datalad get`)"
        )
    try:
        image: Any = nib.load(file)
        header, shape = image.header, image.shape
        zooms, (_, time_unit) = header.get_zooms(), header.get_xyzt_units()
        n_bytes = image.dataobj.offset + math.prod(shape) * image.get_data_dtype().itemsize
        affine = np.asarray(image.affine, dtype=float)
    except Exception as error:  # nibabel lets through whatever a damaged header makes fail
        raise InputError(
            f"{file} is not a readable NIfTI image ({_one_line(error)}): restore it"
        ) from error
    if not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
        raise InputError(f"{file} has an affine that cannot be inverted: convert the image again")
    seconds = {"msec": 1e-3, "usec": 1e-6}.get(time_unit, 1.0)
    repetition_time = float(zooms[3]) * seconds if len(zooms) > 3 else 0.0
    return ImageHeader(file, shape, affine, repetition_time or None, n_bytes)


def check_complete(header: ImageHeader) -> None:
    """Read a file to its end; InputError when it is truncated or its checksum is wrong."""
    file = header.file
    try:
        n_bytes = _count_unzipped(file) if file.suffix == ".gz" else file.stat().st_size
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{file} is truncated or damaged ({_one_line(error)}): restore it from its source"
        ) from error
    if n_bytes < header.n_bytes:
        raise InputError(
            f"{file} is truncated ({n_bytes} bytes of {header.n_bytes}): restore it from its source"
        )


def check_t1w(header: ImageHeader) -> None:
    """Raise InputError unless the image is one three-dimensional volume."""
    if min(header.shape) < 1 or np.sum(np.array(header.shape) > 1) != 3:
        raise InputError(
            f"{header.file} has the shape {_times(header.shape)}: a T1w image must be one "
            "three-dimensional volume"
        )


def check_series(header: ImageHeader) -> None:
    """Raise InputError unless the image is a series of enough volumes."""
    if len(header.shape) != 4:
        raise InputError(
            f"{header.file} has the shape {_times(header.shape)}: a BOLD run must have four "
            "dimensions, the last of them time"
        )
    if header.shape[3] < MIN_VOLUMES:
        raise InputError(
            f"{header.file} has {header.shape[3]} volumes, at least {MIN_VOLUMES} are needed: "
            "restore the whole run, or leave it out"
        )


def check_timing_fits(header: ImageHeader, timing: Timing) -> None:
    """Raise InputError unless sidecar and image agree on the TR and the number of slices."""
    n_slices = header.shape[SLICE_AXES[timing.slice_axis[0]]]
    if timing.slice_times and len(timing.slice_times) != n_slices:
        raise InputError(
            f"{header.file} has {n_slices} slices along axis {timing.slice_axis} but its sidecar "
            f"has {len(timing.slice_times)} slice times: mend SliceTiming or SliceEncodingDirection"
        )
    in_header = header.repetition_time
    if in_header is not None and abs(in_header - timing.repetition_time) > TIME_TOLERANCE:
        raise InputError(
            f"{header.file} has a TR of {in_header:g} s in its header but "
            f"{timing.repetition_time:g} s in its sidecar: mend the one that is wrong"
        )


def check_same_grid(first: ImageHeader, other: ImageHeader) -> None:
    """Raise InputError when two runs differ in shape, voxel size, orientation or place."""
    middle = (np.array(first.shape[:3]) - 1) / 2
    centre, other_centre = (apply_affine(header.affine, middle) for header in (first, other))
    size, other_size = (voxel_sizes(header.affine) for header in (first, other))
    axes, other_axes = ("".join(nib.aff2axcodes(header.affine)) for header in (first, other))
    distance = float(np.linalg.norm(centre - other_centre))
    if other.shape[:3] != first.shape[:3]:
        difference = f"shape ({_times(other.shape[:3])}, not {_times(first.shape[:3])})"
    elif not np.allclose(size, other_size, rtol=VOXEL_SIZE_TOLERANCE):
        difference = f"voxel size ({_times(other_size)} mm, not {_times(size)})"
    elif axes != other_axes:
        difference = f"orientation ({other_axes}, not {axes})"
    elif distance > MAX_CENTRE_DISTANCE:
        difference = f"place ({distance:.0f} mm away)"
    else:
        return
    raise InputError(
        f"{other.file} differs from {first.file.name} in {difference}: all runs of a subject must "
        "have the same grid, so leave it out or convert it again"
    )


def check_same_voxels(first: ImageHeader, other: ImageHeader) -> None:
    """Raise InputError when the voxels of two preprocessed runs do not lie on one another."""
    if not np.allclose(first.affine, other.affine, rtol=0, atol=AFFINE_TOLERANCE):
        raise InputError(
            f"the voxels of {other.file} do not lie on those of {first.file.name}: run fMRIPrep on "
            "all runs of the subject together, or leave that run out"
        )


def _count_unzipped(file: Path) -> int:
    n_bytes = 0
    with gzip.open(file, "rb") as stream:
        while chunk := stream.read(CHUNK):
            n_bytes += len(chunk)
    return n_bytes


def _times(numbers: Any) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
