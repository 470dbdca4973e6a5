"""CLIP's text tower gives what OpenAI's own code gives, and the registry what the paper took."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import text_networks
import torch
import transformers
from safetensors.torch import save_file
from text_networks import BERT_KEYS, CAT, CLIP_KEYS, GPT2_KEYS, PHOTO, save_layout, scramble
from tokenizers import Tokenizer

from conceptrsa.analysis.models.extraction_settings import Prompt, fill_prompt
from conceptrsa.analysis.models.networks.clip_text import ClipTokenizer
from conceptrsa.analysis.models.networks.language import TextNetwork
from conceptrsa.analysis.models.networks.load import load_entry
from conceptrsa.analysis.models.networks.named_open_clip import load_clip_text
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config.errors import InputError

one_thread = text_networks.one_thread
minilm, byte_tokenizer = text_networks.minilm, text_networks.byte_tokenizer

HOSTILE = (
    "Hot  Air\tBalloon", "naïve café", "e\u0301le\u0301phant", "大象", "🐘", "👩‍👩‍👧",
    "dog's", "'s",
    "AT&T", "&lt;b&gt;", "&amp;amp;", "cafÃ©", "â€œquotedâ€", "ﬁre", "ｆｕｌｌ", "İstanbul",
    "ΟΔΟΣ",
    "a\u00a0b", "x\u200by", "\ufeffbom", "\x1b[31mred", "100%", "①²", "...", "\u0301", "ǅ", "[SEP]",
)  # fmt: skip


def openai(name: str) -> ModuleType:
    """A module of OpenAI's code; the package round it needs an outdated setuptools."""
    package = importlib.util.find_spec("clip")
    if package is None or not package.submodule_search_locations:
        pytest.skip("OpenAI's code is not installed (clip-anytorch)")
    file = Path(package.submodule_search_locations[0]) / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"openai_{name}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def openai_tokens(text: str) -> list[int]:
    """As `clip.tokenize`, without its zeros."""
    tokenizer = openai("simple_tokenizer").SimpleTokenizer()
    start, end = (tokenizer.encoder[f"<|{name}oftext|>"] for name in ("start", "end"))
    return [start, *tokenizer.encode(text), end]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> tuple[Any, Path]:
    """OpenAI's network with the text tower of RN50, saved as they did: traced, half precision."""
    code = openai("model")
    sizes = {"context_length": 77, "vocab_size": 49408}
    # The visual tower is small: its tensors have their names, and none is used.
    original = code.CLIP(
        embed_dim=1024, image_resolution=64, vision_layers=(1, 1, 1, 1), vision_width=8,
        vision_patch_size=None, transformer_width=512, transformer_heads=8, transformer_layers=12,
        **sizes,
    )  # fmt: skip
    scramble_gently(original)
    for name, size in {"input_resolution": 224, **sizes}.items():
        original.__dict__.pop(name, None)
        original.register_buffer(name, torch.tensor(size))
    text = torch.zeros(1, 77, dtype=torch.int64)
    archive = torch.jit.trace_module(original, {"encode_text": (text,)}, check_trace=False)
    file = tmp_path_factory.mktemp("clip") / "RN50.pt"
    # The parameters of the archive are those of the original, which is converted after tracing.
    code.convert_weights(original)
    archive.save(str(file))
    # On a CPU OpenAI's loader computes in single precision with the weights rounded to half.
    return original.float(), file


@torch.no_grad()
def scramble_gently(module: Any) -> None:
    """Keep OpenAI's initial values, but for the biases and scales, which are all 0 and 1."""
    generator = torch.Generator().manual_seed(2)
    for parameter in module.parameters():
        if parameter.ndim == 1:
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    module.eval()


@pytest.fixture(scope="module")
def clip_text(clip) -> TextNetwork:
    return load_clip_text(clip[1], CLIP_KEYS, "RN50-quickgelu")


@torch.inference_mode()
def test_clip_embeds_as_openais_code(clip, clip_text) -> None:
    original, file = clip
    stored = torch.jit.load(file).state_dict()
    assert stored["text_projection"].dtype == torch.float16
    assert {"visual.conv1.weight", "logit_scale", "input_resolution"} <= set(stored)
    labels = ("cat", "hot air balloon", "Éléphant 🐘", "AT&amp;T's")
    prompts = [fill_prompt(PHOTO, label) for label in labels]
    (found,) = clip_text.extract(prompts, ["text_projection"], "mean").values()
    padded = torch.zeros(len(prompts), 77, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids = openai_tokens(prompt.text)
        padded[row, : len(ids)] = torch.tensor(ids)
    expected = original.encode_text(padded).numpy()
    assert found.shape == (4, 1024) and np.abs(np.diff(expected, axis=0)).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["BERT", "GPT-2", "CLIP-L"])
def test_the_registry_takes_what_the_paper_took(
    name: str, clip, minilm, byte_tokenizer, tmp_path: Path
) -> None:
    """As wide as the published networks, with two blocks."""
    entry = read_zoo().find(name)
    if name == "CLIP-L":
        original, file = clip
        files = [file]
        ids = torch.tensor([openai_tokens(CAT.text)])
        expected = original.encode_text(torch.nn.functional.pad(ids, (0, 77 - ids.shape[1])))
    else:
        original, tokenizer = (
            (
                transformers.BertForPreTraining(transformers.BertConfig(num_hidden_layers=2)),
                Tokenizer.from_file(str(minilm / "tokenizer.json")),
            )
            if name == "BERT"
            else (transformers.GPT2Model(transformers.GPT2Config(n_layer=2)), byte_tokenizer)
        )
        scramble(original)
        state = {key: values.clone() for key, values in original.state_dict().items()}
        save_file(state, tmp_path / "model.safetensors")
        files = [
            tmp_path / "model.safetensors",
            *save_layout(tmp_path, original.config, tokenizer),
        ]
        encoded = tokenizer.encode(CAT.text)
        place = max(i for i, (start, end) in enumerate(encoded.offsets) if start < end)
        base = getattr(original, "bert", original)
        ids = torch.tensor([encoded.ids])[:, torch.tensor(encoded.attention_mask) == 1]
        expected = base(ids).last_hidden_state[:, place]
    layer, pooling = entry.network.layer, entry.network.pooling
    keys = BERT_KEYS if name == "BERT" else GPT2_KEYS if name == "GPT-2" else CLIP_KEYS
    weights = replace(entry.network.weights, keys=keys)
    entry = replace(entry, network=replace(entry.network, weights=weights))
    features = load_entry(entry, files).extract([CAT], [layer], pooling)[layer]
    assert features.shape == (1, entry.network.n_features)
    difference = np.abs(features - expected.numpy()).max() / np.abs(expected.numpy()).max()
    assert difference < 1e-5


@torch.inference_mode()
def test_hidden_layers_of_clip_are_those_of_openais_code(clip, clip_text) -> None:
    original, _ = clip
    seen = []
    hook = original.transformer.resblocks[4].register_forward_hook(
        lambda module, given, output: seen.append(output)
    )
    ids = openai_tokens("a photo of cat")
    padded = torch.zeros(1, 77, dtype=torch.int64)
    padded[0, : len(ids)] = torch.tensor(ids)
    original.encode_text(padded)
    hook.remove()
    states = seen[0][:, 0].numpy()  # tokens first
    # <start> a photo of cat <end>
    assert len(ids) == 6
    layer = "transformer.resblocks.4"
    for pooling, expected in {
        "mean": states[:6].mean(axis=0),
        "first-token": states[0],
        "last-token": states[5],
        "label-token": states[4],
    }.items():
        found = clip_text.extract([CAT], [layer, "ln_final"], pooling)
        assert found["ln_final"].shape == (1, 512)
        np.testing.assert_allclose(found[layer], [expected], atol=1e-5)
    blocks = tuple(f"transformer.resblocks.{index}" for index in range(12))
    assert clip_text.layers("blocks") == (*blocks, "text_projection")
    assert "ln_final" in clip_text.layers("all")


def test_open_clips_own_file_is_read_too(clip, clip_text, tmp_path: Path) -> None:
    original, _ = clip
    file = tmp_path / "open_clip_model.safetensors"
    state = {
        key: values.contiguous()
        for key, values in original.state_dict().items()
        if key not in ("input_resolution", "context_length", "vocab_size")
    }
    save_file(state, file)
    network = load_clip_text(file, CLIP_KEYS, "RN50-quickgelu")
    layers = network.layers("blocks")
    found = network.extract([CAT], layers, "mean")
    for layer, expected in clip_text.extract([CAT], layers, "mean").items():
        np.testing.assert_array_equal(found[layer], expected)


@pytest.mark.parametrize("template", [PHOTO, "{label}", "un{label}ed", "&{label};", "{label} 'tis"])
def test_clips_tokens_are_openais(template: str) -> None:
    tokenise, reference = ClipTokenizer(), openai("simple_tokenizer").SimpleTokenizer()
    for label in HOSTILE:
        prompt = fill_prompt(template, label)
        assert list(tokenise(prompt).ids[1:-1]) == reference.encode(prompt.text), prompt


@pytest.mark.parametrize(
    ("template", "label", "token", "index"),
    [
        (PHOTO, "Hot  air balloon", "hot", 4),
        ("{label} on a photo", "cat", "cat", 1),
        ("a photo of a photo of {label}", "photo", "photo", 7),
        ("un{label}", "cat", "cat", 2),
        ("un{label}ed", "cat", "unc", 1),
        ("(un-{label})", "cat", "cat", 4),
        ("&amp; {label}", "&lt;b&gt;", "<", 2),
        ("cafÃ© {label}", "cafÃ©", "cafÃ©", 2),
        ("two  words {label}", "'s", "'s", 3),
    ],
)
def test_clips_token_of_the_label_is_found(template, label, token, index) -> None:
    tokenise = ClipTokenizer()
    found = tokenise(fill_prompt(template, label))
    assert found.label == index
    assert tokenise.tokenizer.decoder[found.ids[index]].removesuffix("</w>") == token


def test_clip_refuses_what_it_would_misread(clip_text) -> None:
    with pytest.raises(InputError, match="78 tokens but the network reads at most 77"):
        clip_text.extract([Prompt("a" + " a" * 75, 0, 1)], ["text_projection"], "mean")
    assert clip_text.extract([Prompt("a" + " a" * 74, 0, 1)], ["text_projection"], "mean")
    with pytest.raises(InputError, match="reads as the start or end"):
        clip_text.tokenise(fill_prompt(PHOTO, "<End_of_Text>"))
    with pytest.raises(InputError, match="reads nothing"):
        clip_text.tokenise(fill_prompt(PHOTO, "\x00"))
    joined = fill_prompt("&{label};", "lt")
    assert clip_text.extract([joined], ["text_projection"], "mean")
    with pytest.raises(InputError, match="where the label stands"):
        clip_text.extract([joined], ["ln_final"], "label-token")
    with pytest.raises(InputError, match="no text tower like OpenAI's CLIP"):
        load_clip_text(Path("RN50.pt"), CLIP_KEYS, "ViT-B-16-SigLIP")
