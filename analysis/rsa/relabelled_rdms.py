"""RDMs whose stimuli are relabelled, as permutations of the labels ask for by the thousand.

Where numba is installed a compiled kernel gathers the distances
(`conceptrsa.analysis.rsa.relabelled_rdms_numba`), otherwise NumPy; the numbers are the same.
"""

from collections.abc import Iterator
from functools import cache
from types import ModuleType

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers


def add_relabelled(square: Floats, orders: Integers, rows: range, sums: Floats) -> None:
    """Add the distances of relabelled stimuli to sums.

    Parameters
    ----------
    square : ndarray, (stimuli, stimuli)
        An RDM as a symmetric matrix.
    orders : ndarray of int, (permutations, stimuli)
        Which stimulus comes to each place.
    rows : range
        The places whose pairs with all later ones are wanted.
    sums : ndarray, (permutations, pairs of these rows)
        Changed in place; pairs in the order of `scipy.spatial.distance.pdist`.
    """
    kernels = _kernels()
    if kernels is not None:
        kernels.add_relabelled(square, orders, rows.start, rows.stop, sums)
        return
    n_stimuli = len(square)
    first = np.repeat(rows, n_stimuli - 1 - np.array(rows))
    second = np.concatenate([np.arange(row + 1, n_stimuli) for row in rows])
    flat = square.ravel()
    for order, total in zip(orders, sums, strict=True):
        total += flat.take(order[first] * n_stimuli + order[second])


def blocks_of_rows(n_stimuli: int, n_pairs: int) -> Iterator[tuple[range, slice]]:
    """Places (see `add_relabelled`) of about so many pairs together, and where these pairs are."""
    start, first_pair, end = 0, 0, 0
    for row in range(n_stimuli - 1):
        end += n_stimuli - 1 - row
        if end - first_pair >= n_pairs or row == n_stimuli - 2:
            yield range(start, row + 1), slice(first_pair, end)
            start, first_pair = row + 1, end


@cache
def _kernels() -> ModuleType | None:
    """Compiled kernels, or None where numba is not installed."""
    try:
        from conceptrsa.analysis.rsa import relabelled_rdms_numba
    except ImportError:
        return None
    return relabelled_rdms_numba
