"""Every model in every region: scores, and shares of the noise ceiling.

With 95 % intervals for new subjects and new stimuli where inference was made; else with standard
errors over subjects.
"""

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.inference.findings import ALPHA
from conceptrsa.analysis.output.figures.captions import (
    details_of,
    has_voxels,
    n_voxels_label,
    note,
    subjects_left,
    title,
)
from conceptrsa.analysis.output.figures.rows import (
    PANEL_WIDTH,
    draw_rows,
    estimates_of,
    limits_of,
    model_labels,
    row_panels,
)
from conceptrsa.analysis.output.figures.sheet import set_title, wrap
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


def draw_shares(view: View) -> Figure:
    """Draw each model's RSA as a share of the noise ceiling, or why there is none."""
    by_intervals = view.has_intervals
    sheet = row_panels(view, model_labels(view), 2, min_rows=ROWS_TO_SAY_WHY if by_intervals else 1)
    shares = [_shares(view, roi) for roi in view.rois]
    shown = shares if by_intervals else [_subject_shares(view, roi) for roi in view.rois]
    limits = limits_of([*shown, np.array([1.0])], SHARE_LIMITS)
    for panel, roi, estimates in zip(sheet.panels, view.rois, shares, strict=True):
        withheld = view.scores(roi.roi)[0].withheld if by_intervals else ""
        weak = ": weak" if not by_intervals and roi.has_weak_ceiling else ""
        counts = [n_voxels_label(roi), "" if by_intervals else subjects_left(roi)]
        details = ["; ".join(filter(None, counts)), f"ceiling {_ceiling(view, roi)}{weak}"]
        set_title(panel, PANEL_WIDTH, roi.roi, details)
        if withheld:
            _say_withheld(panel, withheld)
            continue
        dots = None if by_intervals else _subject_shares(view, roi)
        draw_rows(panel, estimates, view.model_colours, limits, dots=dots)
        panel.axvline(1, color=CEILING_COLOUR, linestyle="--", linewidth=1)
    sheet.label_outer("mean RSA / mean noise ceiling" if by_intervals else "RSA / noise ceiling")
    return sheet.finish(
        title("shares_of_ceiling", view.settings),
        details_of(view),
        [*group_handles(view), ceiling_handle()],
        [note(view, "shares_of_ceiling", *["intervals"] * by_intervals), *view.model_notes],
    )


def draw_scores(view: View) -> Figure:
    """Draw each model's RSA, the noise ceiling, and Nili's bounds."""
    by_intervals = view.has_intervals
    if by_intervals:
        sheet = row_panels(view, [*model_labels(view), *_ceiling_rows(view)], 2, right=0.35)
    else:
        sheet = row_panels(view, model_labels(view), 3)
    for panel, roi in zip(sheet.panels, view.rois, strict=True):
        (_draw_scores_and_intervals if by_intervals else _draw_scores)(panel, view, roi)
    sheet.label_outer(f"RSA ({RSA_NAMES[view.settings.rsa_metric]})")
    span = "its 95 % interval" if by_intervals else "± standard error"
    handles: list[Artist] = [
        *group_handles(view),
        Patch(color=CEILING_COLOUR, alpha=0.18, linewidth=0, label=span),
    ]
    if by_intervals:
        handles.append(Line2D([], [], label=f"p < {ALPHA:g}", **star_style(6)))
        text = note(view, "scores", "intervals")
    else:
        dotted = Line2D([], [], color=CEILING_COLOUR, linestyle=":", alpha=0.7, label="Nili bounds")
        handles.append(dotted)
        text = note(view, "scores")
    name = "scores" if view.analysis.name == PRIMARY else view.analysis.name
    heading = title(name, view.settings)
    if not has_voxels(view):
        heading = heading.replace("correlation distance and ", "")
    return sheet.finish(heading, details_of(view), handles, [text, *view.model_notes])


def _draw_scores(panel: Axes, view: View, roi: RoiResult) -> None:
    """Means and standard errors over subjects; the ceiling with its standard error."""
    ceiling, sem = _mean_and_sem(roi.ceiling.pairwise)
    lower, upper = (float(mean_over_subjects(b)) for b in (roi.ceiling.lower, roi.ceiling.upper))
    span = (ceiling - sem, ceiling + sem)
    limits = limits_of([roi.rsa, np.array([*span, ceiling, lower])], (-1.0, 1.0))
    _draw_ceiling(panel, ceiling, span)
    for bound in (lower, upper):
        if limits[0] < bound < limits[1]:
            panel.axvline(bound, color=CEILING_COLOUR, linestyle=":", linewidth=1, alpha=0.7)
    scores = roi.rsa[:, view.model_order]
    draw_rows(panel, _over_subjects(scores), view.model_colours, limits, dots=scores)
    bounds = f"Nili {printed(lower)} to {printed(upper)}"
    details = [n_voxels_label(roi), f"ceiling {_ceiling(view, roi)}", bounds]
    set_title(panel, PANEL_WIDTH, roi.roi, details)


def _draw_scores_and_intervals(panel: Axes, view: View, roi: RoiResult) -> None:
    """Scores and ceilings with their intervals, and a star where a score is above chance."""
    scores = view.scores(roi.roi)
    ceilings = view.ceilings(roi.roi)
    of_models = estimates_of(scores, "rsa")
    of_ceilings = np.full((len(_ceiling_rows(view)), 3), np.nan)
    if ceilings:
        of_ceilings[: len(ceilings)] = estimates_of(ceilings, "estimate")
    dots = roi.rsa[:, view.model_order]
    limits = limits_of([dots, of_models[:, 1:], of_ceilings[:2]], (-1.0, 1.0))
    if ceilings:
        _draw_ceiling(panel, ceilings[0].estimate, (ceilings[0].low, ceilings[0].high))
    draw_rows(
        panel,
        np.vstack([of_models, of_ceilings]),
        [*view.model_colours, *[CEILING_ROW_COLOUR] * len(of_ceilings)],
        limits,
        dots=np.hstack([dots, np.full((len(dots), len(of_ceilings)), np.nan)]),
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
    set_title(panel, PANEL_WIDTH, roi.roi, details)


def _ceiling_rows(view: View) -> tuple[str, ...]:
    """Labels of the rows that show noise ceilings: of subjects, or of halves of the runs."""
    names = {found.ceiling for found in view.inference.ceilings}
    return CEILING_ROWS if "pairwise" in names else ("split-half ceiling",) * bool(names)


def _draw_ceiling(panel: Axes, ceiling: float, span: tuple[float, float]) -> None:
    if np.isfinite(span).all():
        panel.axvspan(*span, color=CEILING_COLOUR, alpha=0.18, lw=0)
    if np.isfinite(ceiling):
        panel.axvline(ceiling, color=CEILING_COLOUR, linestyle="--", linewidth=1)


def _shares(view: View, roi: RoiResult) -> Floats:
    if view.has_intervals:
        names = ("normalised", "normalised_low", "normalised_high")
        return np.asarray(estimates_of(view.scores(roi.roi), *names))
    return _over_subjects(_subject_shares(view, roi))


def _subject_shares(view: View, roi: RoiResult) -> Floats:
    return roi.rsa_normalised[:, view.model_order]


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


def _say_withheld(panel: Axes, reason: str) -> None:
    panel.set_axis_off()
    size = SMALL + 0.5
    lines = wrap(f"Withheld: {reason}.", PANEL_WIDTH * 0.9, size)
    text = panel.text(0.06, 0.5, "\n".join(lines), transform=panel.transAxes, va="center")
    text.set(fontsize=size, color=MUTED_COLOUR)
