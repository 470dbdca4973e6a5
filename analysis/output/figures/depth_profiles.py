"""The scores of the layers of networks over their depth, a line a network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.models.zoo import split_layer
from conceptrsa.analysis.output.figures.captions import details_of, note, title
from conceptrsa.analysis.output.figures.models import ceiling_handles
from conceptrsa.analysis.output.figures.rows import estimates_of, limits_of
from conceptrsa.analysis.output.figures.sheet import lay_out, title_room
from conceptrsa.analysis.output.figures.style import (
    CEILING_COLOUR,
    MARKERS,
    RSA_NAMES,
    View,
    group_colours,
)
from conceptrsa.analysis.results import RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects

PANEL_WIDTH, PANEL_HEIGHT = 2.3, 1.6
MOST_NAMED = 3
"""So many networks have their highest layer named over the panel."""

MOST_BANDS = 4
"""Bands of more networks hide each other."""

NETWORK_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#332288")
"""Of Okabe and Ito, and one of Tol: networks are no groups, and have other colours."""

LINE_STYLES: tuple[Any, ...] = ("-", "--", "-.", ":")


def draw_depth_profile(view: View) -> Figure:
    """Draw the score of every layer of the networks, with intervals, a panel a region."""
    networks = view.networks
    palette = view.appearance.palette
    own = isinstance(palette, Mapping) or not palette
    colours = list(group_colours(networks, NETWORK_COLOURS if own else palette).values())
    n_named = len(networks) if len(networks) <= MOST_NAMED else 0
    sheet = lay_out(
        len(view.rois), PANEL_WIDTH, [PANEL_HEIGHT], left=0.7, between=0.6,
        above=title_room(n_named), appearance=view.appearance,
    )  # fmt: skip
    lengths = {len(layers) for layers in networks.values()}
    for panel, roi in zip(sheet.panels, view.rois, strict=True):
        estimates = _estimates(view, roi)
        said = []
        panel.axhline(0, color="#333333", linewidth=0.8)
        for number, (name, layers) in enumerate(networks.items()):
            of_layers = estimates[list(layers)]
            best = int(np.argmax(np.nan_to_num(of_layers[:, 0], nan=-np.inf)))
            _draw_line(panel, of_layers, best, _places(len(layers), lengths), colours, number)
            layer = split_layer(view.result.models[layers[best]].name)[1]
            said.append(f"{name}: {layer}" if len(networks) > 1 else str(layer))
        shown = estimates[[index for layers in networks.values() for index in layers]]
        panel.set_ylim(limits_of([shown, _draw_ceiling(panel, view, roi)], (-1.0, 1.0)))
        panel.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        is_number = len(lengths) == 1
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10], integer=is_number)
        panel.xaxis.set_major_locator(ticks)
        sheet.set_title(panel, roi.roi, said[:n_named])
    x_label = "compared layer" if len(lengths) == 1 else "place among the compared layers"
    sheet.label_outer(x_label, f"RSA ({RSA_NAMES[view.settings.rsa_metric]})")
    handles = [
        Line2D(
            [], [], color=colours[number], linestyle=LINE_STYLES[number % len(LINE_STYLES)],
            marker=MARKERS[number % len(MARKERS)], markersize=5,
            label=f"{name} ({len(layers)} layers)",
        )
        for number, (name, layers) in enumerate(networks.items())
    ]  # fmt: skip
    intervals = ["intervals"] * view.has_intervals
    return sheet.finish(
        title("depth_profile", view.settings),
        details_of(view),
        [*handles, *ceiling_handles(view)],
        [note(view, "depth_profile", *intervals)],
    )


def _estimates(view: View, roi: RoiResult) -> Floats:
    """Scores of all models and the ends of their bands, (models, 3)."""
    if view.has_intervals:
        return np.asarray(estimates_of(view.inference.of(roi.roi).model_scores, "rsa"))
    means, sems = mean_over_subjects(roi.rsa), sem_over_subjects(roi.rsa)
    return np.stack([means, means - sems, means + sems], axis=1)


def _draw_ceiling(panel: Axes, view: View, roi: RoiResult) -> Floats:
    """Draw the noise ceiling, on a band between Nili's bounds; gives what the axis should hold."""
    pairwise, lower, upper = (float(mean_over_subjects(bound)) for bound in roi.ceiling)
    low, high = lower, upper
    if view.has_intervals and len(found := view.ceilings(roi.roi)) == 1:
        pairwise, low, high = found[0].estimate, found[0].low, found[0].high
    if np.isfinite([low, high]).all():
        panel.axhspan(low, high, color=CEILING_COLOUR, alpha=0.18, lw=0)
    if np.isfinite(pairwise):
        panel.axhline(pairwise, color=CEILING_COLOUR, linestyle="--", linewidth=1)
    return np.array([pairwise, lower])


def _places(n_layers: int, lengths: set[int]) -> Floats:
    """Numbers of the layers; networks of different depth are drawn from 0 to 1."""
    if len(lengths) == 1:
        return np.arange(1.0, n_layers + 1)
    return np.linspace(0, 1, n_layers)


def _draw_line(
    panel: Axes, estimates: Floats, best: int, x: Floats, colours: Sequence[str], number: int
) -> None:
    """Draw the scores of the layers of one network (layers, 3), and mark the highest."""
    colour = colours[number]
    style = LINE_STYLES[number % len(LINE_STYLES)]
    if len(colours) <= MOST_BANDS:
        panel.fill_between(x, *estimates[:, 1:].T, color=colour, alpha=0.2, linewidth=0)
    panel.plot(x, estimates[:, 0], color=colour, linestyle=style, linewidth=1.6)
    panel.plot(
        x[best], estimates[best, 0], MARKERS[number % len(MARKERS)], color=colour, markersize=6,
        markeredgecolor="white", zorder=4,
    )  # fmt: skip
