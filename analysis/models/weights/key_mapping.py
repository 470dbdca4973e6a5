"""From the tensors of a checkpoint to those of an architecture, with nothing lost on the way."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analysis.models.registry import KeyMapping
from analysis.models.weights.messages import CheckpointError
from analysis.models.weights.tensors import flat_tensors

_SHOWN = 3
_BATCH_COUNTER = "num_batches_tracked"
"""Counts the batches of training: older checkpoints lack it, and no feature needs it."""


@dataclass(frozen=True)
class _Source:
    """A tensor of the file: its name there, its name in the architecture ('' = none), and it."""

    name: str
    target: str
    tensor: Tensor


def fit_state(
    checkpoint: Mapping[str, Any],
    keys: KeyMapping,
    module: torch.nn.Module,
    file: Path,
    architecture: str,
) -> None:
    """Fill an architecture from a checkpoint, strictly as `KeyMapping` says.

    The module takes over the checkpoint's own tensors, so that weights are not held twice; they
    are converted to the types (half precision) and devices that the module has. Where a tensor may
    be absent and is, it becomes not a number: no layer behind it passes for one that was trained.

    Parameters
    ----------
    checkpoint : mapping
        What `read_checkpoint` gave: nested mappings, whose keys are joined by '/'. What is no
        tensor is passed over.
    keys : KeyMapping
        From the file's names to the architecture's.
    module : torch.nn.Module
        The architecture; it stays as it was where an error is raised.
    file : Path
        Where the checkpoint comes from, for messages.
    architecture : str
        What the module is, for messages.

    Raises
    ------
    CheckpointError
        Tensors are left over, missing, or of another shape or type than the architecture's (the
        message names the first of each), two end on one name, the container is missing, or a value
        is not finite.
    """
    targets = module.state_dict()
    sources = _sources(_container(checkpoint, keys.container, file), keys, file)
    if keys.in_order:
        sources = _named_in_order(sources, targets, keys, file, architecture)
    _require_one_each(sources, file)
    fitting = {
        source.target: (source.name, _oriented(source.tensor, targets[source.target], keys))
        for source in sources
        if source.target in targets
    }
    left_over = [source.name for source in sources if source.target not in targets]
    missing = [name for name in targets if name not in fitting and not _may_be_absent(name, keys)]
    misshapen = [
        f"{name} {_described(tensor)} for {target} {_described(targets[target])}"
        for target, (name, tensor) in fitting.items()
        if not _fits(tensor, targets[target])
    ]
    if left_over or missing or misshapen:
        complaints = (
            _listed("it lacks", missing),
            _listed("it has no place for", left_over),
            _listed("of another shape or type are", misshapen),
        )
        raise CheckpointError(
            f"{file} does not fit {architecture} ({'; '.join(filter(None, complaints))}): give the "
            "weights of this very network."
        )
    for name, tensor in fitting.values():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{file} has a value in '{name}' that is not finite: download it again."
            )
    filled = {
        target: _converted(tensor, targets[target]) for target, (_, tensor) in fitting.items()
    }
    absent = {
        target: _not_a_number(tensor) for target, tensor in targets.items() if target not in filled
    }
    module.load_state_dict({**absent, **filled}, strict=True, assign=True)


def _container(
    checkpoint: Mapping[str, Any], container: Sequence[str], file: Path
) -> Mapping[str, Any]:
    inside = checkpoint
    for key in container:
        if not isinstance(inside.get(key), Mapping):
            raise CheckpointError(
                f"{file} has no tensors under '{key}'{_listed(', but', list(inside))}: give the "
                "weights of this very network."
            )
        inside = inside[key]
    return inside


def _sources(tree: Mapping[str, Any], keys: KeyMapping, file: Path) -> list[_Source]:
    """Name the file's tensors as the architecture does, without those that are not needed."""
    try:
        tensors = flat_tensors(tree, "/")
    except ValueError as error:
        raise CheckpointError(f"{file} is no checkpoint ({error}): download it again.") from error
    return [
        _Source(name, _renamed(name, keys), tensor)
        for name, tensor in tensors.items()
        if not _matches(name, keys.unused)
    ]


def _renamed(name: str, keys: KeyMapping) -> str:
    if not name.startswith(keys.prefix):
        return ""
    renamed = name.removeprefix(keys.prefix)
    for pattern, replacement in keys.rename:
        renamed = re.sub(pattern, replacement, renamed)
    return renamed


def _named_in_order(
    sources: Sequence[_Source],
    targets: Mapping[str, Tensor],
    keys: KeyMapping,
    file: Path,
    architecture: str,
) -> list[_Source]:
    """Name the tensors of the file as those of the architecture that stand at the same place."""
    counted = any(_kind(source.target) == _BATCH_COUNTER for source in sources)
    wanted = [
        name
        for name in targets
        if not _matches(name, keys.absent) and (counted or _kind(name) != _BATCH_COUNTER)
    ]
    if len(sources) != len(wanted):
        raise CheckpointError(
            f"{file} holds {len(sources)} tensors where {architecture} has {len(wanted)}: give the "
            "weights of this very network."
        )
    for source, name in zip(sources, wanted, strict=True):
        tensor = _oriented(source.tensor, targets[name], keys)
        if not _fits(tensor, targets[name]) or _kind(source.target) != _kind(name):
            raise CheckpointError(
                f"{file} has {source.name} {_described(tensor)} where {architecture} has {name} "
                f"{_described(targets[name])}: give the weights of this very network."
            )
    return [
        _Source(source.name, name, source.tensor)
        for source, name in zip(sources, wanted, strict=True)
    ]


def _require_one_each(sources: Sequence[_Source], file: Path) -> None:
    counts = Counter(source.target for source in sources if source.target)
    twice = [target for target, count in counts.items() if count > 1]
    if twice:
        names = [source.name for source in sources if source.target == twice[0]]
        raise CheckpointError(
            f"{file} has several tensors for {twice[0]} ({', '.join(names[:_SHOWN])}): correct the "
            "renaming in the registry."
        )


def _oriented(tensor: Tensor, target: Tensor, keys: KeyMapping) -> Tensor:
    """Give a view of a tensor whose axes are in torch's order.

    Kernels (height, width, input, output) become (output, input, height, width), matrices (input,
    output) become (output, input); haiku's batch normalisation has (1, 1, 1, channels).
    """
    if not keys.channels_last:
        return tensor
    if target.ndim == 1 and tensor.ndim > 1 and tensor.shape[-1] == tensor.numel():
        return tensor.reshape(-1)
    if tensor.ndim == 4:
        return tensor.permute(3, 2, 0, 1)
    return tensor.T if tensor.ndim == 2 else tensor


def _kind(name: str) -> str:
    return re.split(r"[./]", name)[-1]


def _may_be_absent(name: str, keys: KeyMapping) -> bool:
    return _kind(name) == _BATCH_COUNTER or _matches(name, keys.absent)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


def _fits(tensor: Tensor, target: Tensor) -> bool:
    is_plain = tensor.layout is torch.strided and not tensor.is_meta
    same_kind = tensor.is_floating_point() == target.is_floating_point()
    return is_plain and same_kind and tensor.shape == target.shape


def _converted(tensor: Tensor, target: Tensor) -> Tensor:
    device = tensor.device if target.is_meta else target.device
    return tensor.detach().to(device, target.dtype).contiguous()


def _not_a_number(tensor: Tensor) -> Tensor:
    return torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else tensor


def _described(tensor: Tensor) -> str:
    shape = " x ".join(map(str, tensor.shape)) or "one value"
    kind = f"{tensor.dtype}" if tensor.layout is torch.strided else f"{tensor.dtype}, sparse"
    return f"({shape}, {kind.removeprefix('torch.')})"


def _listed(beginning: str, names: Sequence[str]) -> str:
    """Give 'it lacks a, b, c and 5 more', or nothing where there are no names."""
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{beginning} {', '.join(map(str, names[:_SHOWN]))}{more}"
