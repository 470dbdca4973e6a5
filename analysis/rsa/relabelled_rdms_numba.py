"""Compiled kernel of relabelled RDMs; imported only where numba is installed."""

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.rsa.nested_ceilings_numba import compiled


@compiled
def add_relabelled(square: Floats, orders: Integers, start: int, stop: int, sums: Floats) -> None:
    """As `conceptrsa.analysis.rsa.relabelled_rdms.add_relabelled`, rows from start to stop."""
    n_stimuli = len(square)
    row = np.empty(n_stimuli)
    for permutation in range(len(orders)):
        order = orders[permutation]
        end = 0
        for place in range(start, stop):
            # Read in order, memory is fast; the copy is then in the processor's cache.
            row[:] = square[order[place]]
            later = order[place + 1 :]
            begin, end = end, end + len(later)
            total = sums[permutation, begin:end]
            for k in range(len(later)):
                total[k] += row[later[k]]
