"""Writing files so that a half-written one is never seen under its final name."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    suffix = "".join(final.suffixes[-2:])
    handle, name = tempfile.mkstemp(prefix=".writing-", suffix=suffix, dir=final.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def empty_file(path: str | Path) -> None:
    """Leave an empty file in the place of a file; who has it open or linked keeps the old one."""
    with atomic_path(path):
        pass
