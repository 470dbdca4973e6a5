"""Towers of open_clip by name: `open_clip:ViT-B-32/TAG` sees pictures, `open_clip_text:` reads."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
from open_clip.convert import convert_state_dict
from open_clip.factory import resize_pos_embed, resize_text_pos_embed
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from torch import Tensor, nn

from conceptrsa.analysis.models.networks.clip_text import ClipTokenizer, SiglipTokenizer
from conceptrsa.analysis.models.networks.language import TOKENIZER, TextNetwork, read_tokenizer
from conceptrsa.analysis.models.networks.named_networks import (
    EMBEDDING,
    misfit,
    named_network,
    tap_output,
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

TEXT_KIND = "open_clip_text"
TEXT_PROJECTION = "text_projection"
TEXT_SETTINGS = {"context_length", "vocab_size", "width", "heads", "layers"}
"""Of OpenAI's text towers; others have more, such as another pooling or tokenizer."""

SIGLIP_SETTINGS = {
    "no_causal_mask", "proj_bias", "pool_type", "norm_kwargs", "tokenizer_kwargs",
    "hf_tokenizer_name",
}  # fmt: skip
"""Settings in open_clip of a SigLIP text tower, beyond those of OpenAI's kind."""

SAFE_FILE, FILE = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
WITH_SAFE_FILE = ("laion", "timm")
"""Organisations on the hub whose repositories hold the weights as safetensors too."""

NO_TENSORS_OF_IT = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's archives hold beside the weights."""


def describe(name: str, kind: str, model: str, options: WeightsOptions) -> ModelEntry:
    """Describe one tower of a network and of one of its sets of weights."""
    architecture, _, tag = model.partition("/")
    known = dict.fromkeys(network for network, _ in open_clip.list_pretrained())
    require_one_of(architecture, known, "open_clip has no weights of a network")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if not tag:
        raise InputError(
            f"'{name}' needs the name of its weights: write {kind}:{architecture}/TAG with one of "
            f"{', '.join(tags)}."
        )
    require_one_of(tag, tags, f"open_clip has no weights of {architecture} called")
    config = open_clip.get_model_config(architecture)
    _require_local(name, kind, config)
    pretrained = open_clip.get_pretrained_cfg(architecture, tag)
    is_text = kind == TEXT_KIND
    tokenizer = config["text_cfg"].get("hf_tokenizer_name", "") if is_text else ""
    network = named_network(
        kind,
        f"{architecture}/{tag}",
        config["embed_dim"],
        Weights(_weights_files(pretrained, tokenizer)),
        None if is_text else _preprocessing(_recipe(architecture, tag)),
        input="label" if is_text else "picture",
        layer=TEXT_PROJECTION if is_text else EMBEDDING,
    )
    page = f"{HUB}/{pretrained['hf_hub'].rpartition('/')[0]}" if pretrained["hf_hub"] else ""
    return ModelEntry(
        name=name,
        group="language" if is_text else "multimodal",
        source=f"open_clip {architecture}/{tag}, {'text' if is_text else 'visual'} tower",
        licence=f"see {page or pretrained['url']}",
        reference=page or pretrained["url"],
        network=network,
    )


def load(network: Network, files: Sequence[Path]) -> TextNetwork | tuple[nn.Module, Any]:
    """Build a network, fill it strictly and keep the tower that is wanted."""
    architecture, _, tag = network.architecture.partition("/")
    model = build(architecture, tag)
    _fill(model, read_checkpoint(files[0]), files[0], network.architecture)
    if network.input == "label":
        return text_network(model.text, files)
    preprocess = network.preprocessing or image_transform_v2(
        PreprocessCfg(**_recipe(architecture, tag)), is_train=False
    )
    return tap(model.visual), preprocess


def load_clip_text(file: Path, keys: KeyMapping | Weights, architecture: str) -> TextNetwork:
    """Load the text tower of a CLIP; its output is the projected embedding, not normalised.

    Parameters
    ----------
    file : Path
        OpenAI's TorchScript archive, or a state dictionary.
    keys : KeyMapping or Weights
        From the names of the file to those of the text tower; the visual ones must be unused.
    architecture : str
        As open_clip calls it. OpenAI's weights need one with `-quickgelu`, as 'RN50-quickgelu'.

    Raises
    ------
    InputError
        An unknown architecture, or a file that belongs to another one.
    """
    config = open_clip.get_model_config(architecture)
    if config is None or set(config["text_cfg"]) != TEXT_SETTINGS:
        raise InputError(
            f"'{architecture}' has no text tower like OpenAI's CLIP: choose an architecture that "
            "has, such as 'RN50-quickgelu'."
        )
    tower = build(architecture).text
    fit_state(read_checkpoint(file), keys, tower, file, architecture)
    return text_network(tower, [file])


def build(architecture: str, tag: str = "") -> Any:
    """Build a network with random weights, and the activation that its weights were trained with.

    Without a tag it has the activation of the architecture itself.

    Its text tower is always a module of its own, as `convert_to_custom_text_state_dict` expects.
    """
    pretrained = open_clip.get_pretrained_cfg(architecture, tag)
    with _quiet():
        return open_clip.create_model(
            architecture,
            load_weights=False,
            pretrained_text=False,
            force_quick_gelu=bool(pretrained.get("quick_gelu")),
            force_custom_text=True,
        )


def tap(visual: nn.Module) -> nn.Module:
    """Name the embedding: the output of the visual tower, or the first of several."""
    own = visual.forward

    def forward(pictures: Tensor) -> Tensor:
        output: Tensor | tuple[Tensor, ...] = own(pictures)
        return output[0] if isinstance(output, tuple) else output

    return tap_output(visual, forward)


def text_network(tower: Any, files: Sequence[Path]) -> TextNetwork:
    """Make a text tower ready; SigLIP's has its tokenizer behind the weights."""
    blocks = tuple(
        f"transformer.resblocks.{index}" for index in range(len(tower.transformer.resblocks))
    )
    longest = tower.context_length
    is_siglip = len(files) > 1
    reads: Any = (
        SiglipTokenizer(read_tokenizer(files[1], tower.vocab_size), longest)
        if is_siglip
        else ClipTokenizer()
    )
    return TextNetwork(tower.eval(), reads, longest, blocks, TEXT_PROJECTION, filled=not is_siglip)


def _fill(model: Any, checkpoint: Mapping[str, Any], file: Path, architecture: str) -> None:
    """Fill a network from any checkpoint that open_clip reads, converted as it does."""
    try:
        state = convert(model, checkpoint)
    except Exception as error:  # conversions fail in many ways on what they do not expect
        fit_state(checkpoint, KeyMapping(), model, file, architecture)
        raise misfit(file, architecture, error) from error
    fit_state(state, KeyMapping(), model, file, architecture)


def convert(model: Any, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a checkpoint to the names and shapes of today's open_clip.

    Parameters
    ----------
    model : CustomTextCLIP or CoCa
        The architecture.
    checkpoint : mapping
        As `read_checkpoint` gives it: the state itself or below 'state_dict', with or without
        'module.' before each name; of OpenAI, of Apple, or of any version of open_clip.
    """
    inside = checkpoint.get("state_dict", checkpoint)
    state = {key.removeprefix("module."): value for key, value in inside.items()}
    for key in NO_TENSORS_OF_IT:
        state.pop(key, None)
    state = dict(convert_state_dict(model, state))
    if "positional_embedding" in state:
        state = dict(convert_to_custom_text_state_dict(state))
    for key in ("logit_scale", "logit_bias"):
        if key in state and getattr(model, key, None) is not None:
            state[key] = state[key].reshape(getattr(model, key).shape)
    resize_pos_embed(state, model)
    resize_text_pos_embed(state, model)
    return state


def _require_local(name: str, kind: str, config: Mapping[str, Any]) -> None:
    """Refuse what open_clip itself would fetch from a hub, or reads in another way than CLIP."""
    text = config["text_cfg"]
    if "hf_model_name" in text:
        raise InputError(
            f"{name} has a text tower that open_clip fetches from {HUB}/{text['hf_model_name']}: "
            "choose a network with both towers in open_clip."
        )
    if kind == TEXT_KIND and set(text) != TEXT_SETTINGS and not _is_siglip(text):
        raise InputError(
            f"{name} reads text unlike OpenAI's CLIP and SigLIP: choose a network with one of "
            "their text towers, such as open_clip_text:ViT-B-32/laion2b_s34b_b79k."
        )


def _is_siglip(text: Mapping[str, Any]) -> bool:
    return (
        set(text) - {"act_kwargs"} == TEXT_SETTINGS | SIGLIP_SETTINGS
        and text["pool_type"] == "last"
        and text["tokenizer_kwargs"] == {"clean": "canonicalize"}
    )


def _weights_files(pretrained: Mapping[str, Any], tokenizer: str) -> tuple[WeightsFile, ...]:
    """Give the weights and, where open_clip does not bring it, the tokenizer's repository's."""
    repository, _, file = pretrained["hf_hub"].rpartition("/")
    is_safe = repository.partition("/")[0] in WITH_SAFE_FILE
    weights = (
        hub_file(repository, file or (SAFE_FILE if is_safe else FILE))
        if repository
        else published_file(pretrained["url"])
    )
    return (weights, hub_file(tokenizer, TOKENIZER)) if tokenizer else (weights,)


def _recipe(architecture: str, tag: str) -> dict[str, Any]:
    """Preprocessing of pictures in open_clip: defaults, the tag's settings, the network's size."""
    side = open_clip.get_model_config(architecture)["vision_cfg"].get("image_size", 224)
    pretrained = open_clip.get_pretrained_cfg(architecture, tag)
    return {**merge_preprocess_dict(PreprocessCfg(), pretrained), "size": side}


def _preprocessing(recipe: Mapping[str, Any]) -> Preprocessing | None:
    """Say open_clip's recipe in our words; None where it distorts or pads pictures."""
    side = recipe["size"]
    if recipe["resize_mode"] != "shortest" or not isinstance(side, int):
        return None
    mean, std = tuple(recipe["mean"]), tuple(recipe["std"])
    return Preprocessing(side, side, recipe["interpolation"], mean, std)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip from warning that a network has no weights yet."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
