"""From a TOML file to a checked configuration; every mistake becomes one sentence."""

import csv
import io
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bids_config.errors import InputError
from bids_config.schema import DatasetConfig, RoiDefinition

PACKAGED_FOLDER = Path(__file__).resolve().parent
LABEL_COLUMNS = ("stimulus", "label")


def packaged_configs() -> tuple[str, ...]:
    """Names of the configurations that come with the tool."""
    return tuple(sorted(path.stem for path in PACKAGED_FOLDER.glob("*.toml")))


def load_dataset_config(name_or_path: str | Path) -> DatasetConfig:
    """Read the configuration of a data set.

    Parameters
    ----------
    name_or_path : str or Path
        The name of a packaged configuration (`ds001246`, `demo`) or the path of a TOML file.

    Returns
    -------
    DatasetConfig
        The configuration, with absolute paths.

    Raises
    ------
    InputError
        When there is no such file, it is no TOML, or a key or value is not allowed; the message
        names the file, the key and what is allowed.
    """
    file = _find(name_or_path)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not valid TOML: {error}") from error
    try:
        config: DatasetConfig = _read_table(DatasetConfig, table, "", file.parent)
        _check_labels_file(config.stimuli.labels_file)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return config


def _find(name_or_path: str | Path) -> Path:
    name = str(name_or_path)
    if name in packaged_configs():
        return PACKAGED_FOLDER / f"{name}.toml"
    file = Path(name_or_path)
    if not file.is_file():
        raise InputError(
            f"no data set configuration {name!r}{_did_you_mean(name, packaged_configs())}: "
            f"give one of the packaged names ({', '.join(packaged_configs())}) or the path of a "
            "TOML file"
        )
    return file.resolve()


def _read_table(cls: type, table: Mapping[str, Any], section: str, folder: Path) -> Any:
    """Make a dataclass from a TOML table whose keys are its fields."""
    hints = get_type_hints(cls)
    _refuse_unknown_keys(table, hints, section)
    values = {}
    for entry in fields(cls):
        key = f"{section}.{entry.name}" if section else entry.name
        if entry.name in table:
            values[entry.name] = _read_value(hints[entry.name], table[entry.name], key, folder)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise InputError(f"the key {key} is missing: it must be {_describe(hints[entry.name])}")
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"[{section}] {error}" if section else str(error)) from error


def _refuse_unknown_keys(table: Mapping[str, Any], allowed: Iterable[str], section: str) -> None:
    for key in table:
        if key not in allowed:
            where = f" in [{section}]" if section else ""
            raise InputError(
                f"unknown key {key!r}{where}{_did_you_mean(key, allowed)}: the allowed keys are "
                f"{', '.join(allowed)}"
            )


def _read_value(hint: Any, value: Any, key: str, folder: Path) -> Any:
    """Check one TOML value against a field's type and convert it."""
    options = tuple(option for option in _options(hint) if option is not NoneType)
    if len(options) != 1:
        raise TypeError(f"{key}: no rule reads {hint} from TOML")
    (kind,) = options
    if kind == tuple[RoiDefinition, ...] and isinstance(value, dict):
        return tuple(
            _read_table(RoiDefinition, {"name": name, "labels": labels}, key, folder)
            for name, labels in value.items()
        )
    if get_origin(kind) is tuple and isinstance(value, list):
        item = get_args(kind)[0]
        if all(_is_a(item, entry) for entry in value):
            return tuple(value)
    elif get_origin(kind) is Literal and value in get_args(kind):
        return value
    elif is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        return _read_table(kind, value, key, folder)
    elif kind is Path and _is_a(str, value):
        return folder / value
    elif kind is float and (_is_a(float, value) or _is_a(int, value)):
        return float(value)
    elif kind in (str, int) and _is_a(kind, value):
        return value
    raise InputError(f"{key} = {value!r} must be {_describe(hint)}")


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, UnionType) else (hint,)


def _is_a(kind: type, value: object) -> bool:
    """Tell whether a TOML value is of a kind; true is no number, and '' says nothing."""
    return type(value) is kind and value != ""


def _describe(hint: Any) -> str:
    """Say in words what a field takes."""
    (kind,) = (option for option in _options(hint) if option is not NoneType)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(repr(value) for value in get_args(kind))
    if kind == tuple[RoiDefinition, ...]:
        return "a table of region names, each with a list of FreeSurfer label ids (whole numbers)"
    if get_origin(kind) is tuple:
        return {str: "a list of texts", int: "a list of whole numbers"}[get_args(kind)[0]]
    if is_dataclass(kind):
        return "a table with the keys " + ", ".join(entry.name for entry in fields(kind))
    return {
        str: "a text that is not empty",
        int: "a whole number",
        float: "a number",
        Path: "the path of a file, relative to this one",
    }[kind]


def _did_you_mean(word: str, candidates: Iterable[str]) -> str:
    close = get_close_matches(word, list(candidates), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _check_labels_file(file: Path | None) -> None:
    """Raise unless the label table is there, has its columns and labels each stimulus once."""
    if file is None:
        return
    if not file.is_file():
        raise InputError(f"stimuli.labels_file = {str(file)!r} does not exist: check the path")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"stimuli.labels_file = {str(file)!r} is not UTF-8 text") from error
    with io.StringIO(text, newline="") as lines:
        table = csv.DictReader(lines, delimiter="\t")
        columns = tuple(table.fieldnames or ())
        if not set(LABEL_COLUMNS) <= set(columns):
            raise InputError(
                f"stimuli.labels_file = {str(file)!r} must have the tab-separated columns "
                f"{' and '.join(LABEL_COLUMNS)}, it has {', '.join(columns) or 'none'}"
            )
        rows = list(table)
    stimuli = [row["stimulus"] for row in rows]
    if not rows or not all(row["stimulus"] and row["label"] for row in rows):
        raise InputError(
            f"stimuli.labels_file = {str(file)!r} must give every stimulus an id and a label"
        )
    if len(set(stimuli)) < len(stimuli):
        raise InputError(f"stimuli.labels_file = {str(file)!r} names a stimulus twice")
