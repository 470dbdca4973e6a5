"""Tables of an atlas' labels: which number has which name, as people have them."""

import csv
import glob
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import (
    SUBJECT_PLACE,
    VOLUME_SUFFIXES,
    clean_name,
    require_names,
    warn_once,
)
from conceptrsa.bids_config.region_choice import LabelTable
from conceptrsa.bids_config.tsv import read_text

TABLE_SUFFIXES = (".tsv", ".csv", ".txt", ".lut", ".ctab", ".xml")
FREESURFER_TABLE = "FreeSurferColorLUT.txt"

NUMBERS = (
    "index", "id", "label_id", "labelid", "roi_id", "region_id", "parcel_id", "key", "value",
    "intensity", "number", "no", "component", "label", "roi", "region", "parcel",
)  # fmt: skip
NAMES = (
    "name", "label_name", "labelname", "roi_name", "region_name", "parcel_name", "structure_name",
    "difumo_names", "label", "region", "roi", "parcel", "structure", "abbreviation",
)  # fmt: skip
SIDES = ("hemisphere", "hemi", "side", "laterality")
"""Columns of numbers, names and hemispheres, in small letters; the first that fits is taken."""

OUTSIDE = re.compile(
    r"back|bkg|un(known|labell?ed|classified|defined|assigned)|n/?a\b|none|clear|outside|exterior|empty"
    r"|null|nothing|no[ _-]|zero|wall|[?*]|^\W*$|^0$",
    re.IGNORECASE,
)
"""Names that label 0 has where it is named; others tell of a table that counts from 0."""
WHOLE_NUMBER = re.compile(r"\d+(\.0+)?")


def read_label_table(file: Path, n_maps: int | None = None) -> LabelTable:
    """Read a label table: BIDS' `dseg.tsv`, FreeSurfer's LUT, FSL's XML, or a TSV or CSV.

    Where names are the same in both hemispheres and a column tells these (`hemisphere`), names
    begin with it: `L_V1`.

    Parameters
    ----------
    file : Path
    n_maps : int, optional
        Of a 4D atlas: labels are the numbers of its maps, and become those counted from 1.

    Raises
    ------
    InputError
        On a file that cannot be read, holds no column of whole numbers or no column of names, or
        does not fit the number of maps.
    """
    listed = _read_xml(file) if file.suffix == ".xml" else _read_columns(file)
    if n_maps is not None:
        listed = _counted_from_one(file, listed, n_maps)
    labels: dict[str, tuple[int, ...]] = {}
    names: dict[int, str] = {}
    for label, name in listed:
        if label == 0:
            if not OUTSIDE.search(name):
                warn_once(
                    f"{file} calls the label 0 {name!r}, but 0 is outside all regions: if the "
                    "table counts from 0 and the atlas from 1, add 1 to its numbers"
                )
            continue
        if names.setdefault(label, name) != name:
            raise InputError(
                f"{file} calls the label {label} {names[label]!r} and {name!r}: keep one row"
            )
        if label not in labels.get(name, ()):
            labels[name] = (*labels.get(name, ()), label)
    require_names(labels, "label", file)
    return LabelTable(file, labels)


def _read_columns(file: Path) -> list[tuple[int, str]]:
    rows = _read_rows(file)
    side = None
    if rows and WHOLE_NUMBER.fullmatch(rows[0][0]) and len(rows[0]) > 1:
        number, name = 0, 1  # FreeSurfer's, without a header: number, name, colour
    elif len(rows) > 1:
        header, rows = rows[0], rows[1:]
        number, name, side = _find_columns(file, header, rows)
    else:
        raise InputError(
            f"{file} holds no label table: give the columns index and name, and a row per label"
        )
    listed, sides = [], []
    for place, row in enumerate(rows, start=1):
        cells = [
            row[column] if column is not None and column < len(row) else ""
            for column in (number, name, side)
        ]
        if not WHOLE_NUMBER.fullmatch(cells[0]) or not clean_name(cells[1]):
            raise InputError(
                f"{file} has {' '.join(row)!r} as its label {place}: write a whole number and a "
                "name"
            )
        listed.append((int(float(cells[0])), clean_name(cells[1])))
        sides.append(clean_name(cells[2]))
    names = {called for _, called in listed}
    if len({(called, side) for (_, called), side in zip(listed, sides, strict=True)}) > len(names):
        return [
            (label, f"{side}_{called}" if side else called)
            for (label, called), side in zip(listed, sides, strict=True)
        ]
    return listed


def _read_xml(file: Path) -> list[tuple[int, str]]:
    """Labels of FSL's and SPM's atlases.

    An index of FSL's is the place of a map, counted from 0, of which the label is one more; or, as
    the header of the JHU's and Talairach's atlases says, the label itself.
    """
    try:
        root = ElementTree.fromstring(read_text(file))
    except ElementTree.ParseError as error:
        raise InputError(f"{file} is not XML ({error}): download it again") from error
    shift = 0 if root.findtext(".//header/type", "").strip().casefold() == "label" else 1
    listed = []
    for label in root.findall(".//label"):
        index = label.get("index")
        number = (label.findtext("index", "") if index is None else index).strip()
        name = clean_name(label.findtext("name", label.text or ""))
        if not number.isdecimal() or not name:
            raise InputError(f"{file} has a label without a number or name: download it again")
        listed.append((int(number) + (0 if index is None else shift), name))
    if not listed:
        raise InputError(f"{file} holds no label table: give FSL's XML, or a TSV or CSV file")
    return listed


def _counted_from_one(
    file: Path, listed: Sequence[tuple[int, str]], n_maps: int
) -> list[tuple[int, str]]:
    """Labels of maps by their places in the file, where the table counts from 0 or from 1."""
    numbers = [label for label, _ in listed]
    if min(numbers) == 0 and max(numbers) == n_maps - 1:
        return [(label + 1, name) for label, name in listed]
    if max(numbers) > n_maps:
        raise InputError(
            f"{file} names a map {max(numbers)}, but its atlas holds {n_maps}: give the table that "
            "belongs to it"
        )
    return list(listed)


def table_beside(atlas: Path) -> Path | None:
    """Find the label table of an atlas in its folder; None if there is none.

    It is called as the atlas, or so that each part of its name (between `_`) is one of the
    atlas' name: `atlas-Schaefer_dseg.tsv` is of `atlas-Schaefer_res-02_dseg.nii.gz`. For an atlas
    of each subject, with `{subject}` in its name, all have the same table.

    Raises
    ------
    InputError
        On tables of subjects that differ.
    """
    found = [table for file in files_of_atlas(atlas) if (table := _table_of(file))]
    for other in found[1:]:
        if other.read_bytes() != found[0].read_bytes():
            raise InputError(
                f"{found[0]} and {other} are different label tables: give one for all subjects "
                "with --atlas-labels FILE"
            )
    return found[0] if found else None


def files_of_atlas(atlas: Path) -> list[Path]:
    """An atlas, or where `{subject}` stands in its name, that of each subject."""
    if SUBJECT_PLACE not in str(atlas):
        return [atlas]
    below = str(atlas.relative_to(atlas.anchor)).split(SUBJECT_PLACE)
    return sorted(Path(atlas.anchor).glob("*".join(map(glob.escape, below))))


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
) -> tuple[int, int, int | None]:
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
    sides = [columns.index(known) for known in SIDES if known in columns]
    return numbers[0], names[0], sides[0] if sides else None
