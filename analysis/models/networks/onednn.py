"""Convolutions on one thread by the same kernels as on several."""

from functools import partial

import torch
from torch import Tensor, nn


def use_onednn(module: nn.Module) -> None:
    """Have oneDNN compute all plain convolutions of a network.

    For one small picture, or kernels of one pixel on one thread, torch takes a slower way. With
    oneDNN throughout, the numbers are the bits that torch gives for batches on several threads.

    Parameters
    ----------
    module : torch.nn.Module
        On the CPU, in single precision. Convolutions in other forms stay as they are.
    """
    if not torch.backends.mkldnn.is_available():
        return
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and _suits(part):
            # What nn.Conv2d.forward calls, and the forward of its subclasses here.
            part._conv_forward = partial(_convolve, part)  # type: ignore[method-assign]


def _convolve(part: nn.Conv2d, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert not isinstance(part.padding, str)
    output: Tensor = torch.mkldnn_convolution(
        maps, weight, bias, part.padding, part.stride, part.dilation, part.groups
    )
    return output


def _suits(part: nn.Conv2d) -> bool:
    return (
        part.weight.device.type == "cpu"
        and part.weight.dtype == torch.float32
        and part.padding_mode == "zeros"
        and not isinstance(part.padding, str)
    )
