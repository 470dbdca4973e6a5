"""Where regions are, as label volumes beside the tables: for viewers, and to draw figures again."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from conceptrsa.analysis.brain.patterns import VoxelGrid
from conceptrsa.analysis.brain.region_map import RegionMap
from conceptrsa.bids_config import tsv
from conceptrsa.bids_config.image_spaces import family_of, space_of
from conceptrsa.bids_config.images import save_image

KINDS = ("regions", "hemispheres")
"""Hemispheres lie in the whole regions, and so in a volume of their own."""

PATTERN = "space-*_desc-{kind}_dseg.nii.gz"


def write_region_volumes(
    region_map: RegionMap | None, regions: Mapping[str, Sequence[str]], group_dir: Path
) -> None:
    """Write label volumes and tables of their labels; remove those of an earlier result.

    Parameters
    ----------
    region_map : RegionMap or None
    regions : mapping of str to sequence of str
        Names of the regions of each kind.
    group_dir : Path
    """
    for kind in KINDS:
        pattern = PATTERN.format(kind=kind)
        for file in group_dir.glob(pattern):
            _table_of(file).unlink(missing_ok=True)
            file.unlink()
        names = regions[kind]
        if region_map is None or not names:
            continue
        file = group_dir / pattern.replace("*", region_map.grid.space)
        save_image(file, region_map.labels(names).astype(np.int16), region_map.grid.affine)
        labels = pd.DataFrame({"index": range(1, len(names) + 1), "name": names})
        tsv.write_table(_table_of(file), labels)


def read_region_volumes(group_dir: Path) -> RegionMap | None:
    """Read what `write_region_volumes` wrote; None where there is nothing."""
    voxels = {}
    grid = None
    for kind in KINDS:
        for file in group_dir.glob(PATTERN.format(kind=kind)):
            image = nib.load(file)
            space = space_of(file, image.header) or ""
            grid = VoxelGrid(tuple(image.shape), np.asarray(image.affine), family_of(space))
            labels = np.asarray(image.dataobj).ravel()
            table = tsv.read_table(_table_of(file))
            for number, name in zip(table.column("index"), table.column("name"), strict=True):
                voxels[name] = np.flatnonzero(labels == int(number))
    return None if grid is None else RegionMap(grid, voxels)


def _table_of(volume: Path) -> Path:
    return volume.with_name(f"{volume.name.removesuffix('.nii.gz')}.tsv")
