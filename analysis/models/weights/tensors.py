"""Checkpoints of any kind as nested mappings of tensors, read so that they cannot run code."""

import itertools
import pickle
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from conceptrsa.analysis.models.weights.restricted_pickle import (
    ForbiddenName,
    InertUnpickler,
    mapped,
)
from conceptrsa.bids_config.errors import InputError

_TORCH_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")
"""The pickled number 0x1950a86a20f9469cfc6c, with which streams of torch begin."""
_MOST_UNPACKED = 20
"""Weights hardly compress: an archive that holds more times its own size is a trap."""
_MOST_ENTRIES = 1_000_000
_WEB_PAGE = rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)"
_OTHER_FILES = {
    rb"$": "is empty: download it again",
    _WEB_PAGE: (
        "is a web page, so the link may be dead or protected: download the weights from their "
        "official place with a browser"
    ),
    rb"version https://git-lfs": "is a pointer of git-lfs: fetch the file itself (git lfs pull)",
    rb"\x89HDF": "is an HDF5 file: convert its arrays to .npz or .safetensors",
    rb"\x1f\x8b": "is compressed by gzip: unpack it",
    rb"(?s:.{257})ustar": "is a tar archive: unpack it if it holds the weights, or, if torch "
    "before 0.1.10 wrote it, save it again with a newer torch",
}


class CheckpointError(InputError):
    """A file is no checkpoint, or not that of the network."""


def read_checkpoint(file: Path) -> Mapping[str, Any]:
    """Read a file of weights, whose format is told by its content.

    Known are safetensors, npz, what `torch.save` wrote (as a zip archive or, before torch 1.6, as
    a stream), TorchScript archives and pickles of numpy or JAX arrays (haiku). What a pickle asks
    to be called is never called, see `restricted_pickle`.

    Parameters
    ----------
    file : Path
        The checkpoint.

    Returns
    -------
    mapping
        Tensors on the CPU with the type that the file has, by name, in mappings that nest as they
        do in the file; other entries (epoch, settings) may stay. A TorchScript archive becomes one
        flat mapping of all tensors of its modules, 'visual.conv1.weight'. Tensors of files of
        torch and of safetensors are mapped from the file: it must stay as it is while they live.

    Raises
    ------
    CheckpointError
        The file is missing, empty, damaged, cut short, of no known format, or asks for something
        that weights do not need.
    """
    try:
        content = _read(file)
        if isinstance(content, Mapping):
            flat_tensors(content, "/")  # mappings that hold each other are refused here
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror or error}).") from error
    except ForbiddenName as error:
        raise CheckpointError(
            f"{file} was not read, because it asks for {error}, which weights do not need (nothing "
            "was run): take it from its official place, or save only its tensors as .safetensors."
        ) from error
    # A file that is damaged, or made to do damage, can fail in any way.
    except Exception as error:
        raise CheckpointError(
            f"{file} is damaged or cut short ({_first_line(error)}): download it again."
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{file} holds a {type(content).__name__} instead of tensors by name: give a file with "
            "a state dictionary."
        )
    return content


def flat_tensors(tree: Mapping[Any, Any], separator: str) -> dict[str, torch.Tensor]:
    """Give all tensors of nested mappings, named by the keys that lead to each.

    Raises
    ------
    ValueError
        The mappings hold each other so that there would be no end.
    """
    return dict(_walk(tree, separator, "", itertools.count()))


def _walk(
    tree: Mapping[Any, Any], separator: str, parent: str, visited: Iterator[int]
) -> Iterator[tuple[str, torch.Tensor]]:
    for key, value in tree.items():
        if next(visited) > _MOST_ENTRIES:
            raise ValueError(f"more than {_MOST_ENTRIES} entries")
        if isinstance(value, torch.Tensor):
            yield f"{parent}{key}", value
        elif isinstance(value, Mapping):
            yield from _walk(value, separator, f"{parent}{key}{separator}", visited)


def _read(file: Path) -> Any:
    with file.open("rb") as opened:
        head = opened.read(512)
    for beginning, what in _OTHER_FILES.items():
        if re.match(beginning, head, re.IGNORECASE):
            raise CheckpointError(f"{file} {what}.")
    if head.startswith(b"PK\x03\x04"):
        return _read_zip(file)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000:
        return load_file(file)
    if head.startswith(b"\x80") and _TORCH_MAGIC in head[:32]:
        return _read_torch_stream(file)
    if re.match(rb"\x80[\x00-\x05]", head):
        with mapped(file) as stream:
            return InertUnpickler(stream).load()
    raise CheckpointError(
        f"{file} has an unknown format: give .safetensors, .npz, a torch.save file, a TorchScript "
        "archive or a haiku pickle."
    )


def _read_zip(file: Path) -> Any:
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > max(_MOST_UNPACKED * file.stat().st_size, 1 << 24):
            raise CheckpointError(
                f"{file} would unpack to {unpacked / 1e9:.1f} GB, which weights of its size never "
                "need: take the file from its official place."
            )
        if damaged := archive.testzip():
            raise ValueError(f"the checksum of '{damaged}' is wrong")
        names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            content = _read_torch_zip(file, archive)
            is_script = any(re.match(r"[^/]+/(constants\.pkl|code/)", name) for name in names)
            return flat_tensors(content, ".") if is_script else content
    if names and all(name.endswith(".npy") for name in names):
        return _read_npz(file)
    raise CheckpointError(
        f"{file} is a zip archive without weights of torch or numpy: unpack it if it holds the "
        "weights."
    )


def _read_npz(file: Path) -> dict[str, torch.Tensor]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            loaded = {name: np.asarray(array) for name, array in arrays.items()}
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise ForbiddenName("Python objects in an array") from error
        raise
    return {
        name: torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
        for name, array in loaded.items()
        if array.dtype.kind in "biuf"  # texts and dates are no tensors
    }


def _read_torch_zip(file: Path, archive: zipfile.ZipFile) -> Any:
    """Read what `torch.save` writes, or the attributes of a TorchScript module.

    The numbers are mapped from the file where they lie there as they are.
    """
    (pickled,) = (name for name in archive.namelist() if re.fullmatch(r"[^/]+/data\.pkl", name))
    root = pickled.removesuffix("data.pkl")
    if f"{root}byteorder" in archive.namelist():
        _require_little_endian(archive.read(f"{root}byteorder") == b"little")
    content = torch.from_file(str(file), size=file.stat().st_size, dtype=torch.uint8)

    def numbers(key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        member = archive.getinfo(f"{root}data/{key}")
        if member.file_size != count * dtype.itemsize:
            raise ValueError(f"'{member.filename}' does not have the length of its tensor")
        if count == 0:
            return torch.empty(0, dtype=dtype)
        lengths = content[member.header_offset + 26 : member.header_offset + 30]
        start = member.header_offset + 30 + sum(struct.unpack("<HH", bytes(lengths.numpy())))
        if member.compress_type != zipfile.ZIP_STORED or start % dtype.itemsize:
            return torch.frombuffer(bytearray(archive.read(member)), dtype=dtype)
        return content[start : start + member.file_size].view(dtype)

    with archive.open(pickled) as stream:
        return InertUnpickler(stream, numbers).load()


def _read_torch_stream(file: Path) -> Any:
    """Read what `torch.save` wrote before version 1.6: five pickles, and the numbers after them."""
    size = file.stat().st_size
    known: dict[str, torch.Tensor] = {}

    def numbers(key: str, dtype: torch.dtype, count: int) -> torch.Tensor:
        if not 0 <= count * dtype.itemsize <= size:
            raise ValueError("a tensor has more numbers than the file")
        if key not in known:
            known[key] = torch.empty(count, dtype=dtype)
        return known[key]

    with mapped(file) as stream:
        _magic, _protocol, system, content, keys = (
            InertUnpickler(stream, numbers).load() for _ in range(5)
        )
        _require_little_endian(system["little_endian"])
        for key in keys:
            values = known.pop(key)
            (count,) = struct.unpack("<q", stream.read(8))
            read = stream.read(values.nbytes)
            if count != len(values) or len(read) != values.nbytes:
                raise EOFError("the numbers of a tensor are missing")
            values.view(torch.uint8).numpy()[:] = np.frombuffer(read, np.uint8)
    if known:
        raise EOFError("the numbers of a tensor are missing")
    return content


def _require_little_endian(is_little: Any) -> None:
    if is_little is not True:
        raise ValueError("its numbers are in big-endian order")


def _first_line(error: Exception) -> str:
    if isinstance(error, EOFError | pickle.UnpicklingError) and not str(error):
        return "the file ends too early"
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")[:200]
