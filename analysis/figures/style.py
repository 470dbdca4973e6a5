"""What all figures share: colours, names, panels, footnotes, files."""

import textwrap
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

from analysis.results import ComparisonResult, Model, RoiResult
from bids_config.files import atomic_path

GROUP_COLOURS = {"multimodal": "#009E73", "visual": "#CC3311", "language": "#0072B2"}
"""Okabe and Ito's green and blue, Tol's vibrant red: colour-blind readers tell them apart."""

TOP_COLOUR = "#0072B2"
RANDOM_COLOUR = "#E69F00"
CEILING_COLOUR = "#555555"
MUTED_COLOUR = "#666666"

BEYOND_TEXT: dict[str, Any] = {
    "fontsize": 7.5,
    "color": "white",
    "bbox": {"facecolor": "#444444", "edgecolor": "none", "boxstyle": "round,pad=0.2"},
}
"""How the value of a bar that leaves the axis is printed."""

FORMATS: dict[str, Any] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
"""File formats of a figure, and what is left out of their metadata."""

HEMISPHERE_SUFFIXES = ("-left", "-right")
NOTE_MARK = "†"
PANELS_PER_ROW = 4
FOOTNOTE_LINE_INCHES = 0.17

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "conceptrsa",
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
}


@dataclass(frozen=True)
class View:
    """A result with the regions that one figure shows, and its models in order of their groups."""

    result: ComparisonResult
    rois: tuple[RoiResult, ...]

    @property
    def model_order(self) -> list[int]:
        """Indices of the models, group by group, as given within a group."""
        groups = list(GROUP_COLOURS)
        models = self.result.models
        return sorted(range(len(models)), key=lambda index: groups.index(models[index].group))

    @property
    def groups(self) -> list[str]:
        """Groups that hold a model, in their order of presentation."""
        present = {model.group for model in self.result.models}
        return [group for group in GROUP_COLOURS if group in present]

    @property
    def noted_groups(self) -> set[str]:
        """Groups that hold a model with a note."""
        return {model.group for model in self.result.models if model.note}

    @property
    def model_notes(self) -> list[str]:
        """A footnote for every model with a note."""
        return [
            f"{NOTE_MARK} {model.name}: {model.note}" for model in self.result.models if model.note
        ]


@contextmanager
def style() -> Iterator[None]:
    """Settings under which figures are made and saved, whatever the user's own are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def model_label(model: Model) -> str:
    """Name of a model, marked where it has a note."""
    return f"{model.name}{NOTE_MARK}" if model.note else model.name


def is_hemisphere(roi: str) -> bool:
    """Whether a region's name says that it is half of another."""
    return roi.endswith(HEMISPHERE_SUFFIXES)


def panel_grid(
    n_panels: int, panel_width: float, panel_height: float, *, share_y: bool
) -> tuple[Figure, list[Axes]]:
    """Make a figure of so many panels (inches each), up to four in a row."""
    n_columns = min(n_panels, PANELS_PER_ROW)
    n_rows = -(-n_panels // n_columns)
    figure = Figure(
        figsize=(panel_width * n_columns + 1.3, panel_height * n_rows + 0.9),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=share_y)
    panels = list(grid.flat)
    for empty in panels[n_panels:]:
        empty.remove()
    return figure, panels[:n_panels]


def label_outer(panels: Sequence[Axes], x_label: str, y_label: str = "") -> None:
    """Name the x axis under the lowest panel of each column, the y axis left of each row."""
    for index, panel in enumerate(panels):
        if index + PANELS_PER_ROW >= len(panels):
            panel.set_xlabel(x_label)
        if index % PANELS_PER_ROW == 0:
            panel.set_ylabel(y_label)


def rsa_name(rsa_metric: str) -> str:
    """The correlation between RDMs, as an axis names it."""
    return {"pearson": "Pearson r", "spearman": "Spearman ρ"}[rsa_metric]


def group_handles(groups: Sequence[str], marked: Collection[str] = ()) -> list[Patch]:
    """Legend entries for groups of models, some of them marked."""
    return [
        Patch(
            color=GROUP_COLOURS[group],
            label=f"{group}{NOTE_MARK}" if group in marked else group,
        )
        for group in groups
    ]


def add_footnotes(figure: Figure, notes: Sequence[str]) -> None:
    """Write notes under the figure, which grows by the room they need."""
    width, height = figure.get_size_inches()
    characters = int(width * 17)
    lines = [line for note in notes for line in textwrap.wrap(note, characters)]
    if not lines:
        return
    room = FOOTNOTE_LINE_INCHES * (len(lines) + 0.8)
    figure.set_size_inches(width, height + room)
    share = room / (height + room)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0.0, share, 1.0, 1.0 - share))
    figure.text(
        0.1 / width,
        share * 0.92,
        "\n".join(lines),
        va="top",
        ha="left",
        fontsize=7.5,
        color=MUTED_COLOUR,
        linespacing=1.25,
    )


def jitter(n: int, half_width: float) -> np.ndarray:
    """Fixed offsets that set n dots side by side."""
    return np.linspace(-half_width, half_width, n) if n > 1 else np.zeros(1)


def save(figure: Figure, stem: Path) -> None:
    """Save as `stem`.svg and `stem`.png, without dates or versions in them."""
    for suffix, metadata in FORMATS.items():
        with atomic_path(stem.with_name(f"{stem.name}.{suffix}")) as file:
            figure.savefig(file, format=suffix, dpi=150, metadata=metadata)
