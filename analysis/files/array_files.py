"""Named arrays in `.npz` and HDF5 files from anywhere, read without running anything in them."""

import zipfile
import zlib
from collections.abc import Iterator, KeysView
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import natural_key
from conceptrsa.bids_config.writing import file_errors

HDF5_SUFFIXES = (".h5", ".hdf5")
ARRAY_SUFFIXES = (".npz", *HDF5_SUFFIXES)

DAMAGE = (
    EOFError, RuntimeError, KeyError, TypeError, ValueError, MemoryError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
"""Errors that NumPy and h5py raise on a damaged file, besides errors of reading."""


@dataclass(frozen=True)
class ArrayFile:
    """An open file of named arrays; groups of HDF5 are parts of the name, before a slash.

    Attributes
    ----------
    file : Path
    names : set-like of str
        Names of all arrays, `visual/betas`, in the order in which they were saved; of an HDF5 file
        that keeps no such order, by name.
    """

    file: Path
    names: KeysView[str]
    _content: Any

    def numbers(self, name: str) -> NDArray[Any]:
        """Read an array of numbers in the type that it has.

        Raises
        ------
        InputError
            If it is not there or holds something else.
        """
        values = np.asarray(self._array(name)[()])
        if values.dtype.kind not in "fiub":
            raise InputError(f"{name} in {self.file} does not hold numbers: save it as an array")
        return values

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of texts; whole numbers become text.

        Raises
        ------
        InputError
            If it is not there or holds something else.
        """
        array = self._array(name)
        if isinstance(array, h5py.Dataset) and h5py.check_string_dtype(array.dtype):
            values = np.asarray(array.asstr()[()])
        else:
            values = np.asarray(array[()])
        if values.ndim != 1 or values.dtype.kind not in "USOiu":
            raise InputError(f"{name} in {self.file} is not a list of texts: save it as one")
        if values.dtype.kind == "S":
            return tuple(value.decode("utf-8") for value in values.tolist())
        return tuple(str(value) for value in values.tolist())

    def _array(self, name: str) -> Any:
        if name not in self.names:
            there = ", ".join(sorted(self.names)[:8]) or "nothing"
            raise InputError(f"{self.file} has no array {name} (it holds {there}): add it")
        return self._content[name]


@contextmanager
def open_arrays(file: Path) -> Iterator[ArrayFile]:
    """Open a `.npz`, `.h5` or `.hdf5` file; pickled objects are refused.

    Raises
    ------
    InputError
        While the file is open as well, if it is missing, damaged or of another kind.
    """
    with file_errors(file, "save it again, as plain arrays of numbers and text", DAMAGE):
        if file.suffix in HDF5_SUFFIXES:
            with h5py.File(file, "r") as content:
                yield ArrayFile(file, dict.fromkeys(_datasets(content)).keys(), content)
        else:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise InputError(f"{file} is not a .npz file: save its arrays with numpy.savez")
            with loaded as content:
                yield ArrayFile(file, dict.fromkeys(content.files).keys(), content)


def _datasets(content: h5py.File) -> list[str]:
    names: list[str] = []
    # Links are not followed here, so that a file cannot lead into another.
    content.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    saved = list(content)
    if saved == sorted(saved):  # a file without creation order (`track_order`) is listed by name
        saved.sort(key=natural_key)
    places = {name: place for place, name in enumerate(saved)}
    return sorted(names, key=lambda name: places[name.partition("/")[0]])
