"""Jobs of Slurm that outlived the run that submitted them.

While a run has jobs, a note of each subject's lies where the jobs write: beside the logs, for the
results, and in the working folder. Whatever run comes next, with Slurm or without, in the same
version or another, finds the note and cancels the jobs before it starts.
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.pipelines.execution.slurm_queue import (
    SlurmUnreachableError,
    cancel,
    have_commands,
    living_jobs,
)

CANCEL_SECONDS = 120
FOLDER = "slurm"
log = logging.getLogger(__name__)


def note_jobs(folders: Iterable[Path], name_ends: Mapping[str, str]) -> None:
    """Note, before the first is submitted, by what the jobs of each subject are known.

    Parameters
    ----------
    folders : iterable of Path
        That of the logs, and the working folder.
    name_ends : mapping of str to str
        By subject the end of its jobs' names.
    """
    for folder in folders:
        for subject, name_end in name_ends.items():
            with atomic_path(_note(folder, subject)) as temporary:
                temporary.write_text(f"{name_end}\n")


def forget_jobs(folders: Iterable[Path], subjects: Collection[str]) -> None:
    """Remove the notes of jobs that have ended or were cancelled."""
    for folder in folders:
        for subject in subjects:
            _note(folder, subject).unlink(missing_ok=True)


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
    notes = list(_notes(folders, subjects))
    if not notes:
        return
    if not have_commands():
        raise InputError(
            f"an earlier run left jobs of Slurm that may still be at work ({notes[0]}), and "
            "Slurm's commands are not here to cancel them; run on a machine that has them, or, if "
            f"no job is left, remove {notes[0].parent}"
        )
    _cancel({note.read_text().strip() for note in notes})
    for note in notes:
        note.unlink(missing_ok=True)


def _note(folder: Path, subject: str) -> Path:
    return folder / FOLDER / f"sub-{subject}.jobs"


def _notes(folders: Iterable[Path], subjects: Iterable[str]) -> Iterator[Path]:
    for folder in folders:
        for subject in subjects:
            note = _note(folder, subject)
            if note.is_file():
                yield note


def _cancel(name_ends: Collection[str]) -> None:
    deadline = time.monotonic() + CANCEL_SECONDS
    try:
        left = living_jobs(name_ends)
        if left:
            log.info("cancelling %d jobs that an earlier run left", len(left))
        while left:
            cancel(left)
            time.sleep(1)
            left = living_jobs(name_ends)
            if left and time.monotonic() > deadline:
                raise StepError(
                    f"job {left[0]} of an earlier run does not end; wait until squeue no longer "
                    "lists it, and run the same command again"
                )
    except SlurmUnreachableError as error:
        raise StepError(f"Slurm does not answer ({error}); try again later") from error
