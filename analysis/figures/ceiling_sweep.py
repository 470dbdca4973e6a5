"""Figure 1: the noise ceiling over the number of voxels."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from analysis.ceiling_sweep import CeilingSweep
from analysis.figures.style import (
    CEILING_COLOUR,
    RANDOM_COLOUR,
    TOP_COLOUR,
    View,
    add_footnotes,
    label_outer,
    panel_grid,
    rsa_name,
)
from analysis.noise_ceiling import sem_of_ceilings
from analysis.significance import mean_over_subjects

SIZE_TICKS = (3, 10, 30, 100, 300, 1000, 3000, 10000)


def draw_ceiling_sweep(view: View) -> Figure:
    """Draw mean and standard error over subjects, by highest betas and at random."""
    shown = {roi.roi for roi in view.rois}
    sweeps = [sweep for sweep in view.result.sweeps if sweep.roi in shown]
    settings = view.result.settings
    figure, panels = panel_grid(len(sweeps), 2.5, 2.3, share_y=True)
    for panel, sweep in zip(panels, sweeps, strict=True):
        _draw_roi(panel, sweep)
        if settings.voxel_selection == "top-n":
            panel.axvline(settings.n_voxels, color=CEILING_COLOUR, linestyle=":", linewidth=1)
    label_outer(panels, "number of voxels", f"noise ceiling ({rsa_name(settings.rsa_metric)})")
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    add_footnotes(figure, _notes(view))
    return figure


def _draw_roi(panel: Axes, sweep: CeilingSweep) -> None:
    panel.set_title(sweep.roi)
    panel.axhline(0, color="#bbbbbb", linewidth=0.8)
    if len(sweep.n_voxels) == 0:
        panel.text(0.5, 0.5, "fewer than 3 voxels", ha="center", transform=panel.transAxes)
        return
    by_subject = {
        "highest betas": (TOP_COLOUR, sweep.top.pairwise.T),
        "random voxels": (RANDOM_COLOUR, mean_over_subjects(sweep.random.pairwise).T),
    }
    for label, (colour, values) in by_subject.items():
        _draw_line(panel, sweep.n_voxels, values, colour, label)
    panel.set_xscale("log")
    largest = int(sweep.n_voxels[-1])
    panel.set_xlim(int(sweep.n_voxels[0]) * 0.93, max(largest, 4) * 1.07)
    panel.xaxis.set_major_locator(FixedLocator([tick for tick in SIZE_TICKS if tick <= largest]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


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


def _notes(view: View) -> list[str]:
    settings = view.result.settings
    note = (
        f"Mean over {len(view.result.subjects)} subjects of the mean RDM correlation with the "
        "other subjects; band: ± standard error over subjects. Random: mean over "
        f"{settings.n_random_draws} draws without replacement. Every number of voxels from 3 to "
        f"{settings.sweep_dense_until}, above that log-spaced."
    )
    if settings.voxel_selection == "top-n":
        note += f" Dotted: the {settings.n_voxels} voxels of the main analysis."
    return [note]
