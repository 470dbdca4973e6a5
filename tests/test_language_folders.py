"""Any text network of transformers is loaded from its folder, and its code never run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import text_networks
import torch
import transformers
from safetensors.torch import load_file, save_file
from text_networks import CAT, hidden_states, scramble
from tokenizers import Tokenizer

from conceptrsa.analysis.models.extraction_settings import Prompt
from conceptrsa.analysis.models.networks.hf_text import load_hf_text
from conceptrsa.bids_config.errors import InputError

one_thread = text_networks.one_thread
byte_tokenizer = text_networks.byte_tokenizer

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
    with pytest.raises(InputError, match="39 tokens but the network reads at most 38"):
        network.extract([Prompt("a" + " a" * 38, 0, 1)], network.layers("blocks"), "mean")


def test_a_folder_that_lacks_something_is_refused(byte_tokenizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not describe a network"):
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
    with pytest.raises(InputError, match="cannot be loaded as a bert"):
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
    with pytest.raises(InputError, match="does not describe a network"):
        load_hf_text(tmp_path)
    assert not trap.exists()
