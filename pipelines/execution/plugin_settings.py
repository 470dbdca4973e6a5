"""Which nipype plugin runs the steps, from `--plugin` and from the file of `--use-plugin`."""

import json
import logging
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import did_you_mean

PLUGINS = ("MultiProc", "Linear", "SLURM")
_SAME_AS = {"LegacyMultiProc": "MultiProc"}
_WITHOUT_EFFECT = ("maxtasksperchild", "mp_context", "non_daemon", "scheduler")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SlurmSettings:
    """What the jobs of a run on Slurm have in common.

    Attributes
    ----------
    sbatch_args : tuple of str
        Options of sbatch; they come after those that are worked out for a step, and win.
    template : str
        Beginning of every job's script, from `#!` on.
    max_jobs : int, optional
        Jobs of this run in the queue at once; None: no limit.
    max_tries : int
        How often a job is submitted while Slurm cannot be reached.
    retry_timeout : float
        Seconds between two tries.
    """

    sbatch_args: tuple[str, ...] = ()
    template: str = "#!/bin/bash"
    max_jobs: int | None = None
    max_tries: int = 10
    retry_timeout: float = 6.0


@dataclass(frozen=True)
class PluginSettings:
    """Where the steps run.

    Attributes
    ----------
    n_procs : int, optional
        Local processes at once; None: as the other options say.
    memory_gb : float, optional
        Memory of all together; None: as the other options say.
    slurm : SlurmSettings, optional
        Every step is a job of Slurm; None: a local process.
    """

    n_procs: int | None = None
    memory_gb: float | None = None
    slurm: SlurmSettings | None = None


def read_plugin(name: str | None, file: Path | None) -> PluginSettings:
    """Take the plugin by its name, or name and arguments from a file as fMRIPrep's users have.

    Parameters
    ----------
    name : str, optional
        One of `PLUGINS`.
    file : Path, optional
        YAML or JSON: `plugin`, a name, and `plugin_args`, a mapping. It is read as plain data.

    Raises
    ------
    InputError
        If both are given and differ, or the file does not say what is expected.
    """
    arguments: Mapping[str, Any] = {}
    place = "--plugin"
    if file is not None:
        place = str(file)
        named, arguments = _read_file(file)
        if name is not None and named != name:
            raise InputError(
                f"{file}: its plugin is {named}, but --plugin says {name}; leave --plugin out"
            )
        name = named
    take = _Arguments(place, arguments)
    if name == "SLURM":
        settings = PluginSettings(slurm=_slurm_settings(take))
    elif name == "Linear":
        settings = PluginSettings(n_procs=1)
    else:
        settings = PluginSettings(
            take("n_procs", None, _count), take("memory_gb", None, _positive_number)
        )
        take("raise_insufficient", None, _boolean)
    take.nothing_else(name or "MultiProc")
    return settings


def _slurm_settings(take: "_Arguments") -> SlurmSettings:
    default = SlurmSettings()
    return SlurmSettings(
        sbatch_args=take("sbatch_args", default.sbatch_args, _sbatch_words),
        template=take("template", default.template, _script),
        max_jobs=take("max_jobs", None, _count),
        max_tries=take("max_tries", default.max_tries, _count),
        retry_timeout=take("retry_timeout", default.retry_timeout, _positive_number),
    )


def _read_file(file: Path) -> tuple[str, Mapping[str, Any]]:
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; name a file that can be read") from error
    except (UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError) as error:
        first_line = str(error).splitlines()[0]
        raise InputError(
            f"{file}: no YAML or JSON of plain data ({first_line}); write 'plugin: NAME' and "
            "'plugin_args:' with names and values"
        ) from error
    if not isinstance(content, dict) or not set(content) <= {"plugin", "plugin_args"}:
        raise InputError(f"{file}: has to consist of 'plugin' and 'plugin_args'; mend it")
    name = content.get("plugin", "MultiProc")
    name = _SAME_AS.get(name, name) if isinstance(name, str) else name
    if name not in PLUGINS:
        close = did_you_mean(str(name), PLUGINS)
        raise InputError(
            f"{file}: no plugin {name!r} here{close}; choose one of {', '.join(PLUGINS)}"
        )
    arguments = content.get("plugin_args") or {}
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise InputError(f"{file}: 'plugin_args' has to hold names and values; mend it")
    return name, arguments


class _Arguments:
    """The arguments of a plugin, taken one after the other."""

    def __init__(self, place: str, arguments: Mapping[str, Any]) -> None:
        self._place = place
        self._left = dict(arguments)
        self._taken: list[str] = []

    def __call__(self, name: str, default: Any, convert: Callable[[Any], Any]) -> Any:
        self._taken.append(name)
        value = self._left.pop(name, None)
        if value is None:
            return default
        try:
            return convert(value)
        except ValueError as error:
            raise InputError(f"{self._place}: {name} {error}; mend it") from error

    def nothing_else(self, plugin: str) -> None:
        for name in _WITHOUT_EFFECT:
            if self._left.pop(name, None) is not None:
                log.info("%s: %s has no effect here", self._place, name)
        if self._left:
            known = ", ".join(self._taken) or "none"
            raise InputError(
                f"{self._place}: {plugin} has no argument {next(iter(self._left))!r}; "
                f"those it has: {known}"
            )


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"is {value!r} and has to be a whole number from 1 on")
    return value


def _positive_number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e9:
        raise ValueError(f"is {value!r} and has to be a number above 0")
    return float(value)


def _boolean(value: object) -> bool:
    if value is not False:
        raise ValueError("has to be false: a step above the limit runs alone")
    return value


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise ValueError(f"is {value!r} and has to be text, as on the command line of sbatch")
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"cannot be split into words ({error})") from error


def _sbatch_words(value: object) -> tuple[str, ...]:
    words = _words(value)
    if any(word.startswith(("-M", "--clusters")) for word in words):
        # squeue and scancel would look for the jobs on this cluster.
        raise ValueError("names a cluster; set SLURM_CLUSTERS in the environment instead")
    return words


def _script(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("has to be the beginning of a script, or a file that holds it")
    text = value
    if not value.startswith("#!"):
        try:
            text = Path(value).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ValueError("names no file that can be read, and is no script itself") from error
    if not text.startswith("#!"):
        raise ValueError("has to begin with '#!', as '#!/bin/bash'")
    return text.rstrip("\n")
