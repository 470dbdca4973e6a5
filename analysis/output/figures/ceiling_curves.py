"""The noise ceiling over the number of voxels."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

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

PANEL_WIDTH = 2.1
TOP = "top"
"""What the table calls the voxels that are first in order."""


def draw_ceiling_sweep(view: View) -> Figure:
    """Draw mean and standard error over subjects, in the voxels' order and at random."""
    curves_of = dict(list(view.noise_ceilings.groupby("roi")))
    curves = [curves_of.get(roi.roi, view.noise_ceilings[:0]) for roi in view.rois]
    sheet = lay_out(
        len(curves), PANEL_WIDTH, [1.6], left=0.65, above=title_room(1),
        appearance=view.appearance,
    )  # fmt: skip
    for panel, of_roi, roi in zip(sheet.panels, curves, view.rois, strict=True):
        top = of_roi[of_roi["selection"] == TOP]
        _draw_roi(panel, view, top, of_roi[of_roi["selection"] != TOP])
        sheet.set_title(panel, roi.roi, _mark_selection(panel, view, top, roi))
    _share_y(sheet)
    sheet.label_outer("number of voxels", f"ceiling ({RSA_NAMES[view.settings.rsa_metric]})")
    handles = [panel.get_legend_handles_labels()[0] for panel in sheet.panels]
    return sheet.finish(
        title("ceiling_sweep", view.settings),
        _details(view),
        max(handles, key=len),
        _notes(view, curves),
    )


def _draw_roi(panel: Axes, view: View, top: pd.DataFrame, drawn: pd.DataFrame) -> None:
    panel.axhline(0, color="#bbbbbb", linewidth=0.8)
    if top.empty:
        panel.text(0.5, 0.5, "fewer than 3 voxels", ha="center", transform=panel.transAxes)
        panel.set_xticks([])
        return
    values = ["ceiling_mean", "ceiling_sem"]
    _draw_line(panel, top.set_index("n_voxels")[values], TOP_COLOUR, _order_name(view))
    over_draws = drawn.groupby("n_voxels")[values].mean()
    _draw_line(panel, over_draws, RANDOM_COLOUR, "random voxels", linestyle="-.")
    sizes = top["n_voxels"]
    panel.set_xscale("log")
    smallest, largest = int(sizes.min()), max(int(sizes.max()), 4)
    panel.set_xlim(smallest * 0.93, largest * 1.07)
    panel.xaxis.set_major_locator(FixedLocator(fitting_ticks(largest)))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def fitting_ticks(largest: int) -> list[int]:
    """Numbers of voxels whose labels do not touch: fewer of them on a longer axis."""
    ticks = [3, 10, 30, 100, 300, 1000] if largest < 3000 else [3, 10, 100, 1000, 10000]
    return [tick for tick in ticks if tick <= largest]


def _mark_selection(panel: Axes, view: View, top: pd.DataFrame, roi: RoiResult) -> list[str]:
    """Mark the numbers of voxels of the main analysis, where it takes those first in order.

    Gives what can be said of them under the region's name.
    """
    if view.settings.voxel_selection not in ("top-n", "best-n") or top.empty:
        return []
    chosen = [int(of_fold.max()) for of_fold in roi.n_voxels]
    heights = np.interp(chosen, top["n_voxels"], top["ceiling_mean"])
    for n_voxels in chosen:
        panel.axvline(n_voxels, color=CEILING_COLOUR, linestyle=":", linewidth=1)
    panel.plot(chosen, heights, "o", color=TOP_COLOUR, markeredgecolor="white", markersize=5.5)
    numbers = " and ".join(str(n_voxels) for n_voxels in dict.fromkeys(chosen))
    at = ", ".join(printed(float(height)) for height in dict.fromkeys(heights))
    return [f"N = {numbers}: {at}"]


def _share_y(sheet: Sheet) -> None:
    limits = [panel.get_ylim() for panel in sheet.panels]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    for index, panel in enumerate(sheet.panels):
        panel.set_ylim(low, high)
        if not sheet.is_first_column(index):
            panel.tick_params(axis="y", labelleft=False)


def _draw_line(
    panel: Axes, curve: pd.DataFrame, colour: str, label: str, linestyle: str = "-"
) -> None:
    mean, sem = curve["ceiling_mean"].to_numpy(float), curve["ceiling_sem"].to_numpy(float)
    panel.fill_between(curve.index, mean - sem, mean + sem, color=colour, alpha=0.22, linewidth=0)
    panel.plot(curve.index, mean, color=colour, linewidth=1.6, label=label, linestyle=linestyle)


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


def _notes(view: View, curves: Sequence[pd.DataFrame]) -> list[str]:
    settings = view.settings
    text = note(
        view,
        "ceiling_sweep",
        n_subjects=len(view.result.subjects),
        n_draws=max(of_roi["draw"].nunique() for of_roi in curves),
        replacement="with" if settings.random_replacement else "without",
        sizes=visited_sizes(
            [np.unique(of_roi.loc[of_roi["selection"] == TOP, "n_voxels"]) for of_roi in curves]
        ),
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
    notes = dict.fromkeys(sweep.note for sweep in view.result.sweeps)
    return [text, *(f"Note: {said}." for said in notes if said)]
