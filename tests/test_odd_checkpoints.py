"""The right network in another wrapping is taken; the wrong one under the right name is refused."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import official_checkpoints as official
import pytest
import text_networks
import timm
import torch
import transformers
from odd_inputs.checkpoints import WRAPPINGS, named, open_clip_of_two_towers, training, with_head
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import QuickGELU, TextTransformer
from text_networks import BERT_KEYS, CAT, GPT2_KEYS, save_layout, scramble
from timm.models import byobnet
from tokenizers import Tokenizer
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from conceptrsa.analysis.models.networks import load
from conceptrsa.analysis.models.networks.hf_text import load_by_keys
from conceptrsa.analysis.models.registry import UNVOUCHED_NOTE, ModelEntry, Weights
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config.errors import InputError

one_thread = text_networks.one_thread
minilm, byte_tokenizer = text_networks.minilm, text_networks.byte_tokenizer

FILE = Path("weights.pth")
RESNETS = ("VirTex", "ICMLM-attfc", "ICMLM-tfm", "ResNet50", "AR-L2", "AR-Linf4", "AR-Linf8",
           "SIN", "SIN-IN", "SIN-IN+FIN")  # fmt: skip
WITHOUT_HEAD = RESNETS[:3]
PUBLISHED: dict[str, Callable[[Mapping[str, Tensor]], Mapping[str, Any]]] = {
    "VirTex": dict,
    "ResNet50": dict,
    "ICMLM": lambda state: {"cnn": state},
    "AR": lambda state: training(named("module.model.")(state), "model"),
    "SIN": lambda state: training(named("module.")(state)),
}


def entry_of(name: str) -> ModelEntry:
    return read_zoo().find(name)


def weights_of(name: str) -> Weights:
    weights = entry_of(name).network.weights
    assert weights is not None
    return weights


def resnet() -> ResNet:
    """Named as a resnet50 is, and small."""
    return ResNet(BasicBlock, [1, 1, 1, 1])


@cache
def resnet_state(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    network = resnet()
    return {name: torch.randn_like(tensor) if tensor.is_floating_point() else tensor
            for name, tensor in network.state_dict().items()}  # fmt: skip


def empty(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device("meta"):
        return build()


def fill(name: str, checkpoint: Mapping[str, Any], module: nn.Module) -> dict[str, Tensor]:
    """Fill the architecture of a network of the registry as its loader does."""
    weights, network = weights_of(name), entry_of(name).network
    others = {} if weights.is_vouched_for else load.of_same_architecture(network)
    fit_state(checkpoint, weights, module, FILE, network.architecture, others)
    return module.state_dict()


def fill_resnet(name: str, checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    return fill(name, checkpoint, empty(resnet))


def own_state(name: str) -> dict[str, Tensor]:
    state = resnet_state()
    if name in WITHOUT_HEAD:
        return {key: tensor for key, tensor in state.items() if not key.startswith("fc.")}
    return state


def require_filled(filled: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    for name, tensor in state.items():
        assert torch.equal(filled[name], tensor), name


def refusal(name: str, checkpoint: Mapping[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        fill_resnet(name, checkpoint)
    assert str(FILE) in str(caught.value) and "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------- another wrapping


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", ["ResNet50", "SIN", "VirTex"])
def test_wrappings_of_a_resnet_are_taken_off(name: str, wrapping: str) -> None:
    state = own_state(name)
    require_filled(fill_resnet(name, WRAPPINGS[wrapping](state)), state)


@pytest.mark.parametrize("name", RESNETS)
def test_the_published_wrapping_may_be_inside_another(name: str) -> None:
    state = own_state(name)
    kind = name if name in PUBLISHED else name.split("-")[0]
    published = PUBLISHED[kind](state)
    require_filled(fill_resnet(name, {"saved": published}), state)


def test_an_attacked_network_without_dataparallel_is_taken() -> None:
    state = resnet_state()
    checkpoint = {**named("model.")(state), **named("attacker.model.")(state),
                  "normalizer.new_mean": torch.zeros(3, 1, 1)}  # fmt: skip
    require_filled(fill_resnet("AR-L2", {"model": checkpoint}), state)
    require_filled(fill_resnet("AR-L2", {"model": named("module.")(state)}), state)


def test_two_networks_in_one_file_are_not_chosen_from() -> None:
    state, other = resnet_state(), resnet_state(1)
    message = refusal("ResNet50", {"state_dict": state, "state_dict_ema": other})
    assert "several networks that fit resnet50, under 'state_dict' and 'state_dict_ema'" in message
    # The same one twice is one.
    require_filled(fill_resnet("ResNet50", {"a": state, "b": dict(state)}), state)


@pytest.fixture(scope="module")
def clip_state() -> dict[str, Tensor]:
    """A CLIP whose text tower is small, but for what has a place in the picture tower."""
    torch.manual_seed(0)
    network = official.openai_code().CLIP(1024, 224, (3, 4, 6, 3), 64, None, 77, 64, 64, 1, 2)
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("form", ["open_clip", "training of open_clip", "two towers", "half"])
def test_clip_is_taken_from_the_files_of_open_clip(
    form: str, clip_state: dict[str, Tensor]
) -> None:
    forms: dict[str, Callable[[], Mapping[str, Any]]] = {
        "open_clip": lambda: clip_state,
        "training of open_clip": lambda: training(named("module.")(clip_state)),
        "two towers": lambda: training(open_clip_of_two_towers(clip_state)),
        "half": lambda: {name: halved(tensor) for name, tensor in clip_state.items()},
    }
    checkpoint = forms[form]()
    filled = fill("CLIP", checkpoint, clip_tower())
    for name, tensor in filled.items():
        expected = clip_state[f"visual.{name}"]
        assert torch.equal(tensor, halved(expected).to(tensor) if form == "half" else expected)


def halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


@pytest.mark.parametrize("form", ["training of open_clip", "two towers", "two towers in parallel"])
def test_clip_l_is_taken_from_the_files_of_open_clip(
    form: str, clip_state: dict[str, Tensor]
) -> None:
    module = empty(lambda: TextTransformer(77, 64, 64, 1, 2, output_dim=1024, act_layer=QuickGELU))
    apart = open_clip_of_two_towers(clip_state)
    forms = {
        "training of open_clip": training(named("module.")(clip_state)),
        "two towers": apart,
        "two towers in parallel": training(named("module.")(apart)),
    }
    filled = fill("CLIP-L", forms[form], module)
    require_filled(
        {name: tensor for name, tensor in filled.items() if name != "attn_mask"},
        {name: clip_state[name] for name in filled if name != "attn_mask"},
    )


def clip_tower() -> nn.Module:
    return empty(lambda: ModifiedResNet((3, 4, 6, 3), 1024, 32, 224, 64))


def test_clip_in_timms_names_is_the_same_network(clip_state: dict[str, Tensor]) -> None:
    visual = {name: tensor for name, tensor in clip_state.items() if name.startswith("visual.")}
    network = timm.create_model("resnet50_clip.openai", pretrained=False)
    network.load_state_dict(byobnet.checkpoint_filter_fn(dict(visual), network))
    for wrap in (dict, WRAPPINGS["state_dict of DataParallel"]):
        filled = fill("CLIP", wrap(network.state_dict()), clip_tower())
        require_filled({f"visual.{name}": tensor for name, tensor in filled.items()}, visual)


def test_bit_in_timms_names_is_the_same_network() -> None:
    network = entry_of("BiT-M").network
    arrays = official.random_bit(np.random.default_rng(0))
    published = {name: torch.from_numpy(array) for name, array in arrays.items()}
    build = lambda: load.build(network)  # noqa: E731
    first, second = empty(build), empty(build)
    state = fill("BiT-M", published, first)
    timm = {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    classes = official.BIT_CLASSES
    head = {"head.fc.weight": torch.zeros(classes, 2048, 1, 1, dtype=torch.int8),
            "head.fc.bias": torch.zeros(classes)}  # fmt: skip
    for wrapped in ({**timm, **head}, training(named("module.")({**timm, **head}))):
        require_filled(fill("BiT-M", wrapped, second), timm)
    head["head.fc.weight"] = torch.zeros(1000, 2048, 1, 1)
    with pytest.raises(InputError, match=r"1000 x 2048 x 1 x 1.* has 21843 x 2048 x 1 x 1"):
        fill("BiT-M", {**timm, **head}, second)


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("BertModel", "model.safetensors"),
        ("BertModel", "pytorch_model.bin"),
        ("BertForMaskedLM", "model.safetensors"),
        ("BertForPreTraining", "pytorch_model.bin"),
        ("GPT2Model", "model.safetensors"),
        ("GPT2LMHeadModel", "model.safetensors"),
        ("GPT2LMHeadModel", "pytorch_model.bin"),
    ],
)
def test_what_save_pretrained_writes_is_taken(
    kind: str, file: str, minilm: Path, byte_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    is_bert = kind.startswith("Bert")
    sizes: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
    config = (
        transformers.BertConfig(intermediate_size=48, **sizes)
        if is_bert
        else transformers.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4)
    )
    original = scramble(getattr(transformers, kind)(config))
    original.save_pretrained(tmp_path)
    if file == "pytorch_model.bin":
        torch.save(original.state_dict(), tmp_path / file)
    tokenizer = byte_tokenizer
    if is_bert:
        tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    files = [tmp_path / file, *save_layout(tmp_path, original.config, tokenizer)]
    network = load_by_keys(
        "bert" if is_bert else "gpt2", files, BERT_KEYS if is_bert else GPT2_KEYS
    )
    ids = list(network.tokenise(CAT).ids)
    with torch.inference_mode():
        expected = original.base_model(torch.tensor([ids])).last_hidden_state[0].mean(0).numpy()
    found = network.extract([CAT], ["last_hidden_state"], "mean")["last_hidden_state"][0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------- the wrong network


@pytest.mark.parametrize("name", WITHOUT_HEAD)
def test_a_head_that_the_published_file_lacks_tells_another_network(name: str) -> None:
    kind = name.split("-")[0]
    for state in (resnet_state(), with_head(own_state(name), 1000, width=512)):
        message = refusal(name, PUBLISHED[kind](state))
        assert (
            "another network's (it has fc.weight, fc.bias, which the published file lacks)"
            in (message)
            or "has the form of ResNet50" in message
        )
        assert "fc.weight" in refusal(name, {"model": state})


def test_a_fine_tuned_bit_is_refused() -> None:
    arrays = official.random_bit(np.random.default_rng(0))
    arrays["resnet/head/conv2d/kernel"] = np.zeros((1, 1, 2048, 1000), np.float32)
    arrays["resnet/head/conv2d/bias"] = np.zeros(1000, np.float32)
    published = {name: torch.from_numpy(array) for name, array in arrays.items()}
    network = empty(lambda: load.build(entry_of("BiT-M").network))
    with pytest.raises(InputError, match=r"another network's .* 1 x 1 x 2048 x 21843"):
        fill("BiT-M", published, network)
    without = {name: tensor for name, tensor in published.items() if "/head/" not in name}
    with pytest.raises(InputError, match=r"has no resnet/head/conv2d/kernel"):
        fill("BiT-M", without, network)


@pytest.mark.parametrize("name", ["BERT", "GPT-2"])
@pytest.mark.parametrize("wrong", ["fewer blocks", "another vocabulary"])
def test_another_language_model_of_the_same_width_is_refused(name: str, wrong: str) -> None:
    """As DistilGPT2 and the cased BERT are, whose configuration lies beside."""
    layers = 6 if wrong == "fewer blocks" else 12
    words = 28996 if wrong == "another vocabulary" else (30522 if name == "BERT" else 50257)
    with torch.device("meta"):
        module: Any = (
            transformers.BertModel(
                transformers.BertConfig(num_hidden_layers=layers, vocab_size=words)
            )
            if name == "BERT"
            else transformers.GPT2Model(transformers.GPT2Config(n_layer=layers, vocab_size=words))
        )
    begin = "bert." if name == "BERT" else ""
    state = {f"{begin}{key}": torch.zeros(1).expand(tensor.shape).to(tensor.dtype)
             for key, tensor in module.state_dict().items()}  # fmt: skip
    with pytest.raises(InputError, match="is another network's"):
        fit_state(state, weights_of(name), module, FILE, name)


@pytest.mark.parametrize(
    ("name", "form", "like"),
    [
        ("AR-L2", "SIN", "SIN"),
        ("AR-L2", "ResNet50", "ResNet50"),
        ("ICMLM-tfm", "VirTex", "VirTex"),
        ("VirTex", "ICMLM", "ICMLM-attfc"),
    ],
)
def test_the_form_of_another_network_is_not_taken_where_no_hash_was_published(
    name: str, form: str, like: str
) -> None:
    message = refusal(name, PUBLISHED[form](own_state(name)))
    assert f"has the form of {like}" in message
    assert "if they are the right ones, save the tensors" in message


def test_what_nothing_published_vouches_for_says_so() -> None:
    unvouched = {entry.name for entry in read_zoo().entries if UNVOUCHED_NOTE in entry.full_note}
    ar = {"AR-L2", "AR-Linf4", "AR-Linf8"}
    assert unvouched == {"TSM", "VirTex", "ICMLM-attfc", "ICMLM-tfm", "BiT-M", *ar}
    tsm = entry_of("TSM")
    assert tsm.full_note == f"{tsm.note}; {UNVOUCHED_NOTE}"
    assert replace(tsm, note="").full_note == UNVOUCHED_NOTE
