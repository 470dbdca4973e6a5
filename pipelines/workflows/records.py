"""Records beside finished steps, which show later whether their output is still complete.

The record holds what went into the step and a checksum of every file that came out. A file that
does not fit its record, be it damaged, deleted or emptied to save disk, counts as absent; what it
held is still known by its checksum.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.writing import atomic_path

RECORD_NAME = "_record.json"


@dataclass(frozen=True)
class FileState:
    """A file as it was when its step finished.

    Attributes
    ----------
    size : int
        In bytes.
    modified, changed : int
        Times of content and of inode, in nanoseconds.
    inode : int
        Number of the file.
    digest : str
        BLAKE2b of the content.
    """

    size: int
    modified: int
    changed: int
    inode: int
    digest: str

    def is_kept_by(self, path: str | Path) -> bool:
        """Whether a file still has the content; it is read only where something was touched."""
        try:
            now = Path(path).stat()
        except OSError:
            return False
        if now.st_size != self.size:
            return False
        if _stamp(now) == (self.size, self.modified, self.changed, self.inode):
            return True
        return digest_of(path) == self.digest


@dataclass(frozen=True)
class Record:
    """A finished step.

    Attributes
    ----------
    inputs : str
        Digest of its settings, of the content of its input files, and of the code.
    result : FileState
        nipype's file of the names of its outputs.
    files : mapping of str to FileState
        Absolute path of each file that it wrote.
    """

    inputs: str
    result: FileState
    files: Mapping[str, FileState]


def state_of(path: str | Path) -> FileState:
    """Look at a file as it is now."""
    return FileState(*_stamp(Path(path).stat()), digest_of(path))


def digest_of(path: str | Path) -> str:
    """BLAKE2b of a file's content, read once as long as nothing touches the file."""
    return _digest(str(path), _stamp(Path(path).stat()))


@lru_cache(maxsize=100_000)
def _digest(path: str, stamp: tuple[int, ...]) -> str:
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "blake2b").hexdigest()


def _stamp(stat: os.stat_result) -> tuple[int, int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def write_record(folder: Path, record: Record) -> None:
    """Put a record into the folder of its step."""
    content = asdict(record)
    with atomic_path(folder / RECORD_NAME) as temporary:
        temporary.write_text(json.dumps({"content": content, "check": _check(content)}))


def read_record(folder: str | Path) -> Record | None:
    """Give the record of a step; None if there is none, or a damaged one."""
    try:
        stored = json.loads(Path(folder, RECORD_NAME).read_bytes())
        content = stored["content"]
        if stored["check"] != _check(content):
            return None
        files = {path: FileState(**state) for path, state in content["files"].items()}
        return Record(content["inputs"], FileState(**content["result"]), files)
    except (OSError, ValueError, TypeError, LookupError):
        return None


def forget(folder: str | Path) -> None:
    """Remove the record of a step, which is then as good as never done."""
    Path(folder, RECORD_NAME).unlink(missing_ok=True)


def _check(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode()).hexdigest()


def recorded_state(path: str | Path) -> FileState | None:
    """Give the record of the step that wrote a file; None if no step wrote it."""
    for folder in Path(path).parents:
        if (folder / RECORD_NAME).exists():
            record = read_record(folder)
            return None if record is None else record.files.get(str(path))
    return None


def fingerprint(values: Mapping[str, Any]) -> str:
    """Digest of settings and of the contents of the files that they name.

    Files of finished steps are taken as they were recorded, whether they are still there or not;
    their names do not matter.
    """
    plain = {name: _without_names(value) for name, value in sorted(values.items())}
    return _check(plain)


def _without_names(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_names(item) for key, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_without_names(item) for item in value]
    if isinstance(value, str) and Path(value).is_absolute():
        state = recorded_state(value)
        if state is not None or Path(value).is_file():
            return {"content": digest_of(value) if state is None else state.digest}
    return value if isinstance(value, str | int | float | None) else repr(value)


def files_in(value: Any) -> Iterator[str]:
    """Give the absolute paths in the inputs or outputs of a step that are, or were, files."""
    if isinstance(value, str):
        if Path(value).is_absolute() and not Path(value).is_dir():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from files_in(item)
    elif isinstance(value, Iterable) and not isinstance(value, bytes):
        for item in value:
            yield from files_in(item)
