"""Where a head is in each volume: it wanders, and now and then it jumps."""

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
