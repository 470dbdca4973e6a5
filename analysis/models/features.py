"""Features of stimuli: extracted by networks and kept in a cache, or read from a folder."""

import gc
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.files.stimuli import Stimulus
from conceptrsa.analysis.models.cache import (
    FeatureVector,
    Part,
    RecipeCache,
    gathered,
)
from conceptrsa.analysis.models.extraction_settings import (
    ExtractionSettings,
    Prompt,
    Sweep,
    fill_prompt,
)
from conceptrsa.analysis.models.feature_files import Features, read_features, write_features
from conceptrsa.analysis.models.named_models import describe_named, is_named
from conceptrsa.analysis.models.registry import (
    ModelEntry,
    Network,
    Pooling,
    versions_of,
)
from conceptrsa.analysis.models.weights.hashes import hash_file
from conceptrsa.analysis.models.weights.locate import (
    KnownFile,
    identify_all_weights,
    obtain_all_weights,
)
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.analysis.models.zoo import (
    LAYER_MARK,
    Zoo,
    read_zoo,
    split_layer,
)
from conceptrsa.bids_config.errors import InputError

__all__ = ["Features", "extract_features", "read_features", "write_features"]

EXTRACTION_VERSION = 4
"""Raised when a change of this package changes the numbers, so that old entries are left alone."""

_OTHER_PICTURE = "give the stimulus another picture"
_NOT_DESCRIBED = frozenset(
    {"layer", "part_names", "pooling", "n_features", "libraries", "half_precision", "weights"}
)
"""Fields of a network that its numbers do not depend on, or that the recipe has elsewhere."""

Progress = Callable[[str], None]


def extract_features(
    stimuli: Sequence[Stimulus],
    models: Sequence[str],
    cache_dir: str | Path,
    settings: ExtractionSettings | None = None,
    weights: WeightsOptions | None = None,
    zoo: Zoo | None = None,
    progress: Progress = lambda step: None,
) -> list[Features]:
    """Run networks on stimuli, or take what they gave before from the cache.

    Vectors are kept by the content of the picture (or the text), the network, its weights,
    preprocessing and layer, and the libraries' versions; one changed picture is one vector to
    compute. While all are there, no network library is imported. All layers of a network come from
    one pass.

    Parameters
    ----------
    stimuli : sequence of Stimulus
        Pictures and labels.
    models : sequence of str
        Names of models in the zoo, or `MODEL@LAYER`.
    cache_dir : str or Path
        Where vectors are kept.
    settings : ExtractionSettings, optional
        Layers, pooling, prompt, device.
    weights : WeightsOptions, optional
        Where files of weights are; by default downloads are kept below `cache_dir`.
    zoo : Zoo, optional
        By default the models of the packaged registry.
    progress : callable, optional
        Told of each model before its network runs.

    Returns
    -------
    list of Features
        In the order of `models`; those of several layers are called `MODEL@LAYER`.

    Raises
    ------
    InputError
        An unknown model or layer, a missing library, weights or label, weights that are not what
        the registry names, or a picture that cannot be read.
    """
    settings = settings or ExtractionSettings()
    weights = weights or WeightsOptions(cache=Path(cache_dir) / "weights")
    zoo = zoo or read_zoo()
    hashes = {stimulus.id: hash_file(stimulus.image, _OTHER_PICTURE) for stimulus in stimuli}
    jobs = [
        _Job(
            find_entry(name, zoo, Path(cache_dir), weights),
            tuple(stimuli),
            hashes,
            Path(cache_dir),
            replace(settings, layers=layers),
            weights,
        )
        for (name, _), layers in _group_layers(models, settings.layers).items()
    ]
    # What a model cannot do without is missed before the first network runs.
    for job in jobs:
        job.require_inputs()
    features: list[Features] = []
    for job in jobs:
        features += job.features(progress)
        job.free_network()
    return features


def find_entry(name: str, zoo: Zoo, cache_dir: Path, weights: WeightsOptions) -> ModelEntry:
    """Give the model of a name: of the zoo, or of a library where the name has a colon."""
    return describe_named(name, cache_dir / "named", weights) if is_named(name) else zoo.find(name)


def _group_layers(
    models: Sequence[str], layers: tuple[str, ...]
) -> dict[tuple[str, bool], tuple[str, ...]]:
    """Gather the layers that are wanted of each model, by its name and whether there are any.

    None stands for the registry's layer, whose features have the model's own name.
    """
    wanted: dict[tuple[str, bool], tuple[str, ...]] = {}
    for model in models:
        name, layer = split_layer(model)
        more = (layer,) if layer else layers
        key = (name, bool(more))
        wanted[key] = tuple(dict.fromkeys((*wanted.get(key, ()), *more)))
    return wanted


@dataclass(frozen=True)
class _Job:
    """One model, some of its layers, and the stimuli."""

    entry: ModelEntry
    stimuli: tuple[Stimulus, ...]
    hashes: dict[str, str]
    cache_dir: Path
    settings: ExtractionSettings
    weights: WeightsOptions

    @property
    def network(self) -> Network:
        return self.entry.network

    def require_inputs(self) -> None:
        """Refuse a stimulus without the label that the model reads."""
        assert len(self._inputs) == len(self.stimuli)

    def features(self, progress: Progress) -> list[Features]:
        """Take the features from the cache, after the network has run on what is not there."""
        layers = self.settings.layers_of(self.network, self._sweep)
        columns = {layer: f"{layer} {self._pooling}" for layer in layers}
        found = self._cache.load(self._input_hashes, list(columns.values()))
        wanted = set(self._input_hashes)
        lacking = [layer for layer, column in columns.items() if not wanted <= found[column].keys()]
        missing = [
            row
            for row, content in enumerate(self._input_hashes)
            if any(content not in found[columns[layer]] for layer in lacking)
        ]
        if missing:
            progress(f"{self.entry.name}: {len(missing)} stimuli, {len(lacking)} layers")
            for part in gathered(self._compute(missing, lacking, columns), self._cache.save):
                for column, values in part.columns.items():
                    found[column].update(zip(part.inputs, values, strict=True))
        return [self._as_features(layer, found[columns[layer]]) for layer in layers]

    def _sweep(self, which: Sweep) -> tuple[str, ...]:
        """Give the names of all layers or blocks, kept with the features once they are known."""
        kept = self._cache.load_list(which)
        if kept is None:
            kept = self._extractor.layers(which)
            self._cache.save_list(which, kept)
        return kept

    @cached_property
    def _pooling(self) -> Pooling:
        return self.settings.pooling_of(self.network)

    @cached_property
    def _inputs(self) -> tuple[Any, ...]:
        """Pictures, or prompts."""
        if self.network.input == "picture":
            return tuple(stimulus.image for stimulus in self.stimuli)
        return tuple(self._prompt(stimulus) for stimulus in self.stimuli)

    @cached_property
    def _input_hashes(self) -> tuple[str, ...]:
        if self.network.input == "picture":
            return tuple(self.hashes[stimulus.id] for stimulus in self.stimuli)
        texts = [repr(asdict(prompt)) for prompt in self._inputs]
        return tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts)

    def _prompt(self, stimulus: Stimulus) -> Prompt:
        if stimulus.label is None:
            raise InputError(
                f"{stimulus.image} has no label, which {self.entry.name} needs: add a row for "
                f"'{stimulus.id}' to labels.tsv (columns stimulus, label) in the folder of the "
                "pictures."
            )
        return fill_prompt(self.settings.prompt, stimulus.label)

    @cached_property
    def _cache(self) -> RecipeCache:
        return RecipeCache(self.cache_dir / "features", self._recipe)

    @cached_property
    def _weights_files(self) -> tuple[KnownFile, ...]:
        return identify_all_weights(self.entry, self.weights)

    @cached_property
    def _recipe(self) -> dict[str, Any]:
        """All that the features depend on besides stimulus, layer and pooling."""
        network = self.network
        runs_on: dict[str, Any] = {"device": self.settings.device}
        if self.settings.device != "cpu":
            runs_on["half_precision"] = [
                self.settings.in_half_precision(part) for part in (network, *network.parts)
            ]
        return {
            "extraction": EXTRACTION_VERSION,
            "network": _describe(network),
            "weights_sha256": [[file.name, file.sha256] for file in self._weights_files],
            "libraries": versions_of(network.all_libraries, self.entry.name),
            **runs_on,
        }

    @cached_property
    def _extractor(self) -> Any:
        from conceptrsa.analysis.models.networks.load import load_entry

        files = [file.path for file in obtain_all_weights(self.entry, self.weights)]
        return load_entry(self.entry, files, self.settings)

    def free_network(self) -> None:
        """Give the network's memory back at once, so that one network is held at a time.

        Modules and hooks refer to each other, which keeps them until Python looks for such rings.
        """
        if self.__dict__.pop("_extractor", None) is not None:
            gc.collect()

    def _compute(
        self, rows: Sequence[int], layers: Sequence[str], columns: dict[str, str]
    ) -> Iterator[Part]:
        """Run the network on some stimuli; what is done when a run is interrupted is kept."""
        from conceptrsa.analysis.models.networks.running import run_batches

        settings = self.settings
        batches = run_batches(
            self._extractor,
            [self._inputs[row] for row in rows],
            layers,
            self._pooling,
            settings,
        )
        for batch in batches:
            done = len(batch[layers[0]])
            inputs = tuple(self._input_hashes[row] for row in rows[:done])
            self._require_numbers(batch, rows)
            rows = rows[done:]
            yield Part(inputs, {columns[layer]: batch[layer] for layer in layers})

    def _require_numbers(self, batch: Mapping[str, FeatureVector], rows: Sequence[int]) -> None:
        for layer, values in batch.items():
            wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(wrong):
                stimulus = self.stimuli[rows[wrong[0]]].id
                raise InputError(
                    f"{self.entry.name} gives no finite numbers in its layer '{layer}' for "
                    f"'{stimulus}': leave out --half-precision, or choose another layer"
                )

    def _as_features(self, layer: str, vectors: dict[str, FeatureVector]) -> Features:
        values: Floats = np.array(
            [vectors[content] for content in self._input_hashes], dtype=np.float64
        )
        own = layer == self.network.layer and self._pooling == self.network.pooling
        if own and values.shape[1] != self.network.n_features:
            raise InputError(
                f"{self.entry.name} gives {values.shape[1]} features, the registry says "
                f"{self.network.n_features}: put n_features right there"
            )
        name = f"{self.entry.name}{LAYER_MARK}{layer}" if self.settings.layers else self.entry.name
        files = self._weights_files
        origin = {
            **self._recipe,
            "layer": layer,
            "pooling": self._pooling,
            "own_layer": self.network.layer,
            "weights_origin": [[file.name, file.origin] for file in files],
        }
        if self.network.input == "label":
            origin["prompt"] = self.settings.prompt
        note = self.entry.full_note
        if others := [file.name for file in files if file.origin == "another"]:
            warning = f"its {', '.join(others)} is not the published one"
            note = "; ".join(filter(None, [self.entry.note, warning]))
        ids = tuple(stimulus.id for stimulus in self.stimuli)
        return Features(name, self.entry.group, ids, values, note, origin)


def _describe(network: Network) -> dict[str, Any]:
    """All of a network that its numbers depend on, as JSON can hold it.

    Addresses, and what a layer's output becomes, are left out.
    """
    described = {key: value for key, value in asdict(network).items() if key not in _NOT_DESCRIBED}
    if network.weights:
        described["keys"] = asdict(network.weights.keys)
        # What a file is refused by changes no number.
        del described["keys"]["shapes"], described["keys"]["foreign"]
    described["parts"] = [
        {**_describe(part), "layer": part.layer, "pooling": part.pooling} for part in network.parts
    ]
    return {key: value for key, value in described.items() if value not in (None, [], ())}
