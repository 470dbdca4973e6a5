"""Interpolation of volumes: trilinear into another grid, where data may be missing, or by splines.

Trilinear interpolation is a sparse matrix with up to eight weights a row, made once and applied
to all volumes. What has no data (NaN, or lies outside the image) gets no weight:

    out = sum(weight * valid * data) / sum(weight * valid)

and is NaN where less than half of the weight is valid. So missing voxels never bleed into their
neighbours, and the border of the image is treated as any other border of the data.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
from nibabel.affines import apply_affine
from numpy.typing import NDArray
from scipy import ndimage, sparse

Interpolation = Literal["linear", "nearest"]
MissingRule = Literal["excluded", "zero"]

MINIMUM_VALID_WEIGHT = 0.5


def resample(
    data: np.ndarray,
    affine: np.ndarray,
    target_shape: tuple[int, int, int],
    target_affine: np.ndarray,
    source_to_target: np.ndarray | None = None,
    interpolation: Interpolation = "linear",
) -> np.ndarray:
    """Resample a 3D or 4D array into a target grid.

    Parameters
    ----------
    data : array (x, y, z) or (x, y, z, volumes)
        NaN where there is no data.
    affine, target_affine : array (4, 4)
        Voxel indices to world RAS mm, of the source and of the target grid.
    target_shape : tuple
        Shape of the target grid.
    source_to_target : array (4, 4), optional
        World of the source to world of the target, RAS mm; the identity by default.
    interpolation : {'linear', 'nearest'}
        'nearest' keeps the type of `data` where that has no NaN: labels outside the source are 0.

    Returns
    -------
    array (*target_shape) or (*target_shape, volumes)
        'linear': float32, NaN where there is no data. 'nearest': the type of `data`, outside NaN
        (floating point) or 0 (integers).
    """
    world_to_world = np.eye(4) if source_to_target is None else source_to_target
    target_to_source = np.linalg.inv(affine) @ np.linalg.inv(world_to_world) @ target_affine
    indices = np.indices(target_shape).reshape(3, -1).T
    coordinates = apply_affine(target_to_source, indices)
    volumes = data.reshape(*data.shape[:3], -1)
    choose = _linear if interpolation == "linear" else _nearest
    return choose(volumes, coordinates).reshape(*target_shape, *data.shape[3:])


def linear_weights(
    coordinates: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, sparse.csr_array]:
    """Trilinear weights of the voxels around each point, of those voxels that exist.

    Parameters
    ----------
    coordinates : array (points, 3)
        In voxel indices.
    shape : tuple of 3
        Of the grid.

    Returns
    -------
    touched : array (n,)
        Which points have any voxel of the grid around them.
    weights : sparse array (n, voxels)
        A row for each of these points; a row's sum is below 1 near the border of the grid.
    """
    along = [np.ascontiguousarray(axis) for axis in coordinates.T]
    is_touched = np.ones(len(coordinates), dtype=bool)
    for axis, size in zip(along, shape, strict=True):
        is_touched &= (axis > -1) & (axis < size)
    touched = np.flatnonzero(is_touched)
    # Of each axis: index of the voxel below and above, times what a step is worth, and its weight.
    strides = (shape[1] * shape[2], shape[2], 1)
    sides = [
        _two_sides(axis[touched], size, stride)
        for axis, size, stride in zip(along, shape, strides, strict=True)
    ]
    columns = np.empty((len(touched), 8), dtype=np.int32)
    weights = np.empty((len(touched), 8), dtype=np.float32)
    for corner, ((i, by_i), (j, by_j), (k, by_k)) in enumerate(product(*sides)):
        columns[:, corner] = i + j + k
        weights[:, corner] = by_i * by_j * by_k
    rows = np.arange(0, columns.size + 1, 8)
    matrix = sparse.csr_array(
        (weights.ravel(), columns.ravel(), rows), shape=(len(touched), int(np.prod(shape)))
    )
    return touched, matrix


def _two_sides(
    coordinates: np.ndarray, size: int, stride: int
) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Offset in the grid of the voxels below and above along an axis, and their weights.

    The weight of a voxel outside the grid is 0.
    """
    # Rounding in the matrices must not count as a step over the edge of the grid.
    near = np.round(coordinates, 6)
    voxel = np.floor(near).astype(np.intp)
    fraction = near - voxel
    return tuple(
        (
            np.clip(voxel + step, 0, size - 1) * stride,
            np.where((voxel + step >= 0) & (voxel + step < size), weight, 0.0),
        )
        for step, weight in ((0, 1 - fraction), (1, fraction))
    )


def sampling_weights(
    coordinates: np.ndarray, valid: np.ndarray, missing: MissingRule = "excluded"
) -> tuple[np.ndarray, sparse.csr_array]:
    """Trilinear interpolation at points as one matrix over the voxels that have data.

    Parameters
    ----------
    coordinates : array (points, 3)
        In voxel indices.
    valid : array of bool (x, y, z)
        Which voxels have data.
    missing : {'excluded', 'zero'}
        What voxels without data count as: nothing, which is the rule of `resample`; or 0, and a
        point has data where its nearest voxel has.

    Returns
    -------
    covered : array of bool (points,)
        Which points have data.
    weights : sparse array (covered points, valid voxels)
        Voxels in C order.
    """
    touched, among_all = linear_weights(coordinates, valid.shape)
    weights = sparse.csr_array(among_all.astype(np.float64)[:, np.flatnonzero(valid)])
    total = np.asarray(weights.sum(axis=1))
    if missing == "excluded":
        inside = total > MINIMUM_VALID_WEIGHT - 1e-5
        weights = sparse.csr_array(sparse.diags_array(1 / np.where(inside, total, 1)) @ weights)
    else:
        nearest = valid[..., np.newaxis].astype(np.uint8)
        inside = _nearest(nearest, coordinates[touched])[:, 0] > 0
    covered = np.zeros(len(coordinates), dtype=bool)
    covered[touched[inside]] = True
    return covered, sparse.csr_array(weights[np.flatnonzero(inside)])


def _linear(volumes: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    touched, weights = linear_weights(coordinates, volumes.shape[:3])
    values = volumes.reshape(-1, volumes.shape[3]).astype(np.float32)
    valid = np.isfinite(values)
    if (valid == valid[:, :1]).all():
        valid = valid[:, :1]
    weight = weights @ valid.astype(np.float32)
    weighted = weights @ np.where(valid, values, np.float32(0))
    resampled = np.full((len(coordinates), volumes.shape[3]), np.nan, dtype=np.float32)
    # A tolerance in favour of points that lie exactly half-way to a voxel without data.
    with np.errstate(invalid="ignore", divide="ignore"):
        resampled[touched] = np.where(
            weight > MINIMUM_VALID_WEIGHT - 1e-5, weighted / weight, np.float32(np.nan)
        )
    return resampled


def _nearest(volumes: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    voxel = np.floor(np.round(coordinates, 6) + 0.5).astype(np.intp)
    inside = ((voxel >= 0) & (voxel < volumes.shape[:3])).all(axis=1)
    outside = np.nan if np.issubdtype(volumes.dtype, np.floating) else 0
    resampled = np.full((len(coordinates), volumes.shape[3]), outside, dtype=volumes.dtype)
    resampled[inside] = volumes[tuple(voxel[inside].T)]
    return resampled


def resample_affine(
    data: np.ndarray,
    target_to_source: np.ndarray,
    target_shape: tuple[int, ...],
    order: Literal[1, 2, 3] = 1,
    **settings: Any,
) -> np.ndarray:
    """Resample a 3D array by splines of an order, as `scipy.ndimage.affine_transform` does.

    Parameters
    ----------
    data : array (x, y, z)
    target_to_source : array (4, 4)
        Voxel indices of the target grid to those of `data`.
    target_shape : tuple
    order : int
    **settings
        Of `affine_transform`; by default it gives the type of `data`, and 0 outside.
    """
    # In two parts: SciPy refuses a last row that rounding has moved off 0 0 0 1.
    matrix, offset = target_to_source[:3, :3], target_to_source[:3, 3]
    resampled: np.ndarray = ndimage.affine_transform(
        data, matrix, offset, output_shape=target_shape, order=order, **settings
    )
    return resampled


def axis_filters(
    grid: tuple[int, int, int], degree: Literal[2, 3], sigmas: Iterable[float] = (0, 0, 0)
) -> list[NDArray[np.float32]]:
    """Matrices that turn values along each axis into spline coefficients of smoothed values.

    Parameters
    ----------
    grid : tuple of int
        Voxels along i, j, k.
    degree : int
        Of the spline; volumes are mirrored at their ends.
    sigmas : iterable of float
        Of the Gaussian along each axis, in voxels; 0 does not smooth.

    Returns
    -------
    list of ndarray, shape (size, size)
        One for each axis.
    """
    filters = []
    for size, sigma in zip(grid, sigmas, strict=True):
        smoothing = ndimage.gaussian_filter(np.eye(size), (sigma, 0), mode="mirror")
        coefficients = ndimage.spline_filter1d(smoothing, degree, axis=0, mode="mirror")
        filters.append(coefficients.astype(np.float32))
    return filters


def spline_coefficients(
    volume: NDArray[np.float32], filters: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Apply `axis_filters` to a volume.

    Three matrix products take a fifth of the time of `scipy.ndimage.gaussian_filter` and
    `spline_filter`, for the same numbers.

    Parameters
    ----------
    volume : ndarray, shape (i, j, k)
    filters : sequence of ndarray
        From `axis_filters`.

    Returns
    -------
    ndarray, shape (i, j, k)
        To be interpolated with `prefilter=False` and `mode="mirror"`.
    """
    along_i, along_j, along_k = filters
    i, j, k = volume.shape
    coefficients = along_j @ (np.ascontiguousarray(volume) @ along_k.T)
    return (along_i @ coefficients.reshape(i, j * k)).reshape(i, j, k)
