"""Networks of transformers by name: `hf:ORG/NAME`, and `hf_text:` for what reads texts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

from conceptrsa.analysis.models.networks.hf_text import (
    LOCAL,
    SIGLIP,
    TEXT_EMBEDDING,
    load_hf_text,
    load_joint_text,
    load_pretrained,
    quiet,
    read_config,
)
from conceptrsa.analysis.models.networks.language import LAST_HIDDEN_STATE, TOKENIZER, TextNetwork
from conceptrsa.analysis.models.networks.named_networks import (
    count_features,
    library_errors,
    named_network,
    tap_input,
    tap_output,
)
from conceptrsa.analysis.models.registry import (
    CONFIGURATION,
    HUB,
    LIBRARIES,
    ModelEntry,
    Network,
    Weights,
    hub_file,
)
from conceptrsa.analysis.models.weights.locate import obtain_weights
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.bids_config.errors import InputError

PROCESSOR = "preprocessor_config.json"
CLASSIFIER, CLIP = "ForImageClassification", "clip"
WORDS_OF_SIGLIP = 32000
"""Tokens of the first SigLIP; the second has Gemma's tokenizer and 256,000."""

SENTENCE_ENCODERS = "sentence-transformers"
"""Organisation whose networks were trained so that the mean over tokens means the text."""

RANDOM = ("vit_mae",)
"""Networks that hide parts of a picture by chance whenever they run."""

MAJOR = int(transformers.__version__.partition(".")[0])
BACKEND: dict[str, Any] = {"backend": "pil"} if MAJOR >= 5 else {"use_fast": False}
"""Pictures are resized by pillow, as they were for the papers, and as other libraries do here."""


def describe(name: str, kind: str, model: str, options: WeightsOptions) -> ModelEntry:
    """Describe a network by its repository's configuration, which is fetched if it must be."""
    config = read_config(_obtain(name, options, model, CONFIGURATION), name)
    sees = config.model_type in IMAGE_PROCESSOR_MAPPING_NAMES
    if kind == "hf" and sees:
        network = _describe_picture_network(name, model, config, options)
    else:
        network = _describe_text_network(name, kind, model, config)
    page = f"{HUB}/{model}"
    with_text = _is_dual(config) or "clip" in config.model_type or "siglip" in config.model_type
    group = "multimodal" if with_text else "visual"
    return ModelEntry(
        name=name,
        group="language" if network.input == "label" else group,
        source=f"transformers {config.model_type}, {page}",
        licence=f"see {page}",
        reference=page,
        network=network,
    )


def _describe_picture_network(
    name: str, model: str, config: Any, options: WeightsOptions
) -> Network:
    if config.model_type in RANDOM:
        raise InputError(
            f"{name} masks random parts of a picture: choose timm's copy of its weights, "
            "timm:vit_base_patch16_224.mae."
        )
    folder = _obtain(name, options, model, CONFIGURATION, PROCESSOR)
    _, height, width = preprocessor(folder)(Image.new("RGB", (64, 64))).shape
    kind = _kind_of_model(config)
    remedy = "choose a network that classifies pictures or matches them with text"
    with library_errors(f"{name} gives no vector per picture", remedy):
        n_features = count_features(lambda: _tap(kind.from_config(config)), (height, width))
    architecture = f"{kind.__name__}: {config.model_type}"
    return named_network("hf", architecture, n_features, _weights(model, PROCESSOR))


def _describe_text_network(name: str, kind: str, model: str, config: Any) -> Network:
    is_dual = _is_dual(config)
    if is_dual and config.model_type not in (CLIP, SIGLIP):
        raise InputError(
            f"{name} is a {config.model_type}, whose text tower is not supported: choose a CLIP or "
            "a SigLIP."
        )
    if config.model_type == SIGLIP and config.text_config.vocab_size > WORDS_OF_SIGLIP:
        raise InputError(
            f"{name} reads texts like SigLIP 2: take it from open_clip, such as "
            "open_clip_text:ViT-B-16-SigLIP2/webli."
        )
    text = config.get_text_config()
    width = getattr(text, "projection_size", None) or text.hidden_size
    takes_mean = is_dual or model.partition("/")[0] == SENTENCE_ENCODERS
    network = named_network(
        kind,
        config.model_type,
        config.projection_dim if config.model_type == CLIP else width,
        _weights(model, TOKENIZER),
        input="label",
        layer=TEXT_EMBEDDING if is_dual else LAST_HIDDEN_STATE,
    )
    # What reads texts depends on the same libraries, whichever way it was named.
    return replace(
        network,
        libraries=LIBRARIES["hf_text"],
        pooling="mean" if takes_mean else "label-token",
    )


def load(network: Network, files: Sequence[Path]) -> TextNetwork | tuple[nn.Module, Any]:
    """Load a network from the folder of its files, which holds all that was asked for."""
    folder = files[0].parent
    if network.input == "label":
        is_dual = network.layer == TEXT_EMBEDDING
        return load_joint_text(folder) if is_dual else load_hf_text(folder)
    config = read_config(folder)
    return _tap(load_pretrained(_kind_of_model(config), folder, config)), preprocessor(folder)


def preprocessor(folder: Path) -> Callable[[Image.Image], Tensor]:
    """Give the repository's own way from an RGB picture to a network's input.

    Parameters
    ----------
    folder : Path
        Holds `preprocessor_config.json`.
    """
    with quiet(), library_errors(f"{folder / PROCESSOR} cannot be used", "fetch it again"):
        processor = AutoImageProcessor.from_pretrained(folder, **LOCAL, **BACKEND)

    def preprocess(picture: Image.Image) -> Tensor:
        values = processor(images=picture, return_tensors="np")["pixel_values"][0]
        return torch.as_tensor(values, dtype=torch.float32)

    return preprocess


def _tap(module: Any) -> nn.Module:
    """Name what is fed to the classifier, or compared with text, or pooled."""
    if type(module).__name__.endswith(CLASSIFIER):
        linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
        return tap_input(module, linear[-1])
    is_dual = hasattr(module, "get_image_features")
    see = module.get_image_features if is_dual else module.forward
    return tap_output(module, lambda pictures: _pooled(see(pixel_values=pictures)))


def _pooled(output: Any) -> Tensor:
    vectors = output if isinstance(output, Tensor) else output.pooler_output
    if vectors is None:
        raise ValueError("it does not pool its last layer")
    flat: Tensor = vectors.flatten(1)
    return flat


def _kind_of_model(config: Any) -> Any:
    """Choose the class that the weights were saved by, as far as the features need it."""
    saved = (config.architectures or [""])[0]
    return AutoModelForImageClassification if saved.endswith(CLASSIFIER) else AutoModel


def _is_dual(config: Any) -> bool:
    """Tell whether a network matches pictures with texts."""
    try:
        kind = AutoModel._model_mapping[type(config)]
    except KeyError:
        return False
    return hasattr(kind, "get_image_features") and hasattr(kind, "get_text_features")


def _obtain(name: str, options: WeightsOptions, model: str, *files: str) -> Path:
    """Have small files of a repository at hand; give their folder."""
    wanted = Weights(tuple(hub_file(model, file) for file in files))
    return obtain_weights(name, wanted, options)[0].path.parent


def _weights(model: str, further: str) -> Weights:
    names = ("model.safetensors", CONFIGURATION, further)
    return Weights(tuple(hub_file(model, file) for file in names))
