"""Shared code that describes and loads networks of libraries."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conceptrsa.analysis.models.registry import (
    LIBRARIES,
    Input,
    Network,
    Preprocessing,
    Weights,
)
from conceptrsa.bids_config.errors import InputError

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


def module_of(kind: str) -> Any:
    """Import the module of a kind of name, and with it the library."""
    return import_module(f"{__package__}.{MODULES[kind]}")


def named_network(
    kind: str,
    architecture: str,
    n_features: int,
    weights: Weights,
    preprocessing: Preprocessing | None = None,
    *,
    input: Input = "picture",
    layer: str = EMBEDDING,
) -> Network:
    """Describe a network of a library."""
    return Network(
        LOADER_PREFIX + kind,
        input,
        architecture,
        layer,
        n_features,
        LIBRARIES[kind],
        weights=weights,
        preprocessing=preprocessing,
    )


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


def without_values(compute: Callable[[], Any]) -> Any:
    """Compute what depends on shapes alone, without memory and time where a network lets itself.

    Parameters
    ----------
    compute : callable
        Builds a network, and may run it.
    """
    try:
        with torch.device("meta"):
            return compute()
    except (NotImplementedError, RuntimeError):
        # Some architectures compute with their weights while they are built or run, which tensors
        # without values refuse; what is really wrong is raised again here.
        return compute()


def count_features(build: Callable[[], nn.Module], sides: tuple[int, int]) -> int:
    """Give the length of the embedding of a network.

    Parameters
    ----------
    build : callable
        Gives the network, tapped by `tap_input` or `tap_output`.
    sides : tuple of int
        Height and width of its input, in pixels.
    """

    @torch.inference_mode()
    def count() -> int:
        found: list[Tensor] = []
        module = build().eval()
        embedding = module.get_submodule(EMBEDDING)
        embedding.register_forward_hook(lambda _module, _inputs, output: found.append(output))
        module(torch.zeros(1, 3, *sides))
        return found[0].shape[1]

    n_features: int = without_values(count)
    return n_features


def first_line(error: Exception) -> str:
    """Give the first line of an error's message that says something, without its full stop."""
    lines = (line.strip().rstrip(".:") for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


@contextmanager
def library_errors(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a library raises into one sentence: what failed, why, and what to do."""
    try:
        yield
    except Exception as error:  # JSON's, the libraries' own, and those of an architecture's code
        raise InputError(f"{what} ({first_line(error)}): {remedy}.") from error


def misfit(file: Path, architecture: str, error: Exception) -> InputError:
    """Give the error for tensors that a library cannot convert to an architecture's."""
    return InputError(
        f"{file} does not fit {architecture} ({first_line(error)}): give the weights of this "
        "network."
    )
