"""Check images before use: readable, of real numbers, with a known orientation.

Every reader of a user's image goes through these functions, so that what one accepts all accept.
"""

import gzip
import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import atomic_path, file_errors

LARGEST_DISAGREEMENT_MM = 0.5
"""Between two affines of one header, in the corners of an image of `DIAGONAL_MM` or less.

A quaternion of single precision is up to 0.001 rad off near half a turn, so that rounding grows
with the image: 0.44 mm over a cube of 256 mm.
"""
DIAGONAL_MM = 443.0
DAMAGED = "it is damaged or incomplete: write or download it again"
VOXEL_SIZE_TOLERANCE = 0.01  # relative
INT64_END = 2.0**63
"""Upper limit of labels that int64 can hold."""


def open_image(file: str | Path) -> SpatialImage:
    """Open an image of real numbers, its data still on disk.

    A compressed file stays open, so that volumes read in order are decompressed once.

    Raises
    ------
    InputError
        If it is absent or cannot be read, or holds colours or complex numbers.
    """
    # nibabel takes a file that it may not open for one of an unknown kind.
    with readable(file), Path(file).open("rb"):
        image = nib.load(file, keep_file_open=True)
    if not isinstance(image, SpatialImage):
        raise InputError(f"{file} holds no voxels: give a NIfTI or MGZ image")
    kind = image.get_data_dtype().kind
    if kind == "c":
        raise InputError(f"{file} holds complex numbers: give an image of their magnitude")
    if kind not in "biuf":
        raise InputError(
            f"{file} holds colours or vectors: give an image with one number per voxel"
        )
    return image


def open_volume(file: str | Path) -> SpatialImage:
    """Open an image of one volume; axes of length 1 behind the third are left out.

    Raises
    ------
    InputError
        As `open_image`, and if it is not one three-dimensional volume.
    """
    image = open_image(file)
    require_volume(image.shape, file)
    if image.ndim == 3:
        return image
    with readable(file):
        squeezed = nib.funcs.squeeze_image(image)
    squeezed.set_filename(str(file))
    return squeezed


def read_labels(file: str | Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read a volume of labels.

    Returns
    -------
    labels : ndarray of int64, shape (x, y, z)
    affine : ndarray, shape (4, 4)

    Raises
    ------
    InputError
        As `open_volume`, and if they are no whole numbers.
    """
    image = open_volume(file)
    with readable(file):
        labels = np.asanyarray(image.dataobj)
    if not _are_whole_numbers(labels):
        raise InputError(
            f"{file} is not a volume of whole-number labels: give the segmentation itself, "
            "resampled by nearest neighbour"
        )
    return labels.astype(np.int64), np.asarray(image.affine)


def save_image(path: str | Path, data: NDArray[Any], affine: NDArray[np.float64]) -> None:
    """Write a NIfTI image in mm, whole or not at all."""
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nib.save(image, temporary)


def require_volume(
    shape: tuple[int, ...], file: str | Path, what: str = "it", smallest: int = 1
) -> None:
    """Raise InputError unless a shape is that of one volume, with or without axes of length 1.

    Surfaces are volumes of n x 1 x 1, so that single slices are only refused where `smallest` says
    so.
    """
    if len(shape) < 3 or min(shape[:3]) < smallest or any(size != 1 for size in shape[3:]):
        raise InputError(
            f"{file} has the shape {times(shape)}: {what} must be one three-dimensional volume"
        )


def require_series(shape: tuple[int, ...], file: str | Path) -> None:
    """Raise InputError unless a shape is that of volumes over time."""
    if len(shape) != 4:
        raise InputError(
            f"{file} has the shape {times(shape)}: a BOLD run must have four dimensions, the last "
            "of them time"
        )


def doubt_about_place(image: SpatialImage) -> str | None:
    """Say why the place and orientation of an image cannot be trusted; None where they can.

    Either of sform and qform suffices. What is gone on with all the same is said last.
    """
    axes = "".join(map(str, nib.aff2axcodes(image.affine)))
    guess = f"so left and right are a guess ({axes})"
    if isinstance(image, nib.MGHImage):
        return None if _has_good_ras(image) else f"its goodRASFlag is 0, {guess}"
    if not isinstance(image, nib.Nifti1Pair):
        is_analyze = isinstance(image, nib.AnalyzeImage)
        return f"it is of the Analyze format, {guess}" if is_analyze else None
    header = image.header
    has_sform, has_qform = (int(header[f"{form}_code"]) > 0 for form in ("sform", "qform"))
    if not has_sform and not has_qform:
        return f"its sform and qform codes are both 0, {guess}"
    unit = units(header)[0]
    if unit not in ("mm", "unknown"):
        return f"its header gives coordinates in {unit} (they are read as mm)"
    if has_sform and has_qform:
        try:
            distance = _largest_distance(header.get_sform(), header.get_qform(), image.shape)
        except (HeaderDataError, ValueError):
            return "its qform cannot be read and may differ from its sform (which is used)"
        diagonal = float(np.linalg.norm(voxel_sizes(image.affine) * (*image.shape, 1, 1)[:3]))
        if distance > LARGEST_DISAGREEMENT_MM * max(1.0, diagonal / DIAGONAL_MM):
            return (
                f"its sform and qform put voxels up to {distance:.3g} mm apart (the sform is used)"
            )
    sizes, zooms = voxel_sizes(image.affine), np.array(header.get_zooms()[:3], dtype=float)
    if len(zooms) == 3 and not np.allclose(zooms, sizes, rtol=VOXEL_SIZE_TOLERANCE):
        return (
            f"its voxels are {times(sizes.round(3))} mm by its sform and {times(zooms.round(3))} "
            "mm by pixdim (the sform is used)"
        )
    return None


def units(header: Any) -> tuple[str, str]:
    """Units of space and time in a NIfTI header; 'unknown' where it holds no valid code."""
    try:
        space, time = header.get_xyzt_units()
    except KeyError:
        return "unknown", "unknown"
    return space, time


def require_orientation(image: SpatialImage, file: str | Path, ignore: bool = False) -> str | None:
    """Refuse an image whose place and orientation cannot be trusted.

    Parameters
    ----------
    image : nibabel image
    file : str or Path
        For the message.
    ignore : bool
        Give a sentence back instead.

    Raises
    ------
    InputError
        If the affine cannot be inverted, or, unless ignored, on any other doubt.
    """
    if not np.isfinite(image.affine).all() or np.linalg.det(image.affine[:3, :3]) == 0:
        raise InputError(f"{file} has an affine that cannot be inverted: convert the image again")
    doubt = doubt_about_place(image)
    if doubt is None:
        return None
    if ignore:
        return f"the orientation of {Path(file).name} cannot be trusted, as {doubt}"
    raise InputError(
        f"the orientation of {file} cannot be trusted, because {doubt}: correct its header, "
        "convert it again, or accept it with --ignore orientation"
    )


@contextmanager
def unpacked(file: Path) -> Iterator[gzip.GzipFile | BufferedReader]:
    """Open a file that may be compressed."""
    if file.suffix in (".gz", ".mgz"):
        with gzip.open(file) as stream:
            yield stream
    else:
        with file.open("rb") as stream:
            yield stream


def times(numbers: Any) -> str:
    """Write a shape or sizes as '64 x 64 x 50'."""
    return " x ".join(f"{number:g}" for number in numbers)


@contextmanager
def readable(file: str | Path) -> Iterator[None]:
    """Turn what nibabel raises on a file that is missing or damaged into an InputError."""
    # nibabel logs on the command line what is wrong with a header, besides raising it.
    logger = logging.getLogger("nibabel.global")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        # nibabel lets through whatever a damaged header makes fail.
        with file_errors(Path(file), DAMAGED, (Exception,)):
            yield
    finally:
        logger.setLevel(level)


def _are_whole_numbers(labels: NDArray[Any]) -> bool:
    """Whether all are whole numbers that int64 holds."""
    if not np.isfinite(labels).all() or float(np.abs(labels).max(initial=0)) >= INT64_END:
        return False
    return np.array_equal(labels, np.round(labels))


def _largest_distance(
    first: NDArray[np.float64], second: NDArray[np.float64], shape: tuple[int, ...]
) -> float:
    sizes = (*shape, 1, 1)[:3]
    corners = np.array(list(itertools.product(*((0, size - 1) for size in sizes))))
    apart = apply_affine(first, corners) - apply_affine(second, corners)
    return float(np.linalg.norm(apart, axis=1).max())


def _has_good_ras(image: nib.MGHImage) -> bool:
    """Read the flag from the file, as nibabel sets it where it is not set."""
    file = image.get_filename()
    if file is None:
        return True
    with unpacked(Path(file)) as stream:
        return bool(np.frombuffer(stream.read(30)[28:], ">i2")[0])
