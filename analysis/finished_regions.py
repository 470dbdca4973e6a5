"""The regions of a comparison that are finished; see `conceptrsa.analysis.kept_findings`."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from conceptrsa.analysis.brain.patterns import Subjects
from conceptrsa.analysis.inference.generalisation import CeilingEstimates, Generalisation
from conceptrsa.analysis.inference.population_inference import RegionInference
from conceptrsa.analysis.inference.random_effects import Estimates, Ratios
from conceptrsa.analysis.kept_findings import KeptFindings, hash_of
from conceptrsa.analysis.multiverse import MultiverseRow, RegionMultiverse
from conceptrsa.analysis.results import RoiResult
from conceptrsa.analysis.rsa.ceiling_sweep import CeilingSweep
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling
from conceptrsa.analysis.settings import is_own
from conceptrsa.analysis.single_region import Plan, RegionAnalysis, RegionFindings

_PARTS = (
    CeilingEstimates, CeilingSweep, Estimates, Generalisation, MultiverseRow, NoiseCeiling,
    Ratios, RegionAnalysis, RegionInference, RegionMultiverse, RoiResult,
)  # fmt: skip
"""Types of which findings consist."""


@dataclass(frozen=True)
class Part:
    """Some of the regions, in turn: of three parts, the first has the first, fourth, ... one.

    Attributes
    ----------
    number : int
        From 1 on.
    n_parts : int
    """

    number: int
    n_parts: int


@dataclass(frozen=True)
class FinishedRegions:
    """The regions of one comparison that are finished.

    They are known by all that their numbers depend on: patterns or RDMs, models and settings.

    Attributes
    ----------
    work_dir : Path
    subjects : sequence of SubjectPatterns or of SubjectRdms
    plan : Plan
    """

    work_dir: Path
    subjects: Subjects
    plan: Plan

    def load(self, roi: str) -> RegionFindings | None:
        """Give what was found in a region, or None."""
        found: RegionFindings | None = self._kept.load(lambda: self._name(roi))
        if found is None or found.primary.result.roi != roi:
            return None
        if roi not in self.plan.own:
            return found
        result = replace(found.primary.result, own=self.plan.own[roi])
        return replace(found, primary=replace(found.primary, result=result))

    def keep(self, roi: str, found: RegionFindings, seconds: float) -> None:
        """Keep what was found in a region, and took so long."""
        # Each subject's own stimuli are of the plan, and take more than all else.
        result = replace(found.primary.result, own=None)
        without_own = replace(found, primary=replace(found.primary, result=result))
        self._kept.keep(lambda: self._name(roi), without_own, seconds)

    def has(self, roi: str) -> bool:
        """Whether a region is kept."""
        return self._kept.has(lambda: self._name(roi))

    def count(self) -> int:
        """Number of regions that are kept."""
        return self._kept.count()

    def are_of_others(self) -> bool:
        """Whether only regions of comparisons with other data, settings or versions are kept."""
        return self._kept.are_of_others()

    @cached_property
    def _kept(self) -> KeptFindings:
        plan = self.plan
        known = {
            "settings": [repr(plan.settings), repr(plan.variants), repr(plan.sweep)],
            "multiverse": repr(plan.multiverse),
            "subjects": [(subject.label, subject.origin) for subject in self.subjects],
            "stimuli": plan.model_set.stimuli,
            "models": [plan.model_set.names, plan.model_set.groups, plan.model_set.hashes],
            "forms": plan.model_set.forms,
        }
        return KeptFindings(self.work_dir, RegionFindings, _PARTS, known)

    def _name(self, roi: str) -> str:
        of_plan = [self.plan.own.get(roi), self.plan.chosen.get(roi)]
        threshold_roi = self.plan.settings.threshold_roi
        data = self._hash_of_threshold_roi if roi == threshold_roi else self._hash_of(roi)
        return hash_of([roi, data, self._hash_of_threshold_roi, of_plan])

    @cached_property
    def _hash_of_threshold_roi(self) -> str:
        return self._hash_of(self.plan.settings.threshold_roi)

    def _hash_of(self, roi: str) -> str:
        """Of all subjects' patterns or RDMs, where there is such a region."""
        return hash_of([subject.rois.get(roi) for subject in self.subjects])


def can_be_kept(plan: Plan) -> bool:
    """Whether what is found depends on nothing but numbers, and on no function of the user's."""
    return not (is_own(plan.settings.rdm_metric) or is_own(plan.settings.rsa_metric))
