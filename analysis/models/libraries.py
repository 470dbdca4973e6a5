"""Versions of the libraries that features depend on."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from bids_config.errors import InputError


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
