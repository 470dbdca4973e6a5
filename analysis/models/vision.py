"""Image classifiers: from pictures to the pooled activity before the classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

from analysis.models.registry import Preprocessing
from analysis.stimuli import load_picture
from bids_config.errors import InputError

FINAL_LAYER = "global_pool"
"""The last feature map, pooled as the classifier sees it."""


@dataclass(frozen=True)
class ImageNetwork:
    """A timm architecture with its weights, and the preprocessing that it was trained on.

    `layer` is the name of the module whose output map is averaged over space, or `FINAL_LAYER`.
    """

    module: Any
    preprocess: v2.Compose
    layer: str = FINAL_LAYER

    @classmethod
    def load(
        cls,
        architecture: str,
        file: Path,
        keys: str,
        preprocessing: Preprocessing,
        layer: str = FINAL_LAYER,
    ) -> "ImageNetwork":
        """Build a timm architecture and fill it from a checkpoint.

        Parameters
        ----------
        architecture : str
            Name of a timm model.
        file : Path
            State dictionary as torch saves it; it is read so that it cannot run code.
        keys : {'same', 'in order'}
            Whether the checkpoint's names are the architecture's, or only their order is.
        preprocessing : Preprocessing
            From picture to input.
        layer : str
            Name of a module of the architecture, or `FINAL_LAYER`.

        Raises
        ------
        InputError
            The checkpoint does not fit the architecture, tensor by tensor, or there is no such
            layer.
        """
        module = timm.create_model(architecture, pretrained=False).eval()
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        if keys == "in order":
            checkpoint = rename_in_order(checkpoint, module.state_dict(), file)
        try:
            module.load_state_dict(checkpoint, strict=True)
        except RuntimeError as error:
            raise InputError(f"{file} does not fit {architecture}: {error}") from error
        if layer != FINAL_LAYER and layer not in dict(module.named_modules()):
            raise InputError(f"{architecture} has no layer {layer}.")
        return cls(module, compose(preprocessing), layer)

    def features(self, inputs: Sequence[str]) -> NDArray[np.float32]:
        """Give the layer's feature map, averaged over space, of pictures: (pictures, channels)."""
        if self.layer == FINAL_LAYER:
            return self._pooled(inputs).numpy()
        maps: list[Tensor] = []
        hook = self.module.get_submodule(self.layer).register_forward_hook(
            lambda module, given, output: maps.append(output)
        )
        try:
            self._pooled(inputs)
        finally:
            hook.remove()
        return maps[0].mean(dim=(2, 3)).numpy()

    def class_probabilities(self, inputs: Sequence[str]) -> NDArray[np.float32]:
        """Give the softmax over the classes for pictures: (pictures, classes)."""
        logits: Tensor = self.module.get_classifier()(self._pooled(inputs))
        return logits.softmax(dim=1).numpy()

    def _pooled(self, inputs: Sequence[str]) -> Tensor:
        pictures = torch.stack([self.preprocess(load_picture(path)) for path in inputs])
        maps = self.module.forward_features(pictures)
        pooled: Tensor = self.module.forward_head(maps, pre_logits=True)
        return pooled


def compose(preprocessing: Preprocessing) -> v2.Compose:
    """Build the transform from an RGB picture to a (3, crop, crop) tensor."""
    interpolation = v2.InterpolationMode(preprocessing.interpolation)
    return v2.Compose(
        [
            v2.Resize(preprocessing.resize, interpolation),
            v2.CenterCrop(preprocessing.crop),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(preprocessing.mean), list(preprocessing.std)),
        ]
    )


def rename_in_order(
    checkpoint: Mapping[str, Tensor], target: Mapping[str, Tensor], file: Path
) -> dict[str, Tensor]:
    """Give the tensors of a checkpoint the names of a state dictionary that has the same order.

    Each pair must agree in shape and in kind (the last part of the name: weight, running_mean ...).

    Raises
    ------
    InputError
        Another number of tensors, or a pair that differs; the message names the first.
    """
    if len(checkpoint) != len(target):
        raise InputError(
            f"{file} holds {len(checkpoint)} tensors where the architecture has {len(target)}: "
            "it belongs to another one."
        )
    for (old, given), (new, wanted) in zip(checkpoint.items(), target.items(), strict=True):
        same_kind = old.rpartition(".")[2] == new.rpartition(".")[2]
        if given.shape != wanted.shape or not same_kind:
            raise InputError(
                f"{file} belongs to another architecture: its tensor '{old}' {tuple(given.shape)} "
                f"stands where '{new}' {tuple(wanted.shape)} is expected."
            )
    return dict(zip(target, checkpoint.values(), strict=True))
