"""What every step of FreeSurfer is told, beside its own inputs."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, Directory, File, isdefined, traits

from interfaces.freesurfer.command import Session
from interfaces.freesurfer.installation import find_freesurfer, find_license

DEFAULT_TIME_LIMIT = 3 * 3600.0


class FreeSurferInputSpec(BaseInterfaceInputSpec):
    """Inputs of all FreeSurfer steps."""

    subjects_dir = Directory(mandatory=True, desc="folder of the reconstructions")
    license_file = File(nohash=True, desc="default $FS_LICENSE, $FREESURFER_HOME/license.txt")
    freesurfer_version = traits.Str(desc="another one makes the step run again")
    time_limit = traits.Float(
        DEFAULT_TIME_LIMIT, usedefault=True, nohash=True, desc="of one FreeSurfer program (s)"
    )
    n_threads = traits.Range(
        low=1, value=1, usedefault=True, nohash=True, desc="processors of one program"
    )


def session_of(inputs: Any, subjects_dir: Path) -> Session:
    """Give what a step's inputs say of FreeSurfer.

    Parameters
    ----------
    inputs : FreeSurferInputSpec
    subjects_dir : Path
        By a path without blanks and quotes.

    Raises
    ------
    InputError
        If FreeSurfer or its licence is not there.
    """
    license_file = Path(inputs.license_file) if isdefined(inputs.license_file) else None
    return Session(
        find_freesurfer(),
        subjects_dir,
        find_license(license_file),
        inputs.time_limit,
        inputs.n_threads,
    )
