"""Planes through a head, side by side: which points of the world each pixel shows."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
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


@dataclass(frozen=True)
class Label:
    """Where a plane begins in the mosaic (pixels from the top left), and what it shows."""

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
