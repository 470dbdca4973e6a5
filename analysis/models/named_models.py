"""Models of torchvision, timm, open_clip and transformers by the names that these give them.

A library is asked once what a name stands for, and the answer is remembered: while it holds, a
model can be found, and its features taken from a cache, without importing any network library.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conceptrsa.analysis.models.feature_files import file_stem
from conceptrsa.analysis.models.registry import (
    CONFIGURATION,
    HUB,
    LIBRARIES,
    ModelEntry,
    Weights,
    hub_file,
    versions_of,
)
from conceptrsa.analysis.models.weights.locate import obtain_weights
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.reader import read_table
from conceptrsa.bids_config.writing import write_text

MEMORY_VERSION = 1
"""Raised when the same answer of a library becomes another entry."""


def is_named(name: str) -> bool:
    """Tell whether a name is that of a library's model, as 'timm:resnet18' is."""
    library, colon, _ = name.partition(":")
    return bool(colon) and library in LIBRARIES


def describe_named(name: str, memory: Path, weights: WeightsOptions) -> ModelEntry:
    """Describe a library's model as the registry describes its own.

    Parameters
    ----------
    name : str
        `torchvision:NAME[/WEIGHTS]`, `timm:NAME[.TAG]`, `open_clip:NAME/TAG` (what sees pictures),
        `open_clip_text:NAME/TAG` (what reads texts), `hf:ORG/NAME` (transformers; of a model of
        pictures and texts what sees pictures) or `hf_text:ORG/NAME` (what reads texts).
    memory : Path
        Folder of the answers, one JSON file per model and set of libraries' versions.
    weights : WeightsOptions
        Where files are; a model of transformers cannot be described without its configuration.

    Returns
    -------
    ModelEntry
        Called as it was asked for.

    Raises
    ------
    InputError
        There is no such model or no pretrained weights of it, it cannot be run on still pictures
        or single texts, a library is not installed, or the configuration cannot be had.
    """
    kind, _, model = name.partition(":")
    if not model:
        raise InputError(f"'{name}' names no model: write one after the colon (docs/models.md).")
    origin: dict[str, Any] = {
        "version": MEMORY_VERSION,
        "name": name,
        "libraries": versions_of(LIBRARIES[kind], name),
    }
    if kind.startswith("hf"):
        if model.count("/") != 1:
            raise InputError(f"'{name}' is not a repository on {HUB}: write {kind}:ORG/NAME.")
        configuration = Weights((hub_file(model, CONFIGURATION),))
        (file,) = obtain_weights(name, configuration, weights, thorough=False)
        origin["configuration"] = file.sha256
    digest = hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()
    file_of_memory = memory / f"{file_stem(name)}-{digest[:16]}.json"
    entry = _recall(file_of_memory, name)
    if entry is None:
        # Imported late: it brings torch, which a remembered answer does without.
        from conceptrsa.analysis.models.networks.named_networks import module_of

        described: ModelEntry = module_of(kind).describe(name, kind, model, weights)
        entry = described
        remembered = {**origin, "entry": asdict(entry, dict_factory=_filled)}
        with suppress(OSError):
            write_text(file_of_memory, json.dumps(remembered, indent=1))
    return entry


def _recall(file: Path, name: str) -> ModelEntry | None:
    """Read what is remembered; a damaged file is as good as none."""
    try:
        entry = read_table(ModelEntry, json.loads(file.read_text(encoding="utf-8"))["entry"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, InputError):
        return None
    return entry if entry.name == name else None


def _filled(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make the table of a dataclass as `read_table` takes it: without what says nothing."""
    return {name: value for name, value in items if value not in (None, "")}
