"""Networks that see pictures: from files to the activity of any layer, one vector a picture."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from conceptrsa.analysis.arrays import Singles
from conceptrsa.analysis.files.stimuli import load_picture
from conceptrsa.analysis.models.extraction_settings import Sweep
from conceptrsa.analysis.models.networks.layers import LayerRecorder, pool, require_layers
from conceptrsa.analysis.models.networks.running import use_onednn
from conceptrsa.analysis.models.registry import Pooling, Preprocessing
from conceptrsa.bids_config.machine import available_processors

Preprocess = Callable[[Image.Image], Tensor]
CPU = torch.device("cpu")
LONGEST = 10
"""Longer side over the shorter, beyond which what the central square cannot see is cut first."""
SURVEYED = 2
"""Pictures shown to find the layers: enough to tell the axis of pictures from one of length 1."""


@dataclass
class ImageNetwork:
    """A network for pictures, ready to run.

    Attributes
    ----------
    module : torch.nn.Module
        Filled with its weights. It is moved to `device` and set to evaluation for good. Where it
        has an attribute `n_frames`, a layer's rows may be the frames of all pictures.
    preprocessing : Preprocessing or callable
        From an RGB picture to the network's input.
    feature_layer : str
        The layer that is among the blocks in any case.
    device : torch.device
    dtype : torch.dtype
        `torch.float16` for half precision. Features are float32 in any case.
    """

    module: nn.Module
    preprocessing: Preprocessing | Preprocess
    feature_layer: str = ""
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    is_thread_safe: ClassVar[bool] = True
    _turn: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)
    _axes: dict[str, int] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.module.eval().requires_grad_(False)
        standardise_once(self.module)
        self.module.to(self.device, self.dtype)
        if self.dtype != torch.float32:
            keep_statistics_precise(self.module)
        use_onednn(self.module)
        self._recorder = LayerRecorder(self.module)
        known = self.preprocessing
        self._preprocess = compose(known) if isinstance(known, Preprocessing) else known

    def layers(self, which: Sweep) -> tuple[str, ...]:
        """Name the layers, in the order in which their outputs are complete.

        Parameters
        ----------
        which : {'all', 'blocks'}
            Every layer that gives a row a picture, or stages, blocks and the feature layer only.
        """
        names = tuple(self._channel_axes())
        if which == "all":
            return names
        blocks = self._recorder.block_names(names)
        return tuple(name for name in names if name in blocks or name == self.feature_layer)

    def extract(
        self, inputs: Sequence[str | Path], layers: Sequence[str], pooling: Pooling
    ) -> dict[str, Singles]:
        """Give a vector a picture for each of several layers, from one forward pass.

        On the CPU the pictures go through the network one by one: the numbers cannot depend on
        which others are asked for.

        Parameters
        ----------
        inputs : sequence of str or Path
            Files of pictures.
        layers : sequence of str
            Names out of `layers("all")`.
        pooling : {'mean', 'flatten', 'first-token'}
            Mean over all places or tokens, all numbers in the order of the layer's output, or
            those of the first token. An output that is one vector already stays as it is.

        Returns
        -------
        dict of str to ndarray of float32, (pictures, features)

        Raises
        ------
        InputError
            An unknown layer, a pooling that does not suit one, or a file that is no picture.
        """
        axes = self._channel_axes()
        require_layers(layers, axes)
        wanted = dict.fromkeys(layers)
        parts: dict[str, list[Singles]] = {name: [] for name in wanted}
        for pictures in self._batches(inputs):
            n_pictures = len(pictures)

            def reduce(name: str, output: Tensor, n_pictures: int = n_pictures) -> Tensor:
                return pool(name, output, axes[name], pooling, n_pictures)

            with self._recorder.record(wanted, reduce) as found:
                self._run(pictures)
            for name in wanted:
                parts[name].append(found[name].cpu().numpy())
        return {name: np.concatenate(rows) for name, rows in parts.items()}

    def class_probabilities(self, inputs: Sequence[str | Path]) -> Singles:
        """Give a classifier's softmax over its classes for pictures: (pictures, classes)."""
        logits = [self._run(pictures).float() for pictures in self._batches(inputs)]
        return torch.cat(logits).softmax(dim=1).cpu().numpy()

    def _channel_axes(self) -> dict[str, int]:
        """From each layer that a forward pass goes through to its axis of channels.

        The first to ask lets it be run.
        """
        with self._turn:
            if self._axes is None:
                blank = self._preprocess(Image.new("RGB", (SURVEYED, SURVEYED)))
                pictures = self._placed(torch.stack([blank] * SURVEYED))
                n_rows = {SURVEYED, SURVEYED * getattr(self.module, "n_frames", 1)}
                self._axes = self._recorder.survey(lambda: self._run(pictures), n_rows)
            return self._axes

    @torch.inference_mode()
    def _run(self, pictures: Tensor) -> Tensor:
        output: Tensor = self.module(pictures)
        return output

    def _batches(self, files: Sequence[str | Path]) -> Iterator[Tensor]:
        if self.device.type == "cpu":
            for file in files:
                yield self._placed(self._read(file)[None])
        else:
            with ThreadPoolExecutor(available_processors()) as readers:
                yield self._placed(torch.stack(list(readers.map(self._read, files))))

    def _read(self, file: str | Path) -> Tensor:
        return self._preprocess(without_far_ends(load_picture(file)))

    def _placed(self, pictures: Tensor) -> Tensor:
        if self.device.type == "cuda":
            pictures = pictures.pin_memory()
        return pictures.to(self.device, self.dtype, non_blocking=True)


def compose(preprocessing: Preprocessing) -> Preprocess:
    """Build the transform from an RGB picture to a (3, crop, crop) tensor.

    It resizes with antialiasing and keeps the aspect ratio.
    """
    transform: Preprocess = v2.Compose(
        [
            v2.Resize(preprocessing.resize, v2.InterpolationMode(preprocessing.interpolation)),
            v2.CenterCrop(preprocessing.crop),
            v2.PILToTensor(),
            _as_fractions,
            v2.Normalize(list(preprocessing.mean), list(preprocessing.std)),
        ]
    )
    return transform


def _as_fractions(pixels: Tensor) -> Tensor:
    """Divide bytes by 255; `v2.ToDtype` multiplies by its inverse, other bits than the authors'."""
    return pixels.to(torch.float32).div(255)


def without_far_ends(picture: Image.Image) -> Image.Image:
    """Cut what is too far from the centre of a very long picture to be seen in the square there.

    Enlarged as a whole, a line of 1 x 100,000 pixels would need more memory than there is.
    """
    longest = LONGEST * min(picture.size)
    # The same number of pixels at both ends, so that the centre stays where it is.
    x, y = (max(0, (length - longest) // 2) for length in picture.size)
    return picture.crop((x, y, picture.width - x, picture.height - y)) if x or y else picture


def keep_statistics_precise(module: nn.Module) -> None:
    """Put batch normalisation back to single precision, in which CLIP was trained and is stored.

    A variance may be larger than any number of half precision.
    """
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.float()


def standardise_once(module: nn.Module) -> None:
    """Have convolutions that standardise their weights in every pass (timm's) do it once for all.

    The weights of each output channel are standardised (Qiao et al. 2019). In BiT that takes as
    long as a quarter of the rest. The numbers stay the same bits.
    """
    for part in module.modules():
        if type(part).__name__ == "StdConv2d" and "forward" not in vars(part):
            convolution: Any = part
            weight = convolution.weight
            rows = weight.reshape(1, len(weight), -1)
            standard = functional.batch_norm(
                rows, None, None, training=True, momentum=0.0, eps=convolution.eps
            )
            convolution.weight = nn.Parameter(standard.reshape_as(weight), requires_grad=False)
            convolution.forward = partial(nn.Conv2d.forward, convolution)
