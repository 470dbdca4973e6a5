"""Where regions are in the brain, as far as subjects share a grid of voxels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.brain.patterns import SubjectPatterns, Subjects, VoxelGrid

SMOOTHING = 4.0
"""Full width at half maximum, mm, of what shares of the subjects are smoothed by."""

_FWHM = float(np.sqrt(8 * np.log(2)))
"""Of a normal distribution, in standard deviations."""


@dataclass(frozen=True)
class RegionMap:
    """The voxels of regions in a grid that all subjects share.

    Attributes
    ----------
    grid : VoxelGrid
    voxels : mapping of str to ndarray of int
        Flat (C order) indices of each region's voxels, increasing. Where these differ between
        subjects: those that most subjects share, as many as a subject has on average.
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
    for name in dict.fromkeys(name for one in patterns for name in one.rois):
        voxels[name] = _shared(
            [one.rois[name].voxels for one in patterns if name in one.rois], first
        )
    return RegionMap(first, {name: found for name, found in voxels.items() if len(found)})


def _shared(of_subjects: Sequence[Integers], grid: VoxelGrid) -> Integers:
    """Give as many voxels as a subject has on average, of the highest smoothed share of subjects.

    A threshold on the share alone would break a thin layer of cortex into pieces, and leave out a
    small region that lies a little elsewhere in each subject.
    """
    found, counts = np.unique(np.concatenate(of_subjects), return_counts=True)
    if (counts == len(of_subjects)).all():
        return found
    widths = SMOOTHING / _FWHM / np.linalg.norm(grid.affine[:3, :3], axis=0)
    places = np.stack(np.unravel_index(found, grid.shape))
    # Only the box around the region is smoothed.
    places -= places.min(axis=1, keepdims=True)
    shares = np.zeros(places.max(axis=1) + 1)
    shares[tuple(places)] = counts / len(of_subjects)
    smooth = ndimage.gaussian_filter(shares, widths, mode="constant")[tuple(places)]
    size = round(sum(map(len, of_subjects)) / len(of_subjects))
    return np.sort(found[np.argsort(-smooth, kind="stable")[:size]])


def labels_at(points: Floats, labels: Integers, grid: VoxelGrid) -> Integers:
    """Labels at points (..., 3) of the world, mm; 0 outside of the volume."""
    inverse = np.linalg.inv(grid.affine)
    places = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.intp)
    inside = ((places >= 0) & (places < grid.shape)).all(axis=-1)
    i, j, k = np.moveaxis(np.where(inside[..., None], places, 0), -1, 0)
    return np.where(inside, labels[i, j, k], 0)
