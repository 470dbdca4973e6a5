"""How far a run is: a live table on a terminal, a line a step elsewhere."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger(__name__)


class RunProgress:
    """Shows the steps of all subjects as they start and end.

    Parameters
    ----------
    work : mapping of str to float
        Subject to the sum of the expected times of its steps, in any unit.
    console : Console
        A live table is drawn where it is a terminal; log lines are written where it is not.
    """

    def __init__(self, work: Mapping[str, float], console: Console) -> None:
        self._live = console.is_terminal
        self._work = dict(work)
        self._done = dict.fromkeys(work, 0.0)
        self._running: dict[str, Counter[str]] = {subject: Counter() for subject in work}
        self._ended: Counter[tuple[str, str]] = Counter()
        self._started: dict[tuple[str, str], float] = {}
        self._begin = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[step]}"),
            console=console,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}
        self._total: TaskID | None = None

    def __enter__(self) -> Self:
        self._total = self._bars.add_task("all", total=sum(self._work.values()), step="")
        for subject, work in self._work.items():
            self._tasks[subject] = self._bars.add_task(f"sub-{subject}", total=work, step="waits")
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def update(self, subject: str, step: str, work: float, times: int, status: str) -> None:
        """Note that a step of a subject changed.

        Parameters
        ----------
        subject, step : str
            Which.
        work : float
            The expected time of one execution, in the unit of the whole.
        times : int
            How many times the step is executed, once a run for example.
        status : {'start', 'end', 'exception'}
            What happened to one of them.
        """
        running = self._running[subject]
        if status == "start":
            running[step] += 1
            self._started.setdefault((subject, step), time.monotonic())
        else:
            running[step] -= 1
            self._ended[subject, step] += 1
            self._done[subject] += work
            if self._total is not None:
                self._bars.update(self._total, advance=work)
        if self._live:
            self._draw(subject, step, status)
        elif status == "exception" or self._ended[subject, step] == times:
            self._log_line(subject, step, status)

    def _draw(self, subject: str, step: str, status: str) -> None:
        finished = self._done[subject] >= self._work[subject] - 1e-9
        names = [name for name, count in self._running[subject].items() if count > 0]
        shown = "done" if finished else ", ".join(names)
        if status == "exception":
            shown = f"{step} failed"
        self._bars.update(self._tasks[subject], completed=self._done[subject], step=shown)

    def _log_line(self, subject: str, step: str, status: str) -> None:
        now = time.monotonic()
        begun = self._started.pop((subject, step), None)
        share = sum(self._done.values()) / max(sum(self._work.values()), 1e-9)
        took = "found" if begun is None else f"{now - begun:.0f} s"
        left = (now - self._begin) * (1 - share) / max(share, 1e-9)
        verb = "failed" if status == "exception" else "done"
        log.info(
            "sub-%s %s %s (%s); %.0f %% of all, about %s left",
            subject, step, verb, took, 100 * share, _minutes(left),
        )  # fmt: skip


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def node_place(node: Any, work_dir: str) -> tuple[str, str]:
    """Subject and step of a node, from its working folder.

    The folder is looked at because a MapNode's children do not know their workflow's name.

    Parameters
    ----------
    node : nipype Node
        Below a `sub_XX_wf`.
    work_dir : str
        Root of the working folders.

    Returns
    -------
    tuple of str
        Subject label (without 'sub-') and the step's name in words.
    """
    parts = node.output_dir().removeprefix(work_dir).strip("/").split("/")
    subject = next(part for part in parts if part.startswith("sub_"))
    steps = [part for part in parts if part != "mapflow" and not part.startswith("_")]
    return subject.removeprefix("sub_").removesuffix("_wf"), steps[-1].replace("_", " ")
