"""The zoo: every model that can be named, from the registry, a user's own one, and libraries."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from conceptrsa.analysis.models.registry import LIBRARIES, ModelEntry
from conceptrsa.analysis.models.registry_file import LAYER_MARK, read_registry
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.toml_tables import did_you_mean

REGISTRY_FILE = Path(__file__).with_name("registry.toml")


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
        library, colon, model = name.partition(":")
        if colon:
            others = [f"{known}:{model}" for known in LIBRARIES]
            raise InputError(
                f"there is no library called '{library}'{did_you_mean(name, others)}: choose "
                f"among {', '.join(LIBRARIES)}"
            )
        raise InputError(
            f"there is no model called '{name}'{did_you_mean(name, [*self.names, *others])}: "
            "choose among "
            f"{', '.join(self.names)}."
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
        raise InputError(f"'{name}' is no model: write MODEL or MODEL{LAYER_MARK}LAYER")
    return model, layer or None


@cache
def _packaged() -> dict[str, ModelEntry]:
    return read_registry(REGISTRY_FILE, {})
