"""The comparison of brains with models, from patterns and features to what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from conceptrsa.analysis.all_regions import compute_regions
from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.brain.brain_rdms import (
    ChosenVoxels,
    are_whitened,
    choose_voxels,
    notes_on_noise,
    require_data,
)
from conceptrsa.analysis.brain.comparable import require_comparable
from conceptrsa.analysis.brain.folds import Fold, fitted_to, folds_of, is_possible
from conceptrsa.analysis.brain.patterns import Subjects, coverage_of, have_patterns, with_data_only
from conceptrsa.analysis.brain.region_map import region_map
from conceptrsa.analysis.brain.stimulus_sets import (
    ENOUGH,
    StimulusSets,
    on_stimuli,
    stimulus_sets,
    with_stimuli,
)
from conceptrsa.analysis.cautions import cautions
from conceptrsa.analysis.finished_regions import FinishedRegions, Part, can_be_kept
from conceptrsa.analysis.inference.findings import GroupTest, ModelTest, Score
from conceptrsa.analysis.inference.own_permutations import MANY_STIMULI as FEW_STIMULI
from conceptrsa.analysis.inference.population_inference import infer_population, label_permutations
from conceptrsa.analysis.inference.tests_over_subjects import (
    compare_groups,
    compare_models_with_reference,
)
from conceptrsa.analysis.models.feature_files import Features, ModelRdm
from conceptrsa.analysis.models.model_set import ModelSet, gather_models
from conceptrsa.analysis.multiverse import MultiverseRow, join_regions, settle_multiverse
from conceptrsa.analysis.own_scores import OwnStudy, score_own_stimuli
from conceptrsa.analysis.pace import Progress
from conceptrsa.analysis.results import PRIMARY, Analysis, ComparisonResult, Model
from conceptrsa.analysis.rsa.ceiling_sweep import (
    CeilingSweep,
    note_on_sweep,
    sweep_of_many_regions,
)
from conceptrsa.analysis.settings import MANY_REGIONS, ComparisonSettings, is_product
from conceptrsa.analysis.single_region import (
    Plan,
    RegionAnalysis,
    RegionFindings,
    scored,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import limited_to, map_on_threads, share_for
from conceptrsa.bids_config.names import require_one_of

PAPER_REFERENCE = "ResNet50"

VARIANTS: dict[str, dict[str, Any]] = {
    "figure_4": {"voxel_selection": "threshold"},
    "figure_5": {"rdm_metric": "correlation", "rsa_metric": "spearman"},
    "figure_6": {"rdm_metric": "cosine", "rsa_metric": "spearman"},
    "figure_7": {"rdm_metric": "cosine", "rsa_metric": "pearson"},
}
"""Changes to the primary analysis in the figures of the paper's appendix."""

CIRCULAR_SWEEP = (
    "the sweep over the number of voxels ranks voxels by the same betas that are scored, which is "
    "circular"
)


def compare(
    subjects: Subjects,
    models: Sequence[Features | ModelRdm],
    settings: ComparisonSettings | None = None,
    progress: Progress = lambda step: None,
    n_jobs: int | None = None,
    work_dir: Path | None = None,
) -> ComparisonResult:
    """Compare the patterns of every subject and region with every model.

    Regions are computed side by side, each by one thread, so that the numbers do not depend on how
    many processors there are.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns or of SubjectRdms
        One or more, with the same regions.
    models : sequence of Features or ModelRdm
        Each with every stimulus of the subjects; further stimuli are ignored.
    settings : ComparisonSettings, optional
        By default the preset 'recommended', as on the command line; where there are no betas of
        odd and even runs, with all voxels.
    progress : callable, optional
        Told of each step before it begins, and of long ones how much is done.
    n_jobs : int, optional
        How many processors are used; by default all that this process may, as with -1. The
        numbers do not depend on it.
    work_dir : Path, optional
        Regions that are finished are kept there, so that the comparison, if it is interrupted,
        goes on from them when it is made again. `remove_finished` removes them.

    Raises
    ------
    InputError
        On subjects that cannot be compared, a stimulus without features, a constant pattern,
        models of one name, a reference model that is not there, or data that lack what the
        settings need.
    """
    notes: tuple[str, ...] = ()
    if settings is None:
        settings, notes = fitted_to(ComparisonSettings(), subjects)
    subjects, sets, all_models = _gather(subjects, models, settings)
    model_set = all_models.of_stimuli(sets.common)
    reference = _reference_model(model_set, settings.reference_model)
    with threadpool_limits(limits=1), limited_to(share_for(n_jobs)):
        subjects, plan, lost, study = _settle(
            subjects, sets, all_models, settings, progress, work_dir
        )
        progress("RDMs and their comparison, region by region")
        finished = None
        if work_dir is not None and can_be_kept(plan):
            finished = FinishedRegions(work_dir, subjects, plan)
        found = compute_regions(tuple(subjects[0].rois), subjects, plan, finished, progress)
        primary = _join(PRIMARY, [region.primary for region in found], subjects, settings)
        variants, lost = _join_variants(found, subjects, plan, lost)
        sweeps = tuple(region.sweep for region in found if region.sweep is not None)
        progress("inference")
        inference = None
        if settings.preset == "recommended":
            inference = infer_population(
                {roi.roi: scored(roi) for roi in primary.rois},
                {region.primary.result.roi: region.inference for region in found},
                plan.model_rdms,
                model_set.names,
                model_set.groups,
                reference,
                settings,
                () if study is None else study.subjects,
            )
            model_tests, group_tests = inference.model_tests, inference.group_tests
        else:
            model_tests, group_tests = _tests_of_the_paper(primary, model_set, reference)
    multiverse: tuple[MultiverseRow, ...] = ()
    left_out: tuple[str, ...] = ()
    if plan.multiverse is not None:
        of_regions = [region.multiverse for region in found if region.multiverse is not None]
        multiverse, left_out = join_regions(plan.multiverse, of_regions)
    labels = tuple(subject.label for subject in subjects)
    warnings = (
        *notes,
        *sets.notes,
        *_notes_on_one_subject(labels, settings),
        *model_set.notes,
        *cautions(primary, labels, model_tests, group_tests),
        *(note for subject in subjects for note in subject.notes),
        *primary.notes,
        *(sweep.note for sweep in sweeps if sweep.note),
        *note_on_sweep(settings, plan.sweep),
        *_note_on_sweeps(primary, sweeps),
        *lost.values(),
        *left_out,
        *_note_on_multiverse(subjects, sets, settings),
        *_note_on_reference(reference, settings),
    )
    return ComparisonResult(
        subjects=labels,
        stimuli=model_set.stimuli,
        sets=sets,
        models=tuple(
            Model(
                model.model,
                model.group,
                model.note,
                sha256,
                dict(model.origin),
                isinstance(model, ModelRdm),
            )
            for model, sha256 in zip(model_set.models, model_set.hashes, strict=True)
        ),
        reference_model=reference,
        model_rdms=plan.model_rdms,
        primary=primary,
        variants=variants,
        sweeps=sweeps,
        model_tests=model_tests,
        group_tests=group_tests,
        inference=inference,
        multiverse=multiverse,
        coverage=coverage_of(subjects) if have_patterns(subjects) else (),
        region_map=region_map(subjects),
        warnings=tuple(dict.fromkeys(warnings)),
        sources=tuple(dict.fromkeys(file for subject in subjects for file in subject.sources)),
        estimation=dict(subjects[0].estimation) if have_patterns(subjects) else {},
    )


def compute_part(
    subjects: Subjects,
    models: Sequence[Features | ModelRdm],
    settings: ComparisonSettings,
    part: Part,
    work_dir: Path,
    progress: Progress = lambda step: None,
) -> tuple[str, ...]:
    """Compute some of the regions and keep them, for `compare` to join.

    Parameters
    ----------
    subjects, models, settings, progress
        As in `compare`.
    part : Part
        Which regions: of all, in turn.
    work_dir : Path
        Folder in which `compare` looks for them.

    Returns
    -------
    tuple of str
        The regions.

    Raises
    ------
    InputError
        As `compare` does, on stimuli of each subject's own, and where regions cannot be kept.
    """
    subjects, sets, all_models = _gather(subjects, models, settings)
    if not sets.all_common:
        raise InputError(
            "--part cannot split regions if subjects saw different stimuli: leave it out, or give "
            "--subject-stimuli shared"
        )
    with threadpool_limits(limits=1):
        subjects, plan, _, _ = _settle(subjects, sets, all_models, settings, progress, work_dir)
        finished = FinishedRegions(work_dir, subjects, plan)
        rois = tuple(subjects[0].rois)[part.number - 1 :: part.n_parts]
        compute_regions(rois, subjects, plan, finished, progress, keep_all=True)
    lost = [roi for roi in rois if not finished.has(roi)]
    if lost:
        raise InputError(
            f"{work_dir} could not keep region {lost[0]}: free some space, or correct the "
            "permissions"
        )
    return rois


def _gather(
    subjects: Subjects, models: Sequence[Features | ModelRdm], settings: ComparisonSettings
) -> tuple[Subjects, StimulusSets, ModelSet]:
    """Check subjects and models; give voxels with data, stimuli, and models of every stimulus."""
    if have_patterns(subjects):
        subjects = [with_data_only(subject) for subject in subjects]
    require_comparable(subjects)
    sets = stimulus_sets(subjects, settings)
    _require_possible(subjects, sets, settings)
    all_models = gather_models(models, sets.union, settings.groups, settings.reference_model)
    return subjects, sets, all_models


def _require_possible(subjects: Subjects, sets: StimulusSets, settings: ComparisonSettings) -> None:
    """Refuse what needs stimuli that all subjects share, or takes too long without them."""
    if sets.all_common:
        return
    chooses = have_patterns(subjects) and settings.voxel_selection == "best-n"
    if chooses and not sets.common:
        lacking = (
            "but there is one subject"
            if len(subjects) == 1
            else f"but they share fewer than {ENOUGH} stimuli"
        )
        raise InputError(
            f"best-n sets the number of voxels by the agreement of subjects, {lacking}: "
            "choose another --voxel-selection"
        )
    if not is_product(settings.rsa_metric) and max(map(len, sets.of_subjects)) > FEW_STIMULI:
        shared = "" if len(subjects) == 1 else ", or --subject-stimuli shared"
        raise InputError(
            f"{settings.rsa_metric} takes too long with more than {FEW_STIMULI} stimuli of a "
            f"subject's own: choose another --rsa-metric{shared}"
        )


def _notes_on_one_subject(subjects: Sequence[str], settings: ComparisonSettings) -> tuple[str, ...]:
    if len(subjects) > 1:
        return ()
    if settings.preset == "paper":
        return ("there is one subject, so there is no noise ceiling and no test over subjects",)
    return (
        "there is one subject: intervals and tests generalise to new stimuli in this subject, not "
        "to new subjects, and the noise ceiling comes from halves of the runs, if there are any",
    )


def _settle(
    subjects: Subjects,
    sets: StimulusSets,
    all_models: ModelSet,
    settings: ComparisonSettings,
    progress: Progress,
    work_dir: Path | None,
) -> tuple[Subjects, Plan, dict[str, str], OwnStudy | None]:
    """Settle what is computed of every region.

    Returns
    -------
    subjects : sequence of SubjectPatterns or of SubjectRdms
        On common stimuli, or on their own if there are none.
    plan : Plan
    lost : dict of str to str
        Which variants are lost, and why.
    study : OwnStudy or None
        Scores of other stimuli than the common ones.
    """
    if have_patterns(subjects):
        require_data(subjects, settings)
    study: OwnStudy | None = None
    chosen: dict[str, ChosenVoxels] = {}
    if not sets.all_common:
        progress("scores of each subject's own stimuli")
        study, chosen = _score_own(subjects, sets, all_models, settings, progress, work_dir)
    model_set = all_models.of_stimuli(sets.common)
    plan = Plan(model_set, settings, {}, None, None, None)
    lost: dict[str, str] = {}
    if sets.common:
        subjects = on_stimuli(subjects, [sets.common] * len(subjects))
        plan, lost = _settle_common(subjects, model_set, settings)
    if study is not None:
        # Scores of a multiverse would be of other stimuli.
        plan = replace(plan, multiverse=None, own=study.regions, chosen=chosen)
    elif settings.preset == "recommended":
        permutations = label_permutations(len(sets.common), settings)
        plan = replace(plan, permutations=permutations)
    return subjects, plan, lost, study


def _score_own(
    subjects: Subjects,
    sets: StimulusSets,
    all_models: ModelSet,
    settings: ComparisonSettings,
    progress: Progress,
    work_dir: Path | None,
) -> tuple[OwnStudy, dict[str, ChosenVoxels]]:
    """Choose voxels, and score each subject's own stimuli by them."""
    subjects = on_stimuli(subjects, sets.of_subjects)
    chosen: dict[str, ChosenVoxels] = {}
    if have_patterns(subjects):
        patterns = subjects
        on_common = [with_stimuli(subject, sets.common) for subject in patterns]
        rois = tuple(patterns[0].rois)
        found = map_on_threads(lambda roi: choose_voxels(roi, patterns, settings, on_common), rois)
        chosen = dict(zip(rois, found, strict=True))
    study = score_own_stimuli(subjects, sets, all_models, chosen, settings, progress, work_dir)
    return study, chosen


def _settle_common(
    subjects: Subjects, model_set: ModelSet, settings: ComparisonSettings
) -> tuple[Plan, dict[str, str]]:
    """Settle what is computed on stimuli that all subjects share."""
    model_set.rdms(settings.rdm_metric)
    variants, lost = _possible_variants(subjects, model_set, settings)
    sweep = multiverse = None
    if have_patterns(subjects):
        sweep = sweep_of_many_regions(
            replace(settings, voxel_selection="top-n"), len(subjects[0].rois)
        )
        if not is_possible(sweep, subjects):
            sweep = replace(sweep, selection_data="same")
        if settings.multiverse and not _are_many(subjects, settings):
            multiverse = settle_multiverse(subjects, model_set, settings)
    return Plan(model_set, settings, variants, sweep, multiverse, None), lost


def _possible_variants(
    subjects: Subjects, model_set: ModelSet, settings: ComparisonSettings
) -> tuple[dict[str, ComparisonSettings], dict[str, str]]:
    """Settings of the paper's appendix, as far as the data allow, and notes on what is lost.

    The preset 'recommended' has none of them: its multiverse holds all their choices.
    """
    if settings.preset != "paper":
        return {}, {}
    possible: dict[str, ComparisonSettings] = {}
    lost: dict[str, str] = {}
    for name, changes in VARIANTS.items():
        varied = replace(settings, **changes)
        if not have_patterns(subjects):
            if name == "figure_5":
                possible[name] = varied
            continue
        if name == "figure_4" and settings.threshold_roi not in subjects[0].rois:
            lost[name] = _lost(name, f"there is no region {settings.threshold_roi}")
            continue
        try:
            require_data(subjects, varied)
            model_set.rdms(varied.rdm_metric)
            possible[name] = varied
        except InputError as error:
            lost[name] = _lost(name, str(error))
    return possible, lost


def _are_many(subjects: Subjects, settings: ComparisonSettings) -> bool:
    """Whether regions are so many that extras are left out."""
    return settings.preset == "recommended" and len(subjects[0].rois) > MANY_REGIONS


def _lost(variant: str, why: str) -> str:
    return f"{variant.replace('_', ' ').capitalize()} is left out: {why}"


def _join_variants(
    found: Sequence[RegionFindings], subjects: Subjects, plan: Plan, lost: Mapping[str, str]
) -> tuple[tuple[Analysis, ...], dict[str, str]]:
    """Variants that every region allows, and notes on the others in the order of the figures."""
    variants = []
    lost = dict(lost)
    for name, varied in plan.variants.items():
        of_regions = [region.variants[name] for region in found]
        refusal = next((one for one in of_regions if isinstance(one, str)), None)
        if refusal is not None:
            lost[name] = _lost(name, refusal)
            continue
        analyses = [one for one in of_regions if not isinstance(one, str)]
        variants.append(_join(name, analyses, subjects, varied))
    return tuple(variants), {name: lost[name] for name in VARIANTS if name in lost}


def _join(
    name: str,
    regions: Sequence[RegionAnalysis],
    subjects: Subjects,
    settings: ComparisonSettings,
) -> Analysis:
    """Make an analysis of all regions from those of each."""
    notes = tuple(note for region in regions for note in region.notes)
    results = tuple(region.result for region in regions)
    if not have_patterns(subjects):
        return Analysis(name, settings, tuple(Fold() for _ in results[0].rdms), results, notes)
    return Analysis(
        name,
        settings,
        folds_of(settings),
        results,
        tuple(dict.fromkeys((*notes_on_noise(subjects, settings), *notes))),
        are_whitened(subjects, settings),
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


def _note_on_multiverse(
    subjects: Subjects, sets: StimulusSets, settings: ComparisonSettings
) -> tuple[str, ...]:
    if not (settings.multiverse and have_patterns(subjects)):
        return ()
    if not sets.all_common:
        return ("the multiverse is skipped, because scores use more than the common stimuli",)
    if not _are_many(subjects, settings):
        return ()
    return (
        "the multiverse is skipped, because it takes long with so many regions; --preset paper "
        "--multiverse computes it",
    )


def _note_on_reference(reference: str, settings: ComparisonSettings) -> tuple[str, ...]:
    known = settings.reference_model is not None or reference == PAPER_REFERENCE
    if known or settings.preset != "paper":
        return ()
    return (
        f"{PAPER_REFERENCE}, the paper's reference model, is not among the models: every other "
        f"model is tested against {reference}",
    )
