"""The voxels of regions in the grid of the betas, from label volumes and masks in any grid."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine
from scipy import ndimage

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.betas.region_choice import AnyRegion, Region
from conceptrsa.analysis.betas.volumes import SUBJECT_PLACE, Grid, load_volume
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import read_labels, require_orientation, times
from conceptrsa.bids_config.names import some_of

SPACE_NAME = re.compile(r"(?:^|_)(?:space|tpl)-([0-9a-zA-Z]+)")
LOW_COVERAGE = 0.5
TO_ONE_SIDE = 1e-4
"""In voxels: points half way between two voxels all go to the same side, in spite of rounding."""


@dataclass(frozen=True)
class RoiVoxels:
    """The voxels of every region in one grid.

    Attributes
    ----------
    grid : Grid
    rois : dict of str to ndarray
        Flat (C order) voxel indices by region name, increasing.
    files : tuple of Path
        Label volume and masks.
    ignore_place : bool
        Whether volumes whose place cannot be trusted are taken.
    doubt : str or None
        Why that of a label volume cannot be trusted, where that is ignored.
    coverage : mapping of str to float
        Share of each region that lies within the grid, where it came from another grid.
    absent : tuple of str
        Regions of the label table that the label volume does not hold.
    """

    grid: Grid
    rois: dict[str, Integers]
    files: tuple[Path, ...]
    ignore_place: bool = False
    doubt: str | None = None
    coverage: Mapping[str, float] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    @property
    def union(self) -> Integers:
        """Voxels that lie in any region, increasing."""
        return np.unique(np.concatenate(list(self.rois.values())))

    def notes(self) -> list[str]:
        """What the user should know: a change of grid, absent regions, shared voxels."""
        absent = f"regions of the label table that the atlas does not hold: {some_of(self.absent)}"
        return [
            *self._describe_resampling(),
            *([absent] if self.absent else []),
            *self._describe_overlaps(),
        ]

    def _describe_resampling(self) -> list[str]:
        if not self.coverage:
            return []
        least = min(self.coverage, key=self.coverage.__getitem__)
        share = self.coverage[least]
        said = "every region lies within it"
        if share < 1:
            said = f"at least {share:.0%} of each region lies within it ({least} the least)"
        if share < LOW_COVERAGE:
            said += ": check that both are of one space"
        return [
            f"{some_of([file.name for file in self.files], 2)} resampled by nearest neighbour to "
            f"the grid of the betas ({times(self.grid.shape)} voxels): " + said
        ]

    def _describe_overlaps(self) -> list[str]:
        if len(self.union) == sum(map(len, self.rois.values())):
            return []
        shared = []
        for (one, these), (other, those) in combinations(self.rois.items(), 2):
            n_shared = len(np.intersect1d(these, those, assume_unique=True))
            is_half = one.startswith(f"{other}-") or other.startswith(f"{one}-")
            if n_shared and not (is_half and n_shared == min(len(these), len(those))):
                shared.append(f"{one} and {other} ({n_shared} voxels)")
        return [f"regions that share voxels: {some_of(shared)}"] if shared else []


@dataclass(frozen=True)
class _Labels:
    """Labels of a volume in a grid, sorted so that the voxels of each are found at once."""

    file: Path
    order: Integers
    in_order: Integers
    doubt: str | None
    sizes: Mapping[int, int]
    n_inside: Mapping[int, int] | None

    def voxels(self, labels: Sequence[int]) -> Integers:
        """Flat indices of the voxels that have one of the labels, increasing."""
        starts = np.searchsorted(self.in_order, labels, side="left")
        ends = np.searchsorted(self.in_order, labels, side="right")
        parts = [self.order[start:end] for start, end in zip(starts, ends, strict=True)]
        return np.sort(np.concatenate(parts))

    def coverage(self, labels: Sequence[int]) -> float:
        """Share of the voxels, before resampling, that lie within the grid."""
        assert self.n_inside is not None
        size = sum(self.sizes[label] for label in labels)
        return sum(self.n_inside.get(label, 0) for label in labels) / size


def read_roi_voxels(
    atlas_file: Path | None,
    regions: Sequence[AnyRegion],
    ignore_place: bool = False,
    grid: Grid | None = None,
) -> RoiVoxels:
    """Find the voxels of the regions.

    Parameters
    ----------
    atlas_file : Path, optional
        Label volume, for regions that are no masks.
    regions : sequence of RoiDefinition or Region
    ignore_place : bool
        Take volumes whose place and orientation cannot be trusted.
    grid : Grid, optional
        That of the betas, to which volumes in another one are resampled by nearest neighbour; by
        default that of the label volume.

    Raises
    ------
    InputError
        If a file cannot be read, is not a volume of whole numbers, lacks a label, is of another
        space as its name says, or, unless ignored, its place cannot be trusted; or if a region
        is empty.
    """
    opened: dict[Path, _Labels] = {}
    voxels: dict[str, Integers] = {}
    coverage: dict[str, float] = {}
    absent: list[str] = []
    target = grid
    for region in regions:
        mask = region.mask if isinstance(region, Region) else None
        file = mask or atlas_file
        assert file is not None
        if file not in opened:
            opened[file], target = _read_labels(file, target, ignore_place)
        volume = opened[file]
        labels = _labels_of_mask(volume) if mask else _labels_there(region, volume)
        if not labels:
            absent.append(region.name)
            continue
        voxels[region.name] = volume.voxels(labels)
        if volume.n_inside is not None:
            coverage[region.name] = volume.coverage(labels)
        if not len(voxels[region.name]):
            assert target is not None
            raise InputError(
                f"region {region.name} of {file} holds no voxel in the grid of {target.file} "
                f"({coverage[region.name]:.0%} of it lies within that grid): leave the "
                "region out, or check that both are of one space"
            )
    if not voxels or target is None:
        raise InputError(
            f"{atlas_file} holds none of the labels of its table: give the table that belongs to it"
        )
    doubts = [volume.doubt for volume in opened.values() if volume.doubt]
    return RoiVoxels(
        target,
        voxels,
        tuple(opened),
        ignore_place,
        doubts[0] if doubts else None,
        coverage,
        tuple(absent),
    )


def notes_on_regions(found: Sequence[RoiVoxels]) -> list[str]:
    """Notes on the regions of all subjects, of which those with the lowest coverage are said."""
    least = min(found, key=lambda one: min(one.coverage.values(), default=1.0), default=None)
    return [] if least is None else least.notes()


def regions_by_subject(
    atlas: Path | None, regions: Sequence[AnyRegion], ignore_place: bool = False
) -> Callable[[str, Grid | None], RoiVoxels]:
    """Give what finds the regions of a subject: the same for all, or files for each.

    Parameters
    ----------
    atlas : Path, optional
        Label volume; `{subject}` in it, as in masks, stands for the subject's label without
        `sub-`.
    regions : sequence of RoiDefinition or Region
    ignore_place : bool
        Take volumes whose place and orientation cannot be trusted, with a note.

    Returns
    -------
    callable
        From a subject's label and the grid of its betas (None: that of the atlas) to `RoiVoxels`.

    Raises
    ------
    InputError
        As `read_roi_voxels`, once it is asked for, and on betas of subjects in several grids where
        a file serves all of them.
    """
    masks = [region.mask for region in regions if isinstance(region, Region) and region.mask]
    needs_atlas = len(masks) < len(regions)
    files = [*masks, *([atlas] if needs_atlas and atlas is not None else [])]
    shared = [file for file in files if SUBJECT_PLACE not in str(file)]
    found: dict[str, RoiVoxels] = {}

    def of_subject(subject: str, grid: Grid | None) -> RoiVoxels:
        if found and shared and grid is not None:
            first = next(iter(found.values())).grid
            if not first.is_same(grid):
                raise InputError(
                    f"{grid.file} lies on another grid than the betas of other subjects, "
                    f"{first.file}, so that {shared[0]} cannot fit both: bring all betas to one "
                    f"space, or give one file a subject, with {SUBJECT_PLACE} in its name"
                )
        key = "" if len(shared) == len(files) else subject
        if key not in found:
            own = [_of_subject(region, subject) for region in regions]
            file = atlas and Path(str(atlas).replace(SUBJECT_PLACE, subject))
            found[key] = read_roi_voxels(file, own, ignore_place, grid)
        return found[key]

    return of_subject


def _of_subject(region: AnyRegion, subject: str) -> AnyRegion:
    if not isinstance(region, Region) or region.mask is None:
        return region
    return Region(region.name, mask=Path(str(region.mask).replace(SUBJECT_PLACE, subject)))


def _read_labels(file: Path, grid: Grid | None, ignore_place: bool) -> tuple[_Labels, Grid]:
    """Labels of a volume in a grid, by default its own."""
    doubt = require_orientation(load_volume(file), file, ignore_place)
    labels, affine = read_labels(file)
    own = Grid(labels.shape, affine, file)
    sizes, n_inside = _counts(labels[labels != 0]), None
    if grid is not None:
        _require_same_space(file, grid.file)
    if grid is not None and not own.is_same(grid):
        to_grid = np.linalg.inv(grid.affine) @ affine
        places = np.argwhere(labels)
        at = apply_affine(to_grid, places)
        inside = ((at >= -0.5) & (at < np.array(grid.shape) - 0.5)).all(axis=1)
        n_inside = _counts(labels[labels != 0][inside])
        labels = _resample(labels, np.linalg.inv(affine) @ grid.affine, grid.shape)
    flat = labels.ravel()
    order = np.argsort(flat, kind="stable")
    return _Labels(file, order, flat[order], doubt, sizes, n_inside), own if grid is None else grid


def _resample(labels: Integers, to_labels: Floats, shape: tuple[int, ...]) -> Integers:
    """Labels at the voxels of another grid, each of the nearest voxel; 0 outside."""
    offset = to_labels[:3, 3] + TO_ONE_SIDE
    return ndimage.affine_transform(
        labels, to_labels[:3, :3], offset, output_shape=shape, order=0, mode="grid-constant"
    )


def _counts(values: Integers) -> dict[int, int]:
    labels, counts = np.unique(values, return_counts=True)
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


def _labels_there(region: AnyRegion, volume: _Labels) -> tuple[int, ...]:
    """Labels of a region; of those of which some suffice, those that the volume has."""
    there = tuple(label for label in region.labels if label in volume.sizes)
    absent = [label for label in region.labels if label not in volume.sizes]
    if isinstance(region, Region) and (region.is_optional or (region.some_suffice and there)):
        return there
    if absent:
        raise InputError(
            f"{volume.file} holds no voxel with label {absent[0]}, which region {region.name} "
            "needs: give the atlas that the region's labels belong to"
        )
    return region.labels


def _labels_of_mask(volume: _Labels) -> tuple[int, ...]:
    labels = sorted(volume.sizes)
    if len(labels) != 1:
        found = f"the labels {some_of(list(map(str, labels)))}" if labels else "only zeros"
        raise InputError(
            f"{volume.file} holds {found}: a mask has one number besides 0; give an atlas by "
            "--atlas"
        )
    return tuple(labels)


def _require_same_space(file: Path, betas: Path) -> None:
    spaces = [SPACE_NAME.search(path.name) for path in (file, betas)]
    if spaces[0] and spaces[1] and spaces[0][1] != spaces[1][1]:
        raise InputError(
            f"{file} is in the space {spaces[0][1]} but {betas} in {spaces[1][1]}, as their names "
            "say: give an atlas of that space"
        )
