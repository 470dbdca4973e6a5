"""Settings of a demo data set; the same settings give the same files, byte for byte."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

GENERATION = 3
"""Raised when the same settings come to give other files."""


@dataclass(frozen=True)
class PlantedRoi:
    """The model that drives a region, and the share of voxels that it drives."""

    model: str
    share: float


PLANTED_ROIS: Mapping[str, PlantedRoi] = {
    "visual": PlantedRoi("EfficientNet-Lite0", 0.60),
    "fusiform": PlantedRoi("EfficientNet-Lite0-early", 0.50),
    "parahippocampal": PlantedRoi("MiniLM", 0.40),
    "hippocampus": PlantedRoi("ConSE-standin", 0.15),
}


@dataclass(frozen=True)
class DemoSettings:
    """Size, seed and signal of a demo data set.

    Attributes
    ----------
    n_subjects, n_runs : int
        Runs are split over two sessions, the first the larger.
    seed : int
        Every random number of the data set descends from it.
    bold_shape, bold_voxel_mm : grid of the BOLD runs (columns, rows, slices) and its voxel size.
    t1w_voxel_mm : float
        Voxel size of the T1w image.
    repetition_time : float
        Seconds a volume.
    n_one_backs : int
        Immediate repeats in a run.
    mean_response, response_spread : float
        Mean and standard deviation of the responses over a region's responsive voxels and all
        stimuli, in percent of the signal of grey matter there.
    patch_fwhm_mm : float
        Smoothness of the planted response over space, as neighbouring voxels share their tuning.
    thermal_noise, physiological_noise : float
        Standard deviations in percent: white noise the same everywhere, and AR(1) noise in
        proportion to the local signal.
    noise_ar1 : float
        Lag-one correlation of the physiological noise.
    drift : float
        Standard deviation over a run of the slow drift, in percent of the local signal.
    planted : mapping of region name to PlantedRoi
    """

    n_subjects: int = 5
    n_runs: int = 6
    seed: int = 0
    bold_shape: tuple[int, int, int] = (64, 64, 40)
    bold_voxel_mm: float = 3.0
    t1w_voxel_mm: float = 1.5
    repetition_time: float = 3.0
    n_one_backs: int = 2
    mean_response: float = 2.0
    response_spread: float = 1.2
    patch_fwhm_mm: float = 3.0
    thermal_noise: float = 0.5
    physiological_noise: float = 0.5
    noise_ar1: float = 0.3
    drift: float = 0.5
    planted: Mapping[str, PlantedRoi] = field(default_factory=lambda: dict(PLANTED_ROIS))

    def fingerprint(self, features: Mapping[str, np.ndarray], stimuli: Sequence[str]) -> str:
        """Digest of everything that decides the content of the files."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        digest.update(f"generation {GENERATION}".encode())
        digest.update(json.dumps(list(stimuli)).encode())
        for model in sorted({roi.model for roi in self.planted.values()}):
            digest.update(model.encode())
            digest.update(np.ascontiguousarray(features[model], dtype=np.float64).tobytes())
        return digest.hexdigest()
