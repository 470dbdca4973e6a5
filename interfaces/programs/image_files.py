"""Images where a program can read them: uncompressed, and never the user's own to write to."""

import gzip
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from conceptrsa.bids_config.errors import InputError, StepError

_GZIP_MAGIC = b"\x1f\x8b"


def provide(source: Path, target: Path) -> None:
    """Have an image under an uncompressed name that is only read: unpacked, or linked to.

    Raises
    ------
    InputError
        If a compressed image is damaged.
    """
    if _is_gzip(source):
        _unpack(source, target)
    else:
        target.symlink_to(source.resolve())


def copy(source: Path, target: Path) -> None:
    """Copy an image, unpacked, that will be written to; the original is never touched.

    Raises
    ------
    InputError
        If a compressed image is damaged.
    """
    if _is_gzip(source):
        _unpack(source, target)
    else:
        shutil.copyfile(source, target)


def remove_all(paths: Sequence[Path]) -> None:
    """Remove files that may or may not be there."""
    for path in paths:
        path.unlink(missing_ok=True)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP_MAGIC


def _unpack(source: Path, target: Path) -> None:
    try:
        with gzip.open(source, "rb") as packed, target.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, length=1 << 20)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{source} is damaged ({error}); copy it again.") from error


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
