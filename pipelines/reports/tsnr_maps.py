"""Temporal signal-to-noise ratios of a subject's runs, one map in memory at a time."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conceptrsa.pipelines.reports.heads import Heads, Volume
from conceptrsa.pipelines.reports.subject_records import RunRecord, SubjectRecord

BRIGHTEST = 99.0  # percentile of the mean map that has the last colour


@dataclass(frozen=True)
class TsnrSummary:
    """What the maps come to.

    Attributes
    ----------
    medians : tuple of float or None
        In the brain mask, of each run; None where a run has no map.
    mean : array or None
        Mean over the runs that have a map.
    regions : mapping of str to float
        Median of the mean over a region's voxels in the brain mask.
    highest : float
        Value that all pictures draw in the last colour.
    """

    medians: tuple[float | None, ...]
    mean: NDArray[np.float32] | None
    regions: Mapping[str, float]
    highest: float


def read_tsnr(run: RunRecord) -> NDArray[np.float32] | None:
    """Map of a run; None where there is none."""
    return None if run.tsnr_file is None else Volume.read(run.tsnr_file).data


def summarize_tsnr(record: SubjectRecord, heads: Heads) -> TsnrSummary:
    """Medians of the runs and the regions, and the mean map.

    Raises
    ------
    ValueError
        If the brain mask is empty or a map lies on another grid.
    """
    total = np.zeros(heads.mask.shape, dtype=np.float64)
    medians: list[float | None] = []
    for run in record.runs:
        values = read_tsnr(run)
        if values is None:
            medians.append(None)
            continue
        if values.shape != heads.mask.shape:
            raise ValueError(f"{run.tsnr_file} does not lie on the grid of the brain mask")
        medians.append(float(np.median(values[heads.mask])))
        total += values
    n_maps = sum(median is not None for median in medians)
    if n_maps == 0:
        return TsnrSummary(tuple(medians), None, {}, 1.0)
    mean = (total / n_maps).astype(np.float32)
    regions = {}
    for region in record.regions:
        inside = heads.mask & heads.region(region)
        if inside.any():
            regions[region.name] = float(np.median(mean[inside]))
    highest = max(1.0, float(np.percentile(mean[heads.mask], BRIGHTEST)))
    return TsnrSummary(tuple(medians), mean, regions, highest)
