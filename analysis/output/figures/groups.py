"""Groups of models in every region, and which of them differ.

With the models' intervals and the mixed model where inference was made; else with standard errors
over models and Welch's test.
"""

from collections.abc import Collection, Sequence
from itertools import cycle
from string import ascii_letters

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.inference.findings import ALPHA, MIXED_MODEL, GroupTest
from conceptrsa.analysis.output.figures.captions import (
    details_of,
    note,
    subjects_left,
    title,
)
from conceptrsa.analysis.output.figures.models import SHARE_LIMITS
from conceptrsa.analysis.output.figures.rows import (
    draw_dots,
    estimates_of,
    limits_of,
    mark_beyond,
    print_beyond,
)
from conceptrsa.analysis.output.figures.sheet import (
    LABEL_SIZE,
    NARROWEST,
    label_room,
    lay_out,
    line_height,
    shorten,
    text_width,
    title_room,
)
from conceptrsa.analysis.output.figures.style import (
    CEILING_COLOUR,
    LINE_COLOUR,
    MUTED_COLOUR,
    RSA_NAMES,
    SMALL,
    View,
    ceiling_handle,
    group_handles,
    jitter,
    star_style,
)
from conceptrsa.analysis.results import RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects

ROI_WIDTH, BAR_WIDTH = 1.35, 0.26
PANEL_WIDTH, GROUP_WIDTH = 2.05, 0.8
GROUP_SIZE, GROUP_LENGTH = SMALL - 0.5, 1.3
MOST_GROUPS_WITH_BRACKETS = 3
"""Of more groups there may be so many brackets that letters are read more easily."""

RAW_LIMITS, WIDEST_SHARES = (-1.0, 1.0), (-1.0, 4.0)


def draw_groups(view: View) -> Figure:
    """Draw the models of each group in every region, and brackets over groups that differ."""
    return (_draw_intervals if view.has_intervals else _draw_bars)(view)


def _draw_bars(view: View) -> Figure:
    """Draw means over the models of each group, all regions on one axis."""
    n_rois = len(view.rois)
    width = min(BAR_WIDTH, 0.8 / len(view.groups))
    labels = [_label(roi) for roi in view.rois]
    below = 0.2 + max(label.count("\n") + 1 for label in labels) * line_height(LABEL_SIZE)
    sheet = lay_out(
        1,
        max(ROI_WIDTH, 0.25 * len(view.groups)) * n_rois,
        [2.8],
        left=0.7,
        above=0.1,
        below=below,
        keeps_width=True,
        appearance=view.appearance,
    )
    (axes,) = sheet.panels
    axes.axhline(0, color="#333333", linewidth=0.8)
    axes.axhline(1, color=CEILING_COLOUR, linestyle="--", linewidth=1)
    extents = [_draw_bars_of(axes, view, place, roi, width) for place, roi in enumerate(view.rois)]
    low = min(extent[0] for extent in extents)
    high = max(1.0, *(extent[1] for extent in extents))
    _end_axis(axes, low, high, n_ticks=6)
    inside = Rectangle((0, low), 1, high - low, transform=axes.get_yaxis_transform())
    for bar in axes.patches:
        bar.set_clip_path(inside)
    step = 0.075 * (high - low)
    free = [
        _draw_brackets(axes, view, roi.roi, extent[1] + step, step, place, width)
        for place, (roi, extent) in enumerate(zip(view.rois, extents, strict=True))
    ]
    axes.set_ylim(low - step if low < 0 else 0.0, max(high, *free) + step)
    axes.set_xlim(-0.6, n_rois - 0.4)
    axes.set_xticks(range(n_rois), labels)
    axes.set_ylabel("RSA / noise ceiling")
    return sheet.finish(
        f"{title('groups', view.settings)} as a share of the noise ceiling",
        details_of(view),
        [*group_handles(view, view.noted_groups, as_points=False), ceiling_handle()],
        [note(view, "groups"), *view.model_notes],
    )


def _draw_intervals(view: View) -> Figure:
    """Draw the models' intervals, a panel per region."""
    narrowest = PANEL_WIDTH if view.appearance.width is None else PANEL_WIDTH * NARROWEST
    room = narrowest / (len(view.groups) + 0.2)
    labels, height = label_room(
        [shorten(g, GROUP_LENGTH, GROUP_SIZE) for g in view.groups], GROUP_SIZE
    )
    is_flat = all(text_width(group, GROUP_SIZE) < room for group in view.groups)
    sheet = lay_out(
        len(view.rois), PANEL_WIDTH, [2.3],
        left=0.78, between=0.88, above=title_room(0), below=0.3 if is_flat else height + 0.1,
        appearance=view.appearance,
    )  # fmt: skip
    for panel, roi in zip(sheet.panels, view.rois, strict=True):
        _draw_intervals_of(panel, view, roi.roi)
        sheet.set_title(panel, roi.roi)
        panel.set_xticks(
            range(len(labels)), labels, fontsize=GROUP_SIZE, rotation=0 if is_flat else 90
        )
    handles: list[Artist] = [*group_handles(view, view.noted_groups), ceiling_handle()]
    kinds = ["intervals"]
    if len(view.groups) > 1:
        rois = {roi.roi for roi in view.rois}
        tested = any(np.isfinite(t.p_corrected) for t in _tests(view) if t.roi in rois)
        found = "letters" if _by_letters(view) else "tested"
        kinds.append(found if tested else "untested")
        if tested and not _by_letters(view):
            handles.append(Line2D([], [], label=f"mixed model p < {ALPHA:g}", **star_style(6.5)))
    text = f"{note(view, 'groups', *kinds)} Each region has its own scale."
    heading = title("groups", view.settings)
    return sheet.finish(heading, details_of(view), handles, [text, *view.model_notes])


def _label(roi: RoiResult) -> str:
    lines = [shorten(line, ROI_WIDTH - 0.1, LABEL_SIZE) for line in roi.roi.split("-", 1)]
    more = ("weak ceiling" if roi.has_weak_ceiling else "", subjects_left(roi))
    return "\n".join([*lines, *(f"({text})" for text in more if text)])


def _end_axis(axes: Axes, low: float, high: float, n_ticks: int) -> None:
    """Let the axis end where data do; above it is room for brackets only."""
    axes.spines["left"].set_bounds(low, high)
    ticks = MaxNLocator(n_ticks, steps=[1, 2, 5, 10]).tick_values(low, high)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.tick_params(axis="x", length=0)


def _draw_bars_of(
    axes: Axes, view: View, place: int, roi: RoiResult, width: float
) -> tuple[float, float]:
    """Draw one bar per group; gives the lowest and highest point of the region."""
    extent = [0.0]
    for group in view.groups:
        means = mean_over_subjects(roi.rsa_normalised)
        members = np.array([model.group == group for model in view.result.models])
        means = means[members & np.isfinite(means)]
        x = place + _offset(view, group, width)
        if not len(means):
            axes.text(x, 0, "n/a", ha="center", va="bottom", fontsize=8, color=MUTED_COLOUR)
            continue
        mean = float(mean_over_subjects(means))
        sem = float(np.nan_to_num(sem_over_subjects(means)))
        axes.bar(x, mean, width=width * 0.9, color=view.group_colours[group], alpha=0.75)
        whisker = np.clip([mean - sem, mean + sem], *SHARE_LIMITS)
        axes.plot([x, x], whisker, color=LINE_COLOUR, linewidth=1.2)
        places = x + jitter(len(means), width * 0.28)
        draw_dots(axes, means, places, SHARE_LIMITS, 3.0, vertical=True)
        if not SHARE_LIMITS[0] <= mean <= SHARE_LIMITS[1]:
            print_beyond(axes, x, mean, SHARE_LIMITS, decimals=1, vertical=True)
        extent.extend([*np.clip(means, *SHARE_LIMITS).tolist(), *whisker.tolist()])
    return min(extent), max(extent)


def _draw_intervals_of(panel: Axes, view: View, roi: str) -> None:
    scores = view.inference.of(roi).model_scores
    is_raw = bool(scores[0].withheld)
    names = ("rsa", "low", "high") if is_raw else (
        "normalised", "normalised_low", "normalised_high"
    )  # fmt: skip
    estimates = np.asarray(estimates_of(scores, *names))
    one = np.array([0.0 if is_raw else 1.0])
    limits = low, high = limits_of([estimates, one], RAW_LIMITS if is_raw else WIDEST_SHARES)
    panel.axhline(0, color="#333333", linewidth=0.8)
    if not is_raw:
        panel.axhline(1, color=CEILING_COLOUR, linestyle="--", linewidth=1)
    groups = np.array([score.group for score in scores])
    for place, group in enumerate(view.groups):
        look = view.group_colours[group], view.group_markers[group]
        _draw_group(panel, place, estimates[groups == group], *look, limits)
    step = 0.07 * (high - low)
    middle = (len(view.groups) - 1) / 2
    if _by_letters(view):
        top = _draw_letters(panel, view, roi, high + step, step)
    else:
        top = _draw_brackets(panel, view, roi, high + step, step, middle, 1.0)
    panel.set_ylim(low, top)
    panel.set_xlim(-0.6, len(view.groups) - 0.4)
    _end_axis(panel, low, high, n_ticks=5)
    raw_name = f"RSA ({RSA_NAMES[view.settings.rsa_metric]})"
    panel.set_ylabel(raw_name if is_raw else "RSA / noise ceiling", labelpad=2)


def _draw_group(
    panel: Axes,
    place: int,
    estimates: Floats,
    colour: str,
    marker: str,
    limits: tuple[float, float],
) -> None:
    """Draw the estimates and intervals (models, 3) of one group, and the mean."""
    x = place + jitter(len(estimates), GROUP_WIDTH * 0.4)
    values, ends = estimates[:, 0], estimates[:, 1:]
    known = np.isfinite(ends).all(axis=1)
    low, high = np.clip(ends[known], *limits).T
    panel.vlines(x[known], low, high, colors=colour, alpha=0.6, lw=1.1)
    inside = (values >= limits[0]) & (values <= limits[1])
    panel.plot(x[inside], values[inside], marker, color=colour, markersize=3.6, zorder=3)
    places = np.stack([x, x], axis=1)
    mark_beyond(panel, ends, places, limits, 3.6, colour, vertical=True)
    scored = values[np.isfinite(values)]
    mean = float(np.mean(scored)) if len(scored) else np.nan
    if limits[0] <= mean <= limits[1]:
        panel.hlines(mean, place - GROUP_WIDTH / 2, place + GROUP_WIDTH / 2, LINE_COLOUR, lw=2)


def _tests(view: View) -> list[GroupTest]:
    """Tests of the groups that the answer goes by."""
    if view.has_intervals:
        return [test for test in view.inference.group_tests if test.test == MIXED_MODEL]
    return [test for test in view.result.group_tests if test.score == "rsa_normalised"]


def _draw_brackets(
    axes: Axes, view: View, roi: str, height: float, step: float, middle: float, width: float
) -> float:
    """Draw a bracket per pair of groups that differ, upwards; gives the free height above.

    The groups lie about the middle, each of such a width.
    """
    for test in _tests(view):
        p = test.p_corrected if view.has_intervals else test.p
        if test.roi != roi or not p < ALPHA:
            continue
        left, right = sorted(
            middle + _offset(view, name, width) for name in (test.group_a, test.group_b)
        )
        foot = height - step / 3
        corners = ([left, left, right, right], [foot, height, height, foot])
        axes.plot(*corners, color=LINE_COLOUR, linewidth=0.9)
        axes.plot((left + right) / 2, height + step * 0.45, **star_style(6.5))
        height += 1.5 * step
    return height


def _by_letters(view: View) -> bool:
    return len(view.groups) > MOST_GROUPS_WITH_BRACKETS


def _draw_letters(panel: Axes, view: View, roi: str, height: float, step: float) -> float:
    """Write over each group the letters that it shares with those not told apart from it."""
    tests = [test for test in _tests(view) if test.roi == roi]
    if not any(np.isfinite(test.p_corrected) for test in tests):
        return height
    differ = {frozenset((test.group_a, test.group_b)) for test in tests if test.p_corrected < ALPHA}
    for place, letters in enumerate(compact_letters(view.groups, differ)):
        panel.text(place, height, letters, ha="center", va="bottom", fontsize=GROUP_SIZE)
    return height + 2 * step


def compact_letters(names: Sequence[str], differ: Collection[frozenset[str]]) -> list[str]:
    """Give each name letters, so that two share one exactly where they do not differ.

    By inserting and absorbing (Piepho, 2004), a letter a largest set of names without a difference.

    Parameters
    ----------
    names : sequence of str
    differ : collection of pairs
    """
    sets = [frozenset(names)]
    for pair in differ:
        split = [part - {name} if pair <= part else part for part in sets for name in pair]
        distinct = list(dict.fromkeys(split))
        sets = [part for part in distinct if not any(part < other for other in distinct)]
    sets.sort(key=lambda part: [name not in part for name in names])
    lettered = list(zip(cycle(ascii_letters), sets, strict=False))
    return ["".join(letter for letter, part in lettered if name in part) for name in names]


def _offset(view: View, group: str, width: float) -> float:
    return (view.groups.index(group) - (len(view.groups) - 1) / 2) * width
