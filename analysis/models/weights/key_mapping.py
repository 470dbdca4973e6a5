"""From the tensors of a checkpoint to those of an architecture, with nothing lost on the way."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from conceptrsa.analysis.models.registry import KeyMapping, Weights
from conceptrsa.analysis.models.weights.tensors import CheckpointError, flat_tensors
from conceptrsa.analysis.models.weights.wrappings import layouts, wrappings
from conceptrsa.bids_config.names import some_of

_SHOWN = 3
_REMEDY = "give the weights of this network"
_BATCH_COUNTER = "num_batches_tracked"
"""Counts the batches of training: older checkpoints lack it, and no feature needs it."""

_Fitting = Mapping[str, tuple[str, Tensor]]
"""For each tensor of the architecture: its name in the file, and its value."""


class _AnotherNetworkError(CheckpointError):
    """Every tensor may find its place, but the file is known for another network's."""


def fit_state(
    checkpoint: Mapping[str, Any],
    keys: KeyMapping | Weights,
    module: torch.nn.Module,
    file: Path,
    architecture: str,
    others: Mapping[str, Weights] = MappingProxyType({}),
) -> None:
    """Fill an architecture from a checkpoint, strictly as `KeyMapping` says.

    The module takes over the checkpoint's own tensors, so that weights are not held twice; they
    are converted to the types (half precision) and devices that the module has. Where a tensor may
    be absent and is, it becomes not a number: no layer behind it passes for one that was trained.
    A file that holds the tensors in another wrapping than the published one is taken where every
    tensor finds its place all the same, see `wrappings`.

    Parameters
    ----------
    checkpoint : mapping
        What `read_checkpoint` gave: nested mappings, whose keys are joined by '/'. What is no
        tensor is passed over.
    keys : KeyMapping or Weights
        From the file's names to the architecture's, and what tells the file from other networks'.
    module : torch.nn.Module
        The architecture; it stays as it was where an error is raised.
    file : Path
        Where the checkpoint comes from, for messages.
    architecture : str
        What the module is, for messages.
    others : mapping of str to Weights
        Networks of the same architecture by name: in another wrapping, a file that is just as
        theirs are published is not taken.

    Raises
    ------
    CheckpointError
        Tensors are left over, missing, or of another shape or type than the architecture's (the
        message names the first of each), two end on one name, the container is missing, a value
        is not finite, or the file is known for another network's.
    """
    weights = keys if isinstance(keys, Weights) else Weights((), keys)
    place = _Place(module.state_dict(), file, architecture)
    try:
        fitting = place.find_published(checkpoint, weights.keys)
    except CheckpointError as error:
        fitting = _find_rewrapped(checkpoint, weights, place, others, error)
    for name, tensor in fitting.values():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{file} has a value in '{name}' that is not finite: download it again."
            )
    state: dict[str, Tensor] = {}
    for target, wanted in place.targets.items():
        if target in fitting:
            _, tensor = fitting[target]
            device = tensor.device if wanted.is_meta else wanted.device
            state[target] = tensor.detach().to(device, wanted.dtype).contiguous()
        else:
            is_float = wanted.is_floating_point()
            state[target] = torch.full_like(wanted, torch.nan) if is_float else wanted
    module.load_state_dict(state, strict=True, assign=True)


@dataclass(frozen=True)
class _Place:
    """Tensors to fill, and the file to fill them from."""

    targets: Mapping[str, Tensor]
    file: Path
    architecture: str

    def find_published(self, checkpoint: Mapping[str, Any], keys: KeyMapping) -> _Fitting:
        """Find the place of every tensor of the container that is published."""
        inside = checkpoint
        for key in keys.container:
            if not isinstance(inside.get(key), Mapping):
                there = some_of(list(map(str, inside)), _SHOWN) or "nothing"
                raise CheckpointError(
                    f"{self.file} has no tensors under '{key}', but {there}: {_REMEDY}."
                )
            inside = inside[key]
        return self.find(flat_tensors(inside, "/"), keys)

    def find(self, tensors: Mapping[str, Tensor], keys: KeyMapping) -> _Fitting:
        """Find the place of every tensor; what is left over, lacks or does not fit is an error."""
        renamed = {
            name: _renamed(name, keys) for name in tensors if not _matches(name, keys.unused)
        }
        if keys.in_order:
            renamed = self._in_order(renamed, tensors, keys)
        fitting: dict[str, tuple[str, Tensor]] = {}
        misshapen = []
        for name, target in renamed.items():
            if target not in self.targets:
                continue
            if target in fitting:
                raise CheckpointError(
                    f"{self.file} has several tensors for {target} ({fitting[target][0]}, {name}): "
                    "correct the renaming in the registry."
                )
            wanted = self.targets[target]
            tensor = _oriented(tensors[name], wanted) if keys.channels_last else tensors[name]
            fitting[target] = name, tensor
            if not _fits(tensor, wanted):
                misshapen.append(f"{name} {_described(tensor)} for {target} {_described(wanted)}")
        missing = [
            name
            for name in self.targets
            if name not in fitting
            and _kind(name) != _BATCH_COUNTER
            and not _matches(name, keys.absent)
        ]
        left_over = [name for name, target in renamed.items() if target not in self.targets]
        complaints = [
            f"{complaint} {some_of(names, _SHOWN)}"
            for complaint, names in (
                ("it lacks", missing),
                ("it has no place for", left_over),
                ("of another shape or type are", misshapen),
            )
            if names
        ]
        if complaints:
            raise CheckpointError(
                f"{self.file} does not fit {self.architecture} ({'; '.join(complaints)}): "
                f"{_REMEDY}."
            )
        self._require_own(tensors, keys)
        return fitting

    def _in_order(
        self, renamed: Mapping[str, str], tensors: Mapping[str, Tensor], keys: KeyMapping
    ) -> dict[str, str]:
        """Name the file's tensors as those of the architecture that stand at the same place."""
        counted = any(_kind(target) == _BATCH_COUNTER for target in renamed.values())
        wanted = [
            name
            for name in self.targets
            if not _matches(name, keys.absent) and (counted or _kind(name) != _BATCH_COUNTER)
        ]
        if len(renamed) != len(wanted):
            raise CheckpointError(
                f"{self.file} holds {len(renamed)} tensors but {self.architecture} has "
                f"{len(wanted)}: {_REMEDY}."
            )
        for (name, target), other in zip(renamed.items(), wanted, strict=True):
            if _kind(target) != _kind(other):
                raise CheckpointError(
                    f"{self.file} has {name} {_described(tensors[name])} where "
                    f"{self.architecture} has {other} {_described(self.targets[other])}: {_REMEDY}."
                )
        return dict(zip(renamed, wanted, strict=True))

    def _require_own(self, tensors: Mapping[str, Tensor], keys: KeyMapping) -> None:
        """Refuse a file of which the registry knows that it is another network's."""
        foreign = [name for name in tensors if _matches(name, keys.foreign)]
        wrong = []
        if foreign:
            wrong.append(f"it has {some_of(foreign, _SHOWN)}, which the published file lacks")
        for pattern, shape in keys.shapes:
            named = [name for name in tensors if re.fullmatch(pattern, name)]
            others = [
                f"{name} {_described(tensors[name])}"
                for name in named
                if tuple(tensors[name].shape) != shape
            ]
            if others or not named:
                has = some_of(others, _SHOWN) or f"no {pattern.replace(chr(92), '')}"
                published = " x ".join(map(str, shape))
                wrong.append(f"it has {has} but the published file has {published}")
        if wrong:
            raise _AnotherNetworkError(f"{self.file} is another network's ({wrong[0]}): {_REMEDY}.")


def _find_rewrapped(
    checkpoint: Mapping[str, Any],
    weights: Weights,
    place: _Place,
    others: Mapping[str, Weights],
    error: CheckpointError,
) -> _Fitting:
    """Find the tensors in another wrapping; if there is none the first error stands."""
    of_others = []
    for name, other in others.items():
        with suppress(CheckpointError):
            place.find_published(checkpoint, other.keys)
            of_others.append(name)
    if of_others:
        keys = weights.keys
        under = f"under '{'/'.join(keys.container)}'" if keys.container else "alone"
        named = f", with names that begin '{keys.prefix}'" if keys.prefix else ""
        raise _AnotherNetworkError(
            f"{place.file} has the form of {' or '.join(of_others[:_SHOWN])}, and no published "
            "hash identifies its weights: if they are the right ones, save the tensors "
            f"{under}{named}."
        ) from error
    found: list[tuple[str, _Fitting]] = []
    for where, tensors in wrappings(checkpoint, weights, len(place.targets)):
        for keys in layouts(weights):
            try:
                fitting = place.find(tensors, keys)
            except CheckpointError as reason:
                if isinstance(reason, _AnotherNetworkError):
                    error = reason
                continue
            if not any(_are_same(fitting, known) for _, known in found):
                found.append((where, fitting))
    if not found:
        raise error
    if len(found) > 1:
        places = " and ".join(f"'{where}'" for where, _ in found[:_SHOWN])
        raise CheckpointError(
            f"{place.file} holds several networks that fit {place.architecture}, under {places}: "
            "save only the tensors of the right one."
        )
    return found[0][1]


def _are_same(fitting: _Fitting, other: _Fitting) -> bool:
    return fitting.keys() == other.keys() and all(
        tensor is other[target][1] or torch.equal(tensor, other[target][1])
        for target, (_, tensor) in fitting.items()
    )


def _renamed(name: str, keys: KeyMapping) -> str:
    if not name.startswith(keys.prefix):
        return ""
    renamed = name.removeprefix(keys.prefix)
    for pattern, replacement in keys.rename:
        renamed = re.sub(pattern, replacement, renamed)
    return renamed


def _oriented(tensor: Tensor, target: Tensor) -> Tensor:
    """Give a view of a tensor of JAX or TensorFlow whose axes are in torch's order.

    Kernels (height, width, input, output) become (output, input, height, width), matrices (input,
    output) become (output, input); haiku's batch normalisation has (1, 1, 1, channels).
    """
    if target.ndim == 1 and tensor.ndim > 1 and tensor.shape[-1] == tensor.numel():
        return tensor.reshape(-1)
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    return tensor.T if tensor.ndim == 2 else tensor


def _kind(name: str) -> str:
    return re.split(r"[./]", name)[-1]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _fits(tensor: Tensor, target: Tensor) -> bool:
    is_plain = tensor.layout is torch.strided and not tensor.is_meta
    same_kind = tensor.is_floating_point() == target.is_floating_point()
    return is_plain and same_kind and tensor.shape == target.shape


def _described(tensor: Tensor) -> str:
    shape = " x ".join(map(str, tensor.shape)) or "one value"
    kind = f"{tensor.dtype}" if tensor.layout is torch.strided else f"{tensor.dtype}, sparse"
    return f"({shape}, {kind.removeprefix('torch.')})"
