"""Networks of timm by name: `timm:vit_base_patch16_224`, `timm:vit_base_patch16_224.TAG`."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor, nn

from conceptrsa.analysis.models.networks.named_networks import (
    count_features,
    misfit,
    named_network,
    tap_output,
    without_values,
)
from conceptrsa.analysis.models.networks.named_torchvision import published_file
from conceptrsa.analysis.models.registry import (
    HUB,
    KeyMapping,
    ModelEntry,
    Network,
    Preprocessing,
    Weights,
    WeightsFile,
    hub_file,
)
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.analysis.models.weights.tensors import read_checkpoint
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import require_one_of

WITH_TEXT = re.compile(
    "clip|openai|laion|datacomp|dfn2b|dfn5b|merged2b|cc12m|yfcc15m|siglip|webli|pali|tips|"
    "aimv2|beit3|_pe_|florence|ogvl_2pt5|qwen|deepseek|gemma"
)
"""In the names of networks and of their weights: trained on pictures together with text.

By captions (CLIP, SigLIP, TIPS, Perception Encoder), by writing text (AIMv2, BEiT-3), or as the eye
of a language model. Networks that only imitate such a one (EVA's masked pictures, RADIO, EUPE), and
those trained on hashtags as classes (SWAG, WSL), are visual.
"""
FINE_TUNED = re.compile(r"_ft_in\d+k")
"""Trained on a contrastive task and then on classes, so that the last layer is a classifier."""

FILE_NAMES = {"jienengchen": "pytorch_model.bin"}
"""Organisations on the hub that have no model.safetensors (as open_clip's list of weights says)."""


def describe(name: str, kind: str, model: str, options: WeightsOptions) -> ModelEntry:
    """Describe a network and one of its sets of weights, by default timm's first."""
    config = _pretrained_config(model)
    full = f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)
    module: Any = without_values(lambda: timm.create_model(full))
    recipe = resolve_model_data_config(module)
    channels, *sides = recipe["input_size"]
    if channels != 3:
        raise InputError(
            f"{name} takes pictures with {channels} channels: choose a network that takes 3."
        )
    with_text = bool(WITH_TEXT.search(full))
    file = _weights_file(config, name)
    network = named_network(
        kind,
        full,
        count_features(lambda: tap(timm.create_model(full), full), sides),
        Weights((file,)),
        _preprocessing(recipe),
    )
    page = f"{HUB}/{config.hf_hub_id}" if config.hf_hub_id else file.url
    tuned = with_text and FINE_TUNED.search(full)
    return ModelEntry(
        name=name,
        group="multimodal" if with_text else "visual",
        source=f"timm {full}",
        licence=config.license if config.license not in (None, "unknown") else f"see {page}",
        reference=_reference(config) or page,
        network=network,
        note="trained with text and then on classes of pictures" if tuned else "",
    )


def tap(module: Any, full: str) -> nn.Module:
    """Name the vector before the classifier, or the joint embedding where there is no classifier.

    A network that was trained to match pictures with text has a projection in the classifier's
    place, whose output is what is compared with text.
    """
    if WITH_TEXT.search(full) and not FINE_TUNED.search(full):
        return tap_output(module, module.forward)
    return tap_output(
        module,
        lambda pictures: module.forward_head(module.forward_features(pictures), pre_logits=True),
    )


def load(network: Network, files: Sequence[Path]) -> tuple[nn.Module, Any]:
    """Build a network and fill it strictly, old checkpoints converted as timm does."""
    full = network.architecture
    module = fill(full, read_checkpoint(files[0]), files[0])
    recipe = resolve_model_data_config(module)
    preprocess = network.preprocessing or create_transform(**recipe, is_training=False)
    return tap(module, full), preprocess


def _uncopied(value: Any) -> Any:
    """Give the same tensors, which stay one when timm copies its settings.

    A copy of a tensor that is mapped from a file would be one of the whole file.
    """
    if isinstance(value, Mapping):
        return {name: _uncopied(part) for name, part in value.items()}
    if not isinstance(value, Tensor):
        return value
    same = value.detach()
    same.__deepcopy__ = lambda memo: same  # type: ignore[method-assign]
    return same


def fill(full: str, checkpoint: Mapping[str, Any], file: Path) -> Any:
    """Build a network from tensors that timm converts to its present names and shapes.

    Raises
    ------
    InputError
        The tensors are not those of the architecture; the message lists some.
    """
    if not checkpoint:  # timm would look for the weights elsewhere
        raise InputError(f"{file} holds no weights: give those of {full}.")
    try:
        module = timm.create_model(
            full,
            pretrained=True,
            pretrained_cfg_overlay={"state_dict": _uncopied(checkpoint)},
            pretrained_strict=True,
        )
    except Exception as error:  # conversions fail in many ways on what they do not expect
        module = timm.create_model(full)
        if "pretrained_strict" not in str(error):
            fit_state(checkpoint, KeyMapping(), module, file, full)
            raise misfit(file, full, error) from error
        # Some architectures fix how strictly they are loaded, since their files hold tensors that
        # nothing needs. They convert nothing.
        others = tuple(map(re.escape, checkpoint.keys() - module.state_dict().keys()))
        fit_state(checkpoint, KeyMapping(unused=others), module, file, full)
    module.pretrained_cfg.pop("state_dict", None)
    return module


def _pretrained_config(model: str) -> Any:
    architecture, _, tag = model.partition(".")
    require_one_of(architecture, timm.list_models(), "timm has no network")
    names = timm.list_models(pretrained=True)
    tags = [name.partition(".")[2] for name in names if name.partition(".")[0] == architecture]
    if not tags:
        raise InputError(
            f"timm has no pretrained weights of {architecture}: choose another network."
        )
    if tag:
        require_one_of(tag, tags, f"timm has no weights of {architecture} called")
    return timm.get_pretrained_cfg(model)


def _weights_file(config: Any, name: str) -> WeightsFile:
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        organisation = repository.partition("/")[0]
        file = config.hf_hub_filename or FILE_NAMES.get(organisation, "model.safetensors")
        return hub_file(repository, file, revision or "main")
    if isinstance(config.url, str) and config.url:
        return published_file(config.url)
    raise InputError(f"timm has no address for the weights of {name}: choose others.")


def _preprocessing(recipe: Mapping[str, Any]) -> Preprocessing | None:
    """Say timm's recipe in our words; None where it does more than resize and cut a square."""
    _, height, width = recipe["input_size"]
    if recipe["crop_mode"] != "center" or height != width:
        return None
    resize = math.floor(height / recipe["crop_pct"])
    mean, std = tuple(recipe["mean"]), tuple(recipe["std"])
    return Preprocessing(resize, height, recipe["interpolation"], mean, std)


def _reference(config: Any) -> str:
    papers = config.paper_ids or ()
    papers = (papers,) if isinstance(papers, str) else papers
    return ", ".join(filter(None, (config.paper_name, *papers, config.origin_url)))
