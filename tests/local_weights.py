"""Weights that a model may ask for, and a home without any of them."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from weights_server import SHA256, Publisher, publishing, put

from conceptrsa.analysis.models.registry import Weights, WeightsFile
from conceptrsa.analysis.models.weights import download as download_module
from conceptrsa.analysis.models.weights.places import WeightsOptions

FILE = WeightsFile("net-0a1b.pth", "https://example.org/nets/net-0a1b.pth", SHA256)
NET = Weights((FILE,))
HUB = "https://huggingface.co/someone/some-net/resolve/main"
PAIR = Weights(
    (
        WeightsFile("model.safetensors", f"{HUB}/model.safetensors", SHA256),
        WeightsFile("config.json", f"{HUB}/config.json", hashlib.sha256(b"{}").hexdigest()),
    )
)


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setattr(download_module, "PAUSES_SECONDS", (0.0, 0.0, 0.0))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with publishing() as publisher:
        yield publisher


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, so that this machine's caches of other libraries play no part."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HUGGINGFACE_HUB_CACHE", raising=False)
    return home


@pytest.fixture
def options(tmp_path: Path) -> WeightsOptions:
    return WeightsOptions(cache=tmp_path / "cache", offline=True)


def put_pair(folder: Path) -> tuple[Path, Path]:
    return put(folder / "model.safetensors"), put(folder / "config.json", b"{}")


def with_folder(options: WeightsOptions, folder: Path, **given: Path) -> WeightsOptions:
    return WeightsOptions(options.cache, given, folder, offline=True)
