"""How noise is shared between voxels: the covariance of a linear model's residuals, shrunk."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

_BLOCK_ROWS = 256


@dataclass(frozen=True)
class ShrunkCovariance:
    """A covariance between voxels that can be inverted.

    Attributes
    ----------
    matrix : array, shape (voxels, voxels)
        In squared units of the samples.
    shrinkage : float
        Weight of the diagonal, from 0 (the sample covariance) to 1 (variances alone).
    degrees_of_freedom : int
        Samples that it was estimated from.
    """

    matrix: NDArray[np.float64]
    shrinkage: float
    degrees_of_freedom: int


def residual_basis(design: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal basis Q of everything that a design does not explain.

    ``Q' y`` are the residuals of the data y in as many numbers as there are degrees of freedom.
    Their sums of squares and products are those of the residuals themselves; but where the noise
    is white they are independent samples, and residuals are not: 178 volumes that 67 regressors
    were taken out of hold 111 samples, not 178.

    Parameters
    ----------
    design : array, shape (volumes, regressors)
        Of full column rank.

    Returns
    -------
    array, shape (volumes, volumes - regressors)
    """
    complete, _ = np.linalg.qr(design, mode="complete")
    return np.ascontiguousarray(complete[:, design.shape[1] :])


def shrunk_covariance(samples: Iterable[NDArray[np.floating]]) -> ShrunkCovariance:
    """Covariance about zero, shrunk towards its diagonal by as much as its own noise demands.

    The weight of the diagonal is the sum of the estimated variances of the correlations over the
    sum of their squares, of all pairs of voxels. It is rsatoolbox's `shrinkage_diag` for as many
    degrees of freedom as samples.

    Parameters
    ----------
    samples : iterable of array, shape (voxels, samples)
        Parts of the samples, one after the other; no voxel may be 0 in all of them.

    Returns
    -------
    ShrunkCovariance

    References
    ----------
    Schaefer and Strimmer, Stat. Appl. Genet. Mol. Biol. 4:32 (2005).
    """
    products = squares = np.empty((0, 0))
    n_samples = 0
    for part in samples:
        values = np.asarray(part, dtype=np.float64)
        if n_samples == 0:
            products, squares = (np.zeros((len(values),) * 2, order="F") for _ in range(2))
        products = _add_products(products, values)
        squares = _add_products(squares, values**2)
        n_samples += values.shape[1]
    matrix = _whole(products)
    matrix /= n_samples
    shrinkage = _shrinkage(matrix, _whole(squares), n_samples)
    variance = np.diag(matrix).copy()
    matrix *= 1 - shrinkage
    np.fill_diagonal(matrix, variance)
    return ShrunkCovariance(matrix, shrinkage, n_samples)


def _add_products(total: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add ``values @ values.T`` to the upper triangle, in place: half the work, and no copy."""
    return np.asarray(dsyrk(1.0, values.T, beta=1.0, c=total, trans=1, overwrite_c=1))


def _whole(upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mirror an upper triangle, in place."""
    for start in range(0, len(upper), _BLOCK_ROWS):
        stop = start + _BLOCK_ROWS
        corner = upper[start:stop, start:stop]
        upper[start:stop, start:stop] = corner + np.triu(corner, 1).T
        upper[stop:, start:stop] = upper[start:stop, stop:].T
    return upper


def _shrinkage(
    covariance: NDArray[np.float64], squares: NDArray[np.float64], n_samples: int
) -> float:
    """Weight of the diagonal.

    With w the products of two voxels' samples over their standard deviations, the correlation is
    the mean of w, and its variance that of w over n - 1 (rsatoolbox's factors: sums over n - 1, and
    n / n^2 for the variance of the mean).
    """
    variance = np.diag(covariance)
    deviation = np.sqrt(variance)
    noise = signal = 0.0
    for start in range(0, len(covariance), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        mean = covariance[block] * n_samples / (n_samples - 1)
        mean /= deviation[block, np.newaxis] * deviation
        mean_square = squares[block] / (n_samples - 1)
        mean_square /= variance[block, np.newaxis] * variance
        spread = (mean_square - mean**2) / n_samples
        rows = np.arange(len(mean))
        spread[rows, start + rows] = mean[rows, start + rows] = 0
        noise += float(spread.sum())
        signal += float((mean**2).sum())
    return float(np.clip(noise / signal, 0, 1)) if signal > 0 else 1.0
