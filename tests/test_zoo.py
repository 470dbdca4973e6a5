"""The paper's visual networks, from files as their authors publish them, with random weights.

Every network is loaded through the registry and must give what the authors' own architecture gives
for the same pictures; a file that is another network's, or is not whole, must be refused.
"""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import official_checkpoints as official
import pytest
import torch
from mmv_checkpoint import TOWER
from numpy.typing import NDArray
from official_checkpoints import OfficialCheckpoint
from PIL import Image
from reference_torch import plain_torch
from torchvision.models import resnet18

from conceptrsa.analysis.models.networks.load import load_entry, load_network
from conceptrsa.analysis.models.registry import ModelEntry
from conceptrsa.analysis.models.weights.tensors import flat_tensors, read_checkpoint
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config.errors import InputError

Writer = Callable[[Path, int], OfficialCheckpoint]
Write = Callable[[str], OfficialCheckpoint]

WRITERS: dict[str, Writer] = {
    "CLIP": official.write_clip,
    "TSM": official.write_tsm,
    "VirTex": official.write_virtex,
    "ICMLM-attfc": official.write_icmlm,
    "ICMLM-tfm": official.write_icmlm,
    "ResNet50": official.write_torchvision,
    "BiT-M": official.write_bit,
    "AR-L2": official.write_robust,
    "AR-Linf4": official.write_robust,
    "AR-Linf8": official.write_robust,
    "SIN": official.write_stylized,
    "SIN-IN": official.write_stylized,
    "SIN-IN+FIN": official.write_stylized,
}

# One network a layout: what a file of a neighbour in the zoo looks like to it, and a tensor of
# the architecture, as the file and as the architecture have it.
NEIGHBOURS = {
    "CLIP": "ResNet50",
    "TSM": "BiT-M",
    "VirTex": "SIN",
    "ICMLM-attfc": "VirTex",
    "ResNet50": "VirTex",
    "BiT-M": "CLIP",
    "AR-L2": "SIN",
    "SIN": "AR-L2",
}
TENSORS = {
    "CLIP": ("visual.attnpool.c_proj.weight", "attnpool.c_proj.weight"),
    "TSM": (f"params/{TOWER}/tsm_resnet_stem/w", "stem.conv.weight"),
    "VirTex": ("layer4.2.bn3.running_var", "layer4.2.bn3.running_var"),
    "ICMLM-attfc": ("conv1.weight", "conv1.weight"),
    "ResNet50": ("fc.weight", "fc.weight"),
    "BiT-M": ("resnet/block2/unit01/a/proj/standardized_conv2d/kernel", "downsample.conv.weight"),
    "AR-L2": ("module.model.fc.bias", "fc.bias"),
    "SIN": ("module.fc.bias", "fc.bias"),
}
# Where the tensors of a network without a prefix stand.
PLACES = {"TSM": f"params/{TOWER}/"}


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Write]:
    """Write a network's file, once for all that share a layout; a hundred megabytes each."""
    folder = tmp_path_factory.mktemp("weights")
    seeds = {writer: seed for seed, writer in enumerate(dict.fromkeys(WRITERS.values()))}
    written = cache(lambda writer: writer(folder, seeds[writer]))
    yield lambda name: written(WRITERS[name])
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two coloured pictures: one wide and larger than the networks' input, one square, smaller."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pictures")
    files = []
    for name, size in (("wide", (421, 300)), ("square", (200, 200))):
        coarse = Image.fromarray(random.integers(0, 256, (9, 13, 3), dtype=np.uint8))
        files.append(folder / f"{name}.png")
        coarse.resize(size, Image.Resampling.BICUBIC).save(files[-1])
    return files


def entry_of(name: str) -> ModelEntry:
    return read_zoo().find(name)


def extract(name: str, file: Path, pictures: Sequence[Path]) -> NDArray[np.float32]:
    network = entry_of(name).network
    extractor = load_network(network, [file])
    paths = [str(picture) for picture in pictures]
    return extractor.extract(paths, [network.layer], network.pooling)[network.layer]


def relative(difference: NDArray[Any], reference: NDArray[Any]) -> float:
    """Largest difference of a feature, relative to the largest feature."""
    return float(np.abs(difference).max() / np.abs(reference).max())


@pytest.mark.parametrize("name", WRITERS)
def test_features_are_those_of_the_authors(
    name: str, write: Write, pictures: list[Path], record_property: Callable[[str, object], None]
) -> None:
    checkpoint = write(name)
    features = extract(name, checkpoint.file, pictures)
    with plain_torch():
        expected = checkpoint.reference(pictures)
    assert features.dtype == np.float32
    assert features.shape == (len(pictures), entry_of(name).network.n_features) == expected.shape
    difference = relative(features - expected, expected)
    record_property("relative_difference", difference)
    assert difference < 1e-5
    # Networks that saw nothing of the pictures would agree as well.
    assert relative(expected[0] - expected[1], expected) > 1e-2


@pytest.mark.parametrize(("name", "neighbour"), NEIGHBOURS.items())
def test_a_neighbours_file_is_refused(name: str, neighbour: str, write: Write) -> None:
    refuse(name, write(neighbour).file)


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_another_architecture_is_refused(name: str, tmp_path: Path) -> None:
    keys = entry_of(name).network.weights.keys
    tensors = {f"{keys.prefix}{key}": value for key, value in resnet18().state_dict().items()}
    refuse(name, save(tensors, keys.container, tmp_path))


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_lacking_tensor_is_refused(name: str, write: Write, tmp_path: Path) -> None:
    container = entry_of(name).network.weights.keys.container
    lacking, wanted = TENSORS[name]
    tensors = tensors_of(write(name).file, container)
    del tensors[lacking]
    assert wanted in refuse(name, save(tensors, container, tmp_path))


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_tensor_too_many_is_refused(name: str, write: Write, tmp_path: Path) -> None:
    keys = entry_of(name).network.weights.keys
    surplus = f"{PLACES.get(name, keys.prefix)}surplus.weight"
    tensors = tensors_of(write(name).file, keys.container) | {surplus: torch.zeros(3)}
    assert "surplus.weight" in refuse(name, save(tensors, keys.container, tmp_path))


def test_a_tensor_outside_the_prefix_is_refused(write: Write, tmp_path: Path) -> None:
    tensors = tensors_of(write("SIN").file, ("state_dict",)) | {"surplus": torch.zeros(3)}
    assert "surplus" in refuse("SIN", save(tensors, ("state_dict",), tmp_path))


def test_a_tensor_of_a_wrong_shape_is_refused(write: Write, tmp_path: Path) -> None:
    tensors = tensors_of(write("ResNet50").file, ())
    tensors["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    assert "conv1.weight" in refuse("ResNet50", save(tensors, (), tmp_path))


@pytest.mark.parametrize("name", WRITERS)
def test_hashes_are_those_in_the_addresses(name: str) -> None:
    weights = entry_of(name).network.weights
    assert weights is not None
    (file,) = weights.files
    assert file.url.removesuffix("?dl=1").endswith(f"/{file.name}")
    # torch.hub's rule is a name that ends in the hash's first digits; OpenAI's is a folder.
    published = re.search(r"-([0-9a-f]{8})\.pth|/([0-9a-f]{64})/", file.url)
    assert published is None or file.sha256.startswith(published[1] or published[2])
    assert published is not None or not file.sha256


def refuse(name: str, file: Path) -> str:
    """Require one sentence that names the file, and give it."""
    with pytest.raises(InputError) as caught:
        load_entry(entry_of(name), [file])
    message = str(caught.value)
    assert "\n" not in message
    assert file.name in message
    (wanted,) = entry_of(name).network.weights.files
    assert f"{name} needs {wanted.name}" in message and wanted.url in message
    return message


def tensors_of(file: Path, container: tuple[str, ...]) -> dict[str, Any]:
    tree: Any = read_checkpoint(file)
    for key in container:
        tree = tree[key]
    return {name: values.clone() for name, values in flat_tensors(tree, "/").items()}


def save(tensors: dict[str, Any], container: tuple[str, ...], folder: Path) -> Path:
    nested: Any = tensors
    for key in reversed(container):
        nested = {key: nested}
    file = folder / "changed.pth"
    torch.save(nested, file)
    return file
