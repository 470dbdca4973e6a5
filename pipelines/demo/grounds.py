"""Grounds of the pictures: textures with values from 0 (dark) to 1 (light), more or less."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIZE = 256
"""Pixels along one side of a picture."""

Plane = NDArray[np.float64]


def grid() -> tuple[Plane, Plane]:
    """Give x and y in [0, 1] for every pixel, each (SIZE, SIZE)."""
    axis = np.arange(SIZE) / (SIZE - 1)
    x, y = np.meshgrid(axis, axis)
    return x, y


def noise(coarsest: int, octaves: int) -> Plane:
    """Make value noise in [0, 1]: random grids, each twice as fine and half as strong."""
    total = np.zeros((SIZE, SIZE))
    for octave in range(octaves):
        cells = coarsest * 2**octave
        coarse = Image.fromarray(_scramble(cells, cells, salt=coarsest + octave).astype(np.float32))
        fine = coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        total += np.asarray(fine, dtype=float) / 2**octave
    return total / (2 - 2.0 ** (1 - octaves))


def _scramble(rows: int, columns: int, salt: int) -> Plane:
    """Give numbers in [0, 1] by integer hashing: no generator whose stream could ever change."""
    state = np.arange(rows * columns, dtype=np.uint32) + np.uint32(salt * 7919 + 1)
    for shift in (16, 15, 16):
        state = (state ^ (state >> np.uint32(shift))) * np.uint32(0x45D9F3B)
    return (state.reshape(rows, columns) >> np.uint32(8)).astype(float) / 2**24


def _plain() -> Plane:
    x, y = grid()
    return 1.1 - 0.9 * np.hypot(x - 0.45, y - 0.4)


def _clouds() -> Plane:
    _, y = grid()
    return np.clip(2.6 * (noise(3, 5) - 0.45), 0, 1) * 0.8 + 0.35 * y


def _waves() -> Plane:
    x, y = grid()
    ripple: Plane = np.sin(40 * y + 5 * np.sin(7 * x) + 9 * noise(4, 3))
    return 0.55 - 0.4 * y + 0.25 * ripple


def _sea() -> Plane:
    x, y = grid()
    sky = 1.0 - 0.25 * y + 0.5 * (noise(3, 4) - 0.5)
    water = 0.35 + 0.2 * np.sin(90 * y**1.7 + 4 * np.sin(9 * x)) + 0.3 * (noise(20, 2) - 0.5)
    return np.where(y < 0.68, sky, water)


def _grass() -> Plane:
    blades = np.repeat(_scramble(16, SIZE, salt=11), SIZE // 16, axis=0)
    return 0.6 * blades + 0.5 * noise(6, 4)


def _sand() -> Plane:
    x, y = grid()
    dunes = np.sin(14 * (y + 0.25 * np.sin(3 * x)) + 2 * noise(3, 2))
    return 0.5 + 0.18 * dunes + 0.45 * (noise(48, 3) - 0.5)


def _leaf() -> Plane:
    x, y = grid()
    vein = np.abs(((np.abs(x - y) + 0.35 * (x + y)) * 6) % 1 - 0.5) * 2
    midrib = np.exp(-(((x - y) / 0.02) ** 2))
    return 0.35 + 0.3 * vein + 0.6 * midrib + 0.2 * (noise(20, 2) - 0.5)


def _stars() -> Plane:
    _, y = grid()
    sparks = np.asarray(
        Image.fromarray((_scramble(256, 256, salt=5) > 0.997).astype(np.uint8) * 255)
    )
    spread = Image.fromarray(sparks).filter(ImageFilter.GaussianBlur(0.8))
    return 0.1 + 0.5 * y + 0.25 * noise(3, 4) + 6 * np.asarray(spread, dtype=float) / 255


def _glow() -> Plane:
    x, y = grid()
    return 0.9 * np.exp(-4.5 * ((x - 0.5) ** 2 + (y - 0.25) ** 2)) + 0.3 * (noise(4, 4) - 0.4)


def _bokeh() -> Plane:
    x, y = grid()
    plane = 0.25 + 0.3 * noise(3, 2)
    for (u, v), size in zip(_scramble(26, 2, salt=3), _scramble(26, 1, salt=9)[:, 0], strict=True):
        radius = 0.03 + 0.09 * size
        plane += 0.22 / (1 + np.exp((np.hypot(x - u, y - v) - radius) * 150))
    return plane


def _planks() -> Plane:
    x, y = grid()
    board = np.floor(y * 5)
    grain = np.sin(60 * (y * 5 % 1) + 14 * noise(3, 3) + 6 * x + 2.3 * board)
    gap = (y * 5 % 1) < 0.04
    return np.where(gap, -0.6, 0.5 + 0.14 * np.sin(board * 5) + 0.2 * grain)


def _checks() -> Plane:
    x, y = grid()
    squares: Plane = ((np.floor(x * 8) % 2) + (np.floor(y * 8) % 2)) / 2
    return squares + 0.1 * (noise(64, 2) - 0.5)


def _stripes() -> Plane:
    x, _ = grid()
    return 0.5 + 0.42 * np.sign(np.sin(2 * np.pi * 9 * x)) + 0.12 * (noise(4, 3) - 0.5)


def _bricks() -> Plane:
    x, y = grid()
    row = np.floor(y * 11)
    along = x * 5.5 + 0.5 * (row % 2)
    mortar = ((y * 11 % 1) < 0.14) | ((along % 1) < 0.07)
    tone = _scramble(16, 16, salt=2)[row.astype(int), np.floor(along).astype(int)]
    return np.where(mortar, 0.95, 0.05 + 0.35 * tone + 0.25 * (noise(40, 2) - 0.5))


def _road() -> Plane:
    x, y = grid()
    asphalt = (
        0.12 + 0.3 * (noise(64, 2) - 0.4) + 0.9 * ((np.abs(y - 0.9) < 0.015) & (x * 5 % 1 < 0.6))
    )
    hills = 0.55 + 0.15 * (y > 0.42 + 0.07 * np.sin(7 * x)) + 0.3 * (noise(5, 4) - 0.5)
    return np.where(y > 0.72, asphalt, np.where(y < 0.35 + 0.08 * np.sin(5 * x), 0.95, hills))


def _rain() -> Plane:
    x, y = grid()
    slant = (x * 46 + y * 12).astype(int)
    phase = _scramble(1, 64, salt=21)[0][slant % 64]
    drops: Plane = ((y * 4 + 9 * phase) % 1 < 0.3) & ((x * 46 + y * 12) % 1 < 0.18)
    return 0.55 - 0.4 * y + 0.3 * (noise(3, 4) - 0.5) + 0.4 * drops


GROUNDS: dict[str, Callable[[], Plane]] = {
    "bokeh": _bokeh,
    "bricks": _bricks,
    "checks": _checks,
    "clouds": _clouds,
    "glow": _glow,
    "grass": _grass,
    "leaf": _leaf,
    "plain": _plain,
    "planks": _planks,
    "rain": _rain,
    "road": _road,
    "sand": _sand,
    "sea": _sea,
    "stars": _stars,
    "stripes": _stripes,
    "waves": _waves,
}
