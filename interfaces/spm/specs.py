"""What every step of SPM is told, beside its own inputs."""

from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, isdefined, traits

from interfaces.spm.launcher import DEFAULT_TIME_LIMIT, SpmLauncher, find_launcher


class SpmInputSpec(BaseInterfaceInputSpec):
    """Inputs of all SPM steps."""

    spm_command = traits.Str(
        nohash=True, desc="command that runs SPM, given 'script FILE.m'; default $SPMMCRCMD"
    )
    spm_version = traits.Str(desc="name and release; another one makes the step run again")
    time_limit = traits.Float(
        DEFAULT_TIME_LIMIT, usedefault=True, nohash=True, desc="of one SPM process (s)"
    )


def launcher_of(inputs: Any) -> SpmLauncher:
    """Give the launcher that a step's inputs name."""
    command = inputs.spm_command if isdefined(inputs.spm_command) else None
    return find_launcher(command, inputs.time_limit)
