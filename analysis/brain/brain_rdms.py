"""RDMs of every region and subject: voxels chosen by some runs, distances taken in others."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.brain.folds import Fold, folds_of
from conceptrsa.analysis.brain.patterns import Half, SubjectPatterns, SubjectRdms
from conceptrsa.analysis.brain.voxel_selection import rank_voxels, select_voxels, voxel_scores
from conceptrsa.analysis.rsa.ceiling_sweep import MIN_VOXELS, CeilingSweep, peak_size, sweep_top
from conceptrsa.analysis.rsa.distances import (
    compute_rdm,
    crossnobis_rdm,
    mahalanobis_rdm,
    out_of_range,
    without_distance,
)
from conceptrsa.analysis.settings import ComparisonSettings, is_own
from conceptrsa.bids_config.errors import InputError, told_of
from conceptrsa.bids_config.machine import map_on_threads

EVERY_SIZE = 1_000_000
"""More voxels than a region has: the peak is looked for among all numbers of voxels."""


@dataclass(frozen=True)
class BrainRdms:
    """The brain's side of an analysis.

    Attributes
    ----------
    folds : tuple of Fold
    rdms : mapping of str to ndarray, (folds, subjects, pairs)
        By region; NaN for a subject with fewer than three voxels selected in some fold.
    n_voxels : mapping of str to ndarray of int, (folds, subjects)
    notes : tuple of str
        What happened on the way that the user should know.
    whitened : bool
        Whether voxels were whitened by the covariance of the residuals.
    """

    folds: tuple[Fold, ...]
    rdms: Mapping[str, Floats]
    n_voxels: Mapping[str, Integers]
    notes: tuple[str, ...] = ()
    whitened: bool = False


def supplied_rdms(subjects: Sequence[SubjectRdms]) -> BrainRdms:
    """Take RDMs as they are."""
    rois = subjects[0].rois
    rdms = {roi: np.stack([subject.rois[roi] for subject in subjects], axis=1) for roi in rois}
    return BrainRdms(
        folds=tuple(Fold() for _ in next(iter(rdms.values()))),
        rdms=rdms,
        n_voxels={roi: np.zeros(values.shape[:2], dtype=np.intp) for roi, values in rdms.items()},
    )


def brain_rdms(subjects: Sequence[SubjectPatterns], settings: ComparisonSettings) -> BrainRdms:
    """Choose the voxels of every region and subject, and take the distances between patterns.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns
        That can be compared.
    settings : ComparisonSettings

    Raises
    ------
    InputError
        Where halves, runs or a residual covariance are needed and not there, or a pattern has no
        direction.
    """
    folds = folds_of(settings)
    for subject in subjects:
        if any(fold.select_on for fold in folds):
            subject.require_halves()
        lacking = what_lacks(subject, settings)
        if lacking is not None:
            raise InputError(lacking)
    noise_is_known = _is_noise_known(subjects, settings)
    notes = list(_note_on_noise(noise_is_known, settings))
    rdms: dict[str, list[Floats]] = {roi: [] for roi in subjects[0].rois}
    n_voxels: dict[str, list[list[int]]] = {roi: [] for roi in subjects[0].rois}
    for fold in folds:
        columns, fold_notes = _chosen_voxels(subjects, fold, settings)
        notes.extend(fold_notes)
        for roi in rdms:
            chosen = [of_subject[roi] for of_subject in columns]
            n_voxels[roi].append([len(voxels) for voxels in chosen])
            rdms[roi].append(
                np.stack(
                    [
                        _brain_rdm(subject, roi, voxels, fold.score_on, settings)
                        for subject, voxels in zip(subjects, chosen, strict=True)
                    ]
                )
            )
    return BrainRdms(
        folds=folds,
        rdms={roi: _complete(np.stack(values)) for roi, values in rdms.items()},
        n_voxels={roi: np.array(values, dtype=np.intp) for roi, values in n_voxels.items()},
        notes=tuple(dict.fromkeys(notes)),
        whitened=noise_is_known and settings.rdm_metric in ("mahalanobis", "crossnobis"),
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
    subjects: Sequence[SubjectPatterns], fold: Fold, settings: ComparisonSettings
) -> tuple[list[Mapping[str, Integers]], list[str]]:
    """Columns of each subject's regions, and notes."""
    scores = [
        {roi: selection_scores(subject, roi, fold.select_on, settings) for roi in subject.rois}
        for subject in subjects
    ]
    sizes = dict.fromkeys(subjects[0].rois, settings.n_voxels)
    notes: list[str] = []
    if settings.voxel_selection == "best-n":
        sizes, note = _best_sizes(subjects, scores, fold, settings)
        if note:
            notes += [note, "the numbers of voxels were chosen by a sweep limited in the same way"]
    columns = []
    for subject, of_subject in zip(subjects, scores, strict=True):
        generator = np.random.default_rng(
            [settings.seed, zlib.crc32(subject.label.encode()), fold.draw, 2]
        )
        selected = select_voxels(subject, settings, of_subject, sizes, generator)
        columns.append(selected.columns)
        notes.extend(selected.warnings)
    return columns, notes


def _best_sizes(
    subjects: Sequence[SubjectPatterns],
    scores: Sequence[Mapping[str, Floats]],
    fold: Fold,
    settings: ComparisonSettings,
) -> tuple[dict[str, int], str]:
    """Number of voxels of each region at the peak of its ceiling in the runs chosen by.

    And a note on how the peak was looked for, where that is not as the settings say.
    """
    every = replace(settings, sweep_dense_until=EVERY_SIZE)
    rois = tuple(subjects[0].rois)

    def sweep(roi: str) -> CeilingSweep:
        patterns = [subject.rois[roi].betas_of(fold.select_on) for subject in subjects]
        orders = [rank_voxels(of_subject[roi]) for of_subject in scores]
        return sweep_top(patterns, orders, every)

    sweeps = map_on_threads(sweep, rois, in_turn=is_own(settings.rsa_metric))
    return {roi: peak_size(one) for roi, one in zip(rois, sweeps, strict=True)}, sweeps[-1].note


def _brain_rdm(
    subject: SubjectPatterns,
    roi: str,
    columns: Integers,
    half: Half | None,
    settings: ComparisonSettings,
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
            "has no pattern: estimate it again, or leave that stimulus out of every subject"
        )
    if settings.rdm_metric == "mahalanobis":
        assert covariance is not None
        with told_of(_place(subject, roi)):
            return mahalanobis_rdm(values, covariance)
    return compute_rdm(values, settings.rdm_metric)


def _is_noise_known(subjects: Sequence[SubjectPatterns], settings: ComparisonSettings) -> bool:
    """Whether there are residual covariances; refuse crossnobis where there are of some only."""
    known = {
        f"{subject.label} in {name}": roi.residual_covariance is not None
        for subject in subjects
        for name, roi in subject.rois.items()
    }
    if all(known.values()) or not any(known.values()) or settings.rdm_metric != "crossnobis":
        return all(known.values())
    without = next(place for place, there in known.items() if not there)
    raise InputError(
        f"there is no residual covariance of {without}, but there is of others: supply it, or "
        "leave it out of all"
    )


def _note_on_noise(is_known: bool, settings: ComparisonSettings) -> Iterator[str]:
    if settings.rdm_metric == "crossnobis" and not is_known:
        yield (
            "there is no residual covariance, so crossnobis distances are taken without noise "
            "normalisation"
        )


def what_lacks(subject: SubjectPatterns, settings: ComparisonSettings) -> str | None:
    """Say what a subject lacks for the distance of an analysis; None where nothing is lacking."""
    remedy = "run the participant level with --run-betas, or choose another --rdm-metric"
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
                        f"{name}, which the crossnobis distance needs: {remedy}"
                    )
                if len(runs) < 2:
                    return (
                        f"{subject.origin} holds {len(runs)} partition of the {fold.score_on} runs "
                        f"of {subject.label} in {name}, and the crossnobis distance needs two: "
                        "run the participant level with smaller --runs-per-partition, or choose "
                        "--voxel-selection all, which is scored on all runs"
                    )
    return None
