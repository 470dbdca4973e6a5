"""The comparison of brains with models, from patterns and features to what was found."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.brain.brain_rdms import (
    BrainRdms,
    brain_rdms,
    selection_scores,
    supplied_rdms,
)
from conceptrsa.analysis.brain.comparable import require_comparable
from conceptrsa.analysis.brain.folds import (
    fitted_to,
    folds_of,
    is_circular,
    is_possible,
)
from conceptrsa.analysis.brain.patterns import (
    SubjectPatterns,
    SubjectRdms,
    coverage_of,
    have_patterns,
    with_data_only,
)
from conceptrsa.analysis.brain.voxel_selection import rank_voxels
from conceptrsa.analysis.cautions import cautions
from conceptrsa.analysis.inference.findings import GroupTest, ModelTest, Score
from conceptrsa.analysis.inference.generalisation import ScoredRegion
from conceptrsa.analysis.inference.population_inference import infer_population
from conceptrsa.analysis.inference.tests_over_subjects import (
    compare_groups,
    compare_models_with_reference,
)
from conceptrsa.analysis.models.feature_files import Features, ModelRdm
from conceptrsa.analysis.models.model_set import ModelSet, gather_models, hash_model
from conceptrsa.analysis.multiverse import MultiverseRow, run_multiverse
from conceptrsa.analysis.results import (
    PRIMARY,
    Analysis,
    ComparisonResult,
    Model,
    RoiResult,
)
from conceptrsa.analysis.rsa.ceiling_sweep import CeilingSweep, mean_over_folds, sweep_ceiling
from conceptrsa.analysis.rsa.correlations import correlate_rdms
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling, ceiling_p_value, noise_ceiling
from conceptrsa.analysis.settings import MANY_STIMULI, ComparisonSettings, is_own
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import map_on_threads
from conceptrsa.bids_config.names import require_one_of

PAPER_REFERENCE = "ResNet50"

VARIANTS: dict[str, dict[str, Any]] = {
    "figure_4": {"voxel_selection": "threshold"},
    "figure_5": {"rdm_metric": "correlation", "rsa_metric": "spearman"},
    "figure_6": {"rdm_metric": "cosine", "rsa_metric": "spearman"},
    "figure_7": {"rdm_metric": "cosine", "rsa_metric": "pearson"},
}
"""What the figures of the paper's appendix change in the primary analysis."""

CIRCULAR_SWEEP = (
    "the voxels of Figure 1 are ordered by the betas that are then scored, which is circular"
)

Progress = Callable[[str], None]
Subjects = Sequence[SubjectPatterns] | Sequence[SubjectRdms]


def compare(
    subjects: Subjects,
    models: Sequence[Features | ModelRdm],
    settings: ComparisonSettings | None = None,
    progress: Progress = lambda step: None,
) -> ComparisonResult:
    """Compare the patterns of every subject and region with every model.

    Regions are computed side by side, each by one thread, so that the numbers do not depend on how
    many processors there are.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns or of SubjectRdms
        At least two subjects with the same stimuli and regions.
    models : sequence of Features or ModelRdm
        Each with every stimulus of the subjects; further stimuli are ignored.
    settings : ComparisonSettings, optional
        By default the preset 'recommended', as on the command line; where there are no betas of
        odd and even runs, with all voxels.
    progress : callable, optional
        Told of each step before it begins.

    Raises
    ------
    InputError
        On subjects that cannot be compared, a stimulus without features, a constant pattern,
        models of one name, a reference model that is not there, or data that lack what the
        settings need.
    """
    if have_patterns(subjects):
        subjects = [with_data_only(subject) for subject in subjects]
    require_comparable(subjects)
    notes: tuple[str, ...] = ()
    if settings is None:
        settings, notes = fitted_to(ComparisonSettings(), subjects)
    model_set = gather_models(
        models, subjects[0].stimuli, settings.groups, settings.reference_model
    )
    reference = _reference_model(model_set, settings.reference_model)
    with threadpool_limits(limits=1):
        progress("RDMs and their comparison")
        primary = _analyse(PRIMARY, subjects, model_set, settings)
        variants, lost = _variants(subjects, model_set, settings)
        sweeps: tuple[CeilingSweep, ...] = ()
        if have_patterns(subjects):
            progress("noise ceilings over the number of voxels (Figure 1)")
            sweeps = tuple(_sweep(roi, subjects, settings) for roi in subjects[0].rois)
        progress("inference")
        inference = None
        if settings.preset == "recommended":
            inference = infer_population(
                {roi.roi: ScoredRegion(roi.rdms, roi.rsa, roi.ceiling_p) for roi in primary.rois},
                model_set.rdms(settings.rdm_metric),
                model_set.names,
                model_set.groups,
                reference,
                settings,
            )
            model_tests, group_tests = inference.model_tests, inference.group_tests
        else:
            model_tests, group_tests = _tests_of_the_paper(primary, model_set, reference)
        multiverse: tuple[MultiverseRow, ...] = ()
        if settings.multiverse and have_patterns(subjects):
            progress("multiverse")
            multiverse, left_out = run_multiverse(subjects, model_set, settings)
            lost = (*lost, *left_out)
    labels = tuple(subject.label for subject in subjects)
    warnings = (
        *notes,
        *model_set.notes,
        *cautions(primary, labels, model_tests, group_tests),
        *(note for subject in subjects for note in subject.notes),
        *primary.notes,
        *(sweep.note for sweep in sweeps if sweep.note),
        *_note_on_sweeps(primary, sweeps),
        *lost,
        *_note_on_reference(reference, settings),
    )
    return ComparisonResult(
        subjects=labels,
        stimuli=model_set.stimuli,
        models=tuple(
            Model(
                model.model,
                model.group,
                model.note,
                hash_model(model),
                dict(model.origin),
                isinstance(model, ModelRdm),
            )
            for model in model_set.models
        ),
        reference_model=reference,
        model_rdms=model_set.rdms(settings.rdm_metric),
        primary=primary,
        variants=variants,
        sweeps=sweeps,
        model_tests=model_tests,
        group_tests=group_tests,
        inference=inference,
        multiverse=multiverse,
        coverage=coverage_of(subjects) if have_patterns(subjects) else (),
        warnings=tuple(dict.fromkeys(warnings)),
        sources=tuple(dict.fromkeys(file for subject in subjects for file in subject.sources)),
        estimation=dict(subjects[0].estimation) if have_patterns(subjects) else {},
    )


def _analyse(
    name: str, subjects: Subjects, model_set: ModelSet, settings: ComparisonSettings
) -> Analysis:
    """Score every model in every region."""
    brain = brain_rdms(subjects, settings) if have_patterns(subjects) else supplied_rdms(subjects)
    model_set.rdms(settings.rdm_metric)
    rois = map_on_threads(
        lambda roi: _score(roi, brain, model_set, settings),
        brain.rdms,
        in_turn=is_own(settings.rsa_metric),
    )
    return Analysis(name, settings, brain.folds, tuple(rois), brain.notes, brain.whitened)


def _score(
    roi: str, brain: BrainRdms, model_set: ModelSet, settings: ComparisonSettings
) -> RoiResult:
    rdms = brain.rdms[roi]
    n_folds, n_subjects, n_pairs = rdms.shape
    models = model_set.rdms(settings.rdm_metric)
    scores = correlate_rdms(rdms.reshape(-1, n_pairs), models, settings.rsa_metric)
    ceiling = noise_ceiling(rdms, settings.rsa_metric)
    generator = np.random.default_rng([settings.seed, zlib.crc32(roi.encode()), 1])
    return RoiResult(
        roi=roi,
        n_voxels=brain.n_voxels[roi],
        rdms=rdms,
        rsa=scores.reshape(n_folds, n_subjects, len(models)).mean(axis=0),
        ceiling=NoiseCeiling(*(bound.mean(axis=0) for bound in ceiling)),
        ceiling_p=ceiling_p_value(rdms, settings.rsa_metric, generator),
    )


def _tests_of_the_paper(
    primary: Analysis, model_set: ModelSet, reference: str
) -> tuple[tuple[ModelTest, ...], tuple[GroupTest, ...]]:
    """Wilcoxon's test of each model against the reference, Welch's t-test between groups."""
    model_tests: list[ModelTest] = []
    group_tests: list[GroupTest] = []
    scores: dict[Score, dict[str, Floats]] = {
        "rsa_normalised": {roi.roi: roi.rsa_normalised for roi in primary.rois},
        "rsa": {roi.roi: roi.rsa for roi in primary.rois},
    }
    for score, values in scores.items():
        model_tests += compare_models_with_reference(values, model_set.names, reference, score)
        group_tests += compare_groups(values, model_set.groups, score)
    return tuple(model_tests), tuple(group_tests)


def _variants(
    subjects: Subjects, model_set: ModelSet, settings: ComparisonSettings
) -> tuple[tuple[Analysis, ...], tuple[str, ...]]:
    """Figures 4 to 7, as far as the data allow, and notes on those that they do not."""
    variants: list[Analysis] = []
    lost: list[str] = []
    if settings.preset == "recommended" and len(model_set.stimuli) > MANY_STIMULI:
        return (), ("Figures 4 to 7 are left out, as they take long; --preset paper has them",)
    for name, changes in VARIANTS.items():
        varied = replace(settings, **changes)
        title = name.replace("_", " ").capitalize()
        if not have_patterns(subjects):
            if name == "figure_5":
                variants.append(_analyse(name, subjects, model_set, varied))
            continue
        if name == "figure_4" and settings.threshold_roi not in subjects[0].rois:
            lost.append(f"{title} is left out: there is no region {settings.threshold_roi}")
            continue
        try:
            variants.append(_analyse(name, subjects, model_set, varied))
        except InputError as error:
            lost.append(f"{title} is left out: {error}")
    return tuple(variants), tuple(lost)


def _sweep(
    roi: str, subjects: Sequence[SubjectPatterns], settings: ComparisonSettings
) -> CeilingSweep:
    """Sweep a region in every fold, voxels in the order that the runs chosen by put them in."""
    regions = [subject.rois[roi] for subject in subjects]
    ranked = replace(settings, voxel_selection="top-n")
    if not is_possible(ranked, subjects):
        ranked = replace(ranked, selection_data="same")
    sweeps = []
    for fold in folds_of(ranked):
        patterns = [region.betas_of(fold.score_on) for region in regions]
        orders = [
            rank_voxels(selection_scores(subject, roi, fold.select_on, settings))
            for subject in subjects
        ]
        sweeps.append(sweep_ceiling(roi, patterns, orders, settings))
    sweep = mean_over_folds(sweeps)
    return replace(sweep, circular=is_circular(ranked))


def _reference_model(model_set: ModelSet, wanted: str | None) -> str:
    names = model_set.names
    if wanted is not None:
        remedy = "choose the reference model (--reference-model) among"
        require_one_of(wanted, names, "the comparison has no model", remedy)
        return wanted
    if PAPER_REFERENCE in names:
        return PAPER_REFERENCE
    visual = [model.model for model in model_set.models if model.group == "visual"]
    return (visual or list(names))[0]


def _note_on_sweeps(primary: Analysis, sweeps: Sequence[CeilingSweep]) -> tuple[str, ...]:
    circular = any(sweep.circular for sweep in sweeps)
    return (CIRCULAR_SWEEP,) if circular and not primary.circular else ()


def _note_on_reference(reference: str, settings: ComparisonSettings) -> tuple[str, ...]:
    if settings.reference_model is not None or reference == PAPER_REFERENCE:
        return ()
    return (
        f"{PAPER_REFERENCE}, the paper's reference model, is not among the models: every other "
        f"model is tested against {reference}",
    )
