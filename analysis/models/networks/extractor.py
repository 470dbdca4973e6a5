"""What every network in memory can do."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.models.extraction import Sweep
from conceptrsa.analysis.models.registry import Pooling

Arrays = dict[str, NDArray[np.float32]]
"""Of each layer: (inputs, features)."""


class Extractor(Protocol):
    """A network in memory."""

    def layers(self, which: Sweep) -> tuple[str, ...]:
        """Name all layers, or the blocks only."""

    def extract(self, inputs: Sequence[Any], layers: Sequence[str], pooling: Pooling) -> Arrays:
        """Give the vectors of pictures (paths) or prompts for several layers from one pass."""
