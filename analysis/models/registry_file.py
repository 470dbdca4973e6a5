"""From a registry file in TOML to entries of the zoo; every mistake becomes one sentence."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from conceptrsa.analysis.models.registry import ModelEntry, Network, Preprocessing
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import require_names
from conceptrsa.bids_config.toml_tables import did_you_mean, read_table, read_toml

LAYER_MARK = "@"
"""Stands between a model's name and a layer's, so that no model may have it in its name."""


def read_registry(file: Path, known: Mapping[str, ModelEntry]) -> dict[str, ModelEntry]:
    """Read a registry file.

    Parameters
    ----------
    file : Path
        TOML with a `[[model]]` a network and, if wished, `[preprocessing.NAME]` tables that
        several models share. The keys are the fields of `ModelEntry`, `Network`, `Weights`,
        `WeightsFile`, `KeyMapping` and `Preprocessing`.
    known : mapping of str to ModelEntry
        Models that are there already: combined models may name them as parts, and no other may
        have their names.

    Returns
    -------
    dict of str to ModelEntry
        The file's models by name, in its order.

    Raises
    ------
    InputError
        On a file that cannot be read, a key or value that is not allowed, or a name twice.
    """
    table = read_toml(file)
    try:
        shared = _read_shared(table.pop("preprocessing", {}))
        models = table.pop("model", [])
        if table:
            raise InputError(
                f"unknown table [{next(iter(table))}]: a registry holds [[model]] and "
                "[preprocessing.NAME]"
            )
        if not _is_list_of_tables(models):
            raise InputError("write each model as a table that begins with [[model]]")
        entries: dict[str, ModelEntry] = {}
        for model in models:
            entry = _read_entry(model, {**known, **entries}, shared)
            entries[entry.name] = entry
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return entries


def _read_shared(tables: Any) -> dict[str, dict[str, Any]]:
    """Check the tables that models share."""
    if not isinstance(tables, dict) or not _is_list_of_tables([*tables.values()]):
        raise InputError("write each preprocessing as a table [preprocessing.NAME]")
    for name, table in tables.items():
        read_table(Preprocessing, table, f"preprocessing.{name}")
    return tables


def _read_entry(
    table: dict[str, Any], known: Mapping[str, ModelEntry], shared: Mapping[str, dict[str, Any]]
) -> ModelEntry:
    name = table.get("name", "without a name")
    try:
        network = table.get("network")
        if not isinstance(network, dict):
            raise InputError("the table [model.network] is missing")
        parts = network.pop("parts", [])
        networks = _find_parts(parts, known)
        preprocessing = network.get("preprocessing")
        if isinstance(preprocessing, str):
            network["preprocessing"] = _find_shared(preprocessing, shared)
        entry = read_table(ModelEntry, table)
        combined = replace(entry.network, parts=networks, part_names=tuple(parts))
        entry = replace(entry, network=combined)
    except InputError as error:
        raise InputError(f"model {name}: {error}") from error
    _require_fit_name(entry.name, known)
    return entry


def _find_parts(names: Any, known: Mapping[str, ModelEntry]) -> tuple[Network, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("network.parts must be a list of models' names")
    for name in names:
        if name not in known:
            raise InputError(
                f"its part {name!r} is no model{did_you_mean(name, known)}: a combined model "
                "stands after the models that it is made of"
            )
        if known[name].network.parts:
            raise InputError(
                f"its part {name!r} is a combined model itself: name the parts of that"
            )
    return tuple(known[name].network for name in names)


def _find_shared(name: str, shared: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if name not in shared:
        raise InputError(
            f"network.preprocessing = {name!r} is not in the file{did_you_mean(name, shared)}: "
            f"write a table [preprocessing.{name}]"
        )
    return shared[name]


def _require_fit_name(name: str, known: Mapping[str, ModelEntry]) -> None:
    require_names([name], "model", "the registry")
    if LAYER_MARK in name or ":" in name:
        raise InputError(
            f"the model name {name!r} must not hold ':' or '{LAYER_MARK}', which mean a library's "
            "model and a layer: give it another name"
        )
    if name.lower() in (other.lower() for other in known):
        raise InputError(f"the name {name!r} is taken: give the model another one")


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
