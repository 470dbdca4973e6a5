"""Fit the GLM of one run to every voxel, and tell how its noise is shared between voxels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

from conceptrsa.bids_config.errors import StepError

NOISE_MODELS = ("ar1", "ols")

_RHO_BINS = 100
_BLOCK_VOXELS = 8192
_BLOCK_ROWS = 256


@dataclass(frozen=True)
class GlmFit:
    """Estimates of a GLM; voxels without signal are NaN.

    Attributes
    ----------
    betas : array, shape (regressors, voxels)
        In units of the data.
    residual_variance : array, shape (voxels,)
        Variance of the whitened residuals over volumes - regressors degrees of freedom.
    autocorrelation : array, shape (voxels,)
        AR(1) coefficient that the noise was whitened with; 0 for `ols`.
    """

    betas: NDArray[np.float64]
    residual_variance: NDArray[np.float64]
    autocorrelation: NDArray[np.float64]


def fit_glm(
    data: NDArray[np.floating],
    design: NDArray[np.float64],
    noise_model: str = "ar1",
) -> GlmFit:
    """Estimate a GLM voxel by voxel; the numbers are those of nilearn's `run_glm`, sooner.

    For `ar1` each voxel's coefficient is the Yule-Walker estimate from its ordinary
    least-squares residuals e of n volumes, ``sum(e[1:] e[:-1]) / sum(e^2) * n / (n - 1)``,
    truncated towards zero to 1/100; data and design are whitened as ``x[t] - rho x[t-1]`` (the
    first volume stays) and the betas are the least-squares solution of that.

    Parameters
    ----------
    data : array, shape (volumes, voxels)
        Finite values, any unit.
    design : array, shape (volumes, regressors)
        Of full column rank, with the constant in its span.
    noise_model : {'ar1', 'ols'}

    Returns
    -------
    GlmFit
    """
    n_regressors, n_voxels = design.shape[1], data.shape[1]
    betas = np.full((n_regressors, n_voxels), np.nan)
    residual_variance = np.full(n_voxels, np.nan)
    autocorrelation = np.full(n_voxels, np.nan)

    with_signal = np.flatnonzero(np.ptp(data, axis=0) > 0)
    autocorrelation[with_signal] = (
        _autocorrelations(data, design, with_signal) if noise_model == "ar1" else 0.0
    )
    for rho in np.unique(autocorrelation[with_signal]):
        whitened_design = _whitened(design, rho)
        solve = np.linalg.pinv(whitened_design)
        for voxels in _blocks(np.flatnonzero(autocorrelation == rho)):
            whitened_data = _whitened(data[:, voxels], rho)
            block_betas = solve @ whitened_data
            betas[:, voxels] = block_betas
            residual_variance[voxels] = _residual_variance(
                whitened_data - whitened_design @ block_betas, n_regressors
            )
    return GlmFit(betas, residual_variance, autocorrelation)


def read_masked_series(bold_file: str | Path, mask_file: str | Path) -> NDArray[np.float64]:
    """Read the time series of a mask's voxels, volume by volume.

    Parameters
    ----------
    bold_file : path
        4D NIfTI.
    mask_file : path
        3D NIfTI in the same grid, true where not zero.

    Returns
    -------
    array, shape (volumes, voxels)
        Voxels in the C order of the mask.

    Raises
    ------
    StepError
        When the grids differ, the mask is empty, or a value within it is not finite.
    """
    bold = nib.load(bold_file, keep_file_open=True)
    mask_image = nib.load(mask_file)
    if bold.ndim != 4 or not same_grid(bold, mask_image):
        raise StepError(f"The mask {mask_file} does not lie in the grid of the 4D {bold_file}.")
    mask = np.asanyarray(mask_image.dataobj) != 0
    if not mask.any():
        raise StepError(
            f"The brain mask {mask_file} is empty: check the registration of this subject."
        )
    series = np.empty((bold.shape[3], np.count_nonzero(mask)))
    for volume in range(bold.shape[3]):
        series[volume] = np.asanyarray(bold.dataobj[..., volume])[mask]
        if not np.isfinite(series[volume]).all():
            raise StepError(
                f"Volume {volume} of {bold_file} has values within the brain mask that are not "
                "finite: the image is damaged, or the mask reaches beyond the field of view."
            )
    return series


def scale_to_percent(series: NDArray[np.float64]) -> None:
    """Scale a run in place so that its mean over voxels with signal and time is 100.

    This is SPM's grand mean scaling (global normalisation `none`); betas are then in percent of
    the run's mean, the same unit in every run.

    Parameters
    ----------
    series : array, shape (volumes, voxels)

    Raises
    ------
    StepError
        When the grand mean is not positive, so that there is nothing to be a percentage of.
    """
    with_signal = np.ptp(series, axis=0) > 0
    grand_mean = float(series.mean(axis=0)[with_signal].mean()) if with_signal.any() else 0.0
    if grand_mean <= 0:
        raise StepError(
            f"The mean signal within the brain mask is {grand_mean:g}, and percent signal change "
            "needs a positive one: give BOLD images that are not demeaned, with a mask over brain."
        )
    series *= 100.0 / grand_mean


def same_grid(first: nib.Nifti1Image, second: nib.Nifti1Image) -> bool:
    """Tell whether two images share their 3D shape and, to 1e-3 mm, their affine."""
    return first.shape[:3] == second.shape[:3] and np.allclose(
        first.affine, second.affine, rtol=0, atol=1e-3
    )


def _autocorrelations(
    data: NDArray[np.floating], design: NDArray[np.float64], voxels: NDArray[np.intp]
) -> NDArray[np.float64]:
    n_volumes = len(data)
    solve = np.linalg.pinv(design)
    estimates = []
    for block in _blocks(voxels):
        block_data = np.asarray(data[:, block], dtype=np.float64)
        residuals = block_data - design @ (solve @ block_data)
        variance = np.einsum("tv,tv->v", residuals, residuals)
        covariance = np.einsum("tv,tv->v", residuals[1:], residuals[:-1])
        rho = np.divide(covariance, variance, out=np.zeros_like(variance), where=variance > 0)
        estimates.append(np.trunc(rho * n_volumes / (n_volumes - 1) * _RHO_BINS) / _RHO_BINS)
    return np.concatenate(estimates) if estimates else np.empty(0)


def _whitened(columns: NDArray[np.floating], rho: float) -> NDArray[np.float64]:
    whitened = np.array(columns, dtype=np.float64)
    whitened[1:] -= rho * columns[:-1]
    return whitened


def _residual_variance(residuals: NDArray[np.float64], n_regressors: int) -> NDArray[np.float64]:
    sum_of_squares = np.einsum("tv,tv->v", residuals, residuals)
    return np.asarray(sum_of_squares / (len(residuals) - n_regressors), dtype=np.float64)


def _blocks(voxels: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Runs of voxels small enough that work arrays stay small beside the data."""
    for start in range(0, len(voxels), _BLOCK_VOXELS):
        yield voxels[start : start + _BLOCK_VOXELS]


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
