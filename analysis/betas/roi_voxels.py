"""The voxels of regions in the grid of the betas, from label volumes and masks in any grid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy import sparse

from conceptrsa.analysis.arrays import Integers
from conceptrsa.analysis.betas.atlas_volumes import (
    AtlasReading,
    AtlasVolume,
    read_atlas,
    read_mask,
)
from conceptrsa.analysis.betas.volumes import Grid
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import times
from conceptrsa.bids_config.names import SUBJECT_PLACE, some_of
from conceptrsa.bids_config.region_choice import AnyRegion, Region

LOW_COVERAGE = 0.5


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
    are_maps : bool
        Whether regions came from maps of probabilities, which are interpolated.
    on_atlas : tuple of str
        Notes on the label volume, maps and masks.
    """

    grid: Grid
    rois: dict[str, Integers]
    files: tuple[Path, ...]
    ignore_place: bool = False
    doubt: str | None = None
    coverage: Mapping[str, float] = field(default_factory=dict)
    are_maps: bool = False
    on_atlas: tuple[str, ...] = ()

    @property
    def union(self) -> Integers:
        """Voxels that lie in any region, increasing."""
        return np.unique(np.concatenate(list(self.rois.values())))

    def notes(self) -> list[str]:
        """Notes for the user: resampling, absent regions, shared voxels."""
        return [*self.on_atlas, *self._describe_resampling(), *self._describe_overlaps()]

    def _describe_resampling(self) -> list[str]:
        if not self.coverage:
            return []
        least = min(self.coverage, key=self.coverage.__getitem__)
        share = self.coverage[least]
        said = "every region lies within it"
        if share < 1:
            said = f"at least {share:.0%} of each region lies within it ({least} the least)"
        if share < LOW_COVERAGE:
            said += ": check that both are in the same space"
        return [
            f"{some_of([file.name for file in self.files], 2)} resampled by "
            f"{'linear interpolation' if self.are_maps else 'nearest neighbour'} to the grid of "
            f"the betas ({times(self.grid.shape)} voxels): " + said
        ]

    def _describe_overlaps(self) -> list[str]:
        if len(self.union) == sum(map(len, self.rois.values())):
            return []
        names = list(self.rois)
        rows = np.repeat(np.arange(len(names)), list(map(len, self.rois.values())))
        columns = np.searchsorted(self.union, np.concatenate(list(self.rois.values())))
        members = sparse.csr_array((np.ones(len(rows), dtype=np.int64), (rows, columns)))
        pairs = sparse.triu(members @ members.T, k=1).tocoo()
        shared = []
        for first, second, n_shared in sorted(zip(pairs.row, pairs.col, pairs.data, strict=True)):
            one, other = names[first], names[second]
            is_half = one.startswith(f"{other}-") or other.startswith(f"{one}-")
            if not (is_half and n_shared == min(len(self.rois[one]), len(self.rois[other]))):
                shared.append(f"{one} and {other} ({n_shared} voxels)")
        return [f"regions that share voxels: {some_of(shared)}"] if shared else []


def read_roi_voxels(
    atlas_file: Path | None,
    regions: Sequence[AnyRegion],
    grid: Grid | None = None,
    reading: AtlasReading | None = None,
) -> RoiVoxels:
    """Find the voxels of the regions.

    Parameters
    ----------
    atlas_file : Path, optional
        Label volume, or maps of probabilities, for regions that are no masks.
    regions : sequence of RoiDefinition or Region
    grid : Grid, optional
        That of the betas, to which volumes in another one are resampled, labels by nearest
        neighbour; by default that of the atlas.
    reading : AtlasReading, optional

    Raises
    ------
    InputError
        If a file cannot be read, is no atlas, lacks a label, is of another space, or, unless
        ignored, its place cannot be trusted; or if a region that was asked for is empty.
    """
    reading = reading or AtlasReading()
    masks: dict[Path, tuple[AtlasVolume, tuple[int, ...]]] = {}
    atlas: AtlasVolume | None = None
    voxels: dict[str, Integers] = {}
    coverage: dict[str, float] = {}
    outside: list[str] = []
    target = grid
    of_atlas = [label for region in regions for label in region.labels]
    for region in regions:
        mask = region.mask if isinstance(region, Region) else None
        if mask is not None:
            if mask not in masks:
                volume, target, labels = read_mask(mask, target, reading)
                masks[mask] = volume, labels
            volume, labels = masks[mask]
        else:
            if atlas is None:
                assert atlas_file is not None
                atlas, target = read_atlas(atlas_file, of_atlas, target, reading)
            volume, labels = atlas, _labels_there(region, atlas)
        if not labels:
            continue
        of_region = volume.voxels(labels)
        if volume.n_inside is not None:
            coverage[region.name] = volume.coverage(labels)
        if len(of_region):
            voxels[region.name] = of_region
            continue
        if not isinstance(region, Region) or not region.is_optional:
            assert target is not None
            raise InputError(
                f"region {region.name} of {volume.file} holds no voxel in the grid of "
                f"{target.file} ({coverage.get(region.name, 1):.0%} of it lies within that grid): "
                "leave the region out, or check that both are in the same space"
            )
        outside.append(region.name)
    volumes = [*([] if atlas is None else [atlas]), *(volume for volume, _ in masks.values())]
    if not voxels and outside:
        raise InputError(
            f"no region of {atlas_file} holds a voxel in the grid of {target and target.file}: "
            "check that both are in the same space"
        )
    if not voxels or target is None:
        raise InputError(
            f"{atlas_file} holds none of the labels of its table: give the table that belongs to it"
        )
    doubts = [volume.doubt for volume in volumes if volume.doubt]
    notes = [note for volume in volumes for note in volume.notes]
    if atlas is not None:
        notes += _notes_on_labels(regions, atlas)
    if outside:
        notes.append(
            f"regions left out, because they have no voxel in the grid: {some_of(outside)}"
        )
    return RoiVoxels(
        grid=target,
        rois=voxels,
        files=tuple(volume.file for volume in volumes),
        ignore_place=reading.ignore_place,
        doubt=doubts[0] if doubts else None,
        coverage={name: coverage[name] for name in voxels if name in coverage},
        are_maps=all(volume.highest for volume in volumes),
        on_atlas=tuple(dict.fromkeys(notes)),
    )


def _labels_there(region: AnyRegion, atlas: AtlasVolume) -> tuple[int, ...]:
    """Labels of a region that the atlas holds; of an optional one there may be none.

    Raises
    ------
    InputError
        If nothing is there of one of the numbers, names or patterns that make it up.
    """
    there = tuple(label for label in region.labels if label in atlas.sizes)
    if isinstance(region, Region) and region.is_optional:
        return there
    parts = region.parts if isinstance(region, Region) else [(label,) for label in region.labels]
    for part in parts:
        if not any(label in atlas.sizes for label in part):
            raise InputError(_describe_absence(part[0], region.name, atlas))
    return there


def _describe_absence(label: int, region: str, atlas: AtlasVolume) -> str:
    if label in atlas.highest:
        return (
            f"map {label} of {atlas.file}, which region {region} needs, is nowhere above "
            f"{atlas.highest[label]:.2g}: lower --atlas-threshold, or leave the region out"
        )
    return (
        f"{atlas.file} has no voxel with label {label}, which region {region} needs: give the "
        "atlas that defines these labels"
    )


def _notes_on_labels(regions: Sequence[AnyRegion], atlas: AtlasVolume) -> list[str]:
    """Note where the label table and the atlas do not match."""
    optional = [one for one in regions if isinstance(one, Region) and one.is_optional]
    absent = [one.name for one in optional if not any(label in atlas.sizes for label in one.labels)]
    notes = []
    if absent:
        what = "regions of the label table that the atlas lacks"
        notes.append(f"{what}: {some_of(absent)}")
    partial = {
        one.name: (sum(label in atlas.sizes for label in one.labels), len(one.labels))
        for one in regions
        if isinstance(one, Region) and not one.mask and one not in optional
    }
    few = [f"{name} ({n} of {n_all})" for name, (n, n_all) in partial.items() if n < n_all]
    if few:
        what = "regions with only some of their labels in the atlas"
        notes.append(f"{what}: {some_of(few)}")
    if optional and all(region.chosen == "as all" for region in optional):
        named = {label for region in regions for label in region.labels}
        unnamed = [str(label) for label in sorted(atlas.sizes) if label not in named]
        if unnamed:
            notes.append(
                f"labels of {atlas.file.name} that belong to no region, because its label table "
                f"does not name them: {some_of(unnamed)}"
            )
    return notes


def notes_on_regions(found: Sequence[RoiVoxels]) -> list[str]:
    """Notes on the regions of all subjects, of which those with the lowest coverage are said."""
    least = min(found, key=lambda one: min(one.coverage.values(), default=1.0), default=None)
    return [] if least is None else least.notes()


def regions_by_subject(
    atlas: Path | None, regions: Sequence[AnyRegion], reading: AtlasReading
) -> Callable[[str, Grid | None], RoiVoxels]:
    """Give what finds the regions of a subject: the same for all, or files for each.

    Parameters
    ----------
    atlas : Path, optional
        Label volume; `{subject}` in it, as in masks, stands for the subject's label without
        `sub-`.
    regions : sequence of RoiDefinition or Region
    reading : AtlasReading

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
            if not first.is_same(grid) or first.space != grid.space:
                what = "on another grid" if first.space == grid.space else "in another space"
                raise InputError(
                    f"{grid.file} lies {what} than the betas of other subjects ({first.file}), so "
                    f"{shared[0]} cannot fit both: bring all betas to one space, or give one file "
                    f"per subject, with {SUBJECT_PLACE} in its name"
                )
        key = "" if len(shared) == len(files) else subject
        if key not in found:
            own = [_of_subject(region, subject) for region in regions]
            file = atlas and Path(str(atlas).replace(SUBJECT_PLACE, subject))
            found[key] = read_roi_voxels(file, own, grid, reading)
        return found[key]

    return of_subject


def _of_subject(region: AnyRegion, subject: str) -> AnyRegion:
    if not isinstance(region, Region) or region.mask is None:
        return region
    return Region(region.name, mask=Path(str(region.mask).replace(SUBJECT_PLACE, subject)))
