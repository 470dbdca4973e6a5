"""Libraries whose models are known by name, and versions of those that features depend on."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from bids_config.errors import InputError

LIBRARIES: dict[str, tuple[str, ...]] = {
    "torchvision": ("pillow", "torch", "torchvision"),
    "timm": ("pillow", "timm", "torch", "torchvision"),
    "open_clip": ("open_clip_torch", "pillow", "timm", "torch", "torchvision"),
    "open_clip_text": ("ftfy", "open_clip_torch", "regex", "torch"),
    "hf": ("pillow", "torch", "transformers"),
    "hf_text": ("tokenizers", "torch", "transformers"),
}
"""What a name begins with, before its colon, and the distributions that the model depends on."""


def versions_of(libraries: Iterable[str], model: str) -> dict[str, str]:
    """Give the versions of the distributions that a model's numbers depend on.

    Raises
    ------
    InputError
        One is not installed.
    """
    return {library: _version(library, model) for library in libraries}


def _version(library: str, model: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        raise InputError(
            f"{model} needs the library {library}, which is not installed: "
            "pip install 'conceptrsa[networks]'."
        ) from None
