"""What in a result should not be trusted, said in words."""

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.results import RoiResult
from analysis.settings import ComparisonSettings
from analysis.significance import (
    ModelTest,
    mean_over_subjects,
    sem_over_subjects,
    signed_rank_floor,
)

ALPHA = 0.05


def cautions(
    settings: ComparisonSettings,
    subjects: Sequence[str],
    rois: Sequence[RoiResult],
    model_tests: Sequence[ModelTest],
) -> tuple[str, ...]:
    """Name every reason to doubt the results of these settings on these data."""
    return (
        *_circular_selection(settings),
        *(caution for roi in rois for caution in _weak_ceiling(roi, subjects)),
        *_unreachable_alpha(len(subjects), model_tests),
        "Welch's t-test over model means treats models as independent; models of a group resemble "
        "each other, and at a correlation of 0.66 between them 41 to 60 % of its positives are "
        "false: take the asterisks of Figure 2B as description",
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
    if roi.has_weak_ceiling:
        mean = float(mean_over_subjects(pairwise))
        sem = float(sem_over_subjects(pairwise))
        yield (
            f"{roi.roi}: the noise ceiling {mean:.3f} ± {sem:.3f} (standard error) is within two "
            "standard errors of zero or below; normalised scores there mean little"
        )
    absent = [label for label, c in zip(subjects, pairwise, strict=True) if np.isnan(c)]
    if absent:
        yield (
            f"{roi.roi}: no result for {', '.join(absent)}: fewer than 3 voxels were selected, or "
            "no other subject has any"
        )
    below_zero = [label for label, c in zip(subjects, pairwise, strict=True) if c <= 0]
    if below_zero:
        yield (
            f"{roi.roi}: no normalised scores for {', '.join(below_zero)}, whose noise ceiling is "
            "not above zero"
        )


def _unreachable_alpha(n_subjects: int, model_tests: Sequence[ModelTest]) -> Iterator[str]:
    floor = signed_rank_floor(n_subjects)
    if model_tests and floor > ALPHA:
        yield (
            f"with {n_subjects} subjects the signed-rank test cannot give a p below {floor:.4g}: "
            f"no model can differ from the reference at {ALPHA:g}"
        )
