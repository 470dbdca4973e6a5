"""BERT and GPT-2 give the states of transformers, and find the label in any text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import text_networks
import torch
import transformers
from safetensors.torch import save_file
from text_networks import (
    BERT_KEYS,
    CAT,
    GPT2_KEYS,
    MINILM_KEYS,
    PHOTO,
    hidden_states,
    save_layout,
    scramble,
)
from tokenizers import Tokenizer

from conceptrsa.analysis.models.extraction_settings import Prompt, fill_prompt
from conceptrsa.analysis.models.networks.hf_text import load_by_keys
from conceptrsa.analysis.models.networks.language import FastTokenizer
from conceptrsa.analysis.models.registry import KeyMapping
from conceptrsa.bids_config.errors import InputError

one_thread = text_networks.one_thread
minilm, byte_tokenizer = text_networks.minilm, text_networks.byte_tokenizer

SMALL = {"num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
SMALL_BERT = {"vocab_size": 30522, "hidden_size": 32, **SMALL}
SMALL_GPT2 = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}


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


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_bert_gives_the_states_of_the_original(bert, weights: str) -> None:
    original, (file, *beside) = bert
    network = load_by_keys("bert", [file.parent / weights, *beside], BERT_KEYS)
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
    network = load_by_keys("gpt2", [file.parent / weights, *beside], GPT2_KEYS)
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
    network = load_by_keys("bert", bert[1], BERT_KEYS)
    with pytest.raises(InputError, match=r"the network reads nothing of the label '\\u200b'"):
        network.extract([fill_prompt(PHOTO, "\u200b")], ["last_hidden_state"], "mean")


@pytest.mark.parametrize("pooling", ["mean", "label-token"])
def test_texts_do_not_influence_each_other(bert, gpt2, pooling) -> None:
    prompts = [fill_prompt(PHOTO, label) for label in ("cat", "hot air balloon", "large cat")]
    for network in (
        load_by_keys("bert", bert[1], BERT_KEYS),
        load_by_keys("gpt2", gpt2[1], GPT2_KEYS),
    ):
        layers = network.layers("blocks")
        together = network.extract(prompts, layers, pooling)
        for row, prompt in enumerate(prompts):
            alone = network.extract([prompt], layers, pooling)
            for layer in layers:
                np.testing.assert_array_equal(together[layer][row], alone[layer][0])


def test_layers_are_those_that_depend_on_the_text(bert, gpt2) -> None:
    network = load_by_keys("bert", bert[1], BERT_KEYS)
    blocks = tuple(f"encoder.layer.{index}" for index in range(3))
    assert network.layers("blocks") == (*blocks, "last_hidden_state")
    everything = network.layers("all")
    assert {*blocks, "embeddings.word_embeddings", "encoder.layer.2.output"} <= set(everything)
    without = {"pooler", "embeddings.position_embeddings", "embeddings.token_type_embeddings"}
    assert not without & set(everything)
    network = load_by_keys("gpt2", gpt2[1], GPT2_KEYS)
    assert "wpe" not in network.layers("all") and "h.0.attn.c_attn" in network.layers("all")
    for layer, values in network.extract([CAT], network.layers("all"), "mean").items():
        assert values.shape[0] == 1 and values.shape[1] in (32, 96, 128), layer


@pytest.mark.parametrize(
    ("layer", "pooling", "message"),
    [
        ("last_hidden_state", "flatten", "cannot be flattened"),
        ("encoder.layer.7", "mean", "has no layer 'encoder.layer.7' .did you mean 'encoder.layer"),
        ("pooler", "mean", "pooler has no vector for every token"),
        ("encoder.layer", "mean", "encoder.layer has no vector for every token"),
    ],
)
def test_what_cannot_be_extracted_is_refused(bert, layer, pooling, message) -> None:
    with pytest.raises(InputError, match=message):
        load_by_keys("bert", bert[1], BERT_KEYS).extract([CAT], [layer], pooling)


def test_a_text_is_never_cut(bert, gpt2) -> None:
    for network, longest in (
        (load_by_keys("bert", bert[1], BERT_KEYS), 512 - 2),
        (load_by_keys("gpt2", gpt2[1], GPT2_KEYS), 64),
    ):
        fits = Prompt("a" + " a" * (longest - 1), 0, 1)
        (features,) = network.extract([fits], ["last_hidden_state"], "last-token").values()
        assert features.shape == (1, 32)
        too_long = Prompt("a" + " a" * longest, 0, 1)
        with pytest.raises(InputError, match="tokens but the network reads at most"):
            network.extract([too_long], ["last_hidden_state"], "last-token")


def test_files_that_do_not_belong_together_are_refused(bert, gpt2, tmp_path: Path) -> None:
    (weights, config, tokenizer), (gpt2_weights, gpt2_config, _) = bert[1], gpt2[1]
    with pytest.raises(InputError, match=r"config\.json is not beside"):
        load_by_keys("bert", [weights, tokenizer], BERT_KEYS)
    with pytest.raises(InputError, match="of the kind 'gpt2', not 'bert'"):
        load_by_keys("bert", [weights, gpt2_config, tokenizer], BERT_KEYS)
    with pytest.raises(InputError, match="30522 tokens but the network knows"):
        load_by_keys("gpt2", [gpt2_weights, gpt2_config, tokenizer], GPT2_KEYS)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_by_keys("bert", [gpt2_weights, config, tokenizer], BERT_KEYS)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_by_keys("bert", [weights, config, tokenizer], KeyMapping(prefix="bert."))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="is not a tokenizer"):
        load_by_keys("bert", [weights, config, tmp_path / "tokenizer.json"], BERT_KEYS)
    for text in ("{", "[]", '{"hidden_size": "many"}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InputError, match="does not describe a network"):
            load_by_keys("bert", [weights, tmp_path / "config.json", tokenizer], BERT_KEYS)


def test_real_sentences_are_embedded_as_by_the_authors_library(minilm) -> None:
    library = pytest.importorskip("sentence_transformers")
    files = [minilm / name for name in ("model.safetensors", "config.json", "tokenizer.json")]
    network = load_by_keys("bert", files, MINILM_KEYS)
    texts = ["That is a happy person", "a photo of a hot air balloon", "Éléphant, 大象: \u2603!"]
    prompts = [fill_prompt("{label}", text) for text in texts]
    (vectors,) = network.extract(prompts, ["last_hidden_state"], "mean").values()
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = library.SentenceTransformer(str(minilm), device="cpu").encode(texts)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
