"""Reading and writing 4D images volume by volume, integers staying 16 bit on disk."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import open_image, readable, require_series
from conceptrsa.bids_config.writing import atomic_path

LARGEST_INT16 = 32767
DATA_OFFSET = 352
SPIKE = 20.0
"""A value this many times the 99th percentile of the first volume is not tissue."""
MOST_SPIKES = 1e-4
"""Share of a run's samples that may be spikes; more of them are the run's own range."""
NEGLIGIBLE = 1e-9
"""Share of a voxel's variation that may be rounding."""


@dataclass(frozen=True)
class TimeSeries:
    """One run on disk; its volumes are read only when asked for.

    Attributes
    ----------
    path : Path
        Where it lies.
    affine : ndarray, shape (4, 4)
        Voxel indices to scanner RAS in mm.
    header : nibabel header
        As in the file.
    grid : tuple of int
        Voxels along i, j, k.
    n_volumes : int
        Number of volumes.
    """

    path: Path
    affine: NDArray[np.float64]
    header: Any
    grid: tuple[int, int, int]
    n_volumes: int

    @property
    def is_integer(self) -> bool:
        """Whether the file stores integers."""
        return bool(np.issubdtype(self.header.get_data_dtype(), np.integer))

    def volumes(self) -> "Volumes":
        """Open the data: an uncompressed file is mapped, a compressed one read.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        with readable(self.path):
            proxy = nib.load(self.path).dataobj
            stored = np.asanyarray(proxy.get_unscaled())
        return Volumes(self.path, stored, float(proxy.slope), float(proxy.inter))


@dataclass(frozen=True)
class Volumes:
    """Values of a run, given out volume by volume.

    Attributes
    ----------
    path : Path
        File they come from.
    stored : ndarray, shape (i, j, k, volumes)
        The numbers in the file, before scaling.
    slope, intercept : float
        value = slope * stored + intercept.
    is_mended : bool
        Whether spikes were taken out.
    """

    path: Path
    stored: NDArray[Any]
    slope: float
    intercept: float
    is_mended: bool = False

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Values of one volume, shape (i, j, k); InputError if one is NaN or infinite."""
        values = self.scaled(self.stored[..., index])
        if not np.isfinite(values.sum(dtype=np.float64)):
            raise not_finite(self.path, f" in volume {index + 1}")
        return values

    def scaled(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Turn numbers of the file into values."""
        values = stored.astype(np.float32)
        if self.slope != 1:
            values *= np.float32(self.slope)
        if self.intercept != 0:
            values += np.float32(self.intercept)
        return values

    def value_range(self) -> tuple[float, float]:
        """Smallest and largest value of the run."""
        ends = self.scaled(np.array([self.stored.min(), self.stored.max()]))
        return float(ends.min()), float(ends.max())

    def without_spikes(self) -> "Volumes":
        """Put, for single values that no tissue has, what the volumes before and after have.

        One such value, as a defect of the reconstruction leaves it, would be the only thing that
        registration sees, and slice timing would spread it over the run.
        """
        limit = spike_limit(self.scaled(self.stored[..., 0]))
        reach = max(map(abs, self.value_range()))
        if not limit < reach < np.inf:
            return self
        found = [
            np.argwhere(np.abs(self.scaled(volume)) > limit)
            for volume in np.moveaxis(self.stored, -1, 0)
        ]
        if not are_spikes(sum(map(len, found)), self.stored.size):
            return self
        stored = np.array(self.stored)
        for i, j, k in np.unique(np.concatenate(found), axis=0):
            series = stored[i, j, k].astype(np.float64)
            is_spike = np.abs(self.scaled(series)) > limit
            times = np.arange(len(series))
            # A voxel that is one in all volumes gets what is furthest from being a spike.
            good = ~is_spike if not is_spike.all() else np.abs(series) == np.abs(series).min()
            repaired = np.interp(times[is_spike], times[good], series[good])
            if np.issubdtype(stored.dtype, np.integer):
                repaired = np.rint(repaired)
            stored[i, j, k, is_spike] = repaired
        return replace(self, stored=stored, is_mended=True)


def not_finite(file: Path, where: str = "") -> InputError:
    """Make the error of a run with values that are no numbers."""
    return InputError(
        f"{file} holds NaN or infinite values{where}: convert it again from the scanner's files"
    )


def open_time_series(path: str | Path) -> TimeSeries:
    """Read the header of a 4D NIfTI file.

    Parameters
    ----------
    path : str or Path
        `.nii` or `.nii.gz`.

    Returns
    -------
    TimeSeries

    Raises
    ------
    InputError
        If it is no readable image of three spatial axes and time.
    """
    path = Path(path)
    image: Any = open_image(path)
    require_series(image.shape, path)
    *grid, n_volumes = image.shape
    return TimeSeries(path, image.affine, image.header, tuple(grid), n_volumes)


def image_stem(path: Path) -> str:
    """Name of an image without `.nii` or `.nii.gz`."""
    return path.name.removesuffix(".gz").removesuffix(".nii")


def spike_limit(first_volume: NDArray[np.float32]) -> float:
    """Give the size from which on values of a run are spikes; infinite for an empty volume."""
    sizes = np.abs(first_volume[first_volume != 0])
    return SPIKE * float(np.percentile(sizes, 99)) if len(sizes) else np.inf


def are_spikes(n_above: int, n_samples: int) -> bool:
    """Tell whether so many samples above the limit are few enough to be spikes."""
    return 0 < n_above <= MOST_SPIKES * n_samples


def write_time_series(
    path: str | Path,
    volumes: Iterable[NDArray[np.float32]],
    like: TimeSeries,
    affine: NDArray[np.float64],
    largest: float,
) -> None:
    """Write volumes one after the other, as int16 with a scale where `like` stores integers.

    Parameters
    ----------
    path : str or Path
        An uncompressed `.nii`.
    volumes : iterable of ndarray, shape (i, j, k)
        As many as `like` has.
    like : TimeSeries
        Gives shape, repetition time, units, and whether integers are stored.
    affine : ndarray, shape (4, 4)
        Voxel indices to scanner RAS in mm.
    largest : float
        No absolute value of `volumes` exceeds this; int16 steps are `largest` / 32767.
    """
    dtype = np.dtype("<i2" if like.is_integer else "<f4")
    step = largest / LARGEST_INT16 if like.is_integer and largest > 0 else 1.0
    header = nib.Nifti1Header.from_header(like.header).as_byteswapped("<")
    header.set_data_dtype(dtype)
    header.set_data_offset(DATA_OFFSET)
    header.set_slope_inter(step, 0)
    header.extensions.clear()
    header["cal_min"] = header["cal_max"] = 0
    code = max(1, int(header["sform_code"]))
    header.set_qform(affine, code=code, strip_shears=True)
    header.set_sform(affine, code=code)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        header.write_to(file)
        file.write(bytes(DATA_OFFSET - file.tell()))
        for volume in volumes:
            numbers = np.rint(volume / np.float32(step)) if like.is_integer else volume
            file.write(numbers.astype(dtype).tobytes(order="F"))


def temporal_snr(run: TimeSeries) -> NDArray[np.float32]:
    """Mean over time divided by the standard deviation about a straight line.

    The line takes the scanner's linear drift out of the noise; slower and faster fluctuations
    stay in it. Volumes are read one at a time.

    Parameters
    ----------
    run : TimeSeries
        A realigned run.

    Returns
    -------
    ndarray of float32, shape (i, j, k)
        0 where nothing varies, where the mean is not above 0, and for fewer than three volumes.
    """
    volumes = run.volumes()
    first = volumes[0].astype(np.float64)
    total, along_time, squares = (np.zeros(run.grid) for _ in range(3))
    times = np.arange(run.n_volumes) - (run.n_volumes - 1) / 2
    for index, time in enumerate(times):
        # Differences from the first volume keep the sums of squares small, and so exact.
        change = volumes[index] - first
        total += change
        along_time += time * change
        squares += change * change
    if run.n_volumes < 3:
        return np.zeros(run.grid, dtype=np.float32)
    residual = squares - total**2 / run.n_volumes - along_time**2 / (times @ times)
    mean = first + total / run.n_volumes
    good = (residual > NEGLIGIBLE * squares) & (mean > 0)
    deviation = np.sqrt(np.where(good, residual, 1.0) / (run.n_volumes - 2))
    return np.where(good, mean / deviation, 0.0).astype(np.float32)


Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int
) -> Iterator[Result]:
    """Apply a function in threads, give the results in order, stop at the first exception.

    Threads suffice because NumPy's products and SciPy's interpolations let others run.

    Parameters
    ----------
    function : callable
        Of one item.
    items : iterable
    n_threads : int

    Yields
    ------
    object
        What `function` gave, in the order of `items`.
    """
    executor = ThreadPoolExecutor(n_threads)
    try:
        yield from executor.map(function, items)
    finally:
        executor.shutdown(cancel_futures=True)
