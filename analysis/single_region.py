"""All that is computed of one region, whatever the other regions hold."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.brain.brain_rdms import (
    ChosenVoxels,
    brain_rdms,
    selection_scores,
    supplied_rdms,
)
from conceptrsa.analysis.brain.folds import folds_of, is_circular
from conceptrsa.analysis.brain.patterns import SubjectPatterns, Subjects, have_patterns
from conceptrsa.analysis.brain.voxel_selection import rank_voxels
from conceptrsa.analysis.inference.generalisation import (
    OwnRegion,
    ScoredRegion,
    bytes_to_generalise,
)
from conceptrsa.analysis.inference.population_inference import RegionInference, infer_region
from conceptrsa.analysis.models.model_set import ModelSet
from conceptrsa.analysis.multiverse import Multiverse, RegionMultiverse, score_by_every_choice
from conceptrsa.analysis.results import RoiResult
from conceptrsa.analysis.rsa.ceiling_sweep import CeilingSweep, mean_over_folds, sweep_ceiling
from conceptrsa.analysis.rsa.correlations import correlate_rdms
from conceptrsa.analysis.rsa.noise_ceiling import (
    NoiseCeiling,
    ceiling_p_value,
    noise_ceiling,
    split_half_p_value,
)
from conceptrsa.analysis.settings import ComparisonSettings
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import end_if_stopped


@dataclass(frozen=True)
class Plan:
    """Plan of the computation, settled from all regions before any is computed.

    Attributes
    ----------
    model_set : ModelSet
    settings : ComparisonSettings
        Of the primary analysis.
    variants : mapping of str to ComparisonSettings
        Other analyses that the data allow, by name.
    sweep : ComparisonSettings or None
        How voxels are put in order for the sweep of noise ceilings; None where there are no voxels.
    multiverse : Multiverse or None
    permutations : ndarray of int, (permutations, stimuli), or None
        Of the stimuli's labels; None where nothing is inferred about populations.
    own : mapping of str to OwnRegion
        By region, where scores are of other stimuli than those that all regions' RDMs are of.
    chosen : mapping of str to ChosenVoxels
        By region, where voxels are chosen before.
    """

    model_set: ModelSet
    settings: ComparisonSettings
    variants: Mapping[str, ComparisonSettings]
    sweep: ComparisonSettings | None
    multiverse: Multiverse | None
    permutations: Integers | None
    own: Mapping[str, OwnRegion] = field(default_factory=dict)
    chosen: Mapping[str, ChosenVoxels] = field(default_factory=dict)

    @property
    def model_rdms(self) -> Floats:
        """RDMs of the models, (models, pairs), without pairs where subjects share no stimuli."""
        if not self.model_set.stimuli:
            return np.empty((len(self.model_set.models), 0))
        return self.model_set.rdms(self.settings.rdm_metric)

    def memory_of_a_region(self, n_subjects: int) -> int:
        """Roughly what computing a region takes of the memory, in bytes."""
        if self.permutations is None:
            return 0
        return bytes_to_generalise(n_subjects, self.model_rdms)


@dataclass(frozen=True)
class RegionAnalysis:
    """One region by one choice of voxels, distance and comparison, with notes on the way."""

    result: RoiResult
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegionFindings:
    """Findings in one region.

    Attributes
    ----------
    primary : RegionAnalysis
    variants : mapping of str to RegionAnalysis or str
        By name; a sentence where the region's data do not allow it.
    sweep : CeilingSweep or None
    inference : RegionInference or None
    multiverse : RegionMultiverse or None
    """

    primary: RegionAnalysis
    variants: Mapping[str, RegionAnalysis | str]
    sweep: CeilingSweep | None
    inference: RegionInference | None
    multiverse: RegionMultiverse | None


def compute_region(roi: str, subjects: Subjects, plan: Plan) -> RegionFindings:
    """Compute all of a plan in one region.

    Raises
    ------
    InputError
        Where the primary analysis cannot be made.
    """
    primary = (
        _analyse_apart(roi, plan)
        if roi in plan.own and plan.own[roi].single
        else _analyse(roi, subjects, plan.model_set, plan.settings, plan.chosen.get(roi))
    )
    if roi in plan.own:
        own = plan.own[roi]
        common = None if own.single else primary.result.rsa
        result = replace(primary.result, rsa=own.scores.rsa, own=own, rsa_common=common)
        primary = replace(primary, result=result)
    variants = {
        name: _analyse_if_possible(roi, subjects, plan.model_set, varied)
        for name, varied in plan.variants.items()
    }
    sweep = inference = multiverse = None
    if have_patterns(subjects):
        if plan.sweep is not None:
            sweep = _sweep(roi, subjects, plan.sweep)
        if plan.multiverse is not None:
            multiverse = score_by_every_choice(roi, subjects, plan.model_set, plan.multiverse)
    if plan.permutations is not None or roi in plan.own:
        inference = infer_region(
            scored(primary.result),
            plan.model_rdms,
            plan.model_set.groups,
            plan.settings.rsa_metric,
            plan.permutations,
        )
    return RegionFindings(primary, variants, sweep, inference, multiverse)


def scored(roi: RoiResult) -> ScoredRegion:
    """Input of the inference."""
    return ScoredRegion(roi.rdms, roi.rsa, roi.ceiling_p, roi.own)


def _analyse_if_possible(
    roi: str, subjects: Subjects, model_set: ModelSet, settings: ComparisonSettings
) -> RegionAnalysis | str:
    try:
        return _analyse(roi, subjects, model_set, settings)
    except InputError as error:
        return str(error)


def _analyse_apart(roi: str, plan: Plan) -> RegionAnalysis:
    """Take each subject's scores, and ceilings of its own."""
    own, settings = plan.own[roi], plan.settings
    n_subjects = len(own.scores.rsa)
    unknown = np.full(n_subjects, np.nan)
    halves = [one.halves for one in own.single if one.halves is not None]
    generator = np.random.default_rng([settings.seed, zlib.crc32(roi.encode()), 1])
    n_folds = len(own.single[0].brain)
    chosen = plan.chosen.get(roi)
    result = RoiResult(
        roi=roi,
        n_voxels=np.zeros((n_folds, n_subjects), dtype=np.intp)
        if chosen is None
        else chosen.n_voxels,
        rdms=np.empty((n_folds, n_subjects, 0)),
        rsa=own.scores.rsa,
        ceiling=NoiseCeiling(unknown if own.ceilings is None else own.ceilings, unknown, unknown),
        ceiling_p=split_half_p_value(halves, settings.rsa_metric, generator) if halves else np.nan,
        ceiling_from="halves",
    )
    return RegionAnalysis(result, () if chosen is None else chosen.notes)


def _analyse(
    roi: str,
    subjects: Subjects,
    model_set: ModelSet,
    settings: ComparisonSettings,
    chosen: ChosenVoxels | None = None,
) -> RegionAnalysis:
    """Score every model."""
    end_if_stopped()
    brain = (
        brain_rdms(roi, subjects, settings, chosen)
        if have_patterns(subjects)
        else supplied_rdms(roi, subjects)
    )
    n_folds, n_subjects, n_pairs = brain.rdms.shape
    models = model_set.rdms(settings.rdm_metric)
    scores = correlate_rdms(brain.rdms.reshape(-1, n_pairs), models, settings.rsa_metric)
    ceiling = noise_ceiling(brain.rdms, settings.rsa_metric)
    generator = np.random.default_rng([settings.seed, zlib.crc32(roi.encode()), 1])
    result = RoiResult(
        roi=roi,
        n_voxels=brain.n_voxels,
        rdms=brain.rdms,
        rsa=scores.reshape(n_folds, n_subjects, len(models)).mean(axis=0),
        ceiling=NoiseCeiling(*(bound.mean(axis=0) for bound in ceiling)),
        ceiling_p=ceiling_p_value(brain.rdms, settings.rsa_metric, generator),
    )
    return RegionAnalysis(result, brain.notes)


def _sweep(
    roi: str, subjects: Sequence[SubjectPatterns], settings: ComparisonSettings
) -> CeilingSweep:
    """Sweep every fold, voxels in the order that the runs chosen by put them in."""
    regions = [subject.rois[roi] for subject in subjects]
    sweeps = []
    for fold in folds_of(settings):
        patterns = [region.betas_of(fold.score_on) for region in regions]
        orders = [
            rank_voxels(selection_scores(subject, roi, fold.select_on, settings))
            for subject in subjects
        ]
        sweeps.append(sweep_ceiling(roi, patterns, orders, settings))
    return replace(mean_over_folds(sweeps), circular=is_circular(settings))
