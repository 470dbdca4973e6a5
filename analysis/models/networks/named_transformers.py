"""Networks of transformers by name: `hf:ORG/NAME`, and `hf_text:` for what reads texts."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    CLIPTextModelWithProjection,
    SiglipTextModel,
)
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

from conceptrsa.analysis.models.named_models import CONFIGURATION, HUB, hub_file
from conceptrsa.analysis.models.networks.extractor import Extractor
from conceptrsa.analysis.models.networks.hf_text import load_hf_text, quiet, require_all_weights
from conceptrsa.analysis.models.networks.language import (
    LAST_HIDDEN_STATE,
    TOKENIZER,
    FastTokenizer,
    TextNetwork,
    read_tokenizer,
)
from conceptrsa.analysis.models.networks.named_networks import (
    EMBEDDING,
    LOADER_PREFIX,
    count_features,
    first_line,
    tap_input,
    tap_output,
)
from conceptrsa.analysis.models.networks.siglip_text import SiglipTokenizer
from conceptrsa.analysis.models.networks.vision import ImageNetwork
from conceptrsa.analysis.models.registry import (
    LIBRARIES,
    Group,
    ModelEntry,
    Network,
    Weights,
)
from conceptrsa.analysis.models.weights.locate import obtain_weights
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.bids_config.errors import InputError

WEIGHTS, PROCESSOR = "model.safetensors", "preprocessor_config.json"
TEXT_EMBEDDING = "text_embeds"
"""What transformers calls the projected text in the space that pictures share."""

CLASSIFIER, CLIP, SIGLIP = "ForImageClassification", "clip", "siglip"
WORDS_OF_SIGLIP = 32000
"""Tokens of the first SigLIP; the second has Gemma's tokenizer and 256,000."""

LOCAL = {"local_files_only": True, "trust_remote_code": False}
SENTENCE_ENCODERS = "sentence-transformers"
"""Organisation whose networks were trained so that the mean over tokens means the text."""

RANDOM = ("vit_mae",)
"""Networks that hide parts of a picture by chance whenever they run."""

MAJOR = int(transformers.__version__.partition(".")[0])
BACKEND: dict[str, Any] = {"backend": "pil"} if MAJOR >= 5 else {"use_fast": False}
"""Pictures are resized by pillow, as they were for the papers, and as other libraries do here."""


def describe(name: str, kind: str, model: str, options: WeightsOptions) -> ModelEntry:
    """Describe a network by its repository's configuration, which is fetched if it must be."""
    folder = _obtain(name, options, model, CONFIGURATION)
    config = _configuration(folder, name)
    sees = config.model_type in IMAGE_PROCESSOR_MAPPING_NAMES
    if kind == "hf" and sees:
        network = _describe_picture_network(name, model, config, options)
    else:
        network = _describe_text_network(name, model, config)
    page = f"{HUB}/{model}"
    with_text = _is_dual(config) or "clip" in config.model_type or "siglip" in config.model_type
    # What reads texts depends on the same libraries, whichever way it was named.
    libraries = LIBRARIES["hf_text" if network.input == "label" else kind]
    group: Group = "multimodal" if with_text else "visual"
    return ModelEntry(
        name=name,
        group="language" if network.input == "label" else group,
        source=f"transformers {config.model_type}, {page}",
        licence=f"see {page}",
        reference=page,
        network=replace(network, loader=LOADER_PREFIX + kind, libraries=libraries),
    )


def _describe_picture_network(
    name: str, model: str, config: Any, options: WeightsOptions
) -> Network:
    _require_deterministic(name, config)
    folder = _obtain(name, options, model, CONFIGURATION, PROCESSOR)
    _, height, width = preprocessor(folder)(Image.new("RGB", (64, 64))).shape
    try:
        n_features = count_features(
            lambda: _tap(_kind_of_model(config).from_config(config)), (height, width)
        )
    except Exception as error:  # whatever the architecture's code raises
        raise InputError(
            f"{name} gives no vector a picture ({first_line(error)}): choose a network that "
            "classifies pictures or matches them with text."
        ) from error
    return Network(
        loader="",
        input="picture",
        architecture=f"{_kind_of_model(config).__name__}: {config.model_type}",
        layer=EMBEDDING,
        n_features=n_features,
        libraries=(),
        weights=_weights(model, PROCESSOR),
    )


def _describe_text_network(name: str, model: str, config: Any) -> Network:
    is_dual = _is_dual(config)
    if is_dual and config.model_type not in (CLIP, SIGLIP):
        raise InputError(
            f"{name} is a {config.model_type}, whose text tower is not known here: choose a CLIP "
            "or a SigLIP."
        )
    if config.model_type == SIGLIP and config.text_config.vocab_size > WORDS_OF_SIGLIP:
        raise InputError(
            f"{name} reads texts as SigLIP 2 does: take it from open_clip, as "
            "open_clip_text:ViT-B-16-SigLIP2/webli."
        )
    is_sentence_encoder = model.partition("/")[0] == SENTENCE_ENCODERS
    hidden = config.projection_dim if config.model_type == CLIP else _width(config)
    return Network(
        loader="",
        input="label",
        architecture=config.model_type,
        layer=TEXT_EMBEDDING if is_dual else LAST_HIDDEN_STATE,
        n_features=hidden,
        libraries=(),
        pooling="mean" if is_dual or is_sentence_encoder else "label-token",
        weights=_weights(model, TOKENIZER),
    )


def load(
    network: Network, files: Sequence[Path], device: torch.device, dtype: torch.dtype
) -> Extractor:
    """Load a network from the folder of its files, which holds all that was asked for."""
    folder = files[0].parent
    if network.input == "label":
        is_dual = network.layer == TEXT_EMBEDDING
        texts = _load_joint_text(folder) if is_dual else load_hf_text(folder)
        texts.module.to(device, dtype)
        return texts
    config = _configuration(folder, str(folder))
    module = _tap(_load_module(_kind_of_model(config), folder, config))
    return ImageNetwork(module, preprocessor(folder), EMBEDDING, device, dtype)


def preprocessor(folder: Path) -> Callable[[Image.Image], Tensor]:
    """Give the repository's own way from an RGB picture to a network's input.

    Parameters
    ----------
    folder : Path
        Holds `preprocessor_config.json`.
    """
    try:
        with quiet():
            processor = AutoImageProcessor.from_pretrained(folder, **LOCAL, **BACKEND)
    except Exception as error:  # JSON's, and whatever the library's own checks raise
        raise InputError(
            f"{folder / PROCESSOR} cannot be used ({first_line(error)}): fetch it again."
        ) from error

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


def _load_module(kind: Any, folder: Path, config: Any) -> Any:
    """Load a network of which the folder must hold every tensor; what else it holds is ignored."""
    try:
        with quiet():
            module, report = kind.from_pretrained(
                folder, config=config, use_safetensors=True, output_loading_info=True, **LOCAL
            )
    except Exception as error:  # whatever the architecture's code raises on a wrong file
        raise InputError(
            f"{folder / WEIGHTS} cannot be loaded as a {config.model_type} ({first_line(error)}): "
            "fetch it again."
        ) from error
    require_all_weights(report, module, folder / WEIGHTS)
    return module.float().eval()


class _SiglipText(nn.Module):
    """The text tower of SigLIP, which gives its embedding and nothing else."""

    def __init__(self, tower: Any) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, ids: Tensor) -> Tensor:
        pooled: Tensor = self.tower(input_ids=ids).pooler_output
        return pooled


def _width(config: Any) -> int:
    text = config.get_text_config()
    width: int = getattr(text, "projection_size", None) or text.hidden_size
    return width


def _load_joint_text(folder: Path) -> TextNetwork:
    whole = _configuration(folder, str(folder))
    config = whole.text_config
    if whole.model_type == SIGLIP:
        module = _SiglipText(_load_module(SiglipTextModel, folder, config))
        longest = config.max_position_embeddings
        reads = SiglipTokenizer(read_tokenizer(folder / TOKENIZER, config.vocab_size), longest)
        return TextNetwork(module, reads, longest, _blocks_of(module, config), TEXT_EMBEDDING)
    config.projection_dim = whole.projection_dim
    module = _load_module(CLIPTextModelWithProjection, folder, config)
    tokenizer = read_tokenizer(folder / TOKENIZER, config.vocab_size)
    blocks = _blocks_of(module, config)
    longest = config.max_position_embeddings
    return TextNetwork(module, FastTokenizer(tokenizer), longest, blocks, TEXT_EMBEDDING)


def _blocks_of(module: nn.Module, config: Any) -> tuple[str, ...]:
    layers = next(name for name, part in module.named_modules() if isinstance(part, nn.ModuleList))
    return tuple(f"{layers}.{index}" for index in range(config.num_hidden_layers))


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


def _require_deterministic(name: str, config: Any) -> None:
    if config.model_type in RANDOM:
        raise InputError(
            f"{name} hides parts of a picture by chance: choose timm's copy of its weights, as "
            "timm:vit_base_patch16_224.mae."
        )


def _configuration(folder: Path, name: str) -> Any:
    try:
        with quiet():
            return AutoConfig.from_pretrained(folder, **LOCAL)
    except Exception as error:  # JSON's, and whatever the library's own checks raise
        raise InputError(
            f"{folder / CONFIGURATION} of {name} does not describe a network that transformers has "
            f"({first_line(error)}): choose another one."
        ) from error


def _obtain(name: str, options: WeightsOptions, model: str, *files: str) -> Path:
    """Have small files of a repository at hand; give their folder."""
    wanted = Weights(tuple(hub_file(model, file) for file in files))
    return obtain_weights(name, wanted, options)[0].path.parent


def _weights(model: str, *further: str) -> Weights:
    names = (WEIGHTS, CONFIGURATION, *further)
    return Weights(tuple(hub_file(model, file) for file in names))
