"""Label volumes, maps of probabilities and masks, in the grid of the betas."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray
from scipy import ndimage

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.betas.volumes import Grid, load_volume
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.image_spaces import between
from conceptrsa.bids_config.images import open_volume, read_labels, readable, require_orientation
from conceptrsa.bids_config.names import some_of

THRESHOLD = 0.25
"""Least probability in a region where the user gives none, as in FSL's atlases `thr25`."""
PERCENT = 100
OVERSHOOT = 0.2
"""Tolerance of maps below 0 and above 1, from rounding or resampling by splines."""
WEIGHTS = "desc-weights"
"""Part of the name of a file of maps that are no probabilities."""
TO_ONE_SIDE = 1e-4
"""Shift in voxels, so that points half way between two voxels all go to the same side."""


@dataclass(frozen=True)
class AtlasReading:
    """Options for reading atlases and masks.

    Attributes
    ----------
    threshold : float or None
        Least probability, 0 to 1, of a voxel in a region; None: `THRESHOLD`.
    ignore_place : bool
        Take volumes whose place and orientation cannot be trusted.
    ignore_space : bool or None
        Take atlases of another space than that of the betas. None: no, and the user has no such
        choice.
    """

    threshold: float | None = None
    ignore_place: bool = False
    ignore_space: bool | None = False


@dataclass(frozen=True)
class AtlasVolume:
    """The voxels of an atlas in a grid, sorted by label so that those of each are found at once.

    Attributes
    ----------
    file : Path
    order, in_order : ndarray of int
        Flat (C order) voxel indices and the label of each, by label. A voxel has several labels
        where maps of probabilities overlap.
    sizes : mapping of int to int
        Number of voxels of each label in the volume's own grid.
    n_inside : mapping of int to int, optional
        How many of these lie within the grid, where that is another one.
    highest : mapping of int to float
        Highest probability of each map.
    doubt : str or None
        Why its place cannot be trusted, where that is ignored.
    notes : tuple of str
    """

    file: Path
    order: Integers
    in_order: Integers
    sizes: Mapping[int, int]
    n_inside: Mapping[int, int] | None = None
    highest: Mapping[int, float] = field(default_factory=dict)
    doubt: str | None = None
    notes: tuple[str, ...] = ()

    def voxels(self, labels: Sequence[int]) -> Integers:
        """Flat indices of the voxels that have one of the labels, increasing."""
        starts = np.searchsorted(self.in_order, labels, side="left")
        ends = np.searchsorted(self.in_order, labels, side="right")
        parts = [self.order[start:end] for start, end in zip(starts, ends, strict=True)]
        return np.unique(np.concatenate(parts))

    def coverage(self, labels: Sequence[int]) -> float:
        """Share of the voxels, before resampling, that lie within the grid."""
        assert self.n_inside is not None
        size = sum(self.sizes[label] for label in labels)
        return sum(self.n_inside.get(label, 0) for label in labels) / size


def read_atlas(
    file: Path, labels: Collection[int], grid: Grid | None, reading: AtlasReading
) -> tuple[AtlasVolume, Grid]:
    """Read a label volume, or a 4D file of one map of probabilities a region.

    Parameters
    ----------
    file : Path
    labels : collection of int
        Those needed; a map's label is its number in the file, counted from 1.
    grid : Grid, optional
        That of the betas; by default its own.
    reading : AtlasReading

    Returns
    -------
    AtlasVolume
    Grid

    Raises
    ------
    InputError
        On a file that cannot be read, is of another space, or holds neither.
    """
    image = load_volume(file)
    if len(image.shape) == 4 and image.shape[3] > 1:
        wanted = sorted(label for label in labels if label <= image.shape[3])
        maps = {label: _map_of(image, file, label - 1) for label in wanted}
        return _of_maps(file, image, maps, grid, reading)
    return _of_labels(file, image, grid, reading)


def read_mask(
    file: Path, grid: Grid | None, reading: AtlasReading
) -> tuple[AtlasVolume, Grid, tuple[int, ...]]:
    """Read a mask, or a map of probabilities of one region.

    Returns
    -------
    AtlasVolume
    Grid
    labels : tuple of int
        What marks the region.

    Raises
    ------
    InputError
        As `read_atlas`, and on a volume of several labels.
    """
    load_volume(file)
    image = open_volume(file)
    with readable(file):
        values = np.asarray(image.dataobj, dtype=np.float64)
    found = np.unique(values[np.isfinite(values) & (values != 0)])
    are_whole = np.array_equal(found, found.round())
    may_be_percent = bool(len(found)) and found[0] > 0 and found[-1] <= PERCENT
    if not are_whole or (len(found) > 1 and may_be_percent and reading.threshold is not None):
        shares = {1: _SparseMap.of(values)}
        if WEIGHTS not in file.name and _scale(file, shares)[0] is None:
            raise InputError(
                f"{file} holds numbers from {found[0]:.3g} to {found[-1]:.3g}, which are neither a "
                "mask nor probabilities: threshold it, and give the mask"
            )
        volume, target = _of_maps(file, image, shares, grid, reading)
        if not volume.sizes:
            raise InputError(
                f"{file} is nowhere above {volume.highest[1]:.2g}: lower --atlas-threshold, or "
                "leave the region out"
            )
        return volume, target, (1,)
    if len(found) != 1:
        numbers = [f"{value:g}" for value in found]
        said = f"the labels {some_of(numbers)}" if numbers else "only zeros"
        percent = ", or --atlas-threshold if they are percent" if may_be_percent else ""
        raise InputError(
            f"{file} holds {said}: a mask has only one number besides 0; give an atlas with --atlas"
            f"{percent}"
        )
    marks = (np.isfinite(values) & (values != 0)).astype(np.int64)
    return *_of_labels(file, load_volume(file), grid, reading, marks), (1,)


def n_maps(file: Path) -> int | None:
    """Number of maps in a 4D atlas; None for a label volume, or if there is no such file."""
    if not file.is_file():
        return None
    shape = load_volume(file).shape
    return int(shape[3]) if len(shape) == 4 and shape[3] > 1 else None


@dataclass(frozen=True)
class _Placed:
    """An atlas' grid, and how that of the betas lies in it."""

    grid: Grid
    to_atlas: Floats | None
    """From voxels of the betas' grid to voxels of the atlas; None where they are the same."""
    doubt: str | None
    notes: tuple[str, ...]

    def n_inside(self, places: Integers, shape: tuple[int, ...]) -> Integers:
        """Which of some voxels of the atlas, (voxels, 3), lie within the betas' grid."""
        assert self.to_atlas is not None
        at = apply_affine(np.linalg.inv(self.to_atlas), places)
        inside: Integers = ((at >= -0.5) & (at < np.array(shape) - 0.5)).all(axis=1)
        return inside


def _place(file: Path, image: SpatialImage, grid: Grid | None, reading: AtlasReading) -> _Placed:
    doubt = require_orientation(image, file, reading.ignore_place)
    own = Grid.of(image, file)
    if grid is None:
        return _Placed(own, None, doubt, ())
    to_betas, note = between(file, own.space, grid.file, grid.header, reading.ignore_space)
    placed = Grid(own.shape, to_betas @ own.affine, file)
    notes = () if note is None else (note,)
    to_atlas = None if placed.is_same(grid) else np.linalg.inv(placed.affine) @ grid.affine
    return _Placed(grid, to_atlas, doubt, notes)


def _of_labels(
    file: Path,
    image: SpatialImage,
    grid: Grid | None,
    reading: AtlasReading,
    marks: Integers | None = None,
) -> tuple[AtlasVolume, Grid]:
    """Read the labels of a volume; or take those of a mask, which may be NaN outside."""
    labels = read_labels(file)[0] if marks is None else marks
    placed = _place(file, image, grid, reading)
    sizes, n_inside = _counts(labels[labels != 0]), None
    if placed.to_atlas is not None:
        inside = placed.n_inside(np.argwhere(labels), placed.grid.shape)
        n_inside = _counts(labels[labels != 0][inside])
        labels = _resample(labels, placed.to_atlas, placed.grid.shape)
    flat = labels.ravel()
    order = np.argsort(flat, kind="stable")
    volume = AtlasVolume(
        file, order, flat[order], sizes, n_inside, doubt=placed.doubt, notes=placed.notes
    )
    return volume, placed.grid


def _resample(labels: Integers, to_labels: Floats, shape: tuple[int, ...]) -> Integers:
    """Labels at the voxels of another grid, each of the nearest voxel; 0 outside."""
    offset = to_labels[:3, 3] + TO_ONE_SIDE
    return ndimage.affine_transform(
        labels, to_labels[:3, :3], offset, output_shape=shape, order=0, mode="grid-constant"
    )


def _counts(values: Integers) -> dict[int, int]:
    labels, counts = np.unique(values, return_counts=True)
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


@dataclass(frozen=True)
class _SparseMap:
    """Nonzero part of a map: values in a box, and the position of its first corner."""

    values: Floats
    corner: Integers

    @classmethod
    def of(cls, values: NDArray[Any]) -> "_SparseMap":
        planes = [np.flatnonzero(values.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        if not len(planes[0]):
            return cls(np.zeros((1, 1, 1)), np.zeros(3, dtype=np.int64))
        box = tuple(slice(found[0], found[-1] + 1) for found in planes)
        numbers = np.nan_to_num(values[box].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        return cls(numbers, np.array([found[0] for found in planes]))


def _map_of(image: SpatialImage, file: Path, index: int) -> _SparseMap:
    with readable(file):
        return _SparseMap.of(np.asarray(image.dataobj[..., index]))


def _of_maps(
    file: Path,
    image: SpatialImage,
    maps: Mapping[int, _SparseMap],
    grid: Grid | None,
    reading: AtlasReading,
) -> tuple[AtlasVolume, Grid]:
    """Voxels at which each map reaches the threshold, interpolated linearly in another grid."""
    placed = _place(file, image, grid, reading)
    threshold = THRESHOLD if reading.threshold is None else reading.threshold
    one, said = _scale(file, maps)
    points = None
    if placed.to_atlas is not None:
        points = apply_affine(placed.to_atlas, np.argwhere(np.ones(placed.grid.shape, dtype=bool)))
    order, sizes, n_inside, highest = [], {}, {}, {}
    for label, of_map in maps.items():
        full = one if one is not None else float(of_map.values.max()) or 1.0
        highest[label] = float(of_map.values.max()) / full
        least = threshold * full
        places = np.argwhere(of_map.values >= least) + of_map.corner
        sizes[label] = len(places)
        if points is None:
            order.append(np.ravel_multi_index(tuple(places.T), placed.grid.shape))
        else:
            n_inside[label] = int(placed.n_inside(places, placed.grid.shape).sum())
            order.append(_reaching(of_map, points, least))
    in_order = np.repeat(list(maps), list(map(len, order)))
    note = (
        f"{file.name} holds {said}: a region has the voxels of at least {threshold:.2g} "
        "(--atlas-threshold)"
    )
    volume = AtlasVolume(
        file,
        np.concatenate([np.empty(0, dtype=np.int64), *order]),
        in_order,
        {label: size for label, size in sizes.items() if size},
        None if points is None else n_inside,
        highest,
        placed.doubt,
        (note, *placed.notes),
    )
    return volume, placed.grid


def _scale(file: Path, maps: Mapping[int, _SparseMap]) -> tuple[float | None, str]:
    """Give what stands for a probability of 1 (None: each map's highest value), and a name."""
    low = min((float(of_map.values.min()) for of_map in maps.values()), default=0.0)
    high = max((float(of_map.values.max()) for of_map in maps.values()), default=0.0)
    most = 1 + OVERSHOOT
    if WEIGHTS in file.name or low < -OVERSHOOT * high or high > most * PERCENT:
        return None, "weight maps, scaled to the maximum of each map"
    if high > most:
        return PERCENT, "probabilities in percent"
    return 1.0, "probabilities"


def _reaching(of_map: _SparseMap, points: Floats, least: float) -> Integers:
    """Which of some points, (points, 3) in voxels, have an interpolated value of at least this."""
    local = points - of_map.corner
    near = np.flatnonzero(((local > -1) & (local < of_map.values.shape)).all(axis=1))
    values = ndimage.map_coordinates(
        of_map.values, local[near].T, order=1, mode="grid-constant", cval=0.0
    )
    return near[values >= least]


def require_threshold(threshold: float | None) -> None:
    """Refuse a threshold that is no share.

    Raises
    ------
    InputError
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise InputError(
            f"--atlas-threshold {threshold:g} is not above 0 and up to 1: write 0.25 for 25 %"
        )
