"""Checkpoints of every format give back what was written into them."""

import argparse
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dill
import numpy as np
import pytest
import torch
from checkpoint_files import (
    WRITERS,
    Named,
    legacy,
    network,
    require_same,
    stand_in,
)

from conceptrsa.analysis.models.weights.tensors import flat_tensors, read_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_tensors_come_back_in_their_own_type(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    given = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in network().state_dict().items()
    }
    file = tmp_path / "no-extension"
    WRITERS[form](given, file)
    require_same(read_checkpoint(file), given)


@pytest.mark.parametrize("write", [torch.save, legacy])
def test_views_shared_numbers_and_odd_types_equal_torch(
    write: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    base = torch.arange(24.0)
    content = {
        "state_dict": OrderedDict(
            whole=base,
            part=base[4:16].view(3, 4).T,
            kernel=torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
            parameter=torch.nn.Parameter(torch.randn(3)),
            empty=torch.empty(0, 3),
            scalar=torch.tensor(7),
            flags=torch.tensor([True, False]),
            brain=torch.randn(3).bfloat16(),
            double=torch.randn(3).double(),
            small=torch.tensor([-3], dtype=torch.int8),
        ),
        "epoch": 3,
    }
    file = tmp_path / "weights.pt"
    write(content, file)
    oracle = torch.load(file, weights_only=True)
    read = read_checkpoint(file)
    assert read["epoch"] == oracle["epoch"]
    require_same(read["state_dict"], oracle["state_dict"])
    assert read["state_dict"]["part"].stride() == oracle["state_dict"]["part"].stride()


@pytest.mark.parametrize("write", [torch.save, legacy])
def test_what_training_leaves_beside_the_tensors_is_passed_over(
    write: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    # dill 0.2.9, which wrote the robustness models, names C functions by module and attribute.
    module = Named(dill._dill._import_module, "numpy.core.multiarray")
    scalar = Named(dill._dill._get_attr, module, "scalar")
    content = {
        "model": network().state_dict(),
        "args": argparse.Namespace(lr=0.1, arch="resnet50"),
        "best": np.float64(0.7),
        "lr": Named(scalar, np.dtype("f8"), b"\0" * 8),
        "random": np.random.default_rng(0).bit_generator.state["state"],
    }
    file = tmp_path / "weights.pt"
    write(content, file)
    require_same(read_checkpoint(file)["model"], content["model"])


@pytest.mark.parametrize("how", ["script", "trace"])
@pytest.mark.parametrize("half", [False, True])
def test_torchscript_gives_the_state_of_its_modules(how: str, half: bool, tmp_path: Path) -> None:
    block = network().half() if half else network()
    picture = torch.randn(1, 3, 5, 5, dtype=torch.float16 if half else torch.float32)
    script = torch.jit.script(block) if how == "script" else torch.jit.trace(block, picture)
    file = tmp_path / "RN50.pt"
    torch.jit.save(script, file)
    oracle = torch.jit.load(file).state_dict()
    assert sorted(oracle) == sorted(block.state_dict())
    require_same(read_checkpoint(file), oracle)


def test_haiku_mappings_and_arrays_of_jax_are_rebuilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = np.asfortranarray(np.random.default_rng(0).normal(size=(3, 3, 2, 4)))
    count = np.array(5, dtype=">i4")
    call, arguments, state = kernel.__reduce__()
    file = tmp_path / "mmv.pkl"
    with monkeypatch.context() as patch:
        flat_mapping = stand_in(patch, "haiku._src.data_structures", "FlatMapping")
        frozen = stand_in(patch, "haiku._src.data_structures", "frozendict")
        jax_array = stand_in(patch, "jax._src.array", "_reconstruct_array")
        array = Named(jax_array, call, arguments, state, {})
        content = {
            "params": Named(flat_mapping, {"net/~/conv": Named(flat_mapping, {"w": array})}),
            "state": Named(frozen, {"net/~/ema": {"counter": count}}),
        }
        file.write_bytes(pickle.dumps(content))
    tensors = flat_tensors(read_checkpoint(file), "/")
    assert list(tensors) == ["params/net/~/conv/w", "state/net/~/ema/counter"]
    assert np.array_equal(tensors["params/net/~/conv/w"].numpy(), kernel)
    assert tensors["state/net/~/ema/counter"].item() == 5
    assert not {"haiku", "jax"} & set(sys.modules)
