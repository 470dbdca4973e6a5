"""Scores of each subject on stimuli of its own, or on more than can be analysed at once."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import combinations
from pathlib import Path

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers, Singles
from conceptrsa.analysis.brain.brain_rdms import (
    ChosenVoxels,
    ComputeRdm,
    half_rdms,
    subject_rdms,
)
from conceptrsa.analysis.brain.folds import folds_of
from conceptrsa.analysis.brain.patterns import SubjectPatterns, SubjectRdms, Subjects
from conceptrsa.analysis.brain.stimulus_sets import MOST, StimulusSets, at_most, with_stimuli
from conceptrsa.analysis.inference.generalisation import OwnRegion, OwnScores, SingleSubject
from conceptrsa.analysis.inference.own_permutations import SubjectStudy
from conceptrsa.analysis.inference.stimulus_pulls import (
    RdmParts,
    SubjectPulls,
    models_of_subject,
    pull_scores,
)
from conceptrsa.analysis.kept_findings import KeptFindings, hash_of
from conceptrsa.analysis.models.model_set import ModelSet
from conceptrsa.analysis.pace import Pace, Progress
from conceptrsa.analysis.rsa.correlations import correlate_rdms
from conceptrsa.analysis.rsa.distances import compute_rdm, compute_single_rdm
from conceptrsa.analysis.rsa.noise_ceiling import split_half_ceiling
from conceptrsa.analysis.settings import ComparisonSettings, is_own, is_product
from conceptrsa.bids_config.errors import InputError, told_of
from conceptrsa.bids_config.machine import map_on_threads

MIN_SHARED = 6
"""Fewer stimuli that two subjects share say nothing about the covariance of their scores."""

Subject = SubjectPatterns | SubjectRdms


@dataclass(frozen=True)
class OwnStudy:
    """A study on each subject's own stimuli.

    Attributes
    ----------
    regions : mapping of str to OwnRegion
    subjects : tuple of SubjectStudy
        For permutations of the stimuli's labels.
    """

    regions: Mapping[str, OwnRegion]
    subjects: tuple[SubjectStudy, ...]


def score_own_stimuli(
    subjects: Subjects,
    sets: StimulusSets,
    models: ModelSet,
    chosen: Mapping[str, ChosenVoxels],
    settings: ComparisonSettings,
    progress: Progress = lambda step: None,
    work_dir: Path | None = None,
) -> OwnStudy:
    """Score all models in every region on all of each subject's stimuli.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns or of SubjectRdms
        With the stimuli of `sets`.
    sets : StimulusSets
    models : ModelSet
        Of every stimulus.
    chosen : mapping of str to ChosenVoxels
        By region; empty where there are no patterns.
    settings : ComparisonSettings
    progress : callable, optional
        Told from time to time how many subjects are done, and about how much time is left.
    work_dir : Path, optional
        Where the scores of a subject and region are kept, and found again.
    """
    rois = tuple(subjects[0].rois)
    source = _Source(subjects, models, chosen, settings, not sets.common, work_dir)
    pace = Pace("subjects", len(subjects), 1, progress)
    found = []
    for place in range(len(subjects)):
        of_subject, seconds = _score_subject(place, source)
        found.append(of_subject)
        pace.tell(seconds)
    studies = tuple(
        SubjectStudy(
            stimuli=subject.stimuli,
            models=partial(source.models_among, place),
            brain={roi: partial(source.brain_among, place, roi) for roi in rois},
            pulls={roi: one.pulls for roi, one in of_regions.items() if one.pulls is not None},
        )
        for place, (subject, of_regions) in enumerate(zip(subjects, found, strict=True))
    )
    own = {
        roi: OwnScores(np.array([of_regions[roi].scores for of_regions in found]), sets.counts)
        for roi in rois
    }
    if sets.common:
        return OwnStudy({roi: OwnRegion(scores) for roi, scores in own.items()}, studies)
    single = [
        _single_subjects(place, at_most(subject.stimuli, MOST, settings.seed), source)
        for place, subject in enumerate(subjects)
    ]
    shared = {}
    for places, stimuli in _shared_stimuli(subjects, settings.seed):
        # A model may be constant on the few stimuli that two subjects share.
        with suppress(InputError):
            shared[places] = [_single_subjects(place, stimuli, source) for place in places]
    of_all_runs = bool(chosen) and all(fold.score_on is None for fold in folds_of(settings))
    regions = {}
    for roi, scores in own.items():
        ceilings = np.array([of_regions[roi].ceiling for of_regions in found])
        regions[roi] = OwnRegion(
            scores,
            ceilings if np.isfinite(ceilings).any() else None,
            tuple(of_subject[roi] for of_subject in single),
            {places: tuple(one[roi] for one in data) for places, data in shared.items()},
            of_all_runs,
        )
    return OwnStudy(regions, studies)


@dataclass(frozen=True)
class _Source:
    """RDMs of some of a subject's stimuli."""

    subjects: Subjects
    models: ModelSet
    chosen: Mapping[str, ChosenVoxels]
    settings: ComparisonSettings
    apart: bool
    work_dir: Path | None

    @cached_property
    def kept(self) -> KeptFindings | None:
        """Where scores are kept; None where they depend on a function of the user's."""
        settings = self.settings
        if self.work_dir is None or is_own(settings.rsa_metric) or is_own(settings.rdm_metric):
            return None
        known = [
            repr(settings),
            self.models.names,
            self.models.hashes,
            self.models.forms,
            self.apart,
        ]
        return KeptFindings(self.work_dir, _Found, (SubjectPulls, RdmParts), known)

    def columns(self, place: int, roi: str) -> tuple[Integers, ...]:
        """Chosen voxels of a subject in every fold."""
        return tuple(fold[place] for fold in self.chosen[roi].columns)

    def models_among(self, place: int, rows: Integers) -> Floats:
        """RDMs (models, pairs) among some of a subject's stimuli."""
        stimuli = self.subjects[place].stimuli
        return self.models.of_stimuli([stimuli[row] for row in rows]).rdms(self.settings.rdm_metric)

    def brain_among(self, place: int, roi: str, rows: Integers) -> Floats:
        """RDMs (folds, pairs) of a region among some of a subject's stimuli."""
        return self.brain(place, roi, _of_region(self.subjects[place], roi).of_rows(list(rows)))

    def brain(self, place: int, roi: str, subject: Subject) -> Floats:
        """RDMs (folds, pairs) of a region of a subject, on whichever of its stimuli it holds."""
        if isinstance(subject, SubjectRdms):
            return subject.rois[roi]
        columns = self.columns(place, roi)
        return subject_rdms(subject, roi, columns, self.settings, _compute_for(subject))

    def halves(self, place: int, roi: str, subject: Subject) -> Floats | None:
        """RDMs (folds, 2, pairs) of halves of the runs, where these are known and needed."""
        if not self.apart:
            return None
        if isinstance(subject, SubjectRdms):
            rdms = subject.rois[roi]
            return rdms[None] if len(rdms) == 2 else None
        try:
            columns = self.columns(place, roi)
            return half_rdms(subject, roi, columns, self.settings, _compute_for(subject))
        except InputError:
            # A pattern of a half may have no direction where that of all runs has one.
            return None


@dataclass(frozen=True)
class _Found:
    scores: Floats
    ceiling: float
    pulls: SubjectPulls | None


def _compute_for(subject: SubjectPatterns) -> ComputeRdm:
    return compute_single_rdm if len(subject.stimuli) > MOST else compute_rdm


def _score_subject(place: int, source: _Source) -> tuple[dict[str, _Found], float]:
    """Scores and ceilings of one subject's regions, and the seconds that computing them took.

    Those that are kept are taken as they are.
    """
    subject, kept = source.subjects[place], source.kept

    def name(roi: str) -> str:
        chosen = source.columns(place, roi) if source.chosen else None
        return hash_of([subject.label, roi, subject.stimuli, subject.rois[roi], chosen])

    found: dict[str, _Found] = {}
    for roi in subject.rois:
        known = None if kept is None else kept.load(partial(name, roi))
        if known is not None:
            found[roi] = known
    missing = tuple(roi for roi in subject.rois if roi not in found)
    if not missing:
        return found, 0.0

    def keep(roi: str, one: _Found, seconds: float) -> None:
        if kept is not None:
            kept.keep(partial(name, roi), one, seconds)

    begun = time.monotonic()
    found |= _compute_subject(place, missing, source, keep)
    return {roi: found[roi] for roi in subject.rois}, time.monotonic() - begun


def _compute_subject(
    place: int, rois: Sequence[str], source: _Source, keep: Callable[[str, _Found, float], None]
) -> dict[str, _Found]:
    """Scores and ceilings of one subject's regions, whose models are held once."""
    subject, metric = source.subjects[place], source.settings.rsa_metric
    own = source.models.of_stimuli(subject.stimuli)
    many = len(subject.stimuli) > MOST
    with told_of(f"the stimuli of {subject.label}"):
        rdms = (
            own.single_rdms(source.settings.rdm_metric)
            if many
            else own.rdms(source.settings.rdm_metric)
        )
    models = models_of_subject(rdms, metric) if is_product(metric) else None

    def score(roi: str) -> _Found:
        brain = source.brain(place, roi, subject)
        if not np.isfinite(brain).all():
            return _Found(np.full(len(rdms), np.nan), np.nan, None)
        halves = source.halves(place, roi, subject)
        ceiling = np.nan if halves is None else split_half_ceiling(halves, metric)
        if models is None:
            return _Found(_scores_one_by_one(brain, rdms, source.settings), ceiling, None)
        pulls = pull_scores(models, brain, metric)
        return _Found(pulls.scores, ceiling, pulls)

    def score_and_keep(roi: str) -> _Found:
        begun = time.monotonic()
        found = score(roi)
        keep(roi, found, time.monotonic() - begun)
        return found

    found = map_on_threads(
        score_and_keep,
        rois,
        # One region of very many stimuli takes all processors.
        in_turn=many or is_own(metric) or is_own(source.settings.rdm_metric),
    )
    return dict(zip(rois, found, strict=True))


def _scores_one_by_one(
    brain: Floats, models: Floats | Singles, settings: ComparisonSettings
) -> Floats:
    scores = [
        correlate_rdms(brain, rdm[None].astype(np.float64), settings.rsa_metric)[:, 0]
        for rdm in models
    ]
    return np.asarray(np.mean(scores, axis=1))


def _single_subjects(
    place: int, stimuli: tuple[str, ...], source: _Source
) -> dict[str, SingleSubject]:
    """One subject's regions on some of its stimuli."""
    subject = with_stimuli(source.subjects[place], stimuli)
    models = source.models.of_stimuli(stimuli).rdms(source.settings.rdm_metric)
    return {
        roi: SingleSubject(
            source.brain(place, roi, subject),
            models,
            stimuli,
            source.halves(place, roi, subject),
        )
        for roi in subject.rois
    }


def _of_region(subject: Subject, roi: str) -> Subject:
    """A subject's data of one region, so that those of others are not copied."""
    if isinstance(subject, SubjectPatterns):
        return replace(subject, rois={roi: subject.rois[roi]})
    return replace(subject, rois={roi: subject.rois[roi]})


def _shared_stimuli(
    subjects: Subjects, seed: int
) -> Iterator[tuple[tuple[int, ...], tuple[str, ...]]]:
    """Stimuli that subjects share, each two subjects once: all together where they are the same."""
    sets = [set(subject.stimuli) for subject in subjects]
    of_pairs: dict[frozenset[str], list[tuple[int, int]]] = {}
    for one, other in combinations(range(len(subjects)), 2):
        shared = frozenset(sets[one] & sets[other])
        if len(shared) >= MIN_SHARED:
            of_pairs.setdefault(shared, []).append((one, other))
    for shared, pairs in of_pairs.items():
        stimuli = at_most(tuple(sorted(shared)), MOST, seed)
        everyone = tuple(sorted({subject for pair in pairs for subject in pair}))
        if len(pairs) == len(everyone) * (len(everyone) - 1) // 2:
            yield everyone, stimuli
        else:
            yield from ((pair, stimuli) for pair in pairs)
