"""The answer as a table: of every region the model that explains it best, and how sure that is."""

from collections.abc import Iterator, Sequence

import numpy as np

from conceptrsa.analysis.inference.findings import (
    ALPHA,
    BestModels,
    best_models,
)
from conceptrsa.analysis.output.figures.style import is_hemisphere, printed, unbroken
from conceptrsa.analysis.output.report.contents import Column, Table
from conceptrsa.analysis.output.report.rendering import counted, estimate
from conceptrsa.analysis.results import ComparisonResult, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects
from conceptrsa.bids_config.tsv import MISSING

MOST_NAMED = 6
"""So many other models that may be the best are named; of more, the rest is counted."""

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
OTHERS = Column(
    "others not ruled out",
    numeric=False,
    words="Other models that cannot be ruled out as the best of the region",
)

NOTE = (
    "Scores and shares with 95 % intervals for {whom}; shares are withheld, n/a, where the noise "
    "ceiling is too uncertain. Shares above 1 are possible: the ceiling says how alike two noisy "
    "measurements are. The last column names the other models that cannot be ruled out as "
    "the best of the region; none: every other is ruled out. The truly best model is among those "
    "named with a confidence of 95 % in each region (random effects). Where no model is related, "
    "it means little which one is the best."
)
NOTE_OF_THE_PAPER = (
    "Means over subjects ± standard error over subjects. Weak: subjects do not agree with each "
    "other beyond chance, and shares of the noise ceiling mean little."
)


def answer_tables(result: ComparisonResult) -> tuple[Table, ...]:
    """Give the table of whole regions and that of hemispheres, those that there are."""
    names = [roi.roi for roi in result.rois]
    wholes = [roi for roi in result.rois if not is_hemisphere(roi.roi, names)]
    hemispheres = [roi for roi in result.rois if is_hemisphere(roi.roi, names)]
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
    columns = (REGION, RELATED, Column("score", numeric=True), SHARE, OTHERS)
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
            _others(best_models(result.inference, roi), best.model),
        )
        yield (not related, -best.rsa), [unbroken(cell) for cell in cells]


def _others(found: BestModels, best: str) -> str:
    if not found.names:
        return "not compared"
    itself = ["(itself ruled out)"] if best in found.ruled_out else []
    names = [*itself, *found.besides(best), *(f"{name} (not compared)" for name in found.unknown)]
    if not names:
        return "none" if found.ruled_out else MISSING
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
