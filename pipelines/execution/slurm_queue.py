"""Slurm's commands: submit, look, cancel. None of them sees a shell."""

import os
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from conceptrsa.bids_config.errors import InputError, StepError

_COMMANDS = ("sbatch", "squeue", "scancel")
_PASSING = (
    "Socket timed out",
    "Unable to contact slurm controller",
    "not available at the moment",
    "temporarily unable to accept job",
    "Resource temporarily unavailable",
    "Zero Bytes were transmitted",
)
_SECONDS_A_COMMAND = 120
_ALIVE = {
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING",
    "STAGE_OUT", "RESIZING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
}  # fmt: skip
# A job that waits for one of these waits for ever.
_HOPELESS = {
    "BadConstraints", "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS",
    "JobHoldMaxRequeue", "PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit",
    "launch_failed_requeued_held",
}  # fmt: skip


@dataclass(frozen=True)
class JobState:
    """What Slurm says of a job.

    Attributes
    ----------
    state : str
        As RUNNING or OUT_OF_MEMORY.
    reason : str
        Why it waits or ended, as Slurm words it.
    """

    state: str
    reason: str

    @property
    def is_alive(self) -> bool:
        """Whether the job may still bring a result."""
        return self.state in _ALIVE

    @property
    def is_hopeless(self) -> bool:
        """Whether the job waits for what will never come."""
        return self.state == "PENDING" and self.reason.strip("()") in _HOPELESS


class SlurmUnreachableError(Exception):
    """Slurm did not answer; the same question may be answered later."""


def require_slurm() -> None:
    """Refuse `--plugin SLURM` where Slurm's commands are missing.

    Raises
    ------
    InputError
        That names the first one.
    """
    for command in _COMMANDS:
        if not _is_there(command):
            raise InputError(
                f"--plugin SLURM needs Slurm's command {command}, which is not on the PATH; run "
                "on a machine that submits jobs, or leave --plugin out"
            )


def have_commands() -> bool:
    """Whether Slurm's commands are on the PATH."""
    return all(map(_is_there, _COMMANDS))


def _is_there(command: str) -> bool:
    return shutil.which(command) is not None


def submit(
    arguments: Sequence[str], script: str, max_tries: int = 1, retry_timeout: float = 0
) -> int:
    """Submit a job and give its number.

    Parameters
    ----------
    arguments : sequence of str
        Options of sbatch.
    script : str
        The job's script.
    max_tries : int
        Times that Slurm is asked while it cannot be reached.
    retry_timeout : float
        Seconds in between.

    Raises
    ------
    StepError
        If Slurm refuses the job or stays silent.
    """
    for attempt in range(1, max_tries + 1):
        try:
            said = _ask(["sbatch", "--parsable", *arguments], script)
            return int(said.strip().splitlines()[-1].split(";")[0])
        except SlurmUnreachableError as error:
            if attempt == max_tries:
                raise StepError(
                    f"Slurm could not be reached to submit the step ({error}); run the same "
                    "command again to continue"
                ) from error
            time.sleep(retry_timeout)
        except _RefusedError as error:
            raise StepError(
                f"Slurm refused the step ({error}); mend 'sbatch_args' or 'max_jobs' in the file "
                "of --use-plugin, or --omp-nthreads"
            ) from error
    raise AssertionError("unreachable")


def job_states(jobs: Collection[int]) -> Mapping[int, JobState]:
    """Look at jobs; those that Slurm has forgotten are missing in what comes back.

    Raises
    ------
    SlurmUnreachableError
        If there is no answer.
    """
    numbers = ",".join(map(str, sorted(jobs)))
    query = ["squeue", "--noheader", "--states=all", "--format=%i|%T|%r", f"--jobs={numbers}"]
    try:
        listed = _ask(query)
    except _RefusedError as error:
        if "Invalid job id" in str(error):
            return {}
        raise SlurmUnreachableError(str(error)) from error
    states = {}
    for line in listed.splitlines():
        number, _, rest = line.strip().partition("|")
        if number.isdecimal():
            state, _, reason = rest.partition("|")
            states[int(number)] = JobState(state, reason)
    return states


def living_jobs(name_ends: Collection[str]) -> list[int]:
    """Find this user's jobs that wait or run, by the ends of their names.

    Raises
    ------
    SlurmUnreachableError
        If there is no answer.
    """
    states = f"--states={','.join(sorted(_ALIVE))}"
    query = ["squeue", "--noheader", f"--user={os.getuid()}", states, "--format=%i|%j"]
    try:
        listed = _ask(query)
    except _RefusedError as error:
        raise SlurmUnreachableError(str(error)) from error
    found = []
    for line in listed.splitlines():
        number, _, name = line.strip().partition("|")
        if number.isdecimal() and name.endswith(tuple(name_ends)):
            found.append(int(number))
    return found


def cancel(jobs: Collection[int]) -> None:
    """Cancel jobs; those that have ended meanwhile are passed over.

    Raises
    ------
    SlurmUnreachableError
        If there is no answer.
    """
    if not jobs:
        return
    try:
        _ask(["scancel", "--quiet", *map(str, sorted(jobs))])
    except _RefusedError as error:
        if "Invalid job id" not in str(error):
            raise SlurmUnreachableError(str(error)) from error


class _RefusedError(Exception):
    """A command ended with an error that will not pass."""


def _without_filters(environment: Mapping[str, str]) -> dict[str, str]:
    """Drop the user's wishes on what squeue lists: a job that it hides would pass for lost."""
    return {name: value for name, value in environment.items() if not name.startswith("SQUEUE_")}


def _ask(command: Sequence[str], text: str = "") -> str:
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=_SECONDS_A_COMMAND,
            # Ctrl-C is for the run, which cancels its jobs; not for the command that does it.
            start_new_session=True,
            env=_without_filters(os.environ),
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise SlurmUnreachableError(f"{command[0]}: {error}") from error
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.split()) or f"{command[0]} ended with {done.returncode}"
    if any(words in said for words in _PASSING):
        raise SlurmUnreachableError(said)
    raise _RefusedError(said)
