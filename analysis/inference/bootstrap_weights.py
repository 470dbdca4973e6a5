"""What a bootstrap sample is compared with, as weights of pairs of stimuli."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SampleComparison:
    """Comparisons in every sample of one fold, for every subject, drawn or not.

    Attributes
    ----------
    scores : ndarray, (bootstraps, subjects, models)
    among : ndarray, (bootstraps, subjects, subjects)
        Between the subjects' RDMs.
    lower, upper : ndarray, (bootstraps, subjects)
        With the mean RDM of the other drawn subjects, all copies of the subject left out, and
        with that of all drawn; only the values of drawn subjects mean something.
    """

    scores: NDArray[np.float64]
    among: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


def pair_weights(counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """How often each pair of distinct stimuli occurs, (..., pairs), from counts (..., stimuli)."""
    first, second = np.triu_indices(counts.shape[-1], k=1)
    as_float = counts.astype(np.float64)
    return as_float[..., first] * as_float[..., second]
