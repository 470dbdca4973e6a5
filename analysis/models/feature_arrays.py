"""Arrays for the features of one network: in memory, or too large for it and in a file."""

import mmap
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from conceptrsa.analysis.arrays import Singles
from conceptrsa.bids_config.errors import InputError

BYTES_IN_MEMORY = 256_000_000
"""Larger arrays are kept in a file and read when needed."""

_OF_ONE = np.dtype(np.float32).itemsize


@dataclass(frozen=True)
class FeatureArrays:
    """Arrays (inputs, features) by layer and pooling, as `make_arrays` gives them."""

    columns: dict[str, Singles]
    _mapped: mmap.mmap | None = field(default=None, repr=False)

    def release(self) -> None:
        """Give the memory of what lies in a file back, until it is read again."""
        if self._mapped is not None:
            self._mapped.madvise(mmap.MADV_DONTNEED)


def make_arrays(n_inputs: int, lengths: Mapping[str, int], folder: Path) -> FeatureArrays:
    """Make arrays (inputs, features) of float32 that hold any numbers.

    Those beyond `BYTES_IN_MEMORY`, taken together, lie in a file of the folder that has no name, so
    that it is gone when the last of them is.

    Parameters
    ----------
    n_inputs : int
    lengths : mapping of str to int
        Number of features by layer and pooling.
    folder : Path
        It exists.

    Raises
    ------
    InputError
        The disk has no room for the file.
    """
    ends = n_inputs * np.cumsum([0, *lengths.values()], dtype=np.int64)
    n_bytes = _OF_ONE * int(ends[-1])
    if n_bytes <= BYTES_IN_MEMORY:
        mapped, numbers = None, np.empty(ends[-1], dtype=np.float32)
    else:
        mapped = _map_file(n_bytes, folder)
        numbers = np.frombuffer(mapped, dtype=np.float32)
    columns = {
        column: numbers[start : start + n_inputs * length].reshape(n_inputs, length)
        for (column, length), start in zip(lengths.items(), ends[:-1], strict=True)
    }
    return FeatureArrays(columns, mapped)


def _map_file(n_bytes: int, folder: Path) -> mmap.mmap:
    _require_free(n_bytes, folder)
    try:
        with TemporaryFile(dir=folder) as file:
            file.truncate(n_bytes)
            if hasattr(os, "posix_fallocate"):  # else a disk that gets full would be a crash later
                os.posix_fallocate(file.fileno(), 0, n_bytes)
            return mmap.mmap(file.fileno(), n_bytes)
    except OSError as error:
        raise _no_room(n_bytes, folder, str(error)) from error


def require_space(n_bytes: int, folder: Path) -> None:
    """Raise InputError where a folder has no room for features of one network.

    Those beyond `BYTES_IN_MEMORY` need it twice: in the cache, and for the arrays made of them.
    """
    _require_free(2 * n_bytes if n_bytes > BYTES_IN_MEMORY else n_bytes, folder)


def _require_free(n_bytes: int, folder: Path) -> None:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < n_bytes:
        raise _no_room(n_bytes, folder, f"{free / 1e9:.1f} GB are free")


def _no_room(n_bytes: int, folder: Path, reason: str) -> InputError:
    return InputError(
        f"{folder} has no room for {n_bytes / 1e9:.1f} GB of features ({reason}): give another "
        "folder with --cache-dir, or take fewer layers"
    )
