"""From a TOML table to a dataclass; every mistake becomes one sentence."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from conceptrsa.bids_config.errors import InputError

Record = TypeVar("Record")


def read_toml(file: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    InputError
        On a file that cannot be read or is no TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): check the path") from error
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
    entries = fields(cls)  # type: ignore[arg-type]
    _refuse_unknown_keys(table, hints, section)
    values = {}
    for entry in entries:
        key = f"{section}.{entry.name}" if section else entry.name
        if entry.name in table:
            values[entry.name] = _read_value(hints[entry.name], table[entry.name], key, folder)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise InputError(f"the key {key} is missing: it must be {_describe(hints[entry.name])}")
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"[{section}] {error}" if section else str(error)) from error


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Give ` (did you mean 'this'?)`, or nothing where no candidate is close."""
    spelled = {candidate.casefold(): candidate for candidate in candidates}
    close = get_close_matches(word.casefold(), spelled, n=1)
    return f" (did you mean {spelled[close[0]]!r}?)" if close else ""


def _refuse_unknown_keys(table: Mapping[str, Any], allowed: Iterable[str], section: str) -> None:
    for key in table:
        if key not in allowed:
            where = f" in [{section}]" if section else ""
            raise InputError(
                f"unknown key {key!r}{where}{did_you_mean(key, allowed)}: the allowed keys are "
                f"{', '.join(allowed)}"
            )


def _read_value(hint: Any, value: Any, key: str, folder: Path) -> Any:
    """Check one TOML value against a field's type and convert it."""
    (kind,) = (option for option in _options(hint) if option is not NoneType)
    if get_origin(kind) is tuple:
        return _read_list(kind, value, key, folder, hint)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, dict):
        return read_table(kind, value, key, folder)
    if kind is Path and _is_a(str, value):
        return folder / value
    if kind is float and (_is_a(float, value) or _is_a(int, value)):
        return float(value)
    if kind in (str, int, bool) and _is_a(kind, value):
        return value
    raise InputError(f"{key} = {value!r} must be {_describe(hint)}")


def _read_list(kind: Any, value: Any, key: str, folder: Path, hint: Any) -> tuple[Any, ...]:
    """Check a list: of any length (`tuple[item, ...]`), or of one kind an element."""
    items = get_args(kind)
    if isinstance(value, dict) and is_dataclass(items[0]) and len(fields(items[0])) == 2:
        name, content = (entry.name for entry in fields(items[0]))
        return tuple(
            _read_value(items[0], {name: given, content: value[given]}, key, folder)
            for given in value
        )
    if not isinstance(value, list):
        raise InputError(f"{key} = {value!r} must be {_describe(hint)}")
    kinds = (items[0],) * len(value) if items[-1] is Ellipsis else items
    if len(kinds) != len(value):
        raise InputError(f"{key} = {value!r} must be {_describe(hint)}")
    if is_dataclass(items[0]) or get_origin(items[0]) is tuple:
        return tuple(
            _read_value(item, entry, f"{key}[{index}]", folder)
            for index, (item, entry) in enumerate(zip(kinds, value, strict=True))
        )
    try:
        return tuple(
            _read_value(item, entry, key, folder) for item, entry in zip(kinds, value, strict=True)
        )
    except InputError as error:
        raise InputError(f"{key} = {value!r} must be {_describe(hint)}") from error


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
    if get_origin(kind) is tuple:
        return _describe_list(get_args(kind))
    if is_dataclass(kind):
        return "a table with the keys " + ", ".join(entry.name for entry in fields(kind))
    return {
        str: "a text that is not empty",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        Path: "the path of a file, relative to this one",
    }[kind]


def _describe_list(items: tuple[Any, ...]) -> str:
    described = getattr(items[0], "IN_WORDS", None)
    if described:
        return str(described)
    of = {str: "texts", int: "whole numbers", float: "numbers"}.get(items[0])
    of = of or ("tables" if is_dataclass(items[0]) else "lists")
    return f"a list of {of}" if items[-1] is Ellipsis else f"a list of {len(items)} {of}"
