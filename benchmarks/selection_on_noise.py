"""How much selecting voxels inflates results on data that are nothing but noise."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration_study import UNRELATED, Row, Study
from benchmarks.simulation import (
    Design,
    correlation_rdms,
    draw_features,
    draw_models,
    draw_patterns,
)
from conceptrsa.analysis.brain.voxel_selection import max_beta, rank_voxels
from conceptrsa.analysis.rsa.correlations import correlate_rdms
from conceptrsa.analysis.rsa.nested_ceilings import nested_ceilings
from conceptrsa.analysis.rsa.noise_ceiling import noise_ceiling


def selection_on_noise(n: int, seed: int, design: Design) -> Study:
    """Voxels of noise, chosen by the highest beta, as many as give the highest ceiling."""
    generator = np.random.default_rng([seed, 6])
    design = replace(design, n_voxels=300)
    sizes = np.unique(np.geomspace(3, design.n_voxels, 60).astype(np.intp))
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(n):
        features = draw_features(design, generator)
        model = draw_models(features, UNRELATED, design, generator)[:1]
        halves = np.stack(
            [draw_patterns(features, 0.0, design, generator) for _ in range(design.n_subjects)],
            axis=1,
        )
        both = halves.mean(axis=0)
        odd, even = halves
        for name, folds in (
            ("selected and scored on the same runs", ((both, both),)),
            ("selected on one half, scored on the other", ((odd, even), (even, odd))),
        ):
            results = [_selected(select, score, sizes, model) for select, score in folds]
            ceiling, model_score = np.mean(results, axis=0)
            found["noise ceiling", name].append(ceiling)
            found["score of an unrelated model", name].append(model_score)
    rows = []
    for (quantity, data), values in found.items():
        error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
        target = None if "same" in data else (-2 * error, 2 * error)
        rows.append(Row(quantity, data, float(np.mean(values)), error, target))
    return Study("Mean over data sets of pure noise (0 is right)", "mean", tuple(rows))


def _selected(
    select: NDArray[np.float64],
    score: NDArray[np.float64],
    sizes: NDArray[np.intp],
    model: NDArray[np.float64],
) -> tuple[float, float]:
    """Ceiling, and score of a model, of voxels chosen by other data (subjects, stimuli, voxels)."""
    order = [rank_voxels(max_beta(subject)) for subject in select]
    ordered = np.stack([values[:, each] for values, each in zip(select, order, strict=True)])
    sweep = nested_ceilings(ordered, sizes, "correlation", "pearson").pairwise.mean(axis=-1)
    best = sizes[np.argmax(sweep)]
    chosen = np.stack([values[:, each[:best]] for values, each in zip(score, order, strict=True)])
    rdms = correlation_rdms(chosen)
    return (
        float(noise_ceiling(rdms, "pearson").pairwise.mean()),
        float(correlate_rdms(rdms, model, "pearson").mean()),
    )
