"""Times of the stimuli, by the rules of ds001246, and the responses over time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import gamma

INITIAL_REST, BLOCK, FINAL_REST = 33.0, 9.0, 6.0
"""Durations in seconds, as in ds001246's event files."""

HIT_RATE = 0.9
REACTION_TIMES = (0.45, 1.4)


@dataclass(frozen=True)
class Schedule:
    """One run: stimuli back to back, the first `INITIAL_REST` seconds after the start.

    Attributes
    ----------
    shown : tuple of int
        Index of the stimulus of each block; a one-back event repeats the index before it.
    response_times : tuple of float
        Seconds from the start of the run to the button press of a block, NaN where none came.
    """

    shown: tuple[int, ...]
    response_times: tuple[float, ...]

    @property
    def onsets(self) -> np.ndarray:
        """Seconds from the start of the run to the start of each block."""
        return INITIAL_REST + BLOCK * np.arange(len(self.shown))

    @property
    def duration(self) -> float:
        """Length of the run in seconds."""
        return INITIAL_REST + BLOCK * len(self.shown) + FINAL_REST


def draw_schedule(n_stimuli: int, n_one_backs: int, rng: np.random.Generator) -> Schedule:
    """Each stimulus once in random order, and some of them once more straight away."""
    repeated = set(rng.choice(n_stimuli, size=n_one_backs, replace=False).tolist())
    shown: list[int] = []
    response_times: list[float] = []
    for stimulus in rng.permutation(n_stimuli).tolist():
        shown.append(stimulus)
        response_times.append(np.nan)
        if stimulus in repeated:
            onset = INITIAL_REST + BLOCK * len(shown)
            reaction = onset + rng.uniform(*REACTION_TIMES)
            shown.append(stimulus)
            response_times.append(reaction if rng.random() < HIT_RATE else np.nan)
    return Schedule(tuple(shown), tuple(response_times))


def events_table(schedule: Schedule, stimuli: Sequence[str]) -> pd.DataFrame:
    """The run's events file: ds001246's columns, and no word of what is a one-back event."""
    rows: list[tuple[object, ...]] = [(0.0, INITIAL_REST, "rest", *["n/a"] * 5)]
    for onset, index, response in zip(
        schedule.onsets, schedule.shown, schedule.response_times, strict=True
    ):
        pressed = "n/a" if np.isnan(response) else f"{response:.6f}"
        number = index + 1
        rows.append(
            (onset, BLOCK, "stimulus", f"{number}.000001", stimuli[index], number, number, pressed)
        )
    rows.append((schedule.duration - FINAL_REST, FINAL_REST, "rest", *["n/a"] * 5))
    table = pd.DataFrame(
        rows,
        columns=[
            "onset", "duration", "event_type", "stimulus_id", "stimulus_name",
            "category_index", "image_index", "response_time",
        ],
    )  # fmt: skip
    table = table.astype({"onset": int, "duration": int})
    table.insert(2, "trial_no", np.arange(1, len(table) + 1))
    return table


def slice_delays(n_slices: int, repetition_time: float) -> np.ndarray:
    """Seconds from the start of a volume to each slice: even ones (counted from 1) first."""
    order = [*range(1, n_slices, 2), *range(0, n_slices, 2)]
    delays = np.empty(n_slices)
    delays[order] = np.arange(n_slices) * repetition_time / n_slices
    return np.round(delays, 4)


def response_weights(schedule: Schedule, n_stimuli: int, times: np.ndarray) -> np.ndarray:
    """Compute the response to each stimulus at given times.

    The response to a block is the difference of two responses to a step, one at its onset and one
    at its end; the step response is the integral of SPM's double-gamma function (`spm_hrf`: peaks
    of shape 6 and 16 s, undershoot a sixth), in closed form and with a plateau of 1.

    Parameters
    ----------
    schedule : Schedule
    n_stimuli : int
    times : (...) array of seconds from the start of the run

    Returns
    -------
    (n_stimuli, ...) array
    """
    weights = np.zeros((n_stimuli, *times.shape))
    for onset, stimulus in zip(schedule.onsets, schedule.shown, strict=True):
        weights[stimulus] += _step_response(times - onset) - _step_response(times - onset - BLOCK)
    return weights


def _step_response(times: np.ndarray) -> np.ndarray:
    undershoot = 1 / 6
    response: np.ndarray = (gamma.cdf(times, 6) - undershoot * gamma.cdf(times, 16)) / (
        1 - undershoot
    )
    return response
