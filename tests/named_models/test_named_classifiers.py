"""Models by name: classifiers of torchvision and timm."""

import re
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from conceptrsa.analysis.models.networks import named_timm, named_torchvision
from conceptrsa.analysis.models.networks.load import load_network
from conceptrsa.analysis.models.networks.named_networks import EMBEDDING, tap_input
from conceptrsa.analysis.models.registry import KeyMapping
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.bids_config.errors import InputError
from named_models.named_tools import (
    Describe,
    assert_near,
    extract,
    one_by_one,
    penultimate,
    read,
    settle_statistics,
    write_state,
)

# torchvision


@pytest.mark.parametrize(
    ("architecture", "n_features"),
    [
        ("resnet18", 512),
        ("alexnet", 4096),
        ("vgg11", 4096),
        ("vit_b_16", 768),
        ("swin_t", 768),
        ("convnext_tiny", 768),
        ("efficientnet_b0", 1280),
        ("mobilenet_v3_small", 1024),
        ("densenet121", 1024),
        ("squeezenet1_1", 512),
        ("googlenet", 1024),
        ("mnasnet0_5", 1280),
    ],
)
def test_the_default_layer_of_torchvision_feeds_the_classifier(
    architecture: str, n_features: int, describe: Describe
) -> None:
    entry = describe(f"torchvision:{architecture}")
    assert entry.network.n_features == n_features
    module = settle_statistics(named_torchvision.build(entry.network.architecture))
    kinds = nn.Conv2d if architecture == "squeezenet1_1" else nn.Linear
    outputs = torchvision.models.get_model_weights(architecture).DEFAULT.meta["categories"]
    last = [
        part
        for part in module.modules()
        if isinstance(part, kinds) and part.weight.shape[0] == len(outputs)
    ][-1]
    tapped: list[Tensor] = []
    module.get_submodule(EMBEDDING).register_forward_hook(
        lambda _module, _inputs, output: tapped.append(output)
    )
    side = 224 if architecture == "vit_b_16" else 64
    expected = penultimate(module, last, torch.rand(1, 3, side, side))
    found = tapped[0].mean(dim=(2, 3)) if tapped[0].ndim == 4 else tapped[0]
    assert found.shape == (1, n_features) and found.std() > 0
    assert torch.equal(found, expected)


DENSE_BLOCK = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))([12])(\..*)$")


@pytest.mark.parametrize("architecture", ["resnet18", "densenet121", "mnasnet0_5"])
def test_torchvision_features(
    architecture: str, describe: Describe, pictures: list[Path], tmp_path: Path
) -> None:
    entry = describe(f"torchvision:{architecture}")
    module = settle_statistics(torchvision.models.get_model(architecture, weights=None))
    assert entry.network.weights is not None
    state = module.state_dict()
    if architecture == "densenet121":  # the published file of 2017: norm.1 for norm1
        state = {DENSE_BLOCK.sub(r"\1.\2\3", key): value for key, value in state.items()}
        state = {key: value for key, value in state.items() if "num_batches" not in key}
        assert "features.denseblock1.denselayer1.norm.1.weight" in state
    file = tmp_path / entry.network.weights.files[0].name
    torch.save(state, file)
    transform = torchvision.models.get_model_weights(architecture).DEFAULT.transforms()
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    expected = one_by_one(
        lambda picture: penultimate(module, linear, picture), [transform(read(pictures[0]))]
    )
    assert_near(extract(entry, [file], pictures[:1]), expected)


def test_vision_transformers_of_2021_are_read(tmp_path: Path) -> None:
    sizes = (32, 16, 2, 2, 16, 32)
    old, new = (torchvision.models.VisionTransformer(*sizes) for _ in range(2))
    numbers = {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."}
    state = {
        re.sub(r"\.mlp\.[03]\.", lambda found: numbers[found[0]], key): value
        for key, value in old.state_dict().items()
    }
    assert "encoder.layers.encoder_layer_1.mlp.linear_2.bias" in state
    mapping = KeyMapping(rename=named_torchvision.RENAMED_SINCE)
    fit_state(state, mapping, new, tmp_path / "vit.pth", "vit")
    picture = torch.rand(1, 3, 32, 32)
    assert torch.equal(new.eval()(picture), old.eval()(picture))


# timm


@pytest.mark.parametrize(
    "architecture",
    [
        "resnet18",
        "vit_tiny_patch16_224",
        "swin_tiny_patch4_window7_224",
        "convnext_atto",
        "efficientnet_b0",
        "resnetv2_50x1_bit",
        "mixer_b16_224",
        "deit_tiny_distilled_patch16_224",  # two classifiers
        "levit_128s",
    ],
)
def test_the_default_layer_of_timm_is_before_the_classifier(
    architecture: str, describe: Describe
) -> None:
    network = describe(f"timm:{architecture}").network
    full = network.architecture
    module = settle_statistics(timm.create_model(full))
    picture = torch.rand(1, *module.pretrained_cfg["input_size"])
    with torch.inference_mode():
        expected = module.forward_head(module.forward_features(picture), pre_logits=True)
        found = named_timm.tap(module, full)(picture)
    assert found.shape == (1, network.n_features) and found.std() > 0
    assert torch.equal(found, expected)


@pytest.mark.parametrize("architecture", ["resnet18", "dla46_c", "vit_xsmall_patch16_clip_224"])
def test_timm_features(
    architecture: str, describe: Describe, pictures: list[Path], tmp_path: Path
) -> None:
    entry = describe(f"timm:{architecture}")
    module = settle_statistics(timm.create_model(entry.network.architecture))
    file = write_state(module, tmp_path / "model.safetensors")
    recipe = timm.data.resolve_model_data_config(module)
    transform = timm.data.create_transform(**recipe, is_training=False)
    classifier = nn.Identity() if entry.group == "visual" else module.get_classifier()
    module.reset_classifier(0)  # timm's other way to the vector before the classifier
    expected = one_by_one(
        lambda picture: classifier(module(picture)), [transform(read(pictures[0]))]
    )
    assert_near(extract(entry, [file], pictures[:1]), expected)


def test_timm_converts_the_authors_layout(
    describe: Describe, pictures: list[Path], tmp_path: Path
) -> None:
    """ConvNeXt of facebookresearch: other names, and everything below 'model'."""
    entry = describe("timm:convnext_atto")
    module = timm.create_model(entry.network.architecture).eval()
    renamings = (
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1."),
        (r"^stages\.(\d)\.blocks\.", r"stages.\1."),
        (r"conv_dw", "dwconv"),
        (r"mlp\.fc([12])", r"pwconv\1"),
        (r"^head\.norm\.", "norm."),
        (r"^head\.fc\.", "head."),
    )
    state = {}
    for key, value in module.state_dict().items():
        for pattern, replacement in renamings:
            key = re.sub(pattern, replacement, key)
        is_linear = "pwconv" in key and key.endswith("weight")
        state[key] = value.reshape(value.shape[:2]) if is_linear else value
    assert "downsample_layers.0.0.weight" in state and "stages.0.0.pwconv1.weight" in state
    torch.save({"model": state}, tmp_path / "convnext.pth")
    recipe = timm.data.resolve_model_data_config(module)
    transform = timm.data.create_transform(**recipe, is_training=False)
    expected = one_by_one(
        lambda picture: module.forward_head(module.forward_features(picture), pre_logits=True),
        [transform(read(pictures[0]))],
    )
    found = extract(entry, [tmp_path / "convnext.pth"], pictures[:1])
    assert_near(found, expected)


# Files that do not fit


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18", "timm:dla46_c"])
@pytest.mark.parametrize("fault", ["missing", "misshapen", "another", "empty"])
def test_weights_of_another_network_are_refused(
    name: str, fault: str, describe: Describe, tmp_path: Path
) -> None:
    entry = describe(name)
    library, _, architecture = name.partition(":")
    own = timm.create_model(architecture) if library == "timm" else torchvision.models.resnet18()
    state = dict(own.state_dict())
    first = next(iter(state))
    if fault == "missing":
        del state[first]
    if fault == "misshapen":
        state[first] = state[first][:1].clone()
    if fault == "another":
        state = dict(timm.create_model("convnext_atto").state_dict())
    if fault == "empty":
        state = {}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"weights\.pth") as caught:
        load_network(entry.network, [tmp_path / "weights.pth"])
    assert "\n" not in str(caught.value)


def test_a_tap_changes_nothing() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    inputs = torch.rand(5, 3)
    before, keys = module(inputs), set(module.state_dict())
    network = nn.ModuleDict({"layers": module})
    network.forward = module.forward  # type: ignore[method-assign]
    tapped: list[Tensor] = []
    tap_input(network, module[2])
    network[EMBEDDING].register_forward_hook(lambda *calls: tapped.append(calls[-1]))
    assert torch.equal(network(inputs), before)
    assert torch.equal(tapped[0], module[:2](inputs))
    assert set(module.state_dict()) == keys
    assert {f"layers.{key}" for key in keys} == set(network.state_dict())
