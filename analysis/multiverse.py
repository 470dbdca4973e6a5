"""Every choice of voxels x distance x comparison: does the answer depend on the choice?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from typing import Any, get_args

from scipy.stats import rankdata

from conceptrsa.analysis.brain.brain_rdms import BrainRdms, brain_rdms
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

N_RANDOM_DRAWS = 4
"""Draws of random voxels, enough for a mean; the sweep of Figure 1 shows their spread."""


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


def run_multiverse(
    subjects: Sequence[SubjectPatterns], model_set: ModelSet, settings: ComparisonSettings
) -> tuple[tuple[MultiverseRow, ...], tuple[str, ...]]:
    """Score all models by all choices that the data allow.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns
    model_set : ModelSet
    settings : ComparisonSettings
        Of the primary analysis; all that is no choice of the multiverse stays as it is there. The
        number of voxels of best-n is that of the primary comparison of RDMs.

    Returns
    -------
    rows : tuple of MultiverseRow
    notes : tuple of str
        Which choices are left out, and why.
    """
    many_pairs = comb(len(model_set.stimuli), 2) > MAX_PAIRS_OF_SIGNS
    rows: list[MultiverseRow] = []
    left_out: dict[tuple[str, str], list[str]] = {}
    for choice in _choices(settings):
        try:
            brain = brain_rdms(subjects, choice)
        except InputError as error:
            left_out.setdefault((choice.rdm_metric, str(error)), []).append(choice.voxel_selection)
            continue
        for rsa_metric in _with_own(get_args(RsaMetric), settings.rsa_metric):
            specified = replace(choice, rsa_metric=rsa_metric)
            if is_product(rsa_metric) or not many_pairs or _is_primary(specified, settings):
                rows.extend(_rows(brain, model_set, specified, settings))
    return tuple(rows), tuple(_notes(left_out, many_pairs, settings))


def _is_primary(choice: ComparisonSettings, primary: ComparisonSettings) -> bool:
    """Whether these are the choices declared beforehand."""
    return all(
        getattr(choice, name) == getattr(primary, name)
        for name in ("voxel_selection", "rdm_metric", "rsa_metric")
    )


def _notes(
    left_out: Mapping[tuple[str, str], Sequence[str]],
    many_pairs: bool,
    settings: ComparisonSettings,
) -> Iterator[str]:
    """What is left out: slow comparisons, and voxel selections by distance and reason."""
    if many_pairs:
        slow = [metric for metric in get_args(RsaMetric) if not is_product(metric)]
        but = "" if is_product(settings.rsa_metric) else ", but for the primary analysis"
        yield (
            f"the multiverse leaves out {', '.join(slow)}, which takes hours with so many "
            f"stimuli{but}"
        )
    for (rdm_metric, reason), selections in left_out.items():
        every = len(selections) == len(get_args(VoxelSelection))
        which = rdm_metric if every else f"{', '.join(selections)} with {rdm_metric}"
        yield f"the multiverse leaves out {which}: {reason}"


def _choices(settings: ComparisonSettings) -> Iterator[ComparisonSettings]:
    n_draws = settings.n_random_draws
    if settings.voxel_selection != "random":
        n_draws = min(n_draws, N_RANDOM_DRAWS)
    for voxel_selection in get_args(VoxelSelection):
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
    brain: BrainRdms, model_set: ModelSet, choice: ComparisonSettings, primary: ComparisonSettings
) -> Iterator[MultiverseRow]:
    models = model_set.rdms(choice.rdm_metric)
    for roi, rdms in brain.rdms.items():
        scores = correlate_rdms(rdms.reshape(-1, rdms.shape[-1]), models, choice.rsa_metric)
        means = mean_over_subjects(scores.reshape(*rdms.shape[:-1], -1).mean(axis=0))
        pairwise, lower, upper = (
            float(mean_over_subjects(bound.mean(axis=0)))
            for bound in noise_ceiling(rdms, choice.rsa_metric)
        )
        ranks = rankdata(-means, nan_policy="omit")
        for name, group, rsa, rank in zip(
            model_set.names, model_set.groups, means, ranks, strict=True
        ):
            yield MultiverseRow(
                voxel_selection=choice.voxel_selection,
                rdm_metric=choice.rdm_metric,
                rsa_metric=choice.rsa_metric,
                roi=roi,
                model=name,
                group=group,
                n_voxels=float(brain.n_voxels[roi].mean()),
                rsa=float(rsa),
                rank=float(rank),
                ceiling=pairwise,
                lower=lower,
                upper=upper,
                circular=is_circular(choice),
                primary=_is_primary(choice, primary),
            )
