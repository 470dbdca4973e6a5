"""What groups of models explain alone and together, and each model beyond the other groups."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from conceptrsa.analysis.inference.explained import partial_metric, shared_parts
from conceptrsa.analysis.output.figures.captions import (
    CAPTIONS,
    best_layers,
    details_of,
    note,
)
from conceptrsa.analysis.output.figures.rows import (
    draw_rows,
    estimates_of,
    limits_of,
    row_panels,
)
from conceptrsa.analysis.output.figures.style import (
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
    parts_of = {
        roi.roi: sorted(
            (part for part in view.inference.variance_parts if part.roi == roi.roi),
            key=lambda part: _rank(part.part, view.groups),
        )
        for roi in view.rois
    }
    names = [part.part for part in parts_of[view.rois[0].roi]]
    ends = np.flatnonzero(np.diff([_kind(name) for name in names])) + 0.5
    whole = shared_parts(tuple(dict.fromkeys(model.group for model in view.result.models)))[-1]
    sheet = row_panels(view, [_part_label(name, whole) for name in names], 0)
    for panel, (roi, parts) in zip(sheet.panels, parts_of.items(), strict=True):
        estimates = estimates_of(parts, "r2")
        limits = limits_of([estimates], (-1.0, 1.0))
        colours = [_part_look(name, view.group_colours, LINE_COLOUR) for name in names]
        markers = [_part_look(name, view.group_markers, "o") for name in names]
        draw_rows(panel, estimates, colours, limits, markers=markers)
        for end in ends:
            panel.axhline(end, color="#bbbbbb", linewidth=0.6)
        sheet.set_title(panel, roi)
    sheet.label_outer("share of variance (R²)")
    return sheet.finish(
        CAPTIONS["variance_partition"]["title"],
        details_of(view),
        group_handles(view),
        [note(view, "variance_partition")],
    )


def draw_partial_rsa(view: View) -> Figure:
    """Draw each model's RSA beside what is left of it when the other groups are held constant."""
    metric = partial_metric(view.settings.rsa_metric)
    # Another statistic than RSA has no place beside it.
    has_plain = metric == view.settings.rsa_metric
    sheet = row_panels(view, [row.label for row in view.rows], 0)
    partials = {
        (score.roi, score.model): score
        for score in view.inference.partial_scores
        if score.given == ALL_OTHERS or len(view.groups) < 3
    }
    for panel, roi in zip(sheet.panels, view.rois, strict=True):
        estimates = estimates_of(
            (partials[roi.roi, model.name] for model in view.models(roi)), "partial"
        )
        plain = np.array([score.rsa for score in view.scores(roi)]) if has_plain else estimates
        if has_plain:
            there = np.flatnonzero(np.isfinite(plain))
            panel.plot(plain[there], there, **PLAIN_STYLE)
        limits = limits_of([plain, estimates], (-1.0, 1.0))
        draw_rows(panel, estimates, view.row_colours, limits, markers=view.row_markers)
        sheet.set_title(panel, roi.roi)
    sheet.label_outer(f"partial {RSA_NAMES[metric]}")
    handles = [Line2D([], [], label="beyond other groups", **PARTIAL_STYLE)]
    if has_plain:
        handles.append(Line2D([], [], label="RSA", **PLAIN_STYLE))
    return sheet.finish(
        CAPTIONS["partial_rsa"]["title"],
        details_of(view),
        [*group_handles(view), *handles],
        [note(view, "partial_rsa"), *best_layers(view), *view.model_notes],
    )


def _kind(name: str) -> int:
    """Rank of a part: the whole, each group, each group alone, what groups share."""
    if name == f"{EXPLAINED}all":
        return 0
    return 1 + next(
        rank for rank, start in enumerate((EXPLAINED, ONLY, SHARED)) if name.startswith(start)
    )


def _rank(name: str, groups: Sequence[str]) -> tuple[int, int]:
    """Order of presentation: by kind, of single groups as in the other figures."""
    singles = [start + group for start in (EXPLAINED, ONLY) for group in groups]
    return _kind(name), singles.index(name) if name in singles else 0


def _part_label(name: str, whole: str) -> str:
    """A part's name short enough for an axis; `whole` is what all groups share."""
    if name == whole and " and " in name:
        return f"{SHARED}all"
    return name.replace(" and ", " + ") if name.startswith(SHARED) else name


def _part_look(name: str, of_groups: Mapping[str, str], otherwise: str) -> str:
    """Colour or shape of a part: that of the group, or another one where it is of several."""
    groups = [group for group in of_groups if name in (EXPLAINED + group, ONLY + group)]
    return of_groups[groups[0]] if groups else otherwise
