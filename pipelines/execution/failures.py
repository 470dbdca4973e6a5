"""Describe failures in one sentence per step: a crash, a killed process or a full disk."""

import errno
import re
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from traceback import format_exception
from typing import Any

import numpy as np
from nipype.pipeline.plugins.base import DistributedPluginBase

from conceptrsa.pipelines.workflows import software

_SENTENCE = re.compile(r"^\s*(?:[\w.]+\.)?(?:StepError|InputError): (.+)$", re.MULTILINE)
_LAST_ERROR = re.compile(r"^\s*(?:[A-Za-z_][\w.]*)(?:Error|Exception|Interrupt)\b.*$", re.MULTILINE)
_OF_DISK = re.compile(r"\[Errno (?P<number>\d+)\] (?P<reason>.+)")
DISK_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
}  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """A step that failed.

    Attributes
    ----------
    step_dir : Path
        Working folder of the step.
    sentence : str
        What went wrong.
    crash_file : Path or None
        Text file with the whole traceback.
    """

    step_dir: Path
    sentence: str
    crash_file: Path | None


class FailureKeeper(DistributedPluginBase):
    """Part of a nipype plugin that keeps failures, and stops the subject after one.

    Each failure is kept as a sentence per step. No subject can be finished without a failed step,
    so none of its steps is chosen to be started after it; those at work, or chosen in the same
    round, may still run. It is mixed into a plugin, first among the bases.
    """

    failures: list[Failure]

    def _clean_queue(self, jobid: int, graph: Any, result: dict[str, Any] | None = None) -> Any:
        if result is None:  # nipype found the step at fault itself, and is handling what it raised
            result = {"result": None, "traceback": format_exception(*sys.exc_info())}
        report = super()._clean_queue(jobid, graph, result=result)
        crash_file = report["crashfile"] and Path(report["crashfile"])
        sentence = last_sentence("".join(result["traceback"]))
        step_dir = Path(self.procs[jobid].output_dir())
        self.failures.append(Failure(step_dir, sentence, crash_file))
        self._give_up_subject(jobid)
        return report

    def _give_up_subject(self, jobid: int) -> None:
        """Mark what has not been started of a step's subject as nothing that is to be done."""
        subject = self._subject_of(jobid)
        for other in np.flatnonzero(~self.proc_done):
            if self._subject_of(int(other)) == subject:
                self.proc_done[other] = True

    def _subject_of(self, jobid: int) -> str:
        return software.subject_of(self.procs[self.mapnodesubids.get(jobid, jobid)])


def last_sentence(traceback: str) -> str:
    """Find the one sentence in a traceback that says what went wrong."""
    sentences = _SENTENCE.findall(traceback)
    if sentences:
        return str(sentences[-1])
    errors = _LAST_ERROR.findall(traceback)
    of_disk = _OF_DISK.search(errors[-1]) if errors else None
    if of_disk is not None and int(of_disk["number"]) in DISK_ERRORS:
        return (
            f"{of_disk['reason']}; free some space or correct the permissions, and run the same "
            "command again: finished steps are not repeated"
        )
    return errors[-1].strip() if errors else "the step failed without a message"


def cut_short(error: Exception, unfinished: Sequence[Any], log_dir: Path) -> list[Failure]:
    """Describe steps that were not done when the whole run ended."""
    traceback = "".join(format_exception(error))
    crash_file = log_dir / f"crash-{datetime.now():%Y%m%d-%H%M%S}-run.txt"
    with suppress(OSError):
        crash_file.write_text(traceback, encoding="utf-8")
    sentence = f"the run ended early: {last_sentence(traceback)}"
    return [Failure(Path(step.output_dir()), sentence, crash_file) for step in unfinished]


def failures_by_subject(
    failures: Sequence[Failure], subjects: Collection[str], work_dir: Path
) -> dict[str, list[Failure]]:
    """Give every subject with the failures of its steps."""
    by_subject: dict[str, list[Failure]] = {subject: [] for subject in subjects}
    for failure in failures:
        subject, _ = software.place_of(failure.step_dir, work_dir)
        known = by_subject[subject]
        # All steps that a run left undone are one and the same failure.
        told = {(other.sentence, other.crash_file) for other in known}
        if (failure.sentence, failure.crash_file) not in told:
            known.append(failure)
    return by_subject


def note_how_to_repeat(failures: Sequence[Failure], command: str) -> None:
    """Add the command that does the steps again to their crash files."""
    for crash_file in {failure.crash_file for failure in failures} - {None}:
        with suppress(OSError), Path(str(crash_file)).open("a") as stream:
            stream.write(
                f"\nTo repeat this step, once the cause is removed: {command}\n"
                "Finished steps are not repeated.\n"
            )
