"""Simulated subjects and models for the tests of the preset 'recommended'."""

from dataclasses import replace

import numpy as np

from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns
from conceptrsa.analysis.models.feature_files import Features
from conceptrsa.analysis.settings import settings_for

N_STIMULI = 16
STIMULI = tuple(f"n{row:08d}_{row}" for row in range(N_STIMULI))
ROIS = {"visual": (60, 1.0), "hippocampus": (45, 0.4), "hippocampus-left": (20, 0.4)}
MODELS = {
    "CLIP": ("multimodal", 0.5),
    "VirTex": ("multimodal", 1.0),
    "ResNet50": ("visual", 3.0),
    "BiT-M": ("visual", 4.0),
    "BERT": ("language", 1e6),
}
FEW = {
    "n_random_draws": 2,
    "sweep_dense_until": 10,
    "sweep_log_points": 3,
    "n_permutations": 200,
}
TOP_10 = settings_for("recommended", voxel_selection="top-n", n_voxels=10, multiverse=False, **FEW)


def latent() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N_STIMULI, 6))


def patterns(n_subjects: int = 5, *, signal: float = 1.0, seed: int = 1) -> list[SubjectPatterns]:
    rng = np.random.default_rng(seed)
    subjects = []
    for number in range(n_subjects):
        rois = {}
        for name, (n_voxels, strength) in ROIS.items():
            shown = signal * strength * latent() @ rng.standard_normal((6, n_voxels))
            runs = shown + 2 * rng.standard_normal((4, N_STIMULI, n_voxels))
            rois[name] = RoiPatterns(
                whole=runs.mean(axis=0),
                voxels=np.arange(n_voxels),
                halves=(runs[0::2].mean(axis=0), runs[1::2].mean(axis=0)),
                runs=runs,
                residual_covariance=np.diag(np.linspace(1, 3, n_voxels)),
            )
        subjects.append(SubjectPatterns(f"{number + 1:02d}", STIMULI, rois))
    return subjects


def features() -> list[Features]:
    rng = np.random.default_rng(2)
    return [
        Features(
            name,
            group,
            STIMULI,
            latent() @ rng.standard_normal((6, 40)) + noise * rng.standard_normal((N_STIMULI, 40)),
        )
        for name, (group, noise) in MODELS.items()
    ]


def without(field: str, subjects: list[SubjectPatterns]) -> list[SubjectPatterns]:
    return [
        replace(
            subject,
            rois={name: replace(roi, **{field: None}) for name, roi in subject.rois.items()},
        )
        for subject in subjects
    ]
