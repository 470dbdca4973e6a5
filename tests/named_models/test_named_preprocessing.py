"""Models by name: pictures are prepared as the library does."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision

from conceptrsa.analysis.models.networks.vision import compose
from named_models.named_tools import (
    Describe,
    assert_near,
    assert_same_picture,
    extract,
    one_by_one,
    open_clip_transform,
    read,
    write_state,
)

# Preprocessing: on pictures of odd sizes, bit by bit what the library gives


@pytest.mark.parametrize(
    "name",
    [
        "torchvision:resnet18",
        "torchvision:resnet50",
        "torchvision:efficientnet_b1/IMAGENET1K_V1",
        "torchvision:vit_b_16/IMAGENET1K_SWAG_LINEAR_V1",
        "torchvision:inception_v3",
        "torchvision:swin_v2_t",
    ],
)
def test_torchvision_pictures(name: str, describe: Describe, pictures: list[Path]) -> None:
    network = describe(name).network
    architecture, _, tag = network.architecture.partition("/")
    transform = torchvision.models.get_model_weights(architecture)[tag].transforms()
    assert network.preprocessing is not None
    ours = compose(network.preprocessing)
    for picture in map(read, pictures):
        assert_same_picture(ours(picture), transform(picture))


@pytest.mark.parametrize(
    "name",
    [
        "timm:resnet18.a1_in1k",  # 224 / 0.95
        "timm:resnet18.tv_in1k",  # bilinear
        "timm:efficientnet_b0.ra_in1k",
        "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        "timm:tf_efficientnet_b1.aa_in1k",  # 240 / 0.882
        "timm:resnet50_clip.openai",
    ],
)
def test_timm_pictures(name: str, describe: Describe, pictures: list[Path]) -> None:
    network = describe(name).network
    with torch.device("meta"):
        module = timm.create_model(network.architecture)
    transform = timm.data.create_transform(
        **timm.data.resolve_model_data_config(module), is_training=False
    )
    assert network.preprocessing is not None
    ours = compose(network.preprocessing)
    for picture in map(read, pictures):
        assert_same_picture(ours(picture), transform(picture))


@pytest.mark.parametrize("name", ["open_clip:RN50x4/openai", "open_clip:ViT-B-32/laion2b_e16"])
def test_open_clip_pictures(name: str, describe: Describe, pictures: list[Path]) -> None:
    network = describe(name).network
    transform = open_clip_transform(*network.architecture.split("/"))
    assert network.preprocessing is not None
    ours = compose(network.preprocessing)
    for picture in map(read, pictures):
        assert_same_picture(ours(picture), transform(picture))


def test_recipes_that_distort_pictures_are_the_libraries_own(
    describe: Describe, pictures: list[Path], tmp_path: Path
) -> None:
    entry = describe("timm:xcit_nano_12_p16_384")
    assert entry.network.preprocessing is not None
    entry = describe("timm:convnextv2_nano.fcmae_ft_in22k_in1k_384")
    assert entry.network.preprocessing is None
    module = timm.create_model(entry.network.architecture).eval()
    recipe = timm.data.resolve_model_data_config(module)
    assert recipe["crop_mode"] == "squash"
    transform = timm.data.create_transform(**recipe, is_training=False)
    file = write_state(module, tmp_path / "model.safetensors")
    found = extract(entry, [file], pictures[1:2])
    inputs = [transform(read(pictures[1]))]
    expected = one_by_one(
        lambda picture: module.forward_head(module.forward_features(picture), pre_logits=True),
        inputs,
    )
    assert_near(found, expected)
