"""The SHA-256 of files of weights, and a memory of it, so that gigabytes are read only once."""

import hashlib
import json
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.writing import file_errors, write_text

_SHA256 = re.compile("[0-9a-f]{64}")
_SHOWN_DIGITS = 12
_SETTLED_NS = 100_000_000
_OTHER_COPY = "give another copy with --weights NAME=PATH"


def hash_file(path: Path, otherwise: str = _OTHER_COPY) -> str:
    """Give the SHA-256 of a file's content, as hexadecimal text.

    `otherwise` ends a refusal with another way out than to correct the file.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    with file_errors(path, otherwise=otherwise), path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sum_file(file: Path) -> Path:
    """Give the file beside a download that holds its SHA-256, as `sha256sum` writes it."""
    return file.with_name(f"{file.name}.sha256")


def noted_sha256(file: Path) -> str:
    """Give the SHA-256 that was noted when a file was downloaded, or '' where none was."""
    with suppress(OSError, UnicodeDecodeError):
        if noted := _SHA256.match(sum_file(file).read_text(encoding="utf-8")):
            return noted[0]
    return ""


def find_difference(
    sha256: str, expected: str, size: int | None = None, expected_size: int | None = None
) -> str:
    """Say in what a copy differs from what was published; empty where it does not.

    Parameters
    ----------
    sha256, expected : str
        That of the copy, and the published one, or its first digits, or nothing.
    size, expected_size : int, optional
        In bytes, where they are known.
    """
    if expected_size is not None and size != expected_size:
        return f"it is {size:,} bytes long and {expected_size:,} were published"
    if sha256.startswith(expected.lower()):
        return ""
    digits = min(len(expected), _SHOWN_DIGITS)
    return f"its SHA-256 begins {sha256[:digits]}, not {expected[:digits].lower()}"


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
        if not thorough and known and known.get("stamp") == stamp:
            return str(known["sha256"])
        begun = time.time_ns()
        sha256 = hash_file(path)
        entry = {"stamp": stamp, "sha256": sha256}
        # File systems note times in steps of some milliseconds: a file that was written a moment
        # ago may change once more without getting another time.
        is_settled = stamp[2] < begun - _SETTLED_NS
        if entry != known and _stamp(path) == stamp and is_settled:
            with suppress(OSError):
                write_text(self._file, json.dumps({**self._read(), key: entry}, indent=1))
        return sha256

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            entries = json.loads(self._file.read_text(encoding="utf-8"))
            return {
                path: entry for path, entry in entries.items() if _SHA256.fullmatch(entry["sha256"])
            }
        except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
            return {}


def _stamp(path: Path) -> list[int]:
    """Properties that change with a file's content: size, times and inode."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
