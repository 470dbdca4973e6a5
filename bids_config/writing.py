"""Writing files so that a half-written one is never seen, and reading those that may lack."""

import fcntl
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conceptrsa.bids_config.errors import InputError

PREFIX = ".writing-"

_UMASK_IS_READ = threading.Lock()
"""The umask can only be read by setting it, which is that of all threads."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to `path` when all went well.

    The temporary file lies in the same folder (so that the rename is atomic) and ends in the
    same suffixes (so that libraries which look at them, `.nii.gz`, still work). On an exception
    it is removed and whatever stood at `path` before stays.

    Parameters
    ----------
    path : str or Path
        Where the finished file goes; missing parent folders are made.

    Yields
    ------
    Path
        Where to write.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _locked_temporary(final)
    try:
        yield temporary
        with _UMASK_IS_READ:
            umask = os.umask(0)
            os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(final)
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


def _locked_temporary(final: Path) -> tuple[int, Path]:
    """Make a file that its writer has locked; the kernel lets go of it when the writer dies."""
    suffix = "".join(final.suffixes[-2:])
    while True:
        handle, name = tempfile.mkstemp(prefix=PREFIX, suffix=suffix, dir=final.parent)
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):  # noqa: PTH110
            return handle, Path(name)
        os.close(handle)  # taken for a leftover before it was locked


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files whose writers were killed, in a folder and all folders below.

    Files that a living process of this machine writes are locked by it, and stay; those of other
    machines are locked where the file system hands locks on. So this is for folders that nobody
    else writes to; on a file system without locks all stay.
    """
    # Not Path.rglob, which fails where a folder vanishes meanwhile.
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(PREFIX):
                leftover = Path(parent, name)
                with suppress(OSError), leftover.open("r+b") as opened:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    leftover.unlink()


def require_content(path: Path, otherwise: str = "") -> None:
    """Raise InputError on a link that leads nowhere, as data sets of git-annex have them.

    `otherwise` ends the sentence with another way out.
    """
    if path.is_symlink() and not path.exists():
        raise InputError(
            f"{path} is a link to a file that is missing: fetch its content (with git-annex or "
            f"DataLad: `datalad get`){otherwise}"
        )


@contextmanager
def file_errors(
    file: Path,
    remedy: str = "restore it",
    damage: tuple[type[Exception], ...] = (),
    otherwise: str = "",
) -> Iterator[None]:
    """Turn errors from reading a missing, unreadable or damaged file or folder into an InputError.

    Parameters
    ----------
    file : Path
        What the block reads.
    remedy : str
        What to do where it can be opened and not be read.
    damage : tuple of exception classes
        What a library raises on a file that is damaged.
    otherwise : str
        Another way out, whatever is wrong: 'name another copy by --weights NAME=PATH'.
    """
    failures: tuple[type[Exception], ...] = (OSError, *damage)
    or_else = f", or {otherwise}" if otherwise else ""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        require_content(file, or_else)
        instead = or_else or ", or give one that exists"
        raise InputError(f"{file} is missing: restore it{instead}") from error
    except PermissionError as error:
        raise InputError(f"{file} is not readable: correct its permissions{or_else}") from error
    except failures as error:
        reason = str(getattr(error, "strerror", None) or error).removesuffix(f" {str(file)!r}")
        reason = " ".join(reason.split())
        raise InputError(f"{file} cannot be read ({reason}): {remedy}{or_else}") from error


def empty_file(path: str | Path) -> None:
    """Leave an empty file in place of a file; who has it open or linked keeps the old one."""
    with atomic_path(path):
        pass


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON file, indented, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
