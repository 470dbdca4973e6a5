"""The picture network of MMV, against the same network written in NumPy."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmv_checkpoint import mmv_features, random_mmv, shift_in_time
from torch import Tensor

from conceptrsa.analysis.models.networks.tsm import TemporalShift, TsmResNet50
from conceptrsa.analysis.models.weights.key_mapping import fit_state
from conceptrsa.analysis.models.weights.tensors import read_checkpoint
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config.errors import InputError

NARROW = 8


@pytest.fixture(scope="module")
def checkpoint() -> dict:
    return random_mmv(NARROW, seed=0)


@pytest.fixture(scope="module")
def file(checkpoint: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(checkpoint, tmp_path_factory.mktemp("weights"))


def write(checkpoint: dict, folder: Path) -> Path:
    file = folder / "mmv_tsm_resnet_x1.pkl"
    file.write_bytes(pickle.dumps(checkpoint))
    return file


def load(file: Path, n_frames: int = 1, stem_channels: int = NARROW) -> TsmResNet50:
    network = TsmResNet50(n_frames, stem_channels).eval()
    weights = read_zoo().find("TSM").network.weights
    assert weights is not None
    fit_state(read_checkpoint(file), weights.keys, network, file, "tsm_resnet50")
    return network.double()


def draw_pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(size=shape)


def channels_first(maps: np.ndarray) -> Tensor:
    return torch.from_numpy(maps).movedim(-1, -3)


@pytest.mark.parametrize(
    ("height", "width", "n_frames"), [(64, 64, 1), (66, 65, 1), (50, 71, 3), (33, 64, 4)]
)
def test_features_are_those_of_the_published_network(
    checkpoint: dict, file: Path, height: int, width: int, n_frames: int
) -> None:
    pictures = draw_pictures(2, height, width, 3)
    with torch.inference_mode():
        features = load(file, n_frames)(channels_first(pictures)).numpy()
    expected = mmv_features(np.repeat(pictures[:, None], n_frames, axis=1), checkpoint)
    assert features.shape == (2, 32 * NARROW)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("n_frames", [1, 2, 5])
def test_channels_are_shifted_between_frames_of_the_same_picture(n_frames: int) -> None:
    films = draw_pictures(3, n_frames, 4, 5, 16)
    shifted = TemporalShift(n_frames)(channels_first(films).flatten(0, 1).clone())
    expected = channels_first(shift_in_time(films)).flatten(0, 1)
    np.testing.assert_array_equal(shifted.numpy(), expected.numpy())


def test_any_layer_gives_as_many_rows_as_frames_and_is_called_once(file: Path) -> None:
    n_pictures, n_frames = 2, 3
    network = load(file, n_frames)
    outputs: dict[str, list[Tensor]] = {name: [] for name, _ in network.named_modules() if name}
    for name, module in network.named_modules():
        if name:
            module.register_forward_hook(lambda *call, name=name: outputs[name].append(call[-1]))
    with torch.inference_mode():
        features = network(channels_first(draw_pictures(n_pictures, 32, 32, 3)))
    assert all(len(calls) == 1 for calls in outputs.values())
    assert [*outputs][-1] == "before_head"
    torch.testing.assert_close(outputs.pop("before_head")[0], features, rtol=0, atol=0)
    assert {len(output) for (output,) in outputs.values()} == {n_pictures * n_frames}
    # The first layer has not seen other frames: those of a picture are equal and adjacent.
    films = outputs["stem"][0].unflatten(0, (n_pictures, n_frames))
    assert torch.equal(films[:, 0], films[:, 2]) and not torch.equal(films[0], films[1])
    assert outputs["units.2.blocks.5.conv_1"][0].shape[1:] == (4 * NARROW, 2, 2)


def test_the_published_width_gives_2048_numbers() -> None:
    with torch.device("meta"):
        features = TsmResNet50()(torch.empty(3, 3, 256, 256))
    assert features.shape == (3, 2048)


def test_a_network_of_another_width_does_not_fit(tmp_path: Path) -> None:
    file = write(random_mmv(2 * NARROW, seed=0), tmp_path)
    with pytest.raises(InputError, match="shape"):
        load(file)


def test_a_tensor_that_is_not_there_is_named(checkpoint: dict, tmp_path: Path) -> None:
    state = {name: values for name, values in checkpoint["state"].items() if "unit_3" not in name}
    file = write({**checkpoint, "state": state}, tmp_path)
    with pytest.raises(InputError, match=r"units\.3\.blocks\.0\.norm_0\.running_mean"):
        load(file)


def test_a_film_without_frames_is_refused() -> None:
    with pytest.raises(InputError, match="n_frames = 0: give at least one frame"):
        TsmResNet50(n_frames=0)
