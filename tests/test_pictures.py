"""The pictures that the demo draws."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conceptrsa.analysis.files.stimuli import read_stimuli
from conceptrsa.pipelines.demo.demo_pictures import PICTURES, draw_picture, draw_stimuli
from conceptrsa.pipelines.demo.drawings import DRAWINGS
from conceptrsa.pipelines.demo.grounds import GROUNDS, noise


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stimuli")
    assert len(draw_stimuli(folder)) == 24
    return folder


def test_every_drawing_is_used_once_and_every_ground_at_least_once() -> None:
    assert sorted(picture.drawing for picture in PICTURES) == sorted(DRAWINGS)
    assert {picture.ground for picture in PICTURES} == set(GROUNDS)


def test_pictures_and_labels_are_stimuli(drawn: Path) -> None:
    stimuli = read_stimuli(drawn)
    assert [stimulus.id for stimulus in stimuli] == sorted(p.stimulus for p in PICTURES)
    assert all(stimulus.label for stimulus in stimuli)
    assert {stimulus.label for stimulus in stimuli} >= {"apple", "hot air balloon", "volcano"}


def test_drawing_again_gives_the_same_pixels(drawn: Path) -> None:
    for picture in PICTURES[3:5]:
        with Image.open(drawn / f"{picture.stimulus}.png") as written:
            assert written.size == (256, 256) and written.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(written), np.asarray(draw_picture(picture)))


def test_pictures_differ_and_use_the_range_of_brightness(drawn: Path) -> None:
    small = [
        np.asarray(Image.open(path).resize((32, 32)), dtype=float) for path in drawn.glob("*.png")
    ]
    for pixels in small:
        assert pixels.std() > 20
    for one, other in combinations(small, 2):
        assert np.abs(one - other).mean() > 20


def test_noise_is_fixed_and_within_its_range() -> None:
    plane = noise(3, 4)
    np.testing.assert_array_equal(plane, noise(3, 4))
    assert 0.3 < plane.mean() < 0.7
    assert plane.min() > -0.2 and plane.max() < 1.2
