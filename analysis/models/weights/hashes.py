"""The SHA-256 of files of weights, and a memory of it, so that gigabytes are read only once."""

import hashlib
import json
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from conceptrsa.analysis.models.registry import WeightsFile
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import atomic_path

_SHA256 = re.compile("[0-9a-f]{64}")
_SHOWN_DIGITS = 12
_SETTLED_NS = 100_000_000


def hash_file(path: Path) -> str:
    """Give the SHA-256 of a file's content, as hexadecimal text.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error}): mend its permissions, or name "
            "another copy by --weights NAME=PATH."
        ) from error


def is_sha256(text: Any) -> bool:
    """Whether something is a whole SHA-256 in lower-case hexadecimal digits."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def sum_file(file: Path) -> Path:
    """Give the file beside a download that holds its SHA-256, as `sha256sum` writes it."""
    return file.with_name(f"{file.name}.sha256")


def noted_sha256(file: Path) -> str:
    """Give the SHA-256 that was noted when a file was downloaded, or '' where none was."""
    try:
        noted = sum_file(file).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return ""
    return noted[0] if noted and is_sha256(noted[0]) else ""


def find_difference(file: WeightsFile, size: int, sha256: str) -> str:
    """Say in what a copy differs from the published file; empty where it does not.

    Parameters
    ----------
    file : WeightsFile
        The published size and SHA-256, or the beginning of it, where there are any.
    size, sha256
        Of the copy.
    """
    if file.size is not None and size != file.size:
        return f"it is {size:,} bytes long and {file.size:,} were published"
    return differing_hash(file.sha256.lower(), sha256)


def differing_hash(expected: str, found: str) -> str:
    """Say how two SHA-256 begin, of which the expected may be cut short; empty where they agree."""
    if found.startswith(expected):
        return ""
    digits = min(len(expected), _SHOWN_DIGITS)
    return f"its SHA-256 begins {found[:digits]} and not {expected[:digits]}"


class HashMemory:
    """Remembers SHA-256 of files by their path, size, times and inode.

    Several processes may use one memory: an entry that gets lost is computed again. A memory that
    is damaged, or cannot be written, is as good as none.

    Parameters
    ----------
    file : Path
        JSON; made when there is something to remember.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def sha256(self, path: Path, thorough: bool = False) -> str:
        """Give the SHA-256 of a file, from memory where the file has not been touched since.

        Parameters
        ----------
        path : Path
            The file.
        thorough : bool
            Read the content in any case.

        Raises
        ------
        InputError
            The file cannot be read.
        """
        key = str(path.absolute())
        stamp = _stamp(path)
        known = self._read().get(key)
        if not thorough and known and known["stamp"] == stamp:
            return str(known["sha256"])
        begun = time.time_ns()
        sha256 = hash_file(path)
        entry = {"stamp": stamp, "sha256": sha256}
        if entry != known and _stamp(path) == stamp and _is_settled(stamp, begun):
            self._write(key, entry)
        return sha256

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            entries = json.loads(self._file.read_text(encoding="utf-8"))
            return {
                path: {"stamp": list(entry["stamp"]), "sha256": entry["sha256"]}
                for path, entry in entries.items()
                if is_sha256(entry["sha256"])
            }
        except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
            return {}

    def _write(self, key: str, entry: dict[str, Any]) -> None:
        with suppress(OSError), atomic_path(self._file) as path:
            path.write_text(json.dumps({**self._read(), key: entry}, indent=1), encoding="utf-8")


def _stamp(path: Path) -> list[int]:
    """What changes when a file's content does: size, times and inode."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _is_settled(stamp: list[int], now: int) -> bool:
    """Whether a change from now on would show.

    File systems note times in steps of some milliseconds, so that a file that was written a moment
    ago may change once more without getting another time.
    """
    changed = stamp[2]
    return changed < now - _SETTLED_NS
