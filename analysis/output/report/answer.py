"""The answer in words: which models and groups explain which region, and how certain that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conceptrsa.analysis.output.figures.style import is_hemisphere
from conceptrsa.analysis.output.report.answer_of_the_paper import OfThePaper
from conceptrsa.analysis.output.report.answer_recommended import Recommended
from conceptrsa.analysis.output.report.wording import joined, unbroken
from conceptrsa.analysis.results import ComparisonResult, RoiResult


@dataclass(frozen=True)
class Answer:
    """The answer, in plain text.

    Attributes
    ----------
    summary : str
        One paragraph on whole regions; on hemispheres where there is nothing else.
    regions : tuple of (str, str)
        Every region and what was found there.
    """

    summary: str
    regions: tuple[tuple[str, str], ...]


def answer(result: ComparisonResult) -> Answer:
    """Put into words what a comparison found, with its uncertainty, and what it did not find."""
    found = OfThePaper(result) if result.inference is None else Recommended(result)
    rois = main_rois(result)
    sentences = [
        *found.models_in(rois),
        *found.groups_in(rois),
        *_on_weak_ceilings(rois),
        *found.scope(),
        *_on_circularity(result),
        *_on_stand_ins(result),
    ]
    return Answer(
        unbroken(" ".join(sentences)),
        tuple((roi.roi, unbroken(found.region(roi))) for roi in result.rois),
    )


def main_rois(result: ComparisonResult) -> tuple[RoiResult, ...]:
    """Regions that are no halves of others; all where there are only halves."""
    wholes = tuple(roi for roi in result.rois if not is_hemisphere(roi.roi))
    return wholes or result.rois


def _on_weak_ceilings(rois: Sequence[RoiResult]) -> list[str]:
    weak = [roi.roi for roi in rois if roi.has_weak_ceiling and np.isfinite(roi.ceiling_p)]
    if not weak:
        return []
    where = "any region" if len(weak) == len(rois) else joined(weak)
    return [
        f"Subjects do not agree with each other beyond chance in {where}: what is found there, or "
        "not found, says little about the models."
    ]


def _on_circularity(result: ComparisonResult) -> list[str]:
    if not result.primary.circular:
        return []
    return [
        "The voxels were chosen by the very betas that were then scored: scores and ceilings are "
        "optimistic."
    ]


def _on_stand_ins(result: ComparisonResult) -> list[str]:
    models_of: dict[str, list[str]] = {}
    for model in result.models:
        if model.note:
            models_of.setdefault(model.note, []).append(model.name)
    return [f"Note on {joined(names)}: {note}." for note, names in models_of.items()]
