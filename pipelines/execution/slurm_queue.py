"""Slurm's commands: submit, look, cancel; and the jobs that outlive the run that submitted them.

No command sees a shell. While a run has jobs, a note of each subject's lies where the jobs write:
beside the logs, for the results, and in the working folder. Whatever run comes next, with Slurm or
without, in the same version or another, finds the note and cancels the jobs before it starts.
"""

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.writing import atomic_path

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
_SECONDS_TO_END = 120
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
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobState:
    """State of a job, as Slurm reports it.

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


def missing_command() -> str | None:
    """Give the first of Slurm's commands that is not on the PATH; None if all are."""
    return next((command for command in _COMMANDS if shutil.which(command) is None), None)


def require_slurm() -> None:
    """Refuse `--plugin SLURM` where Slurm's commands are missing.

    Raises
    ------
    InputError
        That names the first one.
    """
    if missing := missing_command():
        raise InputError(
            f"--plugin SLURM needs Slurm's command {missing}, which is not on the PATH; run on a "
            "machine that submits jobs, or leave --plugin out"
        )


def submit(arguments: Sequence[str], script: str, max_tries: int, retry_timeout: float) -> int:
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
    for tries_left in reversed(range(max_tries)):
        try:
            said = _ask(["sbatch", "--parsable", *arguments], script)
            return int(said.strip().splitlines()[-1].split(";")[0])
        except SlurmUnreachableError as error:
            if tries_left == 0:
                raise StepError(
                    f"Slurm could not be reached to submit the step ({error}); run the same "
                    "command again to continue"
                ) from error
            time.sleep(retry_timeout)
    raise AssertionError("unreachable")


def job_states(jobs: Collection[int]) -> dict[int, JobState]:
    """Look at jobs; those that Slurm has forgotten are missing in what comes back.

    Raises
    ------
    SlurmUnreachableError
        If there is no answer.
    """
    numbers = ",".join(map(str, sorted(jobs)))
    listed = _squeue("%T|%r", "--states=all", f"--jobs={numbers}")
    return {number: JobState(*said.partition("|")[::2]) for number, said in listed.items()}


def living_jobs(name_ends: Collection[str]) -> list[int]:
    """Find this user's jobs that wait or run, by the ends of their names.

    Raises
    ------
    SlurmUnreachableError
        If there is no answer.
    """
    states = f"--states={','.join(sorted(_ALIVE))}"
    listed = _squeue("%j", f"--user={os.getuid()}", states)
    return [number for number, name in listed.items() if name.endswith(tuple(name_ends))]


def cancel(jobs: Collection[int]) -> None:
    """Cancel jobs; those that have ended meanwhile are passed over.

    Raises
    ------
    SlurmUnreachableError
        If there is no answer.
    """
    if jobs:
        _ask(["scancel", "--quiet", *map(str, sorted(jobs))])


def _squeue(what: str, *options: str) -> dict[int, str]:
    """List jobs: their numbers, and what squeue's format tells of them."""
    listed = {}
    for line in _ask(["squeue", "--noheader", f"--format=%i|{what}", *options]).splitlines():
        number, _, said = line.strip().partition("|")
        if number.isdecimal():
            listed[int(number)] = said
    return listed


def _ask(command: Sequence[str], text: str = "") -> str:
    # The user's wishes on what squeue lists are dropped: a job that it hides would pass for lost.
    environment = {name: v for name, v in os.environ.items() if not name.startswith("SQUEUE_")}
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=_SECONDS_A_COMMAND,
            # Ctrl-C is for the run, which cancels its jobs; not for the command that does it.
            start_new_session=True,
            env=environment,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise SlurmUnreachableError(f"{command[0]}: {error}") from error
    if done.returncode == 0:
        return done.stdout
    said = " ".join(done.stderr.split()) or f"{command[0]} ended with {done.returncode}"
    if any(words in said for words in _PASSING):
        raise SlurmUnreachableError(said)
    if command[0] == "sbatch":
        raise StepError(
            f"Slurm refused the step ({said}); correct 'sbatch_args' or 'max_jobs' in the file of "
            "--use-plugin, or --omp-nthreads"
        )
    if "Invalid job id" in said:  # it has ended, and Slurm has forgotten it
        return ""
    raise SlurmUnreachableError(said)


def note_jobs(folders: Iterable[Path], name_ends: Mapping[str, str]) -> None:
    """Note, before the first is submitted, by what the jobs of each subject are known.

    Parameters
    ----------
    folders : iterable of Path
        That of the logs, and the working folder.
    name_ends : mapping of str to str
        By subject the end of its jobs' names.
    """
    for note, subject in _notes(folders, name_ends):
        with atomic_path(note) as temporary:
            temporary.write_text(f"{name_ends[subject]}\n")


def forget_jobs(folders: Iterable[Path], subjects: Collection[str]) -> None:
    """Remove the notes of jobs that have ended or were cancelled."""
    for note, _ in _notes(folders, subjects):
        note.unlink(missing_ok=True)


def end_jobs_left(folders: Collection[Path], subjects: Collection[str]) -> None:
    """Cancel the jobs that an earlier run left, and wait for their end.

    Parameters
    ----------
    folders : collection of Path
        As for `note_jobs`.
    subjects : collection of str
        Of the run that is about to start.

    Raises
    ------
    InputError
        If there may be such jobs, and no Slurm to ask.
    StepError
        If Slurm does not answer, or a job does not end.
    """
    notes = [note for note, _ in _notes(folders, subjects) if note.is_file()]
    if not notes:
        return
    if missing_command():
        raise InputError(
            f"jobs of an earlier run may still be running ({notes[0]}), but this machine lacks "
            "Slurm's commands to cancel them; run on one that has them, or, if no job is left, "
            f"remove {notes[0].parent}"
        )
    try:
        _cancel_and_wait({note.read_text().strip() for note in notes})
    except SlurmUnreachableError as error:
        raise StepError(f"Slurm does not answer ({error}); try again later") from error
    forget_jobs(folders, subjects)


def _notes(folders: Iterable[Path], subjects: Iterable[str]) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        for subject in subjects:
            yield folder / "slurm" / f"sub-{subject}.jobs", subject


def _cancel_and_wait(name_ends: Collection[str]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_END
    left = living_jobs(name_ends)
    if left:
        log.info("cancelling %d jobs of an earlier run", len(left))
    while left:
        cancel(left)
        time.sleep(1)
        left = living_jobs(name_ends)
        if left and time.monotonic() > deadline:
            raise StepError(
                f"job {left[0]} of an earlier run is still running; run the same command again "
                "when squeue no longer lists it"
            )
