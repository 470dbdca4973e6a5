"""The stimuli of an experiment: pictures named by stimulus id, and what they show."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from conceptrsa.analysis.files.pictures import check_picture, load_picture
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import map_on_threads
from conceptrsa.bids_config.names import (
    PICTURE_ENDINGS,
    require_names,
    some_of,
    stimulus_id,
    warn_of_case,
)
from conceptrsa.bids_config.reader import read_labels
from conceptrsa.bids_config.tsv import table_at
from conceptrsa.bids_config.writing import require_content

__all__ = [
    "Stimulus",
    "StimulusPictures",
    "find_pictures",
    "find_stimulus_pictures",
    "load_picture",
    "read_stimuli",
]

log = logging.getLogger(__name__)

LABELS_FILE = "labels.tsv"

UNREADABLE = frozenset({
    ".arw", ".avif", ".cr2", ".cr3", ".dng", ".exr", ".heic", ".heif", ".hif", ".jxl", ".jxr",
    ".nef", ".orf", ".raf", ".rw2", ".svg", ".svgz",
})  # fmt: skip
"""Endings of files that are surely pictures, in formats that Pillow may not read."""

OF_SYSTEMS = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini"})
"""Files that operating systems leave in folders of pictures."""


@dataclass(frozen=True)
class Stimulus:
    """One picture; `id` is the stem of its file, `label` the noun phrase that names it."""

    id: str
    image: Path
    label: str | None = None


@dataclass(frozen=True)
class StimulusPictures:
    """How stimuli are shown to a reader.

    Attributes
    ----------
    pictures : mapping of str to Path
        Files by stimulus id, which may turn out to be unreadable.
    labels : mapping of str to str
        Noun phrases by stimulus id.
    notes : tuple of str
        What was looked for and could not be found.
    """

    pictures: Mapping[str, Path] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, stimuli: Iterable[Stimulus]) -> "StimulusPictures":
        """Take pictures and labels of stimuli that were read."""
        stimuli = tuple(stimuli)
        return cls(
            {stimulus.id: stimulus.image for stimulus in stimuli},
            {stimulus.id: stimulus.label for stimulus in stimuli if stimulus.label},
        )


def find_stimulus_pictures(
    directory: Path | None, labels_file: Path | None = None
) -> StimulusPictures:
    """Find what a report can show of stimuli, without looking into the pictures.

    What is wrong in the folder ends no comparison, since no number depends on it.

    Parameters
    ----------
    directory : Path, optional
        Folder of pictures, with `labels.tsv` or `labels.csv` where there are labels.
    labels_file : Path, optional
        Table of labels, where the folder has none.

    Raises
    ------
    InputError
        If there is no such folder.
    """
    if directory is not None:
        _require_folder(directory)
    pictures: Mapping[str, Path] = {}
    labels: Mapping[str, str] = {}
    notes = []
    try:
        if directory is not None:
            own = table_at(directory / LABELS_FILE)
            labels_file = own if own.exists() else labels_file
            pictures = find_pictures(directory)
    except InputError as error:
        notes.append(f"No pictures are shown: {error}")
    try:
        if labels_file is not None:
            labels = read_labels(labels_file)
    except InputError as error:
        notes.append(f"No labels are shown: {error}")
    return StimulusPictures(pictures, labels, tuple(notes))


def read_stimuli(
    directory: str | Path, labels_file: str | Path | None = None
) -> tuple[Stimulus, ...]:
    """Find the pictures of a folder and the labels that belong to them.

    Parameters
    ----------
    directory : str or Path
        Folder of pictures `<stimulus id>.<extension>`, in any format that Pillow reads; other
        files and folders are named in a warning.
    labels_file : str or Path, optional
        Tab-separated table with the columns `stimulus` and `label`; rows of stimuli without a
        picture are passed over. By default `labels.tsv` or `labels.csv` in the folder.

    Returns
    -------
    tuple of Stimulus
        Sorted by id.

    Raises
    ------
    InputError
        No such folder, no picture in it, two pictures with one id, a picture that cannot be
        read, also for its format, or a bad table of labels.
    """
    folder = Path(directory)
    pictures = find_pictures(folder)
    require_names(pictures, "stimulus", folder)
    warn_of_case(pictures, "stimulus", folder)
    table = Path(labels_file) if labels_file is not None else table_at(folder / LABELS_FILE)
    require_content(table)
    labels = read_labels(table) if labels_file is not None or table.exists() else {}
    n_frames = map_on_threads(check_picture, pictures.values())
    several = [path.name for path, n in zip(pictures.values(), n_frames, strict=True) if n > 1]
    if several:
        named = some_of(several)
        log.warning("%s: only the first of several frames or pages is used: %s", folder, named)
    _name_others(folder, {*pictures.values(), table, folder / LABELS_FILE})
    return tuple(Stimulus(id_, pictures[id_], labels.get(id_)) for id_ in sorted(pictures))


def find_pictures(folder: Path) -> dict[str, Path]:
    """Find the pictures of a folder by stimulus id, without looking into them.

    Raises
    ------
    InputError
        If there is no such folder or no picture in it, two have one id, or the only picture of a
        stimulus is in a format that cannot be read.
    """
    _require_folder(folder)
    readable = _readable_endings()
    pictures: dict[str, Path] = {}
    for path in _files(folder):
        if path.name.startswith(".") or path.suffix.lower() not in readable:
            continue
        name = stimulus_id(path.name, is_file=True)
        if name in pictures:
            raise InputError(
                f"{path} and {pictures[name].name} are both called stimulus '{name}': "
                "remove or rename one of them."
            )
        pictures[name] = path
    for path in _files(folder):
        if path.suffix.lower() not in UNREADABLE - readable:
            continue
        if stimulus_id(path.name, is_file=True) not in pictures:
            raise InputError(
                f"{path} has a picture format that cannot be read: save it as PNG, or remove it."
            )
    if not pictures:
        folders = [path.name for path in sorted(folder.iterdir()) if path.is_dir()]
        inside = f" itself, only folders ({folders[0]} ...)" if folders else ""
        raise InputError(
            f"{folder} holds no picture{inside}: put <stimulus id>.png (or .jpg ...) there."
        )
    return pictures


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder that holds the pictures.")


def _files(folder: Path) -> list[Path]:
    """Files of a folder, without those of operating systems."""
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.is_dir() and path.name.lower() not in OF_SYSTEMS and path.name[:2] != "._"
    ]


def holds_pictures(folder: Path) -> bool:
    """Whether a folder holds a file that by its name is a picture."""
    endings = _readable_endings()
    return any(path.suffix.lower() in endings for path in _files(folder))


def _readable_endings() -> frozenset[str]:
    """Endings of pictures that this version of Pillow opens."""
    Image.init()
    opened = {ending for ending, kind in Image.EXTENSION.items() if kind in Image.OPEN} | {".mpo"}
    return frozenset(f".{ending}" for ending in PICTURE_ENDINGS) & opened


def _name_others(folder: Path, used: Collection[Path]) -> None:
    """Name what lies in a folder and is neither a picture nor a table of labels."""
    endings = _readable_endings() | UNREADABLE
    others = [
        path.name
        for path in _files(folder)
        if path not in used and (path.name[0] != "." or path.suffix.lower() in endings)
    ]
    others += [f"{p.name}/" for p in sorted(folder.iterdir()) if p.is_dir() and p.name[0] != "."]
    if others:
        log.warning("%s: not used as pictures: %s", folder, some_of(others))
