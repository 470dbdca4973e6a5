"""Classifiers of torchvision by name: `torchvision:resnet50`, `torchvision:resnet50/WEIGHTS`."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torchvision
from torch import nn

from conceptrsa.analysis.models.networks.named_networks import (
    count_features,
    named_network,
    tap_input,
)
from conceptrsa.analysis.models.registry import (
    KeyMapping,
    ModelEntry,
    Network,
    Preprocessing,
    Weights,
    WeightsFile,
)
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.analysis.models.weights.tensors import read_checkpoint
from conceptrsa.bids_config.names import require_one_of

MODELS = torchvision.models
PAGE = "https://docs.pytorch.org/vision/stable/models.html"
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+$")
"""Ending of file names of torch's hub: the beginning of their SHA-256."""

RENAMED_SINCE = (
    (r"(\.denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2"),
    (r"(\.mlp\.)linear_1\.", r"\g<1>0."),
    (r"(\.mlp\.)linear_2\.", r"\g<1>3."),
)
"""Modules of DenseNet and of the vision transformer whose names changed after their files."""

AUXILIARY = {"aux_logits": True, "transform_input": True, "init_weights": False}
SETTINGS: dict[str, dict[str, Any]] = {"googlenet": AUXILIARY, "inception_v3": AUXILIARY}
"""Arguments that torchvision adds to these architectures when it loads weights."""


def describe(name: str, kind: str, model: str, options: WeightsOptions) -> ModelEntry:
    """Describe a classifier and one of its sets of weights, by default torchvision's best."""
    architecture, _, tag = model.partition("/")
    require_one_of(
        architecture, MODELS.list_models(module=MODELS), "torchvision has no network for pictures"
    )
    sets = MODELS.get_model_weights(architecture).__members__
    require_one_of(tag or "DEFAULT", sets, f"torchvision has no weights of {architecture} called")
    weights = sets[tag or "DEFAULT"]
    recipe = weights.transforms()
    full = f"{architecture}/{weights.name}"
    crop = recipe.crop_size[0]
    network = named_network(
        kind,
        full,
        count_features(lambda: build(full), (crop, crop)),
        Weights((published_file(weights.url),), KeyMapping(rename=RENAMED_SINCE)),
        Preprocessing(
            recipe.resize_size[0],
            crop,
            recipe.interpolation.value,
            tuple(recipe.mean),
            tuple(recipe.std),
        ),
    )
    licence = weights.meta.get("license") or PAGE
    return ModelEntry(
        name=name,
        group="visual",
        source=f"torchvision {full}",
        licence=f"see {licence}",
        reference=weights.meta.get("recipe") or PAGE,
        network=network,
    )


def build(full: str) -> nn.Module:
    """Build an architecture as its weights want it, with random weights.

    Parameters
    ----------
    full : str
        Architecture and set of weights, as 'vit_b_16/IMAGENET1K_V1'.
    """
    architecture, _, tag = full.partition("/")
    weights = MODELS.get_model_weights(architecture)[tag]
    settings = dict(SETTINGS.get(architecture, {}))
    if architecture.startswith("vit_"):
        settings["image_size"] = weights.meta["min_size"][0]
    module: nn.Module = MODELS.get_model(
        architecture, weights=None, num_classes=len(weights.meta["categories"]), **settings
    )
    return tap_input(module, find_classifier(module))


def find_classifier(module: nn.Module) -> nn.Module:
    """Give the last linear layer, or the last convolution of a network without any."""
    kinds = [
        [part for part in module.modules() if isinstance(part, kind)]
        for kind in (nn.Linear, nn.Conv2d)
    ]
    return next(parts[-1] for parts in kinds if parts)


def load(network: Network, files: Sequence[Path]) -> tuple[nn.Module, Preprocessing | None]:
    """Build a classifier and fill it strictly."""
    assert network.weights is not None
    module = build(network.architecture)
    # MNASNet refuses a state without the version that only torch's own reading keeps; its parts
    # have the same names and take the state as it is.
    target = (
        nn.ModuleDict(dict(module.named_children()))
        if isinstance(module, MODELS.MNASNet)
        else module
    )
    fit_state(
        read_checkpoint(files[0]), network.weights.keys, target, files[0], network.architecture
    )
    return module, network.preprocessing


def published_file(url: str) -> WeightsFile:
    """Describe a file by its address, whose end may hold the beginning of its SHA-256."""
    name = PurePosixPath(url).name
    found = HASH_IN_NAME.search(name)
    return WeightsFile(name, url, found[1] if found else "")
