"""Figures 2A and 3: every model in every region, as a share of the noise ceiling and as it is."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.style import (
    BEYOND_TEXT,
    CEILING_COLOUR,
    GROUP_COLOURS,
    MUTED_COLOUR,
    View,
    add_footnotes,
    group_handles,
    jitter,
    label_outer,
    model_label,
    panel_grid,
    rsa_name,
)
from analysis.noise_ceiling import sem_of_ceilings
from analysis.results import RoiResult
from analysis.significance import mean_over_subjects, sem_over_subjects

NORMALISED_LIMITS = (-0.5, 2.0)
"""A ceiling near zero blows scores up; what lies beyond is marked at the edge."""

MINUS = "\N{MINUS SIGN}"

BAR_NOTE = (
    "Bars: mean over subjects; whiskers: ± standard error; dots: subjects; triangles: beyond the "
    "axis."
)

WEAK_NOTE = (
    "Weak: the noise ceiling is not above 95 % of those of permuted stimuli; shares of it mean "
    "little. Subjects whose ceiling is not above zero are left out."
)


def draw_normalised_models(view: View) -> Figure:
    """Draw Figure 2A: each model's RSA as a share of each subject's noise ceiling."""
    figure, panels = _model_panels(view)
    scores = {roi.roi: roi.rsa_normalised for roi in view.rois}
    limits = _limits([*scores.values(), np.array([[1.0]])], NORMALISED_LIMITS)
    for panel, roi in zip(panels, view.rois, strict=True):
        _draw_bars(panel, view, scores[roi.roi], limits)
        panel.axvline(1, color=CEILING_COLOUR, linestyle="--", linewidth=1)
        subtitle = f"ceiling {_mean_and_sem(roi.ceiling.pairwise)}"
        if roi.has_weak_ceiling:
            subtitle += ": weak"
        remaining = subjects_left(roi)
        _set_titles(panel, roi.roi, f"{subtitle}\n{remaining}" if remaining else subtitle)
    label_outer(panels, "RSA / noise ceiling")
    ceiling = Line2D([], [], color=CEILING_COLOUR, linestyle="--", label="noise ceiling")
    _finish(figure, view, [ceiling], [f"{BAR_NOTE} {WEAK_NOTE}"])
    return figure


def draw_raw_models(view: View) -> Figure:
    """Draw Figure 3: each model's RSA, the noise ceiling, and Nili's bounds."""
    figure, panels = _model_panels(view)
    for panel, roi in zip(panels, view.rois, strict=True):
        _draw_raw_roi(panel, view, roi)
    label_outer(panels, f"RSA ({rsa_name(view.result.settings.rsa_metric)})")
    handles: list[Artist] = [
        Line2D([], [], color=CEILING_COLOUR, linestyle="--", label="noise ceiling"),
        Patch(color=CEILING_COLOUR, alpha=0.18, linewidth=0, label="± standard error"),
        Line2D([], [], color=CEILING_COLOUR, linestyle=":", alpha=0.7, label="Nili bounds"),
    ]
    note = (
        "Noise ceiling: mean RDM correlation between subjects. Nili bounds are drawn where they "
        "fit the scale. Each region has its own scale."
    )
    _finish(figure, view, handles, [f"{BAR_NOTE} {note}"])
    return figure


def subjects_left(roi: RoiResult) -> str:
    """Say how many subjects have shares of the ceiling, where not all have; else empty."""
    n_subjects = len(roi.rsa)
    return "" if roi.n_normalised == n_subjects else f"{roi.n_normalised} of {n_subjects} subjects"


def _draw_raw_roi(panel: Axes, view: View, roi: RoiResult) -> None:
    pairwise = float(mean_over_subjects(roi.ceiling.pairwise))
    sem = float(sem_of_ceilings(roi.ceiling.pairwise))
    lower = float(mean_over_subjects(roi.ceiling.lower))
    upper = float(mean_over_subjects(roi.ceiling.upper))
    ceiling = np.array([[pairwise - sem], [pairwise], [pairwise + sem], [lower]])
    limits = _limits([roi.rsa, ceiling], (-1.0, 1.0))
    if math.isfinite(sem):
        panel.axvspan(pairwise - sem, pairwise + sem, color=CEILING_COLOUR, alpha=0.18, lw=0)
    if math.isfinite(pairwise):
        panel.axvline(pairwise, color=CEILING_COLOUR, linestyle="--", linewidth=1)
    for bound in (lower, upper):
        if limits[0] < bound < limits[1]:
            panel.axvline(bound, color=CEILING_COLOUR, linestyle=":", linewidth=1, alpha=0.7)
    _draw_bars(panel, view, roi.rsa, limits)
    _set_titles(
        panel,
        roi.roi,
        f"ceiling {_mean_and_sem(roi.ceiling.pairwise)}\n"
        + f"Nili {lower:.3f} to {upper:.3f}".replace("-", MINUS),
    )


def _model_panels(view: View) -> tuple[Figure, list[Axes]]:
    n_models = len(view.result.models)
    figure, panels = panel_grid(len(view.rois), 2.35, 0.3 * n_models + 0.85, share_y=True)
    panels[0].set_yticks(
        range(n_models), [model_label(view.result.models[index]) for index in view.model_order]
    )
    panels[0].set_ylim(n_models - 0.4, -0.6)
    for panel in panels:
        panel.tick_params(axis="y", length=0)
        panel.spines["left"].set_visible(False)
        panel.axvline(0, color="#333333", linewidth=0.8)
    return figure, panels


def _draw_bars(
    panel: Axes, view: View, scores: NDArray[np.float64], limits: tuple[float, float]
) -> None:
    """Bars of scores (subjects, models), one row per model."""
    panel.set_xlim(limits)
    panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    means = mean_over_subjects(scores)
    sems = np.nan_to_num(sem_over_subjects(scores))
    size = 9 if len(scores) <= 12 else 3
    for row, index in enumerate(view.model_order):
        if not np.isfinite(means[index]):
            panel.text(0, row, " n/a", va="center", fontsize=8, color=MUTED_COLOUR)
            continue
        colour = GROUP_COLOURS[view.result.models[index].group]
        panel.barh(row, means[index], height=0.66, color=colour, alpha=0.75)
        panel.errorbar(means[index], row, xerr=sems[index], color="#222222", linewidth=1.2)
        _draw_subjects(panel, row, scores[:, index], limits, size)
        if not limits[0] <= means[index] <= limits[1]:
            _print_beyond(panel, row, means[index], limits)


def _draw_subjects(
    panel: Axes,
    row: int,
    values: NDArray[np.float64],
    limits: tuple[float, float],
    size: float,
) -> None:
    rows = row + jitter(len(values), 0.24)
    inside = (values >= limits[0]) & (values <= limits[1])
    marks = {"o": inside, "<": values < limits[0], ">": values > limits[1]}
    for marker, which in marks.items():
        panel.scatter(
            np.clip(values[which], *limits),
            rows[which],
            s=size if marker == "o" else size * 1.8,
            marker=marker,
            facecolor="white" if marker == "o" else "#444444",
            edgecolor="#444444",
            linewidth=0.6,
            clip_on=False,
            zorder=3,
        )


def _print_beyond(panel: Axes, row: int, value: float, limits: tuple[float, float]) -> None:
    right = value > limits[1]
    panel.annotate(
        f"{value:.1f}",
        (limits[1] if right else limits[0], row),
        xytext=(-7 if right else 7, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="center",
        zorder=4,
        **BEYOND_TEXT,
    )


def _limits(
    scores: Sequence[NDArray[np.float64]], widest: tuple[float, float]
) -> tuple[float, float]:
    """Axis limits that hold zero, bars, whiskers and dots, within the widest."""
    values = np.concatenate([np.ravel(part) for part in scores])
    values = np.clip(values[np.isfinite(values)], *widest)
    low = min(0.0, float(values.min(initial=0.0)))
    high = max(0.05, float(values.max(initial=0.0)))
    margin = 0.05 * (high - low)
    return (low - margin if low < 0 else 0.0), high + margin


def _set_titles(panel: Axes, title: str, subtitle: str) -> None:
    n_lines = subtitle.count("\n") + 1
    panel.set_title(title, pad=6 + 10 * n_lines)
    panel.annotate(
        subtitle,
        (0.5, 1),
        xycoords="axes fraction",
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=7.5,
        color=MUTED_COLOUR,
    )


def _mean_and_sem(values: NDArray[np.float64]) -> str:
    """Mean and standard error of pairwise ceilings; n/a for what there is not."""
    mean, sem = float(mean_over_subjects(values)), float(sem_of_ceilings(values))
    return " ± ".join(
        f"{value:.3f}".replace("-", MINUS) if math.isfinite(value) else "n/a"
        for value in (mean, sem)
    )


def _finish(figure: Figure, view: View, handles: list[Artist], notes: list[str]) -> None:
    figure.legend(
        handles=[*group_handles(view.groups), *handles],
        loc="outside upper center",
        ncols=len(view.groups) + len(handles),
        columnspacing=1.4,
        handlelength=1.6,
    )
    add_footnotes(figure, [*notes, *view.model_notes])
