"""Figure 2B: groups of models in every region."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import NDArray

from conceptrsa.analysis.output.figures.captions import WEAK_NOTE, details_of, subjects_left
from conceptrsa.analysis.output.figures.model_bars import NORMALISED_LIMITS
from conceptrsa.analysis.output.figures.sheet import (
    LABEL_SIZE,
    Room,
    lay_out,
    line_height,
    shorten,
)
from conceptrsa.analysis.output.figures.style import (
    ALPHA,
    BEYOND_TEXT,
    CEILING_COLOUR,
    GROUP_COLOURS,
    LINE_COLOUR,
    MUTED_COLOUR,
    View,
    group_handles,
    jitter,
    printed,
)
from conceptrsa.analysis.results import RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects

ROI_WIDTH = 1.35
BAR_WIDTH = 0.26

NOTE = (
    "Bars: mean over models; whiskers: ± standard error over models; dots: models (mean over "
    f"subjects). * p < {ALPHA:g}, Welch's t-test between groups, uncorrected; it treats models as "
    "independent, which they are not. Triangles: models beyond the axis."
)


def draw_groups(view: View) -> Figure:
    """Draw means over the models of each group, with an asterisk where Welch's t-test says so."""
    n_rois = len(view.rois)
    labels = [_label(roi) for roi in view.rois]
    below = 0.2 + max(label.count("\n") + 1 for label in labels) * line_height(LABEL_SIZE)
    sheet = lay_out(1, ROI_WIDTH * n_rois, [2.8], Room(left=0.7, above=0.1, below=below))
    (axes,) = sheet.panels
    axes.axhline(0, color="#333333", linewidth=0.8)
    axes.axhline(1, color=CEILING_COLOUR, linestyle="--", linewidth=1)
    extents = [_draw_roi(axes, view, place, roi) for place, roi in enumerate(view.rois)]
    low = min(extent[0] for extent in extents)
    high = max(1.0, *(extent[1] for extent in extents))
    _end_axis(axes, low, high)
    step = 0.075 * (high - low)
    free = [
        _draw_asterisks(axes, view, place, roi.roi, extents[place][1] + step, step)
        for place, roi in enumerate(view.rois)
    ]
    axes.set_ylim(low - step if low < 0 else 0.0, max(high, *free) + step)
    axes.set_xlim(-0.6, n_rois - 0.4)
    axes.set_xticks(range(n_rois), labels)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("RSA / noise ceiling")
    ceiling = Line2D([], [], color=CEILING_COLOUR, linestyle="--", label="noise ceiling")
    return sheet.finish(
        "Figure 2B. RSA of groups of models as a share of the noise ceiling",
        details_of(view),
        [*group_handles(view.groups, view.noted_groups), ceiling],
        [f"{NOTE} {WEAK_NOTE}", *view.model_notes],
    )


def _label(roi: RoiResult) -> str:
    lines = [shorten(line, ROI_WIDTH - 0.1, LABEL_SIZE) for line in roi.roi.split("-", 1)]
    if roi.has_weak_ceiling:
        lines.append("(weak ceiling)")
    if subjects_left(roi):
        lines.append(f"({subjects_left(roi)})")
    return "\n".join(lines)


def _end_axis(axes: Axes, low: float, high: float) -> None:
    """Let the axis end where data do; above it is room for asterisks only."""
    axes.spines["left"].set_bounds(low, high)
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    inside = Rectangle((0, low), 1, high - low, transform=axes.get_yaxis_transform())
    for bar in axes.patches:
        bar.set_clip_path(inside)


def _draw_roi(axes: Axes, view: View, place: int, roi: RoiResult) -> tuple[float, float]:
    """Draw one bar per group; gives the lowest and highest point of the region."""
    extent = [0.0]
    for group in view.groups:
        means = _model_means(view, roi, group)
        x = place + _offset(view, group)
        if not len(means):
            axes.text(x, 0, "n/a", ha="center", va="bottom", fontsize=8, color=MUTED_COLOUR)
            continue
        mean = float(mean_over_subjects(means))
        sem = float(np.nan_to_num(sem_over_subjects(means)))
        axes.bar(x, mean, width=BAR_WIDTH * 0.9, color=GROUP_COLOURS[group], alpha=0.75)
        whisker = np.clip([mean - sem, mean + sem], *NORMALISED_LIMITS)
        axes.plot([x, x], whisker, color=LINE_COLOUR, linewidth=1.2)
        _draw_models(axes, x, means)
        if not NORMALISED_LIMITS[0] <= mean <= NORMALISED_LIMITS[1]:
            _print_beyond(axes, x, mean)
        extent.extend([*np.clip(means, *NORMALISED_LIMITS).tolist(), *whisker.tolist()])
    return min(extent), max(extent)


def _draw_models(axes: Axes, x: float, means: NDArray[np.float64]) -> None:
    """Dots at the models' means, and triangles at the limits for those beyond."""
    low, high = NORMALISED_LIMITS
    places = x + jitter(len(means), BAR_WIDTH * 0.28)
    marks = {"o": (means >= low) & (means <= high), "v": means < low, "^": means > high}
    for marker, which in marks.items():
        axes.plot(
            places[which],
            np.clip(means[which], low, high),
            marker,
            markersize=3.0 if marker == "o" else 4.0,
            markerfacecolor="white" if marker == "o" else "#444444",
            markeredgecolor="#444444",
            markeredgewidth=0.6,
            zorder=3,
        )


def _print_beyond(axes: Axes, x: float, mean: float) -> None:
    high = mean > NORMALISED_LIMITS[1]
    axes.annotate(
        printed(mean, 1),
        (x, NORMALISED_LIMITS[1] if high else NORMALISED_LIMITS[0]),
        xytext=(0, -8 if high else 8),
        textcoords="offset points",
        ha="center",
        va="top" if high else "bottom",
        zorder=4,
        **BEYOND_TEXT,
    )


def _draw_asterisks(
    axes: Axes, view: View, place: int, roi: str, start: float, step: float
) -> float:
    """Draw a bracket per pair of groups that differs; gives the height above which it is free."""
    height = start
    for test in view.result.group_tests:
        if test.roi != roi or test.score != "rsa_normalised" or not test.p < ALPHA:
            continue
        left, right = sorted(place + _offset(view, name) for name in (test.group_a, test.group_b))
        foot = height - step / 4
        axes.plot(
            [left, left, right, right],
            [foot, height, height, foot],
            color=LINE_COLOUR,
            linewidth=0.9,
        )
        axes.text((left + right) / 2, height - step / 6, "*", ha="center", va="bottom", fontsize=11)
        height += 1.7 * step
    return height


def _offset(view: View, group: str) -> float:
    return (view.groups.index(group) - (len(view.groups) - 1) / 2) * BAR_WIDTH


def _model_means(view: View, roi: RoiResult, group: str) -> NDArray[np.float64]:
    """Finite means over subjects of the group's models."""
    means = mean_over_subjects(roi.rsa_normalised)
    members = np.array([model.group == group for model in view.result.models])
    return np.asarray(means[members & np.isfinite(means)])
