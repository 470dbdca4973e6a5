"""The tables beside the page, as the page shows them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptrsa.bids_config.tsv import MISSING, read_table

N_SHOWN = 25
"""Rows that are in the page as a table from the start; a script adds the others on demand."""

MAX_ROWS = 20_000
"""Rows of one table that a page can hold."""

DIGITS = 4

TEXT_COLUMNS = frozenset({
    "subject", "roi", "model", "group", "group_a", "group_b", "reference", "score", "test",
    "figure", "rdm_metric", "rsa_metric", "voxel_selection", "selection", "part",
    "given", "correlation", "withheld", "circular", "primary", "quantity", "published", "agrees",
})  # fmt: skip
"""Columns that hold names, even where a name looks like a number."""


@dataclass(frozen=True)
class Description:
    """What a table holds.

    Attributes
    ----------
    name : str
        Of its file, without the suffix.
    title, note : str
    only : tuple of str
        A column and the value that rows must have there to be in the page; empty for all rows.
    """

    name: str
    title: str
    note: str
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """A column's name, and whether it holds numbers."""

    name: str
    numeric: bool


@dataclass(frozen=True)
class Table:
    """A table in the page.

    Attributes
    ----------
    description : Description
    columns : tuple of Column
    rows : list of list of str
        All rows of the page.
    n_in_file : int
    """

    description: Description
    columns: tuple[Column, ...]
    rows: list[list[str]]
    n_in_file: int

    @property
    def first_rows(self) -> list[list[str]]:
        """Rows that are there without a script."""
        return self.rows[:N_SHOWN]

    @property
    def note(self) -> str:
        """What it holds, and what of its file is not in the page."""
        if len(self.rows) == self.n_in_file:
            return self.description.note
        only = " where {} is {}".format(*self.description.only) if self.description.only else ""
        return (
            f"{self.description.note} The page holds {len(self.rows):,} of {self.n_in_file:,} rows"
            f"{only}; the file has all."
        )


DESCRIPTIONS = (
    Description(
        "published_check",
        "Against the published numbers",
        "What the paper says and what was found; agrees: to as many digits as the paper gives, "
        "n/a where that cannot be said.",
    ),
    Description(
        "scores",
        "Scores of the models",
        "Mean score with its 95 % interval for new subjects and new stimuli; standard errors by "
        "bootstrap; p by permutation of the stimuli's labels: alone, by the largest statistic, by "
        "false discovery rate; share of the noise ceiling, or why there is none.",
    ),
    Description(
        "ceilings",
        "Noise ceilings",
        "The mean of each subject's RDM compared with the others', and Nili's bounds, with 95 % "
        "intervals.",
    ),
    Description(
        "group_tests",
        "Groups of models against each other",
        "The mixed model is the test; rows that begin with 'screen' ask whether neither group is "
        "related to the brain. p_corrected: by false discovery rate over all rows of the same "
        "kind; p_max: by the largest statistic.",
    ),
    Description(
        "model_tests",
        "Models against zero and against each other",
        "Random effects are the test of one model against another; rows that begin with 'screen' "
        "ask whether neither is related to the brain. p_floor is the smallest p that a test can "
        "give.",
    ),
    Description(
        "variance_partition",
        "What groups of models explain, alone and together",
        "Shares of the variance of whitened RDMs.",
    ),
    Description(
        "partial_rsa",
        "Models beyond another group",
        "Partial correlations, the models of 'given' partialled out.",
    ),
    Description(
        "rsa",
        "Scores of every subject",
        "rsa_normalised is the score divided by this subject's ceiling.",
    ),
    Description("voxel_counts", "Voxels of each region", "Means over folds."),
    Description(
        "coverage",
        "Voxels without betas",
        "In each subject, and in any of them where all have the same region.",
    ),
    Description("table_1", "The paper's Table 1", "Voxels above a threshold, by region."),
    Description(
        "noise_ceilings",
        "Noise ceiling by number of voxels",
        "The numbers of Figure 1.",
        ("selection", "top"),
    ),
    Description("rsa_variants", "Scores of Figures 4 to 7", "Every subject's."),
    Description(
        "multiverse",
        "Every choice of voxels, distance and comparison",
        "rank 1 is the highest score of a region; primary marks the choices declared beforehand.",
    ),
)
"""Tables in the order of the page."""


def read_tables(group_dir: Path) -> Iterator[Table]:
    """Read those tables of a comparison that were written."""
    for description in DESCRIPTIONS:
        file = group_dir / f"{description.name}.tsv"
        if file.exists():
            yield _read(file, description)


def _read(file: Path, description: Description) -> Table:
    frame = read_table(file).frame()
    n_in_file = len(frame)
    if description.only:
        column, value = description.only
        frame = frame[frame[column] == value]
    frame = frame.head(MAX_ROWS)
    numeric = [name not in TEXT_COLUMNS and _is_numeric(frame[name]) for name in frame.columns]
    columns = [
        frame[name].map(shortened).tolist() if is_number else frame[name].tolist()
        for name, is_number in zip(frame.columns, numeric, strict=True)
    ]
    return Table(
        description,
        tuple(
            Column(name, is_number) for name, is_number in zip(frame.columns, numeric, strict=True)
        ),
        [list(row) for row in zip(*columns, strict=True)],
        n_in_file,
    )


def _is_numeric(cells: pd.Series) -> bool:
    present = cells[cells != MISSING]
    return bool(len(present)) and bool(pd.to_numeric(present, errors="coerce").notna().all())


def shortened(cell: str) -> str:
    """A number as text with four digits that count; whole numbers and n/a as they are."""
    if cell == MISSING or cell.lstrip("-").isdigit():
        return cell
    return f"{float(cell):.{DIGITS}g}"
