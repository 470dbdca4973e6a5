"""What all figures share: colours, names, the view of a result, files."""

import logging
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count, cycle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
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
from conceptrsa.analysis.models.zoo import LAYER_MARK
from conceptrsa.analysis.output.figures.appearance import IN_REPORT, Appearance
from conceptrsa.analysis.output.tables import noise_ceiling_table
from conceptrsa.analysis.results import (
    PRIMARY,
    Analysis,
    ComparisonResult,
    Model,
    RoiResult,
)
from conceptrsa.analysis.rsa.correlations import mean_over_subjects
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

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", "h", ">", "8")
"""Shapes of groups and networks: in grey they are told apart by these."""

FEWEST_LAYERS = 3
"""Of a network so many are a profile over its depth, and not models side by side."""

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

OPTIONS: dict[str, Any] = {
    **FORMATS,
    "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
    "tiff": {"pil_kwargs": {"compression": "tiff_lzw"}},
}
"""The same for every format that figures can be saved in."""

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
class Row:
    """What figures show as one model: a model, or a network of which several layers were compared.

    `columns` are the indices of the model, or of the network's layers in the order of the tables.
    """

    label: str
    group: str
    columns: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """A result, and what one figure shows of it: an analysis and some of its regions.

    `n_regions` is how many there are to show, where that is more than `rois`.
    """

    result: ComparisonResult
    analysis: Analysis
    rois: tuple[RoiResult, ...]
    n_regions: int = 0
    appearance: Appearance = IN_REPORT

    @property
    def settings(self) -> ComparisonSettings:
        """Settings of the analysis."""
        return self.analysis.settings

    @cached_property
    def group_colours(self) -> dict[str, str]:
        """Colour of each group that holds a model, in the order of presentation."""
        return group_colours((model.group for model in self.result.models), self.appearance.palette)

    @cached_property
    def group_markers(self) -> dict[str, str]:
        """Shape of each group, in the order of presentation."""
        return dict(zip(self.group_colours, cycle(MARKERS), strict=False))

    @cached_property
    def networks(self) -> dict[str, tuple[int, ...]]:
        """Networks of which several layers were compared, and the indices of these."""
        return networks_of([self.result.models[index] for index in self._shown], self._shown)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Models and networks, group by group as given within a group, or by their scores."""
        network_of = {index: name for name, all_ in self.networks.items() for index in all_}
        found: dict[str, Row] = {}
        for index in self._shown:
            model = self.result.models[index]
            network = network_of.get(index)
            if network is None:
                found[model.name] = Row(model_label(model), model.group, (index,))
            else:
                found[f"{network}{LAYER_MARK}"] = Row(
                    f"{network} (best layer)", model.group, self.networks[network]
                )
        if self.appearance.sort == "score":
            return tuple(sorted(found.values(), key=self._mean_score, reverse=True))
        return tuple(sorted(found.values(), key=lambda row: self.groups.index(row.group)))

    @property
    def _shown(self) -> list[int]:
        """Indices of the models that figures of single models show."""
        wanted = self.appearance.models
        models = enumerate(self.result.models)
        return [index for index, model in models if not wanted or model.name in wanted]

    def _mean_score(self, row: Row) -> float:
        """Mean over the regions of a row's score; those without a score come last."""
        scores = [_means(roi)[list(row.columns)] for roi in self.rois]
        best = np.array([np.max(of_roi[np.isfinite(of_roi)], initial=-np.inf) for of_roi in scores])
        return float(np.mean(best[np.isfinite(best)])) if np.isfinite(best).any() else -np.inf

    def columns(self, roi: RoiResult) -> list[int]:
        """Index of the model in each row: of a network, the layer of the highest score there."""
        means = np.nan_to_num(_means(roi), nan=-np.inf)
        return [max(row.columns, key=means.__getitem__) for row in self.rows]

    def models(self, roi: RoiResult) -> list[Model]:
        """The model in each row of a region."""
        return [self.result.models[index] for index in self.columns(roi)]

    @property
    def row_colours(self) -> list[str]:
        """Colour of each row."""
        return [self.group_colours[row.group] for row in self.rows]

    @property
    def row_markers(self) -> list[str]:
        """Shape of each row."""
        return [self.group_markers[row.group] for row in self.rows]

    @property
    def groups(self) -> list[str]:
        """Groups that hold a model, in their order of presentation."""
        return list(self.group_colours)

    @property
    def noted_groups(self) -> set[str]:
        """Groups that hold a model with a note."""
        return {self.result.models[index].group for index in self._noted}

    @property
    def model_notes(self) -> list[str]:
        """A footnote for every model with a note; layers have theirs in the report."""
        models = (self.result.models[index] for index in self._noted)
        return [f"{NOTE_MARK} {model.name}: {model.note}" for model in models]

    @property
    def _noted(self) -> list[int]:
        layers = {index for all_ in self.networks.values() for index in all_}
        return [
            index for index in self._shown if self.result.models[index].note and index not in layers
        ]

    @cached_property
    def noise_ceilings(self) -> pd.DataFrame:
        """The noise ceiling over the number of voxels, as in its table."""
        return noise_ceiling_table(self.result)

    @property
    def has_intervals(self) -> bool:
        """Whether inference was made on what is shown: of the primary analysis, if at all."""
        return self.result.inference is not None and self.analysis.name == PRIMARY

    @property
    def inference(self) -> Inference:
        """What inference found on the primary analysis, for figures that show it."""
        assert self.result.inference is not None
        return self.result.inference

    def scores(self, roi: RoiResult) -> list[ModelScore]:
        """Scores with intervals of one region, a row each."""
        of_model = {score.model: score for score in self.inference.of(roi.roi).model_scores}
        return [of_model[model.name] for model in self.models(roi)]

    def ceilings(self, roi: str) -> list[CeilingInterval]:
        """Noise ceilings of one region with their intervals, that of the test first."""
        return list(self.inference.of(roi).ceilings)


def networks_of(
    models: Sequence[Model], indices: Sequence[int] | None = None
) -> dict[str, tuple[int, ...]]:
    """Networks of which several layers are among some models, and the indices of the layers."""
    layers: dict[str, list[int]] = {}
    for index, model in zip(indices or range(len(models)), models, strict=True):
        name, mark, _ = model.name.partition(LAYER_MARK)
        if mark:
            layers.setdefault(name, []).append(index)
    return {name: tuple(of) for name, of in layers.items() if len(of) >= FEWEST_LAYERS}


def _means(roi: RoiResult) -> Floats:
    return mean_over_subjects(roi.rsa)


@contextmanager
def style(fonts: Sequence[str] = ()) -> Iterator[None]:
    """Settings under which figures are made and saved, whatever the user's own are."""
    with matplotlib.rc_context(), warnings.catch_warnings(), _quiet_fonts():
        # A name in a script that the font lacks is drawn as boxes; the tables hold it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        if fonts:
            matplotlib.rcParams["font.family"] = [*fonts, RC["font.family"]]
            # Letters stay letters, which programs for drawing can edit.
            matplotlib.rcParams.update({"svg.fonttype": "none", "pdf.fonttype": 42})
        yield


@contextmanager
def _quiet_fonts() -> Iterator[None]:
    """Let a font that is not installed be followed by the next one without a message."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def model_label(model: Model) -> str:
    """Name of a model, marked where it has a note."""
    return f"{model.name}{NOTE_MARK}" if model.note else model.name


def is_hemisphere(roi: str, rois: Collection[str]) -> bool:
    """Whether a region is, by its name, half of another one of the regions."""
    return roi.endswith(HEMISPHERE_SUFFIXES) and roi.rpartition("-")[0] in rois


def group_colours(
    groups: Iterable[str], palette: Sequence[str] | Mapping[str, str] = ()
) -> dict[str, str]:
    """Colour of each group: those of the paper first, the others as they come.

    Beyond the palette, colours are spread over the hues, each as far as possible from the last.

    Parameters
    ----------
    groups : iterable of str
    palette : sequence of str, or mapping of str to str
        Colours of the groups in their order, or by their names; the others get those that are left.
    """
    names = dict.fromkeys(groups)
    ordered = [name for name in KNOWN_COLOURS if name in names]
    ordered += [name for name in names if name not in KNOWN_COLOURS]
    given = palette if isinstance(palette, Mapping) else dict(zip(ordered, palette, strict=False))
    own = {name: given.get(name) or KNOWN_COLOURS.get(name) for name in ordered}
    free = (*FURTHER_COLOURS, *KNOWN_COLOURS.values())
    further = chain(
        (colour for colour in free if colour not in own.values()),
        (to_hex(hsv_to_rgb((0.618 * n % 1, 0.65, 0.8)).tolist()) for n in count()),
    )
    return {name: colour or next(further) for name, colour in own.items()}


def group_handles(
    view: View, marked: Collection[str] = (), *, as_points: bool = True
) -> list[Artist]:
    """Legend entries for the groups of models, some of them marked."""
    handles: list[Artist] = []
    for group, colour in view.group_colours.items():
        label = f"{group}{NOTE_MARK}" if group in marked else group
        point: dict[str, Any] = {"marker": view.group_markers[group], "markersize": 5.5}
        handles.append(
            Line2D([], [], color=colour, linestyle="none", label=label, **point)
            if as_points
            else Patch(color=colour, label=label)
        )
    return handles


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
    for suffix in FORMATS:
        save_as(figure, stem, suffix, DPI)


def save_as(figure: Figure, stem: Path, file_format: str, dpi: float) -> Path:
    """Save in one format, without dates or versions in it; gives the file."""
    file = stem.with_name(f"{stem.name}.{file_format}")
    with atomic_path(file) as temporary:
        figure.savefig(temporary, format=file_format, dpi=dpi, **OPTIONS[file_format])
    return file
