"""Names and numbers from MATLAB's files, without the rest of what is in them.

SciPy's reader crashes the process on some damaged files, and reads every array of a model of
hundreds of megabytes for a few names. Formats: "MAT-File Format" of The MathWorks (level 5), and
HDF5 since MATLAB 7.3.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from conceptrsa.analysis.arrays import Floats

MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, OBJECT, CHAR = 1, 2, 3, 4
NUMERIC = range(6, 16)
"""Classes of full arrays of numbers."""

HEADER_BYTES = 128
ORDERS = {b"IM": "<", b"MI": ">"}
"""Last two bytes of the header for each byte order."""

ENCODINGS = {1: "latin-1", 2: "latin-1", 3: "utf-16", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
"""Encodings of text, by data type."""

NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
"""NumPy types of numbers, by data type: the smallest that holds the whole array."""


def read_names(file: Path, path: Sequence[str]) -> list[str]:
    """Read a cell array of texts, or one text, that lies in a structure.

    Of an array of structures it is the texts of all of them.

    Parameters
    ----------
    file : Path
    path : sequence of str
        Name of the variable, then of a field, and of a field therein, and so on.

    Raises
    ------
    ValueError
        If the file is of another kind, is damaged, or does not hold it.
    """
    with _named_damage(path):
        if h5py.is_hdf5(file):
            with h5py.File(file, "r") as content:
                found = np.asarray(content["/".join(path)][()])
                is_text = found.dtype.kind == "u"  # and not a cell array of texts
                texts = [found] if is_text else [content[place][()] for place in found.ravel()]
                return ["".join(chr(code) for code in np.asarray(text).ravel()) for text in texts]
        matrices, order = _find(file.read_bytes(), path)
        names = []
        for matrix in matrices:
            kind, _, parts = _matrix(matrix, order)
            if kind not in (CELL, CHAR):
                raise ValueError(f"{'.'.join(path)} is not a cell array")
            cells = [matrix] if kind == CHAR else [text for _, text in parts]
            names += [_text(cell, order) for cell in cells]
        return names


def read_numbers(file: Path, path: Sequence[str]) -> list[Floats]:
    """Read a full array of numbers of each structure of an array of them.

    Parameters
    ----------
    file : Path
    path : sequence of str
        As for `read_names`.

    Returns
    -------
    list of ndarray
        An array a structure, flat, column after column.

    Raises
    ------
    ValueError
        If the file is of another kind, is damaged, or does not hold it.
    """
    with _named_damage(path):
        if h5py.is_hdf5(file):
            with h5py.File(file, "r") as content:
                found = content["/".join(path)]
                # The only structure of an array has its fields in itself, several have references.
                several = h5py.check_ref_dtype(found.dtype) is not None
                arrays = [content[place] for place in found[()].ravel()] if several else [found]
                return [
                    np.zeros(0)
                    if "MATLAB_empty" in array.attrs  # it holds its shape in place of its content
                    else np.asarray(array[()], dtype=np.float64).ravel()
                    for array in arrays
                ]
        matrices, order = _find(file.read_bytes(), path)
        return [_numbers(matrix, order) for matrix in matrices]


def read_array(file: Path, name: str) -> Floats:
    """Read a full array of numbers of level 5, in the shape that it has.

    Raises
    ------
    ValueError
        If the file is of another kind, is damaged, or does not hold it.
    """
    with _named_damage([name]):
        matrices, order = _find(file.read_bytes(), [name])
        axes = list(_elements(matrices[0], order))[1][1]
        shape = np.frombuffer(axes, f"{order}i4")
        return _numbers(matrices[0], order).reshape(shape, order="F")


@contextmanager
def _named_damage(path: Sequence[str]) -> Iterator[None]:
    """Turn what a damaged file makes fail into a ValueError."""
    try:
        yield
    except (
        OSError, IndexError, KeyError, RuntimeError, TypeError, AttributeError, OverflowError,
        UnicodeDecodeError, struct.error, zlib.error,
    ) as error:  # fmt: skip
        raise ValueError(f"damaged, or without {'.'.join(path)}: {error}") from error


def _find(content: bytes, path: Sequence[str]) -> tuple[list[memoryview], str]:
    """What lies at a path, of each structure of an array of them, and the file's byte order."""
    order = ORDERS.get(content[HEADER_BYTES - 2 : HEADER_BYTES])
    if order is None:
        raise ValueError("not a Level 5 MAT-file")
    found = [_variable(memoryview(content)[HEADER_BYTES:], path[0], order)]
    for field in path[1:]:
        found = [inner for matrix in found for inner in _fields(matrix, field, order)]
    if not found:
        raise ValueError(f"it holds no {'.'.join(path)}")
    return found, order


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of one data element after the other."""
    position = 0
    while position + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, position)
        start = position + 8
        if kind >> 16:  # a small element: its size, type and at most four bytes of content
            kind, size, start = kind & 0xFFFF, kind >> 16, position + 4
        if start + size > len(data):
            raise ValueError("the file ends too early")
        yield kind, data[start : start + size]
        end = start + size
        position = end if kind == COMPRESSED else end + (-end) % 8


def _variable(data: memoryview, name: str, order: str) -> memoryview:
    for kind, content in _elements(data, order):
        matrices = [(kind, content)]
        if kind == COMPRESSED:
            matrices = list(_elements(memoryview(zlib.decompress(content)), order))
        for inner_kind, matrix in matrices:
            if inner_kind == MATRIX and len(matrix) and _name(matrix, order) == name:
                return matrix
    raise ValueError(f"it holds no variable {name}")


def _matrix(matrix: memoryview, order: str) -> tuple[int, memoryview, list[tuple[int, memoryview]]]:
    """Class, name, and what follows them."""
    flags, _, name, *parts = list(_elements(matrix, order))
    (word,) = struct.unpack_from(f"{order}I", flags[1])
    return word & 0xFF, name[1], parts


def _name(matrix: memoryview, order: str) -> str:
    return bytes(_matrix(matrix, order)[1]).decode("latin-1")


def _fields(matrix: memoryview, field: str, order: str) -> list[memoryview]:
    """A field of each structure of an array."""
    kind, _, parts = _matrix(matrix, order)
    if kind == OBJECT:  # the name of its class comes first
        parts = parts[1:]
    elif kind != STRUCT:
        raise ValueError(f"the parent of {field} is not a structure")
    (length,) = struct.unpack_from(f"{order}i", parts[0][1])
    joined = bytes(parts[1][1])
    if length < 1:
        raise ValueError("a structure has no fields")
    names = [
        joined[start : start + length].partition(b"\0")[0].decode("latin-1")
        for start in range(0, len(joined), length)
    ]
    if field not in names:
        raise ValueError(f"it holds no field {field}")
    return [part for _, part in parts[2 + names.index(field) :: len(names)]]


def _text(matrix: memoryview, order: str) -> str:
    if not len(matrix):
        return ""
    kind, _, parts = _matrix(matrix, order)
    if kind != CHAR:
        raise ValueError("a name is not text")
    if not parts:
        return ""
    data_type, data = parts[0]
    encoding = ENCODINGS[data_type]
    if encoding == "utf-16":
        encoding += "-le" if order == "<" else "-be"
    return bytes(data).decode(encoding)


def _numbers(matrix: memoryview, order: str) -> Floats:
    if not len(matrix):
        return np.zeros(0)
    kind, _, parts = _matrix(matrix, order)
    if kind not in NUMERIC:
        raise ValueError("an array is not a full array of numbers")
    if not parts or not len(parts[0][1]):
        return np.zeros(0)
    data_type, data = parts[0]
    return np.frombuffer(data, f"{order}{NUMBERS[data_type]}").astype(np.float64)
