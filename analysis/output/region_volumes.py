"""Volumes beside the tables: where regions are, and the best model of each with its score.

They are for viewers, and to draw figures again.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from conceptrsa.analysis.arrays import Integers
from conceptrsa.analysis.brain.patterns import VoxelGrid
from conceptrsa.analysis.brain.region_map import RegionMap
from conceptrsa.analysis.output.leading_models import leading_models
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.bids_config import tsv
from conceptrsa.bids_config.image_spaces import family_of, space_of
from conceptrsa.bids_config.images import read_labels, save_image

KINDS = ("regions", "hemispheres")
"""Hemispheres lie in the whole regions, and so in a volume of their own."""

PATTERN = "space-*_desc-{kind}_dseg.nii.gz"
MODEL_PATTERN = "space-*_desc-bestmodel_dseg.nii.gz"
SCORE_PATTERN = "space-*_stat-rsa_desc-bestmodel_statmap.nii.gz"
NONE_RELATED, NO_SCORE = "no model found to be related", "no model has a score"


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
        _remove(group_dir, pattern)
        names = regions[kind]
        if region_map is not None and names:
            file = group_dir / pattern.replace("*", region_map.grid.space)
            _write_labels(file, region_map.labels(names), names, region_map.grid)


def write_best_model_volumes(
    result: ComparisonResult, regions: Sequence[str], group_dir: Path
) -> None:
    """Write the best model of each region as labels, and its score; NaN where there is none.

    Volumes of an earlier result are removed.

    Parameters
    ----------
    result : ComparisonResult
    regions : sequence of str
        That do not lie in one another.
    group_dir : Path
    """
    for pattern in (MODEL_PATTERN, SCORE_PATTERN):
        _remove(group_dir, pattern)
    region_map = result.region_map
    if region_map is None or not regions:
        return
    best = leading_models(result)
    none = NO_SCORE if result.inference is None else NONE_RELATED
    of_regions = [best[name].model if name in best else none for name in regions]
    names = [*dict.fromkeys(best[name].model for name in regions if name in best)]
    names += [none] if none in of_regions else []
    numbers = np.array([0, *(names.index(name) + 1 for name in of_regions)])
    scores = np.array([np.nan, *(best[name].rsa if name in best else np.nan for name in regions)])
    labels, grid = region_map.labels(regions), region_map.grid
    _write_labels(group_dir / MODEL_PATTERN.replace("*", grid.space), numbers[labels], names, grid)
    file = group_dir / SCORE_PATTERN.replace("*", grid.space)
    save_image(file, scores[labels].astype(np.float32), grid.affine)


def read_region_volumes(group_dir: Path) -> RegionMap | None:
    """Read what `write_region_volumes` wrote; None where there is nothing."""
    voxels = {}
    grid = None
    for kind in KINDS:
        for file in group_dir.glob(PATTERN.format(kind=kind)):
            labels, affine = read_labels(file)
            grid = VoxelGrid(labels.shape, affine, family_of(space_of(file, None) or ""))
            labels = labels.ravel()
            table = tsv.read_table(_table_of(file))
            for number, name in zip(table.column("index"), table.column("name"), strict=True):
                voxels[name] = np.flatnonzero(labels == int(number))
    return None if grid is None else RegionMap(grid, voxels)


def _write_labels(file: Path, labels: Integers, names: Sequence[str], grid: VoxelGrid) -> None:
    save_image(file, labels.astype(np.int16), grid.affine)
    table = pd.DataFrame({"index": range(1, len(names) + 1), "name": names})
    tsv.write_table(_table_of(file), table)


def _remove(group_dir: Path, pattern: str) -> None:
    for file in group_dir.glob(pattern):
        _table_of(file).unlink(missing_ok=True)
        file.unlink()


def _table_of(volume: Path) -> Path:
    return volume.with_name(f"{volume.name.removesuffix('.nii.gz')}.tsv")
