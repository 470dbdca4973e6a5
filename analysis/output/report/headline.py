"""The answer of a study in one sentence: which model is the best in which region, or may be."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conceptrsa.analysis.inference.findings import ALPHA, BestModels, best_models
from conceptrsa.analysis.output.figures.style import is_hemisphere, networks_of
from conceptrsa.analysis.output.report.rendering import counted, joined
from conceptrsa.analysis.results import ComparisonResult

MOST_REGIONS = 6
"""So many regions are named; of more, it is counted in how many there is which answer."""

MOST_NAMES = 3
"""So many models that may be the best of a region are named; of more, the first."""


@dataclass(frozen=True)
class _Region:
    """What a sentence needs of one region.

    Attributes
    ----------
    name : str
    leader : str
        The model of the highest score of those that are related to the region; empty if none is.
    contenders : BestModels
    """

    name: str
    leader: str
    contenders: BestModels

    @property
    def has_one_best(self) -> bool:
        """Whether one model alone may be the best, is related, and others are ruled out."""
        return self.contenders.names == (self.leader,) and bool(self.contenders.ruled_out)

    def in_words(self) -> str:
        """Say which is the best, so that the region can follow."""
        names = self.contenders.names
        if not self.leader:
            return "none is found to be related to"
        if not names:
            return f"{self.leader} has the highest score in"
        if self.leader not in names:
            others = joined(names, "or")
            return (
                f"{self.leader} is the highest of those related, though {others} may be better, in"
            )
        if len(names) == 1 and not self.contenders.ruled_out:
            return f"{names[0]} is the only one with a score in"
        if not self.contenders.ruled_out and len(names) > 1:
            return "none can be ruled out as the best in"
        if len(names) > MOST_NAMES:
            return f"{names[0]} or one of {len(names) - 1} others is the best in"
        return f"{' or '.join(filter(None, (', '.join(names[:-1]), names[-1])))} is the best in"


def headline(result: ComparisonResult) -> str:
    """Say which models are the best, of whole regions where there are any.

    Of regions to which no model is found to be related no best model is named. Empty with the
    preset 'paper', whose tests do not ask, and where nothing could be tested.
    """
    regions = list(_regions(result))
    if not regions:
        return ""
    if not any(region.leader for region in regions):
        where = _many(regions) or joined([region.name for region in regions], "or")
        return f"No model is found to be related to {where}."
    if len(result.models) == 1:
        return f"{result.models[0].name} is {'; '.join(_relations(regions))}."
    if _many(regions):
        clauses = list(_counts(regions))
    else:
        places: dict[str, list[str]] = {}
        for region in regions:
            places.setdefault(region.in_words(), []).append(region.name)
        clauses = [
            f"{words} {joined(names, 'or' if words.startswith('none') else 'and')}"
            for words, names in places.items()
        ]
    of_layers = [
        f"{len(layers)} of them layers of {network}"
        for network, layers in networks_of(result.models).items()
    ]
    counted_once = f" ({joined(of_layers)})" if of_layers else ""
    said = f"Of the {len(result.models)} models{counted_once}, {'; '.join(clauses)}."
    if any(region.leader and region.contenders.ruled_out for region in regions):
        confidence = f"{100 * (1 - ALPHA):g} % confidence"
        to = "new stimuli in this subject"
        if len(result.subjects) > 1:
            to = "new subjects and new stimuli"
        each = "Each statement on a best model" if len(regions) > 1 else "This"
        alone = " for its region alone" if len(regions) > 1 else ""
        said += f" {each} holds for {to}, with {confidence}{alone}."
    return said


def _many(regions: list[_Region]) -> str:
    """Count regions that are too many to be named; empty where they are not."""
    return f"any of {len(regions)} regions" if len(regions) > MOST_REGIONS else ""


def _regions(result: ComparisonResult) -> Iterator[_Region]:
    """Whole regions, or hemispheres where there is nothing else, in which models were tested."""
    if result.inference is None:
        return
    names = [roi.roi for roi in result.rois]
    for name in [name for name in names if not is_hemisphere(name, names)]:
        scores = result.inference.of(name).model_scores
        related = [score for score in scores if score.p_max < ALPHA]
        leader = max(related, key=lambda score: score.rsa).model if related else ""
        if any(np.isfinite(score.p_max) for score in scores):
            yield _Region(name, leader, best_models(result.inference, name))


def _relations(regions: list[_Region]) -> Iterator[str]:
    """To which regions the only model is related."""
    related = [region.name for region in regions if region.leader]
    others = [region.name for region in regions if not region.leader]
    if _many(regions):
        yield f"related to {len(related)} of {len(regions)} regions"
        return
    yield f"related to {joined(related)}"
    if others:
        yield f"it is not found to be related to {joined(others, 'or')}"


def _counts(regions: list[_Region]) -> Iterator[str]:
    """In how many regions there is which answer."""
    led = [region for region in regions if region.leader]
    best = Counter(region.leader for region in led if region.has_one_best)
    if best:
        first = best.most_common(MOST_NAMES)
        which = [f"{model} in {n}" for model, n in first]
        if len(best) > len(first):
            rest = best.total() - sum(n for _, n in first)
            which.append(f"{counted(len(best) - len(first), 'other')} in {rest}")
        yield f"one is the best in {best.total()} of {len(regions)} regions ({joined(which)})"
    else:
        yield f"no single one is found to be the best in any of {len(regions)} regions"
    if several := sum(len(region.contenders.names) > 1 for region in led):
        yield f"one of several is the best in {several}"
    if unclear := sum(
        len(region.contenders.names) == 1 and not region.has_one_best for region in led
    ):
        yield f"the best of those related may not be the best of all in {unclear}"
    if untested := sum(not region.contenders.names for region in led):
        yield f"they could not be compared with each other in {untested}"
    if len(led) < len(regions):
        yield f"none is found to be related to {len(regions) - len(led)}"
