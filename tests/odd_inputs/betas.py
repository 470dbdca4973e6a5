"""Betas that hold nothing, or that are not the response to one condition."""

from collections.abc import Callable

import numpy as np
import supplied_data as data

UNMEASURED = np.zeros(data.SHAPE, dtype=bool)
UNMEASURED[0, :4] = True
"""More than half of the left part of the visual region, as outside of a mask."""

N_UNMEASURED = int(UNMEASURED.sum())


def runs_with(
    value: float, runs: slice | int = slice(None), rounding: float = 0.0
) -> Callable[[str], np.ndarray]:
    """Give `supplied_data.runs_of` with a value in the voxels that were not measured."""
    intact = data.runs_of

    def runs_of(subject: str) -> np.ndarray:
        betas = intact(subject)
        noise = np.random.default_rng(3).standard_normal(betas.shape)
        filled = np.broadcast_to(value + rounding * noise, betas.shape).astype(np.float32)
        betas[runs, ..., UNMEASURED] = filled[runs, ..., UNMEASURED]
        return betas

    return runs_of
