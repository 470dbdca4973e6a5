"""The noise ceiling as a function of the number of voxels (the paper's Figure 1).

Voxels are put in order once, and the sums over voxels that an RDM is made of grow from one number
of voxels to the next, so that every RDM costs the same however many voxels it holds.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.noise_ceiling import NoiseCeiling, noise_ceiling
from analysis.settings import ComparisonSettings, RdmMetric, RsaMetric
from analysis.voxel_selection import max_beta, rank_voxels

MIN_VOXELS = 3
"""Over two voxels a correlation is 1 or -1 whatever the data."""

DRAWS_AT_ONCE = 4
"""So many that the matrices of a block stay in the processor's cache."""


@dataclass(frozen=True)
class CeilingSweep:
    """Noise ceilings of one region over the number of voxels.

    Attributes
    ----------
    roi : str
    n_voxels : ndarray of int, (sizes,)
    top : NoiseCeiling
        Of the voxels with the highest betas; arrays (sizes, subjects).
    random : NoiseCeiling
        Of random voxels; arrays (draws, sizes, subjects).
    """

    roi: str
    n_voxels: NDArray[np.intp]
    top: NoiseCeiling
    random: NoiseCeiling


def sweep_ceiling(
    roi: str, patterns: Sequence[NDArray[np.float64]], settings: ComparisonSettings
) -> CeilingSweep:
    """Sweep the number of voxels of one region, by top betas and at random.

    Parameters
    ----------
    roi : str
        Its name also enters the seed, so that a region's draws do not depend on the other regions.
    patterns : sequence of ndarray, (stimuli, voxels)
        One per subject; the smallest region among the subjects ends the sweep.
    settings : ComparisonSettings

    Returns
    -------
    CeilingSweep
        Lower and upper bounds of the random voxels are NaN for Spearman, for speed.
    """
    smallest = min(values.shape[1] for values in patterns)
    sizes = sweep_sizes(smallest, settings.sweep_dense_until, settings.sweep_log_points)
    metrics = settings.rdm_metric, settings.rsa_metric
    top = np.stack([values[:, rank_voxels(max_beta(values))[:smallest]] for values in patterns])
    generator = np.random.default_rng([settings.seed, zlib.crc32(roi.encode())])
    blocks = _random_blocks(patterns, smallest, settings.n_random_draws, generator)
    return CeilingSweep(
        roi=roi,
        n_voxels=sizes,
        top=nested_ceilings(top, sizes, *metrics),
        random=_joined(
            [nested_ceilings(block, sizes, *metrics, spearman_bounds=False) for block in blocks]
        ),
    )


def sweep_sizes(n_voxels: int, dense_until: int, log_points: int) -> NDArray[np.intp]:
    """Numbers of voxels to visit: each from 3 to `dense_until`, then log-spaced to `n_voxels`."""
    dense = np.arange(MIN_VOXELS, min(dense_until, n_voxels) + 1)
    if n_voxels <= dense_until:
        return dense
    spaced = np.round(np.geomspace(dense_until, n_voxels, log_points + 1)).astype(np.intp)
    return np.union1d(dense, spaced)


def nested_ceilings(
    patterns: NDArray[np.float64],
    sizes: NDArray[np.intp],
    rdm_metric: RdmMetric,
    rsa_metric: RsaMetric,
    *,
    spearman_bounds: bool = True,
) -> NoiseCeiling:
    """Ceilings of the first n voxels, for each n of `sizes`.

    Parameters
    ----------
    patterns : ndarray, (..., subjects, stimuli, voxels)
        Voxels in the order in which they enter.
    sizes : ndarray of int, (sizes,)
        Increasing numbers of voxels.
    rdm_metric, rsa_metric : str
    spearman_bounds : bool
        See `noise_ceiling`.

    Returns
    -------
    NoiseCeiling
        Arrays (..., sizes, subjects).
    """
    n_stimuli = patterns.shape[-2]
    first, second = np.triu_indices(n_stimuli, k=1)
    diagonal = np.arange(n_stimuli)
    columns = _helmert(patterns) if rdm_metric == "correlation" else patterns
    products = np.zeros((*patterns.shape[:-1], n_stimuli))
    found = np.empty((3, *patterns.shape[:-3], len(sizes), patterns.shape[-3]))
    done = 0
    for index, size in enumerate(sizes):
        new = columns[..., done:size]
        products += new @ new.swapaxes(-1, -2)
        done = size
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = 1.0 / np.sqrt(products[..., diagonal, diagonal])
            similarities = products * scale[..., :, None] * scale[..., None, :]
        rdms = 1.0 - similarities[..., first, second]
        ceiling = noise_ceiling(rdms, rsa_metric, spearman_bounds=spearman_bounds)
        found[..., index, :] = ceiling.pairwise, ceiling.lower, ceiling.upper
    return NoiseCeiling(*found)


def _helmert(patterns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Helmert-transform the voxels (last axis), leaving out the first, constant row.

    The sum of products of the first n transformed columns is the sum of products of the first n
    voxels about *their* mean, for every n: centring moves along without being done anew.
    """
    count = np.arange(1, patterns.shape[-1] + 1)
    running_mean = np.cumsum(patterns, axis=-1) / count
    columns = np.zeros_like(patterns)
    deviation = patterns[..., 1:] - running_mean[..., :-1]
    columns[..., 1:] = deviation * np.sqrt(count[:-1] / count[1:])
    return columns


def _random_blocks(
    patterns: Sequence[NDArray[np.float64]],
    n_columns: int,
    n_draws: int,
    generator: np.random.Generator,
) -> Iterator[NDArray[np.float64]]:
    """Blocks (draws, subjects, stimuli, voxels) in random order, without replacement."""
    for start in range(0, n_draws, DRAWS_AT_ONCE):
        n_now = min(DRAWS_AT_ONCE, n_draws - start)
        yield np.stack(
            [
                [
                    values[:, generator.permutation(values.shape[1])[:n_columns]]
                    for values in patterns
                ]
                for _ in range(n_now)
            ]
        )


def _joined(blocks: Sequence[NoiseCeiling]) -> NoiseCeiling:
    """Concatenate the draws of all blocks."""
    return NoiseCeiling(
        pairwise=np.concatenate([block.pairwise for block in blocks]),
        lower=np.concatenate([block.lower for block in blocks]),
        upper=np.concatenate([block.upper for block in blocks]),
    )
