"""Tables of an atlas' labels: which number has which name, as people have them."""

import csv
import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.analysis.betas.volumes import SUBJECT_PLACE, VOLUME_SUFFIXES
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import clean_name, require_names
from conceptrsa.bids_config.tsv import read_text

TABLE_SUFFIXES = (".tsv", ".csv", ".txt", ".lut", ".ctab")
FREESURFER_TABLE = "FreeSurferColorLUT.txt"

NUMBERS = (
    "index", "id", "label_id", "labelid", "roi_id", "region_id", "parcel_id", "key", "value",
    "intensity", "number", "no", "label", "roi", "region", "parcel",
)  # fmt: skip
NAMES = (
    "name", "label_name", "labelname", "roi_name", "region_name", "parcel_name", "structure_name",
    "label", "region", "roi", "parcel", "structure", "abbreviation",
)  # fmt: skip
"""Columns of the numbers and of the names, in small letters; the first that fits is taken."""

WHOLE_NUMBER = re.compile(r"\d+(\.0+)?")
GIVE_TABLE = "give its label table by --atlas-labels FILE"


@dataclass(frozen=True)
class LabelTable:
    """Names of labels.

    Attributes
    ----------
    file : Path
    labels : mapping of str to tuple of int
        By name, in the order of the table; labels of one name belong together. Without 0, which
        is what lies outside.
    """

    file: Path
    labels: Mapping[str, tuple[int, ...]]


def read_label_table(file: Path) -> LabelTable:
    """Read a label table: BIDS' `dseg.tsv`, FreeSurfer's LUT, or a TSV or CSV as nilearn writes.

    Raises
    ------
    InputError
        On a file that cannot be read, or holds no column of whole numbers or no column of names.
    """
    rows = _read_rows(file)
    if rows and WHOLE_NUMBER.fullmatch(rows[0][0]) and len(rows[0]) > 1:
        number, name = 0, 1  # FreeSurfer's, without a header: number, name, colour
    elif len(rows) > 1:
        header, rows = rows[0], rows[1:]
        number, name = _find_columns(file, header, rows)
    else:
        raise InputError(
            f"{file} holds no label table: give the columns index and name, and a row a label"
        )
    labels: dict[str, tuple[int, ...]] = {}
    names: dict[int, str] = {}
    for place, row in enumerate(rows, start=1):
        cells = [row[column] if column < len(row) else "" for column in (number, name)]
        if not WHOLE_NUMBER.fullmatch(cells[0]) or not clean_name(cells[1]):
            raise InputError(
                f"{file} has {' '.join(row)!r} as its label {place}: write a whole number and a "
                "name"
            )
        label, called = int(float(cells[0])), clean_name(cells[1])
        if label == 0:
            continue
        if names.setdefault(label, called) != called:
            raise InputError(
                f"{file} calls the label {label} {names[label]!r} and {called!r}: keep one row"
            )
        if label not in labels.get(called, ()):
            labels[called] = (*labels.get(called, ()), label)
    require_names(labels, "label", file)
    return LabelTable(file, labels)


def table_beside(atlas: Path) -> Path | None:
    """Find the label table of an atlas in its folder; None where there is none.

    It is called as the atlas, or so that each part of its name (between `_`) is one of the
    atlas' name: `atlas-Schaefer_dseg.tsv` is of `atlas-Schaefer_res-02_dseg.nii.gz`. For an atlas
    of each subject, with `{subject}` in its name, all have the same table.

    Raises
    ------
    InputError
        On tables of subjects that differ.
    """
    files = [atlas]
    if SUBJECT_PLACE in str(atlas):
        below = str(atlas.relative_to(atlas.anchor)).split(SUBJECT_PLACE)
        files = sorted(Path(atlas.anchor).glob("*".join(map(glob.escape, below))))
    found = [table for file in files if (table := _table_of(file))]
    for other in found[1:]:
        if other.read_bytes() != found[0].read_bytes():
            raise InputError(
                f"{found[0]} and {other} are different label tables: give one for all subjects by "
                "--atlas-labels FILE"
            )
    return found[0] if found else None


def _table_of(atlas: Path) -> Path | None:
    suffix = next((end for end in VOLUME_SUFFIXES[::-1] if atlas.name.endswith(end)), "")
    if not atlas.parent.is_dir():
        return None
    parts = {*atlas.name.removesuffix(suffix).split("_")}
    found: dict[int, Path] = {}
    for file in sorted(atlas.parent.iterdir()):
        of_file = {*file.stem.split("_")}
        if file.suffix in TABLE_SUFFIXES and of_file <= parts:
            found.setdefault(len(of_file), file)
    freesurfer = atlas.with_name(FREESURFER_TABLE)
    if not found and freesurfer.is_file() and "aseg" in atlas.name:
        return freesurfer
    return found[max(found)] if found else None


def _read_rows(file: Path) -> list[list[str]]:
    """Cells of each line with content, but for remarks after `#`."""
    lines = [line for line in read_text(file).splitlines() if line.strip(" \t,;")]
    lines = [line for line in lines if not line.lstrip().startswith("#")]
    if not lines:
        return []
    sign = next((sign for sign in "\t,;" if sign in lines[0]), None)
    if sign is None:
        return [line.split() for line in lines]
    if sign == "\t":
        return [[cell.strip().strip('"') for cell in line.split(sign)] for line in lines]
    cells = csv.reader(lines, delimiter=sign, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in cells]


def _find_columns(
    file: Path, header: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[int, int]:
    columns = [re.sub(r"[^a-z0-9]+", "_", cell.casefold()).strip("_") for cell in header]

    def are_numbers(column: int) -> bool:
        return all(len(row) > column and WHOLE_NUMBER.fullmatch(row[column]) for row in rows)

    numbers = [
        columns.index(known)
        for known in NUMBERS
        if known in columns and are_numbers(columns.index(known))
    ]
    names = [
        columns.index(known)
        for known in NAMES
        if known in columns and not are_numbers(columns.index(known))
    ]
    if not numbers or not names:
        lacking = "names (name, label)" if numbers else "whole numbers (index, id, label)"
        raise InputError(
            f"{file} has no column of {lacking} among {', '.join(header)}: name the columns index "
            "and name"
        )
    return numbers[0], names[0]
