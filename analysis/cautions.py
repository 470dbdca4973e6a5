"""What in a result should not be trusted, said in words."""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.noise_ceiling import sem_of_ceilings
from analysis.results import RoiResult
from analysis.settings import ComparisonSettings
from analysis.significance import (
    GroupTest,
    ModelTest,
    mean_over_subjects,
    signed_rank_floor,
)

ALPHA = 0.05


def cautions(
    settings: ComparisonSettings,
    subjects: Sequence[str],
    rois: Sequence[RoiResult],
    model_tests: Sequence[ModelTest],
    group_tests: Sequence[GroupTest],
) -> tuple[str, ...]:
    """Name every reason to doubt the results of these settings on these data."""
    return (
        *_circular_selection(settings),
        *(caution for roi in rois for caution in _weak_ceiling(roi, subjects)),
        *_unreachable_alpha(model_tests),
        *_dependent_models(group_tests),
    )


def _circular_selection(settings: ComparisonSettings) -> Iterator[str]:
    if settings.voxel_selection == "all":
        return
    yield (
        f"circular selection: the voxels ({settings.voxel_selection}, {settings.n_voxels}) are "
        "chosen by the betas that are then scored; ceilings, and above all the peak of their sweep "
        "over the number of voxels, are optimistic until they are seen in independent runs"
    )


def _weak_ceiling(roi: RoiResult, subjects: Sequence[str]) -> Iterator[str]:
    pairwise = roi.ceiling.pairwise
    if not np.isfinite(pairwise).any():
        yield f"{roi.roi}: no subject has a result: fewer than 3 voxels were selected"
        return
    if roi.has_weak_ceiling:
        mean = float(mean_over_subjects(pairwise))
        sem = float(sem_of_ceilings(pairwise))
        spread = f" ± {sem:.3f} (standard error)" if np.isfinite(sem) else ""
        yield (
            f"{roi.roi}: the noise ceiling {mean:.3f}{spread} is not above 95 % of the ceilings "
            f"that permuted stimuli give (p = {roi.ceiling_p:.3g}); normalised scores there mean "
            "little"
        )
    absent = [label for label, c in zip(subjects, pairwise, strict=True) if np.isnan(c)]
    if absent:
        yield f"{roi.roi}: no result for {', '.join(absent)}: fewer than 3 voxels were selected"
    below_zero = [label for label, c in zip(subjects, pairwise, strict=True) if c <= 0]
    if below_zero:
        yield (
            f"{roi.roi}: no normalised scores for {', '.join(below_zero)}, whose noise ceiling is "
            "not above zero"
        )


def _unreachable_alpha(model_tests: Sequence[ModelTest]) -> Iterator[str]:
    made = [test for test in model_tests if np.isfinite(test.p)]
    hopeless = [test for test in made if test.p_floor > ALPHA]
    if not hopeless:
        return
    smallest = min(made, key=lambda test: test.n)
    yield (
        f"{len(hopeless)} of {len(made)} signed-rank tests cannot reach {ALPHA:g} whatever the "
        f"data: over {smallest.n} subjects, the fewest among them, a test cannot give a p below "
        f"{signed_rank_floor(smallest.n):.4g}"
    )


def _dependent_models(group_tests: Sequence[GroupTest]) -> Iterator[str]:
    if any(np.isfinite(test.p) for test in group_tests):
        yield (
            "Welch's t-test over model means treats models as independent; models of a group "
            f"resemble each other: with no difference between groups it gives p < {ALPHA:g} in 41 "
            "to 60 % of data sets (when models of a group correlate 0.66); take the asterisks of "
            "Figure 2B as description"
        )
