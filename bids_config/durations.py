"""Durations in words."""


def duration(seconds: float) -> str:
    """Time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def time_left(seconds: float) -> str:
    """Say how much time is left; empty where none is."""
    return f"about {duration(max(seconds, 1.0))} left" if seconds > 0 else ""
