"""Whether subjects agree more than they would if stimuli meant nothing."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import squareform

from conceptrsa.analysis.rsa.correlations import standardise
from conceptrsa.analysis.settings import RsaMetric

N_PERMUTATIONS = 199


def ceiling_p_value(
    rdms: NDArray[np.float64], metric: RsaMetric, generator: np.random.Generator
) -> float:
    """One-sided p of the mean pairwise noise ceiling, stimuli permuted in each subject's RDM.

    A standard error over subjects would not do: their ceilings share pairs, and two subjects
    have one and the same.

    Parameters
    ----------
    rdms : ndarray, (folds, subjects, pairs) or (subjects, pairs)
        The ceiling is the mean over folds, in which a subject's stimuli are permuted alike;
        subjects without an RDM (NaN) in a fold are left out.
    metric : str
        Kendall's tau-a, which is no sum of products, is replaced by Spearman's rho.
    generator : Generator
        Draws the permutations.

    Returns
    -------
    float
        Share of the permutations, the identity among them, whose ceiling is as high; NaN for
        fewer than two subjects.
    """
    replaced = "spearman" if metric == "kendall-tau-a" else metric
    units = standardise(rdms.reshape(-1, *rdms.shape[-2:]), replaced)
    units = units[:, np.isfinite(units).all(axis=(0, 2))]
    n_folds, n_subjects, _ = units.shape
    if n_subjects < 2:
        return np.nan
    squares = np.stack([[squareform(rdm, checks=False) for rdm in fold] for fold in units])
    n_stimuli = squares.shape[-1]
    first, second = np.triu_indices(n_stimuli, k=1)
    order = np.tile(np.arange(n_stimuli), (n_subjects, 1))
    subject = np.arange(n_subjects)[:, None]
    null = np.empty(N_PERMUTATIONS)
    for index in range(N_PERMUTATIONS):
        shuffled = generator.permuted(order, axis=1)
        null[index] = _agreement(squares[:, subject, shuffled[:, first], shuffled[:, second]])
    # Rounding must not put a permutation that changes nothing below the identity.
    as_high = null >= _agreement(units) - 1e-12 * n_folds
    return float((1 + as_high.sum()) / (1 + N_PERMUTATIONS))


def _agreement(units: NDArray[np.float64]) -> float:
    """Squared lengths of the sums of unit vectors over subjects, summed over folds.

    It grows with the mean of the subjects' correlations.
    """
    return float(np.square(units.sum(axis=1)).sum())
