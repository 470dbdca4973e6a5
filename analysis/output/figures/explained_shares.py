"""What groups of models explain alone and together, and each model beyond the other groups."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from conceptrsa.analysis.inference.explained import partial_metric
from conceptrsa.analysis.inference.findings import PartialScore, VariancePart
from conceptrsa.analysis.output.figures.captions import details_of
from conceptrsa.analysis.output.figures.rows import (
    PANEL_WIDTH,
    Rows,
    draw_points,
    limits_of,
    model_labels,
    row_panels,
)
from conceptrsa.analysis.output.figures.sheet import label_outer, set_title
from conceptrsa.analysis.output.figures.style import (
    GROUP_COLOURS,
    LINE_COLOUR,
    MUTED_COLOUR,
    RSA_NAMES,
    View,
    group_handles,
)

ALL_OTHERS = "all others"
EXPLAINED, ONLY, SHARED = "explained by ", "only by ", "shared by "

PARTIAL_STYLE: dict[str, Any] = {"marker": "o", "linestyle": "none", "color": LINE_COLOUR}
PLAIN_STYLE: dict[str, Any] = {
    "marker": "|",
    "linestyle": "none",
    "color": MUTED_COLOUR,
    "markersize": 9,
    "markeredgewidth": 1.6,
}


def draw_variance_partition(view: View) -> Figure:
    """Draw the parts of the variance that groups of models explain, with intervals."""
    parts = [
        [part for part in view.inference.variance_parts if part.roi == roi.roi] for roi in view.rois
    ]
    names = [part.part for part in parts[0]]
    order = sorted(range(len(names)), key=lambda index: _rank(names[index]))
    kinds = [_kind(names[index]) for index in order]
    sheet = row_panels(view, [_part_label(names[index], len(view.groups)) for index in order], 0)
    for panel, roi, of_roi in zip(sheet.panels, view.rois, parts, strict=True):
        rows = _part_rows([of_roi[index] for index in order])
        draw_points(panel, rows, limits_of([rows.values, rows.low, rows.high], (-1.0, 1.0)))
        for row in range(1, len(kinds)):
            if kinds[row] != kinds[row - 1]:
                panel.axhline(row - 0.5, color="#bbbbbb", linewidth=0.6)
        set_title(panel, PANEL_WIDTH, roi.roi)
    label_outer(sheet, "share of variance (R²)")
    return sheet.finish(
        "Variance of the brain RDMs explained by groups of models",
        details_of(view),
        group_handles(view.groups),
        [
            "Points: share of the variance of a subject's whitened RDM that least-squares weights "
            "of the models explain, corrected for chance, mean over subjects; whiskers: 95 % "
            "interval for new subjects and new stimuli. 'Only by' and 'shared by' add up to what "
            "all explain (commonality analysis). A part below zero is noise, or groups that "
            "suppress each other. Each region has its own scale."
        ],
    )


def draw_partial_rsa(view: View) -> Figure:
    """Draw each model's RSA beside what is left of it when the other groups are held constant."""
    metric = partial_metric(view.settings.rsa_metric)
    # Another statistic than RSA has no place beside it.
    has_plain = metric == view.settings.rsa_metric
    sheet = row_panels(view, model_labels(view), 0)
    partials = {
        (score.roi, score.model): score
        for score in view.inference.partial_scores
        if score.given == ALL_OTHERS or len(view.groups) < 3
    }
    for panel, roi in zip(sheet.panels, view.rois, strict=True):
        plain = np.array([score.rsa for score in view.scores(roi.roi)])
        rows = _partial_rows([partials[roi.roi, model.name] for model in view.ordered_models])
        limits = limits_of(
            [plain if has_plain else rows.values, rows.values, rows.low, rows.high], (-1.0, 1.0)
        )
        if has_plain:
            there = np.flatnonzero(np.isfinite(plain))
            panel.plot(plain[there], there, **PLAIN_STYLE)
        draw_points(panel, rows, limits)
        set_title(panel, PANEL_WIDTH, roi.roi)
    label_outer(sheet, f"partial {RSA_NAMES[metric]}")
    handles = [Line2D([], [], label="beyond other groups", **PARTIAL_STYLE)]
    if has_plain:
        handles.append(Line2D([], [], label="RSA", **PLAIN_STYLE))
    return sheet.finish(
        "RSA of every model beyond the models of all other groups",
        details_of(view),
        [*group_handles(view.groups), *handles],
        [
            "Dots: partial correlation of a model's RDM with the brain's, the RDMs of all models "
            "of the other groups held constant, mean over subjects; whiskers: 95 % interval for "
            "new subjects and new stimuli, where there is one. Each region has its own scale.",
            *view.model_notes,
        ],
    )


def _kind(name: str) -> int:
    """Rank of a part: the whole, each group, each group alone, what groups share."""
    if name == f"{EXPLAINED}all":
        return 0
    return 1 + next(
        rank for rank, start in enumerate((EXPLAINED, ONLY, SHARED)) if name.startswith(start)
    )


def _rank(name: str) -> tuple[int, int]:
    """Order of presentation: by kind, of single groups as in the other figures."""
    singles = [start + group for start in (EXPLAINED, ONLY) for group in GROUP_COLOURS]
    return _kind(name), singles.index(name) if name in singles else 0


def _part_label(name: str, n_groups: int) -> str:
    """A part's name short enough for an axis."""
    if name.startswith(SHARED) and name.count(" and ") == n_groups - 1:
        return f"{SHARED}all"
    return name.replace(" and ", " + ")


def _part_colour(name: str) -> str:
    groups = [group for group in GROUP_COLOURS if name in (EXPLAINED + group, ONLY + group)]
    return GROUP_COLOURS[groups[0]] if groups else LINE_COLOUR


def _part_rows(parts: list[VariancePart]) -> Rows:
    return Rows(
        values=np.array([part.r2 for part in parts]),
        low=np.array([part.low for part in parts]),
        high=np.array([part.high for part in parts]),
        colours=[_part_colour(part.part) for part in parts],
        dots=np.empty((0, len(parts))),
    )


def _partial_rows(scores: list[PartialScore]) -> Rows:
    return Rows(
        values=np.array([score.partial for score in scores]),
        low=np.array([score.low for score in scores]),
        high=np.array([score.high for score in scores]),
        colours=[GROUP_COLOURS[score.group] for score in scores],
        dots=np.empty((0, len(scores))),
    )
