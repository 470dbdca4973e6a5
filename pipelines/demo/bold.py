"""BOLD runs: a moving head, seen slice by slice, with its responses, drift and noise.

Nothing here is shared with the code that later estimates what is planted here.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import ndimage

from conceptrsa.pipelines.demo.anatomy import smooth_field
from conceptrsa.pipelines.demo.demo_settings import DemoSettings

MARGIN = 4
"""Voxels of head simulated beyond each face of the field of view, so that it can move in."""

MEAN_SIGNAL = 1000.0
"""Scanner units of grey matter."""

SPLINE_ORDER: Final = 3
DRIFT_WAVES = 4
NOISE_FWHM_VOXELS = 1.2


@dataclass(frozen=True)
class StillHead:
    """What the scanner would see if the head kept still, `MARGIN` voxels beyond the grid.

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
    drift = _draw_drift(shape, n_volumes, settings.drift / 100, rng)
    physiological = _Ar1Noise(shape, settings.physiological_noise / 100, settings.noise_ar1, rng)
    thermal = np.float32(settings.thermal_noise / 100 * MEAN_SIGNAL)
    for volume, of_slices in enumerate(positions):
        signal = head.acquire(of_slices, weights[:, volume], shape)
        signal *= 1 + drift.at(volume) + physiological.next()
        signal += thermal * rng.standard_normal(shape, dtype=np.float32)
        run[..., volume] = np.rint(np.abs(signal))
    return run


@dataclass(frozen=True)
class _Drift:
    courses: np.ndarray
    maps: np.ndarray

    def at(self, volume: int) -> np.ndarray:
        return np.tensordot(self.courses[:, volume], self.maps, axes=1)


def _draw_drift(
    shape: tuple[int, int, int], n_volumes: int, strength: float, rng: np.random.Generator
) -> _Drift:
    """Waves of up to two periods a run, each with a phase and a smooth map of its own.

    Frequencies and phases are any: they are not those of a high-pass filter's cosines.
    """
    periods = rng.uniform(0, 2, (DRIFT_WAVES, 1))
    phases = rng.uniform(0, 2 * np.pi, (DRIFT_WAVES, 1))
    time = np.arange(n_volumes) / n_volumes
    courses = np.sqrt(2) * np.cos(2 * np.pi * periods * time + phases) / (1 + periods)
    courses *= strength / np.sqrt((1 / (1 + periods) ** 2).sum())
    maps = smooth_field((DRIFT_WAVES, *shape), max(shape) / 3, rng)
    return _Drift(courses.astype(np.float32), maps)


class _Ar1Noise:
    """Stationary first-order autoregressive noise, a little smooth over space."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        deviation: float,
        correlation: float,
        rng: np.random.Generator,
    ) -> None:
        self._shape = shape
        self._rng = rng
        self._correlation = np.float32(correlation)
        self._innovation = np.float32(deviation * np.sqrt(1 - correlation**2))
        self._now: np.ndarray = np.float32(deviation) * self._draw()

    def _draw(self) -> np.ndarray:
        return smooth_field(self._shape, NOISE_FWHM_VOXELS, self._rng)

    def next(self) -> np.ndarray:
        self._now = self._correlation * self._now + self._innovation * self._draw()
        return self._now
