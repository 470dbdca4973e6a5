"""Text towers of SigLIP give what open_clip and transformers themselves give."""

from pathlib import Path

import numpy as np
import open_clip
import torch
import transformers
from open_clip.tokenizer import canonicalize_text
from open_clip.transformer import TextTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from conceptrsa.analysis.models.extraction_settings import fill_prompt
from conceptrsa.analysis.models.networks.hf_text import load_joint_text
from conceptrsa.analysis.models.networks.named_open_clip import _is_siglip, text_network

LABELS = ("cat", "Cat's", "dog")
WORDS = ("<pad>", "</s>", "<unk>", "a", "photo", "of", "cat", "cats", "dog")


def save_tokenizer(folder: Path) -> Path:
    """T5's kind: the end of the text is the filling as well."""
    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def filled(label: str, length: int) -> torch.Tensor:
    words = canonicalize_text(f"a photo of {label}.").split()
    ids = [*(WORDS.index(word) for word in words), 1]
    return torch.tensor([ids + [1] * (length - len(ids))])


def found(network, layer: str) -> np.ndarray:
    prompts = [fill_prompt("a photo of {label}.", label) for label in LABELS]
    assert [network.tokenise(prompt).label for prompt in prompts] == [3, 3, 3]
    return network.extract(prompts, [layer], "mean")[layer]


@torch.inference_mode()
def test_open_clips_siglip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tower = TextTransformer(
        context_length=16, vocab_size=32, width=32, heads=2, layers=2, output_dim=24,
        no_causal_mask=True, proj_bias=True, pool_type="last",
    ).eval()  # fmt: skip
    network = text_network(tower, [tmp_path / "weights", save_tokenizer(tmp_path)])
    expected = torch.cat([tower(filled(label, 16)) for label in LABELS]).numpy()
    np.testing.assert_allclose(found(network, "text_projection"), expected, atol=1e-6)
    assert np.abs(np.diff(expected, axis=0)).max() > 1e-3
    for name in ("ViT-B-16-SigLIP", "ViT-B-16-SigLIP2"):
        assert _is_siglip(open_clip.get_model_config(name)["text_cfg"])
    assert not _is_siglip(open_clip.get_model_config("ViT-B-32")["text_cfg"])


@torch.inference_mode()
def test_transformers_siglip(tmp_path: Path) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 4}  # fmt: skip
    config = transformers.SiglipConfig(
        text_config={**sizes, "vocab_size": 32, "max_position_embeddings": 16,
                     "projection_size": 32, "bos_token_id": 1, "eos_token_id": 1},
        vision_config={**sizes, "image_size": 32, "patch_size": 16},
    )  # fmt: skip
    original = transformers.SiglipModel(config).eval()
    original.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    network = load_joint_text(tmp_path)
    outputs = [original.get_text_features(input_ids=filled(label, 16)) for label in LABELS]
    vectors = [output if torch.is_tensor(output) else output.pooler_output for output in outputs]
    np.testing.assert_allclose(found(network, "text_embeds"), torch.cat(vectors), atol=1e-6)
    assert len(network.blocks) == 2
