"""Where regions are in the brain, as far as subjects share a grid of voxels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.brain.patterns import SubjectPatterns, Subjects, VoxelGrid


@dataclass(frozen=True)
class RegionMap:
    """The voxels of regions in a grid that all subjects share.

    Attributes
    ----------
    grid : VoxelGrid
    voxels : mapping of str to ndarray of int
        Flat (C order) indices of each region's voxels, increasing: those that are the region's in
        at least half of the subjects.
    """

    grid: VoxelGrid
    voxels: Mapping[str, Integers]

    def labels(self, regions: Sequence[str]) -> Integers:
        """Label volume: 0, or 1 and so on in the order of the regions; smaller ones on top."""
        labels = np.zeros(int(np.prod(self.grid.shape)), dtype=np.intp)
        numbered = [
            (self.voxels[name], number) for number, name in enumerate(regions, 1)
            if name in self.voxels
        ]  # fmt: skip
        for voxels, number in sorted(numbered, key=lambda one: -len(one[0])):
            labels[voxels] = number
        return labels.reshape(self.grid.shape)


def region_map(subjects: Subjects) -> RegionMap | None:
    """Find where regions are; None where betas lie in no grid that all subjects share.

    Subjects that lie in a grid of the same shape and place, but in a space of their own, each one's
    native one, are taken to share none.
    """
    patterns = [one for one in subjects if isinstance(one, SubjectPatterns)]
    grids = [one.grid for one in patterns]
    first = grids[0] if grids else None
    if first is None or len(patterns) < len(subjects):
        return None
    if not all(grid is not None and grid.is_same(first) for grid in grids):
        return None
    voxels = {}
    for name in patterns[0].rois:
        seen = np.concatenate([one.rois[name].voxels for one in patterns if name in one.rois])
        found, counts = np.unique(seen, return_counts=True)
        voxels[name] = found[2 * counts >= len(patterns)]
    return RegionMap(first, {name: found for name, found in voxels.items() if len(found)})


def labels_at(points: Floats, labels: Integers, grid: VoxelGrid) -> Integers:
    """Labels at points (..., 3) of the world, mm; 0 outside of the volume."""
    inverse = np.linalg.inv(grid.affine)
    places = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.intp)
    inside = ((places >= 0) & (places < grid.shape)).all(axis=-1)
    i, j, k = np.moveaxis(np.where(inside[..., None], places, 0), -1, 0)
    return np.where(inside, labels[i, j, k], 0)
