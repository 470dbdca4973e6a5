"""Noise ceilings of the first n voxels in some order, for many n.

The sums over voxels that an RDM is made of grow from one number of voxels to the next, so that
every RDM costs the same however many voxels it holds. Where numba is installed, compiled kernels
do this (`conceptrsa.analysis.rsa.nested_ceilings_numba`), otherwise NumPy; the numbers are the
same.
"""

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.rsa.noise_ceiling import (
    NoiseCeiling,
    ceiling_from_correlations,
    noise_ceiling,
)
from conceptrsa.analysis.settings import RdmMetric, RsaMetric
from conceptrsa.bids_config.machine import map_on_threads, share_of_machine

DRAWS_AT_ONCE = 4
"""Block size for which NumPy's matrices stay in the processor's cache."""

NUMBERS_AT_ONCE = 4_000_000
"""Number of correlations held at a time (32 MB), whatever the draws, sizes and subjects."""


def ceilings_of_orders(
    patterns: Sequence[Floats],
    orders: Integers,
    sizes: Integers,
    rdm_metric: RdmMetric,
    rsa_metric: RsaMetric,
    *,
    spearman_bounds: bool = True,
) -> NoiseCeiling:
    """Ceilings of the first n voxels of each order, for each n of `sizes`.

    Parameters
    ----------
    patterns : sequence of ndarray, (stimuli, voxels)
    orders : ndarray of int, (draws, subjects, columns)
        Columns of the patterns in the order in which they enter.
    sizes : ndarray of int, (sizes,)
        Increasing numbers of voxels.
    rdm_metric, rsa_metric : str
    spearman_bounds : bool
        False leaves Spearman's lower and upper bounds NaN: they take longer than all the rest.

    Returns
    -------
    NoiseCeiling
        Arrays (draws, sizes, subjects).
    """
    kernels = _kernels() if rsa_metric in ("pearson", "spearman") else None
    if kernels is not None:
        with_bounds = rsa_metric == "spearman" and spearman_bounds
        return _compiled_ceilings(
            kernels, patterns, orders, sizes, rdm_metric, rsa_metric, with_bounds
        )

    def gather(draw: Integers) -> Floats:
        """Patterns (subjects, stimuli, columns) with voxels in the order of a draw."""
        return np.stack([values[:, order] for values, order in zip(patterns, draw, strict=True)])

    blocks = [
        nested_ceilings(
            np.stack([gather(draw) for draw in orders[start : start + DRAWS_AT_ONCE]]),
            sizes,
            rdm_metric,
            rsa_metric,
            spearman_bounds=spearman_bounds,
        )
        for start in range(0, len(orders), DRAWS_AT_ONCE)
    ]
    return NoiseCeiling(*map(np.concatenate, zip(*blocks, strict=True)))


def nested_ceilings(
    patterns: Floats,
    sizes: Integers,
    rdm_metric: RdmMetric,
    rsa_metric: RsaMetric,
    *,
    spearman_bounds: bool = True,
) -> NoiseCeiling:
    """Ceilings of the first n voxels, for each n of `sizes`, by NumPy.

    Parameters
    ----------
    patterns : ndarray, (..., subjects, stimuli, voxels)
        Voxels in the order in which they enter.
    sizes, rdm_metric, rsa_metric, spearman_bounds
        As in `ceilings_of_orders`.

    Returns
    -------
    NoiseCeiling
        Arrays (..., sizes, subjects).
    """
    n_stimuli = patterns.shape[-2]
    first, second = np.triu_indices(n_stimuli, k=1)
    # Columns whose sums of products over the first n are what the RDM of n voxels is made of.
    columns = patterns
    if rdm_metric == "correlation":
        columns = _helmert(patterns)
    elif rdm_metric == "euclidean":
        columns = without_mean_pattern(patterns)
    products = np.zeros((*patterns.shape[:-1], n_stimuli))
    found = np.empty((3, *patterns.shape[:-3], len(sizes), patterns.shape[-3]))
    done = 0
    for index, size in enumerate(sizes):
        new = columns[..., done:size]
        products += new @ new.swapaxes(-1, -2)
        done = size
        squares = np.diagonal(products, axis1=-2, axis2=-1)
        between = products[..., first, second]
        if rdm_metric == "euclidean":
            rdms = np.maximum(squares[..., first] + squares[..., second] - 2 * between, 0.0)
        else:
            scale = 1.0 / np.sqrt(np.where(squares > 0, squares, np.nan))
            rdms = 1.0 - between * (scale[..., first] * scale[..., second])
        found[..., index, :] = noise_ceiling(rdms, rsa_metric, spearman_bounds=spearman_bounds)
    return NoiseCeiling(*found)


def _helmert(patterns: Floats) -> Floats:
    """Helmert-transform the voxels (last axis), leaving out the first, constant row.

    The sum of products of the first n transformed columns is the sum of products of the first n
    voxels about *their* mean, for every n: centring moves along without being done anew.
    """
    count = np.arange(1, patterns.shape[-1] + 1)
    # About the first voxel, so that a constant pattern stays zero to the bit.
    values = patterns - patterns[..., :1]
    running_mean = np.cumsum(values, axis=-1) / count
    columns = np.zeros_like(values)
    deviation = values[..., 1:] - running_mean[..., :-1]
    columns[..., 1:] = deviation * np.sqrt(count[:-1] / count[1:])
    return columns


def without_mean_pattern(patterns: Floats) -> Floats:
    """Subtract what stimuli have in common: differences stay, and lose less to rounding."""
    centred: Floats = patterns - patterns.mean(axis=-2, keepdims=True)
    return centred


def _compiled_ceilings(
    kernels: ModuleType,
    patterns: Sequence[Floats],
    orders: Integers,
    sizes: Integers,
    rdm_metric: RdmMetric,
    rsa_metric: RsaMetric,
    with_rank_bounds: bool,
) -> NoiseCeiling:
    """As `ceilings_of_orders`, a few draws at a time, shared among the processor's cores.

    Each draw is computed on one core alone, so that the numbers do not depend on how many.
    """
    if rdm_metric == "euclidean":
        patterns = [without_mean_pattern(values) for values in patterns]
    voxels = np.ascontiguousarray(np.concatenate([values.T for values in patterns]))
    n_before = np.cumsum([0, *(values.shape[1] for values in patterns[:-1])])
    rows = orders + n_before[:, None]
    distance = kernels.DISTANCES[rdm_metric]
    n_subjects = len(patterns)

    def ceilings(some: Integers) -> NoiseCeiling:
        correlations = np.empty((len(some), len(sizes), n_subjects, n_subjects))
        bounds = np.full((len(some), len(sizes), 2, n_subjects), np.nan)
        by_rank = rsa_metric == "spearman"
        kernels.sweep_draws(
            voxels, some, sizes, distance, by_rank, with_rank_bounds, correlations, bounds
        )
        ceiling = ceiling_from_correlations(correlations)
        if by_rank:
            return NoiseCeiling(ceiling.pairwise, bounds[..., 0, :], bounds[..., 1, :])
        return ceiling

    n_threads = min(share_of_machine().n_processors, len(rows))
    per_draw = max(len(sizes) * n_subjects**2, 1)
    at_once = max(min(NUMBERS_AT_ONCE // (per_draw * n_threads), len(rows) // n_threads), 1)
    blocks = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
    found = map_on_threads(ceilings, blocks)
    return NoiseCeiling(*map(np.concatenate, zip(*found, strict=True)))


def _kernels() -> ModuleType | None:
    """Compiled kernels, or None where numba is not installed."""
    try:
        from conceptrsa.analysis.rsa import nested_ceilings_numba
    except ImportError:
        return None
    return nested_ceilings_numba
