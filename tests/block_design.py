"""Runs with ds001246's timing, and BOLD made from them without the code under test."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import gamma

TR = 3.0
BLOCK = 9.0
FIRST_REST, LAST_REST = 33.0, 6.0
STEP = 0.1


def block_events(seed: int, n_stimuli: int = 50, n_repeats: int = 5) -> pd.DataFrame:
    """Events of one run: rest, stimuli back to back in random order, repeats at once, rest."""
    rng = np.random.default_rng(seed)
    order = [f"picture{number:02d}" for number in rng.permutation(n_stimuli)]
    repeated = set(rng.choice(n_stimuli, n_repeats, replace=False))
    rows = [(0.0, FIRST_REST, "fixation", "fixation")]
    onset = FIRST_REST
    for position, stimulus in enumerate(order):
        rows.append((onset, BLOCK, stimulus, "stimulus"))
        onset += BLOCK
        if position in repeated:
            rows.append((onset, BLOCK, "one-back", "one-back"))
            onset += BLOCK
    rows.append((onset, LAST_REST, "fixation", "fixation"))
    return pd.DataFrame(rows, columns=["onset", "duration", "condition", "kind"])


def real_events(shared_data: Path, subject: str, session: str, run: str) -> pd.DataFrame:
    """Events of a real run of ds001246, read with its own rule for one-backs."""
    name = f"sub-{subject}_ses-{session}_task-perception_run-{run}_events.tsv"
    path = shared_data / "ds001246" / f"sub-{subject}" / f"ses-{session}" / "func" / name
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    stimulus = table["stimulus_name"]
    repeat = (table["event_type"] == "stimulus") & (stimulus == stimulus.shift())
    kind = np.where(
        table["event_type"] == "rest", "fixation", np.where(repeat, "one-back", "stimulus")
    )
    return pd.DataFrame(
        {
            "onset": table["onset"].astype(float),
            "duration": table["duration"].astype(float),
            "condition": np.where(kind == "stimulus", stimulus, kind),
            "kind": kind,
        }
    )


def n_volumes(events: pd.DataFrame) -> int:
    return int((events["onset"] + events["duration"]).max() / TR)


def exact_response(times: np.ndarray, onset: float, duration: float) -> np.ndarray:
    """Boxcar convolved with SPM's double gamma (32 s long, unit area), in closed form."""

    def step(since_onset: np.ndarray) -> np.ndarray:
        since_onset = np.clip(since_onset, 0, 32)
        return gamma.cdf(since_onset, 6) - gamma.cdf(since_onset, 16) / 6

    return (step(times - onset) - step(times - onset - duration)) / step(np.array(32.0))


def sampled_response(events: pd.DataFrame, volumes: int) -> np.ndarray:
    """Response to all of `events` in the middle of each volume, convolved in steps of 0.1 s."""
    hrf_times = np.arange(0, 32, STEP)
    hrf = gamma.pdf(hrf_times, 6) - gamma.pdf(hrf_times, 16) / 6
    boxcar = np.zeros(round(volumes * TR / STEP))
    for onset, duration in zip(events["onset"], events["duration"], strict=True):
        boxcar[round(onset / STEP) : round((onset + duration) / STEP)] = 1
    response = np.convolve(boxcar, hrf / hrf.sum())
    return response[np.round((np.arange(volumes) + 0.5) * TR / STEP).astype(int)]


def simulate(
    events: pd.DataFrame, betas: dict[str, np.ndarray], noise_sd: float, rng: np.random.Generator
) -> np.ndarray:
    """BOLD (volumes, voxels) about 100 from betas by condition name, with AR(1) noise of 0.3."""
    volumes = n_volumes(events)
    signal = sum(
        np.outer(sampled_response(events[events["condition"] == name], volumes), beta)
        for name, beta in betas.items()
    )
    return 100 + signal + noise_sd * autoregressive(volumes, signal.shape[1], 0.3, rng)


def autoregressive(volumes: int, voxels: int, rho: float, rng: np.random.Generator) -> np.ndarray:
    """AR(1) noise of unit variance."""
    noise = rng.standard_normal((volumes, voxels))
    for volume in range(1, volumes):
        noise[volume] = rho * noise[volume - 1] + np.sqrt(1 - rho**2) * noise[volume]
    return noise


def random_motion(volumes: int, rng: np.random.Generator) -> np.ndarray:
    """Six parameters that wander: about 0.02 mm and 0.0003 rad a volume."""
    return np.cumsum(rng.standard_normal((volumes, 6)) * ([0.02] * 3 + [0.0003] * 3), axis=0)
