"""Figures as small PNG pictures: what all drawings of a subject's page share."""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from conceptrsa.pipelines.reports.planes import Mosaic

LineStyle = Literal["solid", "dashed", "dotted"]

DPI = 100
FOOTER = 30  # pixels of a line below a mosaic
NAMES_A_LINE = 6

EDGES = {"axial": ("L", "R"), "coronal": ("L", "R"), "sagittal": ("P", "A")}

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7")
"""Colours that colour-blind readers tell apart, and that stand out on grey."""


@dataclass(frozen=True)
class Outline:
    """A mask on a mosaic's pixels, and how its border is drawn."""

    name: str
    mask: NDArray[np.bool_]
    colour: str
    style: LineStyle = "solid"


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """Draw a figure as PNG with at most 256 colours, without dates or versions in it."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    stream = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def to_address(png: bytes) -> str:
    """Give a picture as a `data:` address."""
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"


def draw_mosaic(
    mosaic: Mosaic,
    values: NDArray[Any],
    title: str,
    limits: tuple[float, float],
    cmap: str | Colormap = "gray",
    outlines: Sequence[Outline] = (),
    bar: str | None = None,
) -> bytes:
    """Draw planes through a head, pixel for pixel.

    Parameters
    ----------
    mosaic : Mosaic
        Where the planes lie.
    values : array (rows, columns)
        From `Mosaic.sample`.
    title : str
        What is shown; written into the picture.
    limits : pair of float
        Values that are drawn in the first and in the last colour.
    cmap : str or Colormap
    outlines : sequence of Outline
        Drawn over the planes, and named below them.
    bar : str, optional
        Name of the values, for a bar of colours below the planes.
    """
    height, width = values.shape
    footer = FOOTER * max(1, ceil(len(outlines) / NAMES_A_LINE))
    whole = height + footer
    figure = Figure(figsize=(width / DPI, whole / DPI), facecolor="black")
    axes = figure.add_axes((0, footer / whole, 1, height / whole))
    axes.set_axis_off()
    image = axes.imshow(values, cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    for outline in outlines:
        if outline.mask.any():
            axes.contour(
                outline.mask,
                levels=[0.5],
                colors=outline.colour,
                linewidths=1.1,
                linestyles=outline.style,
            )
    _write_labels(axes, mosaic)
    figure.text(8 / width, 0.5 * footer / whole, title, color="white", fontsize=9, va="center")
    if outlines:
        _write_names(figure, outlines)
    if bar is not None:
        box = (0.6, 0.6 * footer / whole, 0.38, 0.25 * footer / whole)
        colours = figure.colorbar(image, cax=figure.add_axes(box), orientation="horizontal")
        colours.outline.set_visible(False)
        colours.ax.tick_params(colors="white", labelsize=7, length=2, pad=1)
        figure.text(
            0.59, 0.5 * footer / whole, bar, color="white", fontsize=8, va="center", ha="right"
        )
    return to_png(figure)


def _write_labels(axes: Axes, mosaic: Mosaic) -> None:
    marked: set[str] = set()
    for label in mosaic.labels:
        axes.text(label.column + 4, label.row + 4, label.text, color="white", fontsize=7, va="top")
        if label.plane in marked:
            continue
        marked.add(label.plane)
        rows = [other.row for other in mosaic.labels if other.row > label.row]
        middle = (label.row + min(rows, default=mosaic.points.shape[0])) / 2
        left, right = EDGES[label.plane]
        font: dict[str, Any] = {
            "color": "white", "fontsize": 8, "va": "center", "weight": "bold"
        }  # fmt: skip
        axes.text(label.column + 4, middle, left, **font)
        axes.text(label.column + label.width - 4, middle, right, ha="right", **font)


def _write_names(figure: Figure, outlines: Sequence[Outline]) -> None:
    figure.legend(
        handles=[
            Line2D([], [], color=outline.colour, linestyle=outline.style, label=outline.name)
            for outline in outlines
        ],
        loc="lower right",
        bbox_to_anchor=(1.0, 0.0),
        ncols=min(len(outlines), NAMES_A_LINE),
        frameon=False,
        labelcolor="white",
        fontsize=8.5,
        handlelength=1.8,
        columnspacing=1.4,
    )
