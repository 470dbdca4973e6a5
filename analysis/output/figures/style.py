"""What all figures share: colours, names, the view of a result, files."""

import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import hsv_to_rgb, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.inference.findings import (
    CeilingInterval,
    Inference,
    ModelScore,
)
from conceptrsa.analysis.results import (
    PRIMARY,
    Analysis,
    ComparisonResult,
    Model,
    RoiResult,
)
from conceptrsa.analysis.settings import ComparisonSettings, Names, RsaMetric
from conceptrsa.bids_config.writing import atomic_path

KNOWN_COLOURS = {
    "multimodal": "#009E73",
    "visual": "#CC3311",
    "language": "#0072B2",
    "categorical": "#AA4499",
}
"""Okabe and Ito's green and blue, Tol's vibrant red: colour-blind readers tell them apart."""

FURTHER_COLOURS = ("#E69F00", "#56B4E9", "#882255", "#999933", "#332288", "#CC79A7", "#777777")
"""Of Okabe and Ito, and of Tol, in the order in which they stand out from those before."""

TOP_COLOUR = "#0072B2"
RANDOM_COLOUR = "#E69F00"
CEILING_COLOUR = "#555555"
MUTED_COLOUR = "#666666"
LINE_COLOUR = "#222222"

SMALL = 7.5
"""Points of all that is no label or title."""

FORMATS: dict[str, Any] = {
    "svg": {"metadata": {"Date": None, "Creator": None}},
    # Figures are lines and letters: more compression takes time and saves little.
    "png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 1}},
}
"""File formats of a figure, and options that leave dates and versions out of them."""

DPI = 150
"""Dots per inch of a PNG file."""

HEMISPHERE_SUFFIXES = ("-left", "-right")
NOTE_MARK = "†"
MINUS = "\N{MINUS SIGN}"

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

RSA_NAMES: dict[RsaMetric, str] = Names(
    {
        "pearson": "Pearson r",
        "spearman": "Spearman ρ",
        "kendall-tau-a": "Kendall τa",
        "rho-a": "ρa",
        "cosine": "cosine",
        "whitened-cosine": "whitened cosine",
    }
)
"""The comparison of RDMs, as an axis names it."""


@dataclass(frozen=True)
class View:
    """A result, and what one figure shows of it: an analysis and some of its regions.

    `n_regions` is how many there are to show, where that is more than `rois`.
    """

    result: ComparisonResult
    analysis: Analysis
    rois: tuple[RoiResult, ...]
    n_regions: int = 0

    @property
    def settings(self) -> ComparisonSettings:
        """Settings of the analysis."""
        return self.analysis.settings

    @cached_property
    def group_colours(self) -> dict[str, str]:
        """Colour of each group that holds a model, in the order of presentation."""
        return group_colours(model.group for model in self.result.models)

    @property
    def model_order(self) -> list[int]:
        """Indices of the models, group by group, as given within a group."""
        groups = self.groups
        models = self.result.models
        return sorted(range(len(models)), key=lambda index: groups.index(models[index].group))

    @property
    def ordered_models(self) -> list[Model]:
        """The models, group by group."""
        return [self.result.models[index] for index in self.model_order]

    @property
    def model_colours(self) -> list[str]:
        """Colour of each model, in this order."""
        return [self.group_colours[model.group] for model in self.ordered_models]

    @property
    def groups(self) -> list[str]:
        """Groups that hold a model, in their order of presentation."""
        return list(self.group_colours)

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

    @property
    def has_intervals(self) -> bool:
        """Whether inference was made on what is shown: of the primary analysis, if at all."""
        return self.result.inference is not None and self.analysis.name == PRIMARY

    @property
    def inference(self) -> Inference:
        """What inference found on the primary analysis, for figures that show it."""
        assert self.result.inference is not None
        return self.result.inference

    def scores(self, roi: str) -> list[ModelScore]:
        """Scores with intervals of one region, models in the order of the figures."""
        of_model = {score.model: score for score in self.inference.of(roi).model_scores}
        return [of_model[model.name] for model in self.ordered_models]

    def ceilings(self, roi: str) -> list[CeilingInterval]:
        """Noise ceilings of one region with their intervals, that of the test first."""
        return list(self.inference.of(roi).ceilings)


@contextmanager
def style() -> Iterator[None]:
    """Settings under which figures are made and saved, whatever the user's own are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables hold it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def model_label(model: Model) -> str:
    """Name of a model, marked where it has a note."""
    return f"{model.name}{NOTE_MARK}" if model.note else model.name


def is_hemisphere(roi: str) -> bool:
    """Whether a region's name says that it is half of another."""
    return roi.endswith(HEMISPHERE_SUFFIXES)


def group_colours(groups: Iterable[str]) -> dict[str, str]:
    """Colour of each group: those of the paper first, the others as they come.

    Beyond the palette, colours are spread over the hues, each as far as possible from the last.
    """
    names = dict.fromkeys(groups)
    ordered = [name for name in KNOWN_COLOURS if name in names]
    ordered += [name for name in names if name not in KNOWN_COLOURS]
    free = [*FURTHER_COLOURS, *(c for name, c in KNOWN_COLOURS.items() if name not in names)]
    further = chain(
        free, (to_hex(hsv_to_rgb((0.618 * n % 1, 0.65, 0.8)).tolist()) for n in count())
    )
    return {name: KNOWN_COLOURS.get(name) or next(further) for name in ordered}


def group_handles(view: View, marked: Collection[str] = ()) -> list[Patch]:
    """Legend entries for the groups of models, some of them marked."""
    return [
        Patch(color=colour, label=f"{group}{NOTE_MARK}" if group in marked else group)
        for group, colour in view.group_colours.items()
    ]


def ceiling_handle() -> Line2D:
    """Legend entry for the line at the noise ceiling."""
    return Line2D([], [], color=CEILING_COLOUR, linestyle="--", label="noise ceiling")


def star_style(size: float) -> dict[str, Any]:
    """How stars are drawn where something is significant."""
    star = {"marker": "*", "markersize": size, "color": LINE_COLOUR, "markeredgewidth": 0}
    return star | {"linestyle": "none"}


def jitter(n: int, half_width: float) -> Floats:
    """Fixed offsets that set n dots side by side."""
    return np.linspace(-half_width, half_width, n) if n > 1 else np.zeros(1)


def printed(value: float, decimals: int = 3) -> str:
    """A number as text in a figure; n/a for none."""
    if not np.isfinite(value):
        return "n/a"
    # Adding zero makes a rounded minus zero zero.
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", MINUS)


def printed_interval(low: float, high: float, decimals: int = 3) -> str:
    """An interval as text, or that there is none."""
    if not np.isfinite([low, high]).all():
        return "[n/a]"
    return f"[{printed(low, decimals)}, {printed(high, decimals)}]"


def unbroken(text: str) -> str:
    """Text in which no line breaks within '95 %', 'p = 0.01', 'Pearson r' or '0.2 [0.1, 0.3]'."""
    return re.sub(
        r"(?<=\d) (?=[%[])| (?=[=<±] )|(?<=[=<±]) | (?=[rρ](?:\W|$))|(?<=\d,) (?=[^ ]*\])",
        "\N{NO-BREAK SPACE}",
        text,
    )


def save(figure: Figure, stem: Path) -> None:
    """Save as `stem`.svg and `stem`.png, without dates or versions in them."""
    for suffix, options in FORMATS.items():
        with atomic_path(stem.with_name(f"{stem.name}.{suffix}")) as file:
            figure.savefig(file, format=suffix, dpi=DPI, **options)
