"""Reading and writing 4D images volume by volume, integers staying 16 bit on disk."""

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from bids_config.errors import InputError
from bids_config.files import atomic_path

LARGEST_INT16 = 32767
DATA_OFFSET = 352


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
        with _damage_named(self.path):
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
    """

    path: Path
    stored: NDArray[Any]
    slope: float
    intercept: float

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Values of one volume, shape (i, j, k); InputError if one is NaN or infinite."""
        values = self.scaled(self.stored[..., index])
        if not np.isfinite(values.sum(dtype=np.float64)):
            raise InputError(
                f"{self.path} holds NaN or infinite values in volume {index + 1}; "
                "convert it again from the scanner's files."
            )
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
    with _damage_named(path):
        image: Any = nib.load(path)
    if len(image.shape) != 4:
        raise InputError(f"{path} has {len(image.shape)} axes; a run needs four (i, j, k, time).")
    *grid, n_volumes = image.shape
    return TimeSeries(path, image.affine, image.header, tuple(grid), n_volumes)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read as an image ({error}); copy or convert it again."
        ) from error


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
