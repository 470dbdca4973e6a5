"""Models by name: both towers of open_clip."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from conceptrsa.analysis.models.extraction_settings import fill_prompt
from conceptrsa.analysis.models.networks.load import load_network
from conceptrsa.bids_config.errors import InputError
from named_models.named_tools import (
    Describe,
    assert_near,
    extract,
    one_by_one,
    open_clip_transform,
    read,
    write_state,
)

# open_clip

SMALL_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}


@pytest.fixture
def small_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], Any]:
    """Two tags of a network that open_clip knows; gives that network in its published form."""
    tags = {
        tag: {
            **open_clip.get_pretrained_cfg("ViT-B-32", "openai"),
            "hf_hub": f"laion/small_clip.{tag}/",
            "quick_gelu": quick or None,
        }
        for tag, quick in (("quick", True), ("plain", False))
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "small", SMALL_CLIP)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "small", tags)

    def build(quick: bool) -> Any:
        return open_clip.create_model(
            "small", load_weights=False, force_quick_gelu=quick, pretrained_text=False
        ).eval()

    return build


@pytest.mark.parametrize("tag", ["quick", "plain"])
@pytest.mark.parametrize("layout", ["safetensors", "training", "half", "own text"])
def test_open_clip_features(
    tag: str,
    layout: str,
    small_clip: Callable[[bool], Any],
    describe: Describe,
    pictures: list[Path],
    tmp_path: Path,
) -> None:
    model = small_clip(tag == "quick")
    file = write_clip(model, layout, tmp_path)
    entry = describe(f"open_clip:small/{tag}")
    transform = open_clip_transform("small", tag)
    expected = one_by_one(model.encode_image, [transform(read(file)) for file in pictures])
    assert_near(extract(entry, [file], pictures), expected)

    entry = describe(f"open_clip_text:small/{tag}")
    texts = ["a photo of a cat", "hot air balloon"]
    prompts = [fill_prompt("{label}", text) for text in texts]
    with torch.inference_mode():
        expected = model.encode_text(open_clip.get_tokenizer("small")(texts)).numpy()
    assert_near(extract(entry, [file], prompts), expected)


def write_clip(model: Any, layout: str, folder: Path) -> Path:
    if layout == "safetensors":
        return write_state(model, folder / "open_clip_model.safetensors")
    state = dict(model.state_dict())
    if layout == "half":  # OpenAI's, with the numbers beside the weights
        state = {key: value.half().float() for key, value in state.items()}
        model.load_state_dict(state)
        state = {key: value.half() for key, value in state.items()}
        sizes = {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
        state |= {key: torch.tensor(value) for key, value in sizes.items()}
    if layout == "own text":
        state = open_clip.model.convert_to_custom_text_state_dict(state)
        assert "text.token_embedding.weight" in state
    if layout == "training":
        state = {"epoch": 3, "state_dict": {f"module.{key}": v for key, v in state.items()}}
    torch.save(state, folder / "model.pt")
    return folder / "model.pt"


def test_open_clip_squashes_as_siglip_does(
    small_clip: Callable[[bool], Any],
    describe: Describe,
    pictures: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tags = open_clip.pretrained._PRETRAINED["small"]
    siglip = open_clip.get_pretrained_cfg("ViT-B-16-SigLIP", "webli")
    monkeypatch.setitem(tags, "plain", {**siglip, "hf_hub": "laion/small/"})
    entry = describe("open_clip:small/plain")
    assert entry.network.preprocessing is None
    model = small_clip(False)
    file = write_state(model, tmp_path / "open_clip_model.safetensors")
    transform = open_clip_transform("small", "plain")
    expected = one_by_one(model.encode_image, [transform(read(file)) for file in pictures])
    assert_near(extract(entry, [file], pictures), expected)


def test_open_clip_weights_that_lack_a_tensor_are_refused(
    small_clip: Callable[[bool], Any], describe: Describe, tmp_path: Path
) -> None:
    state = dict(small_clip(False).state_dict())
    del state["ln_final.weight"]
    torch.save(state, tmp_path / "model.pt")
    for kind in ("open_clip", "open_clip_text"):
        entry = describe(f"{kind}:small/plain")
        with pytest.raises(InputError, match=r"it lacks text\.ln_final\.weight"):
            load_network(entry.network, [tmp_path / "model.pt"])
