"""Which interface does which step: the engine chooses it, never the shape of the workflow."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bids_config.errors import InputError


@dataclass(frozen=True)
class Engine:
    """The interfaces behind the steps that an engine may do in its own way.

    Attributes
    ----------
    name : str
        As given on the command line.
    slice_timing, realign, coregister, normalize, estimate_betas : callable
        Each makes a fresh nipype interface; all engines' interfaces for a step share the names of
        the inputs and outputs that the workflows connect.
    """

    name: str
    slice_timing: Callable[[], Any]
    realign: Callable[[], Any]
    coregister: Callable[[], Any]
    normalize: Callable[[], Any]
    estimate_betas: Callable[[], Any]


def _python_engine() -> Engine:
    from interfaces.coregister import Coregister
    from interfaces.glm import EstimateBetas
    from interfaces.normalize import Normalize
    from interfaces.realign import Realign
    from interfaces.slice_timing import SliceTiming

    return Engine("python", SliceTiming, Realign, Coregister, Normalize, EstimateBetas)


_ENGINES: dict[str, Callable[[], Engine]] = {"python": _python_engine}


def get_engine(name: str) -> Engine:
    """Look an engine up by name.

    Raises
    ------
    InputError
        If there is no engine of that name.
    """
    if name not in _ENGINES:
        raise InputError(f"there is no engine '{name}'; use one of: {', '.join(_ENGINES)}")
    return _ENGINES[name]()
