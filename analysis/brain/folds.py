"""Which runs voxels are chosen by, and which runs are then scored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.brain.patterns import (
    RoiPatterns,
    SubjectPatterns,
    SubjectRdms,
    have_patterns,
)
from conceptrsa.analysis.settings import ComparisonSettings
from conceptrsa.bids_config.errors import InputError

Half = Literal["odd", "even"]


@dataclass(frozen=True)
class Fold:
    """One way to divide the runs; a result is the mean over all folds of its analysis.

    Attributes
    ----------
    select_on, score_on : {'odd', 'even'} or None
        Runs that voxels are chosen by and runs whose RDMs are scored; None: all runs.
    draw : int
        Number of the random choice of voxels, where voxels are chosen at random.
    """

    select_on: Half | None = None
    score_on: Half | None = None
    draw: int = 0


def folds_of(settings: ComparisonSettings) -> tuple[Fold, ...]:
    """Give the folds of an analysis.

    A choice that looks at no data (all voxels, or random ones) can be scored on all runs.
    """
    if settings.voxel_selection == "random":
        return tuple(Fold(draw=draw) for draw in range(settings.n_random_draws))
    if settings.voxel_selection == "all" or settings.selection_data == "same":
        return (Fold(),)
    return Fold("odd", "even"), Fold("even", "odd")


def is_circular(settings: ComparisonSettings) -> bool:
    """Whether voxels are chosen by the very betas that are then scored."""
    return settings.selection_data == "same" and settings.voxel_selection not in ("all", "random")


def have_halves(subjects: Sequence[SubjectPatterns]) -> bool:
    """Whether there are betas of the odd and of the even runs of every subject and region."""
    return all(_lacks_halves(subject) is None for subject in subjects)


def is_possible(settings: ComparisonSettings, subjects: Sequence[SubjectPatterns]) -> bool:
    """Whether the data have the halves that an analysis divides the runs into."""
    return not any(fold.select_on for fold in folds_of(settings)) or have_halves(subjects)


def fitted_to(
    settings: ComparisonSettings, subjects: Sequence[SubjectPatterns] | Sequence[SubjectRdms]
) -> tuple[ComparisonSettings, tuple[str, ...]]:
    """Give settings with all voxels where the data do not let any be chosen, and why."""
    if not have_patterns(subjects):
        return replace(settings, voxel_selection="all", multiverse=False), ()
    if is_possible(settings, subjects):
        return settings, ()
    note = (
        "there are no betas of odd and even runs, so voxels cannot be chosen on one half of the "
        "runs and scored on the other: all voxels of every region are used"
    )
    return replace(settings, voxel_selection="all"), (note,)


def require_halves(subject: SubjectPatterns) -> None:
    """Check that a subject has betas of the odd and of the even runs.

    Raises
    ------
    InputError
        Naming the subject, and what can be done without.
    """
    roi = _lacks_halves(subject)
    if roi is not None:
        raise InputError(
            f"{subject.origin} holds no betas of odd and even runs of {subject.label} in {roi}, "
            "which choosing voxels on one half and scoring the other needs: supply them, or choose "
            "--voxel-selection all (nothing is chosen), --selection-data same (results are "
            "labelled circular) or --preset paper"
        )


def _lacks_halves(subject: SubjectPatterns) -> str | None:
    """The first region without halves, if any."""
    for name, roi in subject.rois.items():
        if roi.odd is None or roi.even is None:
            return name
    return None


def betas_of(roi: RoiPatterns, half: Half | None) -> NDArray[np.float64]:
    """Betas (stimuli, voxels) of all runs, or of a half of them that is known to be there."""
    if half is None:
        return roi.values
    betas = roi.odd if half == "odd" else roi.even
    assert betas is not None
    return betas


def runs_of(roi: RoiPatterns, half: Half | None) -> NDArray[np.float64] | None:
    """Betas of each run (runs, stimuli, voxels) of all runs or of a half; None where not known."""
    if roi.runs is None or half is None:
        return roi.runs
    return roi.runs[0 if half == "odd" else 1 :: 2]
