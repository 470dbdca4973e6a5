"""Files as SPM takes them: uncompressed, under harmless names, and proof that it wrote some."""

import gzip
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from bids_config.errors import InputError, StepError
from interfaces.programs.paths import plain_folder

_GZIP_MAGIC = b"\x1f\x8b"


WORKPLACE = "spm"
"""Folder below a step's own in which SPM works."""

_MARK = ".made-by-conceptrsa"


@contextmanager
def workplace(step_folder: Path) -> Iterator[Path]:
    """Make a new folder for SPM below a step's, and give a path to it that SPM can be told of.

    A folder of its own, so that nothing of the user's is overwritten where a step is run by hand.
    What an earlier, unfinished run of the step left there is removed.

    Raises
    ------
    StepError
        If something else is in the way, or no path can be given.
    """
    folder = step_folder / WORKPLACE
    if folder.exists():
        if not (folder / _MARK).exists():
            raise StepError(f"{folder} is in the way of SPM's own folder; remove or rename it.")
        shutil.rmtree(folder)
    folder.mkdir()
    (folder / _MARK).touch()
    with plain_folder(folder) as plain:
        yield plain


def provide(source: Path, target: Path) -> None:
    """Have an image under an uncompressed name that SPM only reads: unpacked, or linked to.

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
    """Copy an image, unpacked, that SPM will write to; the original is never touched.

    Raises
    ------
    InputError
        If a compressed image is damaged.
    """
    if _is_gzip(source):
        _unpack(source, target)
    else:
        shutil.copyfile(source, target)


class Written:
    """Notes files before SPM runs, and tells afterwards which of them it wrote.

    Parameters
    ----------
    paths : sequence of Path
        Files that SPM must write, whether they are there already or not.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._before = {path: _stamp(path) for path in paths}

    def require(self, step: str) -> None:
        """Make sure that each was written since.

        Raises
        ------
        StepError
            If one is missing, empty or as it was.
        """
        for path, before in self._before.items():
            now = _stamp(path)
            if now is None or now[1] == 0:
                raise StepError(f"SPM said that its step '{step}' was done, but left no {path}.")
            if now == before:
                raise StepError(
                    f"SPM said that its step '{step}' was done, but did not change {path}."
                )


def require_image(path: Path, shape: tuple[int, ...], step: str) -> nib.Nifti1Image:
    """Open an image that SPM wrote, and make sure that it is whole.

    Parameters
    ----------
    path : Path
        NIfTI.
    shape : tuple of int
        Its shape as it has to be.
    step : str
        That wrote it.

    Raises
    ------
    StepError
        If it has another shape, lacks data, or holds no picture.
    """
    try:
        image = nib.load(path)
        last = np.asanyarray(image.dataobj[..., -1])
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise StepError(f"SPM's step '{step}' left {path} damaged ({error}).") from error
    if image.shape != shape:
        raise StepError(
            f"SPM's step '{step}' left {path} with the shape {image.shape} instead of {shape}."
        )
    if image.ndim == 4 and not np.ptp(np.nan_to_num(last)) > 0:
        raise StepError(f"SPM's step '{step}' left the last volume of {path} empty.")
    return image


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


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
