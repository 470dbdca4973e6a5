"""BOLD runs: a head that wanders and jumps, seen slice by slice, with its responses and noise.

Nothing here is shared with the code that later estimates what is planted here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from conceptrsa.pipelines.demo.demo_settings import DemoSettings
from conceptrsa.pipelines.demo.head import smooth_field

MARGIN = 4
"""Voxels of head simulated beyond each face of the field of view, so that it can move in."""

MEAN_SIGNAL = 1000.0
"""Scanner units of grey matter."""

SPLINE_ORDER: Final = 3
DRIFT_WAVES = 4
NOISE_FWHM_VOXELS = 1.2

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


@dataclass(frozen=True)
class StillHead:
    """Signal of a head that keeps still, up to `MARGIN` voxels beyond the grid.

    The arrays hold spline coefficients, not values, with the slice axis first so that a slab is
    contiguous. A response moves with the head: it is part of the head, not of the grid.

    Attributes
    ----------
    anatomy : (z, x, y) float32 array
    responses : (stimuli, z, x, y) float32 array
    affine : (4, 4) array, voxel of the field of view to scanner RAS in mm
    """

    anatomy: np.ndarray
    responses: np.ndarray
    affine: np.ndarray

    @classmethod
    def from_images(
        cls, anatomy: np.ndarray, responses: np.ndarray, affine: np.ndarray
    ) -> "StillHead":
        """Take images with the margin, (x, y, z) and (stimuli, x, y, z), in scanner units."""
        return cls(
            _spline_coefficients(anatomy),
            np.stack([_spline_coefficients(response) for response in responses]),
            affine,
        )

    def acquire(
        self, positions: np.ndarray, weights: np.ndarray, shape: tuple[int, int, int]
    ) -> np.ndarray:
        """One volume without noise.

        Parameters
        ----------
        positions : (slices, 4, 4) array
            Scanner RAS of the still head to where the head is at the moment of each slice.
        weights : (stimuli, slices) array
            How much of each response is there at the moment of each slice.
        shape : of the volume

        Returns
        -------
        (x, y, z) float32 array
        """
        to_head = np.linalg.inv(positions @ self.affine) @ self.affine
        in_slice = np.indices(shape[:2]).reshape(2, -1)
        volume = np.empty(shape, dtype=np.float32)
        for index, matrix in enumerate(to_head[:, :3]):
            origin = index * matrix[:, 2:3] + matrix[:, 3:] + MARGIN
            points = matrix[:, :2] @ in_slice + origin
            first = max(int(points[2].min()) - 2, 0)
            last = min(int(points[2].max()) + 4, len(self.anatomy))
            slab = self.anatomy[first:last].copy()
            for stimulus in np.flatnonzero(np.abs(weights[:, index]) > 1e-6):
                slab += np.float32(weights[stimulus, index]) * self.responses[stimulus, first:last]
            plane = np.empty(points.shape[1], dtype=np.float32)
            ndimage.map_coordinates(
                slab,
                points[[2, 0, 1]] - [[first], [0], [0]],
                output=plane,
                order=SPLINE_ORDER,
                mode="mirror",
                prefilter=False,
            )
            volume[..., index] = plane.reshape(shape[:2])
        return volume


def _spline_coefficients(image: np.ndarray) -> np.ndarray:
    filtered = np.empty(image.shape, dtype=np.float32)
    ndimage.spline_filter(image, SPLINE_ORDER, output=filtered, mode="mirror")
    return np.ascontiguousarray(np.moveaxis(filtered, 2, 0))


def simulate_run(
    head: StillHead,
    positions: np.ndarray,
    weights: np.ndarray,
    settings: DemoSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """All volumes of a run.

    Parameters
    ----------
    head : StillHead
    positions : (volumes, slices, 4, 4) array
        Scanner RAS of the still head to where it is at the moment of each slice of each volume.
    weights : (stimuli, volumes, slices) array
        How much of each response is there at the moment of each slice of each volume.
    settings : DemoSettings
        For the grid, the noise and the drift.
    rng : numpy Generator

    Returns
    -------
    (x, y, z, volumes) int16 array in scanner units
    """
    shape = settings.bold_shape
    n_volumes = len(positions)
    run = np.empty((*shape, n_volumes), dtype=np.int16, order="F")
    drifts = _drift(shape, n_volumes, settings.drift / 100, rng)
    noises = _ar1_noise(shape, settings.physiological_noise / 100, settings.noise_ar1, rng)
    thermal = np.float32(settings.thermal_noise / 100 * MEAN_SIGNAL)
    for volume, (of_slices, drift, noise) in enumerate(
        zip(positions, drifts, noises, strict=False)
    ):
        signal = head.acquire(of_slices, weights[:, volume], shape)
        signal *= 1 + drift + noise
        signal += thermal * rng.standard_normal(shape, dtype=np.float32)
        run[..., volume] = np.rint(np.abs(signal))
    return run


def _drift(
    shape: tuple[int, int, int], n_volumes: int, strength: float, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Waves of up to two periods a run, each with a phase and a smooth map of its own.

    Frequencies and phases are any: they are not those of a high-pass filter's cosines.
    """
    periods = rng.uniform(0, 2, (DRIFT_WAVES, 1))
    phases = rng.uniform(0, 2 * np.pi, (DRIFT_WAVES, 1))
    time = np.arange(n_volumes) / n_volumes
    courses = np.sqrt(2) * np.cos(2 * np.pi * periods * time + phases) / (1 + periods)
    courses *= strength / np.sqrt((1 / (1 + periods) ** 2).sum())
    maps = smooth_field((DRIFT_WAVES, *shape), max(shape) / 3, rng)
    for amplitudes in courses.astype(np.float32).T:
        yield np.tensordot(amplitudes, maps, axes=1)


def _ar1_noise(
    shape: tuple[int, int, int], deviation: float, correlation: float, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Stationary first-order autoregressive noise, a little smooth over space, without end."""
    innovation = np.float32(deviation * np.sqrt(1 - correlation**2))
    now: np.ndarray = np.float32(deviation) * smooth_field(shape, NOISE_FWHM_VOXELS, rng)
    while True:
        fresh = smooth_field(shape, NOISE_FWHM_VOXELS, rng)
        now = np.float32(correlation) * now + innovation * fresh
        yield now
