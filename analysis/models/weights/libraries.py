"""Folders in which other libraries keep files of weights that they downloaded."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from analysis.models.registry import Weights

_HUB = "huggingface.co"
_COMMIT = re.compile("[0-9a-f]{40}")
_COMMON_STEMS = ("model", "pytorch_model", "open_clip_model", "open_clip_pytorch_model", "weights")


def names_are_telling(weights: Weights) -> bool:
    """Whether the file's name tells whose it is: many repositories hold a 'model.safetensors'."""
    names = [PurePosixPath(file.name).stem for file in weights.files]
    return len(names) == 1 and names[0] not in _COMMON_STEMS


def library_folders(
    weights: Weights, environment: Mapping[str, str] = os.environ
) -> Iterator[Path]:
    """Give the folders that may hold the files: torch hub's, CLIP's, and Hugging Face's."""
    caches = Path(environment.get("XDG_CACHE_HOME") or "~/.cache")
    torch = Path(environment.get("TORCH_HOME") or caches / "torch")
    flat = [torch / "hub" / "checkpoints", Path("~/.cache/clip"), caches / "clip"]
    if names_are_telling(weights):
        yield from dict.fromkeys(folder.expanduser() for folder in flat)
    home = Path(environment.get("HF_HOME") or caches / "huggingface")
    hub = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    yield from _snapshots(weights, Path(hub or home / "hub").expanduser())


def _snapshots(weights: Weights, hub: Path) -> Iterator[Path]:
    """Give the stored revisions of a repository: the one that the address names comes first."""
    address = urlsplit(weights.files[0].url)
    repository, _, rest = unquote(address.path).strip("/").partition("/resolve/")
    if address.hostname != _HUB or not rest:
        return
    revision = rest.split("/")[0]
    folder = hub / f"models--{repository.replace('/', '--')}"
    try:
        named = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        named = revision
    yield folder / "snapshots" / named
    if _COMMIT.fullmatch(revision):
        return
    try:
        others = sorted((folder / "snapshots").iterdir())
    except OSError:
        return
    yield from (other for other in others if other.name != named)
