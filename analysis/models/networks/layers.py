"""The outputs of a network's modules, taken in one forward pass, one vector an input."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from conceptrsa.analysis.models.networks.channels import Layout, LayoutTracker
from conceptrsa.analysis.models.registry import Pooling
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import did_you_mean

Watcher = Callable[[str, nn.Module, Tensor | None, Tensor], None]
"""Called with the name of a layer, its module, the first tensor it was given, and its output."""
DEEPEST_UNIT = 2
"""Stages, and the blocks in them."""


class LayerRecorder:
    """Sees what the modules of a network give, in any number of threads at once.

    Layers are called as the modules are; the second and third call of a module in one forward pass
    have `_1` and `_2` behind the name, as in `torchvision.models.feature_extraction`. The hooks
    stay on the modules and do nothing in a thread that is not recording.

    Parameters
    ----------
    module : torch.nn.Module
        The network.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._thread = threading.local()
        for name, part in module.named_modules():
            if name:
                part.register_forward_hook(self._hook(name), with_kwargs=True)

    @contextmanager
    def record(
        self, layers: Collection[str], reduce: Callable[[str, Tensor], Tensor]
    ) -> Iterator[dict[str, Tensor]]:
        """Keep the outputs of layers while this thread runs one forward pass.

        Parameters
        ----------
        layers : collection of str
            Names of layers.
        reduce : callable
            From the name and output of a layer to what is kept. It is called at once, and must
            not give the output itself, as the next module may change that in place.

        Yields
        ------
        dict of str to Tensor
            Filled in the course of the pass.
        """
        kept: dict[str, Tensor] = {}

        def keep(name: str, _module: nn.Module, _given: Tensor | None, output: Tensor) -> None:
            if name in layers:
                kept[name] = reduce(name, output)

        with self._watched(keep):
            yield kept

    def survey(self, run: Callable[[], Any], n_rows: Collection[int]) -> dict[str, int]:
        """Find the layers that a forward pass goes through.

        Parameters
        ----------
        run : callable
            Runs the network on a batch of two or more inputs.
        n_rows : collection of int
            Lengths that the first axis of an output may have: that of the batch, for a network of
            films also the number of all frames.

        Returns
        -------
        dict of str to int
            From each layer that gives a floating-point tensor of numbers, with the batch on the
            first axis, to the axis of its channels, in the order in which outputs are complete.
        """
        tracker = LayoutTracker()
        layouts: dict[str, Layout] = {}

        def note(name: str, module: nn.Module, given: Tensor | None, output: Tensor) -> None:
            layout = tracker.follow(module, given, output)
            # What weights that are absent lead to is not a number, see `fit_state`.
            if output.ndim and output.shape[0] in n_rows and not bool(output.isnan().any()):
                layouts[name] = layout

        with self._watched(note):
            run()
        channels_last_maps = str(getattr(self._module, "output_fmt", "")).endswith("NHWC")
        return {name: layout.axis(channels_last_maps) for name, layout in layouts.items()}

    def block_names(self, layers: Iterable[str]) -> tuple[str, ...]:
        """Choose the layers that are repeated units: stages, and residual or transformer blocks.

        A unit is an element, with modules of its own, of a `Sequential` or `ModuleList`. Inside of
        a unit only like elements count, and at the second level units end, so that the
        convolutions of a block are none.

        Parameters
        ----------
        layers : iterable of str
            Names out of `survey`.
        """
        units = set(_unit_names(self._module))
        names = {name for name, _ in self._module.named_modules()}
        return tuple(name for name in layers if _module_name(name, names) in units)

    @contextmanager
    def _watched(self, watcher: Watcher) -> Iterator[None]:
        self._thread.watcher, self._thread.calls = watcher, Counter()
        try:
            yield
        finally:
            self._thread.watcher = None

    def _hook(self, name: str) -> Callable[..., None]:
        def hook(
            module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any
        ) -> None:
            watcher: Watcher | None = getattr(self._thread, "watcher", None)
            if watcher is None:
                return
            n_calls = self._thread.calls[name]
            self._thread.calls[name] += 1
            tensor = first_tensor(output)
            if tensor is not None and tensor.is_floating_point():
                layer = f"{name}_{n_calls}" if n_calls else name
                watcher(layer, module, first_tensor((*given, *named.values())), tensor)

        return hook


def first_tensor(output: Any) -> Tensor | None:
    """Give a module's output, or the first tensor of its tuple, list or mapping of outputs."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = output.values()
    elif not isinstance(output, (tuple, list)):
        return None
    return next((part for part in output if isinstance(part, Tensor)), None)


def pool(layer: str, output: Tensor, channel_axis: int, pooling: Pooling, n_inputs: int) -> Tensor:
    """Bring a layer's output to one vector an input.

    Parameters
    ----------
    layer : str
        Its name, for the message of an error.
    output : Tensor of shape (rows, ...)
        Where there are more rows than inputs, those of one input (the frames of a film) follow
        each other, and their mean is taken.
    channel_axis : int
    pooling : {'mean', 'flatten', 'first-token'}
    n_inputs : int

    Returns
    -------
    Tensor of float32, (inputs, features)
        It shares no memory with `output`.

    Raises
    ------
    InputError
        The layer has no tokens, or its rows are not those of the inputs.
    """
    if output.shape[0] % n_inputs:
        raise InputError(
            f"the layer '{layer}' gives {output.shape[0]} rows for {n_inputs} pictures, so its "
            "rows are not pictures: choose another layer."
        )
    pooled = _pooled_rows(layer, output, channel_axis, pooling)
    if pooled.shape[0] > n_inputs:
        pooled = pooled.unflatten(0, (n_inputs, -1)).mean(dim=1)
    return pooled


def _pooled_rows(layer: str, output: Tensor, channel_axis: int, pooling: Pooling) -> Tensor:
    if pooling == "flatten" or output.ndim <= 2:
        return output.reshape(output.shape[0], -1).to(torch.float32, copy=True)
    if pooling == "mean":
        others = [axis for axis in range(1, output.ndim) if axis != channel_axis]
        return output.mean(dim=others, dtype=torch.float32)
    if pooling != "first-token" or output.ndim != 3 or channel_axis != 2:
        raise InputError(
            f"the layer '{layer}' has an output of {output.ndim} axes, of which '{pooling}' "
            "cannot be taken: choose mean or flatten, or a layer of tokens."
        )
    return output[:, 0].to(torch.float32, copy=True)


def require_layers(wanted: Iterable[str], known: Collection[str]) -> None:
    """Refuse names of layers that a network does not have."""
    for name in wanted:
        if name not in known:
            raise InputError(
                f"the network has no layer '{name}'{did_you_mean(name, known)}: "
                "conceptrsa models check NAME --layers all lists them."
            )


def _unit_names(module: nn.Module, prefix: str = "", level: int = 0) -> Iterator[str]:
    """Walk down a network and name its repeated units; `level` counts the units above."""
    for name, child in module.named_children():
        path = prefix + name
        is_unit = isinstance(module, (nn.Sequential, nn.ModuleList)) and _has_children(child)
        if is_unit and level and not _are_alike(list(module.children())):
            continue
        if is_unit:
            yield path
        if level + is_unit < DEEPEST_UNIT:
            yield from _unit_names(child, f"{path}.", level + is_unit)


def _has_children(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _are_alike(modules: Sequence[nn.Module]) -> bool:
    return len({type(module) for module in modules}) == 1


def _module_name(layer: str, names: Collection[str]) -> str:
    """Give the module of a layer, whose name may have the number of a call behind it."""
    return layer if layer in names else layer.rpartition("_")[0]
