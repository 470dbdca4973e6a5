"""The zoo: every model that can be named, from the registry and a user's own ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from conceptrsa.analysis.models.registry import LIBRARIES, ModelEntry, Preprocessing
from conceptrsa.bids_config.errors import InputError, told_of
from conceptrsa.bids_config.names import did_you_mean, require_names, require_one_of
from conceptrsa.bids_config.reader import read_table, read_toml

REGISTRY_FILE = Path(__file__).with_name("registry.toml")

LAYER_MARK = "@"
"""Stands between a model's name and a layer's, so that no model may have it in its name."""


@dataclass(frozen=True)
class Zoo:
    """Models of registries.

    Attributes
    ----------
    entries : tuple of ModelEntry
        In the order of the files, whether their weights are there or not.
    """

    entries: tuple[ModelEntry, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(entry.name for entry in self.entries)

    def find(self, name: str, others: Sequence[str] = ()) -> ModelEntry:
        """Give the model of a name (upper or lower case does not matter).

        `others` are words that could have been meant as well.

        Raises
        ------
        InputError
            No model has this name; the message lists those that exist.
        """
        for entry in self.entries:
            if entry.name.lower() == name.lower():
                return entry
        if ":" in name:
            library = name.partition(":")[0]
            require_one_of(library, LIBRARIES, "there is no library called", "choose among")
        raise InputError(
            f"there is no model called '{name}'{did_you_mean(name, [*self.names, *others])}: "
            f"choose among {', '.join(self.names)}"
        )


def read_zoo(registries: Sequence[Path] = ()) -> Zoo:
    """Read the registry that comes with the tool, and then a user's own ones.

    Raises
    ------
    InputError
        On a file that is no registry, or a name that is taken.
    """
    entries = dict(_packaged())
    for file in registries:
        entries |= read_registry(file, entries)
    return Zoo(tuple(entries.values()))


def split_layer(name: str) -> tuple[str, str | None]:
    """Split 'ResNet50@layer3' into the model's name and the layer's, which may be absent."""
    model, mark, layer = name.partition(LAYER_MARK)
    if mark and not (model and layer):
        raise InputError(f"'{name}' is not a model: write MODEL or MODEL{LAYER_MARK}LAYER")
    return model, layer or None


@cache
def _packaged() -> dict[str, ModelEntry]:
    return read_registry(REGISTRY_FILE, {})


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
    content = read_toml(file)
    models, shared = content.pop("model", []), content.pop("preprocessing", {})
    entries: dict[str, ModelEntry] = {}
    with told_of(file):
        is_sound = not content and isinstance(models, list) and isinstance(shared, dict)
        if not is_sound or not all(
            isinstance(table, dict) for table in [*models, *shared.values()]
        ):
            raise InputError(
                "write each model as a table that begins with [[model]], what models share as "
                "[preprocessing.NAME], and nothing else"
            )
        for name, table in shared.items():
            read_table(Preprocessing, table, f"preprocessing.{name}")
        for table in models:
            entry = _read_entry(table, {**known, **entries}, shared)
            entries[entry.name] = entry
    return entries


def _read_entry(
    table: dict[str, Any], known: Mapping[str, ModelEntry], shared: Mapping[str, dict[str, Any]]
) -> ModelEntry:
    with told_of(f"model {table.get('name', 'without a name')}"):
        network = table.get("network")
        if isinstance(network, dict):
            if "parts" in network:
                network["part_names"] = network.pop("parts")
            preprocessing = network.get("preprocessing")
            if isinstance(preprocessing, str):
                if preprocessing not in shared:
                    raise InputError(
                        f"network.preprocessing = {preprocessing!r} is not in the file"
                        f"{did_you_mean(preprocessing, shared)}: write a table "
                        f"[preprocessing.{preprocessing}]"
                    )
                network["preprocessing"] = shared[preprocessing]
        entry = read_table(ModelEntry, table)
        parts = tuple(_find_part(name, known).network for name in entry.network.part_names)
    require_names([entry.name], "model", "the registry")
    if LAYER_MARK in entry.name or ":" in entry.name:
        raise InputError(
            f"the model name {entry.name!r} must not hold ':' or '{LAYER_MARK}', which mark a "
            "library's model and a layer: give it another name"
        )
    if entry.name.lower() in map(str.lower, known):
        raise InputError(f"the name {entry.name!r} is taken: give the model another one")
    return replace(entry, network=replace(entry.network, parts=parts))


def _find_part(name: str, known: Mapping[str, ModelEntry]) -> ModelEntry:
    if name not in known or known[name].network.parts:
        raise InputError(
            f"its part {name!r} must be an earlier model that is not itself "
            f"combined{did_you_mean(name, known)}: correct it"
        )
    return known[name]
