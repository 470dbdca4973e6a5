"""Compiled kernels of the noise ceiling's sweep; imported only where numba is installed.

They compute what `conceptrsa.analysis.rsa.nested_ceilings` computes with NumPy, one number of
voxels after the other, within the processor's cache. The pairs of stimuli are kept by their
distance in the list of stimuli, round its end: n pairs (i, i + 1), n pairs (i, i + 2), ... Rows of
n equal steps suit vector instructions better than the shrinking rows of a triangle, and no
correlation of RDMs depends on the order of pairs.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from conceptrsa.analysis.arrays import Floats, Integers

CORRELATION, COSINE, EUCLIDEAN = 0, 1, 2
DISTANCES = {"correlation": CORRELATION, "cosine": COSINE, "euclidean": EUCLIDEAN}
"""Names of the distances in the kernels."""

FASTMATH = frozenset({"reassoc", "contract", "nsz"})
"""Sums may be vectorised; NaN and infinity keep their meaning."""

IN_ORDER = frozenset({"contract", "nsz"})
"""Products stay in the order that is written, so that equal patterns have equal distances."""

Kernel = TypeVar("Kernel", bound=Callable)


def compiled(function: Kernel, fastmath: AbstractSet[str] = FASTMATH) -> Kernel:
    """Compile a kernel, and keep the machine code on disk wherever there is a place for it."""
    # Python's error model would check every divisor, which keeps loops from being vectorised.
    options: dict[str, Any] = {"nogil": True, "fastmath": set(fastmath), "error_model": "numpy"}
    try:
        kernel: Any = njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no directory that it may write to
        kernel = njit(**options)(function)
    return cast(Kernel, kernel)


@compiled
def sweep_draws(
    voxels: Floats,
    orders: Integers,
    sizes: Integers,
    distance: int,
    by_rank: bool,
    rank_bounds: bool,
    correlations: Floats,
    bounds: Floats,
) -> None:
    """Correlate the RDMs of all subjects over the first n voxels, for each n and each draw.

    Parameters
    ----------
    voxels : ndarray, (voxels of all subjects, stimuli)
        Betas; one voxel's lie side by side.
    orders : ndarray of int, (draws, subjects, columns)
        Rows of `voxels` in the order in which they enter.
    sizes : ndarray of int, (sizes,)
        Increasing numbers of voxels.
    distance : int
        CORRELATION, COSINE or EUCLIDEAN.
    by_rank, rank_bounds : bool
        Whether to correlate ranks, and then whether to fill `bounds`, too.
    correlations : ndarray, (draws, sizes, subjects, subjects)
        Filled; NaN in the rows and columns of a subject whose RDM is constant or undefined.
    bounds : ndarray, (draws, sizes, 2, subjects)
        Filled with the correlation of each subject's ranks with those of the sum of the others'
        ranks, and of all ranks.
    """
    n_draws, n_subjects, _ = orders.shape
    n_stimuli = voxels.shape[1]
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    products = np.empty((n_subjects, n_pairs))
    squares = np.empty((n_subjects, n_stimuli))
    means = np.empty((n_subjects, n_stimuli))
    rdms = np.empty((n_subjects, n_pairs))
    lengths = np.empty(n_subjects)
    twice = np.empty(2 * n_stimuli)
    sums = np.empty((2, n_pairs))
    counts = np.empty(2 * n_subjects * n_pairs + 2, dtype=np.int32)
    scratch = (
        np.empty(n_pairs),
        np.empty(n_pairs, dtype=np.int32),
        np.empty(n_pairs, dtype=np.int32),
        np.empty(4 * n_pairs, dtype=np.int32),
    )
    for draw in range(n_draws):
        products[:] = 0.0
        squares[:] = 0.0
        means[:] = 0.0
        done = 0
        for index in range(len(sizes)):
            size = sizes[index]
            for subject in range(n_subjects):
                for n in range(done, size):
                    twice[:n_stimuli] = voxels[orders[draw, subject, n]]
                    if distance == CORRELATION:
                        helmert_column(twice, n, means[subject])
                    add_products(twice, products[subject], squares[subject])
                rdm = rdms[subject]
                euclidean = distance == EUCLIDEAN
                distances_of_pairs(products[subject], squares[subject], twice, euclidean, rdm)
                if by_rank and not np.isnan(rdm.sum()):
                    rank_in_place(rdm, scratch)
                lengths[subject] = centre_in_place(rdm)
            done = size
            correlate(rdms, lengths, correlations[draw, index])
            if rank_bounds:
                correlate_with_sums(rdms, lengths, bounds[draw, index], sums, counts)


@compiled
def helmert_column(column: Floats, n: int, means: Floats) -> None:
    """Subtract the mean of the n voxels before, times sqrt(n / (n + 1)); update the mean.

    The sums of products of such columns are those of the voxels about their mean, for every n.
    """
    factor = np.sqrt(n / (n + 1))
    share = 1.0 / (n + 1)
    for i in range(len(means)):
        deviation = column[i] - means[i]
        column[i] = factor * deviation
        means[i] += share * deviation


@compiled
def repeat(twice: Floats) -> None:
    """Copy the first half of an array to its second, so that steps go round the end."""
    n = len(twice) // 2
    for i in range(n):
        twice[n + i] = twice[i]


@compiled
def add_products(twice: Floats, products: Floats, squares: Floats) -> None:
    """Add the products of all pairs of a voxel's betas, and their squares."""
    n = len(squares)
    for i in range(n):
        squares[i] += twice[i] * twice[i]
    repeat(twice)
    for start in range(0, len(products), n):
        row = products[start : start + n]
        partner = twice[start // n + 1 :]
        for i in range(len(row)):
            row[i] += twice[i] * partner[i]


@partial(compiled, fastmath=IN_ORDER)
def distances_of_pairs(
    products: Floats, squares: Floats, twice: Floats, euclidean: bool, rdm: Floats
) -> None:
    """Squared Euclidean distances of all pairs, not divided by the voxels; or 1 minus cosines.

    The cosine's are NaN where a pattern is zero.
    """
    n = len(squares)
    twice[:n] = squares
    if not euclidean:
        for i in range(n):
            twice[i] = 1.0 / np.sqrt(squares[i])  # infinite for a zero, and 0 times that is NaN
    repeat(twice)
    for start in range(0, len(products), n):
        row = products[start : start + n]
        found = rdm[start : start + n]
        partner = twice[start // n + 1 :]
        if euclidean:
            for i in range(len(row)):
                found[i] = max((twice[i] + partner[i]) - 2.0 * row[i], 0.0)
        else:
            for i in range(len(row)):
                found[i] = 1.0 - row[i] * (twice[i] * partner[i])


@compiled
def centre_in_place(values: Floats) -> float:
    """Subtract the mean; give the length of what is left, NaN where that is only rounding."""
    mean = values.sum() / len(values)
    square = 0.0
    for k in range(len(values)):
        values[k] -= mean
        square += values[k] * values[k]
    length = np.sqrt(square)
    return length if length > 1e-13 * np.sqrt(len(values)) * abs(mean) else np.nan


@compiled
def dot(a: Floats, b: Floats) -> float:
    """Sum of the products of two vectors."""
    total = 0.0
    for k in range(len(a)):
        total += a[k] * b[k]
    return total


@compiled
def correlate(rdms: Floats, lengths: Floats, correlations: Floats) -> None:
    """Correlate centred RDMs of known lengths with one another."""
    for a in range(len(rdms)):
        correlations[a, a] = lengths[a] / lengths[a]
        for b in range(a):
            r = dot(rdms[a], rdms[b]) / (lengths[a] * lengths[b])
            correlations[a, b] = r
            correlations[b, a] = r


@compiled
def correlate_with_sums(
    ranks: Floats, lengths: Floats, bounds: Floats, sums: Floats, counts: NDArray[np.int32]
) -> None:
    """Correlate each subject's ranks with those of the others' and of everybody's sum."""
    others, everybody = sums
    n_present = 0
    everybody[:] = 0.0
    for subject in range(len(ranks)):
        if not np.isnan(lengths[subject]):
            everybody += ranks[subject]
            n_present += 1
    bounds[:] = np.nan
    if n_present < 2:
        return
    for subject in range(len(ranks)):
        if not np.isnan(lengths[subject]):
            others[:] = everybody - ranks[subject]
            rank_halves_in_place(others, counts)
            length = lengths[subject] * centre_in_place(others)
            bounds[0, subject] = dot(ranks[subject], others) / length
    rank_halves_in_place(everybody, counts)
    length = centre_in_place(everybody)
    for subject in range(len(ranks)):
        bounds[1, subject] = dot(ranks[subject], everybody) / (lengths[subject] * length)


@compiled
def rank_in_place(values: Floats, scratch: tuple) -> None:
    """Replace values, none of them NaN, by ranks from 1; ties share their mean rank.

    Evenly spaced bins sort nearly everything, an insertion sort the rest.
    """
    ordered, places, bins, starts = scratch
    n = len(values)
    low, high = extremes(values)
    if not high > low:
        values[:] = 0.5 * (n + 1)
        return
    to_bin = (len(starts) - 2) / (high - low)
    for k in range(n):
        bins[k] = np.int32((values[k] - low) * to_bin)
    starts[:] = 0
    for k in range(n):
        starts[bins[k] + 1] += np.int32(1)
    below = np.int32(0)
    for b in range(len(starts)):
        below += starts[b]
        starts[b] = below
    for k in range(n):
        place = starts[bins[k]]
        starts[bins[k]] = place + np.int32(1)
        ordered[place] = values[k]
        places[place] = k
    insertion_sort(ordered, places)
    tied = False
    for k in range(n - 1):
        tied |= ordered[k] == ordered[k + 1]
    if not tied:
        for k in range(n):
            values[places[k]] = k + 1
        return
    first = 0
    while first < n:
        after = first + 1
        while after < n and ordered[after] == ordered[first]:
            after += 1
        for k in range(first, after):
            values[places[k]] = 0.5 * (first + 1 + after)
        first = after


@compiled
def rank_halves_in_place(values: Floats, counts: NDArray[np.int32]) -> None:
    """Replace multiples of 1/2 (sums of ranks) by ranks from 1, by counting each value."""
    low, high = extremes(values)
    used = counts[: int(2.0 * (high - low)) + 2]
    used[:] = 0
    for k in range(len(values)):
        used[int(2.0 * (values[k] - low)) + 1] += np.int32(1)
    so_far = np.int32(0)
    for b in range(len(used)):
        so_far += used[b]
        used[b] = so_far
    for k in range(len(values)):
        b = int(2.0 * (values[k] - low))
        values[k] = 0.5 * (used[b] + used[b + 1] + 1)


@partial(compiled, fastmath=FASTMATH | {"nnan"})
def extremes(values: Floats) -> tuple[float, float]:
    """Smallest and largest of values that hold no NaN."""
    low, high = values[0], values[0]
    for k in range(len(values)):
        low = values[k] if values[k] < low else low
        high = values[k] if values[k] > high else high
    return low, high


@compiled
def insertion_sort(ordered: Floats, places: NDArray[np.int32]) -> None:
    """Sort values that are nearly in order, and their places with them."""
    for k in range(1, len(ordered)):
        value = ordered[k]
        if value < ordered[k - 1]:
            place = places[k]
            gap = k
            while gap > 0 and ordered[gap - 1] > value:
                ordered[gap] = ordered[gap - 1]
                places[gap] = places[gap - 1]
                gap -= 1
            ordered[gap] = value
            places[gap] = place
