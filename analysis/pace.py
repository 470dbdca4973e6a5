"""Report the progress of long work from time to time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from conceptrsa.bids_config.durations import time_left

SECONDS_BETWEEN_LINES = 10.0

Progress = Callable[[str], None]


@dataclass
class Pace:
    """Report how fast work is done from time to time, and never of short work.

    Attributes
    ----------
    things : str
        What is done, in the plural.
    n_all : int
    at_once : int
        How many are done side by side.
    progress : callable
    """

    things: str
    n_all: int
    at_once: int
    progress: Progress
    n_done: int = 0
    n_computed: int = 0
    seconds: float = 0.0
    told: float = field(default_factory=time.monotonic)

    def tell(self, seconds: float, n: int = 1) -> None:
        """Count what took so long; no time where it was found finished."""
        self.n_done += n
        self.n_computed += n if seconds > 0 else 0
        self.seconds += seconds
        now = time.monotonic()
        if now - self.told < SECONDS_BETWEEN_LINES or self.n_done == self.n_all:
            return
        self.told = now
        of_each = self.seconds / max(self.n_computed, 1)
        left = time_left(of_each * (self.n_all - self.n_done) / self.at_once)
        done = f"{self.n_done} of {self.n_all} {self.things} done"
        self.progress(f"{done}, {left}" if left else done)
