"""Run networks in memory: device, reproducible numbers, all cores."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from conceptrsa.analysis.arrays import Singles
from conceptrsa.analysis.models.extraction_settings import Device, ExtractionSettings, Sweep
from conceptrsa.analysis.models.registry import Pooling
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import share_of_machine

Arrays = dict[str, Singles]
"""Outputs of each layer: (inputs, features)."""

CPU_BATCH, ACCELERATOR_BATCH = 1, 32
ACCELERATOR_THREADS = 2
"""One prepares a batch while the other's is computed."""


class Extractor(Protocol):
    """A network in memory."""

    def layers(self, which: Sweep) -> tuple[str, ...]:
        """Name all layers, or the blocks only."""

    def extract(self, inputs: Sequence[Any], layers: Sequence[str], pooling: Pooling) -> Arrays:
        """Give the vectors of pictures (paths) or prompts for several layers from one pass."""


def choose_device(name: Device) -> torch.device:
    """Find the device to compute on.

    Raises
    ------
    InputError
        This machine, or this build of torch, does not have it.
    """
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present[name]:
        usable = " or ".join(device for device, is_present in present.items() if is_present)
        raise InputError(
            f"torch {torch.__version__} finds no {name} device on this machine: "
            f"choose --device {usable}."
        )
    return torch.device(name)


def run_batches(
    extractor: Extractor,
    inputs: Sequence[Any],
    layers: Sequence[str],
    pooling: Pooling,
    settings: ExtractionSettings,
) -> Iterator[Arrays]:
    """Extract features of many inputs, batch after batch, in their order.

    On the CPU each of several threads takes an input from the file to its features, while torch
    computes in that thread alone. That is at least as fast as when all threads share the work on
    one batch (see `benchmarks/features.py`), and the numbers are the same bits for any number of
    threads and whatever the other inputs are. On other devices a batch is computed while the next
    is prepared.

    Parameters
    ----------
    extractor : Extractor
        On the CPU its vectors must not depend on what else is in a batch. Several threads call it
        at once only where it has an attribute `is_thread_safe` that is true.
    inputs : sequence
        Paths of pictures, or texts.
    layers : sequence of str
    pooling : Pooling
    settings : ExtractionSettings
        With the device that the extractor is on, the number of threads and the size of a batch.

    Yields
    ------
    dict of str to ndarray of float32, (batch, features)
        As soon as they and all before are there; no more than twice as many batches as there are
        threads are kept, however late they are fetched.
    """
    on_cpu = settings.device == "cpu"
    size = settings.batch_size or (CPU_BATCH if on_cpu else ACCELERATOR_BATCH)
    n_workers = ACCELERATOR_THREADS
    if on_cpu:
        n_workers = settings.n_threads or share_of_machine().n_processors
    if not getattr(extractor, "is_thread_safe", False):
        n_workers = 1

    def compute(batch: Sequence[Any]) -> Arrays:
        with torch.inference_mode():
            return extractor.extract(batch, layers, pooling)

    pending: deque[Future[Arrays]] = deque()
    with (
        _deterministic_algorithms(),
        ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(1,)) as workers,
    ):
        try:
            for start in range(0, len(inputs), size):
                pending.append(workers.submit(compute, inputs[start : start + size]))
                if len(pending) == 2 * n_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    """Have the whole process compute reproducibly, and put all settings back at the end.

    The number of threads is put back too, as torch takes what any thread sets for the others'.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    n_threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filling = memory.fill_uninitialized_memory
    benchmark, of_cudnn, of_matmul = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False
    cudnn.benchmark = cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        memory.fill_uninitialized_memory = filling
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = benchmark, of_cudnn, of_matmul
        torch.set_num_threads(n_threads)


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
        if isinstance(part, nn.Conv2d) and _is_plain(part):
            # What nn.Conv2d.forward calls, and the forward of its subclasses here.
            part._conv_forward = partial(_convolve, part)  # type: ignore[method-assign]


def _convolve(part: nn.Conv2d, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert not isinstance(part.padding, str)
    output: Tensor = torch.mkldnn_convolution(
        maps, weight, bias, part.padding, part.stride, part.dilation, part.groups
    )
    return output


def _is_plain(part: nn.Conv2d) -> bool:
    return (
        part.weight.device.type == "cpu"
        and part.weight.dtype == torch.float32
        and part.padding_mode == "zeros"
        and not isinstance(part.padding, str)
    )
