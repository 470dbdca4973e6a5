"""Images where a program can read them: uncompressed, and never the user's own to write to."""

import gzip
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

from bids_config.errors import InputError

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
