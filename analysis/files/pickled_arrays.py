"""Dictionaries of arrays that `numpy.save` pickled, read without running anything in them."""

import pickle
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.lib import format as npy

from conceptrsa.analysis.files.array_files import DAMAGE
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import file_errors

OF_ARRAYS = frozenset({
    "numpy.ndarray", "numpy.dtype", "_codecs.encode", "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar", "numpy.core.numeric._frombuffer",
    "numpy._core.numeric._frombuffer",
})  # fmt: skip
"""Functions that pickles of arrays call; all others are refused."""


class _Array(np.ndarray):
    """Filled by its state only: its own arguments could make addresses of any bytes."""

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise pickle.UnpicklingError("it calls numpy.ndarray, which saved arrays never do")


class _OnlyArrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in OF_ARRAYS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, which is not an array")
        if name == "ndarray":
            return _Array
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_pickled(file: Path) -> dict[str, Any]:
    """Read a dictionary that `numpy.save` wrote, of arrays, numbers, texts and lists of these.

    The whole file is read into memory.

    Raises
    ------
    InputError
        If it is missing or damaged, no such file, or holds anything else.
    """
    with (
        file_errors(file, "save it again", (*DAMAGE, pickle.UnpicklingError, AttributeError)),
        file.open("rb") as stream,
    ):
        _skip_header(stream)
        content = _OnlyArrays(stream).load()
    found = content.item() if isinstance(content, np.ndarray) and content.size == 1 else None
    if not isinstance(found, dict):
        raise InputError(f"{file} holds no dictionary of arrays: save it again with numpy.save")
    return found


def _skip_header(stream: BinaryIO) -> None:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    _, _, dtype = read(stream)
    if not dtype.hasobject:
        raise ValueError("it is a plain array, not a dictionary of arrays")
