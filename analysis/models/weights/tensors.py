"""Checkpoints of any kind as nested mappings of tensors, read so that they cannot run code."""

import itertools
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from conceptrsa.analysis.models.weights.messages import CheckpointError
from conceptrsa.analysis.models.weights.restricted_pickle import (
    ARRAYS_AND_MAPPINGS,
    HARMLESS,
    Evaluation,
    ForbiddenName,
    InertUnpickler,
    mapped,
)
from conceptrsa.analysis.models.weights.torch_files import read_torch_stream, read_torch_zip

_TORCH_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa850192e")
"""The pickled number 0x1950a86a20f9469cfc6c, with which streams of torch begin."""
_MOST_UNPACKED = 20
"""Weights hardly compress: an archive that holds more times its own size is a trap."""
_MOST_ENTRIES = 1_000_000
_PAGE = re.compile(rb"\s*<(!doctype|html|head|\?xml|!--)", re.IGNORECASE)
_FOREIGN = {
    b"version https://git-lfs": "a pointer of git-lfs: fetch the file itself (git lfs pull)",
    b"\x89HDF": "an HDF5 file: convert its arrays to .npz or .safetensors",
    b"\x1f\x8b": "compressed by gzip: unpack it",
}


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
        read = _reader(file)
        content = read(file)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror or error}).") from error
    except ForbiddenName as error:
        raise CheckpointError(
            f"{file} was not read, as it asks for {error}, which weights do not need: nothing of "
            "it was run; take the file from its official place, or save the tensors alone as "
            ".safetensors."
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


def _reader(file: Path) -> Callable[[Path], Any]:
    with file.open("rb") as opened:
        head = opened.read(512)
    if not head:
        raise CheckpointError(f"{file} is empty: download it again.")
    if _PAGE.match(head.removeprefix(b"\xef\xbb\xbf")):
        raise CheckpointError(
            f"{file} is a web page, which a dead or protected link gives: download the weights "
            "in a browser from their official place."
        )
    for beginning, what in _FOREIGN.items():
        if head.startswith(beginning):
            raise CheckpointError(f"{file} is {what}.")
    if head.startswith(b"PK\x03\x04"):
        return _zip_reader(file)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000:
        return load_file
    if head.startswith(b"\x80") and _TORCH_MAGIC in head[:32]:
        return read_torch_stream
    if re.match(rb"\x80[\x00-\x05]", head):
        return _read_pickle
    if head[257:262] == b"ustar":
        raise CheckpointError(
            f"{file} is a tar archive: unpack it if it holds the weights, or, if a torch before "
            "0.1.10 wrote it, load it there and save it with a newer one."
        )
    raise CheckpointError(
        f"{file} is of no known format: give weights as .safetensors, .npz, a file of torch.save, "
        "a TorchScript archive or a pickle of haiku."
    )


def _zip_reader(file: Path) -> Callable[[Path], Any]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if unpacked > max(_MOST_UNPACKED * file.stat().st_size, 1 << 24):
            raise CheckpointError(
                f"{file} would unpack to {unpacked / 1e9:.1f} GB, which weights of its size never "
                "do: take the file from its official place."
            )
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of '{damaged}' is wrong")
    names = [member.filename for member in members]
    if any(name.endswith("/data.pkl") for name in names):
        is_script = any(re.match(r"[^/]+/(constants\.pkl|code/)", name) for name in names)
        return _read_torchscript if is_script else read_torch_zip
    if names and all(name.endswith(".npy") for name in names):
        return _read_npz
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
    # Texts and dates are no tensors.
    numbers = {name: array for name, array in loaded.items() if array.dtype.kind in "biuf"}
    return {
        name: torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
        for name, array in numbers.items()
    }


def _read_torchscript(file: Path) -> Any:
    attributes = read_torch_zip(file)
    return flat_tensors(attributes, ".") if isinstance(attributes, Mapping) else attributes


def _read_pickle(file: Path) -> Any:
    with mapped(file) as stream:
        content = InertUnpickler(stream, _is_allowed).load()
    return Evaluation(ARRAYS_AND_MAPPINGS)(content)


def _is_allowed(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in (*ARRAYS_AND_MAPPINGS, *HARMLESS))


def _first_line(error: Exception) -> str:
    if isinstance(error, EOFError | pickle.UnpicklingError) and not str(error):
        return "it ends too early"
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")[:200]
