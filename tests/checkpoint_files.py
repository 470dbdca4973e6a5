"""Checkpoints of every format, as tests write them."""

import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dill
import numpy as np
import pytest
import torch
from safetensors.torch import save_file


class Block(torch.nn.Module):
    """A network whose buffers and names nest."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, bias=False)
        self.bn = torch.nn.BatchNorm2d(4)
        self.head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        self.scale = torch.nn.Parameter(torch.tensor(2.5))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.head(self.bn(self.conv(pictures)).mean(dim=(2, 3))) * self.scale


def network(seed: int = 0) -> Block:
    torch.manual_seed(seed)
    block = Block().eval()
    block.bn.running_mean.normal_()
    return block


def legacy(content: Any, file: Path, **options: Any) -> None:
    torch.save(content, file, _use_new_zipfile_serialization=False, **options)


def npz(content: Mapping[str, torch.Tensor], file: Path) -> None:
    with file.open("wb") as opened:
        np.savez(opened, **{name: tensor.numpy() for name, tensor in content.items()})


def npz_compressed(content: Mapping[str, torch.Tensor], file: Path) -> None:
    with file.open("wb") as opened:
        np.savez_compressed(opened, **{name: tensor.numpy() for name, tensor in content.items()})


def haiku(protocol: int) -> Callable[[Mapping[str, torch.Tensor], Path], None]:
    def write(content: Mapping[str, torch.Tensor], file: Path) -> None:
        arrays = {name: tensor.numpy() for name, tensor in content.items()}
        file.write_bytes(dill.dumps(arrays, protocol=protocol))

    return write


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "torch": torch.save,
    "torch stream": legacy,
    "torch by dill": lambda content, file: torch.save(content, file, pickle_module=dill),
    "torch stream by dill": lambda content, file: legacy(content, file, pickle_module=dill),
    "safetensors": save_file,
    "npz": npz,
    "npz compressed": npz_compressed,
    **{f"haiku {protocol}": haiku(protocol) for protocol in (2, 3, 4, 5)},
}


def require_same(read: Mapping[str, Any], given: Mapping[str, torch.Tensor]) -> None:
    assert list(read) == list(given) or sorted(read) == sorted(given)
    for name, tensor in given.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor), name


class Named:
    """Pickles as a call of something that another version of a library has."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __call__(self) -> None:
        """Be taken for a function by pickle."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def stand_in(patch: pytest.MonkeyPatch, module: str, name: str) -> Callable[..., None]:
    """Give a function that pickles by the name of one that is not installed."""

    def function(*arguments: Any) -> None: ...

    function.__module__, function.__qualname__ = module, name
    parts = module.split(".")
    for depth in range(len(parts)):
        path = ".".join(parts[: depth + 1])
        patch.setitem(sys.modules, path, sys.modules.get(path) or types.ModuleType(path))
    setattr(sys.modules[module], name, function)
    return function
