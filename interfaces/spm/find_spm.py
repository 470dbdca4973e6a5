"""Find the command that runs SPM: standalone SPM, a container, or an interpreter.

Any command serves that, given `script FILE.m`, runs FILE.m with SPM on its path and ends with an
exit code that is not 0 when the script stops with an error.
"""

import os
import shlex
import shutil
from dataclasses import dataclass

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.programs import how_to_get

COMMAND_VARIABLE = "SPMMCRCMD"
RUNTIME_VARIABLE = "MCR"
KNOWN_LAUNCHERS = ("run_spm12.sh", "spm12", "run_spm25.sh", "spm25")
DEFAULT_TIME_LIMIT = 6 * 3600.0
_INSTALL = (
    f'give --spm-command "/opt/spm12/run_spm12.sh /opt/mcr/v97 script" or set ${COMMAND_VARIABLE} '
    "to it (standalone SPM12 and the MATLAB Runtime are free)"
)


@dataclass(frozen=True)
class SpmLauncher:
    """Command that starts SPM.

    Attributes
    ----------
    command : tuple of str
        Program and arguments that the path of a script is appended to.
    time_limit : float
        Seconds after which one script is stopped.
    """

    command: tuple[str, ...]
    time_limit: float = DEFAULT_TIME_LIMIT

    def text(self) -> str:
        """The command as it would be typed in a shell."""
        return shlex.join(self.command)


def find_launcher(
    command: str | None = None, time_limit: float = DEFAULT_TIME_LIMIT
) -> SpmLauncher:
    """Find the command that runs SPM.

    Parameters
    ----------
    command : str, optional
        As typed in a shell; by default `$SPMMCRCMD`, else SPM's own launcher on the `PATH`. A
        missing `script` at its end is added, and for `run_spm12.sh` alone the folder of the
        MATLAB Runtime from `$MCR`.
    time_limit : float
        Seconds after which one script is stopped.

    Raises
    ------
    InputError
        If there is none, or its program is not found.
    """
    remedy = how_to_get("SPM", "--engine python", _INSTALL)
    text = command or os.environ.get(COMMAND_VARIABLE) or _on_path()
    if not text:
        raise InputError(f"no SPM was found; {remedy}")
    try:
        words = [
            os.path.expanduser(os.path.expandvars(word))  # noqa: PTH111
            for word in shlex.split(text)
        ]
    except ValueError as error:
        raise InputError(f"the SPM command {text!r} cannot be read ({error}); {remedy}") from error
    if not words:
        raise InputError(f"the SPM command is empty; {remedy}")
    program = shutil.which(words[0])
    if program is None:
        raise InputError(f"the program of the SPM command, {words[0]}, does not exist; {remedy}")
    if words[-1] != "script":
        words += [*_runtime(words), "script"]
    return SpmLauncher((os.path.abspath(program), *words[1:]), time_limit)  # noqa: PTH100


def _on_path() -> str | None:
    found = next(filter(None, map(shutil.which, KNOWN_LAUNCHERS)), None)
    return None if found is None else shlex.quote(found)


def _runtime(words: list[str]) -> list[str]:
    """Folder of the MATLAB Runtime, which only `run_spm*.sh` without arguments lacks."""
    if len(words) > 1 or not os.path.basename(words[0]).startswith("run_spm"):  # noqa: PTH119
        return []
    runtime = os.environ.get(RUNTIME_VARIABLE)
    if not runtime:
        raise InputError(
            f"{words[0]} needs the folder of the MATLAB Runtime: set ${RUNTIME_VARIABLE} to it, "
            f'or give --spm-command "{words[0]} /opt/mcr/v97 script"'
        )
    return [runtime]
