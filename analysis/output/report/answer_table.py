"""The answer as a table: of every region the model that explains it best, and how sure that is."""

from collections.abc import Iterator, Sequence

import numpy as np

from conceptrsa.analysis.inference.findings import (
    ALPHA,
    Standing,
    model_standing,
)
from conceptrsa.analysis.output.figures.style import is_hemisphere, printed, unbroken
from conceptrsa.analysis.output.report.contents import Column, Table
from conceptrsa.analysis.output.report.rendering import counted, estimate
from conceptrsa.analysis.results import ComparisonResult, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects
from conceptrsa.bids_config.tsv import MISSING

MOST_NAMED = 6
"""So many models that are not told apart from the best are named; of more, the rest is counted."""

MOST_IN_ORDER = 24
"""So many regions stay in their order; of more, those come first in which models are related."""

REGION = Column("region", numeric=False)
MODEL = Column("best model", numeric=False, words="The model with the highest score")
RELATED = Column(
    "best model",
    numeric=False,
    words="The model with the highest score of those that are found to be related to the region",
)
SHARE = Column("share of the ceiling", numeric=True, words="Score divided by the noise ceiling")
LEVEL = Column(
    "not told apart from it",
    numeric=False,
    words="Models whose score is not found to differ from that of the best model",
)

NOTE = (
    "Scores and shares with 95 % intervals for {whom}; shares are withheld, n/a, where the noise "
    "ceiling is too uncertain. The last column names the models whose scores are not told apart "
    "from the best (random effects, p corrected); none: it is better than every other."
)
NOTE_OF_THE_PAPER = (
    "Means over subjects ± standard error over subjects. Weak: subjects do not agree with each "
    "other beyond chance, and shares of the noise ceiling mean little."
)


def answer_tables(result: ComparisonResult) -> tuple[Table, ...]:
    """Give the table of whole regions and that of hemispheres, those that there are."""
    wholes = [roi for roi in result.rois if not is_hemisphere(roi.roi)]
    hemispheres = [roi for roi in result.rois if is_hemisphere(roi.roi)]
    return tuple(
        _table(result, name, title, rois)
        for name, title, rois in (
            ("best-models", "The best model of each region", wholes),
            ("best-models-hemispheres", "The best model of each hemisphere", hemispheres),
        )
        if rois
    )


def _table(result: ComparisonResult, name: str, title: str, rois: Sequence[RoiResult]) -> Table:
    if result.inference is None:
        score = Column("mean score", numeric=True)
        columns: tuple[Column, ...] = (REGION, MODEL, score, SHARE)
        rows = [_row_of_the_paper(result, roi) for roi in rois]
        return Table(name, title, NOTE_OF_THE_PAPER, columns, rows)
    columns = (REGION, RELATED, Column("score", numeric=True), SHARE, LEVEL)
    alone = len(result.subjects) == 1
    note = NOTE.format(whom="new stimuli" if alone else "new subjects and new stimuli")
    found = list(_rows(result, rois))
    if len(found) > MOST_IN_ORDER:
        found.sort(key=lambda row: row[0])
        note = f"Regions to which a model is related come first, the highest score first. {note}"
    return Table(name, title, note, columns, [cells for _, cells in found])


def _rows(
    result: ComparisonResult, rois: Sequence[RoiResult]
) -> Iterator[tuple[tuple[bool, float], list[str]]]:
    """Give the place of each row, the highest score of a related model first, and its cells."""
    assert result.inference is not None
    for roi in (one.roi for one in rois):
        every = result.inference.of(roi).model_scores
        scores = [score for score in every if np.isfinite(score.rsa)]
        if not scores:
            yield (True, np.inf), [roi, MISSING, MISSING, MISSING, MISSING]
            continue
        related = [score for score in scores if score.p_max < ALPHA]
        best = max(related or scores, key=lambda score: score.rsa)
        cells = (
            roi,
            best.model if related else f"none is related (highest: {best.model})",
            estimate(best.rsa, best.low, best.high),
            estimate(best.normalised, best.normalised_low, best.normalised_high),
            _level(model_standing(result.inference, roi, best.model)),
        )
        yield (not related, -best.rsa), [unbroken(cell) for cell in cells]


def _level(standing: Standing) -> str:
    names = [*standing.level, *(f"{name} (not tested)" for name in standing.untested)]
    if not names:
        return "none" if standing.above else MISSING
    if len(names) > MOST_NAMED + 1:
        names = [*names[:MOST_NAMED], counted(len(names) - MOST_NAMED, "other")]
    return ", ".join(names)


def _row_of_the_paper(result: ComparisonResult, roi: RoiResult) -> list[str]:
    means = mean_over_subjects(roi.rsa)
    if not np.isfinite(means).any():
        return [roi.roi, MISSING, MISSING, MISSING]
    best = int(np.nanargmax(means))
    cells = []
    for values in (roi.rsa, roi.rsa_normalised):
        error = float(sem_over_subjects(values)[best])
        mean = printed(float(mean_over_subjects(values)[best]))
        # One subject alone has no standard error.
        cells.append(f"{mean} ± {printed(error)}" if np.isfinite(error) else mean)
    weak = ", weak" if roi.has_weak_ceiling else ""
    return [roi.roi, result.models[best].name, cells[0], f"{cells[1]}{weak}"]
