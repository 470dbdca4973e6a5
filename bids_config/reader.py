"""The configuration of a data set, from TOML to dataclasses; a mistake becomes one sentence."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from conceptrsa.bids_config import tsv
from conceptrsa.bids_config.errors import InputError, told_of
from conceptrsa.bids_config.label_tables import read_label_table, table_beside
from conceptrsa.bids_config.names import (
    clean_name,
    did_you_mean,
    require_no_quotes,
    require_one_of,
    stimulus_ids,
)
from conceptrsa.bids_config.region_choice import definitions_of, read_choice
from conceptrsa.bids_config.schema import (
    ComparisonConfig,
    DatasetConfig,
    RegionChoice,
    RoiDefinition,
)
from conceptrsa.bids_config.writing import file_errors

PACKAGED_FOLDER = Path(__file__).resolve().parent
Record = TypeVar("Record")
Config = TypeVar("Config", DatasetConfig, ComparisonConfig)


def packaged_configs() -> tuple[str, ...]:
    """Names of the configurations that come with the tool."""
    return tuple(sorted(path.stem for path in PACKAGED_FOLDER.glob("*.toml")))


def load_dataset_config(name_or_path: str | Path, atlas: Path | None = None) -> DatasetConfig:
    """Read the configuration of a data set.

    Parameters
    ----------
    name_or_path : str or Path
        The name of a packaged configuration (`ds001246`, `demo`) or the path of a TOML file.
    atlas : Path, optional
        Atlas of the labels that regions name; by default that of the configuration, else
        FreeSurfer's.

    Returns
    -------
    DatasetConfig
        The configuration, with absolute paths.

    Raises
    ------
    InputError
        If the file is missing or not valid TOML, or a key or value is not allowed. The message
        names the file, the key and what is allowed.

    Examples
    --------
    >>> import conceptrsa as crsa
    >>> config = crsa.load_dataset_config("demo")
    >>> [roi.name for roi in config.rois][:2]
    ['visual', 'visual-left']
    """
    file = _find(name_or_path)
    table = read_toml(file)
    with told_of(file):
        named = atlas or _atlas_of(table, file.parent)
        choices = choose_by_labels(_chosen(table, file.parent), named)
        numbers = {choice.name: list(choice.labels) for choice in choices}
    if numbers:
        table["rois"] |= numbers
    return _read_config(DatasetConfig, file, table)


def load_comparison_config(name_or_path: str | Path) -> DatasetConfig | ComparisonConfig:
    """Read a configuration for `compare`, which may hold regions, stimuli or both alone.

    Raises
    ------
    InputError
        As `load_dataset_config`.
    """
    file = _find(name_or_path)
    table = read_toml(file)
    with told_of(file):
        chosen = {choice.name: choice for choice in _chosen(table, file.parent)}
    if not chosen and table.keys() & {"runs", "events", "glm"}:
        return _read_config(DatasetConfig, file, table)
    of_runs = ("runs", "events", "glm") if chosen else ()
    table = {"name": file.stem} | {key: table[key] for key in table if key not in of_runs}
    if not chosen:
        return _read_config(ComparisonConfig, file, table)
    numbered = {name: labels for name, labels in table["rois"].items() if name not in chosen}
    config = _read_config(ComparisonConfig, file, table | {"rois": numbered})
    regions = chosen | {roi.name: roi for roi in config.rois}
    return replace(config, rois=tuple(regions[name] for name in table["rois"]))


def choose_by_labels(
    choices: Sequence[RegionChoice], atlas: Path | None
) -> tuple[RoiDefinition, ...]:
    """Find the regions chosen among the labels of an atlas, by default FreeSurfer's.

    Raises
    ------
    InputError
        As `definitions_of` and `read_label_table`.
    """
    file = None if atlas is None or not choices else table_beside(atlas)
    return definitions_of(choices, atlas, None if file is None else read_label_table(file))


def _atlas_of(table: Mapping[str, Any], folder: Path) -> Path | None:
    return folder / table["atlas"] if isinstance(table.get("atlas"), str) else None


def _chosen(table: Mapping[str, Any], folder: Path) -> list[RegionChoice]:
    """Regions that are given by names and patterns of labels or as masks, not by numbers."""
    rois = table.get("rois")
    if not isinstance(rois, dict):
        return []
    choices = [
        read_choice(f"{name}={said}") for name, said in rois.items() if isinstance(said, str)
    ]
    return [replace(one, mask=folder / one.mask) if one.mask else one for one in choices]


def _read_config(cls: type[Config], file: Path, table: Mapping[str, Any]) -> Config:
    with told_of(file):
        config = read_table(cls, table, folder=file.parent)
        labels_file = config.stimuli.labels_file
        if labels_file is not None:
            with told_of("stimuli.labels_file"):
                _require_labels(labels_file)
    return config


def _find(name_or_path: str | Path) -> Path:
    name = str(name_or_path)
    if name in packaged_configs():
        return PACKAGED_FOLDER / f"{name}.toml"
    file = Path(name_or_path)
    if not file.is_file():
        raise InputError(
            f"no data set configuration {name!r}{did_you_mean(name, packaged_configs())}: "
            f"give one of the packaged names ({', '.join(packaged_configs())}) or the path of a "
            "TOML file"
        )
    return file.resolve()


def _require_labels(file: Path) -> None:
    if file.is_dir():
        raise InputError(f"{file} is a folder: give the table")
    if not read_labels(file):
        raise InputError(f"{file} lists no stimulus: add a row for each")


def read_labels(file: Path) -> dict[str, str]:
    """Read the label of each stimulus from a table with the columns stimulus and label.

    A stimulus may be listed again with the same label.

    Raises
    ------
    InputError
        On a table without these columns, a cell that is empty, or two labels of one stimulus.
    """
    table = tsv.read_table(file)
    table.require_columns(["stimulus", "label"], "name the tab-separated columns like that")
    require_no_quotes(table.column("label"), file)
    labels: dict[str, str] = {}
    stimuli = stimulus_ids(table.column("stimulus"), file)
    for line, stimulus, cell in zip(table.lines, stimuli, table.column("label"), strict=True):
        label = clean_name(cell)
        if not stimulus or not label:
            raise InputError(
                f"{file}, line {line}: give each stimulus a label, in tab-separated columns "
                "named 'stimulus' and 'label'"
            )
        if labels.setdefault(stimulus, label) != label:
            raise InputError(f"{file}, line {line}: '{stimulus}' has two labels: keep one")
    return labels


def read_toml(file: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InputError
        On a file that cannot be read or is no TOML.
    """
    try:
        with file_errors(file):
            return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not valid TOML: {error}") from error


def read_table(
    cls: type[Record], table: Mapping[str, Any], section: str = "", folder: Path = Path()
) -> Record:
    """Make a dataclass from a TOML table whose keys are its fields.

    Parameters
    ----------
    cls : type
        A dataclass; fields may be texts, numbers, truth values, `Literal`, paths, dataclasses,
        tuples of these, and any of them or None. A list of dataclasses of two fields may be
        given as a table, from the first field to the second.
    table : mapping
        As `tomllib` gives it.
    section : str
        The table's name in the file, for messages.
    folder : Path
        What paths are relative to.

    Raises
    ------
    InputError
        On a key that is unknown or missing, or a value of another type.
    """
    hints = get_type_hints(cls)
    for key in table:
        where = f"[{section}] has an" if section else "there is an"
        require_one_of(key, hints, f"{where} unknown key", "the allowed keys are")
    values = {}
    for entry in fields(cls):  # type: ignore[arg-type]
        key = f"{section}.{entry.name}" if section else entry.name
        if entry.name in table:
            values[entry.name] = _read_value(hints[entry.name], table[entry.name], key, folder)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise InputError(f"the key {key} is missing: it must be {_describe(hints[entry.name])}")
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"[{section}] {error}" if section else str(error)) from error


def _read_value(hint: Any, value: Any, key: str, folder: Path) -> Any:
    """Check one TOML value against a field's type and convert it."""
    found = _convert(_without_none(hint), value, key, folder)
    if found is None:
        raise InputError(f"{key} = {value!r} must be {_describe(hint)}")
    return found


def _convert(kind: Any, value: Any, key: str, folder: Path) -> Any:
    """Convert a value; None where it is of another kind. '' says nothing."""
    if get_origin(kind) is tuple:
        return _read_list(get_args(kind), value, key, folder)
    if is_dataclass(kind) and isinstance(kind, type):
        return read_table(kind, value, key, folder) if isinstance(value, dict) else None
    if value == "":
        return None
    if get_origin(kind) is Literal:
        return value if value in get_args(kind) else None
    if kind is Path:
        return folder / value if isinstance(value, str) else None
    if kind is float and type(value) in (int, float):  # true is no number
        return float(value)
    return value if type(value) is kind else None


def _read_list(
    items: tuple[Any, ...], value: Any, key: str, folder: Path
) -> tuple[Any, ...] | None:
    """Read a list: of any length (`tuple[item, ...]`), or of one kind an element."""
    items = tuple(get_args(kind)[0] if isinstance(kind, UnionType) else kind for kind in items)
    is_table = is_dataclass(items[0]) and len(fields(items[0])) == 2 and isinstance(value, dict)
    if is_table:
        name, content = (entry.name for entry in fields(items[0]))
        value = [{name: given, content: held} for given, held in value.items()]
    if not isinstance(value, list):
        return None
    kinds = (items[0],) * len(value) if items[-1] is Ellipsis else items
    if len(kinds) != len(value):
        return None
    if is_dataclass(items[0]) or get_origin(items[0]) is tuple:
        return tuple(
            _read_value(kind, entry, key if is_table else f"{key}[{index}]", folder)
            for index, (kind, entry) in enumerate(zip(kinds, value, strict=True))
        )
    found = tuple(
        _convert(kind, entry, key, folder) for kind, entry in zip(kinds, value, strict=True)
    )
    return None if None in found else found


def _without_none(hint: Any) -> Any:
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    (kind,) = (option for option in options if option is not NoneType)
    return kind


def _describe(hint: Any) -> str:
    """Say in words what a field takes."""
    kind = _without_none(hint)
    items = get_args(kind)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, items))
    if get_origin(kind) is tuple:
        in_words = getattr(items[0], "IN_WORDS", None)
        if in_words:
            return str(in_words)
        other = "tables" if is_dataclass(items[0]) else "lists"
        of = {str: "texts", int: "whole numbers", float: "numbers"}.get(items[0], other)
        return f"a list of {of}" if items[-1] is Ellipsis else f"a list of {len(items)} {of}"
    if is_dataclass(kind):
        return "a table with the keys " + ", ".join(entry.name for entry in fields(kind))
    return {
        str: "a text that is not empty",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        Path: "the path of a file, relative to this one",
    }[kind]
