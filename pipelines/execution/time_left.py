"""Estimate the time left of a run, from forecasts and from the times that steps took."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping

FOUND_SECONDS = 0.1
"""Seconds; a step that ends sooner was found finished, not executed."""
SECONDS_TO_LEARN = 60.0
"""Forecasts count as much as that many seconds of executed steps."""
OVERDUE = 0.1
"""Time left of a step that takes longer than forecast, as a share of what it has taken."""


class TimeLeft:
    """Account of the work of all subjects, in forecast seconds.

    Parameters
    ----------
    work : mapping of str to float
        Subject to the work of all its steps.
    clock : callable
        Gives the time (s).
    """

    def __init__(
        self, work: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._forecast = dict(work)
        self._clock = clock
        self._begin = clock()
        self._done = dict.fromkeys(work, 0.0)
        self._failed: set[str] = set()
        self._running: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
        self._took, self._should_have_taken = 0.0, 0.0

    def start(self, subject: str, step: str, work: float) -> None:
        """Note that a step, or one of the executions of a step, has started."""
        self._running[subject, step].append((self._clock(), work))

    def end(self, subject: str, step: str, work: float) -> None:
        """Note that it has ended; one that never started was found finished."""
        took = self._stop(subject, step)
        self._done[subject] += work
        if took > FOUND_SECONDS:
            self._took += took
            self._should_have_taken += work

    def fail(self, subject: str, step: str) -> None:
        """Note that it has failed: what of its subject is not running will not be done."""
        self._stop(subject, step)
        self._failed.add(subject)

    def _stop(self, subject: str, step: str) -> float:
        begun = self._running[subject, step]
        return self._clock() - begun.pop(0)[0] if begun else 0.0

    def done(self, subject: str) -> float:
        """Work of a subject that is done."""
        return self._done[subject]

    def work(self, subject: str) -> float:
        """Work of a subject that is done or to be done."""
        if subject in self._failed:
            return self._done[subject] + self._running_work(subject)
        return self._forecast[subject]

    def _running_work(self, subject: str) -> float:
        return sum(
            work for place, parts in self._running.items() for _, work in parts
            if place[0] == subject
        )  # fmt: skip

    @property
    def all_done(self) -> float:
        """Work of all subjects that is done."""
        return sum(self._done.values())

    @property
    def all_work(self) -> float:
        """Work of all subjects that is done or to be done."""
        return sum(map(self.work, self._forecast))

    def seconds(self) -> float:
        """Time until all is done (s); 0 only where no step is left whose time is known.

        Steps that run end when they have taken what was forecast, corrected by what those before
        them took; as many run at a time as did until now.
        """
        now = self._clock()
        pace = (self._took + SECONDS_TO_LEARN) / (self._should_have_taken + SECONDS_TO_LEARN)
        parts = [part for running in self._running.values() for part in running]
        taken = [now - begun for begun, _ in parts]
        running = [
            max(pace * work - took, OVERDUE * took)
            for (_, work), took in zip(parts, taken, strict=True)
        ]
        waiting = self.all_work - self.all_done - sum(work for _, work in parts)
        at_once = (self._took + sum(taken)) / max(now - self._begin, FOUND_SECONDS)
        together = (pace * max(waiting, 0.0) + sum(running)) / max(at_once, 1.0)
        return max([together, *running])
