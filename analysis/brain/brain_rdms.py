"""RDMs of a region in every subject: voxels chosen by some runs, distances taken in others."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.brain.folds import Fold, folds_of
from conceptrsa.analysis.brain.patterns import Half, SubjectPatterns, SubjectRdms
from conceptrsa.analysis.brain.voxel_selection import rank_voxels, select_voxels, voxel_scores
from conceptrsa.analysis.rsa.ceiling_sweep import MIN_VOXELS, peak_size, sweep_top
from conceptrsa.analysis.rsa.distances import (
    compute_rdm,
    crossnobis_rdm,
    mahalanobis_rdm,
    out_of_range,
    without_distance,
)
from conceptrsa.analysis.settings import ComparisonSettings, RdmMetric
from conceptrsa.bids_config.errors import InputError, told_of

ComputeRdm = Callable[[Floats, RdmMetric], Any]
"""`compute_rdm`, or `compute_single_rdm` of very many stimuli."""

EVERY_SIZE = 1_000_000
"""More voxels than a region has: the peak is looked for among all numbers of voxels."""


@dataclass(frozen=True)
class RegionRdms:
    """All subjects' RDMs of one region.

    Attributes
    ----------
    rdms : ndarray, (folds, subjects, pairs)
        NaN for a subject with fewer than three voxels selected in some fold.
    n_voxels : ndarray of int, (folds, subjects)
    notes : tuple of str
        What happened on the way that the user should know.
    """

    rdms: Floats
    n_voxels: Integers
    notes: tuple[str, ...] = ()


def supplied_rdms(roi: str, subjects: Sequence[SubjectRdms]) -> RegionRdms:
    """Take RDMs as they are."""
    rdms = np.stack([subject.rois[roi] for subject in subjects], axis=1)
    return RegionRdms(rdms, np.zeros(rdms.shape[:2], dtype=np.intp))


@dataclass(frozen=True)
class ChosenVoxels:
    """Voxels of a region that enter its RDMs.

    Attributes
    ----------
    columns : tuple of tuple of ndarray of int
        Columns of each subject's patterns, by fold and subject.
    notes : tuple of str
        What happened on the way that the user should know.
    """

    columns: tuple[tuple[Integers, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def n_voxels(self) -> Integers:
        """Number of voxels, (folds, subjects)."""
        return np.array([[len(each) for each in fold] for fold in self.columns], dtype=np.intp)


def choose_voxels(
    roi: str,
    subjects: Sequence[SubjectPatterns],
    settings: ComparisonSettings,
    sized_by: Sequence[SubjectPatterns] | None = None,
) -> ChosenVoxels:
    """Choose the voxels of a region in every subject and fold.

    Parameters
    ----------
    roi : str
    subjects : sequence of SubjectPatterns
        That have what `require_data` asks for.
    settings : ComparisonSettings
    sized_by : sequence of SubjectPatterns, optional
        The same subjects on stimuli that all share, by which the number of voxels is found where
        it is not given.

    Raises
    ------
    InputError
        On voxels that cannot be chosen.
    """
    notes: list[str] = []
    columns = []
    for fold in folds_of(settings):
        of_fold, fold_notes = _chosen_voxels(roi, subjects, fold, settings, sized_by or subjects)
        columns.append(tuple(of_fold))
        notes.extend(fold_notes)
    return ChosenVoxels(tuple(columns), tuple(dict.fromkeys(notes)))


def brain_rdms(
    roi: str,
    subjects: Sequence[SubjectPatterns],
    settings: ComparisonSettings,
    chosen: ChosenVoxels | None = None,
) -> RegionRdms:
    """Choose the voxels of a region in every subject, and take the distances between patterns.

    Parameters
    ----------
    roi : str
    subjects : sequence of SubjectPatterns
        That can be compared, and have what `require_data` asks for.
    settings : ComparisonSettings
    chosen : ChosenVoxels, optional
        Where they were chosen before.

    Raises
    ------
    InputError
        On voxels that cannot be chosen, or a pattern that has no direction.
    """
    if chosen is None:
        chosen = choose_voxels(roi, subjects, settings)
    rdms = [
        subject_rdms(subject, roi, columns, settings)
        for subject, columns in zip(subjects, zip(*chosen.columns, strict=True), strict=True)
    ]
    return RegionRdms(_complete(np.stack(rdms, axis=1)), chosen.n_voxels, chosen.notes)


def subject_rdms(
    subject: SubjectPatterns,
    roi: str,
    columns: Sequence[Integers],
    settings: ComparisonSettings,
    compute: ComputeRdm = compute_rdm,
) -> Floats:
    """RDMs of one subject's chosen voxels in every fold, (folds, pairs); NaN where too few."""
    return np.stack(
        [
            _brain_rdm(subject, roi, of_fold, fold.score_on, settings, compute)
            for fold, of_fold in zip(folds_of(settings), columns, strict=True)
        ]
    )


def half_rdms(
    subject: SubjectPatterns,
    roi: str,
    columns: Sequence[Integers],
    settings: ComparisonSettings,
    compute: ComputeRdm = compute_rdm,
) -> Floats | None:
    """RDMs of the odd and of the even runs of the voxels chosen in every fold, (folds, 2, pairs).

    None where they are not known, for crossnobis distances also where a half has a single run.
    """
    patterns = subject.rois[roi]
    halves: tuple[Half, Half] = ("odd", "even")
    if settings.rdm_metric == "crossnobis":
        runs = [patterns.runs_of(half) for half in halves]
        if any(of_half is None or len(of_half) < 2 for of_half in runs):
            return None
    elif not patterns.has_halves:
        return None
    return np.stack(
        [
            np.stack(
                [_brain_rdm(subject, roi, of_fold, half, settings, compute) for half in halves]
            )
            for of_fold in columns
        ]
    )


def _complete(rdms: Floats) -> Floats:
    """RDMs (folds, subjects, pairs); a subject without one in some fold has none in any."""
    present = np.asarray(np.isfinite(rdms).all(axis=(0, 2)))
    return np.where(present[:, None], rdms, np.nan)


def selection_scores(
    subject: SubjectPatterns, roi: str, half: Half | None, settings: ComparisonSettings
) -> Floats:
    """Score of every voxel of a region by the runs that voxels are chosen by, (voxels,)."""
    with told_of(_place(subject, roi)):
        return voxel_scores(subject.rois[roi], settings.voxel_score, half)


def _place(subject: SubjectPatterns, roi: str) -> str:
    return f"{subject.origin}, {subject.label}, region {roi}"


def _chosen_voxels(
    roi: str,
    subjects: Sequence[SubjectPatterns],
    fold: Fold,
    settings: ComparisonSettings,
    sized_by: Sequence[SubjectPatterns],
) -> tuple[list[Integers], list[str]]:
    """Columns of each subject's patterns, and notes."""
    regions = {roi}
    if settings.voxel_selection == "threshold":
        regions |= {settings.threshold_roi} & set(subjects[0].rois)
    scores = [
        {name: selection_scores(subject, name, fold.select_on, settings) for name in regions}
        for subject in subjects
    ]
    size, notes = settings.n_voxels, []
    if settings.voxel_selection == "best-n":
        size, note = _best_size(roi, sized_by, [each[roi] for each in scores], fold, settings)
        if note:
            notes += [
                note,
                "the sweep that chose the numbers of voxels was limited in the same way",
            ]
    columns = []
    for subject, of_subject in zip(subjects, scores, strict=True):
        generator = np.random.default_rng(
            [settings.seed, zlib.crc32(subject.label.encode()), fold.draw, 2]
        )
        selected = select_voxels(subject, roi, settings, of_subject, size, generator)
        columns.append(selected.columns)
        notes.extend(selected.warnings)
    return columns, notes


def _best_size(
    roi: str,
    subjects: Sequence[SubjectPatterns],
    scores: Sequence[Floats],
    fold: Fold,
    settings: ComparisonSettings,
) -> tuple[int, str]:
    """Number of voxels of a region at the peak of its ceiling in the runs chosen by.

    And a note on how the peak was looked for, where that is not as the settings say.
    """
    every = replace(settings, sweep_dense_until=EVERY_SIZE)
    patterns = [subject.rois[roi].betas_of(fold.select_on) for subject in subjects]
    sweep = sweep_top(patterns, [rank_voxels(of_subject) for of_subject in scores], every)
    return peak_size(sweep), sweep.note


def _brain_rdm(
    subject: SubjectPatterns,
    roi: str,
    columns: Integers,
    half: Half | None,
    settings: ComparisonSettings,
    compute: ComputeRdm,
) -> Floats:
    """RDM of the selected voxels; NaN where fewer than three were selected."""
    n_stimuli = len(subject.stimuli)
    if len(columns) < MIN_VOXELS:
        return np.full(n_stimuli * (n_stimuli - 1) // 2, np.nan)
    patterns = subject.rois[roi]
    covariance = patterns.residual_covariance
    if covariance is not None:
        covariance = covariance[np.ix_(columns, columns)].astype(np.float64)
    if settings.rdm_metric == "crossnobis":
        runs = patterns.runs_of(half)
        assert runs is not None
        with told_of(_place(subject, roi)):
            return crossnobis_rdm(runs[:, :, columns], covariance)
    values = patterns.betas_of(half)[:, columns]
    if out_of_range(values):
        raise InputError(
            f"the betas of {subject.label} in {roi} in {subject.origin} are too large or too small "
            "to compute with: give them in other units"
        )
    if settings.remove_mean_pattern:
        values = values - values.mean(axis=0)
    shapeless = np.flatnonzero(without_distance(values, settings.rdm_metric))
    if len(shapeless):
        raise InputError(
            f"the beta of stimulus {subject.stimuli[shapeless[0]]} of {subject.label} in "
            f"{subject.origin} is the same in every voxel of {roi}"
            f"{' once the mean pattern is removed' if settings.remove_mean_pattern else ''}, so it "
            "has no pattern: estimate it again, or leave that stimulus out"
        )
    if settings.rdm_metric == "mahalanobis":
        assert covariance is not None
        with told_of(_place(subject, roi)):
            return mahalanobis_rdm(values, covariance)
    rdm: Floats = compute(values, settings.rdm_metric)
    return rdm


def require_data(subjects: Sequence[SubjectPatterns], settings: ComparisonSettings) -> None:
    """Check that subjects have what the RDMs of an analysis are made of.

    Raises
    ------
    InputError
        Where halves, runs or a residual covariance are needed and not there, or where there are
        residual covariances of some regions only and distances would differ between them.
    """
    for subject in subjects:
        if any(fold.select_on for fold in folds_of(settings)):
            subject.require_halves()
        lacking = what_lacks(subject, settings)
        if lacking is not None:
            raise InputError(lacking)
    if settings.rdm_metric != "crossnobis":
        return
    known = _known_noise(subjects)
    if any(known.values()) and not all(known.values()):
        without = next(place for place, there in known.items() if not there)
        raise InputError(
            f"{without} has no residual covariance, but others have one: supply it, or leave it "
            "out of all"
        )


def are_whitened(subjects: Sequence[SubjectPatterns], settings: ComparisonSettings) -> bool:
    """Whether voxels are whitened by the covariance of the residuals."""
    return settings.rdm_metric in ("mahalanobis", "crossnobis") and all(
        _known_noise(subjects).values()
    )


def _known_noise(subjects: Sequence[SubjectPatterns]) -> dict[str, bool]:
    """Whether there is a residual covariance, by subject and region."""
    return {
        f"{subject.label} in {name}": roi.residual_covariance is not None
        for subject in subjects
        for name, roi in subject.rois.items()
    }


def notes_on_noise(
    subjects: Sequence[SubjectPatterns], settings: ComparisonSettings
) -> tuple[str, ...]:
    """Say where distances are taken without the noise normalisation that they are known for."""
    if settings.rdm_metric != "crossnobis" or are_whitened(subjects, settings):
        return ()
    return (
        "without a residual covariance, crossnobis distances are computed without noise "
        "normalisation",
    )


def what_lacks(subject: SubjectPatterns, settings: ComparisonSettings) -> str | None:
    """Say what a subject lacks for the distance of an analysis; None where nothing is lacking."""
    remedy = "run the participant level with --run-betas" if subject.is_derivative else "supply it"
    remedy = f"{remedy}, or choose another --rdm-metric"
    for name, roi in subject.rois.items():
        if settings.rdm_metric == "mahalanobis" and roi.residual_covariance is None:
            return (
                f"{subject.origin} holds no residual covariance of {subject.label} in {name}, "
                f"which the Mahalanobis distance needs: {remedy}"
            )
        if settings.rdm_metric == "crossnobis":
            for fold in folds_of(settings):
                runs = roi.runs_of(fold.score_on)
                if runs is None:
                    return (
                        f"{subject.origin} holds no betas of single runs of {subject.label} in "
                        f"{name}, which the crossnobis distance needs: "
                        f"{remedy.replace('it,', 'them,')}"
                    )
                if len(runs) < 2:
                    smaller = "run the participant level with smaller --runs-per-partition, or "
                    return (
                        f"{subject.origin} holds {len(runs)} partition of the {fold.score_on} runs "
                        f"of {subject.label} in {name}, but the crossnobis distance needs two: "
                        f"{smaller if subject.is_derivative else ''}choose --voxel-selection all, "
                        "which uses all runs"
                    )
    return None
