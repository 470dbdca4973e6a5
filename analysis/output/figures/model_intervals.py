"""Figures 2A and 3 with intervals for new subjects and new stimuli."""

from itertools import chain

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from conceptrsa.analysis.inference.findings import CeilingInterval, CeilingName, ModelScore
from conceptrsa.analysis.output.figures.captions import details_of, n_voxels_label
from conceptrsa.analysis.output.figures.model_bars import NORMALISED_LIMITS
from conceptrsa.analysis.output.figures.rows import (
    PANEL_WIDTH,
    Rows,
    draw_rows,
    draw_stars,
    limits_of,
    model_labels,
    row_panels,
    star_handle,
)
from conceptrsa.analysis.output.figures.sheet import label_outer, set_title, wrap
from conceptrsa.analysis.output.figures.style import (
    ALPHA,
    CEILING_COLOUR,
    GROUP_COLOURS,
    MUTED_COLOUR,
    RSA_NAMES,
    SMALL,
    View,
    group_handles,
    printed,
    printed_interval,
)
from conceptrsa.analysis.results import RoiResult

CEILING_ROWS: dict[CeilingName, str] = {
    "pairwise": "noise ceiling",
    "lower": "Nili lower bound",
    "upper": "Nili upper bound",
}

ROWS_TO_SAY_WHY = 5
"""A panel of fewer rows has no room to say why it is empty."""

STAR_NOTE = (
    f"★ p < {ALPHA:g}, permutation of the stimuli's labels, one-sided, corrected for all models "
    "and regions by the largest statistic"
)


def draw_normalised_intervals(view: View) -> Figure:
    """Draw Figure 2A: mean RSA over mean noise ceiling, or why there is no such ratio."""
    sheet = row_panels(view, model_labels(view), 2, min_rows=ROWS_TO_SAY_WHY)
    scores = [view.scores(roi.roi) for roi in view.rois]
    limits = limits_of(
        [np.array([1.0]), *(_ends(score) for score in chain.from_iterable(scores))],
        NORMALISED_LIMITS,
    )
    for panel, roi, of_roi in zip(sheet.panels, view.rois, scores, strict=True):
        pairwise = view.ceiling(roi.roi, "pairwise")
        interval = printed_interval(pairwise.low, pairwise.high)
        details = [n_voxels_label(roi), f"ceiling {printed(pairwise.estimate)} {interval}"]
        set_title(panel, PANEL_WIDTH, roi.roi, details)
        withheld = of_roi[0].withheld
        if withheld:
            _say_withheld(panel, withheld)
            continue
        draw_rows(panel, _normalised_rows(of_roi), limits)
        panel.axvline(1, color=CEILING_COLOUR, linestyle="--", linewidth=1)
    label_outer(sheet, "mean RSA / mean noise ceiling")
    ceiling = Line2D([], [], color=CEILING_COLOUR, linestyle="--", label="noise ceiling")
    return sheet.finish(
        "Figure 2A. RSA of every model as a share of the noise ceiling",
        details_of(view),
        [*group_handles(view.groups), ceiling],
        [
            "Bars: mean RSA over subjects divided by the mean pairwise noise ceiling; whiskers: "
            "95 % interval of this ratio for new subjects and new stimuli; triangles: beyond the "
            "axis. Withheld where the ceiling's interval includes zero. The pairwise ceiling is a "
            "reliability: shares above 1 are possible.",
            *view.model_notes,
        ],
    )


def draw_raw_intervals(view: View) -> Figure:
    """Draw Figure 3: each model's RSA and the noise ceilings, with intervals."""
    sheet = row_panels(view, [*model_labels(view), *CEILING_ROWS.values()], 2, right=0.35)
    for panel, roi in zip(sheet.panels, view.rois, strict=True):
        _draw_raw_roi(panel, view, roi)
    label_outer(sheet, f"RSA ({RSA_NAMES[view.settings.rsa_metric]})")
    handles: list[Artist] = [
        Line2D([], [], color=CEILING_COLOUR, linestyle="--", label="noise ceiling"),
        Patch(color=CEILING_COLOUR, alpha=0.18, linewidth=0, label="its 95 % interval"),
        star_handle(f"p < {ALPHA:g}"),
    ]
    return sheet.finish(
        "Figure 3. RSA of every model",
        details_of(view),
        [*group_handles(view.groups), *handles],
        [
            "Bars: mean over subjects; whiskers: 95 % interval for new subjects and new stimuli; "
            "dots: subjects; triangles: beyond the axis. Noise ceiling: mean RDM correlation "
            "between subjects. Nili's bounds: with the mean of the other subjects, and of all. "
            f"Each region has its own scale. {STAR_NOTE}.",
            *view.model_notes,
        ],
    )


def _draw_raw_roi(panel: Axes, view: View, roi: RoiResult) -> None:
    scores = view.scores(roi.roi)
    ceilings = [view.ceiling(roi.roi, name) for name in CEILING_ROWS]
    pairwise, lower, upper = ceilings
    models = _raw_rows(view, roi, scores)
    limits = limits_of(
        [models.dots, models.low, models.high]
        + [np.array([bound.estimate, bound.low, bound.high]) for bound in (pairwise, lower)],
        (-1.0, 1.0),
    )
    if np.isfinite([pairwise.low, pairwise.high]).all():
        panel.axvspan(pairwise.low, pairwise.high, color=CEILING_COLOUR, alpha=0.18, lw=0)
    if np.isfinite(pairwise.estimate):
        panel.axvline(pairwise.estimate, color=CEILING_COLOUR, linestyle="--", linewidth=1)
    draw_rows(panel, _with_ceilings(models, ceilings), limits)
    panel.axhline(len(scores) - 0.5, color="#bbbbbb", linewidth=0.6)
    draw_stars(panel, np.array([score.p_max < ALPHA for score in scores]))
    bounds = f"Nili {printed(lower.estimate)} to {printed(upper.estimate)}"
    set_title(panel, PANEL_WIDTH, roi.roi, [n_voxels_label(roi), bounds])


def _raw_rows(view: View, roi: RoiResult, scores: list[ModelScore]) -> Rows:
    return Rows(
        values=np.array([score.rsa for score in scores]),
        low=np.array([score.low for score in scores]),
        high=np.array([score.high for score in scores]),
        colours=[GROUP_COLOURS[score.group] for score in scores],
        dots=roi.rsa[:, view.model_order],
    )


def _with_ceilings(models: Rows, ceilings: list[CeilingInterval]) -> Rows:
    n_subjects = len(models.dots)
    return Rows(
        values=np.append(models.values, [bound.estimate for bound in ceilings]),
        low=np.append(models.low, [bound.low for bound in ceilings]),
        high=np.append(models.high, [bound.high for bound in ceilings]),
        colours=[*models.colours, *["#999999"] * len(ceilings)],
        dots=np.hstack([models.dots, np.full((n_subjects, len(ceilings)), np.nan)]),
    )


def _normalised_rows(scores: list[ModelScore]) -> Rows:
    return Rows(
        values=np.array([score.normalised for score in scores]),
        low=np.array([score.normalised_low for score in scores]),
        high=np.array([score.normalised_high for score in scores]),
        colours=[GROUP_COLOURS[score.group] for score in scores],
        dots=np.empty((0, len(scores))),
    )


def _ends(score: ModelScore) -> NDArray[np.float64]:
    return np.array([score.normalised, score.normalised_low, score.normalised_high])


def _say_withheld(panel: Axes, reason: str) -> None:
    panel.set_axis_off()
    panel.text(
        0.06,
        0.5,
        "\n".join(wrap(f"Withheld: {reason}.", PANEL_WIDTH * 0.9, SMALL + 0.5)),
        transform=panel.transAxes,
        va="center",
        fontsize=SMALL + 0.5,
        color=MUTED_COLOUR,
    )
