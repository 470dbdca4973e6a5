"""How much of each region has data, in every subject and in all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from analysis.patterns import SubjectPatterns

EVERY_SUBJECT = "all subjects"


@dataclass(frozen=True)
class RegionCoverage:
    """The voxels of one region in one subject, or those that all subjects share.

    Attributes
    ----------
    roi, subject : str
        The subject is 'all subjects' in the row of voxels that no subject lacks; there is such a
        row where the region is the same set of voxels in every subject.
    n_voxels : int
        Voxels of the region.
    n_without_betas : int
        Those that lack a beta: in this subject, or in any.
    share_without_betas : float
    """

    roi: str
    subject: str
    n_voxels: int
    n_without_betas: int
    share_without_betas: float


def coverage_of(subjects: Sequence[SubjectPatterns]) -> tuple[RegionCoverage, ...]:
    """Count the voxels without betas of every region.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns
    """
    rows = []
    for name in subjects[0].rois:
        regions = [subject.rois[name] for subject in subjects]
        sizes = [region.n_voxels + region.n_dropped for region in regions]
        for subject, region, size in zip(subjects, regions, sizes, strict=True):
            rows.append(_row(name, subject.label, size, region.n_dropped))
        seen = reduce(np.union1d, [region.voxels for region in regions])
        if len(set(sizes)) == 1 and len(seen) <= sizes[0]:
            shared = reduce(np.intersect1d, [region.voxels for region in regions])
            rows.append(_row(name, EVERY_SUBJECT, sizes[0], sizes[0] - len(shared)))
    return tuple(rows)


def _row(roi: str, subject: str, size: int, lacking: int) -> RegionCoverage:
    return RegionCoverage(roi, subject, size, lacking, lacking / size if size else 0.0)
