"""Where a head is while it is scanned: it wanders, and now and then it jumps."""

import numpy as np
from scipy.spatial.transform import Rotation

# Standard deviations: wandering a volume, a jump, and lying down again for another session.
STEP_MM, STEP_RAD = 0.03, 0.0004
JUMP_MM, JUMP_RAD, JUMPS_PER_RUN = 0.35, 0.005, 0.5
SESSION_MM, SESSION_RAD = 0.8, 0.01
PULL_BACK = 0.99
"""Share of its displacement that a head keeps from one volume to the next."""


def rigid(shift: np.ndarray, angles: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """4x4 matrix that turns about a centre (rad, about the fixed x, y and z axes), then shifts."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix()
    matrix[:3, 3] = centre + shift - matrix[:3, :3] @ centre
    return matrix


def draw_motion(
    volumes_per_session: tuple[int, ...],
    volumes_per_run: int,
    centre: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Head positions over all runs of a subject, relative to the first volume of all.

    Each is the position at the middle of its volume, half a repetition time after its start.

    Parameters
    ----------
    volumes_per_session : tuple of int
        Volumes of each session; a new session starts from a new place.
    volumes_per_run : int
        Only sets how often the head jumps.
    centre : (3,) array
        Point in mm about which the head turns.
    rng : numpy Generator

    Returns
    -------
    (volumes, 4, 4) array
        From where a point of the head is in the first volume to where it is in each volume, in
        mm of scanner RAS.
    """
    scale = np.repeat([1.0, STEP_RAD / STEP_MM], 3)
    jump_scale = np.repeat([JUMP_MM, JUMP_RAD], 3)
    session_scale = np.repeat([SESSION_MM, SESSION_RAD], 3)
    parameters = []
    for n_volumes in volumes_per_session:
        steps = rng.normal(0, STEP_MM, (n_volumes, 6)) * scale
        jumping = rng.random(n_volumes) < JUMPS_PER_RUN / volumes_per_run
        steps[jumping] += rng.normal(0, 1, (int(jumping.sum()), 6)) * jump_scale
        origin = rng.normal(0, 1, 6) * session_scale
        wander = np.zeros(6)
        for step in steps:
            wander = PULL_BACK * wander + step
            parameters.append(origin + wander)
    positions = np.stack([rigid(p[:3], p[3:], centre) for p in parameters])
    from_first: np.ndarray = positions @ np.linalg.inv(positions[0])
    return from_first


def slice_positions(motion: np.ndarray, delays: np.ndarray) -> np.ndarray:
    """Head position at the moment of each slice of a run.

    Between the middles of two volumes the head moves in a straight line; before the first and
    after the last middle it is at rest.

    Parameters
    ----------
    motion : (volumes, 4, 4) array
        Positions at the middle of each volume.
    delays : (slices,) array
        From the start of a volume to each slice, as shares of the repetition time.

    Returns
    -------
    (volumes, slices, 4, 4) array
    """
    times = np.arange(len(motion))[:, np.newaxis] + delays - 0.5
    times = np.clip(times, 0, len(motion) - 1)
    before = np.floor(times).astype(int)
    after = np.minimum(before + 1, len(motion) - 1)
    share = (times - before)[..., np.newaxis, np.newaxis]
    # Turns between volumes are so small (milliradians) that the mean of two matrices is rigid.
    positions: np.ndarray = (1 - share) * motion[before] + share * motion[after]
    return positions
