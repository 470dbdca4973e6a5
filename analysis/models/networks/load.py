"""From an entry of the registry and its files to a network that can be run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from conceptrsa.analysis.models.extraction import ExtractionSettings, Prompt
from conceptrsa.analysis.models.networks.extractor import Extractor
from conceptrsa.analysis.models.networks.named_networks import NAMED_LOADERS, load_named
from conceptrsa.analysis.models.networks.running import choose_device
from conceptrsa.analysis.models.registry import ModelEntry, Network, Weights
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.analysis.models.weights.tensors import CheckpointError, read_checkpoint
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config.errors import InputError

AUTHORS_EPSILON_OF_BIT = 1e-10
"""Added to the variance of a convolution's weights (google-research/big_transfer, `StdConv2d`)."""

Loader = Callable[[Network, Sequence[Path], ExtractionSettings], Any]


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
    if network.loader in NAMED_LOADERS:
        return load_named(network, files, *_placing(network, settings))
    if network.loader not in LOADERS:
        raise InputError(
            f"the registry names the loader {network.loader!r}, which does not exist: choose among "
            f"{', '.join(LOADERS)}"
        )
    loaded: Extractor = LOADERS[network.loader](network, files, settings)
    return loaded


def load_entry(
    entry: ModelEntry, files: Sequence[Path], settings: ExtractionSettings | None = None
) -> Extractor:
    """Do as `load_network`; the error about a wrong file says which one is wanted."""
    try:
        return load_network(entry.network, files, settings)
    except CheckpointError as error:
        wanted = " and ".join(weights.describe(entry.licence) for _, weights in entry.all_weights)
        raise CheckpointError(f"{str(error).rstrip('.')}; {entry.name} needs {wanted}.") from error


def _load_pictures(
    build: Callable[[Network], torch.nn.Module],
    network: Network,
    files: Sequence[Path],
    settings: ExtractionSettings,
) -> Any:
    """Fill an architecture that sees pictures."""
    from conceptrsa.analysis.models.networks.vision import ImageNetwork

    if network.weights is None or network.preprocessing is None:
        raise InputError(f"{network.architecture} needs weights and preprocessing in the registry")
    module = build(network)
    checkpoint = read_checkpoint(files[0])
    others = {} if network.weights.is_vouched_for else of_same_architecture(network)
    fit_state(checkpoint, network.weights, module, files[0], network.architecture, others)
    placing = _placing(network, settings)
    return ImageNetwork(module, network.preprocessing, network.layer, *placing)


def of_same_architecture(network: Network) -> dict[str, Weights]:
    """Give the networks of the packaged registry whose files another one's may be taken for."""
    return {
        entry.name: entry.network.weights
        for entry in read_zoo().entries
        if entry.network.weights
        and entry.network.architecture == network.architecture
        and entry.network.weights.keys != (network.weights and network.weights.keys)
    }


def _placing(network: Network, settings: ExtractionSettings) -> tuple[torch.device, torch.dtype]:
    """Device and number format that a network runs on."""
    half = settings.in_half_precision(network)
    return choose_device(settings.device), torch.float16 if half else torch.float32


def _build_torchvision(network: Network) -> torch.nn.Module:
    import torchvision

    if network.architecture not in torchvision.models.list_models():
        raise InputError(f"torchvision has no architecture {network.architecture!r}")
    module: torch.nn.Module = torchvision.models.get_model(network.architecture, weights=None)
    return module


def _build_timm(network: Network) -> torch.nn.Module:
    import timm

    if not timm.is_model(network.architecture):
        raise InputError(f"timm has no architecture {network.architecture!r}")
    module: torch.nn.Module = timm.create_model(network.architecture, pretrained=False)
    parts: Iterable[Any] = module.modules()
    for part in parts:
        if type(part).__name__ == "StdConv2d":
            # timm adds 1e-8, which changes features by 6e-5.
            part.eps = AUTHORS_EPSILON_OF_BIT
    return module


def _build_open_clip(network: Network) -> torch.nn.Module:
    import open_clip

    from conceptrsa.analysis.models.networks.named_open_clip import build

    if network.architecture not in open_clip.list_models():
        raise InputError(f"open_clip has no architecture {network.architecture!r}")
    module: torch.nn.Module = build(network.architecture).visual
    return module


def _build_tsm(network: Network) -> torch.nn.Module:
    from conceptrsa.analysis.models.networks.tsm import TsmResNet50

    return TsmResNet50(network.n_frames or 1)


def _load_text(network: Network, files: Sequence[Path], settings: ExtractionSettings) -> Any:
    """Fill an architecture that reads texts."""
    from conceptrsa.analysis.models.networks.clip_text import load_clip_text
    from conceptrsa.analysis.models.networks.language import load_bert, load_gpt2

    if network.weights is None:
        raise InputError(f"{network.architecture} needs weights in the registry")
    if network.loader == "clip_text":
        loaded = load_clip_text(files[0], network.weights, network.architecture)
    else:
        loaded = (load_bert if network.loader == "bert" else load_gpt2)(files, network.weights)
    loaded.module.to(*_placing(network, settings))
    return loaded


def _load_conse(network: Network, files: Sequence[Path], settings: ExtractionSettings) -> Any:
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


LOADERS: Mapping[str, Loader] = {
    "bert": _load_text,
    "clip_text": _load_text,
    "conse": _load_conse,
    "gpt2": _load_text,
    "open_clip": partial(_load_pictures, _build_open_clip),
    "timm": partial(_load_pictures, _build_timm),
    "torchvision": partial(_load_pictures, _build_torchvision),
    "tsm": partial(_load_pictures, _build_tsm),
}
