"""The figures and tables beside the page, as the page shows them."""

import json
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from conceptrsa.analysis.output.figures.captions import CAPTIONS, details_of, title
from conceptrsa.analysis.output.figures.style import DPI, FORMATS, View
from conceptrsa.analysis.output.report.rendering import by_column, embed_as_webp
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.bids_config.tsv import MISSING, read_table


def _words(name: str) -> dict[str, dict[str, Any]]:
    return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))


TABLES = _words("tables.toml")
"""Of every table, by the name of its file: title, note, and which rows are in the page."""

COLUMNS = _words("columns.toml")
"""What columns hold: of any table, or of one."""

SORTED_WITHIN = ("roi", "subject", "score", "test")
"""Rows are sorted among those that have these in common, which stay in the order of the file."""

N_SHOWN = 25
"""Rows that are in the page as a table from the start; a script adds the others on demand."""

N_OPEN = 3
"""Figures that are open from the start; the others are folded by topic."""

MAX_CHARACTERS = 900_000
"""So much text the rows of all tables may be; long tables are shortened for it, short ones not."""

N_MEASURED = 1_000
"""So many rows tell how much text all are."""

DIGITS = 4

CSS_PIXELS_PER_INCH = 96

TEXT_COLUMNS = frozenset({
    "subject", "roi", "model", "group", "group_a", "group_b", "reference", "score", "test",
    "figure", "rdm_metric", "rsa_metric", "voxel_selection", "selection", "part",
    "given", "correlation", "withheld", "circular", "primary", "quantity", "published", "agrees",
})  # fmt: skip
"""Columns that hold names, even where a name looks like a number."""


@dataclass(frozen=True)
class EmbeddedFigure:
    """A figure in the page.

    Attributes
    ----------
    source : str
        The picture as a `data:` address.
    width : int
        In pixels of CSS, so that letters of all figures are of one size.
    title, shows : str
        Its title, and what it shows.
    alternative : str
        What it says, for whoever cannot see it.
    id : str
        Of the element in the page.
    table : str
        Name of the table with its numbers.
    files : tuple of (str, str)
        Formats and where the figure lies in them, from the folder of the page.
    """

    source: str
    width: int
    title: str
    shows: str
    alternative: str
    id: str
    table: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Drawing:
    """One figure of whole regions, of hemispheres, or of each."""

    topic: str
    whole: EmbeddedFigure | None
    hemispheres: EmbeddedFigure | None

    @property
    def first(self) -> EmbeddedFigure:
        """The one that is seen first."""
        found = self.whole or self.hemispheres
        assert found is not None
        return found


@dataclass(frozen=True)
class Topic:
    """Figures that are folded under one heading."""

    id: str
    title: str
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True)
class Figures:
    """The figures of the page: those that are open, and the others by topic."""

    open: tuple[Drawing, ...]
    topics: tuple[Topic, ...]

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """All of them."""
        return (*self.open, *(drawing for topic in self.topics for drawing in topic.drawings))

    @property
    def has_both(self) -> bool:
        """Whether the reader has a choice between whole regions and hemispheres."""
        return any(drawing.whole and drawing.hemispheres for drawing in self.drawings)


@dataclass(frozen=True)
class Column:
    """A column's name, whether it holds numbers, and what it holds in words."""

    name: str
    numeric: bool
    words: str = ""


@dataclass(frozen=True)
class Table:
    """A table in the page.

    Attributes
    ----------
    name : str
        Of its file, without the suffix.
    title, note : str
        What it holds, and what of its file is not in the page.
    columns : tuple of Column
    rows : list of list of str
        All rows of the page.
    """

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: list[list[str]]

    @property
    def first_rows(self) -> list[list[str]]:
        """Rows that are there without a script."""
        return self.rows[:N_SHOWN]


def embed_figures(result: ComparisonResult, figures_dir: Path) -> Figures:
    """Embed the figures of a comparison that were written, in the order of the captions."""
    drawings = []
    for name, words in CAPTIONS.items():
        whole = _embedded(result, figures_dir, name, "", "")
        hemispheres = _embedded(result, figures_dir, name, "_hemispheres", ", each hemisphere")
        if whole or hemispheres:
            drawings.append(Drawing(words["topic"], whole, hemispheres))
    titles = dict.fromkeys(drawing.topic for drawing in drawings[N_OPEN:])
    topics = (
        Topic(
            f"figures-{number}",
            title,
            tuple(drawing for drawing in drawings[N_OPEN:] if drawing.topic == title),
        )
        for number, title in enumerate(titles, start=1)
    )
    return Figures(tuple(drawings[:N_OPEN]), tuple(topics))


def _embedded(
    result: ComparisonResult, figures_dir: Path, name: str, suffix: str, which: str
) -> EmbeddedFigure | None:
    stem = f"{name}{suffix}"
    written = {kind: figures_dir / f"{stem}.{kind}" for kind in FORMATS}
    if not all(file.exists() for file in written.values()):
        return None
    words = CAPTIONS[name]
    shows = words["shows"]
    analysis = next((variant for variant in result.variants if variant.name == name), None)
    if analysis is not None:
        shows = " ".join([*details_of(View(result, analysis, analysis.rois)), shows])
    of_models = "rsa" if result.inference is None else "scores"
    tables = dict.fromkeys(("shares_of_ceiling", "scores", "depth_profile"), of_models)
    table = tables.get(name) or words.get("table", name)
    heading = f"{title(name, result.settings)}{which}"
    return EmbeddedFigure(
        source=embed_as_webp(written["png"]),
        width=_width(written["png"]),
        title=heading,
        shows=shows,
        alternative=f"{heading}. The numbers are in {table}.tsv.",
        id=f"figure-{stem}",
        table=table,
        files=tuple(
            (kind.upper(), f"{figures_dir.name}/{file.name}") for kind, file in written.items()
        ),
    )


def _width(png: Path) -> int:
    with Image.open(png) as picture:
        return round(picture.width / DPI * CSS_PIXELS_PER_INCH)


def read_tables(group_dir: Path) -> Iterator[Table]:
    """Read those tables of a comparison that were written and hold a row."""
    there = {name: group_dir / f"{name}.tsv" for name in TABLES}
    frames = {name: read_table(file).frame() for name, file in there.items() if file.exists()}
    chosen = {
        name: _arranged(_for_page(name, frame), TABLES[name]) for name, frame in frames.items()
    }
    sizes = {name: _n_characters(frame) for name, frame in chosen.items()}
    most = _most_characters(list(sizes.values()))
    for name, frame in chosen.items():
        if len(frame):
            shown = _first_rows(frame, int(len(frame) * min(1.0, most / sizes[name])))
            yield _as_table(name, shown, len(frames[name]))


def _for_page(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table that are meant for the page."""
    if "only" not in TABLES[name]:
        return frame
    column, value = TABLES[name]["only"]
    chosen: pd.DataFrame = frame[frame[column] == value]
    return chosen


def _n_characters(frame: pd.DataFrame) -> int:
    """About how much text a table's rows are in the page."""
    if frame.empty:
        return 0
    some = frame.iloc[np.unique(np.linspace(0, len(frame) - 1, N_MEASURED).astype(int))]
    rows = _shortened(some).to_numpy().tolist()
    return round(len(json.dumps(by_column(rows))) / len(rows) * len(frame))


def _most_characters(sizes: Sequence[int]) -> float:
    """How much text one table may be, so that all together are no more than a page holds."""
    left, n_left = float(MAX_CHARACTERS), len(sizes)
    for size in sorted(sizes):
        if size > left / n_left:
            return left / n_left
        left, n_left = left - size, n_left - 1
    return math.inf


def _first_rows(frame: pd.DataFrame, n: int) -> pd.DataFrame:
    """So many rows, the first of each region, subject and test, in their order."""
    if n >= len(frame):
        return frame
    within = [column for column in SORTED_WITHIN if column in frame]
    place = frame.groupby(within, sort=False).cumcount() if within else np.arange(len(frame))
    return frame.iloc[np.sort(np.argsort(np.asarray(place), kind="stable")[:n])]


def _as_table(name: str, frame: pd.DataFrame, n_in_file: int) -> Table:
    words = TABLES[name]
    note = words["note"]
    if len(frame) < n_in_file:
        only = " where {} is {}".format(*words["only"]) if "only" in words else ""
        note += f" The page holds {len(frame):,} of {n_in_file:,} rows{only}; the file has all."
    columns = []
    for column in frame.columns:
        said = COLUMNS.get(name, {}).get(column) or COLUMNS["any"].get(column, "")
        columns.append(Column(column, _holds_numbers(frame, column), said))
    rows = _shortened(frame).to_numpy().tolist()
    return Table(name, words["title"], note, tuple(columns), rows)


def _shortened(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with shortened numbers."""
    numeric = [column for column in frame.columns if _holds_numbers(frame, column)]
    return frame.assign(**{column: frame[column].map(shortened) for column in numeric})


def _arranged(frame: pd.DataFrame, words: Mapping[str, Any]) -> pd.DataFrame:
    """Sort rows by what matters, what matters first, without columns that hold nothing."""
    there = frame.columns[(frame != MISSING).any()]
    first = [column for column in words.get("first", ()) if column in there]
    columns = [*first, *(column for column in there if column not in first)]
    key = words.get("sort", "")
    by = key.lstrip("-")
    if by in columns:
        values = pd.to_numeric(frame[by], errors="coerce") * (-1 if key != by else 1)
        places = [pd.factorize(frame[column])[0] for column in SORTED_WITHIN if column in frame]
        frame = frame.iloc[np.lexsort((values, *reversed(places)))]
    return frame[columns]


def _holds_numbers(frame: pd.DataFrame, column: str) -> bool:
    if column in TEXT_COLUMNS:
        return False
    present = frame[column][frame[column] != MISSING]
    return bool(len(present)) and bool(pd.to_numeric(present, errors="coerce").notna().all())


def shortened(cell: str) -> str:
    """A number as text with four digits that count; whole numbers and n/a as they are."""
    if cell == MISSING or cell.lstrip("-").isdigit():
        return cell
    return f"{float(cell):.{DIGITS}g}"
