"""ConSE: a picture put into the space of a language model, without any image-text training.

It stands in for networks trained on pictures with text, none of which comes inside a package.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from timm.data import ImageNetInfo

from analysis.models.language import SentenceEncoder
from analysis.models.vision import ImageNetwork


@dataclass(frozen=True)
class ConSE:
    """Convex combination of semantic embeddings (Norouzi et al. 2014, equation 3).

    The embedding of a picture is the mean of its top ImageNet classes' embeddings, weighted by
    their probabilities, which are scaled to sum to one.

    Attributes
    ----------
    visual : ImageNetwork
        Gives the classes and their probabilities.
    language : SentenceEncoder
        Embeds their names.
    n_classes : int
        How many of the most probable classes are combined; ten in the paper.
    class_prompt : str
        The text embedded for a class, with `{label}` in the place of its name.
    """

    visual: ImageNetwork
    language: SentenceEncoder
    n_classes: int
    class_prompt: str
    _embeddings: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def features(self, inputs: Sequence[str]) -> NDArray[np.float32]:
        """Give the combined embedding of pictures: (pictures, hidden size of the text model)."""
        probabilities = self.visual.class_probabilities(inputs)
        return np.stack([self._combine(row) for row in probabilities])

    def _combine(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        top = np.argsort(-probabilities, kind="stable")[: self.n_classes]
        weights = probabilities[top] / probabilities[top].sum()
        combined: NDArray[np.float32] = weights @ np.stack([self._embed(index) for index in top])
        return combined

    def _embed(self, index: int) -> NDArray[np.float32]:
        if index not in self._embeddings:
            text = self.class_prompt.replace("{label}", self._class_names[index])
            vector = self.language.features([text])[0]
            self._embeddings[index] = vector / np.linalg.norm(vector)
        return self._embeddings[index]

    @cached_property
    def _class_names(self) -> list[str]:
        """First synonym of each class: 'tench' of 'tench, Tinca tinca'."""
        return [text.split(",")[0] for text in ImageNetInfo().label_descriptions()]
