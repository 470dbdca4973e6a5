"""Figure 2B with the models' intervals and the test of groups that the answer goes by."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import NDArray

from conceptrsa.analysis.inference.comparisons import MIXED_MODEL
from conceptrsa.analysis.inference.findings import ModelScore
from conceptrsa.analysis.inference.paper_tests import GroupTest
from conceptrsa.analysis.output.figures.captions import details_of
from conceptrsa.analysis.output.figures.rows import limits_of
from conceptrsa.analysis.output.figures.sheet import (
    Room,
    lay_out,
    set_title,
    title_room,
)
from conceptrsa.analysis.output.figures.style import (
    ALPHA,
    CEILING_COLOUR,
    GROUP_COLOURS,
    LINE_COLOUR,
    RSA_NAMES,
    SMALL,
    View,
    group_handles,
    jitter,
)

PANEL_WIDTH = 2.05
GROUP_WIDTH = 0.8
RAW_LIMITS, SHARE_LIMITS = (-1.0, 1.0), (-1.0, 4.0)
MARK_STYLE: dict[str, Any] = {
    "marker": "*",
    "markersize": 6.5,
    "color": LINE_COLOUR,
    "markeredgewidth": 0,
    "linestyle": "none",
}

NOTE = (
    "Horizontal lines: mean over the models of a group; dots: models, with 95 % intervals for new "
    "subjects and new stimuli; triangles: beyond the axis. Where the share of the noise ceiling is "
    "withheld, as its interval includes zero, RSA itself is drawn. "
)
BRACKETS = (
    "Brackets: the mean RSA of two groups differs for new subjects, stimuli and models of the "
    f"kind (mixed model, p < {ALPHA:g}, corrected for all pairs of groups and regions by false "
    "discovery rate). "
)
UNTESTED = "Groups could not be tested against each other. "
SCALES = "Each region has its own scale."


def draw_group_intervals(view: View) -> Figure:
    """Draw the groups' models in every region, and brackets over groups that differ."""
    sheet = lay_out(
        len(view.rois),
        PANEL_WIDTH,
        [2.3],
        Room(left=0.78, between=0.88, above=title_room(0), below=0.3),
    )
    for panel, roi in zip(sheet.panels, view.rois, strict=True):
        _draw_roi(panel, view, roi.roi)
    handles: list[Artist] = [
        *group_handles(view.groups, view.noted_groups),
        Line2D([], [], color=CEILING_COLOUR, linestyle="--", label="noise ceiling"),
    ]
    note = NOTE
    if len(view.groups) > 1:
        tested = any(np.isfinite(test.p_corrected) for test in _tests(view))
        note += BRACKETS if tested else UNTESTED
        if tested:
            handles.append(Line2D([], [], label=f"mixed model p < {ALPHA:g}", **MARK_STYLE))
    return sheet.finish(
        "Figure 2B. RSA of groups of models",
        details_of(view),
        handles,
        [f"{note}{SCALES}", *view.model_notes],
    )


def _draw_roi(panel: Axes, view: View, roi: str) -> None:
    scores = view.scores(roi)
    is_raw = bool(scores[0].withheld)
    values = _raw(scores) if is_raw else _normalised(scores)
    widest = RAW_LIMITS if is_raw else SHARE_LIMITS
    low, high = limits_of([values, np.array([0.0 if is_raw else 1.0])], widest)
    panel.axhline(0, color="#333333", linewidth=0.8)
    if not is_raw:
        panel.axhline(1, color=CEILING_COLOUR, linestyle="--", linewidth=1)
    groups = np.array([score.group for score in scores])
    for place, group in enumerate(view.groups):
        _draw_group(panel, place, values[groups == group], GROUP_COLOURS[group], (low, high))
    step = 0.07 * (high - low)
    top = _draw_brackets(panel, view, roi, high + step, step)
    panel.set_ylim(low, top)
    panel.set_xlim(-0.6, len(view.groups) - 0.4)
    panel.set_xticks(range(len(view.groups)), view.groups, fontsize=SMALL - 0.5)
    panel.tick_params(axis="x", length=0)
    panel.spines["left"].set_bounds(low, high)
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
    panel.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    raw_name = f"RSA ({RSA_NAMES[view.settings.rsa_metric]})"
    panel.set_ylabel(raw_name if is_raw else "RSA / noise ceiling", labelpad=2)
    set_title(panel, PANEL_WIDTH, roi)


def _draw_group(
    panel: Axes,
    place: int,
    values: NDArray[np.float64],
    colour: str,
    limits: tuple[float, float],
) -> None:
    """Draw the estimates and intervals (models, 3) of one group, and the mean."""
    x = place + jitter(len(values), GROUP_WIDTH * 0.4)
    estimates, ends = values[:, 0], values[:, 1:]
    known = np.isfinite(ends).all(axis=1)
    clipped = np.clip(ends, *limits)
    panel.add_collection(
        LineCollection(
            [[(at, a), (at, b)] for at, (a, b) in zip(x[known], clipped[known], strict=True)],
            colors=colour,
            alpha=0.6,
            linewidths=1.1,
        ),
        autolim=False,
    )
    inside = (estimates >= limits[0]) & (estimates <= limits[1])
    panel.plot(x[inside], estimates[inside], "o", color=colour, markersize=3.6, zorder=3)
    for side, marker in ((0, "v"), (1, "^")):
        beyond = (ends[:, side] < limits[0], ends[:, side] > limits[1])[side]
        panel.plot(x[beyond], clipped[beyond, side], marker, color=colour, markersize=3.6)
    mean = float(np.mean(estimates)) if len(estimates) else np.nan
    if limits[0] <= mean <= limits[1]:
        half = GROUP_WIDTH / 2
        panel.plot([place - half, place + half], [mean, mean], color=LINE_COLOUR, linewidth=2)


def _tests(view: View) -> list[GroupTest]:
    """Tests of the groups in the regions of the view, that which the answer goes by."""
    rois = {roi.roi for roi in view.rois}
    return [
        test for test in view.inference.group_tests if test.test == MIXED_MODEL and test.roi in rois
    ]


def _draw_brackets(panel: Axes, view: View, roi: str, start: float, step: float) -> float:
    """Draw a bracket per pair of groups that differ; gives the free height above."""
    height = start
    for test in _tests(view):
        if test.roi != roi or not test.p_corrected < ALPHA:
            continue
        left, right = sorted(view.groups.index(name) for name in (test.group_a, test.group_b))
        foot = height - step / 3
        panel.plot(
            [left, left, right, right],
            [foot, height, height, foot],
            color=LINE_COLOUR,
            linewidth=0.9,
        )
        panel.plot((left + right) / 2, height + step * 0.45, **MARK_STYLE)
        height += 1.5 * step
    return height


def _raw(scores: Sequence[ModelScore]) -> NDArray[np.float64]:
    return np.array([[score.rsa, score.low, score.high] for score in scores])


def _normalised(scores: Sequence[ModelScore]) -> NDArray[np.float64]:
    return np.array(
        [[score.normalised, score.normalised_low, score.normalised_high] for score in scores]
    )
