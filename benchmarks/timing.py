"""How two ways to the same numbers are timed side by side."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """One piece of work done in two ways.

    Attributes
    ----------
    work : str
    slow, fast : str
        The two ways.
    slow_seconds, fast_seconds : float
        The best of several repetitions.
    required_ratio : float
        How many times faster the fast way has to be.
    difference : float
        Largest absolute difference between the numbers of the two.
    tolerance : float
        The largest difference allowed.
    """

    work: str
    slow: str
    fast: str
    slow_seconds: float
    fast_seconds: float
    required_ratio: float
    difference: float
    tolerance: float

    @property
    def ratio(self) -> float:
        """How many times faster the fast way was."""
        return self.slow_seconds / self.fast_seconds

    @property
    def passed(self) -> bool:
        """Whether it was fast enough and gave the same numbers."""
        return self.ratio >= self.required_ratio and self.difference <= self.tolerance


def best_time(function: Callable[[], Any], repetitions: int = 3) -> tuple[float, Any]:
    """Shortest wall-clock seconds of several calls, and what the last one gave."""
    seconds = []
    result = None
    for _ in range(repetitions):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result
