"""A lock against two runs that write the same results at the same time.

The kernel holds it (`flock`) and lets go when the process ends, however it ends; nothing has to be
cleaned up after a crash.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from conceptrsa.bids_config.errors import InputError

_HAS_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL}
log = logging.getLogger(__name__)


@contextmanager
def only_run(folders: Iterable[Path], names: Iterable[str]) -> Iterator[None]:
    """Keep other runs from writing the same things in the same folders.

    Parameters
    ----------
    folders : iterable of Path
        Where is written: results, intermediate files. They must exist.
    names : iterable of str
        What is written there, a lock each: `sub-01`, `group`. Runs of other subjects may go on
        beside this one.

    Raises
    ------
    InputError
        If another run is at it; the message says which, where and since when.
    """
    with ExitStack() as held:
        wanted = sorted(set(names))
        for folder in dict.fromkeys(folder.resolve() for folder in folders):
            for name in wanted:
                held.enter_context(lock(folder, name))
        yield


@contextmanager
def lock(folder: Path, name: str, wait: bool = False) -> Iterator[None]:
    """Hold a lock.

    Parameters
    ----------
    folder : Path
        Where the lock is kept; it must exist.
    name : str
        Of the lock.
    wait : bool
        Wait while another run holds it, for what takes a moment only; else that is refused.

    Raises
    ------
    InputError
        If another run holds it.
    """
    path = folder / f".conceptrsa-{name}.lock"
    opened = _open_locked(path, name, wait)
    try:
        yield
    finally:
        with opened:
            path.unlink(missing_ok=True)


def _open_locked(path: Path, name: str, wait: bool) -> IO[Any]:
    while True:
        opened = path.open("a+")
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            with opened:
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise InputError(_refusal(opened, path, name)) from None
                if error.errno not in _HAS_NO_LOCKS:
                    raise
            log.warning(
                "the file system of %s does not support locks: do not start a second run that "
                "writes there",
                path.parent,
            )
            return path.open("a+")
        if _is_still_there(opened, path):
            break
        opened.close()  # who held it before has removed it in the meantime
    opened.truncate(0)
    opened.write(
        json.dumps({
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        })
    )  # fmt: skip
    opened.flush()
    return opened


def _is_still_there(opened: IO[Any], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _refusal(opened: IO[Any], path: Path, name: str) -> str:
    opened.seek(0)
    try:
        holder = json.loads(opened.read())
        who = f"process {holder['pid']} on {holder['host']}, since {holder['started']}"
    except (ValueError, LookupError, TypeError):
        who = "a process that just started"
    return (
        f"another run is writing {name} in {path.parent} ({who}); wait until it ends, stop it, or "
        "choose another output folder"
    )
