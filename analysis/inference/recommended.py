"""Inference on the primary analysis: for new subjects and new stimuli, with the label permutation.

Which test answers which question stands in `docs/statistics.md`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from analysis.inference.bootstrap import bootstrap_with, draw_samples
from analysis.inference.bootstrap_intervals import one_factor_variance, two_factor_variance
from analysis.inference.explained import MIN_STIMULI, partial_scores, variance_parts
from analysis.inference.findings import CeilingInterval, CeilingName, Inference, ModelScore
from analysis.inference.generalisation import Bounds, Generalisation, generalise
from analysis.inference.multiple_testing import PermutationTests
from analysis.inference.permutation import LabelPermutations, permute_labels
from analysis.inference.random_effects import Estimates
from analysis.inference.ratio import Ratios
from analysis.inference.sign_flip import sign_flip_test
from analysis.rsa import number_of_stimuli
from analysis.settings import ComparisonSettings
from analysis.significance import (
    ROUNDING,
    GroupTest,
    ModelTest,
    compare_models_with_reference,
    correct,
    mean_over_subjects,
    without_rounding,
)

ZERO = "zero"
"""What a model is tested against where there is no other model."""

ONE_SIDED_PERMUTATION = "label permutation, one-sided"
TWO_SIDED_PERMUTATION = "label permutation, two-sided; of neither being related to the brain"
RANDOM_EFFECTS = "random effects of subjects and stimuli, two-sided"
MIXED_MODEL = "mixed model of subjects, stimuli and models, two-sided"
SIGN_FLIP = "sign-flip over subjects, two-sided"

WITHOUT_ZERO = ("cosine", "whitened-cosine")
"""Comparisons by which unrelated RDMs are alike as well: distances are positive."""

NO_ZERO = (
    "the cosine of unrelated RDMs is above zero, so a score is no share of a ceiling; p-values are "
    "those of label permutation only"
)

SLOW_METRIC = "kendall-tau-a"
SLOW_PERMUTATIONS, SLOW_BOOTSTRAPS = 200, 100
"""Kendall's tau-a costs hundreds of times what the others do."""


@dataclass(frozen=True)
class ScoredRegion:
    """One region of the primary analysis; a subject without an RDM in a fold has none in any.

    Attributes
    ----------
    rdms : ndarray, (folds, subjects, pairs)
    rsa : ndarray, (subjects, models)
    ceiling_p : float
        Of the pairwise ceiling, by permutation.
    """

    rdms: NDArray[np.float64]
    rsa: NDArray[np.float64]
    ceiling_p: float

    @property
    def n_complete(self) -> int:
        """Subjects with an RDM in every fold."""
        return int(np.isfinite(self.rdms).all(axis=(0, 2)).sum())


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
    if settings.rsa_metric == SLOW_METRIC:
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
    if settings.rsa_metric in WITHOUT_ZERO:
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
            *_model_tests_by_permutation(regions, permutations),
            *_model_tests_by_random_effects(regions, general, names),
            *_tests_over_subjects(regions, names, reference, settings),
        ),
        group_tests=tuple(_group_tests(regions, general, permutations, groups)),
    )


def _without_zero(found: Generalisation) -> Generalisation:
    """Take away tests against zero, and shares of ceilings, where zero is not what chance gives."""

    def untested(estimates: Estimates) -> Estimates:
        return replace(estimates, p=np.full_like(estimates.p, np.nan))

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
    """Standard errors (3, models) over subjects, stimuli and both, from the same draws.

    With their small-sample factors, and that over both corrected (Schuett et al., 2023).
    """
    n_subjects = next(iter(regions.values())).rsa.shape[0]
    n_stimuli = number_of_stimuli(model_rdms.shape[-1])
    draws = draw_samples(
        n_stimuli, n_subjects, "both", n_bootstraps, np.random.default_rng([settings.seed, 4])
    )
    errors = {}
    for roi, region in regions.items():
        over_subjects, over_stimuli, over_both = (
            bootstrap_with(drawn, region.rdms, model_rdms, settings.rsa_metric).scores
            for drawn in (draws.of_subjects(), draws.of_stimuli(), draws)
        )
        variances = np.stack(
            [
                one_factor_variance(over_subjects, n_subjects),
                one_factor_variance(over_stimuli, n_stimuli),
                two_factor_variance(over_both, over_subjects, over_stimuli, n_subjects, n_stimuli),
            ]
        )
        errors[roi] = (
            np.sqrt(variances) if n_stimuli >= MIN_STIMULI else np.full_like(variances, np.nan)
        )
    return errors


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
        yield _ceiling_row(roi, "pairwise", found.pairwise, region.ceiling_p)
        yield _ceiling_row(roi, "lower", found.nili_lower, np.nan)
        yield _ceiling_row(roi, "upper", found.nili_upper, np.nan)


def _ceiling_row(roi: str, ceiling: CeilingName, bounds: Bounds, p: float) -> CeilingInterval:
    return CeilingInterval(roi, ceiling, bounds.estimate, bounds.lower, bounds.upper, p)


def _model_tests_by_permutation(
    regions: Mapping[str, ScoredRegion], permutations: LabelPermutations
) -> Iterator[ModelTest]:
    for tests, test in (
        (permutations.models, ONE_SIDED_PERMUTATION),
        (permutations.model_pairs, TWO_SIDED_PERMUTATION),
    ):
        for r, (roi, region) in enumerate(regions.items()):
            for t, tested in enumerate(tests.tested):
                yield ModelTest(
                    roi=roi,
                    model=tested[0],
                    reference=tested[1] if len(tested) > 1 else ZERO,
                    score="rsa",
                    test=test,
                    n=_n_present(region),
                    p_floor=permutations.p_floor,
                    **_permuted(tests, r, t),
                )


def _permuted(tests: PermutationTests, r: int, t: int) -> dict[str, Any]:
    return {
        "statistic": float(tests.statistic[r, t]),
        "p": float(tests.p[r, t]),
        "p_corrected": float(tests.p_fdr[r, t]),
        "p_max": float(tests.p_max[r, t]),
    }


def _model_tests_by_random_effects(
    regions: Mapping[str, ScoredRegion], general: Mapping[str, Generalisation], names: Sequence[str]
) -> tuple[ModelTest, ...]:
    against_zero, between = [], []
    for roi, region in regions.items():
        for m, name in enumerate(names):
            against_zero.append(_estimated(roi, region, general[roi].models, m, name, ZERO))
        for t, (a, b) in enumerate(combinations(names, 2)):
            between.append(_estimated(roi, region, general[roi].model_pairs, t, a, b))
    return (*correct(against_zero), *correct(between))


def _estimated(
    roi: str, region: ScoredRegion, estimates: Estimates, index: int, model: str, reference: str
) -> ModelTest:
    return ModelTest(
        roi=roi,
        model=model,
        reference=reference,
        score="rsa",
        statistic=float(estimates.estimate[index]),
        # Models that are the same differ by rounding.
        p=float(estimates.p[index]) if estimates.standard_error[index] > ROUNDING else np.nan,
        p_corrected=np.nan,
        test=RANDOM_EFFECTS,
        n=_n_present(region),
        p_floor=np.nan,
        low=float(estimates.lower[index]),
        high=float(estimates.upper[index]),
    )


def _tests_over_subjects(
    regions: Mapping[str, ScoredRegion],
    names: Sequence[str],
    reference: str,
    settings: ComparisonSettings,
) -> tuple[ModelTest, ...]:
    """Sign-flip and signed-rank tests, where zero is what chance gives."""
    if settings.rsa_metric in WITHOUT_ZERO:
        return ()
    scores = {roi: region.rsa for roi, region in regions.items()}
    return (
        *_sign_flips(regions, names, reference, settings),
        *compare_models_with_reference(scores, names, reference, "rsa"),
    )


def _sign_flips(
    regions: Mapping[str, ScoredRegion],
    names: Sequence[str],
    reference: str,
    settings: ComparisonSettings,
) -> tuple[ModelTest, ...]:
    """Each model against zero and against the reference, over subjects with these stimuli."""
    column = list(names).index(reference)
    against_zero: list[ModelTest] = []
    against_reference: list[ModelTest] = []
    for roi, region in regions.items():
        values = region.rsa[np.isfinite(region.rsa).all(axis=1)]
        differences = without_rounding(values - values[:, [column]])
        for scores, other, tests in (
            (values, ZERO, against_zero),
            (differences, reference, against_reference),
        ):
            found = sign_flip_test(scores, np.random.default_rng([settings.seed, 5]))
            tests.extend(
                ModelTest(
                    roi=roi,
                    model=name,
                    reference=other,
                    score="rsa",
                    statistic=float(scores[:, m].mean()) if len(scores) else np.nan,
                    p=float(found.p[m]),
                    p_corrected=np.nan,
                    test=f"{SIGN_FLIP}, {'exact' if found.exact else 'random flips'}",
                    n=len(scores),
                    p_floor=found.p_floor,
                )
                for m, name in enumerate(names)
                if name != other
            )
    return (*correct(against_zero), *correct(against_reference))


def _group_tests(
    regions: Mapping[str, ScoredRegion],
    general: Mapping[str, Generalisation],
    permutations: LabelPermutations,
    groups: Sequence[str],
) -> Iterator[GroupTest]:
    membership = np.asarray(groups)
    by_permutation, by_model = [], []
    for r, (roi, region) in enumerate(regions.items()):
        means = mean_over_subjects(region.rsa)
        of_group = {
            group: float(np.mean(means[membership == group])) for group in dict.fromkeys(groups)
        }
        estimates = general[roi].group_pairs
        for t, (a, b) in enumerate(combinations(of_group, 2)):
            shared: dict[str, Any] = {
                "roi": roi,
                "group_a": a,
                "group_b": b,
                "score": "rsa",
                "mean_a": of_group[a],
                "mean_b": of_group[b],
                "n": int(np.isin(membership, [a, b]).sum()),
            }
            by_permutation.append(
                GroupTest(
                    **shared,
                    test=TWO_SIDED_PERMUTATION,
                    p_floor=permutations.p_floor,
                    **_permuted(permutations.group_pairs, r, t),
                )
            )
            by_model.append(
                GroupTest(
                    **shared,
                    test=MIXED_MODEL,
                    statistic=float(estimates.estimate[t]),
                    p=float(estimates.p[t]),
                    p_corrected=np.nan,
                    low=float(estimates.lower[t]),
                    high=float(estimates.upper[t]),
                )
            )
    yield from by_permutation
    yield from correct(by_model)


def _n_present(region: ScoredRegion) -> int:
    """Subjects with a score."""
    return int(np.isfinite(region.rsa).any(axis=1).sum())
