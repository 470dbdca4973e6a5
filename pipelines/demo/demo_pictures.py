"""The stimuli of the demo: twenty-four pictures that the project draws itself.

Colours of the background, its texture, and where and how large the object stands, are varied
without regard to what the object is, so that pictures which look alike need not mean alike.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageFilter

from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.pipelines.demo.drawings import DRAWINGS
from conceptrsa.pipelines.demo.grounds import (
    GROUNDS,
    SIZE,
    Plane,
    grid,
    noise,
)
from conceptrsa.pipelines.demo.pen import Pen


@dataclass(frozen=True)
class Picture:
    """What is drawn, on which ground, and where in the frame (unit square, y down)."""

    drawing: str
    label: str
    ground: str
    dark: str
    light: str
    x: float = 0.5
    y: float = 0.5
    scale: float = 0.8
    turn: float = 0.0
    """Degrees, anticlockwise."""

    @property
    def stimulus(self) -> str:
        """The stimulus id, which is also the stem of the picture's file name."""
        return f"{self.drawing}_01"


PICTURES = (
    Picture("goldfish", "goldfish", "waves", "#0e5d8a", "#6cc7dd", 0.5, 0.5, 0.85),
    Picture("penguin", "penguin", "sand", "#b9cfdf", "#f7fbff", 0.55, 0.52, 0.85),
    Picture("butterfly", "butterfly", "bokeh", "#28552a", "#b7d96c", 0.5, 0.5, 0.9, 14),
    Picture("ladybug", "ladybug", "leaf", "#2d6b22", "#8fcf4d", 0.52, 0.5, 0.6, -35),
    Picture("owl", "owl", "stars", "#0a1030", "#27386f", 0.45, 0.53, 0.88),
    Picture("jellyfish", "jellyfish", "glow", "#02040f", "#1c3fae", 0.5, 0.52, 0.9, 10),
    Picture("apple", "apple", "planks", "#6b3f1f", "#b57a42", 0.42, 0.52, 0.62),
    Picture("pizza", "pizza", "checks", "#b0202a", "#f6efe6", 0.5, 0.5, 0.96),
    Picture("banana", "banana", "plain", "#d5d7dc", "#ffffff", 0.5, 0.55, 0.9, -8),
    Picture("mushroom", "mushroom", "grass", "#23451c", "#6f9a3c", 0.6, 0.56, 0.66),
    Picture("sailboat", "sailboat", "sea", "#12507c", "#cfe6f5", 0.5, 0.5, 0.72),
    Picture("car", "car", "road", "#4b4d52", "#d9c8a8", 0.5, 0.56, 0.95),
    Picture("bicycle", "bicycle", "bricks", "#7f3a2b", "#d8c9b8", 0.5, 0.55, 0.95),
    Picture("balloon", "hot air balloon", "clouds", "#3f8fd6", "#ffffff", 0.5, 0.46, 0.75),
    Picture("mountain", "mountain", "clouds", "#e0795b", "#ffe2a8", 0.5, 0.5, 1.02),
    Picture("lighthouse", "lighthouse", "sea", "#26394a", "#8fa3b0", 0.66, 0.5, 0.95),
    Picture("house", "house", "grass", "#3d7a33", "#a6d477", 0.48, 0.52, 0.84),
    Picture("volcano", "volcano", "glow", "#120505", "#7a1e12", 0.5, 0.52, 1.0),
    Picture("clock", "clock", "stripes", "#3b7a78", "#d8e8dc", 0.5, 0.5, 0.86),
    Picture("umbrella", "umbrella", "rain", "#55606b", "#a9b5bf", 0.5, 0.5, 0.86, -12),
    Picture("guitar", "guitar", "plain", "#1c1c22", "#7d5f9c", 0.5, 0.5, 1.0, -38),
    Picture("hammer", "hammer", "planks", "#9c7a4d", "#e2c79a", 0.5, 0.5, 0.9, 42),
    Picture("tree", "tree", "sand", "#c99a56", "#f3dca6", 0.46, 0.5, 0.94),
    Picture("sunflower", "sunflower", "clouds", "#2a6fbf", "#e7f3ff", 0.52, 0.54, 0.92),
)


def draw_stimuli(out_dir: str | Path) -> tuple[str, ...]:
    """Write the demo's pictures and `labels.tsv`.

    Parameters
    ----------
    out_dir : str or Path
        Folder for `<stimulus>.png` (256 x 256, RGB) and `labels.tsv` (stimulus, label).

    Returns
    -------
    tuple of str
        The stimulus ids, sorted.
    """
    folder = Path(out_dir)
    pictures = sorted(PICTURES, key=lambda picture: picture.stimulus)
    for picture in pictures:
        with atomic_path(folder / f"{picture.stimulus}.png") as path:
            draw_picture(picture).save(path)
    rows = ["stimulus\tlabel", *(f"{picture.stimulus}\t{picture.label}" for picture in pictures)]
    with atomic_path(folder / "labels.tsv") as path:
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tuple(picture.stimulus for picture in pictures)


def draw_picture(picture: Picture) -> Image.Image:
    """Draw one picture: ground, the object's soft shadow, the object lit from the upper left."""
    ground = GROUNDS[picture.ground]()
    canvas = _two_tone(ground, picture.dark, picture.light)
    layer = _placed(_lit(_drawn(picture.drawing)), picture)
    alpha = layer.getchannel("A")
    shadow = alpha.filter(ImageFilter.GaussianBlur(7)).point(lambda value: value * 0.45)
    canvas.paste("#101010", (7, 9), shadow)
    canvas.paste(layer, (0, 0), alpha)
    return canvas


def _drawn(name: str) -> Image.Image:
    pen = Pen()
    DRAWINGS[name](pen)
    return pen.layer


def _lit(layer: Image.Image) -> Image.Image:
    """Shade a flat drawing: round at its outline, brighter at the upper left, a little grain."""
    height = layer.getchannel("A").resize((SIZE, SIZE), Image.Resampling.BOX)
    relief = np.asarray(height.filter(ImageFilter.GaussianBlur(9)), dtype=float) / 255
    slope_y, slope_x = np.gradient(relief)
    light = 1.0 + 6.0 * (slope_x + slope_y) + 0.16 * (noise(5, 3) - 0.5)
    x, y = grid()
    light += 0.12 - 0.24 * (x + y) / 2
    shade = Image.fromarray(np.clip(light * 160, 0, 255).astype(np.uint8))
    factor = np.asarray(shade.resize(layer.size, Image.Resampling.BICUBIC), dtype=float) / 160
    pixels = np.asarray(layer, dtype=float).copy()
    pixels[..., :3] *= factor[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _placed(layer: Image.Image, picture: Picture) -> Image.Image:
    """Turn, shrink and move a layer into the picture's frame."""
    turned = layer.rotate(picture.turn, Image.Resampling.BICUBIC)
    side = round(picture.scale * SIZE)
    small = turned.resize((side, side), Image.Resampling.LANCZOS)
    frame = Image.new("RGBA", (SIZE, SIZE))
    left = round(picture.x * SIZE - side / 2)
    top = round(picture.y * SIZE - side / 2)
    frame.paste(small, (left, top))
    return frame


def _two_tone(plane: Plane, dark: str, light: str) -> Image.Image:
    low, high = (np.array(ImageColor.getrgb(colour), dtype=float) for colour in (dark, light))
    mix = np.clip(plane, 0, 1)[..., None]
    return Image.fromarray((low + mix * (high - low)).round().astype(np.uint8))
