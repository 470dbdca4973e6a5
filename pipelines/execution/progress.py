"""How far a run is: a live table on a terminal, a line a step elsewhere."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from conceptrsa.pipelines.execution.forecast import Forecast, duration
from conceptrsa.pipelines.workflows import software
from conceptrsa.pipelines.workflows.steps import MapNode

log = logging.getLogger(__name__)


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
        self._work = {subject: forecast.seconds for subject, forecast in forecasts.items()}
        self._done = dict.fromkeys(forecasts, 0.0)
        self._running: dict[str, Counter[str]] = {subject: Counter() for subject in forecasts}
        self._ended: Counter[tuple[str, str]] = Counter()
        self._expanded: set[tuple[str, str]] = set()
        self._started: dict[tuple[str, str], float] = {}
        self._begin = time.monotonic()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[step]}"),
            console=console,
            disable=not self._live,
        )
        self._total = self.bars.add_task("all", total=sum(self._work.values()), step="")
        self._tasks = {
            subject: self.bars.add_task(f"sub-{subject}", total=work, step="waits")
            for subject, work in self._work.items()
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
        else:
            running[step] -= 1
            self._ended[subject, step] += 1
            self._done[subject] += work
            self.bars.update(self._total, advance=work)
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
        self.bars.update(self._tasks[subject], completed=self._done[subject], step=shown)

    def _log_line(self, subject: str, step: str, status: str) -> None:
        now = time.monotonic()
        begun = self._started.pop((subject, step), None)
        share = sum(self._done.values()) / max(sum(self._work.values()), 1e-9)
        took = "found" if begun is None else f"{now - begun:.0f} s"
        left = (now - self._begin) * (1 - share) / max(share, 1e-9)
        verb = "failed" if status == "exception" else "done"
        log.info(
            "sub-%s %s %s (%s); %.0f %% of all, about %s left",
            subject, step, verb, took, 100 * share, duration(left),
        )  # fmt: skip
