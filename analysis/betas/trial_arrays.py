"""Responses to single trials in files that are too large for memory, read at some voxels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.betas.mat_files import read_array
from conceptrsa.analysis.betas.volumes import load_volume
from conceptrsa.analysis.files.array_files import DAMAGE
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import read_labels, readable
from conceptrsa.bids_config.writing import file_errors

BLOCK_BYTES = 2**27
"""About how much is read at once."""

GAP = 16
"""Voxels that are read and not used where that saves going to another place of the file."""

MAX_AXES = 4

Responses = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class TrialArray:
    """Responses to single trials in a file.

    Attributes
    ----------
    file : Path
    shape : tuple of int
        Of the grid of voxels, three numbers.
    n_trials : int
    read : callable
        From trials (rows, increasing) and voxels (flat C order indices) to responses (trials,
        voxels).
    by_voxel : bool
        Whether few voxels cost as little to read as they are; else each reading is of the whole
        file.
    is_whole_numbers : bool
        Whether the file holds whole numbers, without a scale of its own.
    affine : ndarray, optional
        From voxels to mm, where something says so.
    """

    file: Path
    shape: tuple[int, ...]
    n_trials: int
    read: Callable[[Integers, Integers], Responses]
    by_voxel: bool = False
    is_whole_numbers: bool = False
    affine: Floats | None = None


def array_in_memory(file: Path, load: Callable[[Path], Any]) -> TrialArray:
    """Give an array (x, y, z, trials) or (units, trials) that has to be read as a whole.

    It is read again each time, so that those of other subjects are not in memory as well.
    """
    betas = np.asarray(load(file))
    _require_axes(file, betas.shape, betas.dtype)

    def read(rows: Integers, voxels: Integers) -> Responses:
        found = np.asarray(load(file))
        return found.reshape(-1, found.shape[-1])[voxels][:, rows].T

    return TrialArray(file, _grid_of(betas.shape[:-1]), betas.shape[-1], read)


def array_in_hdf5(file: Path, name: str, *, trials_first: bool) -> TrialArray:
    """Give a dataset of an HDF5 file: (x, y, z, trials), (units, trials), or either reversed.

    Parameters
    ----------
    file : Path
    name : str
        Of the dataset.
    trials_first : bool
        Whether the axes are reversed, as in what MATLAB writes.

    Raises
    ------
    InputError
        If it is missing, damaged, or of another number of axes.
    """
    with _opened(file) as content:
        if not isinstance(content.get(name), h5py.Dataset):
            raise InputError(f"{file} holds no array {name}: give the file as it was written")
        data = content[name]
        axes, dtype, chunks = data.shape, data.dtype, data.chunks
    _require_axes(file, axes, dtype)
    stored = axes[1:] if trials_first else axes[:-1]
    n_trials = axes[0] if trials_first else axes[-1]
    shape = _grid_of(stored[::-1] if trials_first else stored)
    by_voxel = not trials_first or (chunks is not None and chunks[0] == n_trials)

    def read(rows: Integers, voxels: Integers) -> Responses:
        places = np.unravel_index(voxels, shape)[: len(stored)]
        flat = np.ravel_multi_index(places[::-1] if trials_first else places, stored)
        found = np.empty((len(rows), len(voxels)), dtype=np.result_type(dtype, np.float32))
        with _opened(file) as content:
            data = content[name]
            if by_voxel:
                for columns, where in _segments(flat, stored, n_trials * dtype.itemsize):
                    part = data[(slice(None), *where) if trials_first else where]
                    part = part if trials_first else part.T
                    inner = flat[columns] % stored[-1] - where[-1].start
                    found[:, columns] = part[rows][:, inner]
            else:
                step = _trials_at_once(chunks, dtype, stored)
                for start in range(0, n_trials, step):
                    taken = np.flatnonzero((rows >= start) & (rows < start + step))
                    if len(taken):
                        part = data[start : start + step].reshape(-1, int(np.prod(stored)))
                        found[taken] = part[rows[taken] - start][:, flat]
        return found

    return TrialArray(file, shape, n_trials, read, by_voxel, dtype.kind in "iu")


def array_in_mat(file: Path, name: str) -> TrialArray:
    """Give an array (x, y, z, trials) of MATLAB's, in HDF5 (since 7.3) or of level 5.

    Raises
    ------
    InputError
        As `array_in_hdf5`.
    """
    if h5py.is_hdf5(file):
        return array_in_hdf5(file, name, trials_first=True)

    def load(file: Path) -> Any:
        with file_errors(file, "save it again", DAMAGE):
            return read_array(file, name)

    return array_in_memory(file, load)


def array_in_mask(array: TrialArray, mask: Path, order: Literal["C", "F"]) -> TrialArray:
    """Give an array of units as one of the voxels of a mask; outside of it are NaN.

    Parameters
    ----------
    array : TrialArray
        Of as many units as the mask has voxels that are not 0.
    mask : Path
    order : {'C', 'F'}
        How its voxels were counted: the last axis first, as in Python, or the first, as in MATLAB.

    Raises
    ------
    InputError
        On a mask that cannot be read, or has another number of voxels.
    """
    labels, affine = read_labels(mask)
    inside = labels != 0
    if np.count_nonzero(inside) != np.prod(array.shape):
        raise InputError(
            f"{mask} has {np.count_nonzero(inside)} voxels but {array.file} responses of "
            f"{np.prod(array.shape)}: give the mask that they were taken with"
        )
    unit = np.full(inside.shape, -1, order=order)
    unit.ravel(order)[inside.ravel(order)] = np.arange(np.count_nonzero(inside))
    units = unit.ravel()

    def read(rows: Integers, voxels: Integers) -> Responses:
        known = np.flatnonzero(units[voxels] >= 0)
        found = np.full((len(rows), len(voxels)), np.nan)
        found[:, known] = array.read(rows, units[voxels[known]])
        return found

    return replace(array, shape=inside.shape, read=read, affine=affine)


def array_in_volumes(file: Path) -> TrialArray:
    """Give a 4D volume, whose fourth axis are trials.

    Raises
    ------
    InputError
        If it cannot be read, or has another number of axes.
    """
    image = load_volume(file)
    if len(image.shape) != MAX_AXES:
        raise InputError(f"{file} has the shape {image.shape}: give x, y, z and trials")

    def read(rows: Integers, voxels: Integers) -> Responses:
        volumes = load_volume(file)
        found = np.empty((len(rows), len(voxels)), dtype=np.float32)
        with readable(file):
            for place, row in enumerate(rows):
                found[place] = np.asarray(volumes.dataobj[..., row]).ravel()[voxels]
        return found

    slope = getattr(image.dataobj, "slope", 1)
    is_whole = image.get_data_dtype().kind in "iu" and slope == 1
    return TrialArray(
        file, image.shape[:3], image.shape[3], read, is_whole_numbers=is_whole, affine=image.affine
    )


@contextmanager
def _opened(file: Path) -> Iterator[h5py.File]:
    with file_errors(file, "copy it or write it again", DAMAGE), h5py.File(file, "r") as content:
        yield content


def _require_axes(file: Path, axes: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(axes) not in (2, MAX_AXES) or dtype.kind not in "fiu":
        raise InputError(
            f"{file} holds an array of shape {axes}: give x, y, z and trials, or voxels and trials"
        )


def _grid_of(axes: tuple[int, ...]) -> tuple[int, ...]:
    return (*axes, 1, 1)[:3]


def _trials_at_once(
    chunks: tuple[int, ...] | None, dtype: np.dtype[Any], stored: tuple[int, ...]
) -> int:
    whole = chunks[0] if chunks else 1
    n_bytes = whole * dtype.itemsize * int(np.prod(stored))
    return whole * max(1, BLOCK_BYTES // max(1, n_bytes))


def _segments(
    flat: Integers, stored: tuple[int, ...], voxel_bytes: int
) -> Iterator[tuple[Integers, tuple[Any, ...]]]:
    """Split voxels into pieces that lie together: their columns, and where they are stored."""
    most = max(1, BLOCK_BYTES // max(1, voxel_bytes))
    order = np.argsort(flat, kind="stable")
    places = flat[order]
    outer, inner = places // stored[-1], places % stored[-1]
    begins = np.ones(len(places), dtype=bool)
    begins[1:] = (np.diff(outer) > 0) | (np.diff(inner) > GAP)
    starts = np.flatnonzero(begins)
    for start, end in zip(starts, [*starts[1:], len(places)], strict=True):
        for first in range(start, end, most):
            columns = slice(first, min(first + most, end))
            before = tuple(int(i) for i in np.unravel_index(outer[first], stored[:-1] or (1,)))
            along = slice(int(inner[columns.start]), int(inner[columns.stop - 1]) + 1)
            yield order[columns], (*before[: len(stored) - 1], along)
