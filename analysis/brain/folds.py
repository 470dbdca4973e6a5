"""Runs on which voxels are chosen, and runs that are scored."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from conceptrsa.analysis.brain.patterns import (
    Half,
    SubjectPatterns,
    SubjectRdms,
    have_patterns,
)
from conceptrsa.analysis.brain.stimulus_sets import stimulus_sets
from conceptrsa.analysis.settings import MANY_STIMULI, ComparisonSettings


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
    return all(subject.roi_without_halves is None for subject in subjects)


def is_possible(settings: ComparisonSettings, subjects: Sequence[SubjectPatterns]) -> bool:
    """Whether the data have the halves that an analysis divides the runs into."""
    return not any(fold.select_on for fold in folds_of(settings)) or have_halves(subjects)


def fitted_to(
    settings: ComparisonSettings,
    subjects: Sequence[SubjectPatterns] | Sequence[SubjectRdms],
    given: Collection[str] = (),
) -> tuple[ComparisonSettings, tuple[str, ...]]:
    """Give settings that the data allow, and why they differ, for what was not asked for by name.

    All voxels where none can be chosen, and no multiverse where it would take hours.

    Parameters
    ----------
    settings : ComparisonSettings
    subjects : sequence of SubjectPatterns or of SubjectRdms
    given : collection of str
        Names of the settings that were asked for, which stay.
    """
    if not have_patterns(subjects):
        return replace(settings, voxel_selection="all", multiverse=False), ()
    notes = []
    asked_for = {"voxel_selection", "selection_data"} & set(given)
    if not asked_for and not is_possible(settings, subjects):
        settings = replace(settings, voxel_selection="all")
        notes.append(
            "all voxels of every region are used, because without betas of odd and even runs "
            "voxels cannot be chosen on one half and scored on the other"
        )
    sets = stimulus_sets(subjects, settings)
    if "voxel_selection" not in given and settings.voxel_selection == "best-n" and not sets.common:
        settings = replace(settings, voxel_selection="all")
        notes.append(
            "all voxels of every region are used, because no two subjects share enough stimuli for "
            "a noise ceiling, which would set the number of voxels"
            if len(subjects) > 1
            else "all voxels of every region are used, because the noise ceiling, which would set "
            "the number of voxels, needs two subjects"
        )
    n_stimuli = len(sets.common)
    if not sets.all_common and "multiverse" not in given:
        return replace(settings, multiverse=False), tuple(notes)
    if settings.multiverse and n_stimuli > MANY_STIMULI and "multiverse" not in given:
        settings = replace(settings, multiverse=False)
        notes.append(
            f"the multiverse of choices is skipped, because it takes long with {n_stimuli} "
            "stimuli; --multiverse computes it"
        )
    return settings, tuple(notes)
