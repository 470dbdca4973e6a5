"""SPM's folder below a step's, runs that SPM can take, and proof of what it wrote."""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics.time_series import open_time_series
from conceptrsa.interfaces.programs import plain_folder, real
from conceptrsa.interfaces.spm.jobs import LOOK_AT_LOG

OVERSHOOT = 4.0
"""Interpolated values stay within this many half ranges about the middle (splines: 3.7 in 3D)."""

WORKPLACE = "spm"
"""Folder below a step's own in which SPM works."""

_MARK = ".made-by-conceptrsa"


@contextmanager
def workplace(step_folder: Path) -> Iterator[Path]:
    """Make a new folder for SPM below a step's, and give a path to it that SPM can be told of.

    A folder of its own, so that no image that SPM reads is taken for one that it may write. What an
    earlier, unfinished run of the step left there is removed.

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


def keep_from_saturating(image_file: Path) -> None:
    """Turn an image of integers into one of float32 where interpolation could leave their range.

    SPM writes what it interpolates in the type and scale of its input, and cuts off what does not
    fit: overshoot beside edges, if the values of the file fill its range, and all that is negative
    for unsigned types.

    Parameters
    ----------
    image_file : Path
        Uncompressed; a link is replaced by a file, never followed.
    """
    image = nib.load(image_file)
    dtype = image.get_data_dtype()
    if not np.issubdtype(dtype, np.integer):
        return
    stored = np.asanyarray(image.dataobj.get_unscaled())
    low, high = float(stored.min()), float(stored.max())
    reach = OVERSHOOT * (high - low) / 2
    limits = np.iinfo(dtype)
    if limits.min <= (low + high) / 2 - reach and (low + high) / 2 + reach <= limits.max:
        return
    header = image.header.copy()
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1.0, 0.0)
    n_volumes = stored.shape[-1]
    _replace(
        image_file,
        header,
        (np.asarray(image.dataobj[..., volume], dtype=np.float32) for volume in range(n_volumes)),
    )


def mend_spikes(image_file: Path) -> None:
    """Take single values that no tissue has out of a run, as the embedded engine does on reading.

    Parameters
    ----------
    image_file : Path
        Uncompressed; a link is replaced by a file, never followed.
    """
    run = open_time_series(image_file)
    volumes = run.volumes().without_spikes()
    if not volumes.is_mended:
        return
    header = run.header.copy()
    header.set_slope_inter(volumes.slope, volumes.intercept)
    _replace(image_file, header, (volume for volume in np.moveaxis(volumes.stored, -1, 0)))


def _replace(image_file: Path, header: Any, volumes: Iterable[NDArray[Any]]) -> None:
    """Write an image, volume by volume in the type of its header, in place of another."""
    written = image_file.with_name(f"new_{image_file.name}")
    with written.open("wb") as file:
        header.write_to(file)
        file.write(bytes(max(0, int(header.get_data_offset()) - file.tell())))
        for volume in volumes:
            file.write(volume.astype(header.get_data_dtype()).tobytes(order="F"))
    written.replace(image_file)


def ready_for_interpolation(image_file: Path) -> None:
    """Take out what interpolation would spread over a run or cut off.

    Parameters
    ----------
    image_file : Path
        Uncompressed; a link is replaced by a file, never followed.
    """
    mend_spikes(image_file)
    keep_from_saturating(image_file)


def require_image(path: Path, shape: tuple[int, ...], step: str) -> None:
    """Make sure that an image which SPM wrote is whole.

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
        fault = f"damaged ({error})"
    else:
        if image.shape != shape:
            fault = f"with the shape {image.shape} instead of {shape}"
        elif image.ndim == 4 and not np.ptp(np.nan_to_num(last)) > 0:
            fault = "with an empty last volume"
        else:
            return
    raise StepError(f"SPM's step '{step}' left {real(path)} {fault}{LOOK_AT_LOG}")
