"""Models by name: what is asked of a library, and what is remembered of its answer."""

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm

from conceptrsa.analysis.models import registry
from conceptrsa.analysis.models.named_models import describe_named, is_named
from conceptrsa.analysis.models.networks import named_timm
from conceptrsa.analysis.models.networks.named_networks import NAMED_LOADERS
from conceptrsa.analysis.models.registry import ModelEntry
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.bids_config.errors import InputError
from named_models.named_tools import (
    HEAVY,
    Describe,
    small_vit,
    vit_processor,
    write_repository,
)

# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm:resnet18", True),
        ("torchvision:resnet50/IMAGENET1K_V2", True),
        ("hf_text:openai/clip-vit-base-patch32", True),
        ("ResNet50", False),
        ("keras:resnet50", False),
        ("timm", False),
    ],
)
def test_names_of_libraries_are_told_from_others(name: str, expected: bool) -> None:
    assert is_named(name) is expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:", "names no model"),
        ("timm:resnet81", r"timm has no network 'resnet81' \(did you mean 'resnet\d+'\?\)"),
        ("timm:resnet18.a9_in1k", r"no weights of resnet18 called 'a9_in1k' \(did you mean"),
        ("timm:vit_small_plus_patch16_dinov3.no", "timm has no"),
        ("torchvision:resnet19", r"torchvision has no .*'resnet19' \(did you mean 'resnet1"),
        ("torchvision:fasterrcnn_resnet50_fpn", "has no network for pictures"),
        ("torchvision:resnet18/V9", "IMAGENET1K_V1"),
        ("open_clip:ViT-B-23/openai", r"did you mean 'ViT-B-\d\d'"),
        ("open_clip:ViT-B-32", "needs the name of its weights.*laion2b_s34b_b79k"),
        ("open_clip:ViT-B-32/laion9b", "has no weights of ViT-B-32 called 'laion9b'"),
        ("open_clip_text:coca_ViT-B-32/laion2b_s13b_b90k", "reads text unlike"),
        ("open_clip:roberta-ViT-B-32/laion2b_s12b_b32k", "fetches from .*roberta-base"),
        ("hf:gpt2", "is not a repository"),
        ("hf:someone/something", r"nothing is downloaded when offline.*config\.json"),
    ],
)
def test_what_a_library_does_not_have_is_named(name: str, message: str, describe: Describe) -> None:
    with pytest.raises(InputError, match=message) as caught:
        describe(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "group", "n_features", "address", "sha256", "licence"),
    [
        (
            "torchvision:resnet50", "visual", 2048,
            "https://download.pytorch.org/models/resnet50-11ad3fa6.pth", "11ad3fa6", "see https",
        ),
        (
            "torchvision:resnet50/IMAGENET1K_V1", "visual", 2048,
            "https://download.pytorch.org/models/resnet50-0676ba61.pth", "0676ba61", "see https",
        ),
        (
            "torchvision:vit_b_16/IMAGENET1K_SWAG_LINEAR_V1", "visual", 768,
            "https://download.pytorch.org/models/vit_b_16_lc_swag-4e70ced5.pth", "4e70ced5",
            "see https://github.com/facebookresearch/SWAG/blob/main/LICENSE",
        ),
        (
            "timm:vit_base_patch16_224.augreg2_in21k_ft_in1k", "visual", 768,
            "https://huggingface.co/timm/vit_base_patch16_224.augreg2_in21k_ft_in1k/resolve/main/"
            "model.safetensors", "", "apache-2.0",
        ),
        (
            "timm:legacy_seresnet18", "visual", 512,
            "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
            "seresnet18-4bb0ce65.pth", "4bb0ce65", "apache-2.0",
        ),
        (  # the joint space, not the wider vector before the projection
            "timm:vit_base_patch32_clip_224.openai", "multimodal", 512,
            "https://huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/main/"
            "model.safetensors", "", "apache-2.0",
        ),
        (
            "timm:vit_base_patch32_clip_224.laion2b_ft_in1k", "multimodal", 768,
            "https://huggingface.co/timm/vit_base_patch32_clip_224.laion2b_ft_in1k/resolve/main/"
            "model.safetensors", "", "apache-2.0",
        ),
        (
            "open_clip:ViT-B-32/laion2b_s34b_b79k", "multimodal", 512,
            "https://huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K/resolve/main/"
            "open_clip_model.safetensors", "", "see https://huggingface.co/laion/CLIP-ViT-B-32-",
        ),
        (
            "open_clip_text:RN50/openai", "language", 1024,
            "https://huggingface.co/timm/resnet50_clip.openai/resolve/main/"
            "open_clip_model.safetensors", "", "see https://huggingface.co/timm/resnet50_clip",
        ),
    ],
)  # fmt: skip
def test_a_model_is_described(
    name: str,
    group: str,
    n_features: int,
    address: str,
    sha256: str,
    licence: str,
    describe: Describe,
) -> None:
    entry = describe(name)
    network = entry.network
    assert (entry.name, entry.group, network.n_features) == (name, group, n_features)
    assert network.weights is not None
    (file,) = network.weights.files
    assert (file.url, file.sha256) == (address, sha256)
    assert file.url.endswith(f"/{file.name}")
    assert entry.licence.startswith(licence)
    assert network.loader in NAMED_LOADERS
    assert network.input == ("label" if group == "language" else "picture")


@pytest.mark.parametrize(
    ("name", "with_text"),
    [
        ("resnet50_clip.openai", True),
        ("vit_base_patch16_siglip_224.webli", True),
        ("vit_pe_core_base_patch16_224.fb", True),
        ("aimv2_large_patch14_224.apple_pt", True),
        ("davit_base_fl.msft_florence2", True),
        ("eva02_base_patch14_224.mim_in22k", False),
        ("vit_base_patch14_dinov2.lvd142m", False),
        ("resnext101_32x8d.fb_wsl_ig1b_ft_in1k", False),
        ("vit_base_patch16_radio_v3.c_radio", False),
        ("vit_base_patch16_224.mae", False),
        ("resnetv2_50x1_bit.goog_in21k", False),
    ],
)
def test_timm_networks_that_were_trained_with_text(name: str, with_text: bool) -> None:
    assert name in timm.list_models(pretrained=True)
    assert bool(named_timm.WITH_TEXT.search(name)) is with_text


# Memory


def test_a_remembered_model_needs_no_library(tmp_path: Path, options: WeightsOptions) -> None:
    names = ("torchvision:resnet18", "timm:resnet18", "open_clip:RN50/openai", "hf:me/vit")
    write_repository(tmp_path / "hf%3Ame%2Fvit", small_vit(), vit_processor())
    entries = [describe_named(name, tmp_path / "memory", options) for name in names]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))\n"
        "from pathlib import Path\n"
        "from conceptrsa.analysis.models.named_models import describe_named\n"
        "from conceptrsa.analysis.models.weights.places import WeightsOptions\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "options = WeightsOptions(cache=folder / 'cache', folder=folder, offline=True)\n"
        f"for name in {names!r}:\n"
        "    print(describe_named(name, folder / 'memory', options))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True
    )
    assert told.stdout.splitlines() == [repr(entry) for entry in entries]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "",
        lambda text: text.replace('"visual"', "3"),
        lambda text: text.replace('"n_features": 512', '"n_features": "many"'),
        lambda text: text.replace('"name": "timm:resnet18"', '"name": "timm:resnet34"'),
        lambda text: text.replace('"group"', '"troop"'),
    ],
)
def test_a_damaged_memory_is_made_anew(
    damage: Callable[[str], str], describe: Describe, tmp_path: Path
) -> None:
    entry = describe("timm:resnet18")
    (file,) = (tmp_path / "memory").iterdir()
    whole = file.read_text()
    assert json.loads(whole)["entry"]["network"]["n_features"] == 512
    file.write_text(damage(whole))
    assert file.read_text() != whole
    assert describe("timm:resnet18") == entry
    assert file.read_text() == whole


def test_a_library_is_asked_once_for_each_of_its_versions(
    describe: Describe, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = named_timm.describe

    def count(name: str, *others: Any) -> ModelEntry:
        asked.append(name)
        return ask(name, *others)

    monkeypatch.setattr(named_timm, "describe", count)
    describe("timm:resnet18")
    describe("timm:resnet18")
    assert len(asked) == 1
    monkeypatch.setattr(
        registry, "version", lambda library: f"{importlib.metadata.version(library)}.1"
    )
    describe("timm:resnet18")
    assert len(asked) == 2


def test_a_missing_library_is_named(describe: Describe, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(library: str) -> str:
        raise importlib.metadata.PackageNotFoundError(library)

    monkeypatch.setattr(registry, "version", missing)
    with pytest.raises(InputError, match=r"needs the library pillow.*pip install"):
        describe("timm:resnet18")
