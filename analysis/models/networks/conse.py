"""ConSE: a picture put into the space of a language model, without any image-text training.

It stands in for networks trained on pictures with text, none of which comes inside a package.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from timm.data import ImageNetInfo

from conceptrsa.analysis.arrays import Singles
from conceptrsa.analysis.models.extraction_settings import Prompt, Sweep, fill_prompt
from conceptrsa.analysis.models.registry import Pooling
from conceptrsa.bids_config.errors import InputError

COMBINATION = "weighted sum of class-name embeddings"
"""The only layer there is."""


class Classifier(Protocol):
    """Gives the probabilities of ImageNet's classes."""

    def class_probabilities(self, inputs: Sequence[Path]) -> Singles:
        """Give the softmax over the classes for pictures: (pictures, classes)."""


@dataclass(frozen=True)
class ConSE:
    """Convex combination of semantic embeddings (Norouzi et al. 2014, equation 3).

    The embedding of a picture is the mean of its top ImageNet classes' embeddings, weighted by
    their probabilities, which are scaled to sum to one.

    Attributes
    ----------
    visual : Classifier
        Gives the classes and their probabilities.
    embed : callable
        From a text to its vector.
    n_classes : int
        How many of the most probable classes are combined; ten in the paper.
    class_prompt : str
        The text embedded for a class, with `{label}` in place of its name.
    """

    visual: Classifier
    embed: Callable[[Prompt], Singles]
    n_classes: int
    class_prompt: str
    _embeddings: dict[int, Singles] = field(default_factory=dict)

    def layers(self, which: Sweep) -> tuple[str, ...]:
        """Name the layers: there is but one."""
        return (COMBINATION,)

    def extract(
        self, inputs: Sequence[Path], layers: Sequence[str], pooling: Pooling
    ) -> dict[str, Singles]:
        """Give the combined embedding of pictures: (pictures, hidden size of the text model).

        Raises
        ------
        InputError
            On any other layer or pooling.
        """
        if set(layers) != {COMBINATION} or pooling != "mean":
            raise InputError(
                "a combination of networks has no layers or pooling to choose: leave out "
                "--layers and --layer-pooling, or leave this model out"
            )
        probabilities = self.visual.class_probabilities(inputs)
        return {COMBINATION: np.stack([self._combine(row) for row in probabilities])}

    def _combine(self, probabilities: Singles) -> Singles:
        top = np.argsort(-probabilities, kind="stable")[: self.n_classes]
        weights = probabilities[top] / probabilities[top].sum()
        combined: Singles = weights @ np.stack([self._embed(index) for index in top])
        return combined

    def _embed(self, index: int) -> Singles:
        if index not in self._embeddings:
            vector = self.embed(fill_prompt(self.class_prompt, self._class_names[index]))
            self._embeddings[index] = vector / np.linalg.norm(vector)
        return self._embeddings[index]

    @cached_property
    def _class_names(self) -> list[str]:
        """First synonym of each class: 'tench' of 'tench, Tinca tinca'."""
        return [text.split(",")[0] for text in ImageNetInfo().label_descriptions()]
