"""The demo's pictures."""

from hashlib import sha256
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conceptrsa.analysis.files.stimuli import read_stimuli
from conceptrsa.pipelines.demo.demo_dataset import write_stimuli

PIXELS = "915901f2a4a62828dc56453869e28fcf99f41127959f9e7e475cf6e58425e20b"
"""SHA-256 of all pixels, in the order of the stimulus ids: the planted truth depends on them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stimuli")
    write_stimuli(folder)
    return folder


def test_pictures_and_labels_are_stimuli(folder: Path) -> None:
    stimuli = read_stimuli(folder)
    assert len(stimuli) == 24
    assert all(stimulus.id.endswith("_01") and stimulus.label for stimulus in stimuli)
    assert {stimulus.label for stimulus in stimuli} >= {"apple", "hot air balloon", "volcano"}


def test_pictures_have_the_pixels_that_they_had(folder: Path) -> None:
    digest = sha256()
    for file in sorted(folder.glob("*.png")):
        with Image.open(file) as picture:
            assert picture.size == (256, 256) and picture.mode == "RGB"
            digest.update(picture.tobytes())
    assert digest.hexdigest() == PIXELS


def test_pictures_differ_and_use_the_range_of_brightness(folder: Path) -> None:
    small = [
        np.asarray(Image.open(path).resize((32, 32)), dtype=float) for path in folder.glob("*.png")
    ]
    for pixels in small:
        assert pixels.std() > 20
    for one, other in combinations(small, 2):
        assert np.abs(one - other).mean() > 20
