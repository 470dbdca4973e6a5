"""Pictures as a viewer shows them, whatever their file holds."""

import struct
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import file_errors

DAMAGE = (EOFError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
"""Errors that Pillow raises on a damaged file, besides errors of reading."""

SAME_COLOURS = 3
"""Of 255: a profile that changes no colour by more is sRGB, and pixels stay as they are."""

MODES_OF_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}

WITH_FRAMES = ("GIF", "PNG", "TIFF", "WEBP", "AVIF")
"""Formats of animations and of several pages; in others further frames are layers or sizes."""

BITS, PHOTOMETRIC, PLANES, SAMPLES = 258, 262, 284, 339
"""Tags of TIFF: bits of a sample, what 0 means, order of the channels, kind of number."""


def load_picture(path: str | Path) -> Image.Image:
    """Load a picture upright and in RGB, as a viewer shows it.

    The camera's rotation (EXIF) is undone, transparent parts become white, 16 bits are brought
    to 8, floating-point numbers from 0 to 1 to 0 to 255, colours of a profile other than sRGB
    (wide gamut, CMYK) to sRGB, and of several frames or pages the first is taken.

    Raises
    ------
    InputError
        The file is missing, truncated, no picture, or holds numbers that could mean any brightness.
    """
    return _load(path)[0]


def load_thumbnail(path: str | Path, side: int) -> Image.Image:
    """Load a picture as `load_picture` does, so small that no side is longer than `side` pixels."""
    picture = _load(path, at_least=2 * side)[0]
    picture.thumbnail((side, side))
    return picture


def check_picture(path: str | Path) -> int:
    """Check that `load_picture` can load a picture, and count the frames or pages of its file.

    All of the file is read, but JPEG is decoded at an eighth of its size, in a third of the time.
    """
    return _load(path, at_least=1)[1]


def _load(path: str | Path, at_least: int | None = None) -> tuple[Image.Image, int]:
    """A picture, and the number of its frames or pages.

    JPEG is decoded as small as its library can (an eighth) where its sides stay `at_least` pixels.
    """
    remedy = "save it again as a picture, or replace it with an intact copy"
    with file_errors(Path(path), remedy, DAMAGE), Image.open(path) as opened:
        n_frames = getattr(opened, "n_frames", 1) if opened.format in WITH_FRAMES else 1
        tags = dict(getattr(opened, "tag_v2", {}))
        profile = opened.info.get("icc_profile")
        if at_least is not None:
            opened.draft(None, (at_least, at_least))
        picture = ImageOps.exif_transpose(opened)
        picture.load()
    if problem := _unknown_scale(picture, tags):
        raise InputError(f"{path} holds {problem}: save it with 8 bits per channel")
    if picture.mode == "F" or picture.mode.startswith("I"):
        picture = _in_bytes(picture, tags)
    return _flat(picture, profile), n_frames


def _unknown_scale(picture: Image.Image, tags: dict[int, object]) -> str | None:
    """Say of which numbers no viewer knows what brightness they are; None where all do."""
    bits, samples = _first(tags, BITS), _first(tags, SAMPLES)
    if samples == 2:
        return "signed numbers"
    if picture.mode.startswith("I") and bits not in (None, 16):
        return f"whole numbers of {bits} bits"
    if _first(tags, PLANES) == 2 and bits == 16:
        return "16-bit channels one after the other"  # which Pillow reads wrong
    if picture.mode == "F":
        pixels = np.asarray(picture)
        low, high = pixels.min(), pixels.max()
        if not (low >= 0 and high <= 1):
            return f"floating-point numbers from {low:g} to {high:g}, not from 0 to 1"
    return None


def _first(tags: dict[int, object], tag: int) -> object:
    value = tags.get(tag)
    return value[0] if isinstance(value, tuple) and value else value


def _in_bytes(picture: Image.Image, tags: dict[int, object]) -> Image.Image:
    """Bring grey of 16 bits, or of floating-point numbers from 0 to 1, to 8 bits."""
    grey = np.asarray(picture, dtype=float) * (255 if picture.mode == "F" else 1 / 257)
    if _first(tags, PHOTOMETRIC) == 0:  # 0 is white, which Pillow minds in 8 bits only
        grey = 255 - grey
    pixels: NDArray[np.uint8] = grey.clip(0, 255).round().astype(np.uint8)
    return Image.fromarray(pixels)


def _flat(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Bring a picture to sRGB, transparent parts to white."""
    if not picture.has_transparency_data:
        return _in_srgb(picture, profile)
    coloured = picture.convert("RGBA")
    opaque = _in_srgb(coloured.convert("RGB"), profile)
    opaque.putalpha(coloured.getchannel("A"))
    white = Image.new("RGBA", coloured.size, "white")
    return Image.alpha_composite(white, opaque).convert("RGB")


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if picture.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return _transformed(picture, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    if picture.mode not in MODES_OF_SPACES.values():
        picture = picture.convert("RGB")
    to_srgb = _of_profile(profile, picture.mode) if profile else None
    return picture.convert("RGB") if to_srgb is None else _transformed(picture, to_srgb)


@lru_cache(maxsize=8)
def _of_profile(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Transform of a profile's colours to sRGB; None where they are sRGB, or it is of no use.

    Kept, since the pictures of an experiment mostly have one and the same profile.
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if MODES_OF_SPACES.get(source.profile.xcolor_space.strip()) != mode:
            return None  # viewers pass over such a profile
        to_srgb = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode != "CMYK":
            samples = _samples(mode)
            found = _transformed(samples, to_srgb)
            if _difference(found, samples.convert("RGB")) <= SAME_COLOURS:
                return None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return to_srgb


def _transformed(picture: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    found = ImageCms.applyTransform(picture, transform)
    assert found is not None  # None is of a picture changed in place
    return found


def _samples(mode: str) -> Image.Image:
    """A picture of colours from everywhere."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(levels[None])
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    return Image.fromarray(colours.reshape(1, -1, 3))


def _difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())
