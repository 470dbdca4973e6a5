"""Other wrappings of the same tensors: nested deeper, or with something before every name."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import accumulate
from os.path import commonprefix
from typing import Any

from torch import Tensor

from conceptrsa.analysis.models.registry import KeyMapping, Weights
from conceptrsa.analysis.models.weights.tensors import flat_tensors

_DEEPEST = 3
"""Mappings within mappings: `{"model": {"state_dict": {...}}}`."""
_PARALLEL = "module."
"""Prefix that DataParallel adds to every name."""


def wrappings(
    checkpoint: Mapping[str, Any], weights: Weights, n_wanted: int
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Give sets of tensors that may be a network's, with where in the file each of them is.

    Parameters
    ----------
    checkpoint : mapping
        What `read_checkpoint` gave.
    weights : Weights
        Says whether the published names begin with DataParallel's word.
    n_wanted : int
        Tensors of the architecture: sets of less than half as many are passed over, since
        thousands of modules hold two or three each.
    """
    keys = (weights.keys, *weights.layouts)
    unused = "|".join(pattern for mapping in keys for pattern in mapping.unused)
    may_be_parallel = any(mapping.prefix.startswith(_PARALLEL) for mapping in keys)
    for place, tree in _trees(checkpoint):
        tensors = flat_tensors(tree, "/")
        if not tensors or 2 * len(tensors) < n_wanted:
            continue
        for inside in _bare(tensors):
            yield place, inside
            for beginning in _beginnings(inside, n_wanted):
                others = [name for name in inside if not name.startswith(beginning)]
                if all(re.fullmatch(unused, name) for name in others):
                    yield (
                        f"{place}/{beginning}".strip("/"),
                        {
                            name.removeprefix(beginning): tensor
                            for name, tensor in inside.items()
                            if name.startswith(beginning)
                        },
                    )
            if may_be_parallel:
                yield place, {f"{_PARALLEL}{name}": tensor for name, tensor in inside.items()}


def layouts(weights: Weights) -> Iterator[KeyMapping]:
    """Give every way to name a set of tensors, with the published prefix and without."""
    for keys in (weights.keys, *weights.layouts):
        for prefix in dict.fromkeys((keys.prefix, "")):
            yield replace(keys, container=(), prefix=prefix)


def _trees(
    tree: Mapping[str, Any], place: str = "", depth: int = 0
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield place, tree
    if depth < _DEEPEST:
        for key, inside in tree.items():
            if isinstance(inside, Mapping):
                yield from _trees(inside, f"{place}/{key}".strip("/"), depth + 1)


def _bare(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Give the tensors as they are, and without what all names begin with."""
    yield tensors
    parts = [name.split(".")[:-1] for name in tensors]
    shared = commonprefix(parts)  # noqa: RUF071 (of lists it compares items)
    if shared:
        beginning = f"{'.'.join(shared)}."
        yield {name.removeprefix(beginning): tensor for name, tensor in tensors.items()}


def _beginnings(tensors: Mapping[str, Tensor], n_wanted: int) -> list[str]:
    """Give what the names of many tensors begin with: 'module.', 'module.visual.'."""
    counts = Counter(
        beginning
        for name in tensors
        for beginning in accumulate(f"{part}." for part in name.split(".")[:-1][:_DEEPEST])
    )
    return [beginning for beginning, count in counts.items() if 2 * count >= n_wanted]
