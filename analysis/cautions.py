"""Reasons to doubt a result, in words."""

from collections.abc import Iterator, Sequence

import numpy as np

from conceptrsa.analysis.inference.findings import (
    ALPHA,
    ONE_SIDED_PERMUTATION,
    SIGN_FLIP,
    SIGNED_RANK,
    WELCH,
    GroupTest,
    ModelTest,
)
from conceptrsa.analysis.inference.population_inference import (
    NO_ZERO,
    UNKNOWN_ZERO,
    has_no_zero,
    number_of_permutations,
)
from conceptrsa.analysis.inference.tests_over_subjects import signed_rank_floor
from conceptrsa.analysis.results import Analysis, RoiResult
from conceptrsa.analysis.rsa.ceiling_sweep import MIN_VOXELS
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.rsa.noise_ceiling import sem_of_ceilings
from conceptrsa.analysis.settings import is_own, is_product

TESTS_OVER_SUBJECTS = (SIGNED_RANK, SIGN_FLIP)

FEWEST_PERMUTATIONS = 0.01
"""Permutations of labels that give no smaller p are few enough to be spoken of."""

MOST_REGIONS = 12
"""A caution about more regions names so many."""


def cautions(
    primary: Analysis,
    subjects: Sequence[str],
    model_tests: Sequence[ModelTest],
    group_tests: Sequence[GroupTest],
) -> tuple[str, ...]:
    """Name every reason to doubt the results of an analysis; of single regions last."""
    return (
        *_circular_selection(primary),
        *_unreachable_alpha(model_tests),
        *_only_these_stimuli(primary, model_tests),
        *_few_permutations(model_tests),
        *_dependent_models(group_tests),
        *_costly_metric(primary),
        *_no_zero(primary),
        *(caution for roi in primary.rois for caution in _absent(roi, subjects)),
        *_weak_ceilings(primary.rois),
        *_ceilings_below_zero(primary.rois, subjects),
    )


def _circular_selection(primary: Analysis) -> Iterator[str]:
    if not primary.circular:
        return
    settings = primary.settings
    number = "" if settings.voxel_selection == "best-n" else f", {settings.n_voxels}"
    yield (
        f"circular selection: voxels ({settings.voxel_selection}{number}) are chosen on the same "
        "betas that are scored, so ceilings, above all the peak of their sweep over the number of "
        "voxels, are optimistic until confirmed in independent runs"
    )


def _absent(roi: RoiResult, subjects: Sequence[str]) -> Iterator[str]:
    """Say who has no result in a region, and why."""
    has_score = np.isfinite(roi.rsa).any(axis=1)
    reasons = {
        f"fewer than {MIN_VOXELS} voxels were selected": ~roi.has_rdm,
        "all distances are the same": roi.has_rdm & ~has_score,
    }
    for reason, absent in reasons.items():
        if absent.any():
            who = [label for label, is_absent in zip(subjects, absent, strict=True) if is_absent]
            of_whom = (
                "no subject has a result" if absent.all() else f"no result for {', '.join(who)}"
            )
            yield f"{roi.roi}: {of_whom}: {reason}"
    if has_score.sum() == 1 < len(subjects):
        yield f"{roi.roi}: only one subject has a result, so there is no noise ceiling and no test"


def _weak_ceilings(rois: Sequence[RoiResult]) -> Iterator[str]:
    weak = []
    for roi in rois:
        if np.isfinite(roi.ceiling_p) and roi.has_weak_ceiling:
            mean = float(mean_over_subjects(roi.ceiling.pairwise))
            sem = float(sem_of_ceilings(roi.ceiling.pairwise))
            spread = f" ± {sem:.3f}" if np.isfinite(sem) else ""
            weak.append(f"{roi.roi} ({mean:.3f}{spread}, p = {roi.ceiling_p:.3g})")
    if weak:
        yield (
            "the noise ceiling (± standard error) does not exceed the 95th percentile of ceilings "
            f"with permuted stimuli, so normalised scores mean little, in {_first(weak)}"
        )


def _ceilings_below_zero(rois: Sequence[RoiResult], subjects: Sequence[str]) -> Iterator[str]:
    below = []
    for roi in rois:
        who = [label for label, c in zip(subjects, roi.ceiling.pairwise, strict=True) if c <= 0]
        if who:
            below.append(f"{roi.roi} for {', '.join(who)}")
    if below:
        yield (
            "no normalised scores for subjects whose noise ceiling is not above zero: "
            f"{_first(below, '; ')}"
        )


def _first(texts: Sequence[str], separator: str = ", ") -> str:
    """Join texts, of very many the first ones."""
    n_more = len(texts) - MOST_REGIONS
    more = [f"and {n_more} more regions"] if n_more > 0 else []
    return separator.join([*texts[:MOST_REGIONS], *more])


def _unreachable_alpha(model_tests: Sequence[ModelTest]) -> Iterator[str]:
    made = [
        test
        for test in model_tests
        if np.isfinite(test.p) and test.test.startswith(TESTS_OVER_SUBJECTS)
    ]
    hopeless = [test for test in made if test.p_floor > ALPHA]
    if not hopeless:
        return
    smallest = min(made, key=lambda test: test.n)
    yield (
        f"{len(hopeless)} of {len(made)} signed-rank and sign-flip tests cannot reach {ALPHA:g} "
        f"whatever the data: with {smallest.n} subjects, the fewest among them, p is never below "
        f"{signed_rank_floor(smallest.n):.4g}"
    )


def _only_these_stimuli(primary: Analysis, model_tests: Sequence[ModelTest]) -> Iterator[str]:
    same_stimuli = all(roi.own is None for roi in primary.rois)
    if (
        same_stimuli
        and primary.settings.preset == "recommended"
        and any(
            test.test.startswith(TESTS_OVER_SUBJECTS) and test.p < ALPHA for test in model_tests
        )
    ):
        yield (
            "signed-rank and sign-flip tests generalise to new subjects but not to new stimuli: "
            "with 12 subjects, up to half of the models unrelated to the brain are significant; "
            "for new stimuli, use the label permutation and random effects"
        )


def _few_permutations(model_tests: Sequence[ModelTest]) -> Iterator[str]:
    floors = [test.p_floor for test in model_tests if test.test == ONE_SIDED_PERMUTATION]
    if not floors or max(floors) <= FEWEST_PERMUTATIONS:
        return
    n_ways = round(1 / max(floors))
    ways = f"only in {n_ways} ways" if n_ways > 1 else "in no other way"
    said = "is not made" if max(floors) >= ALPHA else f"gives no p below {max(floors):.2g}"
    yield (
        f"few stimuli were seen by the same subjects, so labels can be exchanged {ways} and a "
        f"label permutation {said}: use the intervals of the scores"
    )


def _costly_metric(primary: Analysis) -> Iterator[str]:
    settings = primary.settings
    if settings.preset == "recommended" and not is_product(settings.rsa_metric):
        n_permutations = number_of_permutations(settings)
        if is_own(settings.rsa_metric):
            yield (
                f"{settings.rsa_metric} is called for every permutation: {n_permutations} are "
                "made; the permutation test of the ceiling and partial scores use Spearman's rho"
            )
            return
        yield (
            f"{settings.rsa_metric} is slow: {n_permutations} permutations are made, and the "
            "permutation test of the ceiling uses Spearman's rho"
        )


def _no_zero(primary: Analysis) -> Iterator[str]:
    settings = primary.settings
    own = is_own(settings.rsa_metric)
    if own or (settings.preset == "recommended" and has_no_zero(settings.rsa_metric)):
        why = UNKNOWN_ZERO if own else NO_ZERO
        yield f"{settings.rsa_metric}: {why}"


def _dependent_models(group_tests: Sequence[GroupTest]) -> Iterator[str]:
    if any(np.isfinite(test.p) and test.test == WELCH for test in group_tests):
        yield (
            "Welch's t-test over model means treats models as independent, but models of a group "
            f"resemble each other: without a difference between groups, it gives p < {ALPHA:g} in "
            "41 to 60 % of data sets (when models of a group correlate 0.66); read the stars in "
            "the figure of groups as a description"
        )
