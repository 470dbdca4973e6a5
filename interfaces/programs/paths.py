"""Paths that scripts which quote badly, or not at all, can be told of."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bids_config.errors import StepError

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+:=@-]+")


def is_plain(path: Path) -> bool:
    """Tell whether a path has nothing in it that SPM's or FreeSurfer's scripts trip on.

    SPM's quote paths with ``'``, split lists of images at commas and blanks, and old runtimes
    garble what is not ASCII; FreeSurfer's quote nothing.
    """
    return _PLAIN_PATH.fullmatch(str(path)) is not None


@contextmanager
def plain_folder(folder: Path) -> Iterator[Path]:
    """Give a plain path to a folder: its own, or a link from the folder of temporary files.

    Raises
    ------
    StepError
        If even that folder has no plain path.
    """
    if is_plain(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="conceptrsa-") as temporary:
        link = Path(temporary) / "work"
        if not is_plain(link):
            raise StepError(
                f"{folder} has a name with blanks, quotes or the like that SPM and FreeSurfer "
                f"cannot be told of, and so has {temporary}: set TMPDIR to a folder named with "
                "letters and digits."
            )
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield link
