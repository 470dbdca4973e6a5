"""The same picture in every pixel format, and files that are no pictures."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

GREY = np.linspace(0, 1, 64).reshape(8, 8)
COLOUR = np.stack([GREY, GREY.T, 1 - GREY], axis=-1)


def as_bytes(fractions: np.ndarray) -> np.ndarray:
    return (fractions * 255).round().astype(np.uint8)


def write_tiff(
    file: Path, pixels: np.ndarray, *, photometric: int = 1, planar: bool = False
) -> None:
    """A TIFF of any number and order of channels, from its specification."""
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    height, width, channels = (*pixels.shape, 1)[:3]
    bits = 8 * pixels.dtype.itemsize
    data = np.moveaxis(pixels, -1, 0).tobytes() if planar else pixels.tobytes()
    n_strips = channels if planar else 1
    size = len(data) // n_strips
    first = 8 + len(data)
    longs = [8 + strip * size for strip in range(n_strips)], [size] * n_strips
    extra = struct.pack(f"<{channels}H", *[bits] * channels).ljust(8, b"\0")
    extra += struct.pack(f"<{channels}H", *[kind] * channels).ljust(8, b"\0")
    extra += struct.pack(f"<{2 * n_strips}I", *longs[0], *longs[1])
    shorts = (1, 0) if channels == 1 else (channels, None)

    def short(tag: int, value: int) -> bytes:
        return struct.pack("<HHIHH", tag, 3, 1, value, 0)

    def many(tag: int, value: int, place: int) -> bytes:
        if shorts[1] == 0:
            return short(tag, value)
        return struct.pack("<HHII", tag, 3, channels, first + place)

    def strips(tag: int, values: list[int], place: int) -> bytes:
        where = values[0] if n_strips == 1 else first + place
        return struct.pack("<HHII", tag, 4, n_strips, where)

    entries = [
        short(256, width), short(257, height), many(258, bits, 0), short(259, 1),
        short(262, photometric), strips(273, longs[0], 16), short(277, channels),
        short(278, height), strips(279, longs[1], 16 + 4 * n_strips),
        short(284, 2 if planar else 1), many(339, kind, 8),
    ]  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    start = struct.pack("<2sHI", b"II", 42, first + len(extra))
    file.write_bytes(start + data + extra + directory)


def write_png_of_16_bits(file: Path, pixels: np.ndarray) -> None:
    """A PNG of 16 bits a channel: grey, colour or either with transparency."""
    height, width, channels = (*pixels.shape, 1)[:3]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        content += struct.pack(">I", len(data)) + name + data
        content += struct.pack(">I", zlib.crc32(name + data))
    file.write_bytes(content)


def wide_profile(gamma: float = 2.2, grey: bool = False) -> bytes:
    """A profile (ICC, version 2) of Adobe RGB's primaries, or of grey, with a plain gamma."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def place(*values: float) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(map(number, values))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"wide\0" + bytes(78)
    tags = {
        b"desc": text,
        b"cprt": b"text" + bytes(4) + b"-\0\0\0",
        b"wtpt": place(0.9642, 1, 0.8249),
    }
    if grey:
        tags[b"kTRC"] = curve
    else:
        tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
        tags |= {
            b"rXYZ": place(0.60974, 0.31111, 0.01947),
            b"gXYZ": place(0.20528, 0.62567, 0.06087),
            b"bXYZ": place(0.14919, 0.06322, 0.74457),
        }
    table = struct.pack(">I", len(tags))
    data = b""
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(data), len(value))
        data += value
    size = 128 + len(table) + len(data)
    space = b"GRAY" if grey else b"RGB "
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02100000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    header += number(0.9642) + number(1.0) + number(0.8249)
    return header.ljust(128, b"\0") + table + data


def write_pages(file: Path) -> None:
    """Two frames or pages, the picture first."""
    first = Image.fromarray(as_bytes(COLOUR))
    first.save(file, save_all=True, append_images=[Image.new("RGB", (8, 8), "black")])


def write_as(file: Path, mode: str, **options: object) -> None:
    """The coloured picture in another mode of Pillow's."""
    Image.fromarray(as_bytes(COLOUR)).convert(mode).save(file, **options)


def write_lab(file: Path) -> None:
    """Grey in CIE L*a*b* as TIFF holds it."""
    lab = np.zeros((8, 8, 3), np.uint8)
    lab[..., 0] = as_bytes(GREY)
    write_tiff(file, lab, photometric=8)
