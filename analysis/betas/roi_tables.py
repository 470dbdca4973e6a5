"""Betas of regions in tables (TSV or CSV): a row per stimulus or trial, a column per voxel."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.betas.beta_index import (
    LEAVE_OUT,
    Request,
    behind_subject,
    by_subject,
    wanted_names,
    wanted_subjects,
)
from conceptrsa.analysis.betas.roi_files import ordered_regions
from conceptrsa.analysis.betas.single_trials import SubjectTrials, TrialFile, read_trials
from conceptrsa.analysis.betas.trial_arrays import array_in_memory
from conceptrsa.analysis.brain.patterns import SubjectPatterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import clean_name
from conceptrsa.bids_config.tsv import MISSING, TextTable, read_table
from conceptrsa.bids_config.writing import require_content

TABLE_SUFFIXES = (".tsv", ".csv")
OF_ROWS = ("subject", "stimulus", "session", "run", "repeat", "trial")
"""Columns that are no voxels."""

NUMBERED = re.compile(r"\d$")
VOXEL = re.compile(r"(?P<region>.+?)[_./: ](?P<voxel>\d+)")


def tables_of_subjects(path: Path) -> dict[str, list[Path]]:
    """Tables `sub-XX.csv` or `sub-XX_<roi>.csv` (or `.tsv`) in a folder, by subject."""
    return by_subject(file for file in path.glob("*") if file.suffix in TABLE_SUFFIXES)


def is_roi_table(file: Path) -> bool:
    """Tell whether a table has a column `stimulus` and columns of voxels, named by no stimulus."""
    if file.suffix not in TABLE_SUFFIXES or not file.is_file():
        return False
    table = read_table(file)
    others = {*table.columns} - {*OF_ROWS}
    return "stimulus" in table.columns and bool(others) and not others & {*table.column("stimulus")}


def read_roi_tables(want: Request) -> tuple[SubjectPatterns, ...]:
    """Read the tables of all subjects, or one table with a column `subject`.

    Columns are `stimulus`, one per voxel, and if wished `session`. Where a table is of one region,
    `sub-XX_<roi>.csv`, voxels may be called anything; else `<roi>_<number>`. Rows of one
    stimulus are its presentations, in their order.

    Raises
    ------
    InputError
        On a table without these columns, cells that are no numbers, or tables of one subject with
        different rows.
    """
    if want.path.is_file():
        tables = dict(_split(read_table(want.path), want.path))
    else:
        wanted = wanted_names(want)
        tables = {
            name: [
                (behind_subject(file) or None, read_table(_required(file)), None) for file in files
            ]
            for name, files in tables_of_subjects(want.path).items()
            if wanted is None or name in wanted
        }
    listed = [_list_subject(name, tables[name], want) for name in wanted_subjects(tables, want)]
    return read_trials(listed, want, None, zscore=False)


Part = tuple[str | None, TextTable, Sequence[int] | None]
"""Region that a table is of (None: its header says so), the table, and the rows that count."""


def _split(table: TextTable, file: Path) -> Iterator[tuple[str, list[Part]]]:
    table.require_columns(["subject", "stimulus"], "add them, or give one table per subject")
    rows: dict[str, list[int]] = {}
    for row, cell in enumerate(table.column("subject")):
        label = clean_name(cell).removeprefix("sub-")
        if label in ("", MISSING):
            raise InputError(f"{file}, line {table.lines[row]} has no subject: add it")
        rows.setdefault(f"sub-{label}", []).append(row)
    for name in sorted(rows):
        yield name, [(None, table, rows[name])]


def _required(file: Path) -> Path:
    require_content(file, LEAVE_OUT)
    return file


def _list_subject(name: str, parts: Sequence[Part], want: Request) -> SubjectTrials:
    arrays: dict[str, Floats] = {}
    first: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    for region, table, rows in parts:
        table.require_columns(["stimulus"], "name the rows in a column stimulus")
        taken = list(range(len(table.rows)) if rows is None else rows)
        names = table.column("stimulus")
        for row in taken:
            if names[row] in ("", MISSING):
                raise InputError(f"{table.file}, line {table.lines[row]} has no stimulus: add it")
        stimuli = [names[row] for row in taken]
        sessions = table.column("session") if "session" in table.columns else None
        named = tuple(stimuli), tuple("" if sessions is None else sessions[row] for row in taken)
        if first is not None and named != first:
            raise InputError(
                f"{table.file} has different rows from {parts[0][1].file.name}: give the tables of "
                "one subject the same stimuli in the same order"
            )
        first = named
        for roi, columns in _columns(table, region).items():
            if roi in arrays:
                raise InputError(f"{table.file} holds region {roi} of {name} again: keep one")
            arrays[roi] = table.numbers(columns, missing=True)[taken]
    assert first is not None
    source = parts[0][1].file
    rois = _places(arrays, ordered_regions([*arrays], want.rois, source))
    betas = np.concatenate([*arrays.values()], axis=1)
    trials = TrialFile(array_in_memory(source, lambda _: betas.T), *first)
    return SubjectTrials(name, [trials], [table.file for _, table, _ in parts[1:]], (), rois)


def _columns(table: TextTable, region: str | None) -> Mapping[str, list[str]]:
    """Columns of each region."""
    columns: dict[str, list[str]] = {}
    voxels = [column for column in table.columns if column not in OF_ROWS]
    other = next((column for column in voxels if not NUMBERED.search(column)), None)
    if region is not None and other is not None and any(map(NUMBERED.search, voxels)):
        raise InputError(
            f"{table.file} has the column {other!r} beside numbered voxels: remove it, or number "
            "it if it is a voxel"
        )
    for column in voxels:
        match = VOXEL.fullmatch(column)
        if region is None and match is None:
            raise InputError(
                f"{table.file} has the column {column!r}, which names no region: name voxels "
                "<region>_<number>, or give one table per region, sub-01_V1.csv"
            )
        columns.setdefault(region or (match["region"] if match else ""), []).append(column)
    if not columns:
        raise InputError(f"{table.file} has no columns of voxels: add one for each voxel")
    return columns


def _places(arrays: Mapping[str, Floats], chosen: Sequence[str]) -> dict[str, Integers]:
    """Find the columns of each chosen region's voxels."""
    ends = np.cumsum([array.shape[1] for array in arrays.values()])
    places = {
        roi: np.arange(end - array.shape[1], end)
        for (roi, array), end in zip(arrays.items(), ends, strict=True)
    }
    return {roi: places[roi] for roi in chosen}
