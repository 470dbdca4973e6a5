"""Figures 2A and 3 to 7: every model in every region, with the spread over subjects."""

import math

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from conceptrsa.analysis.output.figures.captions import (
    WEAK_NOTE,
    details_of,
    has_voxels,
    n_voxels_label,
    subjects_left,
)
from conceptrsa.analysis.output.figures.rows import (
    PANEL_WIDTH,
    Rows,
    draw_rows,
    limits_of,
    model_labels,
    row_panels,
)
from conceptrsa.analysis.output.figures.sheet import label_outer, set_title
from conceptrsa.analysis.output.figures.style import (
    CEILING_COLOUR,
    GROUP_COLOURS,
    RSA_NAMES,
    View,
    group_handles,
    printed,
)
from conceptrsa.analysis.results import PRIMARY, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects
from conceptrsa.analysis.rsa.noise_ceiling import sem_of_ceilings

NORMALISED_LIMITS = (-0.5, 2.0)
"""A ceiling near zero blows scores up; what lies beyond is marked at the edge."""

BAR_NOTE = (
    "Bars: mean over subjects; whiskers: ± standard error over subjects; dots: subjects; "
    "triangles: beyond the axis."
)

HEADINGS = {
    PRIMARY: "Figure 3. RSA of every model",
    "figure_4": "Figure 4. RSA of every model, voxels above a common threshold",
    "figure_5": "Figure 5. RSA of every model by correlation distance and Spearman's ρ",
    "figure_6": "Figure 6. RSA of every model by cosine distance and Spearman's ρ",
    "figure_7": "Figure 7. RSA of every model by cosine distance and Pearson's r",
}


def draw_normalised_models(view: View) -> Figure:
    """Draw Figure 2A: each model's RSA as a share of each subject's noise ceiling."""
    sheet = row_panels(view, model_labels(view), 2)
    scores = [roi.rsa_normalised[:, view.model_order] for roi in view.rois]
    limits = limits_of([*scores, np.array([[1.0]])], NORMALISED_LIMITS)
    for panel, roi, of_roi in zip(sheet.panels, view.rois, scores, strict=True):
        draw_rows(panel, _rows(view, of_roi), limits)
        panel.axvline(1, color=CEILING_COLOUR, linestyle="--", linewidth=1)
        weak = ": weak" if roi.has_weak_ceiling else ""
        ceiling = f"ceiling {_mean_and_sem(roi.ceiling.pairwise)}{weak}"
        counts = "; ".join(filter(None, [n_voxels_label(roi), subjects_left(roi)]))
        set_title(panel, PANEL_WIDTH, roi.roi, [counts, ceiling])
    label_outer(sheet, "RSA / noise ceiling")
    ceiling_handle = Line2D([], [], color=CEILING_COLOUR, linestyle="--", label="noise ceiling")
    return sheet.finish(
        "Figure 2A. RSA of every model as a share of the noise ceiling",
        details_of(view),
        [*group_handles(view.groups), ceiling_handle],
        [f"{BAR_NOTE} {WEAK_NOTE}", *view.model_notes],
    )


def draw_raw_models(view: View) -> Figure:
    """Draw Figure 3, or one of 4 to 7: each model's RSA, the noise ceiling, and Nili's bounds."""
    sheet = row_panels(view, model_labels(view), 3)
    for panel, roi in zip(sheet.panels, view.rois, strict=True):
        _draw_raw_roi(panel, view, roi)
    label_outer(sheet, f"RSA ({RSA_NAMES[view.settings.rsa_metric]})")
    handles: list[Artist] = [
        Line2D([], [], color=CEILING_COLOUR, linestyle="--", label="noise ceiling"),
        Patch(color=CEILING_COLOUR, alpha=0.18, linewidth=0, label="± standard error"),
        Line2D([], [], color=CEILING_COLOUR, linestyle=":", alpha=0.7, label="Nili bounds"),
    ]
    note = (
        "Noise ceiling: mean RDM correlation between subjects. Nili bounds are drawn where they "
        "fit the scale. Each region has its own scale."
    )
    if view.result.inference is not None:
        note += (
            " Standard errors are over these subjects with these stimuli; intervals for new ones "
            "are made for the primary analysis only."
        )
    return sheet.finish(
        _heading(view),
        details_of(view),
        [*group_handles(view.groups), *handles],
        [f"{BAR_NOTE} {note}", *view.model_notes],
    )


def _heading(view: View) -> str:
    heading = HEADINGS[view.analysis.name]
    return heading if has_voxels(view) else heading.replace("correlation distance and ", "")


def _draw_raw_roi(panel: Axes, view: View, roi: RoiResult) -> None:
    pairwise = float(mean_over_subjects(roi.ceiling.pairwise))
    sem = float(sem_of_ceilings(roi.ceiling.pairwise))
    lower = float(mean_over_subjects(roi.ceiling.lower))
    upper = float(mean_over_subjects(roi.ceiling.upper))
    ceiling = np.array([[pairwise - sem], [pairwise], [pairwise + sem], [lower]])
    limits = limits_of([roi.rsa, ceiling], (-1.0, 1.0))
    if math.isfinite(sem):
        panel.axvspan(pairwise - sem, pairwise + sem, color=CEILING_COLOUR, alpha=0.18, lw=0)
    if math.isfinite(pairwise):
        panel.axvline(pairwise, color=CEILING_COLOUR, linestyle="--", linewidth=1)
    for bound in (lower, upper):
        if limits[0] < bound < limits[1]:
            panel.axvline(bound, color=CEILING_COLOUR, linestyle=":", linewidth=1, alpha=0.7)
    draw_rows(panel, _rows(view, roi.rsa[:, view.model_order]), limits)
    set_title(
        panel,
        PANEL_WIDTH,
        roi.roi,
        [
            n_voxels_label(roi),
            f"ceiling {_mean_and_sem(roi.ceiling.pairwise)}",
            f"Nili {printed(lower)} to {printed(upper)}",
        ],
    )


def _rows(view: View, scores: NDArray[np.float64]) -> Rows:
    """Bars of scores (subjects, models), models in the order of the figures."""
    means, sems = mean_over_subjects(scores), sem_over_subjects(scores)
    colours = [GROUP_COLOURS[model.group] for model in view.ordered_models]
    return Rows(means, means - sems, means + sems, colours, scores)


def _mean_and_sem(values: NDArray[np.float64]) -> str:
    """Mean and standard error of pairwise ceilings; n/a for what there is not."""
    return (
        f"{printed(float(mean_over_subjects(values)))} ± {printed(float(sem_of_ceilings(values)))}"
    )
