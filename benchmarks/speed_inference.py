"""The time of permutations of labels."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from threadpoolctl import threadpool_limits

from benchmarks.timing import best_time
from conceptrsa.analysis.inference.permutation import permute_labels

N_STIMULI, N_SUBJECTS, N_MODELS = 50, 5, 16
N_PERMUTATIONS, N_REGIONS = 10_000, 12
PERMUTATION_LIMIT = 2.0
"""Seconds."""


def permutation_seconds() -> float:
    """Seconds of all tests of models, pairs of models and groups by permutation, on all cores."""
    generator = np.random.default_rng(0)
    brain = {f"region {i}": _rdms(generator, N_SUBJECTS)[None] for i in range(N_REGIONS)}
    models = _rdms(generator, N_MODELS)
    groups = ["visual"] * 5 + ["multimodal"] * 8 + ["language"] * 3
    with threadpool_limits(1):
        seconds, _ = best_time(
            lambda: permute_labels(
                brain, models, groups, "pearson", N_PERMUTATIONS, np.random.default_rng(1)
            )
        )
    return seconds


def _rdms(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    """RDMs with something in common, (n, pairs)."""
    shared = generator.standard_normal((N_STIMULI, 20))
    return np.stack(
        [pdist(shared + generator.standard_normal(shared.shape), "correlation") for _ in range(n)]
    )
