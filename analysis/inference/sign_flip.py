"""Exact test over subjects by flipping the signs of their values."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MAX_ENUMERATED = 16
"""Up to so many subjects all sign patterns are tried."""

N_RANDOM = 2**MAX_ENUMERATED
"""Sign patterns tried beyond that, the observed one among them."""


@dataclass(frozen=True)
class SignFlipTest:
    """Result of a sign-flip test; arrays (tests,).

    Attributes
    ----------
    p : ndarray
        Two-sided; NaN where a subject's value is missing or all are zero.
    p_floor : float
        The smallest p that so many subjects can give: 2 / 2^n, 0.0625 for 5.
    exact : bool
        Whether all sign patterns were tried.
    """

    p: NDArray[np.float64]
    p_floor: float
    exact: bool


def sign_flip_test(
    values: NDArray[np.float64], generator: np.random.Generator | None = None
) -> SignFlipTest:
    """Test whether subjects' values are symmetric about zero, by their mean.

    It speaks of new subjects who see *these* stimuli: chance agreement of a model with these
    stimuli is common to all subjects, and is taken for an effect.

    Parameters
    ----------
    values : ndarray, (subjects, tests)
        Scores, or differences between scores.
    generator : Generator
        Draws sign patterns for more than 16 subjects.

    Raises
    ------
    ValueError
        For more than 16 subjects without a generator.
    """
    n_subjects = len(values)
    exact = n_subjects <= MAX_ENUMERATED
    if exact:
        signs = _every_sign(n_subjects)
    elif generator is None:
        raise ValueError(f"{n_subjects} subjects need a generator to draw sign patterns")
    else:
        signs = generator.choice((-1.0, 1.0), size=(N_RANDOM, n_subjects))
        signs[0] = 1.0
    scale = np.abs(values).sum(axis=0)
    # Sums that differ by rounding alone are ties.
    as_large = np.abs(signs @ values) >= np.abs(values.sum(axis=0)) - 1e-12 * scale
    testable = np.isfinite(scale) & (scale > 0)
    # A pattern and its opposite give the same size, so half of them were tried if exact.
    floor = 2.0 ** (1 - n_subjects) if exact else max(2.0 ** (1 - n_subjects), 1 / N_RANDOM)
    return SignFlipTest(np.where(testable, as_large.mean(axis=0), np.nan), min(1.0, floor), exact)


@lru_cache(maxsize=4)
def _every_sign(n: int) -> NDArray[np.float64]:
    """Sign patterns of n values with the last one positive, (2^(n - 1), n)."""
    patterns = np.arange(2 ** max(n - 1, 0))[:, None] >> np.arange(n)[None] & 1
    return np.asarray(1.0 - 2.0 * patterns, dtype=np.float64)
