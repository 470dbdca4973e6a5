"""Layers that are one and the same are compared once, and the note of the one names the others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns
from conceptrsa.analysis.comparison import compare
from conceptrsa.analysis.models.feature_files import Features, ModelRdm
from conceptrsa.analysis.models.model_set import gather_models
from conceptrsa.analysis.settings import settings_for

STIMULI = tuple("abcdef")
RANDOM = np.random.default_rng(0)
VALUES = RANDOM.standard_normal((6, 8))
OTHERS = RANDOM.standard_normal((6, 8))


def features(name: str, values: np.ndarray = VALUES, **more: object) -> Features:
    return replace(Features(name, "visual", STIMULI, values), **more)  # type: ignore[arg-type]


def layer(name: str, own: str, values: np.ndarray = VALUES) -> Features:
    return features(name, values, origin={"layer": name.partition("@")[2], "own_layer": own})


def names_and_notes(*models: Features | ModelRdm, reference: str | None = None) -> dict[str, str]:
    found = gather_models(models, STIMULI, "paper", reference)
    return {model.model: model.note for model in found.models}


def test_the_layer_that_a_network_is_known_by_stays() -> None:
    models = [layer(f"Net@{name}", "avgpool") for name in ("layer4.2", "avgpool", "flatten")]
    other = layer("Net@layer4.1", "avgpool", OTHERS)
    said = "Net@layer4.2, Net@flatten, which are the same, are left out"
    assert names_and_notes(other, *models) == {"Net@layer4.1": "", "Net@avgpool": said}
    assert names_and_notes(*models[::-1], other) == {
        "Net@avgpool": "Net@flatten, Net@layer4.2, which are the same, are left out",
        "Net@layer4.1": "",
    }  # fmt: skip


def test_the_first_stays_among_equals_and_its_own_note_comes_first() -> None:
    pairs = features("swin@layers.0.blocks.1", note="a note"), features("swin@layers.0")
    said = "a note; swin@layers.0, which is the same, is left out"
    assert names_and_notes(*pairs) == {"swin@layers.0.blocks.1": said}
    assert list(names_and_notes(*pairs[::-1])) == ["swin@layers.0"]


def test_what_is_left_out_is_among_the_warnings() -> None:
    found = gather_models([features(name) for name in ("A", "A2", "A3")], STIMULI, "paper")
    assert found.notes == ("A2 is the same as A and left out", "A3 is the same as A and left out")
    patterns = RoiPatterns(RANDOM.standard_normal((6, 12)), np.arange(12))
    others = RoiPatterns(RANDOM.standard_normal((6, 12)), np.arange(12))
    subjects = [
        SubjectPatterns(label, STIMULI, {"V1": roi})
        for label, roi in (("01", patterns), ("02", others))
    ]
    result = compare(subjects, [features("A"), features("A2")], settings_for("paper"))
    assert "A2 is the same as A and left out" in result.warnings


def test_a_model_without_a_layer_and_the_reference_stay() -> None:
    bare, block = features("timm:net"), layer("timm:net@head", "head")
    assert list(names_and_notes(block, bare)) == ["timm:net"]
    assert list(names_and_notes(block, bare, reference="timm:net@head")) == ["timm:net@head"]


def test_features_are_the_same_to_rounding_over_the_stimuli_alone() -> None:
    rounded = features("b", VALUES * (1 + 3e-7))
    assert list(names_and_notes(features("a"), rounded)) == ["a"]
    assert list(names_and_notes(features("a"), features("b", VALUES * 1.001))) == ["a", "b"]
    assert list(names_and_notes(features("a"), features("b", VALUES[:, :7]))) == ["a", "b"]
    order = [*range(5, -1, -1)]
    shuffled = Features(
        "b", "visual", (*STIMULI[::-1], "g"), np.vstack([VALUES[order], OTHERS[:1]])
    )
    assert list(names_and_notes(features("a"), shuffled)) == ["a"]
    only_one = np.vstack([VALUES[:1], OTHERS[1:]])
    assert list(names_and_notes(features("a"), features("b", only_one))) == ["a", "b"]


def test_models_of_two_groups_and_of_two_kinds_are_two() -> None:
    text = features("b", group="language")
    assert list(names_and_notes(features("a"), text)) == ["a", "b"]
    rdm = np.arange(15.0)
    first, second = (ModelRdm(name, "visual", STIMULI, rdm) for name in "ab")
    assert names_and_notes(first, second) == {"a": "b, which is the same, is left out"}
    assert list(names_and_notes(first, features("c"))) == ["a", "c"]


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_the_pairs_of_real_networks_are_found(library: str, tmp_path: Path) -> None:
    """With random weights: torchvision's ResNet and Swin, and timm's Swin."""
    torch = pytest.importorskip("torch", reason="needs the extra 'networks'")
    import timm
    from PIL import Image
    from torchvision.models import ResNet, SwinTransformer
    from torchvision.models.resnet import Bottleneck

    from conceptrsa.analysis.models.networks.vision import ImageNetwork
    from conceptrsa.analysis.models.registry import Preprocessing

    torch.manual_seed(0)
    small = Preprocessing(64, 64, "bicubic", (0.5,) * 3, (0.5,) * 3)
    files = []
    for number in range(6):
        pixels = RANDOM.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(files[-1])
    sizes = {"patch_size": [4, 4], "embed_dim": 24, "num_heads": [2, 2], "window_size": [4, 4]}
    networks = {
        "torchvision": (
            (ResNet(Bottleneck, [1, 1, 1, 2]), "avgpool", {"avgpool": ["layer4.1"]}),
            (SwinTransformer(depths=[2, 2], **sizes), "flatten",
             {"features.1.1": ["features.1"], "features.3.1": ["features.3"]}),
        ),
        "timm": (
            (timm.create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=2,
                               depths=(2, 2), num_heads=(2, 2), embed_dim=24),
             "head.global_pool",
             {"layers.0.blocks.1": ["layers.0"], "layers.1.blocks.1": ["layers.1"]}),
        ),
    }  # fmt: skip
    for module, own, pairs in networks[library]:
        network = ImageNetwork(module.eval(), small, own)
        blocks = network.layers("blocks")
        vectors = network.extract(files, blocks, "mean")
        models = [layer(f"net@{name}", own, vectors[name].astype(float)) for name in blocks]
        found = names_and_notes(*models)
        left_out = {name for doubles in pairs.values() for name in doubles}
        assert {name.partition("@")[2] for name in found} == set(blocks) - left_out
        for name, doubles in pairs.items():
            others = ", ".join(f"net@{double}" for double in doubles)
            assert found[f"net@{name}"].startswith(f"{others}, which ")
