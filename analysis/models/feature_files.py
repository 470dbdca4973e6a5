"""Models in a folder: features, RDMs or categories, and the `models.tsv` that may list them."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptrsa.analysis.arrays import Floats, Singles
from conceptrsa.analysis.files.array_files import DAMAGE, open_arrays
from conceptrsa.analysis.files.given_arrays import names_given, rows_given
from conceptrsa.analysis.files.rdm_files import (
    RELATIVE_TOLERANCE,
    is_square,
    rdm_vector,
    read_stimuli_column,
    reorder,
    square_of_table,
)
from conceptrsa.analysis.files.stimuli import holds_pictures
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import (
    clean_name,
    natural_key,
    require_distinct,
    require_distinguishable,
    require_names,
    require_no_quotes,
    warn_of_case,
    warn_once,
)
from conceptrsa.bids_config.tsv import MISSING, read_table, read_text, table_at, write_table
from conceptrsa.bids_config.writing import atomic_path, file_errors

MODELS_TABLE = "models.tsv"
CATEGORIES_TABLE = "categories.tsv"
NAMES_LIST = "file_names.txt"
"""Names of the rows of a `.npy` file beside it, a line each, as THINGSvision writes them."""

TABLES, ARRAYS, PLAIN_ARRAY = (".tsv", ".csv"), ".npz", ".npy"
SUFFIXES = (ARRAYS, *TABLES, PLAIN_ARRAY)

NOT_MODELS = frozenset({"categories", "labels"})
"""Names of tables beside models: categories, and the words for the stimuli."""

DEFAULT_GROUP = "models"
"""Group of models without a group."""

TAKEN = ("all", "all others")
"""Name of several groups together in tables of results."""


def require_model(name: str, group: str) -> None:
    """Check what a model is called, and its group.

    Raises
    ------
    InputError
    """
    if not isinstance(name, str):
        raise InputError(f"a model is called {name!r}: give its name as text")
    require_names([name], "model", "the comparison")
    if not isinstance(group, str) or group in TAKEN:
        raise InputError(
            f"model {name} cannot be in a group called {group!r}: give the group another name"
        )
    require_names([group], "group of models", "the comparison")


@dataclass(frozen=True, repr=False)
class Features:
    """Features of one model, one row for each stimulus.

    Attributes
    ----------
    model : str
        Name of the model.
    group : str
        Models of one group are shown and tested together: 'multimodal', 'visual', any text.
    stimuli : sequence of str
        Names of the stimuli, each once.
    values : array_like or DataFrame, (stimuli, features)
        One row for each stimulus, in the order of `stimuli`; rows of a DataFrame are matched by
        its index. Single precision is kept; distances are computed in double precision.
    note : str
        A remark on the model for readers of a result.
    origin : mapping
        Network, layer, pooling, SHA-256 of weights and versions of libraries, where the features
        were extracted by `extract_features`.

    Examples
    --------
    >>> import conceptrsa as crsa
    >>> crsa.Features("CLIP", "multimodal", ["cat", "dog", "car"], [[1, 2], [1, 3], [9, 1]])
    Features(CLIP, multimodal: 3 stimuli, 2 features)
    """

    model: str
    group: str
    stimuli: tuple[str, ...]
    values: Floats | Singles
    note: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source = f"the features of {self.model}"
        stimuli = names_given(self.stimuli, source)
        values = rows_given(self.values, stimuli, source)
        if values.ndim != 2 or len(values) != len(stimuli):
            raise InputError(
                f"{source} are of shape {values.shape} for {len(stimuli)} stimuli: give (stimuli, "
                "features)"
            )
        require_model(self.model, self.group)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "stimuli", stimuli)

    def __repr__(self) -> str:
        """Shapes in place of numbers."""
        n_stimuli, n_features = np.shape(self.values)
        return f"Features({self.model}, {self.group}: {n_stimuli} stimuli, {n_features} features)"

    def of_stimuli(self, stimuli: Sequence[str]) -> Floats | Singles:
        """Rows of some of the stimuli, in the order given."""
        rows = {stimulus: row for row, stimulus in enumerate(self.stimuli)}
        picked: Floats | Singles = self.values[[rows[stimulus] for stimulus in stimuli]]
        return picked


@dataclass(frozen=True, repr=False)
class ModelRdm:
    """Distances of one model between stimuli.

    Attributes
    ----------
    model : str
        Name of the model.
    group : str
        Models of one group are shown and tested together.
    stimuli : sequence of str
        Names of the stimuli, each once.
    rdm : array_like, (pairs,) or (stimuli, stimuli)
        Pairs in the order of `scipy.spatial.distance.pdist` over `stimuli`.
    note : str
        A remark on the model for readers of a result.
    origin : mapping
        Empty, as the origin of supplied RDMs is not known.

    Examples
    --------
    Distances between cat and dog, cat and car, dog and car:

    >>> import conceptrsa as crsa
    >>> crsa.ModelRdm("animacy", "hypotheses", ["cat", "dog", "car"], [0, 1, 1])
    ModelRdm(animacy, hypotheses: 3 stimuli)
    """

    model: str
    group: str
    stimuli: tuple[str, ...]
    rdm: Floats
    note: str = ""
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source = f"the RDM of {self.model}"
        stimuli = names_given(self.stimuli, source)
        rdm = np.asarray(rows_given(self.rdm, stimuli, source), dtype=np.float64)
        require_model(self.model, self.group)
        object.__setattr__(self, "rdm", rdm_vector(rdm, len(stimuli), source))
        object.__setattr__(self, "stimuli", stimuli)

    def __repr__(self) -> str:
        """Shapes in place of numbers."""
        return f"ModelRdm({self.model}, {self.group}: {len(self.stimuli)} stimuli)"

    def of_stimuli(self, stimuli: Sequence[str]) -> Floats:
        """Distances (pairs,) between some of the stimuli, in the order given.

        Raises
        ------
        InputError
            If they are all the same, so that they compare with nothing.
        """
        rows = {stimulus: row for row, stimulus in enumerate(self.stimuli)}
        rdm = reorder(self.rdm, [rows[stimulus] for stimulus in stimuli])
        require_distances_differ(self.model, rdm)
        return rdm


def require_distances_differ(model: str, rdm: Floats | Singles, tolerance: float = 0.0) -> None:
    """Raise InputError where a model puts the same distance between all stimuli."""
    if float(np.ptp(rdm)) <= tolerance:
        raise InputError(
            f"{model} has the same distance between all stimuli of the betas, so its RDM explains "
            "nothing: leave the model out"
        )


@dataclass(frozen=True)
class Categories:
    """A table of categories.

    Attributes
    ----------
    file : Path
    stimuli : tuple of str
        Stimulus ids.
    models : dict of str to tuple of str
        The category of each stimulus, by model.
    """

    file: Path
    stimuli: tuple[str, ...]
    models: dict[str, tuple[str, ...]]

    def rdm(self, model: str) -> Floats:
        """Distances (pairs,) of a model: 0 within a category, 1 between two.

        Raises
        ------
        InputError
            If a stimulus has no category, or all have one or each its own.
        """
        names = self.models[model]
        for stimulus, name in zip(self.stimuli, names, strict=True):
            if name in ("", MISSING):
                raise InputError(
                    f"{self.file} has no category of '{model}' for the stimulus '{stimulus}': add "
                    "one, or leave the model out"
                )
        codes = np.unique(names, return_inverse=True)[1]
        first, second = np.triu_indices(len(codes), k=1)
        rdm: Floats = np.asarray(codes[first] != codes[second], dtype=np.float64)
        if not np.ptp(rdm):
            raise InputError(
                f"{self.file} puts the stimuli into {len(set(names))} categories of '{model}', so "
                "all its distances are the same: give two or more categories, one of them with "
                "several stimuli"
            )
        return rdm


def write_features(features: Iterable[Features], directory: str | Path) -> int:
    """Write `<model>.npz` (stimulus, features, origin) a model, and `models.tsv`.

    The origin is JSON: it travels with the features. Characters that a file name cannot hold are
    written as `%` and their hexadecimal code.

    Returns
    -------
    int
        The number of models, of which an iterator's need not be in memory together.
    """
    folder = Path(directory)
    listed = []
    for model in features:
        listed.append((clean_name(model.model), model.group, model.note or MISSING))
        with atomic_path(folder / f"{file_stem(clean_name(model.model))}.npz") as path:
            # Not compressed: that takes long and gains a tenth.
            np.savez(
                path,
                stimulus=np.array(model.stimuli),
                features=_in_single(model.values),
                origin=np.array([json.dumps(model.origin, sort_keys=True)]),
            )
    write_table(folder / MODELS_TABLE, pd.DataFrame(listed, columns=["model", "group", "note"]))
    return len(listed)


def _in_single(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers in single precision where that changes none."""
    if values.dtype == np.float32:
        return values
    single = values.astype(np.float32)
    return single if np.array_equal(single, values) else values


def read_features(path: str | Path) -> list[Features | ModelRdm]:
    """Read the features or the RDM of every model in a folder.

    Parameters
    ----------
    path : str or Path
        The file of a single model, or a folder that holds for each model one of:

        - `<model>.npz` with the arrays stimulus and features, or stimulus and rdm (square, or the
          pairs in the order of `pdist`);
        - `<model>.tsv` or `.csv` with the column stimulus and one column for each feature, or a
          square table of distances between the stimuli of its header;
        - `<model>.npy` or `<model>/features.npy`, with the names of its rows in `file_names.txt`;
        - a column of `categories.tsv`, whose first column is stimulus.

        `models.tsv` (column model, optional columns group and note) gives the models to compare,
        their order and groups. Without it, all models are compared, in one group.

    Returns
    -------
    list of Features or ModelRdm
        In the order of `models.tsv`, else by name.

    Raises
    ------
    InputError
        If there is no model; if a model is named twice, has no file or several; if a value is
        missing or not a number, a stimulus occurs twice, or an RDM is not valid.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import conceptrsa as crsa
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.savez(folder / "CLIP.npz", stimulus=["cat", "dog", "car"], features=np.eye(3))
    >>> crsa.read_features(folder)
    [Features(CLIP, models: 3 stimuli, 3 features)]
    """
    path = Path(path)
    if path.is_file():
        of_folder = path.name == f"features{PLAIN_ARRAY}"
        model = _model_of(path.absolute().parent if of_folder else path)
        return [_read_model(path.parent, {"model": model}, [path], None)]
    table, file = table_at(path / MODELS_TABLE), table_at(path / CATEGORIES_TABLE)
    categories = read_categories(file) if file.is_file() else None
    rows = (_rows_listed if table.is_file() else _rows_found)(path, categories)
    return [_read_model(path, row, _files_of(path, row["model"]), categories) for row in rows]


def _rows_listed(folder: Path, categories: Categories | None) -> list[dict[str, str]]:
    """Rows of `models.tsv`; each has a model, and perhaps a group and a note."""
    table = table_at(folder / MODELS_TABLE)
    listed = read_table(table)
    listed.require_columns(["model"], "add it (columns model and group)")
    if not listed.rows:
        raise InputError(f"{table} lists no model: add a row per model (columns model, group).")
    rows = [dict(zip(listed.columns, map(clean_name, row), strict=True)) for row in listed.rows]
    names = [row["model"] for row in rows]
    require_names(names, "model", table)
    require_distinct(names, f"{table} lists")
    if "group" in listed.columns:
        require_names([row["group"] for row in rows], "group of models", table)
        warn_of_case([row["group"] for row in rows], "group of models", table)
    unlisted = [name for name in categories.models if name not in names] if categories else []
    if categories and unlisted:
        raise InputError(
            f"{categories.file} holds '{unlisted[0]}', which {table} does not list: add its row "
            "there, or remove the column."
        )
    return rows


def _rows_found(folder: Path, categories: Categories | None) -> list[dict[str, str]]:
    """A row for every model file and folder, by name, then those of the table of categories."""
    if not folder.is_dir():
        raise InputError(f"{folder} is missing: give the folder of the models, or a model's file")
    names = {
        _model_of(file)
        for file in folder.iterdir()
        if not file.name.startswith(".")
        and (
            (file.suffix in SUFFIXES and file.stem not in NOT_MODELS and file.is_file())
            or (file / f"features{PLAIN_ARRAY}").is_file()
        )
    }
    own = categories.models if categories else {}
    rows = [{"model": name} for name in sorted(names - set(own), key=natural_key)]
    rows += [{"model": name, "group": "categorical"} for name in own]
    if not rows:
        if holds_pictures(folder):
            raise InputError(
                f"{folder} holds pictures, not features: give it by --stimuli, and networks run on "
                "the pictures"
            )
        raise InputError(
            f"{folder} holds no model: add <model>.npz, .tsv, .csv or .npy for each, or "
            f"{CATEGORIES_TABLE}"
        )
    warn_once(
        f"{folder} has no {MODELS_TABLE}, so all {len(rows)} models in it are compared; "
        f"{MODELS_TABLE} (columns model, group) would choose and group them"
    )
    return rows


def _model_of(file: Path) -> str:
    """Name of a model by that of its file or folder."""
    return clean_name(unquote(file.stem if file.suffix in SUFFIXES else file.name))


def file_stem(model: str) -> str:
    """Give the file name of a model without extension: odd characters become `%` and their code.

    'timm:resnet50' becomes 'timm%3Aresnet50'; common names stay as they are.
    """
    return re.sub(r'^\.|[\x00-\x1f%/\\:*?"<>|]', lambda found: f"%{ord(found[0]):02X}", model)


def _files_of(folder: Path, model: str) -> list[Path]:
    """Files of a model: any number."""
    stem = file_stem(model)
    candidates = [folder / f"{stem}{suffix}" for suffix in SUFFIXES]
    there = [path for path in map(_as_spelt, candidates) if path.is_file()]
    inside = folder / stem / f"features{PLAIN_ARRAY}"
    return [*there, inside] if inside.is_file() else there


def _read_model(
    folder: Path, row: Mapping[str, str], files: Sequence[Path], categories: Categories | None
) -> Features | ModelRdm:
    model, group = row["model"], row.get("group", DEFAULT_GROUP)
    note = (row.get("note") or "").replace(MISSING, "")
    of_table = categories if categories is not None and model in categories.models else None
    if len(files) + (of_table is not None) != 1:
        found = "none is there"
        if of_table is not None:
            found = f"it has a column in {of_table.file.name} as well, remove one"
        elif files:
            found = f"{' and '.join(file.name for file in files)} exist, remove one"
        raise InputError(
            f"'{model}' needs {folder / file_stem(model)}{ARRAYS}, or {', '.join(TABLES)} or "
            f"{PLAIN_ARRAY} of that name: {found}."
        )
    if of_table is not None:
        return ModelRdm(model, group, of_table.stimuli, of_table.rdm(model), note)
    (file,) = files
    stimuli, values, are_distances, origin = _read_values(file)
    if not are_distances and (values.ndim != 2 or len(values) != len(stimuli) or not values.size):
        raise InputError(
            f"{file} has features of shape {values.shape} for {len(stimuli)} stimuli: give one row "
            "per stimulus and at least one column."
        )
    if are_distances:
        rdm = rdm_vector(values, len(stimuli), f"the RDM in {file}")
        return ModelRdm(model, group, stimuli, rdm, note)
    for stimulus, features in zip(stimuli, values, strict=True):
        if not np.isfinite(features).all():
            raise InputError(
                f"{file} has a missing or infinite value for the stimulus '{stimulus}': compute it "
                "again, or leave the model out."
            )
    return Features(model, group, stimuli, values, note, origin)


def _as_spelt(file: Path) -> Path:
    """Give the file of the folder whose name looks like this one's, where this one is not there."""
    if file.is_file() or not file.parent.is_dir():
        return file
    alike = (path for path in file.parent.iterdir() if path.suffix == file.suffix)
    return next((path for path in alike if clean_name(path.stem) == file.stem), file)


def _read_values(file: Path) -> tuple[tuple[str, ...], NDArray[Any], bool, dict[str, Any]]:
    """Stimuli, features or distances, whether it is distances, and where they come from."""
    if file.suffix == PLAIN_ARRAY:
        return *_read_plain(file), {}
    if file.suffix in TABLES:
        table = read_table(file)
        if table.columns[0] != "stimulus" and not is_square(table):
            raise InputError(f"{file}: the first of its columns must be 'stimulus'.")
        if is_square(table):
            return *square_of_table(table), True, {}
        return read_stimuli_column(table), table.numbers(table.columns[1:]), False, {}
    with open_arrays(file) as arrays:
        if {"features", "rdm"} <= arrays.names:
            raise InputError(f"{file} holds features and an RDM: keep one of them")
        name = "rdm" if "rdm" in arrays.names else "features"
        origin = arrays.texts("origin")[0] if "origin" in arrays.names else "{}"
        stimuli = names_given(arrays.texts("stimulus"), file)
        values = _single_or_double(arrays.numbers(name))
    try:
        return stimuli, values, name == "rdm", dict(json.loads(origin))
    except ValueError as error:
        raise InputError(
            f"origin in {file} is not JSON ({error}): remove the array, or extract the features "
            "again"
        ) from error


def _single_or_double(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers in double precision, or in single precision where they were saved so."""
    is_single = values.dtype.kind == "f" and values.dtype.itemsize <= np.dtype(np.float32).itemsize
    return values.astype(np.float32 if is_single else np.float64, copy=False)


def _read_plain(file: Path) -> tuple[tuple[str, ...], NDArray[Any], bool]:
    """Names, features or distances of a `.npy` file, and whether it is distances.

    Features beyond two dimensions are made flat. A square matrix that is symmetric or 0 on its
    diagonal, but for rounding, is meant as distances, and so is a vector.
    """
    names = next(
        (f for f in (file.with_suffix(".txt"), file.with_name(NAMES_LIST)) if f.is_file()), None
    )
    if names is None:
        raise InputError(
            f"{file} does not name its rows: list the stimuli in {NAMES_LIST} beside it, one per "
            "line, in row order"
        )
    with file_errors(file, "save it again with numpy.save", DAMAGE):
        values = np.load(file, allow_pickle=False)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub" or values.ndim < 1:
        raise InputError(f"{file} is not a numeric array (stimuli, features): save it as one")
    lines = [line.strip() for line in read_text(names).splitlines() if line.strip()]
    stimuli = names_given(_without_folders(lines), names)
    values = _single_or_double(values)
    if values.ndim == 1 or (
        values.shape == (len(stimuli), len(stimuli)) and _is_meant_as_rdm(values)
    ):
        return stimuli, values, True
    return stimuli, values.reshape(len(values), -1), False


def _without_folders(lines: Sequence[str]) -> list[str]:
    """Names of pictures without the folders that all are in, where these tell none apart."""
    names = [line.replace("\\", "/").rpartition("/")[2] for line in lines]
    have_folders = all(name != line for name, line in zip(names, lines, strict=True))
    return names if have_folders and len({*names}) == len(names) else [*lines]


def _is_meant_as_rdm(given: NDArray[Any]) -> bool:
    square = given.astype(np.float64)
    tolerance = RELATIVE_TOLERANCE * np.abs(square).max(initial=0)
    is_zero = np.abs(square.diagonal()).max(initial=0) <= tolerance
    return bool(is_zero or np.abs(square - square.T).max(initial=0) <= tolerance)


def read_categories(file: Path) -> Categories:
    """Read a table with the columns stimulus and one per categorical model.

    Raises
    ------
    InputError
        On a table without these columns, or a stimulus or model that is there twice or has no
        name.
    """
    table = read_table(file)
    if table.columns[0] != "stimulus" or len(table.columns) < 2:
        raise InputError(
            f"{file}: the first of its columns must be 'stimulus', and each other column a model "
            "of categories."
        )
    models = table.columns[1:]
    require_names(models, "model", file)
    stimuli = read_stimuli_column(table)
    if len(stimuli) < 2:
        raise InputError(f"{file} lists {len(stimuli)} stimuli: add a row for each")
    warn_of_case(stimuli, "stimulus", file)
    columns = {model: tuple(map(clean_name, table.column(model))) for model in models}
    for model, names in columns.items():
        require_no_quotes(names, file)
        require_distinguishable(names, f"{model} category", file)
        warn_of_case(names, f"{model} category", file)
    return Categories(file, stimuli, columns)
