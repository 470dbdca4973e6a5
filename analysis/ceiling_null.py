"""Whether subjects agree more than they would if stimuli meant nothing."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import squareform

from analysis.rsa import standardise
from analysis.settings import RsaMetric

N_PERMUTATIONS = 199


def ceiling_p_value(
    rdms: NDArray[np.float64], metric: RsaMetric, generator: np.random.Generator
) -> float:
    """One-sided p of the mean pairwise noise ceiling, stimuli permuted in each subject's RDM.

    A standard error over subjects would not do: their ceilings share pairs, and two subjects
    have one and the same.

    Parameters
    ----------
    rdms : ndarray, (subjects, pairs)
        Subjects without an RDM (NaN) are left out.
    metric : {'pearson', 'spearman'}
    generator : Generator
        Draws the permutations.

    Returns
    -------
    float
        Share of the permutations, the identity among them, whose ceiling is as high; NaN for
        fewer than two subjects.
    """
    units = standardise(rdms, metric)
    units = units[np.isfinite(units).all(axis=1)]
    n_subjects = len(units)
    if n_subjects < 2:
        return np.nan
    squares = np.stack([squareform(subject, checks=False) for subject in units])
    n_stimuli = squares.shape[-1]
    first, second = np.triu_indices(n_stimuli, k=1)
    order = np.tile(np.arange(n_stimuli), (n_subjects, 1))
    subject = np.arange(n_subjects)[:, None]
    null = np.empty(N_PERMUTATIONS)
    for index in range(N_PERMUTATIONS):
        shuffled = generator.permuted(order, axis=1)
        null[index] = _agreement(squares[subject, shuffled[:, first], shuffled[:, second]])
    # Rounding must not put a permutation that changes nothing below the identity.
    as_high = null >= _agreement(units) - 1e-12
    return float((1 + as_high.sum()) / (1 + N_PERMUTATIONS))


def _agreement(units: NDArray[np.float64]) -> float:
    """Squared length of the sum of unit vectors: grows with the mean of their correlations."""
    return float(np.square(units.sum(axis=0)).sum())
