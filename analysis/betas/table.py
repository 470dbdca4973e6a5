"""Betas that a table lists: subject, stimulus, file, and if wished run, half and volume."""

from collections.abc import Sequence
from pathlib import Path

from conceptrsa.analysis.betas.beta_images import BetaImage, read_beta_images, wanted_subjects
from conceptrsa.analysis.betas.volumes import regions_by_subject
from conceptrsa.analysis.brain.patterns import Half, SubjectPatterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import clean_name, stimulus_id, stimulus_ids
from conceptrsa.bids_config.schema import RoiDefinition
from conceptrsa.bids_config.tsv import read_table

NEEDED = ("subject", "stimulus", "file")
ALLOWED = (*NEEDED, "run", "half", "volume")
MISSING = ("", "n/a")


def read_betas_table(
    table: Path,
    rois: Sequence[RoiDefinition],
    atlas: Path,
    *,
    participants: Sequence[str] | None = None,
    with_runs: bool = False,
    ignore_place: bool = False,
) -> tuple[SubjectPatterns, ...]:
    """Read the volumes that a tab-separated table lists.

    Parameters
    ----------
    table : Path
        Columns subject (with or without `sub-`), stimulus and file (relative to the table's
        folder); if wished run, half (odd or even) and volume (from 0, of a 4D file). See
        `read_beta_images` for what becomes of runs and halves.
    rois : sequence of RoiDefinition
    atlas : Path
        Label volume on the betas' grid; see `regions_by_subject`.
    participants : sequence of str, optional
        All by default.
    with_runs : bool
        Whether the betas of each run are kept.
    ignore_place : bool
        See `regions_by_subject`.

    Raises
    ------
    InputError
        On a table without these columns or with others, a stimulus that a subject has twice in a
        run, a file that is missing, unreadable or on another grid.
    """
    images = _read_table(table)
    regions_of = regions_by_subject(atlas, rois, ignore_place)
    return tuple(
        read_beta_images(
            name.removeprefix("sub-"),
            images[name],
            regions_of(name.removeprefix("sub-")),
            with_runs=with_runs,
            tables=(table,),
        )
        for name in wanted_subjects(images, participants, table)
    )


def _read_table(table: Path) -> dict[str, list[BetaImage]]:
    listed = read_table(table)
    for column in (*NEEDED, *listed.columns):
        if column not in listed.columns or column not in ALLOWED:
            raise InputError(
                f"{table} needs the tab-separated columns {', '.join(NEEDED)}, and if wished run, "
                f"half and volume, each once: see to the column {column!r}"
            )
    if not listed.rows:
        raise InputError(f"{table} lists no beta: add a row for each")
    stimulus_ids(listed.column("stimulus"), table)
    images: dict[str, list[BetaImage]] = {}
    for line, row in zip(listed.lines, listed.rows, strict=True):
        cells = {
            column: "" if value in MISSING else value
            for column, value in zip(listed.columns, row, strict=True)
        }
        for column in NEEDED:
            if not cells[column]:
                raise InputError(f"{table}, row {line} has no {column}: add it")
        name = f"sub-{clean_name(cells['subject']).removeprefix('sub-')}"
        images.setdefault(name, []).append(_image(table, line, cells))
    return images


def _image(table: Path, line: int, cells: dict[str, str]) -> BetaImage:
    volume = cells.get("volume", "")
    if volume and not volume.isdecimal():
        raise InputError(f"{table}, row {line}: volume {volume!r} is no whole number from 0 on")
    half: Half | None = None
    match cells.get("half", ""):
        case "odd":
            half = "odd"
        case "even":
            half = "even"
        case "":
            pass
        case other:
            raise InputError(f"{table}, row {line}: half is {other!r}; write odd or even")
    return BetaImage(
        stimulus=stimulus_id(cells["stimulus"]),
        file=table.parent / cells["file"],
        volume=int(volume) if volume else None,
        run=cells.get("run") or None,
        half=half,
    )
