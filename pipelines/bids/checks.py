"""Are the images whole, and do they fit their sidecars, their events and one another?"""

import math
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import InputError, Problems, StepError
from conceptrsa.bids_config.images import (
    VOXEL_SIZE_TOLERANCE,
    open_image,
    open_volume,
    read_labels,
    readable,
    require_orientation,
    require_series,
    require_volume,
    times,
    unpacked,
)
from conceptrsa.interfaces.numerics.registration_search import image_data
from conceptrsa.interfaces.numerics.slice_timing import TIME_TOLERANCE, times_by_place
from conceptrsa.interfaces.numerics.time_series import SPIKE, are_spikes, not_finite, spike_limit
from conceptrsa.pipelines.bids.dataset import NOT_FOUND, BoldRun, SubjectInputs
from conceptrsa.pipelines.bids.events import check_events_fit_run
from conceptrsa.pipelines.bids.timing import tr_in_header

MIN_VOLUMES = 20
MAX_CENTRE_DISTANCE = 50.0  # mm; laid down anew a subject moves by centimetres, not by a head
AFFINE_TOLERANCE = 1e-3  # mm
CHUNK = 1 << 20  # bytes
SMALLEST_MEAN = 0.01
"""Over time, of the brightest voxels, as a share of the largest values; demeaned runs have less."""


@dataclass(frozen=True)
class ImageHeader:
    """Header of a NIfTI file, read without its voxels.

    Attributes
    ----------
    file : Path
    shape : tuple of int
    affine : (4, 4) array
        Voxel indices to RAS mm.
    repetition_time : float or None
        TR (s), None where the header does not say.
    offset : int
        Offset of the voxels in the uncompressed file.
    dtype : dtype
        Data type of the stored voxels.
    scale : tuple of float
        Slope and intercept that the stored numbers are scaled by.
    doubt : str or None
        Why its place cannot be trusted, where that is ignored.
    """

    file: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    repetition_time: float | None
    offset: int
    dtype: np.dtype
    scale: tuple[float, float]
    doubt: str | None

    @property
    def n_bytes(self) -> int:
        """Length of the whole file, uncompressed."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def values(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Turn numbers of the file into values."""
        slope, intercept = self.scale
        return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def check_images(
    subjects: Sequence[SubjectInputs],
    n_threads: int,
    problems: Problems,
    ignore: frozenset[str],
) -> tuple[SubjectInputs, ...]:
    """Check all headers, then read every image to its end.

    Parameters
    ----------
    subjects : sequence of SubjectInputs
        Images found by name.
    n_threads : int
        Number of images read at the same time.
    problems : Problems
        Takes what is wrong.
    ignore : frozenset of str
        With 'orientation' in it, images whose place cannot be trusted are taken.

    Returns
    -------
    tuple of SubjectInputs
        With sentences on what was noticed and is gone on with.
    """
    checked = []
    with ThreadPoolExecutor(n_threads) as pool:
        headers = [_check_subject(files, problems, "orientation" in ignore) for files in subjects]
        checks = [
            [
                pool.submit(
                    check_complete,
                    header,
                    run=next((run for run in files.runs if run.image == header.file), None),
                    is_t1w=header.file == files.t1w,
                )
                for header in of_subject
            ]
            for files, of_subject in zip(subjects, headers, strict=True)
        ]
        try:
            for files, of_subject, waiting in zip(subjects, headers, checks, strict=True):
                noticed = [header.doubt for header in of_subject]
                for check in waiting:
                    with problems.noted():
                        noticed.append(check.result())
                said = tuple(dict.fromkeys(sentence for sentence in noticed if sentence))
                checked.append(replace(files, noticed=said))
        finally:  # what has not begun need not be read after the first error or an interrupt
            pool.shutdown(cancel_futures=True)
    return tuple(checked)


def _check_subject(
    files: SubjectInputs, problems: Problems, ignore_place: bool
) -> list[ImageHeader]:
    """Check the headers of a subject and give back those that could be read."""
    headers = []
    if files.t1w != NOT_FOUND:
        with problems.noted():
            headers.append(read_image_header(files.t1w, ignore_place))
            check_t1w(headers[-1])
    if files.segmentation is not None:
        with problems.noted():
            headers.append(read_image_header(files.segmentation, ignore_place))
            read_labels(files.segmentation)
    if files.t1w_mask is not None:
        with problems.noted():
            headers.append(read_image_header(files.t1w_mask, ignore_place))
            mask = open_volume(files.t1w_mask)
            with readable(files.t1w_mask):
                np.asanyarray(mask.dataobj)
    first = None
    for run in files.runs:
        if files.made_by is not None and run.preprocessed is None:
            continue  # noted where it was looked for; raw images need not be there
        with problems.noted():
            header = read_image_header(run.image, ignore_place)
            headers.append(header)
            check_series(header)
            # fMRIPrep's headers are wrong at times, so that its sidecars count.
            if run.preprocessed is None:
                check_timing_fits(header, run)
            if not run.conditions.empty:
                repetition_time = run.repetition_time
                duration = header.shape[3] * repetition_time
                check_events_fit_run(run.conditions, duration, run.events, repetition_time)
            first = first or header
            check_same_grid(first, header)
            if run.preprocessed is not None:
                check_same_voxels(first, header)
            if run.preprocessed is not None and run.preprocessed.mask is not None:
                headers.append(read_image_header(run.preprocessed.mask, ignore_place))
                check_mask(headers[-1], header)
    return headers


def read_image_header(file: Path, ignore_place: bool = True) -> ImageHeader:
    """Read the header of an image, not its voxels.

    Parameters
    ----------
    file : Path
    ignore_place : bool
        Say in the header why its place cannot be trusted, instead of refusing it.

    Raises
    ------
    InputError
        Where it cannot be read, or is none of real numbers in a place that can be trusted.
    """
    image: Any = open_image(file)
    with readable(file):
        proxy = image.dataobj
        scale = (float(proxy.slope), float(proxy.inter))
    doubt = require_orientation(image, file, ignore_place)
    return ImageHeader(
        file,
        image.shape,
        np.asarray(image.affine, dtype=float),
        tr_in_header(image.header),
        proxy.offset,
        image.get_data_dtype(),
        scale,
        doubt,
    )


def check_complete(
    header: ImageHeader, run: BoldRun | None = None, is_t1w: bool = False
) -> str | None:
    """Read a file to its end, and the values of a run or of a T1w image.

    Returns
    -------
    str or None
        Sentence on single values that no tissue has.

    Raises
    ------
    InputError
        When it is truncated or its checksum is wrong, a value of a raw run is NaN or infinite, a
        run is demeaned, or a T1w image is constant.
    """
    file = header.file
    is_run = run is not None and len(header.shape) == 4
    volumes = _Volumes(header, is_raw=run.preprocessed is None) if run and is_run else None
    try:
        with unpacked(file) as stream:
            n_bytes = len(stream.read(header.offset))
            while chunk := stream.read(CHUNK if volumes is None else volumes.n_bytes):
                n_bytes += len(chunk)
                if volumes is not None:
                    volumes.look_at(chunk)
    except (OSError, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{file} is truncated or damaged ({reason}): restore it from its source"
        ) from error
    if n_bytes < header.n_bytes:
        raise InputError(
            f"{file} is truncated ({n_bytes} bytes of {header.n_bytes}): restore it from its source"
        )
    if is_t1w:
        check_t1w(header)
        try:
            image_data(open_volume(file))
        except StepError as error:
            raise InputError(f"{file} is the same in every voxel: restore the image") from error
    if volumes is None:
        return None
    volumes.require_signal()
    return volumes.describe_spikes()


class _Volumes:
    """Looks at the volumes of a run, one after the other."""

    def __init__(self, header: ImageHeader, is_raw: bool) -> None:
        self._header = header
        self._is_raw = is_raw
        self.n_bytes = math.prod(header.shape[:3]) * header.dtype.itemsize
        self._limit = np.inf
        self._n_seen = self._n_spikes = 0
        self._largest = 0.0
        self._with_spikes: list[int] = []
        self._sum = np.zeros(math.prod(header.shape[:3]))

    def look_at(self, chunk: bytes) -> None:
        """Take the bytes of the next volume; what follows the last one is passed over."""
        if len(chunk) < self.n_bytes or self._n_seen == self._header.shape[3]:
            return
        self._n_seen += 1
        stored = np.frombuffer(chunk, self._header.dtype)
        reach = self._reach(stored)
        if not np.isfinite(reach):
            if self._is_raw:
                raise not_finite(self._header.file, f" in volume {self._n_seen}")
            stored = np.where(np.isfinite(stored), stored, 0)
            reach = self._reach(stored)
        if self._n_seen == 1:
            self._limit = spike_limit(self._header.values(stored))
        self._sum += stored
        if reach > self._limit:
            self._n_spikes += int((np.abs(self._header.values(stored)) > self._limit).sum())
            self._largest = max(self._largest, reach)
            self._with_spikes.append(self._n_seen)

    def _reach(self, stored: NDArray[Any]) -> float:
        ends = self._header.values(np.array([stored.min(), stored.max()]))
        return float(np.abs(ends).max())

    def require_signal(self) -> None:
        """Raise InputError on a run whose mean over time is 0 or below wherever it is bright."""
        means = self._header.values(self._sum / max(self._n_seen, 1))
        means = means[means != 0]
        bright = float(np.percentile(means, 99)) if len(means) else 0.0
        reach = self._limit / SPIKE if np.isfinite(self._limit) else 0.0
        if bright <= SMALLEST_MEAN * reach:
            raise InputError(
                f"{self._header.file} has a mean over time of {bright:.2g} in its brightest "
                "voxels, but percent signal change needs one well above 0: give images that are "
                "not demeaned or filtered"
            )

    def describe_spikes(self) -> str | None:
        """Say which volumes have values that no tissue has, and what becomes of those."""
        if not are_spikes(self._n_spikes, math.prod(self._header.shape)):
            return None
        first, *others = self._with_spikes
        where = f"volume {first}" + (f" and {len(others)} more" if others else "")
        values = "1 value" if self._n_spikes == 1 else f"{self._n_spikes} values"
        become = (
            "are interpolated from the volumes before and after"
            if self._is_raw
            else "are left in, as preprocessed runs are not changed"
        )
        return (
            f"spikes in {where} of {self._header.file.name} ({values}, up to {self._largest:.3g}, "
            f"more than {SPIKE:g} times bright tissue) {become}"
        )


def check_t1w(header: ImageHeader) -> None:
    """Raise InputError unless the image is one three-dimensional volume of several slices."""
    require_volume(header.shape, header.file, "a T1w image", smallest=2)


def check_series(header: ImageHeader) -> None:
    """Raise InputError unless the image is a series of enough volumes."""
    require_series(header.shape, header.file)
    if min(header.shape[:3]) < 2:
        raise InputError(
            f"{header.file} has the shape {times(header.shape)}: motion cannot be estimated from a "
            "single slice, so leave the run out"
        )
    if header.shape[3] < MIN_VOLUMES:
        raise InputError(
            f"{header.file} has {header.shape[3]} volumes but at least {MIN_VOLUMES} are needed: "
            "restore the whole run, or leave it out"
        )


def check_timing_fits(header: ImageHeader, run: BoldRun) -> None:
    """Raise InputError unless sidecar and image agree on the TR and the number of slices."""
    if run.slice_times:
        times_by_place(
            run.slice_times, run.slice_axis, run.repetition_time, header.shape, header.file
        )
    in_header = header.repetition_time
    if in_header is not None and abs(in_header - run.repetition_time) > TIME_TOLERANCE:
        raise InputError(
            f"{header.file} has a TR of {in_header:g} s in its header but "
            f"{run.repetition_time:g} s in its sidecar: correct the wrong one"
        )


def check_same_grid(first: ImageHeader, other: ImageHeader) -> None:
    """Raise InputError when two runs differ in shape, voxel size, orientation or place."""
    middle = (np.array(first.shape[:3]) - 1) / 2
    centre, other_centre = (apply_affine(header.affine, middle) for header in (first, other))
    size, other_size = (voxel_sizes(header.affine) for header in (first, other))
    axes, other_axes = ("".join(nib.aff2axcodes(header.affine)) for header in (first, other))
    distance = float(np.linalg.norm(centre - other_centre))
    if other.shape[:3] != first.shape[:3]:
        difference = f"shape ({times(other.shape[:3])}, not {times(first.shape[:3])})"
    elif not np.allclose(size, other_size, rtol=VOXEL_SIZE_TOLERANCE):
        difference = f"voxel size ({times(other_size)} mm, not {times(size)})"
    elif axes != other_axes:
        difference = f"orientation ({other_axes}, not {axes})"
    elif distance > MAX_CENTRE_DISTANCE:
        difference = f"place ({distance:.0f} mm away)"
    else:
        return
    raise InputError(
        f"{other.file} differs from {first.file.name} in {difference}: all runs of a subject must "
        "have the same grid, so leave this run out, or convert it again"
    )


def check_same_voxels(first: ImageHeader, other: ImageHeader) -> None:
    """Raise InputError when the voxels of two preprocessed runs do not lie on one another."""
    if not np.allclose(first.affine, other.affine, rtol=0, atol=AFFINE_TOLERANCE):
        raise InputError(
            f"the voxels of {other.file} do not lie on those of {first.file.name}: run fMRIPrep on "
            "all runs of the subject together, or leave that run out"
        )


def check_mask(mask: ImageHeader, run: ImageHeader) -> None:
    """Raise InputError unless a brain mask is one volume in the grid of its run."""
    require_volume(mask.shape, mask.file, "a brain mask")
    shape, own = mask.shape[:3], run.shape[:3]
    if shape != own or not np.allclose(mask.affine, run.affine, rtol=0, atol=AFFINE_TOLERANCE):
        raise InputError(
            f"{mask.file} does not lie on the grid of {run.file.name}: restore both from "
            "fMRIPrep's output"
        )


def count_volumes(subject: SubjectInputs) -> int:
    """Volumes of all runs of a subject together; images that are not there count as none."""
    shapes = map(series_shape, subject.runs)
    return sum(shape[3] for shape in shapes if shape is not None)


def series_shape(run: BoldRun) -> tuple[int, ...] | None:
    """Shape of the image of a run; None where it is not there, or is no series."""
    try:
        shape = read_image_header(run.image).shape
    except InputError:
        return None
    return shape if len(shape) == 4 else None
