"""The specification curve: the answer under every choice of voxels, distance and comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from conceptrsa.analysis.arrays import Integers
from conceptrsa.analysis.inference.findings import (
    Inference,
    best_models,
    group_standing,
)
from conceptrsa.analysis.multiverse import MultiverseRow
from conceptrsa.analysis.output.figures.captions import RDM_NAMES, note, regions_left_out
from conceptrsa.analysis.output.figures.sheet import (
    label_room,
    lay_out,
    line_height,
    title_room,
)
from conceptrsa.analysis.output.figures.style import (
    LINE_COLOUR,
    RSA_NAMES,
    SMALL,
    View,
    group_handles,
)

PANELS_PER_ROW = 2
PANEL_WIDTH = 3.4
CURVE_HEIGHT = 1.5
ROW_HEIGHT = line_height(SMALL)
NO_GROUP = "n/a"


@dataclass(frozen=True)
class Specification:
    """One set of choices in one region.

    Attributes
    ----------
    choices : tuple of str
        Voxel selection, distance, comparison.
    group_means : dict of str to float
        Mean score over the models of each group.
    best_group, best_model : str
        Of the highest (mean) score; 'n/a' where nothing has a score.
    circular, primary : bool
    """

    choices: tuple[str, str, str]
    group_means: dict[str, float]
    best_group: str
    best_model: str
    circular: bool
    primary: bool


def draw_multiverse(view: View) -> Figure:
    """Draw the groups' scores by every specification, and below it what was chosen."""
    rows_of = {roi.roi: specifications(view, roi.roi) for roi in view.rois}
    dashboard = _dashboard_rows(next(iter(rows_of.values())))
    labels, left = label_room([label for _, _, label in dashboard], SMALL)
    sheet = lay_out(
        len(view.rois), PANEL_WIDTH, [CURVE_HEIGHT, ROW_HEIGHT * (len(labels) + 0.6)],
        per_row=PANELS_PER_ROW, left=left, between=0.55, above=title_room(2), below=0.3,
        appearance=view.appearance,
    )  # fmt: skip
    for index, (curve, choices) in enumerate(sheet.stacks):
        roi = view.rois[index].roi
        ordered = _sorted(rows_of[roi])
        _draw_curve(curve, view, ordered)
        _draw_choices(choices, ordered, dashboard, view.group_colours)
        if sheet.is_first_column(index):
            choices.set_yticks(range(len(labels)), labels, fontsize=SMALL)
            curve.set_ylabel("mean score of group")
        else:
            choices.set_yticks([])
        sheet.set_title(curve, roi, agreement(rows_of[roi], view.result.inference, roi))
    found = next(iter(rows_of.values()))
    primary = Line2D([], [], color=LINE_COLOUR, linestyle="--", linewidth=1, label="primary")
    circular = any(spec.circular for spec in found)
    notes = (
        note(view, "multiverse"),
        note(view, "multiverse", "circular" if circular else "independent"),
    )
    return sheet.finish(
        f"Specification curve: {len(found)} ways to the answer",
        regions_left_out(view),
        [*group_handles(view), primary],
        [" ".join(notes), *view.model_notes],
    )


def specifications(view: View, roi: str) -> list[Specification]:
    """Every specification of a region, in the order of the table."""

    def choices(row: MultiverseRow) -> tuple[str, str, str]:
        return row.voxel_selection, row.rdm_metric, row.rsa_metric

    of_roi = [row for row in view.result.multiverse if row.roi == roi]
    return [_specification(key, list(rows), view.groups) for key, rows in groupby(of_roi, choices)]


def agreement(found: Sequence[Specification], inference: Inference | None, roi: str) -> list[str]:
    """Say in how many specifications the primary's first group and first model are the first.

    What is first without being told apart from others is not named without saying so.
    """
    primary = next(spec for spec in found if spec.primary)
    group, model = primary.best_group, primary.best_model
    standing = group_standing(inference, roi, group)
    level = len(standing.level) + len(standing.untested)
    contenders = best_models(inference, roi)
    others = {*contenders.names, *contenders.unknown} - {model}
    groups, models = [spec.best_group for spec in found], [spec.best_model for spec in found]
    return [
        f"{what} {name}{company}: highest in {firsts.count(name)} of {len(found)}"
        for what, name, company, firsts in (
            ("group", group, f" (level with {level})" if level else "", groups),
            ("model", model, f" ({len(others)} more may be best)" if others else "", models),
        )
    ]


def _specification(
    choices: tuple[str, str, str], rows: Sequence[MultiverseRow], groups: Sequence[str]
) -> Specification:
    means = {group: _mean([row.rsa for row in rows if row.group == group]) for group in groups}
    of_models = {row.model: row.rsa for row in rows}
    return Specification(
        choices, means, _best(means), _best(of_models), rows[0].circular, rows[0].primary
    )


def _mean(values: Sequence[float]) -> float:
    present = [value for value in values if np.isfinite(value)]
    return float(np.mean(present)) if present else np.nan


def _best(scores: dict[str, float]) -> str:
    present = {name: score for name, score in scores.items() if np.isfinite(score)}
    return max(present, key=present.__getitem__) if present else NO_GROUP


def _sorted(found: Sequence[Specification]) -> list[Specification]:
    """From the lowest to the highest score of the primary's best group; those without last."""
    best = next(spec.best_group for spec in found if spec.primary)

    def score(spec: Specification) -> float:
        value = spec.group_means.get(best, _mean(list(spec.group_means.values())))
        # To as many digits as the tables have: equal scores stay in the order of the table.
        return round(value, 8) if np.isfinite(value) else np.inf

    return sorted(found, key=score)


def _dashboard_rows(found: Sequence[Specification]) -> list[tuple[int, str, str]]:
    """Rows under the curve: which choice, its value, its label; the best group first."""
    names: tuple[dict[Any, str], ...] = ({}, RDM_NAMES, RSA_NAMES)
    rows = [(-1, "", "highest group")]
    for choice, labels in enumerate(names):
        values = dict.fromkeys(spec.choices[choice] for spec in found)
        rows += [(choice, value, _choice_label(labels.get(value, value))) for value in values]
    return rows


def _choice_label(name: str) -> str:
    return name.replace(" distance", " dist.")


def _draw_curve(panel: Axes, view: View, ordered: Sequence[Specification]) -> None:
    places = np.arange(len(ordered))
    panel.axhline(0, color="#333333", linewidth=0.8)
    for group in view.groups:
        means = np.array([spec.group_means[group] for spec in ordered])
        marker = view.group_markers[group]
        panel.plot(places, means, marker, color=view.group_colours[group], markersize=2.6)
    _mark_primary(panel, ordered)
    panel.set_xticks([])
    panel.spines["bottom"].set_visible(False)


def _draw_choices(
    panel: Axes,
    ordered: Sequence[Specification],
    dashboard: Sequence[tuple[int, str, str]],
    colours: Mapping[str, str],
) -> None:
    for row, (choice, value, _) in enumerate(dashboard):
        if choice < 0:
            _draw_best_groups(panel, row, ordered, colours)
            continue
        for circular, colour in ((False, LINE_COLOUR), (True, "#999999")):
            chosen = _places(
                spec.choices[choice] == value and spec.circular is circular for spec in ordered
            )
            panel.plot(chosen, np.full(len(chosen), row), "|", color=colour, markersize=5.5)
        if row and dashboard[row - 1][0] != choice:
            panel.axhline(row - 0.5, color="#bbbbbb", linewidth=0.6)
    _mark_primary(panel, ordered)
    panel.set_ylim(len(dashboard) - 0.4, -0.6)
    panel.set_xlim(-1, len(ordered))
    panel.set_xticks([])
    panel.set_xlabel("specifications, sorted", labelpad=3)
    panel.tick_params(axis="y", length=0)
    panel.spines["left"].set_visible(False)


def _draw_best_groups(
    panel: Axes, row: int, ordered: Sequence[Specification], colours: Mapping[str, str]
) -> None:
    for group, colour in colours.items():
        best = _places(spec.best_group == group for spec in ordered)
        panel.plot(
            best, np.full(len(best), row), "|", color=colour, markersize=8, markeredgewidth=1.8
        )


def _mark_primary(panel: Axes, ordered: Sequence[Specification]) -> None:
    for place in _places(spec.primary for spec in ordered):
        panel.axvline(place, color=LINE_COLOUR, linestyle="--", linewidth=1, zorder=1)
    panel.set_xlim(-1, len(ordered))


def _places(chosen: Any) -> Integers:
    return np.flatnonzero(np.array(list(chosen), dtype=np.bool_))
