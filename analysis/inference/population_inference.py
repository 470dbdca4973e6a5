"""Inference about the populations of subjects and stimuli: the preset 'recommended'.

Which test answers which question stands in `docs/statistics.md`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.inference.best_models import may_be_best
from conceptrsa.analysis.inference.explained import SameStimuli, partial_scores, variance_parts
from conceptrsa.analysis.inference.findings import (
    ALPHA,
    MIXED_MODEL,
    ONE_SIDED_PERMUTATION,
    RANDOM_EFFECTS,
    TWO_SIDED_PERMUTATION,
    ZERO,
    CeilingInterval,
    CeilingName,
    GroupTest,
    Inference,
    ModelScore,
    ModelTest,
)
from conceptrsa.analysis.inference.generalisation import (
    OVER_SUBJECTS,
    Generalisation,
    ScoredRegion,
    generalise,
    generalise_apart,
)
from conceptrsa.analysis.inference.own_permutations import SubjectStudy, permute_own_labels
from conceptrsa.analysis.inference.permutation import (
    LabelPermutations,
    draw_permutations,
    label_tests,
    null_scores,
)
from conceptrsa.analysis.inference.random_effects import Estimates, Ratios
from conceptrsa.analysis.inference.tests_over_subjects import (
    compare_models_with_reference,
    correct,
    flip_signs,
)
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.settings import ComparisonSettings, RsaMetric, is_own, is_product

WITHOUT_ZERO = ("cosine", "whitened-cosine")
"""Comparisons by which unrelated RDMs are alike as well: distances are positive."""

NO_ZERO = (
    "the cosine of unrelated RDMs is above zero, so scores are not given as a share of the "
    "ceiling, and p-values come from label permutation only"
)

UNKNOWN_ZERO = (
    "its value for unrelated RDMs is unknown, so scores are not given as a share of the ceiling, "
    "and p-values come from label permutation only; intervals come from leaving out each pair of "
    "stimuli, which suits smooth functions, and are n/a if the function needs every pair"
)

SLOW_PERMUTATIONS = 200
"""Comparisons that are not sums of products cost hundreds of times more."""


def number_of_permutations(settings: ComparisonSettings) -> int:
    """Give the number of label permutations."""
    if is_product(settings.rsa_metric):
        return settings.n_permutations
    return min(settings.n_permutations, SLOW_PERMUTATIONS)


def has_no_zero(metric: str) -> bool:
    """Whether a comparison of unrelated RDMs is above zero."""
    return metric in WITHOUT_ZERO or is_own(metric)


@dataclass(frozen=True)
class RegionInference:
    """Part of the inference that depends on one region alone.

    Attributes
    ----------
    general : Generalisation
        To new subjects and new stimuli.
    null : ndarray, (permutations, models), or None
        Mean scores under every permutation of the stimuli's labels, the identity first; None where
        labels are permuted in all regions at once.
    expected : ndarray, (models,), or None
        Their means over all possible permutations.
    """

    general: Generalisation
    null: Floats | None = None
    expected: Floats | None = None


def label_permutations(n_stimuli: int, settings: ComparisonSettings) -> Integers:
    """Permutations of the stimuli's labels, the same in all regions, (permutations, stimuli)."""
    generator = np.random.default_rng([settings.seed, 3])
    return draw_permutations(n_stimuli, number_of_permutations(settings), generator)


def infer_region(
    region: ScoredRegion,
    model_rdms: Floats,
    groups: Sequence[str],
    metric: RsaMetric,
    permutations: Integers | None,
) -> RegionInference | None:
    """Estimate and permute one region; None where too few subjects have RDMs."""
    if not region.is_enough:
        return None
    if region.own is not None:
        if region.is_apart:
            of_present = region.own.of_subjects(region.complete)
            general = generalise_apart(of_present, groups, metric)
        else:
            general = generalise(region.rdms, model_rdms, groups, metric, region.own.scores)
        return RegionInference(_without_zero(general, metric) if has_no_zero(metric) else general)
    assert permutations is not None
    general = generalise(region.rdms, model_rdms, groups, metric)
    of_all = region.rdms.reshape(1, -1, region.rdms.shape[-1])
    null, expected = null_scores(of_all, model_rdms, metric, permutations)
    return RegionInference(
        general=_without_zero(general, metric) if has_no_zero(metric) else general,
        null=null[:, 0],
        expected=expected[0],
    )


def infer_population(
    regions: Mapping[str, ScoredRegion],
    found: Mapping[str, RegionInference | None],
    model_rdms: Floats,
    names: Sequence[str],
    groups: Sequence[str],
    reference: str,
    settings: ComparisonSettings,
    own_studies: Sequence[SubjectStudy] = (),
) -> Inference:
    """Test and estimate all that the tables of the preset 'recommended' hold.

    Parameters
    ----------
    regions : mapping of str to ScoredRegion
    found : mapping of str to RegionInference or None
        What `infer_region` gives of each region.
    model_rdms : ndarray, (models, pairs)
    names, groups : sequence of str
        Of the models.
    reference : str
        The model that signed-rank and sign-flip tests compare with.
    settings : ComparisonSettings
    own_studies : sequence of SubjectStudy
        Subjects whose labels are permuted here, as they are not scored on the same stimuli.

    Returns
    -------
    Inference
        Regions in which fewer than two subjects have RDMs in every fold have NaN scores and
        ceilings, and no rows in the other tables.
    """
    inferred = {roi: of_region for roi, of_region in found.items() if of_region is not None}
    empty = [roi for roi in regions if roi not in inferred]
    if not inferred:
        return Inference(*_nothing_known(empty, names, groups), (), (), (), ())
    metric, seed = settings.rsa_metric, settings.seed
    complete = {roi: regions[roi] for roi in inferred}
    scores = {roi: region.rsa for roi, region in complete.items()}
    over_subjects: tuple[ModelTest, ...] = ()
    if not has_no_zero(metric) and len(next(iter(scores.values()))) > 1:
        over_subjects = (
            *flip_signs(scores, names, reference, seed),
            *compare_models_with_reference(scores, names, reference, "rsa"),
        )
    population = _Population(
        names=names,
        groups=groups,
        regions=complete,
        general={roi: of_region.general for roi, of_region in inferred.items()},
        permutations=_permutations(inferred, groups, settings, own_studies),
    )
    studies = _studies(complete, model_rdms)
    kinds = next(iter(inferred.values())).general.ceilings.names
    scores_of_empty, ceilings_of_empty = _nothing_known(empty, names, groups, kinds)
    return Inference(
        model_scores=(*population.model_scores(), *scores_of_empty),
        ceilings=(*population.ceilings(), *ceilings_of_empty),
        variance_parts=variance_parts(studies, groups),
        partial_scores=partial_scores(studies, names, groups, metric),
        model_tests=(*population.model_tests(), *over_subjects),
        group_tests=population.group_tests(),
    )


def _permutations(
    inferred: Mapping[str, RegionInference],
    groups: Sequence[str],
    settings: ComparisonSettings,
    own_studies: Sequence[SubjectStudy],
) -> LabelPermutations:
    """Tests by permutation of labels in all regions."""
    if own_studies:
        found_by_labels = permute_own_labels(
            [study.of_regions(tuple(inferred)) for study in own_studies],
            groups,
            settings.rsa_metric,
            number_of_permutations(settings),
            np.random.default_rng([settings.seed, 3]),
        )
        too_few = found_by_labels.p_floor >= ALPHA
        return found_by_labels.without_p() if too_few else found_by_labels
    found = inferred.values()
    return label_tests(
        [one.null for one in found if one.null is not None],
        np.stack([one.expected for one in found if one.expected is not None]),
        groups,
    )


def _studies(regions: Mapping[str, ScoredRegion], model_rdms: Floats) -> list[SameStimuli]:
    """RDMs over the same stimuli: those of all subjects, or one study of each subject."""
    apart = {
        roi: region.own.single
        for roi, region in regions.items()
        if region.own is not None and region.is_apart
    }
    if not apart:
        rdms = {roi: region.rdms for roi, region in regions.items()}
        return [SameStimuli(rdms, model_rdms)]
    of_any = next(iter(apart.values()))
    return [
        SameStimuli(
            {roi: single[subject].brain[:, None] for roi, single in apart.items()},
            one.models,
            one.stimuli,
        )
        for subject, one in enumerate(of_any)
    ]


def _without_zero(found: Generalisation, metric: str) -> Generalisation:
    """Take away tests against zero, and shares of ceilings, where zero is not what chance gives."""

    def untested(estimates: Estimates) -> Estimates:
        return estimates._replace(p=np.full_like(estimates.p, np.nan))

    nothing = np.full_like(found.normalised.ratio, np.nan)
    return replace(
        found,
        models=untested(found.models),
        model_pairs=untested(found.model_pairs),
        group_pairs=untested(found.group_pairs),
        normalised=Ratios(nothing, nothing, nothing, UNKNOWN_ZERO if is_own(metric) else NO_ZERO),
    )


def _nothing_known(
    empty: Sequence[str],
    names: Sequence[str],
    groups: Sequence[str],
    kinds: Sequence[CeilingName] = OVER_SUBJECTS,
) -> tuple[tuple[ModelScore, ...], tuple[CeilingInterval, ...]]:
    """Rows of regions without RDMs."""
    scores = tuple(
        ModelScore(roi=roi, model=name, group=group, withheld="fewer than two subjects have an RDM")
        for roi in empty
        for name, group in zip(names, groups, strict=True)
    )
    ceilings = tuple(
        CeilingInterval(roi=roi, ceiling=ceiling) for roi in empty for ceiling in kinds
    )
    return scores, ceilings


@dataclass(frozen=True)
class _Population:
    """Findings of each region, and the rows of tables made from them."""

    names: Sequence[str]
    groups: Sequence[str]
    regions: Mapping[str, ScoredRegion]
    general: Mapping[str, Generalisation]
    permutations: LabelPermutations

    def model_scores(self) -> Iterator[ModelScore]:
        tests = self.permutations.models
        for r, (roi, region) in enumerate(self.regions.items()):
            estimates, ratios = self.general[roi].models, self.general[roi].normalised
            errors = self.general[roi].errors
            means = mean_over_subjects(region.rsa)
            contenders = may_be_best(estimates.estimate, self.general[roi].model_pairs)
            for m, (name, group) in enumerate(zip(self.names, self.groups, strict=True)):
                yield ModelScore(
                    roi=roi,
                    model=name,
                    group=group,
                    rsa=float(means[m]),
                    low=float(estimates.lower[m]),
                    high=float(estimates.upper[m]),
                    se_subjects=float(errors[0, m]),
                    se_stimuli=float(errors[1, m]),
                    se_both=float(estimates.standard_error[m]),
                    may_be_best=contenders[m],
                    p=float(tests.p[r, m]),
                    p_max=float(tests.p_max[r, m]),
                    p_fdr=float(tests.p_fdr[r, m]),
                    normalised=float(ratios.ratio[m]),
                    normalised_low=float(ratios.lower[m]),
                    normalised_high=float(ratios.upper[m]),
                    withheld=ratios.withheld,
                )

    def ceilings(self) -> Iterator[CeilingInterval]:
        for roi, region in self.regions.items():
            found = self.general[roi].ceilings
            for row, ceiling in enumerate(found.names):
                yield CeilingInterval(
                    roi=roi,
                    ceiling=ceiling,
                    estimate=float(found.estimate[row]),
                    low=float(found.lower[row]),
                    high=float(found.upper[row]),
                    p=region.ceiling_p if row == 0 else np.nan,
                )

    def model_tests(self) -> Iterator[ModelTest]:
        """Models against zero, and each two models: by permutation, and by random effects."""
        against_zero = [(name, ZERO) for name in self.names]
        between = list(combinations(self.names, 2))
        n_scored = {
            roi: int(np.isfinite(region.rsa).any(axis=1).sum())
            for roi, region in self.regions.items()
        }
        for tested, tests, test in (
            (against_zero, self.permutations.models, ONE_SIDED_PERMUTATION),
            (between, self.permutations.model_pairs, TWO_SIDED_PERMUTATION),
        ):
            for r, roi in enumerate(self.regions):
                for t, (model, other) in enumerate(tested):
                    yield ModelTest(
                        roi=roi,
                        model=model,
                        reference=other,
                        test=test,
                        n=n_scored[roi],
                        p_floor=self.permutations.p_floor,
                        **tests.row(r, t),
                    )
        for tested, estimates in (
            (against_zero, {roi: found.models for roi, found in self.general.items()}),
            (between, {roi: found.model_pairs for roi, found in self.general.items()}),
        ):
            yield from correct(
                [
                    ModelTest(
                        roi=roi,
                        model=model,
                        reference=other,
                        test=RANDOM_EFFECTS,
                        n=n_scored[roi],
                        **estimates[roi].row(t),
                    )
                    for roi in self.regions
                    for t, (model, other) in enumerate(tested)
                ]
            )

    def group_tests(self) -> tuple[GroupTest, ...]:
        """Each two groups, by permutation of the stimuli's labels and by the mixed model."""
        membership = np.asarray(self.groups)
        group_names = dict.fromkeys(self.groups)
        by_permutation, by_model = [], []
        for r, (roi, region) in enumerate(self.regions.items()):
            means = mean_over_subjects(region.rsa)
            of_group = {group: float(np.mean(means[membership == group])) for group in group_names}
            for t, (a, b) in enumerate(combinations(of_group, 2)):
                shared: dict[str, Any] = {
                    "roi": roi,
                    "group_a": a,
                    "group_b": b,
                    "mean_a": of_group[a],
                    "mean_b": of_group[b],
                    "n": int(np.isin(membership, [a, b]).sum()),
                }
                by_permutation.append(
                    GroupTest(
                        **shared,
                        test=TWO_SIDED_PERMUTATION,
                        p_floor=self.permutations.p_floor,
                        **self.permutations.group_pairs.row(r, t),
                    )
                )
                by_model.append(
                    GroupTest(**shared, test=MIXED_MODEL, **self.general[roi].group_pairs.row(t))
                )
        return (*by_permutation, *correct(by_model))
