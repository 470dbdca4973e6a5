"""Tensors of a checkpoint find their places in an architecture, all or none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import Block, network, require_same

from conceptrsa.analysis.models.registry import KeyMapping
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.bids_config.errors import InputError

# From the file's names to the architecture's.

FILE = Path("weights.pt")
AS_IT_IS = KeyMapping()


def fit(
    content: Mapping[str, Any],
    keys: KeyMapping = AS_IT_IS,
    target: torch.nn.Module | None = None,
) -> dict[str, torch.Tensor]:
    """Fill a network that begins otherwise, and give what it then holds."""
    target = target or network(seed=1)
    fit_state(content, keys, target, FILE, "Block")
    return target.state_dict()


def refusal(content: Mapping[str, Any], keys: KeyMapping = AS_IT_IS) -> str:
    """Give the sentence of the error, which must leave the network as it was."""
    target = network(seed=1)
    with pytest.raises(InputError) as caught:
        fit_state(content, keys, target, FILE, "Block")
    require_same(target.state_dict(), network(seed=1).state_dict())
    return str(caught.value)


def test_containers_prefixes_renamings_and_unused_tensors() -> None:
    state = network().state_dict()
    renamed = {f"module.model.{name.replace('head', 'fc')}": value for name, value in state.items()}
    checkpoint = {
        "epoch": 3,
        "nets": {"ema": {**renamed, "module.mean": torch.ones(3), "arch": "resnet50"}},
    }
    keys = KeyMapping(
        container=("nets", "ema"),
        prefix="module.model.",
        rename=((r"^fc\.", "neck."), (r"^neck\.", "head.")),
        unused=(r"module\.mean",),
    )
    require_same(fit(checkpoint, keys), state)


def test_the_network_computes_what_the_other_did() -> None:
    picture = torch.randn(2, 3, 6, 6)
    target = network(seed=1)
    before = target(picture)
    fit_state(network().state_dict(), KeyMapping(), target, FILE, "Block")
    assert torch.equal(target(picture), network()(picture))
    assert not torch.allclose(before, target(picture))
    assert all(parameter.requires_grad for parameter in target.parameters())


def test_weights_are_taken_over_and_not_copied() -> None:
    state, target = network().state_dict(), network(seed=1)
    fit_state(state, KeyMapping(), target, FILE, "Block")
    assert target.conv.weight.data_ptr() == state["conv.weight"].data_ptr()


def test_half_precision_becomes_the_type_of_the_module() -> None:
    state = network().half().state_dict()
    filled = fit(state)
    assert filled["conv.weight"].dtype == torch.float32
    assert torch.equal(filled["conv.weight"], state["conv.weight"].float())
    assert fit(state, target=network(1).half())["conv.weight"].dtype == torch.float16


def test_a_module_without_memory_is_filled() -> None:
    with torch.device("meta"):
        target = Block().eval()
    require_same(fit(network().state_dict(), target=target), network().state_dict())


def test_missing_left_over_and_misshapen_tensors_are_all_listed() -> None:
    state = network().state_dict()
    extra = {f"extra.{number}": torch.ones(1) for number in range(5)}
    del state["head.1.bias"]
    said = refusal({**state, "scale": torch.ones(2), **extra})
    assert "weights.pt does not fit Block" in said
    assert "it lacks head.1.bias" in said
    assert "no place for extra.0, extra.1, extra.2 and 2 more" in said
    assert "scale (2, float32) for scale (one value, float32)" in said
    del state["bn.num_batches_tracked"]
    assert "num_batches_tracked" not in refusal(state)


def test_only_what_is_named_may_be_absent_or_unused() -> None:
    state = network().state_dict()
    bias, counter = state.pop("head.1.bias"), state.pop("bn.num_batches_tracked")
    filled = fit(state, KeyMapping(absent=(r"head\.1\.bias",)))
    assert bool(filled["head.1.bias"].isnan().all())
    assert "lacks head.1.bias" in refusal(state, KeyMapping(absent=("head",)))
    whole = {**state, "head.1.bias": bias, "bn.num_batches_tracked": counter, "fc.w": bias}
    assert "no place for fc.w" in refusal(whole, KeyMapping(unused=("fc",)))
    fit(whole, KeyMapping(unused=(r"fc\..*",)))


def test_a_tensor_without_the_prefix_has_no_place() -> None:
    state = {f"visual.{name}": value for name, value in network().state_dict().items()}
    keys = KeyMapping(prefix="visual.")
    require_same(fit(state, keys), network().state_dict())
    assert "no place for logit_scale" in refusal({**state, "logit_scale": torch.ones(1)}, keys)
    # A name that fits without the prefix is no substitute for one that has it.
    state["scale"] = state.pop("visual.scale")
    assert "lacks scale; it has no place for scale" in refusal(state, keys)


def test_two_tensors_for_one_name_are_an_error() -> None:
    state = {**network().state_dict(), "scale2": torch.tensor(1.0)}
    said = refusal(state, KeyMapping(rename=((r"scale2", "scale"),)))
    assert "several tensors for scale (scale, scale2)" in said


def test_a_missing_container_names_what_is_there() -> None:
    checkpoint = {"epoch": 1, "state_dict": {}, "optimizer": {}, "a": 1, "b": 2}
    said = refusal(checkpoint, KeyMapping(container=("model",)))
    assert "under 'model', but epoch, state_dict, optimizer and 2 more" in said
    assert "under 'epoch'" in refusal(checkpoint, KeyMapping(container=("epoch",)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_an_error(value: float) -> None:
    state = {name: tensor.clone() for name, tensor in network().state_dict().items()}
    state["head.1.weight"][1, 2] = value
    assert "'head.1.weight' that is not finite" in refusal(state)


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(2, dtype=torch.int8), torch.ones(2).to_sparse(), torch.ones(2, device="meta")],
)
def test_tensors_that_are_no_plain_numbers_do_not_fit(tensor: torch.Tensor) -> None:
    assert "head.1.bias" in refusal({**network().state_dict(), "head.1.bias": tensor})


def in_other_words(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name the tensors by number, with nothing of the architecture's names but the last part."""
    return {
        f"layer{number}.{name.rpartition('.')[2]}": tensor
        for number, (name, tensor) in enumerate(state.items())
    }


def test_tensors_in_order_are_matched_by_place_shape_and_kind() -> None:
    state = network().state_dict()
    keys = KeyMapping(in_order=True)
    require_same(fit(in_other_words(state), keys), state)
    without = {name: value for name, value in state.items() if "num_batches" not in name}
    assert torch.equal(fit(in_other_words(without), keys)["conv.weight"], state["conv.weight"])
    fewer = dict(list(in_other_words(state).items())[1:])
    assert f"{len(state) - 1} tensors but Block has {len(state)}" in refusal(fewer, keys)
    # Weight and bias of a batch normalisation have one shape; only their kind tells them apart.
    names = list(state)
    first, second = names.index("bn.weight"), names.index("bn.bias")
    names[first], names[second] = names[second], names[first]
    swapped = in_other_words({name: state[name] for name in names})
    assert "bias (4, float32) where Block has bn.weight" in refusal(swapped, keys)


def test_kernels_of_jax_are_turned() -> None:
    state = network().state_dict()
    given = {
        "params": {
            "net/conv": {"w": state["conv.weight"].permute(2, 3, 1, 0)},
            "net/bn": {
                "scale": state["bn.weight"].reshape(1, 1, 1, 4),
                "offset": state["bn.bias"].reshape(1, 1, 1, 4),
            },
            "net/head": {"w": state["head.1.weight"].T, "b": state["head.1.bias"]},
            "net": {"scale": state["scale"]},
        },
        "state": {
            "net/bn/mean_ema": {"average": state["bn.running_mean"].reshape(1, 1, 1, 4)},
            "net/bn/var_ema": {"average": state["bn.running_var"].reshape(1, 1, 1, 4)},
            "net/bn/count": {"counter": torch.tensor(3)},
        },
    }
    keys = KeyMapping(
        rename=(
            (r"^(params|state)/net/", ""),
            (r"mean_ema/average", "running_mean"),
            (r"var_ema/average", "running_var"),
            (r"bn/scale", "bn/weight"),
            (r"bn/offset", "bn/bias"),
            (r"head/", "head/1/"),
            (r"/w$", "/weight"),
            (r"/b$", "/bias"),
            (r"/", "."),
        ),
        unused=(r".*/counter",),
        channels_last=True,
    )
    filled = fit(given, keys)
    assert filled["conv.weight"].is_contiguous()
    for name in set(state) - {"bn.num_batches_tracked"}:
        assert torch.equal(filled[name], state[name]), name
