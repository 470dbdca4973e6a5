"""Inference on the primary analysis: for new subjects and new stimuli, with the label permutation.

Which test answers which question stands in `docs/statistics.md`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.inference.bootstrap import bootstrap_errors, draw_samples
from conceptrsa.analysis.inference.comparisons import (
    NO_ZERO,
    SLOW_BOOTSTRAPS,
    SLOW_PERMUTATIONS,
    group_tests_of,
    has_no_zero,
    model_tests_by_permutation,
    model_tests_by_random_effects,
    tests_over_subjects,
)
from conceptrsa.analysis.inference.explained import MIN_STIMULI, partial_scores, variance_parts
from conceptrsa.analysis.inference.findings import (
    CeilingInterval,
    CeilingName,
    Inference,
    ModelScore,
)
from conceptrsa.analysis.inference.generalisation import (
    Generalisation,
    ScoredRegion,
    generalise,
)
from conceptrsa.analysis.inference.permutation import LabelPermutations, permute_labels
from conceptrsa.analysis.inference.random_effects import Estimates, Ratios
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, number_of_stimuli
from conceptrsa.analysis.settings import ComparisonSettings, is_product


def infer(
    regions: Mapping[str, ScoredRegion],
    model_rdms: NDArray[np.float64],
    names: Sequence[str],
    groups: Sequence[str],
    reference: str,
    settings: ComparisonSettings,
) -> Inference:
    """Test and estimate all that the tables of the preset 'recommended' hold.

    Parameters
    ----------
    regions : mapping of str to ScoredRegion
    model_rdms : ndarray, (models, pairs)
    names, groups : sequence of str
        Of the models.
    reference : str
        The model that signed-rank and sign-flip tests compare with.
    settings : ComparisonSettings

    Returns
    -------
    Inference
        Regions in which fewer than two subjects have RDMs in every fold have NaN scores and
        ceilings, and no rows in the other tables.
    """
    empty = [roi for roi, region in regions.items() if region.n_complete < 2]
    regions = {roi: region for roi, region in regions.items() if roi not in empty}
    if not regions:
        return Inference(*_nothing_known(empty, names, groups), (), (), (), ())
    n_permutations, n_bootstraps = settings.n_permutations, settings.n_bootstraps
    if not is_product(settings.rsa_metric):
        n_permutations = min(n_permutations, SLOW_PERMUTATIONS)
        n_bootstraps = min(n_bootstraps, SLOW_BOOTSTRAPS)
    permutations = permute_labels(
        {roi: region.rdms for roi, region in regions.items()},
        model_rdms,
        names,
        groups,
        settings.rsa_metric,
        n_permutations,
        np.random.default_rng([settings.seed, 3]),
    )
    general = {
        roi: generalise(region.rdms, model_rdms, groups, settings.rsa_metric)
        for roi, region in regions.items()
    }
    if has_no_zero(settings.rsa_metric):
        general = {roi: _without_zero(found) for roi, found in general.items()}
    errors = _bootstrap_errors(regions, model_rdms, n_bootstraps, settings)
    scores_of_empty, ceilings_of_empty = _nothing_known(empty, names, groups)
    return Inference(
        model_scores=(
            *_model_scores(regions, general, permutations, errors, names, groups),
            *scores_of_empty,
        ),
        ceilings=(*_ceilings(regions, general), *ceilings_of_empty),
        variance_parts=variance_parts(
            {roi: region.rdms for roi, region in regions.items()}, model_rdms, groups
        ),
        partial_scores=partial_scores(
            {roi: region.rdms for roi, region in regions.items()},
            model_rdms,
            names,
            groups,
            settings.rsa_metric,
        ),
        model_tests=(
            *model_tests_by_permutation(regions, permutations),
            *model_tests_by_random_effects(regions, general, names),
            *tests_over_subjects(regions, names, reference, settings),
        ),
        group_tests=tuple(group_tests_of(regions, general, permutations, groups)),
    )


def _without_zero(found: Generalisation) -> Generalisation:
    """Take away tests against zero, and shares of ceilings, where zero is not what chance gives."""

    def untested(estimates: Estimates) -> Estimates:
        return estimates._replace(p=np.full_like(estimates.p, np.nan))

    nothing = np.full_like(found.normalised.ratio, np.nan)
    return replace(
        found,
        models=untested(found.models),
        model_pairs=untested(found.model_pairs),
        group_pairs=untested(found.group_pairs),
        normalised=Ratios(nothing, nothing, nothing, NO_ZERO),
    )


def _nothing_known(
    empty: Sequence[str], names: Sequence[str], groups: Sequence[str]
) -> tuple[tuple[ModelScore, ...], tuple[CeilingInterval, ...]]:
    """Rows of regions without RDMs."""
    numbers: dict[str, Any] = {
        number.name: np.nan for number in fields(ModelScore) if number.type is float
    }
    scores = tuple(
        ModelScore(
            roi=roi,
            model=name,
            group=group,
            withheld="fewer than two subjects have an RDM",
            **numbers,
        )
        for roi in empty
        for name, group in zip(names, groups, strict=True)
    )
    ceilings = tuple(
        CeilingInterval(roi, ceiling, *[np.nan] * 4)
        for roi in empty
        for ceiling in get_args(CeilingName)
    )
    return scores, ceilings


def _bootstrap_errors(
    regions: Mapping[str, ScoredRegion],
    model_rdms: NDArray[np.float64],
    n_bootstraps: int,
    settings: ComparisonSettings,
) -> dict[str, NDArray[np.float64]]:
    """Standard errors (3, models) by region, from the same draws."""
    n_subjects = next(iter(regions.values())).rsa.shape[0]
    n_stimuli = number_of_stimuli(model_rdms.shape[-1])
    if n_stimuli < MIN_STIMULI:
        return {roi: np.full((3, len(model_rdms)), np.nan) for roi in regions}
    generator = np.random.default_rng([settings.seed, 4])
    draws = draw_samples(n_stimuli, n_subjects, n_bootstraps, generator)
    return {
        roi: bootstrap_errors(draws, region.rdms, model_rdms, settings.rsa_metric)
        for roi, region in regions.items()
    }


def _model_scores(
    regions: Mapping[str, ScoredRegion],
    general: Mapping[str, Generalisation],
    permutations: LabelPermutations,
    errors: Mapping[str, NDArray[np.float64]],
    names: Sequence[str],
    groups: Sequence[str],
) -> Iterator[ModelScore]:
    tests = permutations.models
    for r, (roi, region) in enumerate(regions.items()):
        estimates, ratios = general[roi].models, general[roi].normalised
        means = mean_over_subjects(region.rsa)
        for m, (name, group) in enumerate(zip(names, groups, strict=True)):
            yield ModelScore(
                roi=roi,
                model=name,
                group=group,
                rsa=float(means[m]),
                low=float(estimates.lower[m]),
                high=float(estimates.upper[m]),
                se_subjects=float(errors[roi][0, m]),
                se_stimuli=float(errors[roi][1, m]),
                se_both=float(errors[roi][2, m]),
                p=float(tests.p[r, m]),
                p_max=float(tests.p_max[r, m]),
                p_fdr=float(tests.p_fdr[r, m]),
                normalised=float(ratios.ratio[m]),
                normalised_low=float(ratios.lower[m]),
                normalised_high=float(ratios.upper[m]),
                withheld=ratios.withheld,
            )


def _ceilings(
    regions: Mapping[str, ScoredRegion], general: Mapping[str, Generalisation]
) -> Iterator[CeilingInterval]:
    for roi, region in regions.items():
        found = general[roi].ceilings
        for row, ceiling in enumerate(get_args(CeilingName)):
            yield CeilingInterval(
                roi=roi,
                ceiling=ceiling,
                estimate=float(found.estimate[row]),
                low=float(found.lower[row]),
                high=float(found.upper[row]),
                p=region.ceiling_p if ceiling == "pairwise" else np.nan,
            )
