"""Find the channel axis of a layer's output.

Layers of convolutions give (batch, channels, height, width), tokens (batch, tokens, channels), and
some networks change to (batch, height, width, channels) on the way. Sizes alone do not tell them
apart, as a map of 64 channels may well be 64 pixels high.
"""

import re
from dataclasses import dataclass

from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
)
CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
SPATIAL_NAME = re.compile(r"[123]d(Fp32)?$")
"""Of a class: `LayerNorm2d` normalises the channels of a map of convolutions."""
N_CHANNELS = (
    "out_channels",
    "out_features",
    "num_features",
    "num_channels",
    "normalized_shape",
    "embedding_dim",
)


@dataclass
class Layout:
    """Known properties of one tensor.

    Attributes
    ----------
    shape : tuple of int
    certain : int, optional
        The axis of channels, stated by a module that made the tensor or read it.
    fitting : int, optional
        The only axis whose length is the number of channels that was stated last.
    before : Layout, optional
        Of the input, of the same shape, of the module that gave the tensor.
    """

    shape: tuple[int, ...]
    certain: int | None = None
    fitting: int | None = None
    before: "Layout | None" = None

    def axis(self, channels_last_maps: bool) -> int:
        """Give the axis of channels, from what is known best to a habit.

        Parameters
        ----------
        channels_last_maps : bool
            Whether the network is known to end in (batch, height, width, channels).
        """
        if self.certain is not None:
            return self.certain
        if self.fitting is not None:
            return self.fitting
        if self.before is not None:
            return self.before.axis(channels_last_maps)
        n_axes = len(self.shape)
        return n_axes - 1 if n_axes <= 3 or (channels_last_maps and n_axes == 4) else 1


class LayoutTracker:
    """Follows the tensors of a forward pass from module to module.

    What a convolution gives, or is given, has channels on axis 1; what a linear layer is given has
    them on the last. The same tensor keeps its axis from module to module, and so, where nothing
    else is known, does what a module without such a habit (an activation, a block) makes of it.
    """

    def __init__(self) -> None:
        self._layouts = WeakIdKeyDictionary()
        self._n_channels: int | None = None

    def follow(self, module: nn.Module, given: Tensor | None, output: Tensor) -> Layout:
        """Note what a module made of a tensor; the answer goes on being completed until the end."""
        before: Layout | None = None if given is None else self._layouts.get(given)
        stated = stated_axis(module)
        if stated is not None and before is not None and before.certain is None:
            before.certain = stated % len(before.shape)
        known: Layout | None = self._layouts.get(output)
        if known is None:
            shape = tuple(output.shape)
            like = before if before is not None and before.shape == shape else None
            known = Layout(shape, fitting=self._fitting_axis(shape), before=like)
            self._layouts[output] = known
        if stated is not None:
            known.certain = stated % output.ndim
            self._n_channels = _n_channels(module) or self._n_channels
        return known

    def _fitting_axis(self, shape: tuple[int, ...]) -> int | None:
        axes = {1, len(shape) - 1}
        fitting = [axis for axis in axes if axis > 0 and shape[axis] == self._n_channels]
        return fitting[0] if len(fitting) == 1 else None


def stated_axis(module: nn.Module) -> int | None:
    """Give the axis of channels that a kind of module always has, in its input and its output."""
    is_spatial = SPATIAL_NAME.search(type(module).__name__) is not None
    if isinstance(module, CHANNELS_FIRST):
        return 1
    if isinstance(module, CHANNELS_LAST):
        return 1 if is_spatial else -1
    is_leaf = next(module.children(), None) is None
    return 1 if is_spatial and is_leaf else None


def _n_channels(module: nn.Module) -> int | None:
    for attribute in N_CHANNELS:
        value = getattr(module, attribute, None)
        if isinstance(value, tuple):
            value = value[-1]
        if isinstance(value, int):
            return value
    return None
