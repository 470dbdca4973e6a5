"""Panels of one row per model: bars, whiskers and dots, each kind drawn as one artist."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from conceptrsa.analysis.output.figures.sheet import (
    Room,
    Sheet,
    label_room,
    lay_out,
    title_room,
)
from conceptrsa.analysis.output.figures.style import (
    BEYOND_TEXT,
    LINE_COLOUR,
    MUTED_COLOUR,
    SMALL,
    View,
    jitter,
    model_label,
    printed,
)

PANEL_WIDTH = 2.05
ROW_HEIGHT = 0.21
BAR_HEIGHT = 0.66
DOT_COLOUR = "#444444"
BEYOND_MARKERS = ("<", ">")


@dataclass(frozen=True)
class Rows:
    """What is drawn in a panel, from the top row down.

    Attributes
    ----------
    values, low, high : ndarray, (rows,)
        Bars, and whiskers; NaN for what there is not.
    colours : sequence of str
        One per row.
    dots : ndarray, (subjects, rows)
        NaN for subjects without; no subjects for no dots.
    """

    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    colours: Sequence[str]
    dots: NDArray[np.float64]


def row_panels(
    view: View, labels: Sequence[str], n_details: int, *, right: float = 0.25, min_rows: int = 1
) -> Sheet:
    """Make a panel per region with labelled rows, and room for so many lines above.

    A panel has the height of `min_rows` where there are fewer rows.
    """
    fitting, left = label_room(labels)
    n_shown = max(len(labels), min_rows)
    sheet = lay_out(
        len(view.rois),
        PANEL_WIDTH,
        [ROW_HEIGHT * (n_shown + 0.4)],
        Room(left, between=right, right=right, above=title_room(n_details)),
    )
    for index, panel in enumerate(sheet.panels):
        panel.set_ylim(n_shown - 0.3, -0.7)
        panel.spines["left"].set_visible(False)
        panel.tick_params(axis="y", length=0)
        if sheet.is_first_column(index):
            panel.set_yticks(range(len(labels)), fitting)
        else:
            panel.yaxis.set_visible(False)
    return sheet


def model_labels(view: View) -> list[str]:
    """Names of the models in the order of the figures."""
    return [model_label(model) for model in view.ordered_models]


def draw_rows(panel: Axes, rows: Rows, limits: tuple[float, float]) -> None:
    """Draw bars, whiskers and dots; what lies beyond the limits is marked at the edge."""
    panel.set_xlim(limits)
    panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    panel.axvline(0, color="#333333", linewidth=0.8)
    there = np.flatnonzero(np.isfinite(rows.values)).tolist()
    _draw_bars(panel, rows, there)
    _draw_whiskers(panel, rows, limits)
    _draw_dots(panel, rows.dots, limits)
    for row in there:
        if not limits[0] <= rows.values[row] <= limits[1]:
            _print_beyond(panel, row, float(rows.values[row]), limits)
    for row in np.flatnonzero(~np.isfinite(rows.values)).tolist():
        panel.text(0, row, " n/a", va="center", fontsize=SMALL, color=MUTED_COLOUR)


def draw_points(panel: Axes, rows: Rows, limits: tuple[float, float], marker: str = "o") -> None:
    """Draw a marker and a whisker per row in place of bars and dots."""
    panel.set_xlim(limits)
    panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    panel.axvline(0, color="#333333", linewidth=0.8)
    _draw_whiskers(panel, rows, limits, rows.colours)
    inside = (rows.values >= limits[0]) & (rows.values <= limits[1])
    panel.scatter(
        rows.values[inside],
        np.flatnonzero(inside),
        s=26,
        marker=marker,
        color=np.array(rows.colours)[inside],
        zorder=3,
    )
    for row in np.flatnonzero(~inside).tolist():
        if np.isfinite(rows.values[row]):
            _print_beyond(panel, row, float(rows.values[row]), limits)
        else:
            panel.text(0, row, " n/a", va="center", fontsize=SMALL, color=MUTED_COLOUR)


def draw_stars(panel: Axes, significant: NDArray[np.bool_]) -> None:
    """Draw a star right of the panel in every row that is significant."""
    rows = np.flatnonzero(significant)
    panel.plot(
        np.full(len(rows), 1.04),
        rows,
        "*",
        color=LINE_COLOUR,
        markersize=6,
        markeredgewidth=0,
        transform=panel.get_yaxis_transform(),
        clip_on=False,
    )


def star_handle(label: str) -> Line2D:
    """Legend entry for `draw_stars`."""
    return Line2D(
        [], [], marker="*", linestyle="none", color=LINE_COLOUR, markeredgewidth=0, label=label
    )


def limits_of(
    scores: Sequence[NDArray[np.float64]], widest: tuple[float, float]
) -> tuple[float, float]:
    """Axis limits that hold zero and all the scores, within the widest."""
    values = np.concatenate([np.ravel(part) for part in scores])
    values = np.clip(values[np.isfinite(values)], *widest)
    low = min(0.0, float(values.min(initial=0.0)))
    high = max(0.02, float(values.max(initial=0.0)))
    margin = 0.05 * (high - low)
    return (low - margin if low < 0 else 0.0), high + margin


def _draw_bars(panel: Axes, rows: Rows, there: Sequence[int]) -> None:
    half = BAR_HEIGHT / 2
    bars = []
    for row in there:
        value, top, bottom = rows.values[row], row - half, row + half
        bars.append([(0, top), (value, top), (value, bottom), (0, bottom)])
    colours = [rows.colours[row] for row in there]
    panel.add_collection(PolyCollection(bars, facecolors=colours, alpha=0.75), autolim=False)


def _draw_whiskers(
    panel: Axes,
    rows: Rows,
    limits: tuple[float, float],
    colours: Sequence[str] | str = LINE_COLOUR,
) -> None:
    known = np.flatnonzero(np.isfinite(rows.low) & np.isfinite(rows.high))
    low, high = rows.low[known], rows.high[known]
    shown = (low < limits[1]) & (high > limits[0])
    ends = np.clip(np.stack([low, high], axis=1), *limits)[shown]
    places = known[shown]
    lines = [[(start, row), (end, row)] for (start, end), row in zip(ends, places, strict=True)]
    if not isinstance(colours, str):
        colours = [colours[row] for row in places]
    panel.add_collection(
        LineCollection(lines, colors=colours, linewidths=1.3, zorder=2.5), autolim=False
    )
    for side, marker in enumerate(BEYOND_MARKERS):
        beyond = (low < limits[0], high > limits[1])[side]
        _plot_markers(
            panel,
            np.full(beyond.sum(), limits[side]),
            known[beyond].astype(np.float64),
            marker,
            3.5,
        )


def _draw_dots(panel: Axes, dots: NDArray[np.float64], limits: tuple[float, float]) -> None:
    n_subjects, n_rows = dots.shape
    size = 3.0 if n_subjects <= 12 else 1.7
    rows = np.add.outer(jitter(n_subjects, 0.24), np.arange(n_rows))
    inside = (dots >= limits[0]) & (dots <= limits[1])
    _plot_markers(panel, dots[inside], rows[inside], "o", size, "white")
    for side, marker in enumerate(BEYOND_MARKERS):
        beyond = (dots < limits[0], dots > limits[1])[side]
        _plot_markers(panel, np.full(beyond.sum(), limits[side]), rows[beyond], marker, size * 1.2)


def _plot_markers(
    panel: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    marker: str,
    size: float,
    face: str = DOT_COLOUR,
) -> None:
    if len(x):
        panel.plot(
            x,
            y,
            marker,
            markersize=size,
            markerfacecolor=face,
            markeredgecolor=DOT_COLOUR,
            markeredgewidth=0.6,
            clip_on=False,
            zorder=3,
        )


def _print_beyond(panel: Axes, row: int, value: float, limits: tuple[float, float]) -> None:
    right = value > limits[1]
    panel.annotate(
        printed(value, 2),
        (limits[1] if right else limits[0], row),
        xytext=(-7 if right else 7, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        zorder=4,
        **BEYOND_TEXT,
    )
