"""What the tests of models by name share: nothing may be fetched, and pictures of odd sizes."""

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from conceptrsa.analysis.models.named_models import describe_named
from conceptrsa.analysis.models.weights.places import WeightsOptions
from named_models.named_tools import ODD_SIZES, Describe


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def options(tmp_path: Path) -> WeightsOptions:
    return WeightsOptions(cache=tmp_path / "cache", folder=tmp_path, offline=True)


@pytest.fixture
def describe(tmp_path: Path, options: WeightsOptions) -> Describe:
    return lambda name: describe_named(name, tmp_path / "memory", options)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    files = []
    for width, height in ODD_SIZES:
        coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        files.append(folder / f"{width}x{height}.png")
        coarse.resize((width, height)).save(files[-1])
    return files
