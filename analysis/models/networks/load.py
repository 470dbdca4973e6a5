"""From an entry of the registry and its files to a network that can be run."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from conceptrsa.analysis.models.extraction_settings import ExtractionSettings, Prompt
from conceptrsa.analysis.models.networks.named_networks import (
    LOADER_PREFIX,
    NAMED_LOADERS,
    module_of,
)
from conceptrsa.analysis.models.networks.running import Extractor, choose_device
from conceptrsa.analysis.models.registry import ModelEntry, Network, Weights
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.analysis.models.weights.tensors import CheckpointError, read_checkpoint
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import require_one_of

AUTHORS_EPSILON_OF_BIT = 1e-10
"""Added to the variance of a convolution's weights (google-research/big_transfer, `StdConv2d`)."""

PICTURES = ("open_clip", "timm", "torchvision", "tsm")
TEXTS = ("bert", "clip_text", "gpt2")
LOADERS = (*PICTURES, *TEXTS, "conse")
"""Loaders that a registry may name; `NAMED_LOADERS` are those of models by name."""


def load_network(
    network: Network, files: Sequence[Path], settings: ExtractionSettings | None = None
) -> Extractor:
    """Build a network and fill it with its weights.

    Parameters
    ----------
    network : Network
    files : sequence of Path
        Its own files of weights in the order of the registry, then those of its parts; they have
        been checked by hash.
    settings : ExtractionSettings, optional
        With the device; by default the CPU.

    Raises
    ------
    InputError
        A file is no checkpoint, or not one of this architecture; or there is no such loader or
        device.
    """
    settings = settings or ExtractionSettings()
    loader = network.loader
    if loader not in NAMED_LOADERS:
        require_one_of(loader, LOADERS, "there is no loader", "give one in the registry:")
    if loader == "conse":
        return _load_conse(network, files, settings)
    if loader in NAMED_LOADERS:
        loaded = module_of(loader.removeprefix(LOADER_PREFIX)).load(network, files)
    elif loader in TEXTS:
        loaded = _load_text(network, files)
    else:
        loaded = _load_pictures(network, files)
    half = settings.in_half_precision(network)
    placing = choose_device(settings.device), torch.float16 if half else torch.float32
    if network.input == "label":
        loaded.module.to(*placing)
        read: Extractor = loaded
        return read
    from conceptrsa.analysis.models.networks.vision import ImageNetwork

    module, preprocessing = loaded
    return ImageNetwork(module, preprocessing, network.layer, *placing)


def load_entry(
    entry: ModelEntry, files: Sequence[Path], settings: ExtractionSettings | None = None
) -> Extractor:
    """Do as `load_network`; the error about a wrong file says which one is wanted."""
    try:
        return load_network(entry.network, files, settings)
    except CheckpointError as error:
        wanted = " and ".join(weights.describe(entry.licence) for _, weights in entry.all_weights)
        raise CheckpointError(f"{str(error).rstrip('.')}; {entry.name} needs {wanted}.") from error


def _load_pictures(network: Network, files: Sequence[Path]) -> Any:
    """Fill an architecture that sees pictures; give it with its preprocessing."""
    if network.weights is None or network.preprocessing is None:
        raise InputError(f"{network.architecture} needs weights and preprocessing in the registry")
    module = build(network)
    checkpoint = read_checkpoint(files[0])
    others = {} if network.weights.is_vouched_for else of_same_architecture(network)
    fit_state(checkpoint, network.weights, module, files[0], network.architecture, others)
    return module, network.preprocessing


def of_same_architecture(network: Network) -> dict[str, Weights]:
    """Give the networks of the packaged registry whose files another one's may be taken for."""
    return {
        entry.name: entry.network.weights
        for entry in read_zoo().entries
        if entry.network.weights
        and entry.network.architecture == network.architecture
        and entry.network.weights.keys != (network.weights and network.weights.keys)
    }


def build(network: Network) -> torch.nn.Module:
    """Build an architecture that sees pictures, with random weights."""
    name = network.architecture
    if network.loader == "tsm":
        from conceptrsa.analysis.models.networks.tsm import TsmResNet50

        return TsmResNet50(network.n_frames or 1)
    library = import_module(network.loader)
    models = library.models if network.loader == "torchvision" else library
    require_one_of(name.partition(".")[0], models.list_models(), f"{network.loader} has no network")
    if network.loader == "open_clip":
        from conceptrsa.analysis.models.networks import named_open_clip

        tower: torch.nn.Module = named_open_clip.build(name).visual
        return tower
    create = models.create_model if network.loader == "timm" else models.get_model
    module: torch.nn.Module = create(name)
    for part in module.modules():
        if type(part).__name__ == "StdConv2d":
            # timm adds 1e-8, which changes features by 6e-5.
            part.eps = AUTHORS_EPSILON_OF_BIT  # type: ignore[assignment]
    return module


def _load_text(network: Network, files: Sequence[Path]) -> Any:
    """Fill an architecture that reads texts."""
    if network.weights is None:
        raise InputError(f"{network.architecture} needs weights in the registry")
    if network.loader == "clip_text":
        from conceptrsa.analysis.models.networks.named_open_clip import load_clip_text

        return load_clip_text(files[0], network.weights, network.architecture)
    from conceptrsa.analysis.models.networks.hf_text import load_by_keys

    return load_by_keys(network.loader, files, network.weights)


def _load_conse(network: Network, files: Sequence[Path], settings: ExtractionSettings) -> Extractor:
    from conceptrsa.analysis.models.networks.conse import ConSE

    visual, language = network.parts
    if visual.weights is None or network.n_classes is None or network.class_prompt is None:
        raise InputError("a ConSE needs a visual part, n_classes and class_prompt in the registry")
    n_visual = len(visual.weights.files)
    sees: Any = load_network(visual, files[:n_visual], settings)
    reads = load_network(language, files[n_visual:], settings)

    def embed(prompt: Prompt) -> Any:
        return reads.extract([prompt], [language.layer], language.pooling)[language.layer][0]

    return ConSE(sees, embed, network.n_classes, network.class_prompt)
