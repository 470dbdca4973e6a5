"""Every region computed: several side by side, those that are finished taken from the disk."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from conceptrsa.analysis.brain.patterns import Subjects
from conceptrsa.analysis.finished_regions import FinishedRegions
from conceptrsa.analysis.settings import is_own
from conceptrsa.analysis.single_region import Plan, RegionFindings, compute_region
from conceptrsa.bids_config.durations import time_left
from conceptrsa.bids_config.machine import calls_at_once, iterate_on_threads

SECONDS_BETWEEN_LINES = 10.0

Progress = Callable[[str], None]


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
        progress(f"going on from {n_kept} regions that are finished")
    in_turn = is_own(plan.settings.rsa_metric) or is_own(plan.settings.rdm_metric)
    n_bytes = plan.memory_of_a_region(len(subjects))
    pace = _Pace(len(rois), 1 if in_turn else calls_at_once(len(rois), n_bytes), progress)

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


@dataclass
class _Pace:
    """How fast regions are computed; tells it once in a while, and never of a short comparison."""

    n_regions: int
    at_once: int
    progress: Progress
    n_done: int = 0
    n_computed: int = 0
    seconds: float = 0.0
    told: float = field(default_factory=time.monotonic)

    def tell(self, seconds: float) -> None:
        """Count a region that took so long; none where it was found finished."""
        self.n_done += 1
        self.n_computed += seconds > 0
        self.seconds += seconds
        now = time.monotonic()
        if now - self.told < SECONDS_BETWEEN_LINES or self.n_done == self.n_regions:
            return
        self.told = now
        of_each = self.seconds / max(self.n_computed, 1)
        left = time_left(of_each * (self.n_regions - self.n_done) / self.at_once)
        self.progress(
            ", ".join(filter(None, [f"{self.n_done} of {self.n_regions} regions done", left]))
        )
