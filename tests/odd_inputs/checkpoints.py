"""Checkpoints of the right network in another wrapping, and of the wrong one under its name."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def named(beginning: str) -> Callable[[State], dict[str, Tensor]]:
    """Put something before every name."""
    return lambda state: {f"{beginning}{name}": tensor for name, tensor in state.items()}


def training(state: State, key: str = "state_dict") -> dict[str, Any]:
    """Put what a training loop saves beside the tensors."""
    momentum = {number: {"momentum_buffer": tensor} for number, tensor in enumerate(state.values())}
    return {
        "epoch": 3,
        "arch": "network",
        key: dict(state),
        "optimizer": {"state": momentum, "param_groups": [{"lr": 0.1}]},
        "best_prec1": torch.tensor(60.0),
    }


WRAPPINGS: dict[str, Callable[[State], Mapping[str, Any]]] = {
    "DataParallel": named("module."),
    "compiled": named("_orig_mod."),
    "compiled in DataParallel": named("module._orig_mod."),
    "state_dict": training,
    "model": lambda state: training(state, "model"),
    "model_state": lambda state: training(state, "model_state"),
    "model_state_dict": lambda state: training(state, "model_state_dict"),
    "state_dict of DataParallel": lambda state: training(named("module.")(state)),
    "state_dict of Lightning": lambda state: training(named("model.")(state)),
    "model in a checkpoint": lambda state: {"checkpoint": training(state, "model")},
}


def open_clip_of_two_towers(state: State) -> dict[str, Tensor]:
    """Name the text tower of a CLIP as open_clip does where it keeps the towers apart."""
    return {
        name if name.startswith(("visual.", "logit_scale")) else f"text.{name}": tensor
        for name, tensor in state.items()
    }


def with_head(state: State, classes: int, width: int) -> dict[str, Tensor]:
    """Give a ResNet the head of so many classes."""
    head = {"fc.weight": torch.zeros(classes, width), "fc.bias": torch.zeros(classes)}
    return {**state, **head}
