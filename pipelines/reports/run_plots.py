"""Plots of a run: motion, slice times, design matrix."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from conceptrsa.analysis.output.figures.style import (
    LINE_COLOUR,
    MUTED_COLOUR,
    SMALL,
    style,
)
from conceptrsa.pipelines.reports.mosaics import to_address
from conceptrsa.pipelines.reports.subject_records import HIGH_MOTION_MM, RunRecord

AXIS_COLOURS = {"x": "#0072B2", "y": "#E69F00", "z": "#009E73"}
HIGH_COLOUR = "#CC3311"
WIDTH = 11.0  # inches
LONGEST_NAME = 22
MOST_NAMES = 90
MOST_NUMBERS = 64


def draw_motion(runs: Sequence[RunRecord]) -> str:
    """Six motion parameters and framewise displacement of runs, one after the other.

    Parameters
    ----------
    runs : sequence of RunRecord
        One or more.
    """
    ends = np.cumsum([run.n_volumes for run in runs])
    motion = np.concatenate([run.motion for run in runs])
    displacement = np.concatenate([run.displacement for run in runs])
    with style():
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        shifts, turns, frames = figure.subplots(3, 1, sharex=True)
        for axes, first, unit in ((shifts, 0, "shift (mm)"), (turns, 3, "turn (rad)")):
            for offset, (name, colour) in enumerate(AXIS_COLOURS.items()):
                broken = _broken(motion[:, first + offset], ends)
                axes.plot(*broken, color=colour, linewidth=1, label=name)
            axes.axhline(0, color=MUTED_COLOUR, linewidth=0.5, zorder=0)
            axes.set_ylabel(unit)
        shifts.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 0.98), borderpad=0)
        _draw_displacement(frames, displacement, ends)
        for axes in (shifts, turns, frames):
            for end in ends[:-1]:
                axes.axvline(end - 0.5, color=MUTED_COLOUR, linewidth=0.5, linestyle=(0, (2, 2)))
            axes.set_xlim(-0.5, ends[-1] - 0.5)
        frames.set_xlabel("volume" if len(runs) == 1 else "volume, runs one after the other")
        return to_address(figure)


def draw_slice_times(run: RunRecord) -> str:
    """When each slice is acquired, and which moment all slices are taken to."""
    times = np.array(run.acquisition["SliceTiming"], dtype=float)
    if str(run.acquisition["SliceEncodingDirection"]).endswith("-"):
        times = times[::-1]
    reference = float(run.acquisition["StartTime"])
    numbers = np.arange(1, len(times) + 1)
    order = acquisition_order(times)
    at_reference = np.isclose(np.abs(times - reference), np.abs(times - reference).min())
    with style():
        figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.axhline(reference, color=HIGH_COLOUR, linewidth=1, label=f"reference, {reference:g} s")
        axes.vlines(numbers, reference, times, color=MUTED_COLOUR, linewidth=0.5)
        axes.plot(numbers, times, "o", color=AXIS_COLOURS["x"], markersize=4, label="slice")
        axes.plot(
            numbers[at_reference], times[at_reference], "o", color=HIGH_COLOUR, markersize=7,
            label="nearest the reference",
        )  # fmt: skip
        if len(times) <= MOST_NUMBERS:
            for number, time, place in zip(numbers, times, order, strict=True):
                axes.annotate(
                    str(place), (number, time), (0, 8 if time >= reference else -8),
                    textcoords="offset points", ha="center", va="center", fontsize=6.5,
                    color=LINE_COLOUR,
                )  # fmt: skip
        axes.set_xlabel(f"slice along {run.acquisition['SliceEncodingDirection'][0]}")
        axes.set_ylabel("acquired at (s)")
        axes.set_xlim(0.3, len(times) + 0.7)
        axes.margins(y=0.12)
        axes.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 0.98), borderpad=0)
        return to_address(figure)


def acquisition_order(times: NDArray[np.float64]) -> list[int]:
    """Place of each slice in time, from 1; slices of one moment share a place."""
    _, places = np.unique(times.round(6), return_inverse=True)
    return [int(place) + 1 for place in places]


def draw_design(design: pd.DataFrame, with_names: bool) -> str:
    """Design matrix of a run, each column in units of its largest absolute value."""
    values = design.to_numpy(dtype=float)
    largest = np.abs(values).max(axis=0)
    scaled = values / np.where(largest > 0, largest, 1)
    with style():
        figure = Figure(figsize=(WIDTH, 4.6 if with_names else 2.2), layout="constrained")
        axes = figure.subplots()
        axes.imshow(scaled, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_ylabel("volume")
        axes.spines[["top", "right"]].set_visible(True)
        if with_names and len(design.columns) <= MOST_NAMES:
            names = [_shortened(str(name).removeprefix("stimulus:")) for name in design.columns]
            axes.set_xticks(range(len(names)), names, rotation=90, fontsize=SMALL)
        else:
            axes.set_xlabel("column")
        return to_address(figure)


def draw_tsnr_by_run(medians: Sequence[float]) -> str:
    """Median tSNR in the brain mask, run by run."""
    with style():
        figure = Figure(figsize=(WIDTH, 2.2), layout="constrained")
        axes = figure.subplots()
        numbers = np.arange(1, len(medians) + 1)
        axes.plot(numbers, medians, "o-", color=AXIS_COLOURS["x"], markersize=4, linewidth=0.8)
        axes.set_ylim(0, 1.15 * max(medians))
        axes.set_xlim(0.5, len(medians) + 0.5)
        axes.set_xticks(numbers)
        axes.tick_params(axis="x", labelsize=SMALL)
        axes.set_xlabel("run")
        axes.set_ylabel("median tSNR")
        return to_address(figure)


def _draw_displacement(
    axes: Axes, displacement: NDArray[np.float64], ends: NDArray[np.int_]
) -> None:
    axes.plot(*_broken(displacement, ends), color=LINE_COLOUR, linewidth=1)
    high = np.flatnonzero(displacement > HIGH_MOTION_MM)
    axes.plot(high, displacement[high], "v", color=HIGH_COLOUR, markersize=4)
    axes.axhline(HIGH_MOTION_MM, color=HIGH_COLOUR, linewidth=0.8, linestyle="--")
    axes.set_ylabel("FD (mm)")
    highest = np.nanmax(displacement) if np.isfinite(displacement).any() else 0.0
    axes.set_ylim(0, max(1.1 * highest, 1.3 * HIGH_MOTION_MM))


def _broken(
    values: NDArray[np.float64], ends: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Abscissa and values with a gap between runs."""
    places = np.insert(np.arange(len(values), dtype=float), ends[:-1], np.nan)
    return places, np.insert(values, ends[:-1], np.nan)


def _shortened(name: str) -> str:
    return (
        name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}"
    )
