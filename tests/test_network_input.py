"""Pictures of any shape and kind of colour reach a network whole and undistorted."""

from pathlib import Path

import numpy as np
import pytest
import small_networks
from PIL import Image
from small_networks import SIDE, SMALL
from torch import nn

from conceptrsa.analysis.models.networks import vision
from conceptrsa.analysis.models.networks.vision import ImageNetwork

same_weights_and_one_thread = small_networks.same_weights_and_one_thread


def central_square(picture: Image.Image) -> np.ndarray:
    """Resize a picture as a whole with Pillow, and cut the square out of its middle."""
    width, height = picture.size
    short = min(width, height)
    size = (int(SIDE * width / short), int(SIDE * height / short))
    whole = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
    top, left = (round((length - SIDE) / 2) for length in whole.shape[:2])
    return whole[top : top + SIDE, left : left + SIDE]


@pytest.mark.parametrize("size", [(500, 375), (31, 40), (1, 1), (1, 1000), (997, 2), (64, 64)])
@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "L", "I;16"])
def test_pictures_of_any_shape_are_not_distorted(
    size: tuple[int, int], mode: str, tmp_path: Path
) -> None:
    ramp = np.add.outer(np.linspace(0, 90, size[1]), np.linspace(0, 160, size[0])).round()
    grey = Image.fromarray(ramp.astype(np.uint8))
    file = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    if mode == "I;16":
        Image.fromarray((ramp * 257).astype(np.uint16)).save(file)
    else:
        grey.convert(mode).save(file)
    with Image.open(file) as opened:
        assert opened.mode == mode
    network = ImageNetwork(nn.Sequential(nn.Identity()), SMALL)
    found = network.extract([file], ["0"], "flatten")["0"].reshape(3, SIDE, SIDE)
    mean, std = (np.reshape(values, (3, 1, 1)) for values in (SMALL.mean, SMALL.std))
    expected = central_square(grey.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_allclose(255 * (found * std + mean), expected, atol=1.01)


def test_a_very_long_line_needs_little_memory() -> None:
    line = Image.new("RGB", (1, 100_000), "red")
    assert vision.without_far_ends(line).size == (1, 10)
    assert vision.without_far_ends(line.resize((30, 300))).size == (30, 300)
