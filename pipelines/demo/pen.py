"""Shapes on a transparent square layer, in coordinates from 0 to 1."""

from collections.abc import Sequence

from PIL import Image, ImageDraw

Point = tuple[float, float]
LAYER_SIZE = 1024


class Pen:
    """Draws in coordinates of the unit square (x to the right, y down) on a transparent layer."""

    def __init__(self) -> None:
        self.layer = Image.new("RGBA", (LAYER_SIZE, LAYER_SIZE))
        self._draw = ImageDraw.Draw(self.layer)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: str) -> None:
        """Fill the ellipse with centre (x, y) and radii rx, ry."""
        self._draw.ellipse(_scaled([(x - rx, y - ry), (x + rx, y + ry)]), fill=fill)

    def dome(self, x: float, y: float, rx: float, ry: float, fill: str) -> None:
        """Fill the upper half of the ellipse with centre (x, y)."""
        self._draw.pieslice(_scaled([(x - rx, y - ry), (x + rx, y + ry)]), 180, 360, fill=fill)

    def ring(self, x: float, y: float, r: float, width: float, fill: str) -> None:
        """Draw a circle's outline of the given width, inwards from radius r."""
        box = _scaled([(x - r, y - r), (x + r, y + r)])
        self._draw.ellipse(box, outline=fill, width=round(width * LAYER_SIZE))

    def arc(self, x: float, y: float, r: float, angles: Point, width: float, fill: str) -> None:
        """Draw a part of a circle's outline between two angles (degrees)."""
        box = _scaled([(x - r, y - r), (x + r, y + r)])
        self._draw.arc(box, *angles, fill=fill, width=round(width * LAYER_SIZE))

    def polygon(self, points: Sequence[Point], fill: str) -> None:
        """Fill a polygon."""
        self._draw.polygon(_scaled(points), fill=fill)

    def erase_ellipse(self, x: float, y: float, rx: float, ry: float) -> None:
        """Make an ellipse transparent again."""
        self.ellipse(x, y, rx, ry, "#00000000")

    def box(
        self, x0: float, y0: float, x1: float, y1: float, fill: str, round_by: float = 0
    ) -> None:
        """Fill a rectangle, its corners rounded by a radius."""
        box = _scaled([(x0, y0), (x1, y1)])
        self._draw.rounded_rectangle(box, round_by * LAYER_SIZE, fill=fill)

    def line(self, points: Sequence[Point], width: float, fill: str) -> None:
        """Draw a polyline with round joints."""
        thickness = round(width * LAYER_SIZE)
        self._draw.line(_scaled(points), fill=fill, width=thickness, joint="curve")


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [(x * LAYER_SIZE, y * LAYER_SIZE) for x, y in points]
