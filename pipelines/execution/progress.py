"""Show the progress of a run: a live table on a terminal, one line per step elsewhere."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from conceptrsa.bids_config.durations import time_left
from conceptrsa.pipelines.execution.forecast import Forecast
from conceptrsa.pipelines.execution.time_left import TimeLeft
from conceptrsa.pipelines.workflows import software
from conceptrsa.pipelines.workflows.steps import MapNode

ALL = "all"
log = logging.getLogger(__name__)


class _LeftColumn(ProgressColumn):
    """Estimate the time left of the whole run."""

    def __init__(self, all_left: TimeLeft) -> None:
        super().__init__()
        self._time_left = all_left

    def render(self, task: Task) -> Text:
        return Text(time_left(self._time_left.seconds()) if task.description == ALL else "")


class RunProgress:
    """Shows the steps of all subjects as they start and end.

    Parameters
    ----------
    forecasts : mapping of str to Forecast
        Subject to what its steps are expected to take; steps that are not among them take no
        noticeable time and are not shown unless they fail.
    work_dir : Path
        Root of the working folders.
    console : Console
        A live table is drawn where it is a terminal; log lines are written where it is not.

    Attributes
    ----------
    bars : rich.progress.Progress
        The table, drawn as long as this is entered.
    """

    def __init__(self, forecasts: Mapping[str, Forecast], work_dir: Path, console: Console) -> None:
        self._live = console.is_terminal
        self._work_dir = work_dir
        self._steps = {
            subject: {step.node: step for step in forecast.steps}
            for subject, forecast in forecasts.items()
        }
        self._time_left = TimeLeft({name: forecasts[name].seconds for name in forecasts})
        self._running: dict[str, Counter[str]] = {subject: Counter() for subject in forecasts}
        self._ended: Counter[tuple[str, str]] = Counter()
        self._failed: dict[str, str] = {}
        self._told_failed: set[tuple[str, str]] = set()
        self._expanded: set[tuple[str, str]] = set()
        self._started: dict[tuple[str, str], float] = {}
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[percent]:>3d} %"),
            TimeElapsedColumn(),
            _LeftColumn(self._time_left),
            TextColumn("{task.fields[step]}"),
            console=console,
            disable=not self._live,
        )
        total = self._time_left.all_work
        self._total = self.bars.add_task(ALL, total=total, percent=0, step="")
        self._tasks = {
            subject: self.bars.add_task(
                f"sub-{subject}", total=self._time_left.work(subject), percent=0, step="waits"
            )
            for subject in forecasts
        }

    def note(self, node: Any, status: str) -> None:
        """Note what happened to a node, as nipype tells: 'start', 'end' or 'exception'."""
        place = subject, step = software.place_of(node.output_dir(), self._work_dir)
        if "/mapflow/" in node.output_dir():
            self._expanded.add(place)
        elif isinstance(node, MapNode) and place in self._expanded:
            return
        known = self._steps[subject].get(step)
        if known is not None:
            self._update(subject, step, known.seconds / known.times, known.times, status)
        elif status == "exception":
            self._update(subject, step, 0.0, 1, status)

    def _update(self, subject: str, step: str, work: float, times: int, status: str) -> None:
        """Count one of the `times` executions of a step, each of which is so much `work`."""
        running = self._running[subject]
        if status == "start":
            running[step] += 1
            self._started.setdefault((subject, step), time.monotonic())
            self._time_left.start(subject, step, work)
        else:
            running[step] -= 1
            self._ended[subject, step] += 1
            if status == "exception":
                self._failed.setdefault(subject, step)
                self._time_left.fail(subject, step)
            else:
                self._time_left.end(subject, step, work)
        if self._live:
            self._draw(subject)
        elif status == "exception" or self._ended[subject, step] == times:
            self._log_line(subject, step, status)

    def _draw(self, subject: str) -> None:
        left = self._time_left
        done, work = left.done(subject), left.work(subject)
        names = [name for name, count in self._running[subject].items() if count > 0]
        shown = ", ".join(names)
        if subject in self._failed:
            still = f"; still running: {shown}" if names else ""
            shown = f"{self._failed[subject]} failed{still}"
        elif not names and done >= work - 1e-9:
            shown = "done"
        for task, parts in (
            (self._tasks[subject], (done, work)),
            (self._total, (left.all_done, left.all_work)),
        ):
            self.bars.update(
                task, completed=parts[0], total=parts[1], percent=_percent(*parts), refresh=False
            )
        self.bars.update(self._tasks[subject], step=shown)

    def _log_line(self, subject: str, step: str, status: str) -> None:
        """Say once that a step is done, or that it failed, in whatever many parts."""
        begun = self._started.pop((subject, step), None)
        if (subject, step) in self._told_failed:
            return
        took = "" if begun is None else f"{time.monotonic() - begun:.0f} s"
        verb, told = "done", took or "found"
        if status == "exception":
            self._told_failed.add((subject, step))
            verb, told = "failed", "no further steps of this subject will start"
            told = f"{took}; {told}" if took else told
        left = time_left(self._time_left.seconds())
        log.info(
            "sub-%s %s %s (%s); %d %% of all%s",
            subject, step, verb, told,
            _percent(self._time_left.all_done, self._time_left.all_work),
            f", {left}" if left else "",
        )  # fmt: skip


def _percent(done: float, work: float) -> int:
    """Rounded down, as 100 % is said of what is done only."""
    return int(100 * (done + 1e-9) / work) if work > 0 else 0
