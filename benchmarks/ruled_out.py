"""How often the truly best model is kept among those that may be the best, and how many are."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration_study import SIGNALS, Study, rows_of
from benchmarks.interval_coverage import UNEQUAL
from benchmarks.simulation import GROUPS, Design
from benchmarks.stimulus_designs import (
    DESIGNS,
    StimulusDesign,
    all_stimuli,
    analyse,
    draw_models,
    draw_subjects,
)
from conceptrsa.analysis.inference.best_models import may_be_best

CROSSED = (
    StimulusDesign("5 subjects, 50 stimuli", Design(), 50, all_stimuli),
    StimulusDesign("15 subjects, 92 stimuli", Design(n_subjects=15, n_stimuli=92), 92, all_stimuli),
)
OTHERS = tuple(
    design
    for design in DESIGNS
    if design.name.startswith(("1 subject", "5 subjects, each its own", "5 subjects, each half"))
)


def _ahead(*models: int) -> NDArray[np.float64]:
    relation = np.full(len(GROUPS), 0.3)
    relation[list(models)] = 0.8
    return relation


PATTERNS = {
    "all equal": np.full(len(GROUPS), 0.4),
    "five tie, the others are behind": UNEQUAL,
    "two of different groups tie": _ahead(0, 7),
    "one is the best": _ahead(0),
}
"""How strongly each model holds the brain's features."""


def ruled_out(
    n: int, seed: int, designs: Sequence[StimulusDesign] = (*CROSSED, *OTHERS)
) -> list[Study]:
    """How often a best model is kept, and how many models are left."""
    kept: dict[tuple[str, str], list[float]] = defaultdict(list)
    left: dict[tuple[str, str], list[float]] = defaultdict(list)
    for design in designs:
        for pattern in PATTERNS:
            for region, found in zip(
                SIGNALS, simulate(range(n), seed, design, pattern), strict=True
            ):
                key = f"{pattern}, ceiling {region}", design.name
                best = PATTERNS[pattern] == PATTERNS[pattern].max()
                kept[key] = list(found[:, best].mean(axis=1))
                left[key] = list(found.sum(axis=1).astype(float))
    targets = {quantity[:5]: (0.95, 1.0) for quantity, _ in kept}
    title = f"models that may be the best of {len(GROUPS)} ({n} data sets each)"
    return [
        Study(f"How often a best model is among the {title}", "kept", rows_of(kept, "{}", targets)),
        Study(f"How many are among the {title}", "mean", rows_of(left, "{}", {})),
    ]


def simulate(
    numbers: Sequence[int], seed: int, design: StimulusDesign, pattern: str
) -> NDArray[np.bool_]:
    """Which models may be the best, (regions, data sets, models)."""
    found = []
    for number in numbers:
        place = list(PATTERNS).index(pattern)
        generator = np.random.default_rng([seed, 11, len(design.name), place, number])
        subjects, features = draw_subjects(design, generator)
        models = draw_models(features, PATTERNS[pattern], design, generator)
        regions = analyse(subjects, models)[0]
        found.append([may_be_best(one.models.estimate, one.model_pairs) for one in regions])
    return np.array(found, dtype=bool).swapaxes(0, 1)
