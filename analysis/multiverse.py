"""Every choice of voxels x distance x comparison: does the answer depend on the choice?"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import comb
from typing import Any, get_args

from scipy.stats import rankdata

from conceptrsa.analysis.brain.brain_rdms import RegionRdms, brain_rdms, require_data
from conceptrsa.analysis.brain.folds import is_circular
from conceptrsa.analysis.brain.patterns import SubjectPatterns
from conceptrsa.analysis.models.model_set import ModelSet
from conceptrsa.analysis.rsa.correlations import (
    MAX_PAIRS_OF_SIGNS,
    correlate_rdms,
    mean_over_subjects,
)
from conceptrsa.analysis.rsa.noise_ceiling import noise_ceiling
from conceptrsa.analysis.settings import (
    ComparisonSettings,
    RdmMetric,
    RsaMetric,
    VoxelSelection,
    is_own,
    is_product,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import end_if_stopped

N_RANDOM_DRAWS = 4
"""Draws of random voxels, enough for a mean; the sweep of noise ceilings shows their spread."""


Choice = tuple[VoxelSelection, RdmMetric]
"""Of voxels and distance."""


@dataclass(frozen=True)
class MultiverseRow:
    """One model in one region by one set of choices.

    Attributes
    ----------
    n_voxels : float
        Mean over subjects and folds.
    rsa : float
        Mean over subjects (and folds; random voxels: over 4 draws).
    rank : float
        Of the model among all in the region, 1 the best; ties share their mean rank.
    ceiling, lower, upper : float
        Mean pairwise ceiling and Nili's bounds.
    circular : bool
        Whether voxels were chosen by the betas that were scored.
    primary : bool
        Whether these are the choices declared beforehand.
    """

    voxel_selection: VoxelSelection
    rdm_metric: RdmMetric
    rsa_metric: RsaMetric
    roi: str
    model: str
    group: str
    n_voxels: float
    rsa: float
    rank: float
    ceiling: float
    lower: float
    upper: float
    circular: bool
    primary: bool


@dataclass(frozen=True)
class Multiverse:
    """Choices of voxels and distances, settled before any region is scored.

    Attributes
    ----------
    primary : ComparisonSettings
        The choices declared beforehand; all that is no choice stays as it is there.
    choices : tuple of ComparisonSettings
        Those that the data allow.
    refused : mapping of tuple to str
        The others, and why.
    many_pairs : bool
        Whether comparisons that are slow are left out, but for the primary one.
    """

    primary: ComparisonSettings
    choices: tuple[ComparisonSettings, ...]
    refused: Mapping[Choice, str]
    many_pairs: bool


@dataclass(frozen=True)
class RegionMultiverse:
    """One region under every choice.

    Attributes
    ----------
    rows : tuple of MultiverseRow
        In the order of the choices, then of the comparisons, then of the models.
    refused : mapping of tuple to str
        Voxel selections and distances that the region's data do not allow, and why.
    """

    rows: tuple[MultiverseRow, ...]
    refused: Mapping[Choice, str]


def settle_multiverse(
    subjects: Sequence[SubjectPatterns], model_set: ModelSet, settings: ComparisonSettings
) -> Multiverse:
    """Find the choices that the data allow.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns
    model_set : ModelSet
    settings : ComparisonSettings
        Of the primary analysis. The number of voxels of best-n is that of the primary comparison
        of RDMs.
    """
    choices: list[ComparisonSettings] = []
    refused: dict[Choice, str] = {}
    for choice in _choices(settings, subjects[0].rois):
        try:
            require_data(subjects, choice)
            model_set.rdms(choice.rdm_metric)
            choices.append(choice)
        except InputError as error:
            refused[_place(choice)] = str(error)
    many_pairs = comb(len(model_set.stimuli), 2) > MAX_PAIRS_OF_SIGNS
    return Multiverse(settings, tuple(choices), refused, many_pairs)


def score_by_every_choice(
    roi: str, subjects: Sequence[SubjectPatterns], model_set: ModelSet, multiverse: Multiverse
) -> RegionMultiverse:
    """Score all models in one region by every choice."""
    rows: list[MultiverseRow] = []
    refused: dict[Choice, str] = {}
    primary = multiverse.primary
    for choice in multiverse.choices:
        end_if_stopped()
        try:
            brain = brain_rdms(roi, subjects, choice)
        except InputError as error:
            refused[_place(choice)] = str(error)
            continue
        for rsa_metric in _with_own(get_args(RsaMetric), primary.rsa_metric):
            specified = replace(choice, rsa_metric=rsa_metric)
            is_quick = is_product(rsa_metric) or not multiverse.many_pairs
            if is_quick or _is_primary(specified, primary):
                rows.extend(_rows(roi, brain, model_set, specified, primary))
    return RegionMultiverse(tuple(rows), refused)


def join_regions(
    multiverse: Multiverse, regions: Sequence[RegionMultiverse]
) -> tuple[tuple[MultiverseRow, ...], tuple[str, ...]]:
    """Gather the rows of all regions by choice; a choice that one does not allow is left out.

    Returns
    -------
    rows : tuple of MultiverseRow
    notes : tuple of str
        Which choices are left out, and why.
    """
    refused = dict(multiverse.refused)
    for region in regions:
        refused = {**region.refused, **refused}
    by_choice: dict[tuple[Choice, RsaMetric], list[MultiverseRow]] = {}
    for region in regions:
        for row in region.rows:
            choice = row.voxel_selection, row.rdm_metric
            if choice not in refused:
                by_choice.setdefault((choice, row.rsa_metric), []).append(row)
    notes = _notes(refused, multiverse)
    return tuple(chain.from_iterable(by_choice.values())), tuple(notes)


def _place(choice: ComparisonSettings) -> Choice:
    return choice.voxel_selection, choice.rdm_metric


def _is_primary(choice: ComparisonSettings, primary: ComparisonSettings) -> bool:
    """Whether these are the settings of the main analysis."""
    return all(
        getattr(choice, name) == getattr(primary, name)
        for name in ("voxel_selection", "rdm_metric", "rsa_metric")
    )


def _notes(refused: Mapping[Choice, str], multiverse: Multiverse) -> Iterator[str]:
    """Note what is left out: slow comparisons, and choices of voxels and distance, by reason."""
    settings = multiverse.primary
    if multiverse.many_pairs:
        slow = [metric for metric in get_args(RsaMetric) if not is_product(metric)]
        but = "" if is_product(settings.rsa_metric) else ", except in the primary analysis"
        yield (
            f"the multiverse leaves out {', '.join(slow)}, which takes hours with so many "
            f"stimuli{but}"
        )
    there = [place for place in map(_place, multiverse.choices) if place not in refused]
    selections, metrics = {place[0] for place in there}, {place[1] for place in there}
    for reason in dict.fromkeys(refused.values()):
        names = [
            selection
            if selection not in selections
            else f"{metric} distances"
            if metric not in metrics
            else f"{selection} with {metric}"
            for (selection, metric), why in refused.items()
            if why == reason
        ]
        yield f"the multiverse leaves out {', '.join(dict.fromkeys(names))}: {reason}"


def _choices(settings: ComparisonSettings, rois: Collection[str]) -> Iterator[ComparisonSettings]:
    """Every choice that has a meaning: the threshold is that of one region, which may be absent."""
    n_draws = settings.n_random_draws
    if settings.voxel_selection != "random":
        n_draws = min(n_draws, N_RANDOM_DRAWS)
    for voxel_selection in get_args(VoxelSelection):
        if voxel_selection == "threshold" and settings.threshold_roi not in rois:
            continue
        for rdm_metric in _with_own(get_args(RdmMetric), settings.rdm_metric):
            yield replace(
                settings,
                voxel_selection=voxel_selection,
                rdm_metric=rdm_metric,
                n_random_draws=n_draws,
            )


def _with_own(metrics: tuple[str, ...], chosen: str) -> tuple[Any, ...]:
    """The metrics that there are, and the user's own function where one was chosen."""
    return (*metrics, chosen) if is_own(chosen) else metrics


def _rows(
    roi: str,
    brain: RegionRdms,
    model_set: ModelSet,
    choice: ComparisonSettings,
    primary: ComparisonSettings,
) -> Iterator[MultiverseRow]:
    models, rdms = model_set.rdms(choice.rdm_metric), brain.rdms
    scores = correlate_rdms(rdms.reshape(-1, rdms.shape[-1]), models, choice.rsa_metric)
    means = mean_over_subjects(scores.reshape(*rdms.shape[:-1], -1).mean(axis=0))
    pairwise, lower, upper = (
        float(mean_over_subjects(bound.mean(axis=0)))
        for bound in noise_ceiling(rdms, choice.rsa_metric)
    )
    ranks = rankdata(-means, nan_policy="omit")
    for name, group, rsa, rank in zip(model_set.names, model_set.groups, means, ranks, strict=True):
        yield MultiverseRow(
            voxel_selection=choice.voxel_selection,
            rdm_metric=choice.rdm_metric,
            rsa_metric=choice.rsa_metric,
            roi=roi,
            model=name,
            group=group,
            n_voxels=float(brain.n_voxels.mean()),
            rsa=float(rsa),
            rank=float(rank),
            ceiling=pairwise,
            lower=lower,
            upper=upper,
            circular=is_circular(choice),
            primary=_is_primary(choice, primary),
        )
