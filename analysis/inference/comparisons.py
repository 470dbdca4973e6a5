"""Rows of the tables of tests: models and groups against zero and against each other.

Which test answers which question stands in `docs/statistics.md`.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from conceptrsa.analysis.inference.generalisation import Generalisation, ScoredRegion
from conceptrsa.analysis.inference.multiple_testing import PermutationTests
from conceptrsa.analysis.inference.paper_tests import (
    ROUNDING,
    GroupTest,
    ModelTest,
    compare_models_with_reference,
    correct,
    without_rounding,
)
from conceptrsa.analysis.inference.permutation import LabelPermutations
from conceptrsa.analysis.inference.random_effects import Estimates
from conceptrsa.analysis.inference.sign_flip import sign_flip_test
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.settings import ComparisonSettings, is_own

ZERO = "zero"
"""What a model is tested against where there is no other model."""

ONE_SIDED_PERMUTATION = "label permutation, one-sided"
TWO_SIDED_PERMUTATION = (
    "screen: label permutation, two-sided; of neither being related to the brain"
)
RANDOM_EFFECTS = "random effects of subjects and stimuli, two-sided"
MIXED_MODEL = "mixed model of subjects, stimuli and models, two-sided"
SIGN_FLIP = "sign-flip over subjects, two-sided"

WITHOUT_ZERO = ("cosine", "whitened-cosine")
"""Comparisons by which unrelated RDMs are alike as well: distances are positive."""

NO_ZERO = (
    "the cosine of unrelated RDMs is above zero, so a score is no share of a ceiling; p-values are "
    "those of label permutation only"
)

UNKNOWN_ZERO = (
    "what this function gives for unrelated RDMs is not known, so a score is no share of a "
    "ceiling; p-values are those of label permutation only"
)


SLOW_PERMUTATIONS, SLOW_BOOTSTRAPS = 200, 100
"""What is no sum of products costs hundreds of times what the others do."""


def has_no_zero(metric: str) -> bool:
    """Whether unrelated RDMs may be alike by a comparison."""
    return metric in WITHOUT_ZERO or is_own(metric)


def model_tests_by_permutation(
    regions: Mapping[str, ScoredRegion], permutations: LabelPermutations
) -> Iterator[ModelTest]:
    """Models against zero, and each two models, by permutation of the stimuli's labels."""
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


def model_tests_by_random_effects(
    regions: Mapping[str, ScoredRegion], general: Mapping[str, Generalisation], names: Sequence[str]
) -> tuple[ModelTest, ...]:
    """Models against zero, and each two models, for new subjects and new stimuli."""
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
        p=float(estimates.p[index]) if estimates.standard_error[index] > ROUNDING**0.5 else np.nan,
        p_corrected=np.nan,
        test=RANDOM_EFFECTS,
        n=_n_present(region),
        p_floor=np.nan,
        low=float(estimates.lower[index]),
        high=float(estimates.upper[index]),
    )


def tests_over_subjects(
    regions: Mapping[str, ScoredRegion],
    names: Sequence[str],
    reference: str,
    settings: ComparisonSettings,
) -> tuple[ModelTest, ...]:
    """Sign-flip and signed-rank tests, where zero is what chance gives."""
    if has_no_zero(settings.rsa_metric):
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


def group_tests_of(
    regions: Mapping[str, ScoredRegion],
    general: Mapping[str, Generalisation],
    permutations: LabelPermutations,
    groups: Sequence[str],
) -> Iterator[GroupTest]:
    """Each two groups, by permutation of the stimuli's labels and by the mixed model."""
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
