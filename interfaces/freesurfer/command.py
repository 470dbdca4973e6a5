"""Running the command lines that nipype's FreeSurfer interfaces make.

nipype gives a command line to a shell without quoting its paths, lets standard input open, and
takes a program that ends with exit code 0 at its word. So the command line is nipype's, and
running it and looking at what it left is this module's.
"""

import os
import platform
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nipype.interfaces import freesurfer
from nipype.interfaces.base import Directory, File, isdefined, traits

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.freesurfer.installation import (
    HOME_VARIABLE,
    LICENSE_VARIABLE,
    FreeSurfer,
    find_freesurfer,
    find_license,
)
from conceptrsa.interfaces.programs import (
    StoppedError,
    Written,
    plain_folder,
    remove_all,
    run_logged,
)
from conceptrsa.interfaces.python.step import Step

_TROUBLE = re.compile(
    r"error|cannot|could not|no such|not found|killed|fault|abort|licen[cs]e", re.IGNORECASE
)
_TAIL_BYTES = 1 << 16
_LONGEST_MESSAGE = 400


@dataclass(frozen=True)
class Session:
    """Inputs of every FreeSurfer program, besides its arguments.

    Attributes
    ----------
    freesurfer : FreeSurfer
    folder : Path
        Working directory, by a path without blanks and quotes, as all paths in the inputs.
    subjects_dir : Path
        Likewise.
    license_file : Path
    time_limit : float
        Time limit of one program, in seconds.
    n_threads : int
        Processors that it may use.
    """

    freesurfer: FreeSurfer
    folder: Path
    subjects_dir: Path
    license_file: Path
    time_limit: float
    n_threads: int

    def environment(self) -> dict[str, str]:
        """Variables that are set for the program; those of SetUpFreeSurfer.sh where it was not run.

        `FS_OVERRIDE` keeps FreeSurfer's scripts from replacing them; ITK's programs take every
        processor unless told otherwise.
        """
        minc = self.freesurfer.home / "mni"
        defaults = {
            "MNI_DIR": minc,
            "MINC_BIN_DIR": minc / "bin",
            "MINC_LIB_DIR": minc / "lib",
            "MNI_DATAPATH": minc / "data",
            "OS": platform.system(),
            "FSF_OUTPUT_FORMAT": "nii.gz",
        }
        return {
            **{name: str(value) for name, value in defaults.items() if name not in os.environ},
            HOME_VARIABLE: str(self.freesurfer.home),
            "SUBJECTS_DIR": str(self.subjects_dir),
            LICENSE_VARIABLE: str(self.license_file),
            "PATH": self.freesurfer.search_path(),
            # Before the user's own, whose modules are not those that recon-all's scripts ask for.
            "PERL5LIB": os.pathsep.join(
                filter(None, [str(minc / "share" / "perl5"), os.environ.get("PERL5LIB")])
            ),
            "FS_OVERRIDE": "0",
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(self.n_threads),
        }


class FreeSurferJob:
    """Mixin for a nipype FreeSurfer interface: its command line, run so that it cannot lie."""

    # Without it nipype looks for $SUBJECTS_DIR, and fails where FreeSurfer is but that is not set.
    _subjects_dir = os.sep

    @property
    def version(self) -> None:
        """Unknown here: nipype knows only some of the ways in which FreeSurfer writes it."""
        return None

    def run_in(self, session: Session, outputs: Sequence[Path] = (), log_name: str = "") -> None:
        """Run the program to its end, and make sure that it wrote what it should.

        Parameters
        ----------
        session : Session
        outputs : sequence of Path
            Files that it must write; what stands there before is removed.
        log_name : str
            Name of the log in the working directory, without its suffix; the program's by default.

        Raises
        ------
        StepError
            If it cannot be started, fails or leaves an output out.
        StoppedError
            If it is killed or takes too long.
        InputError
            If the program is not installed.
        """
        name, *arguments = shlex.split(self.cmdline)  # type: ignore[attr-defined]
        title = f"FreeSurfer's {name}"
        program = str(session.freesurfer.program(name))
        log = session.folder / f"{log_name or name}.log"
        remove_all(outputs)
        written = Written(outputs)
        code = run_logged(
            [program, *arguments],
            session.folder,
            log,
            session.time_limit,
            session.n_threads,
            session.environment(),
            title=title,
            option="--fs-time-limit",
        )
        said = f"{_last_words(log)}; see {log.resolve()}."
        if code < 0:
            raise StoppedError(f"{title} was killed (signal {-code}){said}")
        if code > 0:
            raise StepError(f"{title} failed (exit code {code}){said}")
        written.require(title, said)


def _last_words(log: Path) -> str:
    """Give FreeSurfer's last line about an error, else its last line."""
    text = log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if _TROUBLE.search(line)] or lines
    words = " / ".join(telling[-3:])[-_LONGEST_MESSAGE:]
    return f": {words}" if words else ""


class HeaderRegistrationJob(FreeSurferJob, freesurfer.Tkregister2):
    """`tkregister2 --regheader --noedit`, which only calculates."""


class BoundaryRegistrationJob(FreeSurferJob, freesurfer.BBRegister):
    """`bbregister`."""


class ResamplingJob(FreeSurferJob, freesurfer.ApplyVolTransform):
    """`mri_vol2vol`."""


class ReconstructionJob(FreeSurferJob, freesurfer.ReconAll):
    """`recon-all`, the whole of it.

    nipype's own way of going on leaves out every step whose outputs exist, though one that was
    killed may have left half of one, and drops the input image as soon as there is an `mri`
    folder.
    """

    def _is_resuming(self) -> bool:
        return False


DEFAULT_TIME_LIMIT = 3 * 3600.0


class FreeSurferStep(Step):
    """Runs programs of FreeSurfer."""

    subjects_dir = Directory(mandatory=True, desc="folder of the reconstructions")
    subject = traits.Str(mandatory=True, desc="name of its reconstruction, as sub-01")
    license_file = File(nohash=True, desc="default $FS_LICENSE, $FREESURFER_HOME/license.txt")
    freesurfer_version = traits.Str(desc="another one makes the step run again")
    time_limit = traits.Float(
        DEFAULT_TIME_LIMIT, usedefault=True, nohash=True, desc="of one FreeSurfer program (s)"
    )
    n_threads = traits.Range(
        low=1, value=1, usedefault=True, nohash=True, desc="processors of one program"
    )

    @property
    def reconstruction(self) -> Path:
        """Folder of the reconstruction."""
        return Path(self.inputs.subjects_dir, self.inputs.subject).absolute()


class ReadsReconstruction(FreeSurferStep):
    """Runs programs of FreeSurfer on a reconstruction that is whole."""

    read: ClassVar[tuple[str, ...]]
    """Files of the reconstruction that are read."""

    def files_read(self) -> list[Path]:
        """Files of the reconstruction that are read; see `conceptrsa.pipelines.workflows.steps`."""
        return [self.reconstruction / name for name in self.read]


@contextmanager
def session_of(inputs: Any, folder: Path) -> Iterator[Session]:
    """Give what a step's inputs say of FreeSurfer.

    Parameters
    ----------
    inputs : traits
        Of a `FreeSurferStep`.
    folder : Path
        Of the step.

    Raises
    ------
    InputError
        If FreeSurfer or its licence is not there.
    """
    license_file = Path(inputs.license_file) if isdefined(inputs.license_file) else None
    subjects_dir = Path(inputs.subjects_dir).absolute()
    with plain_folder(folder) as plain, plain_folder(subjects_dir) as plain_subjects:
        yield Session(
            find_freesurfer(),
            plain,
            plain_subjects,
            find_license(license_file),
            inputs.time_limit,
            inputs.n_threads,
        )
