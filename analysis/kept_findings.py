"""Intermediate findings, kept on disk so that an interrupted comparison can continue.

A file is a `.npz` without pickled objects, for folders are handed on: arrays, and a description in
JSON of what they belong to. NumPy checks them as it reads; what is damaged is computed again.
"""

import hashlib
import json
import platform
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptrsa.bids_config.names import warn_once
from conceptrsa.bids_config.writing import atomic_path

FOLDER = ".finished-regions"
SECONDS_WORTH_KEEPING = 0.5
"""Seconds; quicker findings are computed again rather than kept."""

_LIBRARIES = ("conceptrsa", "numba", "numpy", "scipy")
_DAMAGE = (
    OSError, EOFError, LookupError, ValueError, TypeError, RuntimeError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip

Name = Callable[[], str]
"""Gives the name of something kept: a hash, which takes time, of all that its numbers depend on."""


@dataclass(frozen=True)
class KeptFindings:
    """Findings of one kind, in a folder named by what all of them depend on.

    Attributes
    ----------
    work_dir : Path
        Where folders of all kinds and comparisons are.
    kind : type
        Of a finding.
    parts : sequence of type
        Dataclasses and named tuples that a finding is made of, besides its own.
    known : object
        What all depend on, besides the versions of this program and of the libraries that compute.
    """

    work_dir: Path
    kind: type
    parts: Sequence[type]
    known: Any

    def load(self, name: Name) -> Any:
        """Give a finding, or None where it is not there."""
        if not self._was_interrupted:
            return None
        kinds = {kind.__name__: kind for kind in (self.kind, *self.parts)}
        with suppress(*_DAMAGE), np.load(self._file(name()), allow_pickle=False) as arrays:
            description = json.loads(arrays["description"].tobytes())
            of_finding = [arrays[f"array_{n}"] for n in range(len(arrays) - 1)]
            found = _made(description, of_finding, kinds)
            if isinstance(found, self.kind):
                return found
        return None

    def keep(self, name: Name, found: Any, seconds: float) -> None:
        """Keep a finding that took so long; where there is no place for it, say so and go on."""
        if seconds < SECONDS_WORTH_KEEPING:
            return
        arrays: list[NDArray[Any]] = []
        description = json.dumps(_described(found, arrays)).encode()
        named: dict[str, Any] = {f"array_{n}": array for n, array in enumerate(arrays)}
        try:
            with atomic_path(self._file(name())) as path, path.open("wb") as opened:
                np.savez(opened, description=np.frombuffer(description, np.uint8), **named)
        except OSError as error:
            warn_once(
                f"finished regions cannot be kept in {self.work_dir} ({error.strerror or error}): "
                "if this comparison is interrupted, it will start from the beginning"
            )

    def has(self, name: Name) -> bool:
        """Whether a finding is kept."""
        return self._file(name()).is_file()

    def count(self) -> int:
        """Number of findings that are kept."""
        return sum(not file.name.startswith(".") for file in self._folder.glob("*.npz"))

    def are_of_others(self) -> bool:
        """Whether only findings of other comparisons of the kind are kept."""
        return not self._was_interrupted and any(self._folder.parent.glob(f"{self._prefix}*"))

    @property
    def _prefix(self) -> str:
        return f"{self.kind.__name__.strip('_')}-"

    @cached_property
    def _was_interrupted(self) -> bool:
        """Whether there was anything before; else nothing need be hashed to look for it."""
        return self._folder.is_dir()

    @cached_property
    def _folder(self) -> Path:
        name = hash_of([_versions(), self.known])
        return self.work_dir / FOLDER / f"{self._prefix}{name[:32]}"

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.npz"


def remove_finished(work_dir: Path) -> None:
    """Remove all regions that are kept in a folder; nothing else, and nothing that it links to."""
    _remove(work_dir / FOLDER)


def _remove(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        return
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            if entry.suffix != ".npz":
                _remove(entry)
            else:
                with suppress(OSError):
                    entry.unlink()
        folder.rmdir()


def _versions() -> dict[str, str]:
    """Versions of the libraries, and the source of this package, which may change between runs."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    source = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        source.update(file.read_bytes())
    return found | {"source": source.hexdigest()}


def hash_of(value: Any) -> str:
    """SHA-256 of arrays, texts and numbers, in dataclasses, sequences and mappings."""
    arrays: list[NDArray[Any]] = []
    digest = hashlib.sha256(json.dumps(_described(value, arrays)).encode())
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _described(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """Say in JSON what a value is made of; its arrays are put beside."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if is_dataclass(value) or hasattr(value, "_fields"):
        return {"kind": type(value).__name__, "parts": _described(dict(_parts(value)), arrays)}
    if isinstance(value, tuple | list):
        if len({type(entry) for entry in value}) == 1 and is_dataclass(value[0]):
            return {"rows": type(value[0]).__name__, "parts": _columns(value, arrays)}
        return {"tuple": [_described(entry, arrays) for entry in value]}
    if isinstance(value, Mapping):
        return {
            "mapping": [
                [_described(key, arrays), _described(entry, arrays)] for key, entry in value.items()
            ]
        }
    return value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    names = value._fields if hasattr(value, "_fields") else [part.name for part in fields(value)]
    for name in names:
        yield name, getattr(value, name)


def _columns(rows: Sequence[Any], arrays: list[NDArray[Any]]) -> Any:
    """Columns of rows that are alike: numbers as arrays, which takes less time and space."""
    columns = {}
    for part in fields(rows[0]):
        values = [getattr(row, part.name) for row in rows]
        if all(type(value) is float for value in values):
            columns[part.name] = _described(np.array(values), arrays)
        else:
            columns[part.name] = _described(tuple(values), arrays)
    return {"mapping": [[name, column] for name, column in columns.items()]}


def _made(described: Any, arrays: Sequence[NDArray[Any]], kinds: Mapping[str, Any]) -> Any:
    """Make a value of what `_described` says of it."""
    if not isinstance(described, dict):
        return described
    if "array" in described:
        return arrays[described["array"]]
    if "tuple" in described:
        return tuple(_made(entry, arrays, kinds) for entry in described["tuple"])
    if "mapping" in described:
        return {
            _made(key, arrays, kinds): _made(entry, arrays, kinds)
            for key, entry in described["mapping"]
        }
    parts = _made(described["parts"], arrays, kinds)
    if "kind" in described:
        return kinds[described["kind"]](**parts)
    kind = kinds[described["rows"]]
    columns = [
        column.tolist() if isinstance(column, np.ndarray) else column for column in parts.values()
    ]
    return tuple(kind(**dict(zip(parts, row, strict=True))) for row in zip(*columns, strict=True))
