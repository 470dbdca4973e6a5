"""P-values of many tests at once, from statistics under every permutation.

The family-wise p compares each statistic with the largest of all under every permutation (Nichols
and Holmes, 2002). Statistics are first divided by their own standard deviation over permutations,
so that no region or model sets the limit for the others only because its statistic varies more.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.inference.paper_tests import benjamini_hochberg

TOLERANCE = 1e-12
"""Statistics that differ by less are equal: permutations that change nothing but the order of a
sum must count as ties."""

STATISTICS_AT_ONCE = 200_000
"""So many that a chunk stays in the processor's cache."""


@dataclass(frozen=True)
class PermutationTests:
    """Tests of one kind in all regions; arrays (regions, tests), NaN where nothing was tested.

    Attributes
    ----------
    tested : tuple of tuple of str
        What each column tests: a model, or the first against the second of two.
    statistic : ndarray
        Score, or difference between two scores.
    p : ndarray
        Share of permutations, the identity among them, with a statistic as large.
    p_max : ndarray
        Corrected over all tests and regions by the largest standardised statistic (family-wise).
    p_fdr : ndarray
        Corrected over all tests and regions after Benjamini and Hochberg.
    """

    tested: tuple[tuple[str, ...], ...]
    statistic: NDArray[np.float64]
    p: NDArray[np.float64]
    p_max: NDArray[np.float64]
    p_fdr: NDArray[np.float64]


def permutation_tests(
    tested: tuple[tuple[str, ...], ...],
    contrasts: NDArray[np.float64],
    null: NDArray[np.float64],
    expected: NDArray[np.float64],
    *,
    two_sided: bool,
) -> PermutationTests:
    """Test weighted sums of scores.

    Parameters
    ----------
    tested : tuple of tuple of str
        Names of the tests.
    contrasts : ndarray, (scores, tests)
        Each test's weights; NaN where there is nothing to test.
    null : ndarray, (permutations, regions, scores)
        Scores under every permutation, the identity first; NaN scores make their tests NaN.
    expected : ndarray, (regions, scores)
        Means over all possible permutations, from which two-sided tests count both ways.
    two_sided : bool
        Whether large means far from the expected value; otherwise, above it.
    """
    missing = ~np.isfinite(null[0])
    weights = np.nan_to_num(contrasts)
    unusable = (missing.astype(float) @ (weights != 0) > 0) | np.isnan(contrasts).any(axis=0)

    def statistics(rows: slice) -> NDArray[np.float64]:
        deviations = np.where(missing, 0.0, null[rows] - expected)
        found: NDArray[np.float64] = deviations @ weights
        return np.abs(found, out=found) if two_sided else found

    observed = statistics(slice(1))[0]
    n_rows = max(1, STATISTICS_AT_ONCE // max(1, observed.size))
    chunks = [slice(start, start + n_rows) for start in range(0, len(null), n_rows)]
    squares = np.zeros_like(observed)
    n_as_large = np.zeros(observed.shape, dtype=np.intp)
    for rows in chunks:
        found = statistics(rows)
        n_as_large += (found >= observed - TOLERANCE).sum(axis=0)
        squares += np.einsum("nrt,nrt->rt", found, found)
    sd = np.sqrt(squares / len(null))
    precision = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > TOLERANCE)
    excluded = np.where(unusable, -np.inf, 0.0)
    maxima = np.concatenate(
        [
            (statistics(rows) * precision + excluded).max(axis=(1, 2), initial=-np.inf)
            for rows in chunks
        ]
    )
    p = np.where(unusable, np.nan, n_as_large / len(null))
    p_max = family_wise_p((observed - TOLERANCE) * precision, maxima)
    return PermutationTests(
        tested=tested,
        statistic=np.where(unusable, np.nan, np.where(missing, 0.0, null[0]) @ weights),
        p=p,
        p_max=np.where(unusable, np.nan, p_max),
        p_fdr=benjamini_hochberg(p.ravel()).reshape(p.shape),
    )


def family_wise_p(
    observed: NDArray[np.float64], maxima: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of the maxima (permutations,), the identity's among them, that reach each statistic."""
    below = np.searchsorted(np.sort(maxima), observed, side="left")
    return np.asarray((len(maxima) - below) / len(maxima), dtype=np.float64)
