"""Features of stimuli: extracted by networks and kept in a cache, or read from a folder."""

import gc
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conceptrsa.analysis.arrays import Booleans, Singles
from conceptrsa.analysis.files.stimuli import Stimulus
from conceptrsa.analysis.models.cache import FeatureVector, Part, RecipeCache, save_parts
from conceptrsa.analysis.models.extraction_settings import (
    ExtractionSettings,
    Prompt,
    Sweep,
    fill_prompt,
)
from conceptrsa.analysis.models.feature_arrays import require_space
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
from conceptrsa.analysis.pace import Pace, Progress
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import file_errors

__all__ = ["Features", "each_features", "extract_features", "read_features", "write_features"]

EXTRACTION_VERSION = 4
"""Raised when a change of this package changes the numbers, so that old entries are left alone."""

_OTHER_PICTURE = "give the stimulus another picture"
_NOT_DESCRIBED = frozenset(
    {"layer", "part_names", "pooling", "n_features", "libraries", "half_precision", "weights"}
)
"""Fields of a network that its numbers do not depend on, or that the recipe has elsewhere."""

Stamp = tuple[int, int]
"""Size of a file, and when it was changed (ns)."""


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
        Folder in which features are kept.
    settings : ExtractionSettings, optional
        Layers, pooling, prompt, device.
    weights : WeightsOptions, optional
        Places of files of weights; by default downloads are kept below `cache_dir`.
    zoo : Zoo, optional
        By default the models of the packaged registry.
    progress : callable, optional
        Told of each model before its network runs, and of long runs how much time is left.

    Returns
    -------
    list of Features
        In the order of `models`, in single precision; those of several layers are called
        `MODEL@LAYER`.

    Raises
    ------
    InputError
        An unknown model or layer, a missing library, weights or label, weights that are not what
        the registry names, or a picture that cannot be read or changes meanwhile.
    """
    return list(each_features(stimuli, models, cache_dir, settings, weights, zoo, progress))


def each_features(
    stimuli: Sequence[Stimulus],
    models: Sequence[str],
    cache_dir: str | Path,
    settings: ExtractionSettings | None = None,
    weights: WeightsOptions | None = None,
    zoo: Zoo | None = None,
    progress: Progress = lambda step: None,
) -> Iterator[Features]:
    """Do as `extract_features`, and give the features of one model after the other.

    All networks run before the first is given. Where each is dropped before the next is taken,
    memory holds the features of one network at most, and of one layer where they are large.
    """
    settings = settings or ExtractionSettings()
    weights = weights or WeightsOptions(cache=Path(cache_dir) / "weights")
    zoo = zoo or read_zoo()
    # Before the content is read, so that a picture that changes later has another stamp.
    stamps = {stimulus.id: _stamp(stimulus.image) for stimulus in stimuli}
    hashes = {stimulus.id: hash_file(stimulus.image, _OTHER_PICTURE) for stimulus in stimuli}
    jobs = [
        _Job(
            find_entry(name, zoo, Path(cache_dir), weights),
            tuple(stimuli),
            hashes,
            stamps,
            Path(cache_dir),
            replace(settings, layers=layers),
            weights,
        )
        for (name, _), layers in _group_layers(models, settings.layers).items()
    ]
    # What a model cannot do without is missed before the first network runs.
    for job in jobs:
        job.require_inputs()
    for job in jobs:
        job.run(progress)
    for job in jobs:
        yield from job.features(progress)


def _stamp(picture: Path) -> Stamp:
    with file_errors(picture, otherwise=_OTHER_PICTURE):
        status = picture.stat()
    return status.st_size, status.st_mtime_ns


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
    stamps: dict[str, Stamp]
    cache_dir: Path
    settings: ExtractionSettings
    weights: WeightsOptions

    @property
    def network(self) -> Network:
        return self.entry.network

    def require_inputs(self) -> None:
        """Refuse a stimulus without the label that the model reads."""
        assert len(self._inputs) == len(self.stimuli)

    def run(self, progress: Progress) -> None:
        """Run the network on what the cache does not list."""
        columns = tuple(self._columns.values())
        self._run_where_lacking(self._cache.find(self._input_hashes, columns), progress)

    def features(self, progress: Progress) -> Iterator[Features]:
        """Take the features from the cache, after what is damaged there was computed again."""
        columns = tuple(self._columns.values())
        gathered, found = self._cache.gather(self._input_hashes, columns)
        if not found.all():
            self._run_where_lacking(found, progress)
            gathered, found = self._cache.gather(self._input_hashes, columns)
        if not found.all():
            raise InputError(
                f"{self._cache.folder} returns other values than were written: give another folder "
                "with --cache-dir"
            )
        for layer, column in self._columns.items():
            yield self._as_features(layer, gathered.columns[column])
            gathered.release()

    @cached_property
    def _columns(self) -> dict[str, str]:
        """Name of each layer in the cache."""
        layers = self.settings.layers_of(self.network, self._sweep)
        return {layer: f"{layer} {self._pooling}" for layer in layers}

    def _run_where_lacking(self, found: Booleans, progress: Progress) -> None:
        """Run the network on all stimuli that lack any layer, for all layers that any lacks."""
        layers = [layer for layer, row in zip(self._columns, found, strict=True) if not row.all()]
        places = np.flatnonzero(~found.all(axis=0))
        # Pictures with the same content are shown once.
        distinct = {self._input_hashes[place]: int(place) for place in reversed(places)}
        missing = sorted(distinct.values())
        if missing:
            progress(f"{self.entry.name}: {len(missing)} stimuli, {len(layers)} layers")
            save_parts(self._compute(missing, layers, progress), self._cache)
        self.free_network()

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
        self, rows: Sequence[int], layers: Sequence[str], progress: Progress
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
        pace = Pace(f"stimuli of {self.entry.name}", len(rows), 1, progress)
        begun = time.monotonic()
        waiting = rows
        for batch in batches:
            n_done = len(batch[layers[0]])
            done, waiting = waiting[:n_done], waiting[n_done:]
            self._require_numbers(batch, done)
            self._require_unchanged(done)
            part = Part(
                tuple(self._input_hashes[row] for row in done),
                {self._columns[layer]: batch[layer] for layer in layers},
            )
            if len(done) + len(waiting) == len(rows):
                require_space(part.n_bytes // n_done * len(rows), self._cache.folder)
            yield part
            pace.tell(time.monotonic() - begun, n_done)
            begun = time.monotonic()

    def _require_unchanged(self, rows: Sequence[int]) -> None:
        """Refuse features of a picture that is no longer the one that was hashed."""
        for stimulus in (self.stimuli[row] for row in rows):
            if (
                self.network.input == "picture"
                and _stamp(stimulus.image) != self.stamps[stimulus.id]
            ):
                raise InputError(
                    f"{stimulus.image} changed while features were computed: run again when "
                    "nothing changes the pictures"
                )

    def _require_numbers(self, batch: Mapping[str, FeatureVector], rows: Sequence[int]) -> None:
        for layer, values in batch.items():
            wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(wrong):
                stimulus = self.stimuli[rows[wrong[0]]].id
                raise InputError(
                    f"{self.entry.name} gives values that are not finite in its layer '{layer}' "
                    f"for '{stimulus}': leave out --half-precision, or choose another layer"
                )

    def _as_features(self, layer: str, values: Singles) -> Features:
        own = layer == self.network.layer and self._pooling == self.network.pooling
        if own and values.shape[1] != self.network.n_features:
            raise InputError(
                f"{self.entry.name} gives {values.shape[1]} features, but the registry says "
                f"{self.network.n_features}: correct n_features there"
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
