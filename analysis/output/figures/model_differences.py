"""Every model against every other in every region: which differences hold."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from conceptrsa.analysis.arrays import Booleans, Floats
from conceptrsa.analysis.inference.findings import ALPHA, RANDOM_EFFECTS, ZERO, ModelTest
from conceptrsa.analysis.output.figures.captions import (
    CAPTIONS,
    best_layers,
    details_of,
    note,
)
from conceptrsa.analysis.output.figures.sheet import (
    label_room,
    lay_out,
    title_room,
)
from conceptrsa.analysis.output.figures.style import (
    LINE_COLOUR,
    MUTED_COLOUR,
    SMALL,
    View,
)
from conceptrsa.analysis.results import RoiResult

PANELS_PER_ROW = 2
CELL = 0.185
MIN_PANEL = 1.5
COLOURS = "PuOr"
"""Diverging, and told apart by colour-blind readers."""


def draw_model_tests(view: View) -> Figure:
    """Draw a matrix of differences per region, marked where they are significant."""
    labels, left = label_room([row.label for row in view.rows], SMALL)
    n_models = len(labels)
    size = max(CELL * n_models, MIN_PANEL)
    sheet = lay_out(
        len(view.rois), size, [size], per_row=PANELS_PER_ROW,
        left=left, between=0.95, right=0.85, above=title_room(0), below=left + 0.1,
        keeps_width=True, appearance=view.appearance,
    )  # fmt: skip
    for index, (panel, roi) in enumerate(zip(sheet.panels, view.rois, strict=True)):
        _draw_differences(panel, difference_matrix(view, roi), size)
        _draw_marks(panel, significance_matrix(view, roi), size / n_models)
        _label_models(panel, view, labels, with_rows=sheet.is_first_column(index))
        sheet.set_title(panel, roi.roi)
    rois = {roi.roi for roi in view.rois}
    tested = any(np.isfinite(test.p_corrected) for test in _tests(view) if test.roi in rois)
    style: dict[str, Any] = {"marker": "o", "markersize": 4, "color": LINE_COLOUR}
    said = note(view, "model_tests", "tested" if tested else "untested")
    return sheet.finish(
        CAPTIONS["model_tests"]["title"],
        details_of(view),
        [Line2D([], [], linestyle="none", label=f"p < {ALPHA:g}", **style)] if tested else [],
        [note(view, "model_tests", tested=said), *best_layers(view), *view.model_notes],
    )


def _draw_differences(panel: Axes, differences: Floats, size: float) -> None:
    """Draw the differences and their colours' scale right of the panel of so many inches."""
    largest = float(np.nanmax(np.abs(differences), initial=0.0)) or 1.0
    image = panel.imshow(differences, cmap=COLOURS, vmin=-largest, vmax=largest)
    scale = panel.inset_axes((1 + 0.1 / size, 0.1, 0.12 / size, 0.65))
    bar = panel.figure.colorbar(image, cax=scale, ticks=MaxNLocator(4, steps=[1, 2, 5, 10]))
    bar.outline.set_visible(False)
    scale.tick_params(labelsize=SMALL, length=2)
    scale.annotate(
        "row −\ncolumn", (0, 1), xycoords="axes fraction", xytext=(0, 5),
        textcoords="offset points", fontsize=SMALL, color=MUTED_COLOUR,
    )  # fmt: skip


def difference_matrix(view: View, roi: RoiResult) -> Floats:
    """Mean score of each row's model less that of each column's; NaN on the diagonal."""
    means = np.array([score.rsa for score in view.scores(roi)])
    differences = means[:, None] - means
    np.fill_diagonal(differences, np.nan)
    return np.asarray(differences)


def significance_matrix(view: View, roi: RoiResult) -> Booleans:
    """Which pairs of models differ in a region, by the test that the answer goes by."""
    place = {model.name: row for row, model in enumerate(view.models(roi))}
    significant = np.zeros((len(place), len(place)), dtype=np.bool_)
    for test in _tests(view):
        is_shown = test.roi == roi.roi and {test.model, test.reference} <= place.keys()
        if is_shown and test.p_corrected < ALPHA:
            pair = [place[test.model], place[test.reference]]
            significant[pair, pair[::-1]] = True
    return significant


def _tests(view: View) -> list[ModelTest]:
    return [
        test
        for test in view.inference.model_tests
        if test.test == RANDOM_EFFECTS and test.reference != ZERO
    ]


def _draw_marks(panel: Axes, significant: Booleans, cell: float) -> None:
    rows, columns = np.nonzero(significant)
    edge: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.5}
    panel.plot(columns, rows, "o", color=LINE_COLOUR, markersize=min(5.0, cell * 23), **edge)
    n_models = len(significant)
    panel.plot([-0.5, n_models - 0.5], [-0.5, n_models - 0.5], color="#bbbbbb", linewidth=0.8)


def _label_models(panel: Axes, view: View, labels: list[str], *, with_rows: bool) -> None:
    places = range(len(labels))
    panel.set_xticks(places, labels, rotation=90, fontsize=SMALL)
    if with_rows:
        panel.set_yticks(places, labels, fontsize=SMALL)
    else:
        panel.yaxis.set_visible(False)
    panel.tick_params(length=0)
    panel.spines[["left", "bottom"]].set_visible(False)
    texts = [*panel.get_xticklabels(), *(panel.get_yticklabels() if with_rows else [])]
    for text, colour in zip(texts, view.row_colours * 2, strict=False):
        text.set_color(colour)
