"""Torch as anyone runs it, to compare with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def plain_torch() -> Iterator[None]:
    """Compute without gradients on two threads, even where there is one core.

    On a single thread torch takes other kernels for some convolutions.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)
