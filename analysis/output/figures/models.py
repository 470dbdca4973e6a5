"""Every model in every region: scores, and shares of the noise ceiling.

With 95 % intervals for new subjects and new stimuli where inference was made; else with standard
errors over subjects.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.inference.findings import ALPHA, CeilingInterval
from conceptrsa.analysis.output.figures.captions import (
    best_layers,
    details_of,
    has_ceiling,
    has_voxels,
    n_voxels_label,
    note,
    subjects_left,
    title,
)
from conceptrsa.analysis.output.figures.rows import (
    draw_rows,
    estimates_of,
    limits_of,
    row_panels,
)
from conceptrsa.analysis.output.figures.sheet import wrap
from conceptrsa.analysis.output.figures.style import (
    CEILING_COLOUR,
    MUTED_COLOUR,
    RSA_NAMES,
    SMALL,
    View,
    ceiling_handle,
    group_handles,
    printed,
    printed_interval,
    star_style,
)
from conceptrsa.analysis.results import PRIMARY, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects
from conceptrsa.analysis.rsa.noise_ceiling import sem_of_ceilings

SHARE_LIMITS = (-0.5, 2.0)
"""A ceiling near zero blows scores up; what lies beyond is marked at the edge."""

CEILING_ROWS = ("noise ceiling", "Nili lower bound", "Nili upper bound")
CEILING_ROW_COLOUR = "#999999"

ROWS_TO_SAY_WHY = 5
"""A panel of fewer rows has no room to say why it is empty."""

MOST_FOR_UPPER_BOUND = 1.6
"""What an axis may grow by to hold the upper bound of the noise ceiling."""

LAYER_ROOM = 0.38
"""Inches right of a panel for the number of a layer."""


def draw_shares(view: View) -> Figure:
    """Draw each model's RSA as a share of the noise ceiling, or why there is none."""
    by_intervals = view.has_intervals
    labels = [row.label for row in view.rows]
    sheet = row_panels(
        view, labels, 2, min_rows=ROWS_TO_SAY_WHY if by_intervals else 1, right=_right(view, 0.25)
    )
    shares = [_shares(view, roi) for roi in view.rois]
    shown = shares if by_intervals else [_subject_shares(view, roi) for roi in view.rois]
    limits = limits_of([*shown, np.array([1.0])], SHARE_LIMITS)
    for panel, roi, estimates in zip(sheet.panels, view.rois, shares, strict=True):
        withheld = view.scores(roi)[0].withheld if by_intervals else ""
        weak = ": weak" if not by_intervals and roi.has_weak_ceiling else ""
        counts = [n_voxels_label(roi), "" if by_intervals else subjects_left(roi)]
        details = ["; ".join(filter(None, counts)), f"ceiling {_ceiling(view, roi)}{weak}"]
        sheet.set_title(panel, roi.roi, details)
        if withheld:
            _say_withheld(panel, withheld, sheet.width)
            continue
        dots = None if by_intervals else _subject_shares(view, roi)
        markers = view.row_markers if by_intervals else ()
        draw_rows(panel, estimates, view.row_colours, limits, dots=dots, markers=markers)
        panel.axvline(1, color=CEILING_COLOUR, linestyle="--", linewidth=1)
        _number_layers(panel, view, roi)
    sheet.label_outer("mean RSA / mean noise ceiling" if by_intervals else "RSA / noise ceiling")
    notes = [note(view, "shares_of_ceiling", *["intervals"] * by_intervals), *best_layers(view)]
    return sheet.finish(
        title("shares_of_ceiling", view.settings),
        details_of(view),
        [*group_handles(view, as_points=by_intervals), ceiling_handle()],
        [*notes, *view.model_notes],
    )


def draw_scores(view: View) -> Figure:
    """Draw each model's RSA, the noise ceiling, and Nili's bounds."""
    by_intervals = view.has_intervals
    right = _right(view, 0.35 if by_intervals else 0.25)
    sheet = row_panels(view, score_labels(view), 2 if by_intervals else 3, right=right)
    for panel, roi in zip(sheet.panels, view.rois, strict=True):
        sheet.set_title(panel, roi.roi, draw_scores_of(panel, view, roi))
    sheet.label_outer(f"RSA ({RSA_NAMES[view.settings.rsa_metric]})")
    handles = [*group_handles(view, as_points=by_intervals), *score_handles(view)]
    notes = [note(view, "scores", *["intervals"] * by_intervals)]
    if by_intervals and any(score.may_be_best for roi in view.rois for score in view.scores(roi)):
        notes[0] += f" {note(view, 'scores', 'best_set')}"
    name = "scores" if view.analysis.name == PRIMARY else view.analysis.name
    heading = title(name, view.settings)
    if not has_voxels(view):
        heading = heading.replace("correlation distance and ", "")
    return sheet.finish(
        heading, details_of(view), handles, [*notes, *best_layers(view), *view.model_notes]
    )


def score_labels(view: View) -> list[str]:
    """Names of the rows that `draw_scores_of` draws: models, and below them noise ceilings."""
    ceilings = _ceiling_rows(view) if view.has_intervals else ()
    return [*(row.label for row in view.rows), *ceilings]


def draw_scores_of(panel: Axes, view: View, roi: RoiResult) -> list[str]:
    """Draw the scores of one region; gives what can be said of it under its name."""
    draw = _draw_scores_and_intervals if view.has_intervals else _draw_scores
    details = draw(panel, view, roi)
    _number_layers(panel, view, roi)
    return details


def score_handles(view: View) -> list[Artist]:
    """Legend entries of what scores are drawn with, but for the groups."""
    if view.has_intervals:
        star = Line2D([], [], label=f"above chance, p < {ALPHA:g}", **star_style(6))
        found = [score.may_be_best for roi in view.rois for score in view.scores(roi)]
        look: dict[str, Any] = {"marker": "o", "markersize": 5.5, "markerfacecolor": "white"}
        ruled_out = Line2D([], [], color=MUTED_COLOUR, linestyle="none", **look)
        ruled_out.set_label("ruled out as the best")
        return [*([ruled_out] if False in found else []), *ceiling_handles(view), star]
    handles: list[Artist] = [span_handle("± standard error")]
    if _has_bounds(view):
        dotted: dict[str, Any] = {"color": CEILING_COLOUR, "linestyle": ":", "alpha": 0.7}
        handles.append(Line2D([], [], label="Nili bounds", **dotted))
    return handles


def ceiling_handles(view: View) -> list[Artist]:
    """Legend entries of the noise ceiling; its band may be that between Nili's bounds."""
    if not has_ceiling(view):
        return []
    has_bounds = _has_bounds(view)
    dashed: dict[str, Any] = {"color": CEILING_COLOUR, "linestyle": "--", "linewidth": 1}
    line = Line2D(
        [], [], label="pairwise noise ceiling" if has_bounds else "noise ceiling", **dashed
    )
    if not (has_bounds or view.has_intervals):
        return [line]
    band = span_handle("Nili's lower to upper bound" if has_bounds else "its 95 % interval")
    return [band, line]


def span_handle(label: str) -> Patch:
    """Legend entry of a grey band."""
    return Patch(color=CEILING_COLOUR, alpha=0.18, linewidth=0, label=label)


def _right(view: View, usual: float) -> float:
    """Room right of a panel: more of it where numbers of layers stand there."""
    return usual + LAYER_ROOM * bool(view.networks)


def _number_layers(panel: Axes, view: View, roi: RoiResult) -> None:
    """Write which layer of a network is shown right of its row."""
    stars = 0.16 if view.has_intervals else 0.04
    for place, (row, chosen) in enumerate(zip(view.rows, view.columns(roi), strict=True)):
        if len(row.columns) > 1:
            panel.annotate(
                f"{row.columns.index(chosen) + 1}/{len(row.columns)}", (1, place),
                xycoords=panel.get_yaxis_transform(), xytext=(stars * 72, 0),
                textcoords="offset points", va="center", fontsize=SMALL, color=MUTED_COLOUR,
            )  # fmt: skip


def _draw_scores(panel: Axes, view: View, roi: RoiResult) -> list[str]:
    """Means and standard errors over subjects; the ceiling with its standard error.

    Gives what can be said of the region under its name.
    """
    ceiling, sem = _mean_and_sem(roi.ceiling.pairwise)
    lower, upper = (float(mean_over_subjects(b)) for b in (roi.ceiling.lower, roi.ceiling.upper))
    span = (ceiling - sem, ceiling + sem)
    limits = limits_of([roi.rsa, np.array([*span, ceiling, lower])], (-1.0, 1.0))
    _draw_ceiling(panel, ceiling, span)
    for bound in (lower, upper):
        if limits[0] < bound < limits[1]:
            panel.axvline(bound, color=CEILING_COLOUR, linestyle=":", linewidth=1, alpha=0.7)
    scores = roi.rsa[:, view.columns(roi)]
    draw_rows(panel, _over_subjects(scores), view.row_colours, limits, dots=scores)
    bounds = f"Nili {printed(lower)} to {printed(upper)}"
    known = [bounds] if np.isfinite([lower, upper]).any() else []
    return [n_voxels_label(roi), f"ceiling {_ceiling(view, roi)}", *known]


def _draw_scores_and_intervals(panel: Axes, view: View, roi: RoiResult) -> list[str]:
    """Scores and ceilings with their intervals, and a star where a score is above chance.

    Gives what can be said of the region under its name.
    """
    scores = view.scores(roi)
    ceilings = view.ceilings(roi.roi)
    of_models = estimates_of(scores, "rsa")
    of_ceilings = np.full((len(_ceiling_rows(view)), 3), np.nan)
    if ceilings:
        of_ceilings[: len(ceilings)] = estimates_of(ceilings, "estimate")
    dots = roi.rsa[:, view.columns(roi)]
    parts = [dots, of_models[:, 1:], of_ceilings[:2]]
    limits = limits_of(parts, (-1.0, 1.0))
    if len(ceilings) > 1:
        with_upper = limits_of([*parts, of_ceilings[:, 0]], (-1.0, 1.0))
        if with_upper[1] <= MOST_FOR_UPPER_BOUND * limits[1]:
            limits = with_upper
    _draw_ceilings(panel, ceilings)
    can_be = [score.may_be_best for score in scores]
    n_ceilings = len(of_ceilings)
    draw_rows(
        panel,
        np.vstack([of_models, of_ceilings]),
        [*view.row_colours, *[CEILING_ROW_COLOUR] * n_ceilings],
        limits,
        dots=np.hstack([dots, np.full((len(dots), n_ceilings), np.nan)]),
        markers=[*view.row_markers, *["|"] * n_ceilings],
        filled=[*(can is not False for can in can_be), *[True] * n_ceilings],
    )
    panel.axhline(len(scores) - 0.5, color="#bbbbbb", linewidth=0.6)
    stars = np.flatnonzero([score.p_max < ALPHA for score in scores])
    beside = star_style(6) | {"transform": panel.get_yaxis_transform(), "clip_on": False}
    panel.plot(np.full(len(stars), 1.04), stars, **beside)
    details = [n_voxels_label(roi)]
    if len(ceilings) > 1:
        _, lower, upper = ceilings
        details.append(f"Nili {printed(lower.estimate)} to {printed(upper.estimate)}")
    elif ceilings:
        details.append(f"split-half ceiling {printed(ceilings[0].estimate)}")
    return details


def _ceiling_rows(view: View) -> tuple[str, ...]:
    """Labels of the rows that show noise ceilings: of subjects, or of halves of the runs."""
    names = {found.ceiling for found in view.inference.ceilings}
    return CEILING_ROWS if "pairwise" in names else ("split-half ceiling",) * bool(names)


def _has_bounds(view: View) -> bool:
    return any(np.isfinite(roi.ceiling.lower).any() for roi in view.rois)


def _draw_ceilings(panel: Axes, ceilings: Sequence[CeilingInterval]) -> None:
    """Draw the ceiling as a line, on a band between Nili's bounds or, without, of its interval."""
    if len(ceilings) > 1:
        _draw_ceiling(panel, ceilings[0].estimate, (ceilings[1].estimate, ceilings[2].estimate))
    elif ceilings:
        _draw_ceiling(panel, ceilings[0].estimate, (ceilings[0].low, ceilings[0].high))


def _draw_ceiling(panel: Axes, ceiling: float, span: tuple[float, float]) -> None:
    if np.isfinite(span).all():
        panel.axvspan(*span, color=CEILING_COLOUR, alpha=0.18, lw=0)
    if np.isfinite(ceiling):
        panel.axvline(ceiling, color=CEILING_COLOUR, linestyle="--", linewidth=1)


def _shares(view: View, roi: RoiResult) -> Floats:
    if view.has_intervals:
        names = ("normalised", "normalised_low", "normalised_high")
        return np.asarray(estimates_of(view.scores(roi), *names))
    return _over_subjects(_subject_shares(view, roi))


def _subject_shares(view: View, roi: RoiResult) -> Floats:
    return roi.rsa_normalised[:, view.columns(roi)]


def _over_subjects(scores: Floats) -> Floats:
    """Means of (subjects, models), and one standard error to each side."""
    means, sems = mean_over_subjects(scores), sem_over_subjects(scores)
    return np.stack([means, means - sems, means + sems], axis=1)


def _mean_and_sem(values: Floats) -> tuple[float, float]:
    return float(mean_over_subjects(values)), float(sem_of_ceilings(values))


def _ceiling(view: View, roi: RoiResult) -> str:
    """The noise ceiling with its interval or standard error; n/a for what there is not."""
    if view.has_intervals:
        found = view.ceilings(roi.roi)
        if not found:
            return "n/a"
        return f"{printed(found[0].estimate)} {printed_interval(found[0].low, found[0].high)}"
    return " ± ".join(map(printed, _mean_and_sem(roi.ceiling.pairwise)))


def _say_withheld(panel: Axes, reason: str, width: float) -> None:
    panel.set_axis_off()
    size = SMALL + 0.5
    lines = wrap(f"Withheld: {reason}.", width * 0.9, size)
    text = panel.text(0.06, 0.5, "\n".join(lines), transform=panel.transAxes, va="center")
    text.set(fontsize=size, color=MUTED_COLOUR)
