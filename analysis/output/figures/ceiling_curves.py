"""Figure 1: the noise ceiling over the number of voxels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from conceptrsa.analysis.output.figures.captions import CIRCULAR, SCORE_NAMES, visited_sizes
from conceptrsa.analysis.output.figures.sheet import (
    LABEL_SIZE,
    Room,
    Sheet,
    label_outer,
    lay_out,
    set_title,
    text_width,
    title_room,
)
from conceptrsa.analysis.output.figures.style import (
    CEILING_COLOUR,
    RANDOM_COLOUR,
    RSA_NAMES,
    TOP_COLOUR,
    View,
    printed,
)
from conceptrsa.analysis.results import RoiResult
from conceptrsa.analysis.rsa.ceiling_sweep import CeilingSweep
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
from conceptrsa.analysis.rsa.noise_ceiling import sem_of_ceilings

SIZE_TICKS = (3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000)
PANEL_WIDTH = 2.1
TICK_GAP = 0.08
"""Inches between the labels of two numbers of voxels."""


def draw_ceiling_sweep(view: View) -> Figure:
    """Draw mean and standard error over subjects, in the voxels' order and at random."""
    sweep_of = {sweep.roi: sweep for sweep in view.result.sweeps}
    sweeps = [sweep_of[roi.roi] for roi in view.rois]
    sheet = lay_out(len(sweeps), PANEL_WIDTH, [1.6], Room(left=0.65, above=title_room(1)))
    for panel, sweep, roi in zip(sheet.panels, sweeps, view.rois, strict=True):
        _draw_roi(panel, view, sweep)
        _mark_selection(panel, view, sweep, roi)
    _share_y(sheet)
    label_outer(sheet, "number of voxels", f"ceiling ({RSA_NAMES[view.settings.rsa_metric]})")
    curves = [panel.get_legend_handles_labels()[0] for panel in sheet.panels]
    return sheet.finish(
        "Figure 1. Noise ceiling over the number of voxels",
        _details(view),
        max(curves, key=len),
        _notes(view, sweeps),
    )


def _draw_roi(panel: Axes, view: View, sweep: CeilingSweep) -> None:
    panel.axhline(0, color="#bbbbbb", linewidth=0.8)
    if len(sweep.n_voxels) == 0:
        panel.text(0.5, 0.5, "fewer than 3 voxels", ha="center", transform=panel.transAxes)
        panel.set_xticks([])
        return
    by_subject = {
        _order_name(view): (TOP_COLOUR, sweep.top.pairwise.T),
        "random voxels": (RANDOM_COLOUR, mean_over_subjects(sweep.random.pairwise).T),
    }
    for label, (colour, values) in by_subject.items():
        _draw_line(panel, sweep.n_voxels, values, colour, label)
    panel.set_xscale("log")
    smallest, largest = int(sweep.n_voxels[0]), max(int(sweep.n_voxels[-1]), 4)
    panel.set_xlim(smallest * 0.93, largest * 1.07)
    panel.xaxis.set_major_locator(FixedLocator(fitting_ticks(smallest, largest)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def fitting_ticks(smallest: int, largest: int) -> list[int]:
    """Numbers of voxels whose labels do not touch: the first one, then powers of ten."""
    inches = PANEL_WIDTH / np.log(largest * 1.07 / (smallest * 0.93))
    powers_first = sorted(SIZE_TICKS[1:], key=lambda tick: str(tick)[0] != "1")
    taken: list[int] = []
    for tick in (SIZE_TICKS[0], *powers_first):
        room = [
            inches * abs(np.log(tick / other))
            - (text_width(str(tick), LABEL_SIZE) + text_width(str(other), LABEL_SIZE)) / 2
            for other in taken
        ]
        if tick <= largest and min(room, default=np.inf) > TICK_GAP:
            taken.append(tick)
    return sorted(taken)


def _mark_selection(panel: Axes, view: View, sweep: CeilingSweep, roi: RoiResult) -> None:
    """Mark the numbers of voxels of the main analysis, where it takes those first in order."""
    selection = view.settings.voxel_selection
    if selection not in ("top-n", "best-n") or len(sweep.n_voxels) == 0:
        set_title(panel, PANEL_WIDTH, roi.roi)
        return
    chosen = [int(of_fold.max()) for of_fold in roi.n_voxels]
    curve = mean_over_subjects(sweep.top.pairwise.T)
    heights = np.interp(chosen, sweep.n_voxels, curve)
    for n_voxels in chosen:
        panel.axvline(n_voxels, color=CEILING_COLOUR, linestyle=":", linewidth=1)
    panel.plot(chosen, heights, "o", color=TOP_COLOUR, markeredgecolor="white", markersize=5.5)
    numbers = " and ".join(str(n_voxels) for n_voxels in dict.fromkeys(chosen))
    at = ", ".join(printed(float(height)) for height in dict.fromkeys(heights))
    set_title(panel, PANEL_WIDTH, roi.roi, [f"N = {numbers}: {at}"])


def _share_y(sheet: Sheet) -> None:
    limits = [panel.get_ylim() for panel in sheet.panels]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    for index, panel in enumerate(sheet.panels):
        panel.set_ylim(low, high)
        if not sheet.is_first_column(index):
            panel.tick_params(axis="y", labelleft=False)


def _draw_line(
    panel: Axes,
    sizes: NDArray[np.intp],
    by_subject: NDArray[np.float64],
    colour: str,
    label: str,
) -> None:
    mean = mean_over_subjects(by_subject)
    sem = sem_of_ceilings(by_subject)
    panel.fill_between(sizes, mean - sem, mean + sem, color=colour, alpha=0.22, linewidth=0)
    panel.plot(sizes, mean, color=colour, linewidth=1.6, label=label)


def _order_name(view: View) -> str:
    return SCORE_NAMES[view.settings.voxel_score]


def _is_cross_half(view: View) -> bool:
    return view.settings.selection_data == "other-half"


def _details(view: View) -> list[str]:
    if _is_cross_half(view):
        return [
            "Voxels ordered by one half of the runs, ceilings taken in the other; mean of both "
            "ways."
        ]
    return [f"{CIRCULAR.replace('chosen', 'ordered')}; the curves' peaks are optimistic."]


def _notes(view: View, sweeps: Sequence[CeilingSweep]) -> list[str]:
    settings = view.settings
    replacement = "with" if settings.random_replacement else "without"
    sizes = visited_sizes(sweeps)
    note = (
        f"Mean over {len(view.result.subjects)} subjects of the mean RDM correlation with the "
        "other subjects; band: ± standard error over subjects. Random: mean over "
        f"{settings.n_random_draws} draws {replacement} replacement. Visited: {sizes}."
    )
    match settings.voxel_selection:
        case "top-n":
            note += f" Dotted: the {settings.n_voxels} voxels of the main analysis."
        case "best-n" if _is_cross_half(view):
            note += (
                " Dotted: N of the main analysis, at the peak that the ceiling has in each half "
                "of the runs, used in the other half: need not be where this curve peaks."
            )
        case "best-n":
            note += " Dotted: N of the main analysis, at the peak of the ceiling."
    return [note, *(f"Note: {text}." for text in dict.fromkeys(s.note for s in sweeps) if text)]
