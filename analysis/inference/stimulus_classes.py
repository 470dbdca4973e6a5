"""Classes of stimuli seen by the same subjects, within which labels can be exchanged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, product
from itertools import permutations as all_orders

import numpy as np

from conceptrsa.analysis.arrays import Integers

MOST_ENUMERATED = 50
"""More stimuli have more permutations than anybody draws."""


@dataclass(frozen=True)
class StimulusClasses:
    """Stimuli of all subjects, arranged by the subjects that saw them.

    Attributes
    ----------
    sizes : tuple of int
        Stimuli in each class; classes follow each other in the arrangement.
    places : tuple of ndarray of int, (stimuli of the subject,)
        Where each subject's stimuli are in the arrangement, in the subject's order.
    """

    sizes: tuple[int, ...]
    places: tuple[Integers, ...]

    @property
    def of_stimuli(self) -> Integers:
        """Class of every stimulus in the arrangement."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def of_subject(self, subject: int) -> list[Integers]:
        """Stimuli of each class in the subject's own order, for the classes that it saw."""
        classes = self.of_stimuli[self.places[subject]]
        return [np.flatnonzero(classes == one) for one in np.unique(classes)]

    def own_orders(self, subject: int, permutations: Integers) -> Integers:
        """Permutations (permutations, all stimuli) as those of the subject's own stimuli."""
        own = self.places[subject]
        back = np.empty(sum(self.sizes), dtype=np.intp)
        back[own] = np.arange(len(own))
        return back[permutations[:, own]]


def stimulus_classes(stimuli: Sequence[Sequence[str]]) -> StimulusClasses:
    """Find out which stimuli the same subjects saw.

    Parameters
    ----------
    stimuli : sequence of sequence of str
        Of each subject.
    """
    seen_by: dict[str, list[int]] = {}
    for subject, names in enumerate(stimuli):
        for name in names:
            seen_by.setdefault(name, []).append(subject)
    classes: dict[tuple[int, ...], list[str]] = {}
    for name, subjects in seen_by.items():
        classes.setdefault(tuple(subjects), []).append(name)
    arranged = {name: place for place, name in enumerate(chain(*classes.values()))}
    return StimulusClasses(
        sizes=tuple(len(names) for names in classes.values()),
        places=tuple(np.array([arranged[name] for name in names]) for names in stimuli),
    )


def draw_within_classes(
    classes: StimulusClasses, n_permutations: int, generator: np.random.Generator
) -> Integers:
    """Permutations (permutations, all stimuli) within classes, the identity first.

    All there are, each once, where these are no more.
    """
    n_stimuli = sum(classes.sizes)
    members = np.split(np.arange(n_stimuli), np.cumsum(classes.sizes)[:-1])
    n_possible = math.prod(math.factorial(min(size, MOST_ENUMERATED)) for size in classes.sizes)
    if n_possible <= n_permutations:
        orders = product(*(all_orders(one) for one in members))
        return np.array([list(chain(*order)) for order in orders], dtype=np.intp)
    drawn = np.tile(np.arange(n_stimuli), (n_permutations, 1))
    for one in members:
        own = slice(one[0], one[-1] + 1)
        generator.permuted(drawn[1:, own], axis=1, out=drawn[1:, own])
    return drawn


def thin_classes(
    classes: StimulusClasses, share: float, generator: np.random.Generator
) -> tuple[StimulusClasses, list[Integers]]:
    """Keep a random share of the stimuli of each class, at least one.

    Returns
    -------
    classes : StimulusClasses
        Of the stimuli that are kept.
    kept : list of ndarray of int
        Which stimuli of each subject, in ascending order.
    """
    sizes = [math.ceil(share * size) for size in classes.sizes]
    starts = np.cumsum((0, *classes.sizes))
    is_kept = np.zeros(starts[-1], dtype=bool)
    for start, size, n_kept in zip(starts, classes.sizes, sizes, strict=False):
        is_kept[start + generator.choice(size, n_kept, replace=False)] = True
    renumbered = np.cumsum(is_kept) - 1
    kept = [np.flatnonzero(is_kept[own]) for own in classes.places]
    places = [renumbered[own[chosen]] for own, chosen in zip(classes.places, kept, strict=True)]
    return StimulusClasses(tuple(sizes), tuple(places)), kept
