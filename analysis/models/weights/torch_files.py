"""Files of torch, read without running what is in them: zip, the stream before it, TorchScript."""

import mmap
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from conceptrsa.analysis.models.weights.restricted_pickle import (
    ARRAYS_AND_MAPPINGS,
    HARMLESS,
    Evaluation,
    InertUnpickler,
    Note,
    Rebuild,
    mapped,
)

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_TENSOR = r"torch\._utils\._rebuild_tensor(_v2)?"
_HARMLESS = (
    *HARMLESS,
    r"torch\.(Size|Tensor|device|dtype|float\d+|int\d+|uint8|bool|bfloat16)",
    rf"torch\.(cuda\.)?({'|'.join(_DTYPES)})",
    # dill writes the optimizer and the schedule that a schedule's function refers to.
    r"torch\.optim\.\w+(\.\w+)?",
    r"torch\.jit\._pickle\.(build_\w+list|restore_type_tag)",
)


@dataclass(frozen=True)
class Storage:
    """A run of numbers outside the pickle: its key in the file, and what it holds."""

    key: str
    dtype: torch.dtype
    length: int


def read_torch_zip(file: Path) -> Any:
    """Read what `torch.save` wrote as a zip archive, or the attributes of a TorchScript module.

    The numbers are mapped from the file, not copied.

    Returns
    -------
    object
        Containers with tensors. A TorchScript module becomes a dictionary of its attributes, with
        its submodules as dictionaries within.

    Raises
    ------
    ForbiddenName
        The pickle asks for something that no checkpoint needs.
    Exception
        Of many kinds, where the file is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        (pickled,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+/data\.pkl", name))
        root = pickled.removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist():
            _require_little_endian(archive.read(f"{root}byteorder") == b"little")
        content = torch.from_file(str(file), size=file.stat().st_size, dtype=torch.uint8)

        def numbers(storage: Storage) -> torch.Tensor:
            return _member(archive, f"{root}data/{storage.key}", content, storage)

        with archive.open(pickled) as stream:
            return _evaluated(_load(stream, _storage), numbers)


def read_torch_stream(file: Path) -> Any:
    """Read what `torch.save` wrote before version 1.6: five pickles, and the numbers after them.

    Returns
    -------
    object
        Containers with tensors.

    Raises
    ------
    ForbiddenName
        The pickle asks for something that no checkpoint needs.
    Exception
        Of many kinds, where the file is damaged.
    """
    storages: dict[str, Storage] = {}

    def remember(pid: Any) -> Storage:
        storage = _storage(pid)
        return storages.setdefault(storage.key, storage)

    with mapped(file) as stream:
        _magic_number, _protocol, system = (_load(stream) for _ in range(3))
        _require_little_endian(system["little_endian"])
        content = _load(stream, remember)
        keys = _load(stream)
        numbers = {key: _next_numbers(stream, storages[key]) for key in keys}
        return _evaluated(content, lambda storage: numbers[storage.key])


def _load(stream: IO[bytes] | mmap.mmap, persistent: Callable[[Any], Storage] | None = None) -> Any:
    return InertUnpickler(stream, _is_allowed, persistent).load()


def _is_allowed(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in (_TENSOR, *_REBUILD, *_HARMLESS))


def _storage(pid: Any) -> Storage:
    """Read a persistent id: the word, the type, the key, the device, the length (and a view)."""
    word, storage_type, key, _device, length = pid[:5]
    dtype = _DTYPES[storage_type.name.rpartition(".")[2]]
    if word != "storage" or any(pid[5:]) or not isinstance(length, int):
        raise ValueError("it points to something else than a tensor's numbers")
    return Storage(str(key), dtype, length)


def _member(
    archive: zipfile.ZipFile, name: str, content: torch.Tensor, storage: Storage
) -> torch.Tensor:
    """Give the numbers of a member, from the mapped file where they lie there as they are."""
    member = archive.getinfo(name)
    if member.file_size != storage.length * storage.dtype.itemsize:
        raise ValueError(f"'{name}' has another length than its tensor")
    if member.file_size == 0:
        return torch.empty(0, dtype=storage.dtype)
    header = bytes(content[member.header_offset : member.header_offset + 30].numpy())
    start = member.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
    if member.compress_type != zipfile.ZIP_STORED or start % storage.dtype.itemsize:
        return torch.frombuffer(bytearray(archive.read(name)), dtype=storage.dtype)
    return content[start : start + member.file_size].view(storage.dtype)


def _next_numbers(stream: mmap.mmap, storage: Storage) -> torch.Tensor:
    (length,) = struct.unpack("<q", stream.read(8))
    content = bytearray(stream.read(length * storage.dtype.itemsize))
    if length != storage.length or len(content) != length * storage.dtype.itemsize:
        raise EOFError("the numbers of a tensor are missing")
    return torch.frombuffer(content or bytearray(8), dtype=storage.dtype)[:length]


def _evaluated(content: Any, numbers: Callable[[Storage], torch.Tensor]) -> Any:
    """Make the values of what was unpickled, each run of numbers being read once."""
    read: dict[str, torch.Tensor] = {}

    def rebuild_tensor(evaluate: Evaluation, note: Note) -> torch.Tensor:
        storage, offset, size, stride = note.arguments[:4]
        if storage.key not in read:
            read[storage.key] = numbers(storage)
        if read[storage.key].dtype != storage.dtype:
            raise ValueError("two tensors read the same numbers as different types")
        return _strided(read[storage.key], offset, size, stride)

    return Evaluation({_TENSOR: rebuild_tensor, **_REBUILD})(content)


def _strided(
    numbers: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> torch.Tensor:
    """Give a view of a run of numbers; torch would let it reach into the file around them."""
    steps = [(count - 1) * step for count, step in zip(size, stride, strict=True)]
    last = offset + sum(steps) if all(size) else 0
    if min(offset, *size, *stride, 0) < 0 or (last >= numbers.numel() and all(size)):
        raise ValueError("a tensor reaches beyond its numbers")
    return numbers.as_strided(tuple(size), tuple(stride), numbers.storage_offset() + offset)


def _require_little_endian(is_little: Any) -> None:
    if is_little is not True:
        raise ValueError("its numbers are in big-endian order")


def _rebuild_parameter(evaluate: Evaluation, note: Note) -> Any:
    return evaluate(note.arguments[0])


def _rebuild_module(evaluate: Evaluation, note: Note) -> Any:
    """Make a dictionary of a TorchScript object's attributes."""
    return evaluate(note.state)


_REBUILD: Mapping[str, Rebuild] = {
    **ARRAYS_AND_MAPPINGS,
    r"torch\._utils\._rebuild_parameter(_with_state)?": _rebuild_parameter,
    r"torch\.nn\.parameter\.Parameter": _rebuild_parameter,
    r"__torch__\..+": _rebuild_module,
}
