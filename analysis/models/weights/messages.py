"""The sentences about files of weights that are missing: what, from where, and what to do."""

from collections.abc import Sequence

from conceptrsa.analysis.models.registry import Weights, WeightsFile
from conceptrsa.bids_config.errors import InputError

_SHOWN_DIGITS = 12


class CheckpointError(InputError):
    """A file is no checkpoint, or not that of the network."""


def describe_files(weights: Weights, licence: str) -> str:
    """Give what a reader needs to find all files of a model, with their addresses."""
    return " and ".join(
        describe_file(file, licence) + (f" from {file.url}" if file.url else "")
        for file in weights.files
    )


def describe_file(file: WeightsFile, licence: str) -> str:
    """Give what a reader needs to find a file elsewhere: name, size, SHA-256 and licence."""
    facts = [
        format_size(file.size) if file.size is not None else "size not published",
        f"SHA-256 {_shorten(file.sha256)}" if file.sha256 else "no SHA-256 published",
        f"licence: {licence or 'not stated'}",
    ]
    return f"{file.name} ({', '.join(facts)})"


def ask_for_copy(model: str, files: Sequence[WeightsFile]) -> str:
    """Give the option by which a local copy is named."""
    if len(files) > 1:
        return f"name the folder that holds the files by --weights '{model}=FOLDER'"
    return f"name a copy by --weights '{model}=PATH'"


def format_size(size: float) -> str:
    """Give a number of bytes in words: '98 MB'."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _shorten(sha256: str) -> str:
    return f"{sha256[:_SHOWN_DIGITS]}..." if len(sha256) > _SHOWN_DIGITS else f"{sha256}..."
