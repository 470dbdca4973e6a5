"""Layers of picture networks: which there are, where their channels lie, how they are pooled."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import small_networks
import timm
import torch
import torchvision
import transformers
from open_clip.modified_resnet import ModifiedResNet
from reference_torch import plain_torch
from small_networks import SIDE, SMALL, as_input, small_resnet
from timm.models.convnext import ConvNeXt
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models import feature_extraction

from conceptrsa.analysis.models.networks.layers import LayerRecorder, pool, require_layers
from conceptrsa.analysis.models.networks.vision import ImageNetwork
from conceptrsa.analysis.models.registry import KeyMapping
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.bids_config.errors import InputError

same_weights_and_one_thread = small_networks.same_weights_and_one_thread
pictures, resnet = small_networks.pictures, small_networks.resnet


def outputs_of(module: nn.Module, names: Sequence[str], *given: Tensor) -> dict[str, Tensor]:
    """Plain hooks, one a layer; each output is copied at once."""
    found: dict[str, Tensor] = {}
    for name in names:
        module.get_submodule(name).register_forward_hook(
            lambda _module, _given, output, name=name: found.update({name: output.clone()})
        )
    with plain_torch():
        module(*given)
    return found


def test_layers_are_those_of_torchvisions_feature_extractor(
    resnet: ImageNetwork, pictures: list[Path]
) -> None:
    unchanging = copy.deepcopy(small_resnet()).eval()
    for part in unchanging.modules():
        if isinstance(part, nn.ReLU):
            part.inplace = False
    _, nodes = feature_extraction.get_graph_node_names(unchanging)
    leaves = [name for name in nodes if name not in ("x", "flatten") and "add" not in name]
    assert "layer2.1.relu_2" in leaves
    names = resnet.layers("all")
    assert [name for name in names if name in leaves] == leaves
    assert set(names) - set(leaves) >= {"layer1", "layer1.0", "layer1.0.downsample"}

    oracle = feature_extraction.create_feature_extractor(unchanging, leaves)
    found = resnet.extract(pictures[:1], names, "mean")
    flat = resnet.extract(pictures[:1], names, "flatten")
    with plain_torch():
        expected = oracle(as_input(pictures[0]).repeat(2, 1, 1, 1))
    for name in leaves:
        maps = expected[name][:1]
        # The bits of a matrix product, which follows the convolutions, depend on the batch.
        accuracy = 1e-6 if name == "fc" else 0
        np.testing.assert_allclose(flat[name], maps.flatten(1).numpy(), accuracy, err_msg=name)
        means = maps.mean(dim=(2, 3)) if maps.ndim == 4 else maps
        np.testing.assert_allclose(found[name], means.numpy(), accuracy, err_msg=name)
        assert found[name].dtype == flat[name].dtype == np.float32
    assert found["layer1.0.bn1"].min() < 0 <= found["layer1.0.relu"].min()


@pytest.mark.parametrize("shape", [(5, 4), (5, 2, 4)])
def test_in_place_changes_come_too_late(shape: tuple[int, ...]) -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True))
    given = torch.randn(shape)
    recorder = LayerRecorder(module)
    for pooling in ("mean", "flatten", "first-token"):
        reduce = reducer(len(shape) - 1, pooling, 5)
        with torch.inference_mode(), recorder.record(["0", "1"], reduce) as found:
            module(given)
        before = (given @ module[0].weight.T + module[0].bias).detach()
        assert (before < 0).any()
        for name, output in (("0", before), ("1", before.clamp(min=0))):
            tokens = output.reshape(5, -1, 3)
            expected = {"mean": tokens.mean(1), "flatten": tokens.flatten(1)}
            torch.testing.assert_close(found[name], expected.get(pooling, tokens[:, 0]))


def reducer(axis: int, pooling: str, n_inputs: int) -> Callable[[str, Tensor], Tensor]:
    return lambda name, output: pool(name, output, axis, pooling, n_inputs)  # type: ignore[arg-type]


def swin() -> nn.Module:
    """Maps of 16 x 16 places with 16 channels, which come last."""
    return SwinTransformer(
        SIDE, 4, depths=(1, 2), num_heads=(2, 2), embed_dim=16, window_size=4, num_classes=3
    )


def convnext() -> nn.Module:
    """Maps of 16 x 16 places with 16 channels, which come last inside of a block only."""
    return ConvNeXt(depths=(1, 2, 1, 1), dims=(16, 32, 32, 32), num_classes=3, ls_init_value=1.0)


def plain_vit() -> nn.Module:
    """16 tokens and one for the class, of 17 numbers each."""
    return VisionTransformer(
        SIDE, 16, embed_dim=17, depth=2, num_heads=1, num_classes=3, mlp_ratio=1
    )


@pytest.mark.parametrize(
    ("build", "channels_first", "channels_last"),
    [
        (
            swin,
            ["patch_embed.proj"],
            ["patch_embed", "layers.0.blocks.0", "layers.0.blocks.0.norm2", "layers.0",
             "layers.1.downsample", "layers.1.blocks.1.drop_path2", "layers.1", "norm"],
        ),
        (
            convnext,
            ["stem.0", "stem", "stages.0.blocks.0.conv_dw", "stages.0.blocks.0", "stages.0",
             "stages.0.blocks.0.drop_path", "stages.1.blocks.1", "stages.1", "norm_pre"],
            ["stages.0.blocks.0.norm", "stages.0.blocks.0.mlp.act", "stages.0.blocks.0.mlp"],
        ),
        (
            plain_vit,
            ["patch_embed.proj"],
            ["patch_embed", "pos_drop", "blocks.0.norm1", "blocks.0.attn", "blocks.0.mlp",
             "blocks.0", "blocks.1", "norm"],
        ),
        (
            lambda: torchvision.models.SwinTransformer(
                [4, 4], 16, [1, 1], [2, 2], [4, 4], stochastic_depth_prob=0.0, num_classes=3
            ),
            ["features.0.0", "permute"],
            ["features.0.1", "features.0", "features.1", "features.1.0", "features.2", "norm"],
        ),
    ],
)  # fmt: skip
def test_channels_are_found_though_as_many_as_places(
    build: Callable[[], nn.Module],
    channels_first: list[str],
    channels_last: list[str],
    pictures: list[Path],
) -> None:
    module = build()
    found = ImageNetwork(module, SMALL).extract(
        pictures[:1], [*channels_first, *channels_last], "mean"
    )
    outputs = outputs_of(module, [*channels_first, *channels_last], as_input(pictures[0]))
    assert any(len(set(output.shape[1:])) == 1 for output in outputs.values()) or build is plain_vit
    for name, output in outputs.items():
        axis = 1 if name in channels_first else output.ndim - 1
        others = tuple(other for other in range(1, output.ndim) if other != axis)
        expected = output.mean(dim=others).numpy()
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_blocks_are_stages_and_repeated_units(resnet: ImageNetwork) -> None:
    assert resnet.layers("blocks") == (
        "layer1.0", "layer2.0", "layer2.1", "layer3.0", "layer4.0", "avgpool"
    )  # fmt: skip
    assert ImageNetwork(swin(), SMALL, "head.global_pool").layers("blocks") == (
        "layers.0.blocks.0", "layers.0", "layers.1.blocks.0", "layers.1.blocks.1", "layers.1",
        "head.global_pool",
    )  # fmt: skip
    assert ImageNetwork(plain_vit(), SMALL).layers("blocks") == ("blocks.0", "blocks.1")


def hf_resnet() -> nn.Module:
    return transformers.ResNetModel(
        transformers.ResNetConfig(
            embedding_size=8, hidden_sizes=[16, 32], depths=[1, 2], layer_type="bottleneck"
        )
    )


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            lambda: timm.create_model("tf_efficientnet_lite0", num_classes=3),
            [f"blocks.{stage}" for stage in range(7)]
            + [f"blocks.{stage}.{block}" for stage, n in enumerate((1, 2, 2, 3, 3, 4, 1))
               for block in range(n)],
        ),
        (
            lambda: torchvision.models.mobilenet_v2(num_classes=3),
            [f"features.{block}" for block in range(19)],
        ),
        (
            hf_resnet,
            ["encoder.stages.0", "encoder.stages.0.layers.0", "encoder.stages.1",
             "encoder.stages.1.layers.0", "encoder.stages.1.layers.1"],
        ),
    ],
)  # fmt: skip
def test_blocks_are_not_the_convolutions_in_them(
    build: Callable[[], nn.Module], expected: list[str]
) -> None:
    assert sorted(ImageNetwork(build(), SMALL).layers("blocks")) == sorted(expected)


def test_channels_are_counted_after_a_function_has_turned_the_axes(pictures: list[Path]) -> None:
    class Turning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 5, 8, stride=8), nn.Linear(5, 7)
            self.last, self.first = nn.Identity(), nn.Identity()

        def forward(self, given: Tensor) -> Tensor:
            maps = self.last(self.conv(given).permute(0, 2, 3, 1))
            return self.first(self.linear(maps.flatten(1, 2)).transpose(1, 2))

    module = Turning()
    found = ImageNetwork(module, SMALL).extract(pictures[:1], ("last", "first", "linear"), "mean")
    maps = module.conv(as_input(pictures[0]))
    np.testing.assert_allclose(found["last"], maps.mean(dim=(2, 3)), rtol=1e-4, atol=1e-6)
    tokens = module.linear(maps.flatten(2).transpose(1, 2)).mean(dim=1)
    for name in ("first", "linear"):
        np.testing.assert_allclose(found[name], tokens, rtol=1e-4, atol=1e-6)


def test_tokens(pictures: list[Path]) -> None:
    module = plain_vit()
    network = ImageNetwork(module, SMALL)
    names = ("blocks.0", "blocks.1", "head")
    (tokens, *_), logits = (
        list(outputs_of(module, names[:2], as_input(pictures[0])).values()),
        module(as_input(pictures[0])),
    )
    first = network.extract(pictures[:1], names, "first-token")
    flat = network.extract(pictures[:1], names, "flatten")
    np.testing.assert_allclose(first["blocks.0"], tokens[:, 0].numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(flat["blocks.0"], tokens.flatten(1).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(first["head"], logits.numpy(), rtol=1e-5, atol=1e-6)


def test_outputs_of_transformers(pictures: list[Path]) -> None:
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=SIDE, patch_size=16,
    )  # fmt: skip
    module = transformers.ViTModel(config)
    network = ImageNetwork(module, SMALL)
    blocks = network.layers("blocks")
    assert len(blocks) == 2
    found = network.extract(pictures[:1], blocks, "mean")
    with plain_torch():
        hidden = module(as_input(pictures[0]), output_hidden_states=True).hidden_states
    np.testing.assert_allclose(found[blocks[0]], hidden[1].mean(dim=1).numpy(), rtol=1e-5)


def test_attention_pooling_of_clip(pictures: list[Path]) -> None:
    module = ModifiedResNet((1, 1, 1, 1), output_dim=12, heads=4, image_size=SIDE, width=8)
    found = ImageNetwork(module, SMALL).extract(pictures[:2], ("attnpool", "layer4"), "mean")
    with plain_torch():
        expected = [module(as_input(file)).numpy() for file in pictures[:2]]
    np.testing.assert_allclose(found["attnpool"], np.concatenate(expected), rtol=1e-4, atol=1e-7)
    assert found["layer4"].shape == (2, 8 * 32)


class Film(nn.Module):
    """Shows each picture as a film of frames that grow brighter."""

    def __init__(self, n_frames: int) -> None:
        super().__init__()
        self.n_frames = n_frames
        self.conv = nn.Conv2d(3, 4, 3)
        self.last = nn.Identity()

    def forward(self, given: Tensor) -> Tensor:
        brightness = torch.arange(1.0, self.n_frames + 1).tile(len(given))
        frames = given.repeat_interleave(self.n_frames, dim=0) * brightness[:, None, None, None]
        maps = self.conv(frames)
        return self.last(maps.unflatten(0, (-1, self.n_frames)).mean(dim=(1, 3, 4)))


def test_films_give_the_mean_of_their_frames(pictures: list[Path]) -> None:
    module = Film(3)
    network = ImageNetwork(module, SMALL)
    assert network.layers("all") == ("conv", "last")
    means = network.extract(pictures[:2], ("conv", "last"), "mean")
    flat = network.extract(pictures[:2], ("conv",), "flatten")["conv"]
    for row, file in enumerate(pictures[:2]):
        maps = torch.stack([module.conv(factor * as_input(file)) for factor in (1, 2, 3)]).mean(0)
        for found in (means["conv"][row], means["last"][row]):
            np.testing.assert_allclose(found, maps.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(flat[row], maps.flatten(), rtol=1e-4, atol=1e-5)
    several = torch.stack([torch.arange(24.0).reshape(2, 3, 2, 2) + 100 * n for n in range(2)])
    pooled = pool("conv", several.flatten(0, 1), 1, "mean", 2)
    torch.testing.assert_close(pooled, several.mean(dim=(1, 3, 4)))


def test_only_layers_with_a_row_a_picture_are_listed(pictures: list[Path]) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept, self.turned, self.shared = nn.Identity(), nn.Identity(), nn.Identity()
            self.whole, self.pair = nn.Identity(), nn.Identity()

        def forward(self, given: Tensor) -> tuple[Tensor, Tensor]:
            tokens = given.flatten(2)
            self.turned(tokens.permute(2, 0, 1))
            self.shared(torch.zeros(1, 3))
            self.whole(tokens.long())
            self.pair((tokens + 1, tokens))
            return self.kept(tokens), tokens

    network = ImageNetwork(Odd(), SMALL)
    assert network.layers("all") == ("pair", "kept")
    flat = network.extract(pictures[:1], ("pair", "kept"), "flatten")
    np.testing.assert_allclose(flat["pair"], flat["kept"] + 1, rtol=1e-6)


def test_layers_behind_absent_weights_are_not_listed(pictures: list[Path]) -> None:
    module = small_resnet()
    state = {name: value for name, value in module.state_dict().items() if "fc" not in name}
    fit_state(state, KeyMapping(absent=(r"fc\..*",)), module, Path("net.pth"), "resnet")
    names = ImageNetwork(module, SMALL).layers("all")
    assert names[-1] == "avgpool" and "layer4" in names


def test_half_precision_is_pooled_in_full() -> None:
    maps = torch.tensor([2048.0, 2050.0], dtype=torch.float16).reshape(1, 1, 1, 2)
    pooled = pool("map", maps, 1, "mean", 1)
    assert pooled.dtype == torch.float32
    assert pooled.tolist() == [[2049.0]]
    assert pool("map", maps, 1, "flatten", 1).dtype == torch.float32


def test_class_probabilities(resnet: ImageNetwork, pictures: list[Path]) -> None:
    found = resnet.class_probabilities(pictures)
    with plain_torch():
        logits = np.concatenate([resnet.module(as_input(file)).numpy() for file in pictures])
    exponents = np.exp(logits.astype(float))
    expected = exponents / exponents.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_unknown_layers_and_unsuitable_poolings(resnet: ImageNetwork, pictures: list[Path]) -> None:
    with pytest.raises(InputError, match=r"no layer 'layer1\.0\.relu_3'.*layer1\.0\.relu_[12]"):
        resnet.extract(pictures, ["layer1.0.relu_3"], "mean")
    with pytest.raises(InputError, match="conceptrsa models check NAME --layers"):
        require_layers(["zzz"], ["fc"])
    with pytest.raises(InputError, match=r"'layer1' has an output of 4 axes.*'first-token'"):
        resnet.extract(pictures, ["layer1"], "first-token")
    with pytest.raises(InputError, match="17 rows for 2 pictures"):
        pool("windows", torch.zeros(17, 3), 1, "mean", 2)
