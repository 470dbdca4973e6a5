"""Give every command a folder for temporary files, and a home.

A container may have neither (`docker run --read-only --user 12345`): its file system is then
read-only, and its user has no entry among the users and no home.
"""

import getpass
import logging
import os
import tempfile
from pathlib import Path

from conceptrsa.bids_config.errors import InputError

log = logging.getLogger(__name__)


def require_temporary_folder() -> Path:
    """Give the folder of temporary files.

    Raises
    ------
    InputError
        If there is none that can be written to.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise InputError(
            "no temporary folder is writable ($TMPDIR, /tmp): set TMPDIR to a writable folder, or "
            "add --tmpfs /tmp:exec to docker run"
        ) from error


def provide_home(temporary: Path) -> None:
    """Have libraries keep their caches in a folder of temporary files where the home cannot.

    They ask for the user's name and home, and write to it when they are imported. A home that
    cannot be written to stays in use if it holds caches, which may be read all the same.

    Parameters
    ----------
    temporary : Path
        Folder of temporary files.

    Raises
    ------
    InputError
        If that folder of the user belongs to somebody else.
    """
    user = os.getuid()
    try:
        getpass.getuser()
    except (KeyError, OSError):  # no entry among the users
        os.environ["USER"] = str(user)
    home = Path(os.path.expanduser("~"))  # noqa: PTH111, as Path.home() fails if there is none
    if home.is_absolute() and _can_be_written(home):
        return
    own = temporary / f"conceptrsa-{user}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.is_symlink() or own.stat().st_uid != user:
        raise InputError(
            f"{own} belongs to another user: set HOME to a folder that you can write to"
        )
    if os.access(home / ".cache", os.R_OK | os.X_OK):
        os.environ.setdefault("MPLCONFIGDIR", str(own))
        return
    os.environ["HOME"] = str(own)
    if not os.environ.get("XDG_CACHE_HOME"):
        log.info(
            "the home folder is not writable, so features and weights are kept in %s; set "
            "XDG_CACHE_HOME to keep them elsewhere",
            own,
        )


def _can_be_written(folder: Path) -> bool:
    """Whether a folder can be written to, or made."""
    # Not Path.exists, which fails below a folder that may not be looked into.
    existing = next(path for path in (folder, *folder.parents) if os.access(path, os.F_OK))
    return os.access(existing, os.W_OK | os.X_OK)
