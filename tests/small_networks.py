"""A small picture network with random weights, and pictures to show it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet

from conceptrsa.analysis.models.networks.vision import ImageNetwork, compose
from conceptrsa.analysis.models.registry import Preprocessing

SIDE = 64
SMALL = Preprocessing(SIDE, SIDE, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


@pytest.fixture(autouse=True)
def same_weights_and_one_thread() -> Iterator[None]:
    torch.manual_seed(0)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    files = [folder / f"{index}.png" for index in range(7)]
    for file in files:
        small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        small.resize((100, 75), Image.Resampling.BICUBIC).save(file)
    return files


@pytest.fixture(scope="module")
def resnet() -> ImageNetwork:
    return ImageNetwork(small_resnet(), SMALL, "avgpool")


def small_resnet() -> nn.Module:
    """All of ResNet50's kinds of modules, and statistics that are not those of a new network."""
    torch.manual_seed(1)
    module = ResNet(Bottleneck, [1, 2, 1, 1], num_classes=5)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.normal_(part.bias, std=0.5)
    return module


def as_input(file: Path) -> Tensor:
    return compose(SMALL)(Image.open(file).convert("RGB"))[None]
