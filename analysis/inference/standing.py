"""How the model or group of the highest score stands to the others, by the recommended tests."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conceptrsa.analysis.inference.comparisons import MIXED_MODEL, RANDOM_EFFECTS, ZERO
from conceptrsa.analysis.inference.findings import Inference

ALPHA = 0.05
MOST_NAMES = 3
"""So many are named in a sentence; of more, the number is given."""


@dataclass(frozen=True)
class Standing:
    """One model or group of models, in one region, against every other.

    Attributes
    ----------
    above : tuple of str
        Those that it is found to do better than.
    level : tuple of str
        Those that it is not told apart from.
    untested : tuple of str
        Those that it could not be tested against.
    """

    above: tuple[str, ...] = ()
    level: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()

    def in_words(self) -> str:
        """Say it so that it can follow a name; empty where there is no other."""
        if self.level:
            untested = f", nor tested against {_some(self.untested)}" if self.untested else ""
            return f"not told apart from {_some(self.level)}{untested}"
        if self.untested:
            return f"not tested against {_some(self.untested)}"
        return "above every other" if self.above else ""


def model_standing(inference: Inference | None, roi: str, model: str) -> Standing:
    """Give the standing of a model, for new subjects and new stimuli (random effects)."""
    tests = () if inference is None else inference.model_tests
    return _standing(
        model,
        (
            (test.model, test.reference, test.statistic, test.p_corrected)
            for test in tests
            if test.roi == roi and test.test == RANDOM_EFFECTS and test.reference != ZERO
        ),
    )


def group_standing(inference: Inference | None, roi: str, group: str) -> Standing:
    """Give the standing of a group of models, for new models of the kind too (mixed model)."""
    tests = () if inference is None else inference.group_tests
    return _standing(
        group,
        (
            (test.group_a, test.group_b, test.statistic, test.p_corrected)
            for test in tests
            if test.roi == roi and test.test == MIXED_MODEL
        ),
    )


def _standing(name: str, tests: Iterator[tuple[str, str, float, float]]) -> Standing:
    above: list[str] = []
    level: list[str] = []
    untested: list[str] = []
    for first, second, difference, p in tests:
        if name not in (first, second):
            continue
        other = second if first == name else first
        ahead = difference if first == name else -difference
        if not np.isfinite(p):
            untested.append(other)
        else:
            (above if p < ALPHA and ahead > 0 else level).append(other)
    return Standing(tuple(above), tuple(level), tuple(untested))


def _some(names: tuple[str, ...]) -> str:
    if len(names) > MOST_NAMES:
        return f"{len(names)} others"
    return ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]
