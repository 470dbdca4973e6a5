"""Panels of one row per model: bars or points, whiskers and dots, each kind drawn as one artist."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.markers import MarkerStyle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.output.figures.sheet import (
    Sheet,
    label_room,
    lay_out,
    title_room,
)
from conceptrsa.analysis.output.figures.style import (
    LINE_COLOUR,
    MUTED_COLOUR,
    SMALL,
    View,
    jitter,
    printed,
)

PANEL_WIDTH = 2.05
ROW_HEIGHT = 0.21
BAR_HEIGHT = 0.66
DOT_COLOUR = "#444444"

Limits = tuple[float, float]


def row_panels(
    view: View, labels: Sequence[str], n_details: int, *, right: float = 0.25, min_rows: int = 1
) -> Sheet:
    """Make a panel per region with labelled rows, and room for so many lines above.

    A panel has the height of `min_rows` where there are fewer rows.
    """
    fitting, left = label_room(labels)
    n_shown = max(len(labels), min_rows)
    heights = [ROW_HEIGHT * (n_shown + 0.4)]
    sheet = lay_out(
        len(view.rois), PANEL_WIDTH, heights,
        left=left, between=right, right=right, above=title_room(n_details),
        appearance=view.appearance,
    )  # fmt: skip
    for index, panel in enumerate(sheet.panels):
        panel.set_ylim(n_shown - 0.3, -0.7)
        panel.spines["left"].set_visible(False)
        panel.tick_params(axis="y", length=0)
        if sheet.is_first_column(index):
            panel.set_yticks(range(len(labels)), fitting)
        else:
            panel.yaxis.set_visible(False)
    return sheet


def estimates_of(found: Iterable[Any], value: str, low: str = "low", high: str = "high") -> Any:
    """Values and the ends of their intervals, (rows, 3), from these attributes."""
    return np.array([[getattr(one, name) for name in (value, low, high)] for one in found])


def draw_rows(
    panel: Axes,
    estimates: Floats,
    colours: Sequence[str],
    limits: Limits,
    *,
    dots: Floats | None = None,
    markers: Sequence[str] = (),
    filled: Sequence[bool] = (),
) -> None:
    """Draw bars or points, whiskers and dots, from the top row down.

    What lies beyond the limits is marked at the edge.

    Parameters
    ----------
    panel : Axes
    estimates : ndarray, (rows, 3)
        Values, and the ends of their whiskers; NaN for what there is not.
    colours : sequence of str
        One per row.
    limits : pair of float
        Of the x axis.
    dots : ndarray, (subjects, rows), optional
        NaN for subjects without.
    markers : sequence of str
        One per row, where values are points on whiskers of their colour, instead of bars.
    filled : sequence of bool
        Whether points are filled or open, one per row; by default all are filled.
    """
    panel.set_xlim(limits)
    panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    panel.axvline(0, color="#333333", linewidth=0.8)
    values = estimates[:, 0]
    known = np.isfinite(values)
    inside = (values >= limits[0]) & (values <= limits[1])
    if not markers:
        half = BAR_HEIGHT / 2
        bars = [
            [(0, row - half), (values[row], row - half), (values[row], row + half), (0, row + half)]
            for row in np.flatnonzero(known)
        ]
        faces = np.array(colours)[known].tolist()
        panel.add_collection(PolyCollection(bars, facecolors=faces, alpha=0.75), autolim=False)
    _draw_whiskers(panel, estimates[:, 1:], limits, colours if markers else LINE_COLOUR)
    if dots is not None:
        size = 3.0 if len(dots) <= 12 else 1.7
        places = np.add.outer(jitter(len(dots), 0.24), np.arange(len(values)))
        draw_dots(panel, dots, places, limits, size)
    if markers:
        shown = np.flatnonzero(inside)
        edges = np.array(colours)[shown].tolist()
        faces = [colours[row] if not filled or filled[row] else "white" for row in shown.tolist()]
        points = panel.scatter(
            values[shown], shown, s=30, c=faces, edgecolors=edges, linewidths=1.2, zorder=3.5
        )
        shapes = [MarkerStyle(markers[row]) for row in shown.tolist()]
        points.set_paths([shape.get_path().transformed(shape.get_transform()) for shape in shapes])
    for row in np.flatnonzero(known & ~inside).tolist():
        print_beyond(panel, row, float(values[row]), limits, decimals=2)
    for row in np.flatnonzero(~known).tolist():
        panel.text(0, row, " n/a", va="center", fontsize=SMALL, color=MUTED_COLOUR)


def limits_of(scores: Sequence[Floats], widest: Limits) -> Limits:
    """Axis limits that hold zero and all the scores, within the widest."""
    values = np.concatenate([np.ravel(part) for part in scores])
    values = np.clip(values[np.isfinite(values)], *widest)
    low = min(0.0, float(values.min(initial=0.0)))
    high = max(0.02, float(values.max(initial=0.0)))
    margin = 0.05 * (high - low)
    return (low - margin if low < 0 else 0.0), high + margin


def _draw_whiskers(panel: Axes, ends: Floats, limits: Limits, colours: Sequence[str] | str) -> None:
    known = np.isfinite(ends).all(axis=1)
    shown = np.flatnonzero(known & (ends[:, 0] < limits[1]) & (ends[:, 1] > limits[0]))
    low, high = np.clip(ends[shown], *limits).T
    own = colours if isinstance(colours, str) else np.array(colours)[shown].tolist()
    panel.hlines(shown, low, high, colors=own, linewidths=1.3, zorder=2.5)
    places = np.repeat(np.flatnonzero(known), 2).reshape(-1, 2)
    mark_beyond(panel, ends[known], places, limits, 3.5)


def draw_dots(
    panel: Axes,
    values: Floats,
    places: Floats,
    limits: Limits,
    size: float,
    *,
    vertical: bool = False,
) -> None:
    """Draw a dot at each value, or a triangle at the end of the axis that it is beyond."""
    inside = (values >= limits[0]) & (values <= limits[1])
    _plot(panel, values[inside], places[inside], "o", size, "white", vertical)
    mark_beyond(panel, values, places, limits, size * 1.2, vertical=vertical)


def mark_beyond(
    panel: Axes,
    values: Floats,
    places: NDArray[Any],
    limits: Limits,
    size: float,
    colour: str = DOT_COLOUR,
    *,
    vertical: bool = False,
) -> None:
    """Draw a triangle at the end of the axis for every value that is beyond it."""
    low, high = values < limits[0], values > limits[1]
    _plot(panel, limits[0], places[low], "v" if vertical else "<", size, colour, vertical)
    _plot(panel, limits[1], places[high], "^" if vertical else ">", size, colour, vertical)


def _plot(
    panel: Axes,
    values: Floats | float,
    places: NDArray[Any],
    marker: str,
    size: float,
    face: str,
    vertical: bool,
) -> None:
    if not len(places):
        return
    at = (np.broadcast_to(values, places.shape), places)
    panel.plot(
        *(at[::-1] if vertical else at), marker, markersize=size, markerfacecolor=face,
        markeredgecolor=DOT_COLOUR if face == "white" else face, markeredgewidth=0.6,
        clip_on=False, zorder=3,
    )  # fmt: skip


def print_beyond(
    panel: Axes,
    place: float,
    value: float,
    limits: Limits,
    decimals: int,
    *,
    vertical: bool = False,
) -> None:
    """Write a value beyond the axis at its end."""
    is_high = value > limits[1]
    at, inwards = (limits[1], -7) if is_high else (limits[0], 7)
    across: dict[str, Any] = {"ha": "right" if is_high else "left", "va": "center"}
    along: dict[str, Any] = {"ha": "center", "va": "top" if is_high else "bottom"}
    panel.annotate(
        printed(value, decimals), (place, at) if vertical else (at, place),
        xytext=(0, inwards) if vertical else (inwards, 0), textcoords="offset points",
        **(along if vertical else across), zorder=4, fontsize=SMALL, color="white",
        bbox={"facecolor": "#444444", "edgecolor": "none", "boxstyle": "round,pad=0.2"},
    )  # fmt: skip
