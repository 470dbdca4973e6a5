"""Where files of weights are looked for, as a user says it."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.toml_tables import did_you_mean

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightsOptions:
    """Where files of weights are, and what may be done to get them.

    Attributes
    ----------
    cache : Path
        Folder in which downloads are kept.
    given : mapping of str to Path
        Model to its file of weights, or to the folder of its files (`--weights`).
    folder : Path, optional
        Holds files under their official names, or sub-folders named after models
        (`--weights-dir`).
    offline : bool
        Nothing is downloaded.
    accept_unverified : bool
        Take files that differ from those that were published (`--accept-unverified-weights`).
    """

    cache: Path
    given: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None
    offline: bool = False
    accept_unverified: bool = False
    _warned: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def warn(self, text: str) -> None:
        """Say something about a file once, however often the file is looked at."""
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s", text)


def read_given(arguments: Iterable[str]) -> dict[str, Path]:
    """Read `NAME=PATH` of `--weights` options.

    Raises
    ------
    InputError
        One is not of that form, or a model is named twice.
    """
    given: dict[str, Path] = {}
    for argument in arguments:
        name, _, path = argument.partition("=")
        if not name or not path:
            raise InputError(f"--weights {argument}: write it as NAME=PATH, model and file.")
        if name.lower() in (other.lower() for other in given):
            raise InputError(f"--weights names {name} twice: give one path for each model.")
        given[name] = Path(path)
    return given


def require_given_asked(options: WeightsOptions, names: Iterable[str]) -> None:
    """Check that paths were given only for models that are asked for.

    Raises
    ------
    InputError
        `--weights` names another model.
    """
    asked = {name.lower(): name for name in names}
    for name in options.given:
        if name.lower() not in asked:
            raise InputError(
                f"--weights names {name!r}, which is none of the models that are asked for"
                f"{did_you_mean(name, asked.values())}: they are {', '.join(asked.values())}."
            )
