"""Features of stimuli in a folder: one file a model, and `models.tsv` that lists them."""

import csv
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.models.registry import GROUPS, Group
from bids_config.errors import InputError
from bids_config.files import atomic_path

MODELS_TABLE = "models.tsv"


@dataclass(frozen=True)
class Features:
    """What one model makes of every stimulus.

    Attributes
    ----------
    model : str
        Name of the model.
    group : {'multimodal', 'visual', 'language'}
        What it was trained on.
    stimuli : tuple of str
        Stimulus ids.
    values : ndarray of float64, (stimuli, features)
        A row a stimulus, in the order of `stimuli`.
    note : str
        What a reader of a result should know about the model.
    weights_sha256 : mapping of str to str
        SHA-256 of the files of weights by name, where the features come from the zoo.
    """

    model: str
    group: Group
    stimuli: tuple[str, ...]
    values: NDArray[np.float64]
    note: str = ""
    weights_sha256: Mapping[str, str] = field(default_factory=dict)


def write_features(features: Sequence[Features], directory: str | Path) -> None:
    """Write `<model>.npz` (stimulus, features) a model, and `models.tsv` (model, group, note).

    Characters that a file name cannot hold are written as `%` and their hexadecimal code.
    """
    folder = Path(directory)
    for model in features:
        with atomic_path(folder / f"{file_stem(model.model)}.npz") as path:
            np.savez_compressed(path, stimulus=np.array(model.stimuli), features=model.values)
    with atomic_path(folder / MODELS_TABLE) as path, path.open("w", encoding="utf-8") as opened:
        opened.write("model\tgroup\tnote\n")
        opened.writelines(f"{m.model}\t{m.group}\t{m.note or 'n/a'}\n" for m in features)


def read_features(directory: str | Path) -> list[Features]:
    """Read the features of all models that a folder's `models.tsv` lists.

    Parameters
    ----------
    directory : str or Path
        Holds `models.tsv` (columns model, group and, if wished, note) and for each model
        `<model>.npz` (arrays stimulus, features) or `<model>.tsv` (first column stimulus, then a
        column a feature).

    Returns
    -------
    list of Features
        In the order of the table.

    Raises
    ------
    InputError
        No or an empty table, an unknown group, a model twice or without a file, a value that is
        missing or not a number, a stimulus twice.
    """
    folder = Path(directory)
    table = folder / MODELS_TABLE
    if not table.is_file():
        raise InputError(
            f"{table} is missing: list the models there, in tab-separated columns named 'model' "
            f"and 'group' ({', '.join(GROUPS)})."
        )
    lines = io.StringIO(_read_text(table))
    rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows:
        raise InputError(f"{table} lists no model: add a row a model (columns model, group).")
    features = [_read_model(folder, row) for row in rows]
    names = [model.model for model in features]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{table} lists '{name}' more than once: keep one row.")
    return features


def file_stem(model: str) -> str:
    """Give the file name of a model without extension: odd characters become `%` and their code.

    'timm:resnet50' becomes 'timm%3Aresnet50'; common names stay as they are.
    """
    return re.sub(r'^\.|[\x00-\x1f%/\\:*?"<>|]', lambda found: f"%{ord(found[0]):02X}", model)


def _read_model(folder: Path, row: dict[str, str]) -> Features:
    model, group = row.get("model"), row.get("group")
    if not model or not group:
        raise InputError(
            f"{folder / MODELS_TABLE} needs the tab-separated columns model and group."
        )
    if group not in GROUPS:
        raise InputError(
            f"{folder / MODELS_TABLE} puts '{model}' in the group '{group}': "
            f"allowed are {', '.join(GROUPS)}."
        )
    candidates = [folder / f"{file_stem(model)}{suffix}" for suffix in (".npz", ".tsv")]
    files = [path for path in candidates if path.is_file()]
    if len(files) != 1:
        found = "neither is there" if not files else "both are there, remove one"
        raise InputError(f"'{model}' needs {candidates[0]} or {candidates[1].name}: {found}.")
    (file,) = files
    stimuli, values = _read_npz(file) if file.suffix == ".npz" else _read_tsv(file)
    _require_sound(file, stimuli, values)
    note = (row.get("note") or "").replace("n/a", "")
    return Features(model, group, stimuli, values, note)


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is not UTF-8 text ({error}): save it in that encoding."
        ) from error


def _read_npz(file: Path) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            stimuli = tuple(str(stimulus) for stimulus in arrays["stimulus"])
            return stimuli, np.asarray(arrays["features"], dtype=np.float64)
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{file} cannot be read ({error}): save it by numpy.savez with the arrays 'stimulus' "
            "(text) and 'features' (stimuli x features)."
        ) from error


def _read_tsv(file: Path) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    lines = io.StringIO(_read_text(file))
    header, *rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)) or [[""]]
    if header[0] != "stimulus":
        raise InputError(f"{file}: the first of its tab-separated columns must be 'stimulus'.")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(
                f"{file}, line {line} has {len(row)} columns where the header has {len(header)}: "
                "mend this line."
            )
    try:
        values = np.array([row[1:] for row in rows], dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{file} holds something that is no number ({error}).") from error
    return tuple(row[0] for row in rows), values


def _require_sound(file: Path, stimuli: tuple[str, ...], values: NDArray[np.float64]) -> None:
    if values.ndim != 2 or values.shape[0] != len(stimuli) or values.size == 0:
        raise InputError(
            f"{file} has features of shape {values.shape} for {len(stimuli)} stimuli: one row a "
            "stimulus and at least one column are needed."
        )
    for stimulus, row in zip(stimuli, values, strict=True):
        if stimuli.count(stimulus) > 1:
            raise InputError(
                f"{file} holds the stimulus '{stimulus}' more than once: keep one row."
            )
        if not np.isfinite(row).all():
            raise InputError(
                f"{file} has a missing or infinite value for the stimulus '{stimulus}': "
                "compute it again or leave the model out."
            )
