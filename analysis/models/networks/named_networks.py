"""Library models by name: which code describes and loads them, and what that code shares."""

from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conceptrsa.analysis.models.networks.extractor import Extractor
from conceptrsa.analysis.models.registry import ModelEntry, Network
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import did_you_mean

CPU = torch.device("cpu")
EMBEDDING = "embedding"
"""Name that the default layer of every picture network gets: the vector before the classifier."""

LOADER_PREFIX = "named-"
MODULES = {
    "torchvision": "named_torchvision",
    "timm": "named_timm",
    "open_clip": "named_open_clip",
    "open_clip_text": "named_open_clip",
    "hf": "named_transformers",
    "hf_text": "named_transformers",
}
"""Module beside this one that describes and loads what a kind of name stands for."""

NAMED_LOADERS = tuple(LOADER_PREFIX + kind for kind in MODULES)


def describe(name: str, weights: WeightsOptions) -> ModelEntry:
    """Ask a library what a name stands for, see `named_models.describe_named`."""
    kind, _, model = name.partition(":")
    entry: ModelEntry = _module_of(kind).describe(name, kind, model, weights)
    return entry


def load_named(
    network: Network,
    files: Sequence[Path],
    device: torch.device = CPU,
    dtype: torch.dtype = torch.float32,
) -> Extractor:
    """Build a network that `describe_named` described, and fill it with its weights.

    Parameters
    ----------
    network : Network
        Its loader is one of `NAMED_LOADERS`.
    files : sequence of Path
        In the order of `network.weights.files`; they have been checked.
    device : torch.device
    dtype : torch.dtype
        `torch.float16` for half precision.

    Raises
    ------
    InputError
        A file is no checkpoint, or not one of this architecture.
    """
    kind = network.loader.removeprefix(LOADER_PREFIX)
    extractor: Extractor = _module_of(kind).load(network, files, device, dtype)
    return extractor


def tap_input(module: nn.Module, classifier: nn.Module) -> nn.Module:
    """Give what a classifier is fed a name, `EMBEDDING`; the network computes what it did.

    Parameters
    ----------
    module : torch.nn.Module
        The whole network.
    classifier : torch.nn.Module
        One of its modules.
    """
    embedding = nn.Identity()
    module.add_module(EMBEDDING, embedding)
    classifier.register_forward_pre_hook(lambda _module, inputs: embedding(inputs[0]))
    return module


def tap_output(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> nn.Module:
    """Give a network another output, whose name is `EMBEDDING`.

    Parameters
    ----------
    module : torch.nn.Module
        The whole network.
    forward : callable
        From pictures to vectors, by the network's own modules.
    """
    embedding = nn.Identity()
    module.add_module(EMBEDDING, embedding)
    module.forward = lambda pictures: embedding(forward(pictures))
    return module


def count_features(build: Callable[[], nn.Module], sides: tuple[int, int]) -> int:
    """Give the length of the embedding of a network.

    Shapes alone are computed where the architecture lets itself be built so; this needs neither
    memory nor time.

    Parameters
    ----------
    build : callable
        Gives the network, tapped by `tap_input` or `tap_output`.
    sides : tuple of int
        Height and width of its input, in pixels.
    """
    try:
        return _count_on(torch.device("meta"), build, sides)
    except (NotImplementedError, RuntimeError):
        # Some architectures compute with their weights while they are built or run, which tensors
        # without values refuse; what is really wrong is raised again here.
        return _count_on(CPU, build, sides)


@torch.inference_mode()
def _count_on(device: torch.device, build: Callable[[], nn.Module], sides: tuple[int, int]) -> int:
    found: list[Tensor] = []
    with device:
        module = build().eval()
        embedding = module.get_submodule(EMBEDDING)
        embedding.register_forward_hook(lambda _module, _inputs, output: found.append(output))
        module(torch.zeros(1, 3, *sides))
    return found[0].shape[1]


def require_known(word: str, known: Iterable[str], what: str) -> None:
    """Refuse a word that a library does not know.

    Parameters
    ----------
    word : str
    known : iterable of str
        The library's words.
    what : str
        For the message: 'timm has no network'.
    """
    candidates = tuple(known)
    if word not in candidates:
        close = did_you_mean(word, candidates)
        few = f": it has {', '.join(candidates)}" if len(candidates) <= 12 else ""
        raise InputError(f"{what} '{word}'{close}{few}: correct the name.")


def first_line(error: Exception) -> str:
    """Give the first line of an error's message that says something, without its full stop."""
    lines = (line.strip().rstrip(".:") for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def _module_of(kind: str) -> Any:
    return import_module(f"{__package__}.{MODULES[kind]}")
