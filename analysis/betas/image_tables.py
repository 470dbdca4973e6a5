"""Tables that list betas: one of the files of all subjects, or one of the volumes of a file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from conceptrsa.analysis.betas.beta_index import (
    BetaImage,
    Request,
    SubjectImages,
    wanted_subjects,
)
from conceptrsa.analysis.betas.volumes import load_volume, n_volumes_of
from conceptrsa.analysis.brain.patterns import Half
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import (
    VOLUME_SUFFIXES,
    clean_name,
    require_distinct,
    stimulus_id,
    stimulus_ids,
)
from conceptrsa.bids_config.tsv import MISSING, read_table
from conceptrsa.bids_config.writing import require_content

NEEDED = ("subject", "stimulus", "file")
ALLOWED = (*NEEDED, "run", "half", "volume")
HALVES: dict[str, Half | None] = {"odd": "odd", "even": "even", "": None}


def list_table(want: Request) -> Iterator[SubjectImages]:
    """List the volumes of a table, TSV or CSV.

    Its columns are subject (with or without `sub-`), stimulus and file (relative to the table's
    folder); if wished run, half (odd or even) and volume (from 0, of a 4D file).

    Raises
    ------
    InputError
        On a table without these columns or with others, or a cell that cannot be read.
    """
    images = read_image_table(want.path)
    for name in wanted_subjects(images, want):
        yield SubjectImages(name, images[name], tables=(want.path,))


def read_image_table(table: Path) -> dict[str, list[BetaImage]]:
    """Read the images of each subject `sub-XX` that a table lists; see `list_table`."""
    listed = read_table(table)
    for column in (*NEEDED, *listed.columns):
        if column not in listed.columns or column not in ALLOWED:
            raise InputError(
                f"{table} needs the columns {', '.join(NEEDED)}, optionally run, half and volume, "
                f"each once: correct the column {column!r}"
            )
    if not listed.rows:
        raise InputError(f"{table} lists no beta: add a row for each")
    stimulus_ids(listed.column("stimulus"), table)
    images: dict[str, list[BetaImage]] = {}
    for line, row in zip(listed.lines, listed.rows, strict=True):
        cells = dict.fromkeys(ALLOWED, "") | {
            column: "" if value == MISSING else value
            for column, value in zip(listed.columns, row, strict=True)
        }
        for column in NEEDED:
            if not cells[column]:
                raise InputError(f"{table}, row {line} has no {column}: add it")
        volume, half = cells["volume"], cells["half"]
        if volume and not volume.isdecimal():
            raise InputError(
                f"{table}, row {line}: volume {volume!r} is not a whole number: number volumes "
                "from 0"
            )
        if half not in HALVES:
            raise InputError(f"{table}, row {line}: half is {half!r}; write odd or even")
        image = BetaImage(
            stimulus=stimulus_id(cells["stimulus"]),
            file=table.parent / cells["file"],
            volume=int(volume) if volume else None,
            run=cells["run"] or None,
            half=HALVES[half],
        )
        name = f"sub-{clean_name(cells['subject']).removeprefix('sub-')}"
        images.setdefault(name, []).append(image)
    return images


def table_beside(betas_file: Path) -> Path:
    """Path of the table that names the volumes of a file."""
    suffix = next(suffix for suffix in VOLUME_SUFFIXES if betas_file.name.endswith(suffix))
    return betas_file.with_name(betas_file.name.removesuffix(suffix) + ".tsv")


def named_volumes(
    betas_file: Path, run: str | None = None, half: Half | None = None
) -> list[BetaImage]:
    """The volumes of a file, named by the `.tsv` beside it (columns volume and stimulus).

    Raises
    ------
    InputError
        If there is no such table, it does not name each volume once, or names a stimulus twice.
    """
    table = table_beside(betas_file)
    stimuli = read_volume_table(table)
    n_volumes = n_volumes_of(load_volume(betas_file))
    if len(stimuli) != n_volumes:
        raise InputError(
            f"{table} names {len(stimuli)} stimuli but {betas_file.name} holds {n_volumes} "
            "volumes: write both again (with the participant level, if it made them)"
        )
    return [
        BetaImage(stimulus, betas_file, volume, run, half)
        for volume, stimulus in enumerate(stimuli)
    ]


def read_volume_table(file: Path) -> list[str]:
    """Read the stimuli that a table names, in the order of the volumes; see `named_volumes`."""
    require_content(file)
    if not file.exists():
        raise InputError(
            f"{file} is missing, which names the volumes of the betas: run the participant level "
            "again, or write it (columns volume, from 0, and stimulus)"
        )
    table = read_table(file)
    table.require_columns(["volume", "stimulus"], "make it again")
    volumes = table.numbers(["volume"])[:, 0]
    if sorted(volumes) != list(range(len(volumes))):
        raise InputError(
            f"{file} must number each volume once, from 0 without gaps: write it again"
        )
    names = stimulus_ids(table.column("stimulus"), file)
    require_distinct(names, f"{file} names the stimulus", "keep one beta of each")
    return [names[row] for row in np.argsort(volumes)]
