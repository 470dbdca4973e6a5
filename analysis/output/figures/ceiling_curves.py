"""The noise ceiling over the number of voxels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.output.figures.captions import (
    CIRCULAR,
    SCORE_NAMES,
    note,
    regions_left_out,
    title,
    visited_sizes,
)
from conceptrsa.analysis.output.figures.sheet import (
    Sheet,
    lay_out,
    set_title,
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

PANEL_WIDTH = 2.1


def draw_ceiling_sweep(view: View) -> Figure:
    """Draw mean and standard error over subjects, in the voxels' order and at random."""
    sweep_of = {sweep.roi: sweep for sweep in view.result.sweeps}
    sweeps = [sweep_of[roi.roi] for roi in view.rois]
    sheet = lay_out(len(sweeps), PANEL_WIDTH, [1.6], left=0.65, above=title_room(1))
    for panel, sweep, roi in zip(sheet.panels, sweeps, view.rois, strict=True):
        _draw_roi(panel, view, sweep)
        _mark_selection(panel, view, sweep, roi)
    _share_y(sheet)
    sheet.label_outer("number of voxels", f"ceiling ({RSA_NAMES[view.settings.rsa_metric]})")
    curves = [panel.get_legend_handles_labels()[0] for panel in sheet.panels]
    return sheet.finish(
        title("ceiling_sweep", view.settings),
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
    panel.xaxis.set_major_locator(FixedLocator(fitting_ticks(largest)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def fitting_ticks(largest: int) -> list[int]:
    """Numbers of voxels whose labels do not touch: fewer of them on a longer axis."""
    ticks = [3, 10, 30, 100, 300, 1000] if largest < 3000 else [3, 10, 100, 1000, 10000]
    return [tick for tick in ticks if tick <= largest]


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


def _draw_line(panel: Axes, sizes: Integers, by_subject: Floats, colour: str, label: str) -> None:
    mean = mean_over_subjects(by_subject)
    sem = sem_of_ceilings(by_subject)
    panel.fill_between(sizes, mean - sem, mean + sem, color=colour, alpha=0.22, linewidth=0)
    panel.plot(sizes, mean, color=colour, linewidth=1.6, label=label)


def _order_name(view: View) -> str:
    return SCORE_NAMES[view.settings.voxel_score]


def _is_cross_half(view: View) -> bool:
    return view.settings.selection_data == "other-half"


def _details(view: View) -> list[str]:
    order = f"{CIRCULAR.replace('chosen', 'ordered')}; the curves' peaks are optimistic."
    if _is_cross_half(view):
        order = (
            "Voxels ordered by one half of the runs, ceilings taken in the other; mean of both "
            "ways."
        )
    return [order, *regions_left_out(view)]


def _notes(view: View, sweeps: Sequence[CeilingSweep]) -> list[str]:
    settings = view.settings
    text = note(
        view,
        "ceiling_sweep",
        n_subjects=len(view.result.subjects),
        n_draws=max(len(sweep.random.pairwise) for sweep in sweeps),
        replacement="with" if settings.random_replacement else "without",
        sizes=visited_sizes(sweeps),
    )
    match settings.voxel_selection:
        case "top-n":
            text += f" Dotted: the {settings.n_voxels} voxels of the main analysis."
        case "best-n" if _is_cross_half(view):
            text += (
                " Dotted: N of the main analysis, at the peak that the ceiling has in each half "
                "of the runs, used in the other half: need not be where this curve peaks."
            )
        case "best-n":
            text += " Dotted: N of the main analysis, at the peak of the ceiling."
    return [text, *(f"Note: {said}." for said in dict.fromkeys(s.note for s in sweeps) if said)]
