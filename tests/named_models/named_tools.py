"""What several tests of models by name compare and write."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

from conceptrsa.analysis.models.networks.load import load_network
from conceptrsa.analysis.models.registry import ModelEntry

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}

WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "a", "photo", "of", "cat", "dog")

SEPARATOR = WORDS.index("[SEP]")

PIL = {"backend": "pil"} if int(transformers.__version__.partition(".")[0]) >= 5 else {}


def word_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", SEPARATOR)]
    )
    return tokenizer


HEAVY = ("torch", "torchvision", "timm", "open_clip", "transformers", "safetensors", "tokenizers")
ODD_SIZES = ((53, 71), (90, 47), (301, 224), (227, 341))

Describe = Callable[[str], ModelEntry]


def read(file: Path) -> Image.Image:
    with Image.open(file) as picture:
        return picture.convert("RGB")


def extract(entry: ModelEntry, files: list[Path], inputs: list[Any]) -> NDArray[np.float32]:
    network = entry.network
    loaded = load_network(network, files)
    (features,) = loaded.extract(inputs, [network.layer], network.pooling).values()
    assert features.shape == (len(inputs), network.n_features)
    return features


def assert_same_picture(ours: Tensor, library: Tensor) -> None:
    """Equal up to the last bit of x / 255, which torchvision computes in two ways."""
    assert ours.shape == library.shape
    assert (ours - library).abs().max() < 1e-6


def assert_near(found: NDArray[np.float32], expected: Any) -> None:
    expected = np.asarray(expected)
    assert found.shape == expected.shape and expected.std() > 0
    assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()


def one_by_one(forward: Callable[[Tensor], Tensor], pictures: list[Tensor]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return torch.cat([forward(picture[None]) for picture in pictures]).numpy()


def write_state(module: nn.Module, file: Path) -> Path:
    tensors = {name: tensor.clone().contiguous() for name, tensor in module.state_dict().items()}
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)
    return file


@torch.no_grad()
def settle_statistics(module: nn.Module) -> Any:
    """Draw running means and variances, so that swapped or unread ones would be noticed."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval()


def penultimate(module: nn.Module, last: nn.Module, picture: Tensor) -> Tensor:
    """What the last layer of a classifier is given, taken outside of the code under test."""
    given: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _module, inputs: given.append(inputs[0]))
    with torch.inference_mode():
        module(picture)
    handle.remove()
    return given[0].mean(dim=(2, 3)) if given[0].ndim == 4 else given[0]


def open_clip_transform(architecture: str, tag: str) -> Callable[[Image.Image], Tensor]:
    """The second transform of `create_model_and_transforms`, on a network without memory."""
    config = open_clip.get_pretrained_cfg(architecture, tag)
    with torch.device("meta"):
        _, _, transform = open_clip.create_model_and_transforms(
            architecture,
            load_weights=False,
            device="meta",
            image_mean=config["mean"],
            image_std=config["std"],
            image_interpolation=config["interpolation"],
            image_resize_mode=config["resize_mode"],
        )
    return transform


def small_vit() -> Any:
    config = transformers.ViTConfig(image_size=32, patch_size=8, num_labels=7, **SMALL)
    return transformers.ViTForImageClassification(config).eval()


def vit_processor() -> Any:
    """Squashes pictures."""
    return transformers.ViTImageProcessor(size={"height": 32, "width": 32})


def write_repository(folder: Path, module: Any, processor: Any = None) -> list[Path]:
    """Write what the hub's repository would hold."""
    module.save_pretrained(folder)
    if processor is None:
        word_tokenizer().save(str(folder / "tokenizer.json"))
    else:
        processor.save_pretrained(folder)
        word_tokenizer().save(str(folder / "tokenizer.json"))
    return sorted(folder.iterdir())
