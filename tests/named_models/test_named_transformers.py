"""Models by name: networks of transformers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
import transformers
from safetensors.torch import save_file
from torch import Tensor

from conceptrsa.analysis.models.extraction_settings import fill_prompt
from conceptrsa.analysis.models.networks import named_transformers
from conceptrsa.analysis.models.networks.load import load_network
from conceptrsa.analysis.models.registry import ModelEntry
from conceptrsa.analysis.models.weights.locate import obtain_weights
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.bids_config.errors import InputError
from named_models.named_tools import (
    PIL,
    SEPARATOR,
    SMALL,
    WORDS,
    Describe,
    assert_near,
    extract,
    one_by_one,
    read,
    settle_statistics,
    small_vit,
    vit_processor,
    write_repository,
)

# transformers


def small_dino() -> Any:
    config = transformers.Dinov2Config(image_size=28, patch_size=7, **SMALL)
    return transformers.Dinov2Model(config).eval()


def small_resnet() -> Any:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
    )
    return settle_statistics(transformers.ResNetForImageClassification(config))


def small_hf_clip() -> Any:
    text = dict(SMALL, vocab_size=len(WORDS), max_position_embeddings=12)
    special = {"bos_token_id": 1, "eos_token_id": SEPARATOR, "pad_token_id": 0}
    config = transformers.CLIPConfig(
        text_config={**text, **special},
        vision_config=dict(SMALL, image_size=32, patch_size=8),
        projection_dim=16,
    )
    return transformers.CLIPModel(config).eval()


def clip_processor() -> Any:
    """Cuts a square; with odd margins at another place than torchvision does."""
    return transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )


def obtained(entry: ModelEntry, options: WeightsOptions) -> list[Path]:
    assert entry.network.weights is not None
    return [file.path for file in obtain_weights(entry.name, entry.network.weights, options)]


@pytest.mark.parametrize(
    ("build", "processor", "group", "see"),
    [
        (
            small_vit, vit_processor, "visual",
            lambda module, picture: module.vit(picture).last_hidden_state[:, 0],
        ),
        (
            small_dino, clip_processor, "visual",
            lambda module, picture: module.layernorm(
                module(picture, output_hidden_states=True).hidden_states[-1]
            )[:, 0],
        ),
        (
            small_resnet, clip_processor, "visual",
            lambda module, picture: module.resnet(picture).last_hidden_state.mean(dim=(2, 3)),
        ),
        (
            small_hf_clip, clip_processor, "multimodal",
            lambda module, picture: module.visual_projection(
                module.vision_model(picture).pooler_output
            ),
        ),
    ],
)  # fmt: skip
def test_transformers_features_of_pictures(
    build: Callable[[], Any],
    processor: Callable[[], Any],
    group: str,
    see: Callable[[Any, Tensor], Tensor],
    describe: Describe,
    options: WeightsOptions,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    module, folder = build(), tmp_path / "hf%3Ame%2Fnet"
    write_repository(folder, module, processor())
    if build is small_dino:  # a network whose side is not that of the other recipes
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        settings["crop_size"] = {"height": 28, "width": 28}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    entry = describe("hf:me/net")
    assert entry.group == group
    pil = transformers.AutoImageProcessor.from_pretrained(folder, **PIL)
    inputs = [pil(read(file), return_tensors="pt")["pixel_values"][0] for file in pictures]
    expected = one_by_one(lambda picture: see(module, picture), inputs)
    found = extract(entry, obtained(entry, options), pictures)
    assert_near(found, expected)


def test_transformers_pictures_are_those_of_its_pillow_processor(
    pictures: list[Path], tmp_path: Path
) -> None:
    clip_processor().save_pretrained(tmp_path)
    ours = named_transformers.preprocessor(tmp_path)
    resized = torchvision.transforms.Resize(32, torchvision.transforms.InterpolationMode.BICUBIC)
    mean, std = (np.array(clip_processor().to_dict()[key]) for key in ("image_mean", "image_std"))
    for picture in map(read, pictures):
        pixels = np.asarray(resized(picture))
        top, left = ((length - 32) // 2 for length in pixels.shape[:2])
        cut = pixels[top : top + 32, left : left + 32] / 255
        np.testing.assert_allclose(
            ours(picture), ((cut - mean) / std).transpose(2, 0, 1), atol=2e-6
        )


def test_transformers_features_of_texts(
    describe: Describe, options: WeightsOptions, tmp_path: Path
) -> None:
    config = transformers.BertConfig(vocab_size=len(WORDS), **SMALL)
    module = transformers.BertModel(config).eval()
    write_repository(tmp_path / "hf%3Ame%2Fbert", module)
    entry = describe("hf:me/bert")
    assert (entry.group, entry.network.pooling) == ("language", "label-token")
    prompt = fill_prompt("a photo of {label}", "cat")
    with torch.inference_mode():
        hidden = module(torch.tensor([[1, 5, 6, 7, 8, SEPARATOR]])).last_hidden_state
    found = extract(entry, obtained(entry, options), [prompt])
    assert_near(found[0], hidden[0, 4])


def test_transformers_text_tower_of_clip(
    describe: Describe, options: WeightsOptions, tmp_path: Path
) -> None:
    module = small_hf_clip()
    write_repository(tmp_path / "hf_text%3Ame%2Fclip", module, clip_processor())
    entry = describe("hf_text:me/clip")
    assert (entry.group, entry.network.n_features) == ("language", 16)
    prompts = [fill_prompt("a photo of {label}", label) for label in ("cat", "dog")]
    ids = torch.tensor([[1, 5, 6, 7, 8, SEPARATOR], [1, 5, 6, 7, 9, SEPARATOR]])
    with torch.inference_mode():
        projected = module.get_text_features(input_ids=ids)
    expected = projected if isinstance(projected, Tensor) else projected.pooler_output
    found = extract(entry, obtained(entry, options), prompts)
    assert_near(found, expected)


def test_a_changed_configuration_is_described_anew(describe: Describe, tmp_path: Path) -> None:
    write_repository(tmp_path / "hf%3Ame%2Fnet", small_vit(), vit_processor())
    assert describe("hf:me/net").network.n_features == 32
    write_repository(tmp_path / "hf%3Ame%2Fnet", small_resnet(), vit_processor())
    assert describe("hf:me/net").network.n_features == 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "nothing_known"}, "does not describe a network of transformers"),
        ({"model_type": "vit_mae"}, "masks random parts of a picture"),
        (
            {"auto_map": {"AutoConfig": "code.Config"}, "model_type": "of_their_own"},
            "does not describe a network of transformers",
        ),
    ],
)
def test_repositories_that_cannot_be_used_are_refused(
    settings: dict[str, Any], message: str, describe: Describe, tmp_path: Path
) -> None:
    folder = tmp_path / "hf%3Ame%2Fnet"
    write_repository(folder, small_vit(), vit_processor())
    (folder / "code.py").write_text("raise SystemExit('code of the repository was run')")
    configuration = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**configuration, **settings}))
    with pytest.raises(InputError, match=message):
        describe("hf:me/net")


def test_transformers_weights_that_lack_a_tensor_are_refused(
    describe: Describe, options: WeightsOptions, tmp_path: Path
) -> None:
    folder = tmp_path / "hf%3Ame%2Fnet"
    module = small_vit()
    write_repository(folder, module, vit_processor())
    entry = describe("hf:me/net")
    state = dict(module.state_dict())
    del state["classifier.weight"]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"does not hold all weights.*classifier\.weight"):
        load_network(entry.network, obtained(entry, options))
