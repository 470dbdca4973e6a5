"""The zoo: which networks there are, read from `registry.toml`."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

from bids_config.errors import InputError

REGISTRY_FILE = Path(__file__).with_name("registry.toml")

Group = Literal["multimodal", "visual", "language", "categorical"]
GROUPS: tuple[Group, ...] = ("multimodal", "visual", "language", "categorical")


@dataclass(frozen=True)
class Weights:
    """Files of pretrained weights inside an installed package.

    Attributes
    ----------
    package : str
        Import name of the package, whose folder is found without importing it.
    keys : {'same', 'in order'}
        How the names in the file become the architecture's: they are the same, or the tensors
        follow each other in the same order with the same shapes.
    files : tuple of (str, str)
        Path below the package's folder, and SHA-256.
    """

    package: str
    keys: str
    files: tuple[tuple[str, str], ...]

    @property
    def folder(self) -> Path | None:
        """The package's folder, or None where it is not installed."""
        spec = find_spec(self.package)
        locations = spec.submodule_search_locations if spec else None
        return Path(next(iter(locations))) if locations else None

    @property
    def present(self) -> bool:
        """Whether every file is there (its content is checked when it is loaded)."""
        folder = self.folder
        return folder is not None and all((folder / name).is_file() for name, _ in self.files)


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB picture to a network's input.

    Attributes
    ----------
    resize : int
        The shorter side is brought to so many pixels.
    crop : int
        Side in pixels of the square taken from the centre.
    interpolation : str
        'bicubic', 'bilinear' ...
    mean, std : tuple of float
        Subtracted from, and divided into, red, green and blue in [0, 1].
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Network:
    """All that a model's features depend on, save the stimulus and the libraries' versions.

    Attributes
    ----------
    loader : str
        The code that loads it, see `analysis.models.loaders`.
    input : {'picture', 'label'}
        What of a stimulus it is shown.
    architecture, layer : str
        In the words of the library that the loader uses.
    n_features : int
        Length of a feature vector.
    libraries : tuple of str
        Distributions whose versions may change the numbers.
    weights, preprocessing : optional
        Where it has its own.
    parts : tuple of Network
        The networks that a combined model is made of.
    n_classes, class_prompt : optional
        ConSE: how many classes it combines, and the text for each, with `{label}` for its name.
    """

    loader: str
    input: Literal["picture", "label"]
    architecture: str
    layer: str
    n_features: int
    libraries: tuple[str, ...]
    weights: Weights | None = None
    preprocessing: Preprocessing | None = None
    parts: tuple["Network", ...] = ()
    n_classes: int | None = None
    class_prompt: str | None = None

    @property
    def all_libraries(self) -> tuple[str, ...]:
        """Its own libraries and those of its parts, sorted."""
        names = set(self.libraries).union(*(part.all_libraries for part in self.parts))
        return tuple(sorted(names))

    @property
    def all_weights_files(self) -> tuple[tuple[str, str], ...]:
        """Files of its own weights and of its parts', each with its SHA-256."""
        own = self.weights.files if self.weights else ()
        return own + tuple(file for part in self.parts for file in part.all_weights_files)

    @property
    def weights_present(self) -> bool:
        """Whether the weights, and those of every part, are installed."""
        own = self.weights is None or self.weights.present
        return own and all(part.weights_present for part in self.parts)


@dataclass(frozen=True)
class ModelEntry:
    """One model of the zoo: how it is called, what it is, and where it comes from.

    `note` is what a reader must know before believing its results; figures print it.
    """

    name: str
    group: Group
    source: str
    licence: str
    reference: str
    network: Network
    note: str = ""

    @property
    def weights_present(self) -> bool:
        """Whether the weights are installed; no network library is imported to find out."""
        return self.network.weights_present


def available_models() -> tuple[ModelEntry, ...]:
    """Give every model of the registry, in its order, whether its weights are there or not."""
    return tuple(_registry().values())


def find_model(name: str) -> ModelEntry:
    """Give the model of a name (upper or lower case does not matter).

    Raises
    ------
    InputError
        No model has this name; the message lists those that exist.
    """
    for entry in available_models():
        if entry.name.lower() == name.lower():
            return entry
    known = ", ".join(entry.name for entry in available_models())
    raise InputError(f"there is no model called '{name}': choose among {known}.")


@cache
def _registry() -> dict[str, ModelEntry]:
    """Read the registry; a combined model stands after the models that it is made of."""
    entries: dict[str, ModelEntry] = {}
    for table in tomllib.loads(REGISTRY_FILE.read_text(encoding="utf-8"))["model"]:
        network = _read_network(table.pop("network"), entries)
        entry = ModelEntry(**table, network=network)
        entries[entry.name] = entry
    return entries


def _read_network(table: dict[str, Any], known: dict[str, ModelEntry]) -> Network:
    parts = tuple(known[name].network for name in table.pop("parts", ()))
    weights = table.pop("weights", None)
    preprocessing = table.pop("preprocessing", None)
    return Network(
        **{**table, "libraries": tuple(table["libraries"])},
        weights=_read_weights(weights) if weights else None,
        preprocessing=_read_preprocessing(preprocessing) if preprocessing else None,
        parts=parts,
    )


def _read_weights(table: dict[str, Any]) -> Weights:
    return Weights(**{**table, "files": tuple(table["files"].items())})


def _read_preprocessing(table: dict[str, Any]) -> Preprocessing:
    colours = {key: cast(tuple[float, float, float], tuple(table[key])) for key in ("mean", "std")}
    return Preprocessing(**{**table, **colours})
