"""Mosaics: planes through a head side by side, drawn pixel for pixel with outlines on them."""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

PIXEL_MM = 1.25
MARGIN_MM = 12.0
GAP = 4  # pixels between planes
HEADING = 15  # pixels above a row of planes, for where they lie

PLANES = (
    # name, axis of the position, axes to the right and up, what lies at the left edge
    ("axial", 2, (0, 1)),
    ("coronal", 1, (0, 2)),
    ("sagittal", 0, (1, 2)),
)
AXIS_NAMES = "xyz"

FloatArray = NDArray[np.float64]

LineStyle = Literal["solid", "dashed", "dotted"]

DPI = 100
FOOTER = 30  # pixels of a line below a mosaic
NAMES_A_LINE = 6

EDGES = {"axial": ("L", "R"), "coronal": ("L", "R"), "sagittal": ("P", "A")}

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7")
"""Colours that colour-blind readers tell apart, and that stand out on grey."""


@dataclass(frozen=True)
class Label:
    """Position of a plane in the mosaic (pixels from the top left), and what it shows."""

    row: int
    column: int
    width: int
    text: str
    plane: str


@dataclass(frozen=True)
class Mosaic:
    """Planes side by side.

    Attributes
    ----------
    points : array (rows, columns, 3)
        World point of each pixel, RAS mm; NaN between planes.
    labels : tuple of Label
    """

    points: FloatArray
    labels: tuple[Label, ...]

    def sample(
        self,
        data: NDArray[Any],
        affine: FloatArray,
        world_to_image: FloatArray | None = None,
        order: Literal[0, 1] = 1,
    ) -> NDArray[Any]:
        """Values of a 3D image at the pixels, 0 outside it.

        Parameters
        ----------
        data, affine : array (i, j, k), array (4, 4)
            The image, and its voxel indices to world RAS mm.
        world_to_image : array (4, 4), optional
            World of the mosaic to world of the image; the identity by default.
        order : int
            1: trilinear; 0: nearest neighbour.
        """
        to_world = np.eye(4) if world_to_image is None else world_to_image
        shape = self.points.shape[:2]
        inside = np.isfinite(self.points).all(axis=2)
        voxels = apply_affine(np.linalg.inv(affine) @ to_world, self.points[inside])
        values = np.zeros(shape, dtype=data.dtype)
        values[inside] = ndimage.map_coordinates(data, voxels.T, order=order, cval=0)
        return values


def lay_out(
    head: tuple[FloatArray, FloatArray],
    through: tuple[FloatArray, FloatArray],
    n_columns: int = 7,
    planes: tuple[str, ...] = ("axial", "coronal", "sagittal"),
    pixel_mm: float = PIXEL_MM,
) -> Mosaic:
    """Choose planes: a row for each direction, evenly spaced, the left of the head to the left.

    Parameters
    ----------
    head : pair of array (3,)
        Smallest and largest x, y, z (mm) that are shown of each plane, without margin.
    through : pair of array (3,)
        Between which points the planes lie; the outermost are a little inside.
    n_columns : int
        Planes a row.
    planes : tuple of str
        Which directions.
    pixel_mm : float
        Size of a pixel.
    """
    lower, upper = head[0] - MARGIN_MM, head[1] + MARGIN_MM
    sizes = np.ceil((upper - lower) / pixel_mm).astype(int)
    chosen = [plane for plane in PLANES if plane[0] in planes]
    width = max(int(sizes[right]) for _, _, (right, _) in chosen)
    rows, labels, top = [], [], 0
    for name, axis, (right, up) in chosen:
        height = int(sizes[up])
        centre = (lower + upper) / 2
        strip = np.full((HEADING + height, n_columns * (width + GAP), 3), np.nan)
        span = through[1][axis] - through[0][axis]
        shares = (np.arange(n_columns) + 0.5) / n_columns
        for column, position in enumerate(through[0][axis] + span * shares):
            left = column * (width + GAP)
            block = strip[HEADING:, left : left + width]
            block[..., axis] = position
            block[..., right] = centre[right] + (np.arange(width) - (width - 1) / 2) * pixel_mm
            rising = (np.arange(height)[::-1] - (height - 1) / 2) * pixel_mm
            block[..., up] = centre[up] + rising[:, np.newaxis]
            text = f"{AXIS_NAMES[axis]} = {round(float(position)) + 0:d}"
            labels.append(Label(top, left, width, text.replace("-", "\N{MINUS SIGN}"), name))
        rows.append(strip)
        top += len(strip)
    return Mosaic(np.concatenate(rows), tuple(labels))


def bounds(mask: NDArray[np.bool_], affine: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest x, y, z of the voxels of a mask, in mm.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    voxels = np.argwhere(mask)
    if not len(voxels):
        raise ValueError("an empty mask has no bounds")
    points = apply_affine(affine, voxels)
    return points.min(axis=0), points.max(axis=0)


@dataclass(frozen=True)
class Outline:
    """A mask on a mosaic's pixels, and how its border is drawn."""

    name: str
    mask: NDArray[np.bool_]
    colour: str
    style: LineStyle = "solid"


def to_address(figure: Figure) -> str:
    """Draw a figure as PNG with at most 256 colours and nothing but pixels, as `data:` address."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    stream = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(stream.getvalue()).decode('ascii')}"


def draw_mosaic(
    mosaic: Mosaic,
    values: NDArray[Any],
    title: str,
    limits: tuple[float, float],
    cmap: str = "gray",
    outlines: Sequence[Outline] = (),
    bar: str | None = None,
) -> str:
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
    cmap : str
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
    return to_address(figure)


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
