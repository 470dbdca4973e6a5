"""A trial of one network: it is loaded and shown one stimulus."""

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from conceptrsa.analysis.models.extraction_settings import ExtractionSettings, Prompt, fill_prompt
from conceptrsa.analysis.models.registry import ModelEntry
from conceptrsa.analysis.models.weights.locate import CheckedFile, obtain_all_weights
from conceptrsa.analysis.models.weights.places import WeightsOptions

TRIAL_LABEL = "cat"


@dataclass(frozen=True)
class Trial:
    """Outcome of a trial.

    Attributes
    ----------
    files : tuple of CheckedFile
        The weights.
    features : dict of str to int
        Length of the vector of each layer.
    seconds_to_load, seconds_to_run : float
        Building the network with its weights, and one stimulus; the clock on the wall.
    peak_megabytes : float
        Largest memory of this process until now.
    """

    files: tuple[CheckedFile, ...]
    features: dict[str, int]
    seconds_to_load: float
    seconds_to_run: float
    peak_megabytes: float


def try_model(
    entry: ModelEntry,
    weights: WeightsOptions,
    settings: ExtractionSettings,
    picture: Path | None = None,
) -> Trial:
    """Load a network and show it one picture, or the label 'cat'.

    Parameters
    ----------
    entry : ModelEntry
    weights : WeightsOptions
        Where its files are.
    settings : ExtractionSettings
        With the layers that are wanted; none for the registry's.
    picture : Path, optional
        By default colours and waves.

    Raises
    ------
    InputError
        On weights that are missing or wrong, or a layer or device that there is none of.
    """
    from conceptrsa.analysis.models.networks.load import load_entry
    from conceptrsa.analysis.models.networks.running import run_batches

    network = entry.network
    files = obtain_all_weights(entry, weights)
    start = time.perf_counter()
    extractor = load_entry(entry, [file.path for file in files], settings)
    loaded = time.perf_counter()
    layers: Sequence[str] = settings.layers_of(network, extractor.layers)
    with TemporaryDirectory() as folder:
        given: Path | Prompt = picture or draw_waves(Path(folder) / "waves.png")
        if network.input == "label":
            given = fill_prompt(settings.prompt, TRIAL_LABEL)
        start_of_run = time.perf_counter()
        pooling = settings.pooling_of(network)
        (values,) = run_batches(extractor, [given], layers, pooling, settings)
        end = time.perf_counter()
    return Trial(
        files,
        {layer: values[layer].shape[1] for layer in layers},
        loaded - start,
        end - start_of_run,
        peak_megabytes(),
    )


def draw_waves(file: Path) -> Path:
    """Write a picture of 256 x 256 pixels made by a formula."""
    y, x = np.mgrid[0:256, 0:256] / 255
    red, green = 0.5 + 0.5 * np.sin(9 * x + 4 * y), 0.5 + 0.5 * np.cos(14 * x * y)
    pixels = np.stack([red, green, x * (1 - y)], axis=-1)
    Image.fromarray((255 * pixels).round().astype(np.uint8)).save(file)
    return file


def peak_megabytes() -> float:
    """Largest memory of this process so far (getrusage counts kilobytes, on macOS bytes)."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1e6 if sys.platform == "darwin" else 1e3)
