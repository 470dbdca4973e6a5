"""Which models cannot be ruled out as the best of a region.

A model is ruled out where another is better than it beyond what new subjects and new stimuli would
change. That is asked of every model, not of the highest score alone, which may be the highest by
chance.
"""

import numpy as np

from conceptrsa.analysis.arrays import Booleans, Floats
from conceptrsa.analysis.inference.findings import ALPHA
from conceptrsa.analysis.inference.generalisation import SMALLEST_ERROR
from conceptrsa.analysis.inference.random_effects import Estimates


def may_be_best(
    scores: Floats, differences: Estimates, alpha: float = ALPHA
) -> tuple[bool | None, ...]:
    """Tell which models may be the best of a region, with confidence 1 - alpha.

    Parameters
    ----------
    scores : ndarray, (models,)
        Mean scores; a model with a NaN is not among those that are compared.
    differences : Estimates
        Of each two models, the first less the second, in the order of `itertools.combinations`.
    alpha : float
        How often the truly best model may be ruled out.

    Returns
    -------
    tuple of (bool or None)
        Of each model whether it may be the best; None where it could be compared with no other.

    Notes
    -----
    Whichever model is the best, it is ruled out in error only if one of the k others in the
    comparison seems better than it. So a model is ruled out where the smallest of its k one-sided
    p is below alpha / k (Bonferroni; Hsu, 1984, compares with the best in this way). Models that
    are ruled out take no further part, which leaves fewer others (Hansen et al., 2011), until no
    more are ruled out. Models that are the same numbers count as one.
    """
    p, same = _one_sided(differences, len(scores))
    left = known = np.isfinite(scores)
    # The first of models that are the same numbers stands for all of them.
    kinds = same.argmax(axis=1)
    while (n_others := len(np.unique(kinds[left])) - 1) > 0:
        kept = left & (np.fmin.reduce(p[:, left], axis=1, initial=1.0) >= alpha / n_others)
        if (kept == left).all():
            break
        left = kept
    n_compared = (np.isfinite(p) | same).sum(axis=1)
    is_told = known & ((n_compared > 1) | (known.sum() == 1))
    return tuple(bool(m) if told else None for m, told in zip(left, is_told, strict=True))


def _one_sided(differences: Estimates, n_models: int) -> tuple[Floats, Booleans]:
    """P of each model (rows) against every other being better, and which are the same numbers."""
    p = np.full((n_models, n_models), np.nan)
    same = np.eye(n_models, dtype=bool)
    first, second = np.triu_indices(n_models, k=1)
    half, ahead = differences.p / 2, differences.estimate > 0
    p[first, second] = np.where(ahead, 1 - half, half)
    p[second, first] = np.where(ahead, half, 1 - half)
    same[first, second] = same[second, first] = differences.standard_error <= SMALLEST_ERROR
    return p, same
