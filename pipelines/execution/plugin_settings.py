"""Read the nipype plugin from `--plugin` and the file of `--use-plugin`."""

import json
import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import did_you_mean
from conceptrsa.bids_config.reader import read_table
from conceptrsa.pipelines.participant_options import SlurmSettings

PLUGINS = ("MultiProc", "Linear", "SLURM")
_SAME_AS = {"LegacyMultiProc": "MultiProc"}
_WITHOUT_EFFECT = ("maxtasksperchild", "mp_context", "non_daemon", "scheduler")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PluginSettings:
    """Settings of the nipype plugin.

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


@dataclass(frozen=True)
class _MultiProcArguments:
    n_procs: int | None = None
    memory_gb: float | None = None
    raise_insufficient: bool = False


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
    arguments: dict[str, Any] = {}
    try:
        if file is not None:
            named, arguments = _read_file(file)
            if name not in (None, named):
                raise InputError(
                    f"its plugin is {named}, but --plugin says {name}; leave --plugin out"
                )
            name = named
        return _settings_of(name, arguments)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _settings_of(name: str | None, arguments: Mapping[str, Any]) -> PluginSettings:
    if name == "SLURM":
        slurm = read_table(SlurmSettings, arguments)
        _require_positive(slurm, "max_jobs", "max_tries", "retry_timeout")
        _require_sbatch_words(slurm.sbatch_args)
        return PluginSettings(slurm=replace(slurm, template=_read_script(slurm.template)))
    if name == "Linear":
        if arguments:
            raise InputError(f"Linear has no argument {next(iter(arguments))!r}; leave it out")
        return PluginSettings(n_procs=1)
    local = read_table(_MultiProcArguments, arguments)
    _require_positive(local, "n_procs", "memory_gb")
    if local.raise_insufficient:
        raise InputError(
            "raise_insufficient must be false, because a step above the limit runs alone"
        )
    return PluginSettings(local.n_procs, local.memory_gb)


def _read_file(file: Path) -> tuple[str, dict[str, Any]]:
    """Give a plugin's name and those of its arguments that say something."""
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{error.strerror}; give a file that can be read") from error
    except (UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError) as error:
        first_line = str(error).splitlines()[0]
        raise InputError(
            f"not plain YAML or JSON ({first_line}); write 'plugin: NAME' and "
            "'plugin_args:' with names and values"
        ) from error
    if not isinstance(content, dict) or not set(content) <= {"plugin", "plugin_args"}:
        raise InputError("must hold just 'plugin' and 'plugin_args'; correct it")
    name = content.get("plugin", "MultiProc")
    name = _SAME_AS.get(name, name) if isinstance(name, str) else name
    if name not in PLUGINS:
        close = did_you_mean(str(name), PLUGINS)
        raise InputError(f"no plugin {name!r} here{close}; choose one of {', '.join(PLUGINS)}")
    arguments = content.get("plugin_args") or {}
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise InputError("'plugin_args' must hold names and values; correct it")
    arguments = {key: value for key, value in arguments.items() if value not in (None, "")}
    for key in _WITHOUT_EFFECT:
        if arguments.pop(key, None) is not None:
            log.info("%s: %s has no effect here", file, key)
    return name, arguments


def _require_positive(settings: object, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 < value < 1e9:
            raise InputError(f"{name} = {value!r} must be a number above 0")


def _require_sbatch_words(text: str) -> None:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"sbatch_args cannot be split into words ({error}); correct it") from error
    if any(word.startswith(("-M", "--clusters")) for word in words):
        # squeue and scancel would look for the jobs on this cluster.
        raise InputError("sbatch_args names a cluster; set SLURM_CLUSTERS in the environment")


def _read_script(template: str) -> str:
    """Give the beginning of a script, or what the file holds that is named in its place."""
    text = template
    if not template.startswith("#!"):
        try:
            text = Path(template).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError("template is neither a readable file nor a script") from error
    if not text.startswith("#!"):
        raise InputError("template must begin with '#!', such as '#!/bin/bash'")
    return text.rstrip("\n")
