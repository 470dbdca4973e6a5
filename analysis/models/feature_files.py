"""Models in a folder: features or RDMs, one file a model, and `models.tsv` that lists them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptrsa.analysis.files.array_files import open_arrays
from conceptrsa.analysis.files.rdm_files import (
    is_square,
    rdm_vector,
    read_stimuli_column,
    require_distinct,
    square_of_table,
)
from conceptrsa.analysis.models.categorical import CATEGORIES_TABLE, Categories, read_categories
from conceptrsa.analysis.models.model_rdms import ModelRdm
from conceptrsa.analysis.models.registry import GROUPS, Group
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import clean_name, require_names, stimulus_ids
from conceptrsa.bids_config.tsv import MISSING, read_table, write_table
from conceptrsa.bids_config.writing import atomic_path

MODELS_TABLE = "models.tsv"


@dataclass(frozen=True, repr=False)
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
    origin : mapping
        Network, layer, pooling, SHA-256 of weights, versions of libraries ..., as JSON can hold
        it, where the features come from the zoo.
    """

    model: str
    group: Group
    stimuli: tuple[str, ...]
    values: NDArray[np.float64]
    note: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        if values.ndim != 2 or len(values) != len(self.stimuli):
            raise InputError(
                f"the features of {self.model} are of shape {values.shape} for "
                f"{len(self.stimuli)} stimuli: give (stimuli, features)"
            )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "stimuli", tuple(self.stimuli))

    def __repr__(self) -> str:
        """Shapes in place of numbers."""
        n_stimuli, n_features = np.shape(self.values)
        return f"Features({self.model}, {self.group}: {n_stimuli} stimuli, {n_features} features)"


def _narrowed(values: NDArray[np.float64]) -> NDArray[np.floating[Any]]:
    """Give single precision where that is what the numbers came from."""
    single = values.astype(np.float32)
    return single if np.array_equal(single, values) else values


def write_features(features: Sequence[Features], directory: str | Path) -> None:
    """Write `<model>.npz` (stimulus, features, origin) a model, and `models.tsv`.

    The origin is JSON: it travels with the features. Characters that a file name cannot hold are
    written as `%` and their hexadecimal code.
    """
    folder = Path(directory)
    for model in features:
        with atomic_path(folder / f"{file_stem(clean_name(model.model))}.npz") as path:
            # Not compressed: that takes long and gains a tenth.
            np.savez(
                path,
                stimulus=np.array(model.stimuli),
                features=_narrowed(model.values),
                origin=np.array([json.dumps(model.origin, sort_keys=True)]),
            )
    listed = [(clean_name(model.model), model.group, model.note or MISSING) for model in features]
    write_table(folder / MODELS_TABLE, pd.DataFrame(listed, columns=["model", "group", "note"]))


def read_features(directory: str | Path) -> list[Features | ModelRdm]:
    """Read the features or the RDM of every model that a folder's `models.tsv` lists.

    Parameters
    ----------
    directory : str or Path
        Holds `models.tsv` (columns model, group and, if wished, note) and for each model one of:
        `<model>.npz` with the arrays stimulus and features, or stimulus and rdm (square, or the
        pairs in the order of `pdist`); `<model>.tsv` with the column stimulus and a column a
        feature, or a square table of distances between the stimuli of its header; a column of
        `categories.tsv`, whose first column is stimulus.

    Returns
    -------
    list of Features or ModelRdm
        In the order of the table.

    Raises
    ------
    InputError
        No or an empty table, an unknown group, a model twice, without a file or with several, a
        value that is missing or not a number, a stimulus twice, an RDM that is none.
    """
    folder = Path(directory)
    table = folder / MODELS_TABLE
    if not table.is_file():
        raise InputError(
            f"{table} is missing: list the models there, in tab-separated columns named 'model' "
            f"and 'group' ({', '.join(GROUPS)})."
        )
    listed = read_table(table)
    listed.require_columns(["model", "group"], "add it (columns model and group)")
    if not listed.rows:
        raise InputError(f"{table} lists no model: add a row a model (columns model, group).")
    rows = [dict(zip(listed.columns, map(clean_name, row), strict=True)) for row in listed.rows]
    names = [row["model"] for row in rows]
    require_names(names, "model", table)
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{table} lists '{name}' more than once: keep one row.")
    categories_file = folder / CATEGORIES_TABLE
    categories = read_categories(categories_file) if categories_file.is_file() else None
    unlisted = [name for name in (categories.models if categories else ()) if name not in names]
    if unlisted:
        raise InputError(
            f"{categories_file} holds '{unlisted[0]}', which {table} does not list: add its row "
            "with a group there, or remove the column."
        )
    return [_read_model(folder, row, categories) for row in rows]


def file_stem(model: str) -> str:
    """Give the file name of a model without extension: odd characters become `%` and their code.

    'timm:resnet50' becomes 'timm%3Aresnet50'; common names stay as they are.
    """
    return re.sub(r'^\.|[\x00-\x1f%/\\:*?"<>|]', lambda found: f"%{ord(found[0]):02X}", model)


def _read_model(
    folder: Path, row: dict[str, str], categories: Categories | None
) -> Features | ModelRdm:
    model, group = row["model"], row["group"]
    if group not in GROUPS:
        raise InputError(
            f"{folder / MODELS_TABLE} puts '{model}' in the group '{group}': "
            f"allowed are {', '.join(GROUPS)}."
        )
    note = (row.get("note") or "").replace("n/a", "")
    in_categories = categories is not None and model in categories.models
    candidates = [folder / f"{file_stem(model)}{suffix}" for suffix in (".npz", ".tsv")]
    files = [path for path in map(_as_spelt, candidates) if path.is_file()]
    if len(files) + in_categories != 1:
        found = "neither is there" if not files else "both are there, remove one"
        if in_categories:
            found = f"it has a column in {CATEGORIES_TABLE} as well, remove one"
        raise InputError(f"'{model}' needs {candidates[0]} or {candidates[1].name}: {found}.")
    if categories is not None and in_categories:
        return ModelRdm(model, group, categories.stimuli, categories.rdm(model), note)
    (file,) = files
    origin: dict[str, Any] = {}
    if file.suffix == ".npz":
        stimuli, values, are_distances, origin = _read_npz(file)
    else:
        stimuli, values, are_distances = _read_tsv(file)
    if are_distances:
        require_distinct(stimuli, file)
        rdm = rdm_vector(values, len(stimuli), f"the RDM in {file}")
        return ModelRdm(model, group, stimuli, rdm, note)
    _require_sound(file, stimuli, values)
    return Features(model, group, stimuli, values, note, origin)


def _as_spelt(file: Path) -> Path:
    """Give the file of the folder whose name looks like this one's, where this one is not there."""
    if file.is_file() or not file.parent.is_dir():
        return file
    alike = (path for path in file.parent.iterdir() if path.suffix == file.suffix)
    return next((path for path in alike if clean_name(path.stem) == file.stem), file)


def _read_npz(
    file: Path,
) -> tuple[tuple[str, ...], NDArray[np.float64], bool, dict[str, Any]]:
    """Stimuli, features or distances, whether it is distances, and where they come from."""
    with open_arrays(file) as arrays:
        if {"features", "rdm"} <= arrays.names:
            raise InputError(f"{file} holds features and an RDM: keep one of them")
        name = "rdm" if "rdm" in arrays.names else "features"
        origin = arrays.texts("origin")[0] if "origin" in arrays.names else "{}"
        stimuli = stimulus_ids(arrays.texts("stimulus"), file)
        values = arrays.numbers(name).astype(np.float64)
    try:
        return stimuli, values, name == "rdm", dict(json.loads(origin))
    except ValueError as error:
        raise InputError(
            f"origin in {file} is not JSON ({error}): remove the array, or extract the features "
            "again"
        ) from error


def _read_tsv(file: Path) -> tuple[tuple[str, ...], NDArray[np.float64], bool]:
    """Stimuli, features or distances, and whether it is distances."""
    table = read_table(file)
    if table.columns[0] != "stimulus":
        raise InputError(f"{file}: the first of its tab-separated columns must be 'stimulus'.")
    if is_square(table):
        return *square_of_table(table), True
    return read_stimuli_column(table), table.numbers(table.columns[1:]), False


def _require_sound(file: Path, stimuli: tuple[str, ...], values: NDArray[np.float64]) -> None:
    if values.ndim != 2 or values.shape[0] != len(stimuli) or values.size == 0:
        raise InputError(
            f"{file} has features of shape {values.shape} for {len(stimuli)} stimuli: one row a "
            "stimulus and at least one column are needed."
        )
    require_distinct(stimuli, file)
    for stimulus, row in zip(stimuli, values, strict=True):
        if not np.isfinite(row).all():
            raise InputError(
                f"{file} has a missing or infinite value for the stimulus '{stimulus}': "
                "compute it again or leave the model out."
            )
