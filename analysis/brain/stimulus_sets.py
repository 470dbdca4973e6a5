"""Choose the stimuli of a comparison: those that all subjects share, or each subject's own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

import numpy as np

from conceptrsa.analysis.arrays import Integers
from conceptrsa.analysis.brain.patterns import (
    MIN_STIMULI,
    SubjectData,
    Subjects,
)
from conceptrsa.analysis.settings import ComparisonSettings, SubjectStimuli
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import find_spelt_otherwise, some_of

ENOUGH = 20
"""Number of shared stimuli needed to measure the agreement of subjects."""

MOST = 1000
"""On so many stimuli variances, noise ceilings and shares of variance are found, at most."""

SHARED_IN_MOST = 0.5
"""Stimuli that all subjects share are enough where they are this share of every subject's."""

Subject = TypeVar("Subject", bound=SubjectData)


@dataclass(frozen=True)
class StimulusSets:
    """The stimuli of a comparison.

    Attributes
    ----------
    of_subjects : tuple of tuple of str
        Stimuli that each subject is scored on.
    common : tuple of str
        Stimuli that all subjects share, or some of them where they are more than 1000; empty for a
        single subject, and where there are fewer than 20 and subjects have others of their own.
    notes : tuple of str
        Which stimuli are left out, and where each subject has its own.
    """

    of_subjects: tuple[tuple[str, ...], ...]
    common: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def all_common(self) -> bool:
        """Whether all subjects are scored on the common stimuli and no others."""
        return all(stimuli == self.common for stimuli in self.of_subjects)

    @property
    def are_own(self) -> bool:
        """Whether some subjects are scored on other stimuli than others."""
        return len(set(self.of_subjects)) > 1

    @property
    def union(self) -> tuple[str, ...]:
        """Every stimulus that a subject is scored on, sorted."""
        return tuple(sorted(set().union(*self.of_subjects)))

    @property
    def size(self) -> str:
        """Number of stimuli that a subject is scored on: '50', or '9411 to 10000'."""
        sizes = sorted({len(stimuli) for stimuli in self.of_subjects})
        return f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"

    @property
    def counts(self) -> Integers:
        """Stimuli that each two subjects share, (subjects, subjects); on the diagonal each's."""
        sets = [set(stimuli) for stimuli in self.of_subjects]
        return np.array([[len(one & other) for other in sets] for one in sets], dtype=np.intp)


def stimulus_sets(subjects: Subjects, settings: ComparisonSettings) -> StimulusSets:
    """Choose the stimuli that each subject is scored on.

    Parameters
    ----------
    subjects : sequence of SubjectPatterns or of SubjectRdms
    settings : ComparisonSettings
        `subject_stimuli` says whether to take what all subjects share or each subject's own. By
        'auto' they are the shared ones, unless they are less than half of what a subject has.

    Raises
    ------
    InputError
        Where a stimulus that a subject lacks is there under another spelling, or subjects are
        to be compared on shared stimuli and share fewer than three.
    """
    given = [subject.stimuli for subject in subjects]
    common = tuple(sorted(set(given[0]).intersection(*given[1:])))
    every = sorted(set().union(*given))
    notes: list[str] = []
    if len(common) < len(every):
        _require_one_spelling(subjects, every)
        if _are_shared(common, given, settings.subject_stimuli):
            if len(common) < MIN_STIMULI:
                raise InputError(
                    f"the subjects share {len(common)} stimuli, but comparing RDMs needs "
                    f"{MIN_STIMULI}: choose --subject-stimuli own"
                )
            notes.append(_note_on_absent(subjects, common, every))
        else:
            return _own_sets(given, common, settings)
    if settings.preset == "paper":
        return StimulusSets((common,) * len(subjects), common, tuple(notes))
    if len(subjects) == 1:
        return StimulusSets(tuple(given), ())
    core = at_most(common, MOST, settings.seed)
    if len(core) < len(common):
        notes.append(
            f"scores use all {len(common)} stimuli; their uncertainty, noise ceilings and shares "
            f"of variance use a random {len(core)} of them"
        )
    return StimulusSets((common,) * len(subjects), core, tuple(notes))


def at_most(stimuli: tuple[str, ...], most: int, seed: int) -> tuple[str, ...]:
    """Take so many stimuli at random, in their order; all where they are no more."""
    if len(stimuli) <= most:
        return stimuli
    rows = np.random.default_rng([seed, 6]).choice(len(stimuli), most, replace=False)
    return tuple(stimuli[row] for row in sorted(rows))


def with_stimuli(subject: Subject, stimuli: tuple[str, ...]) -> Subject:
    """Give a subject's data for some of its stimuli, in the order given."""
    if subject.stimuli == stimuli:
        return subject
    rows = {name: row for row, name in enumerate(subject.stimuli)}
    return subject.of_rows([rows[name] for name in stimuli])


def on_stimuli(subjects: Subjects, sets: Sequence[tuple[str, ...]]) -> Subjects:
    """Give each subject's data for its set of stimuli."""
    found = [with_stimuli(one, stimuli) for one, stimuli in zip(subjects, sets, strict=True)]
    return cast(Subjects, found)


def _are_shared(
    common: tuple[str, ...], given: Sequence[tuple[str, ...]], choice: SubjectStimuli
) -> bool:
    if choice == "auto":
        return len(common) >= max(MIN_STIMULI, SHARED_IN_MOST * max(map(len, given)))
    return choice == "shared"


def _own_sets(
    given: Sequence[tuple[str, ...]], common: tuple[str, ...], settings: ComparisonSettings
) -> StimulusSets:
    if settings.preset == "paper":
        raise InputError(
            f"the preset paper compares subjects on the same stimuli, but these share "
            f"{len(common)}: choose --subject-stimuli shared or --preset recommended"
        )
    core = at_most(common, MOST, settings.seed) if len(common) >= ENOUGH else ()
    on = (
        f"computed on {len(core)} stimuli that all share"
        if core
        else "computed in each subject alone"
    )
    sets = StimulusSets(tuple(given), core)
    note = (
        f"each subject is scored on its own {sets.size} stimuli, of which all subjects share "
        f"{len(common)}; noise ceilings and shares of variance are {on}"
    )
    return replace(sets, notes=(note,))


def _require_one_spelling(subjects: Subjects, every: Sequence[str]) -> None:
    """Refuse a stimulus that subjects have under names that are spelt in two ways."""
    found = find_spelt_otherwise(every)
    if found is None:
        return
    for subject in subjects:
        there = [name for name in found if name in subject.stimuli]
        if len(there) == 1:
            other = next(name for name in found if name not in there)
            raise InputError(
                f"{subject.label} has no {subject.datum} of stimulus {other} in {subject.origin}, "
                f"which another subject has (there is {there[0]!a}, which is spelt differently): "
                "give it one name in all subjects"
            )


def _note_on_absent(
    subjects: Subjects,
    common: tuple[str, ...],
    every: Sequence[str],
) -> str:
    absent = sorted(set(every) - set(common))
    lacking = [subject.label for subject in subjects if len(subject.stimuli) < len(every)]
    return (
        f"the comparison uses the {len(common)} stimuli that all subjects share; left out: "
        f"{some_of(absent)}, which {some_of(lacking)} lack{'s' if len(lacking) == 1 else ''}"
    )
