"""Every region computed: several side by side, those that are finished taken from the disk."""

import math
import time
from collections.abc import Sequence
from contextlib import closing

from conceptrsa.analysis.brain.patterns import Subjects
from conceptrsa.analysis.finished_regions import FinishedRegions
from conceptrsa.analysis.pace import Pace, Progress
from conceptrsa.analysis.settings import is_own
from conceptrsa.analysis.single_region import Plan, RegionFindings, compute_region
from conceptrsa.bids_config.machine import calls_at_once, iterate_on_threads
from conceptrsa.bids_config.names import warn_once


def compute_regions(
    rois: Sequence[str],
    subjects: Subjects,
    plan: Plan,
    finished: FinishedRegions | None,
    progress: Progress,
    keep_all: bool = False,
) -> list[RegionFindings]:
    """Compute all of a plan in every region.

    Parameters
    ----------
    rois : sequence of str
    subjects : sequence of SubjectPatterns or of SubjectRdms
    plan : Plan
    finished : FinishedRegions, optional
        Where regions are kept, and found again.
    progress : callable
        Told from time to time how many regions are done, and about how much time is left.
    keep_all : bool
        Keep also what is computed quickly.

    Raises
    ------
    InputError
        Where the primary analysis of a region cannot be made; of several, for the first.
    """
    if finished is not None and (n_kept := finished.count()):
        progress(f"continuing from {n_kept} finished regions")
    elif finished is not None and finished.are_of_others():
        warn_once(
            f"{finished.work_dir} keeps regions finished with other data, paths, settings or "
            "versions: this comparison starts from the first region"
        )
    in_turn = is_own(plan.settings.rsa_metric) or is_own(plan.settings.rdm_metric)
    n_bytes = plan.memory_of_a_region(len(subjects))
    pace = Pace("regions", len(rois), 1 if in_turn else calls_at_once(len(rois), n_bytes), progress)

    def compute(roi: str) -> tuple[RegionFindings, float]:
        known = None if finished is None else finished.load(roi)
        if known is not None:
            return known, 0.0
        begun = time.monotonic()
        found = compute_region(roi, subjects, plan)
        took = time.monotonic() - begun
        if finished is not None:
            finished.keep(roi, found, math.inf if keep_all else took)
        return found, took

    regions = []
    with closing(iterate_on_threads(compute, rois, n_bytes, in_turn)) as all_found:
        for found, seconds in all_found:
            regions.append(found)
            pace.tell(seconds)
    return regions
