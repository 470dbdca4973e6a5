"""Head motion of all runs of a subject, by Gauss-Newton on smoothed intensities.

The settings are those of SPM12's `spm_realign` (Friston et al. 1995, Human Brain Mapping 3:165;
Friston et al. 1996, Magn Reson Med 35:346): 5 mm smoothing, points 4 mm apart, splines of
degree 2, first to the first volume and then to the mean. The fit keeps the derivatives of the
reference and moves the volume under it (the "inverse compositional" form, Baker and Matthews
2004, Int J Comput Vis 56:221), so an iteration is one interpolation and a 7 x 7 system. Unlike
SPM's, the fit to the mean gives outlying points less weight: activation would otherwise look
like motion (Freire and Mangin 2001, NeuroImage 14:709).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.numerics.resampling import axis_filters, spline_coefficients
from conceptrsa.interfaces.numerics.time_series import TimeSeries, Volumes, ordered_map


def rigid_matrix(parameters: ArrayLike) -> NDArray[np.float64]:
    """Matrix of six rigid-body parameters: translation after pitch after roll after yaw.

    A point is turned about z (yaw), then y (roll), then x (pitch), all about the origin, then
    moved. The signs are SPM's: a positive yaw turns x towards -y, a positive roll x towards -z,
    a positive pitch y towards -z.

    Parameters
    ----------
    parameters : array_like, shape (6,)
        x, y, z in mm; pitch, roll, yaw in rad.

    Returns
    -------
    ndarray, shape (4, 4)
        The homogeneous matrix, as `spm_matrix(parameters)` of SPM12.
    """
    x, y, z, pitch, roll, yaw = np.asarray(parameters, dtype=float)
    matrix = np.eye(4)
    matrix[:3, :3] = _turn(pitch, 1, 2) @ _turn(roll, 0, 2) @ _turn(yaw, 0, 1)
    matrix[:3, 3] = x, y, z
    return matrix


def _turn(angle: float, first: int, second: int) -> NDArray[np.float64]:
    """Turn in the plane of two axes, the second towards the first."""
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second] = np.sin(angle)
    matrix[second, first] = -np.sin(angle)
    return matrix


def rigid_parameters(matrix: ArrayLike) -> NDArray[np.float64]:
    """Six parameters of a rigid-body matrix: the inverse of `rigid_matrix`.

    Parameters
    ----------
    matrix : array_like, shape (4, 4)
        A rotation and a translation, no zoom or shear; |roll| below 90 degrees.

    Returns
    -------
    ndarray, shape (6,)
        x, y, z in mm; pitch, roll, yaw in rad, as the first six of SPM12's `spm_imatrix`.
    """
    rigid = np.asarray(matrix, dtype=float)
    rotation = rigid[:3, :3]
    pitch = np.arctan2(rotation[1, 2], rotation[2, 2])
    roll = np.arcsin(np.clip(rotation[0, 2], -1, 1))
    yaw = np.arctan2(rotation[0, 1], rotation[0, 0])
    return np.array([*rigid[:3, 3], pitch, roll, yaw])


SMOOTHING_FWHM = 5.0  # mm
POINT_DISTANCE = 4.0  # mm
SPLINE_DEGREE: Final = 2
FIRST_PASS_TOLERANCE = 1e-2  # mm; the mean it makes is blurred by no more than that
TOLERANCE = 1e-4  # mm
TUKEY_LIMIT = 4.685  # standard deviations: 95 % efficiency where errors are Gaussian
MAXIMUM_ITERATIONS = 64
EDGE = 2.0  # voxels
LARGEST_MOTION = 30.0  # mm
SMALLEST_OVERLAP = 0.5  # share of the points inside the field of view
SHARE_OF_INFORMATION = 0.8  # held by the points that are kept

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A volume registered to a reference.

    Attributes
    ----------
    motion : ndarray, shape (4, 4)
        Reference world mm to the volume's world mm.
    values : ndarray, shape (points,)
        The volume at the points, on the reference's intensity scale.
    weights : ndarray, shape (points,)
        1 well within the volume's field of view, 0 outside.
    """

    motion: FloatArray
    values: FloatArray
    weights: FloatArray


@dataclass(frozen=True)
class Reference:
    """Target of the realignment: intensities and their derivatives at points.

    Attributes
    ----------
    points : ndarray, shape (4, points)
        Homogeneous world coordinates in mm.
    design : ndarray, shape (points, 7)
        Derivative of the intensity by the six rigid parameters about `centre`, then the
        intensity itself (for the global scale).
    centre : ndarray, shape (4, 4)
        Translation from the origin to the middle of the points.
    radius : float
        Root mean square distance of the points from their middle, in mm.
    """

    points: FloatArray
    design: FloatArray
    centre: FloatArray
    radius: float

    def with_values(self, values: FloatArray) -> "Reference":
        """Take other intensities at the same points."""
        return replace(self, design=np.column_stack([self.design[:, :6], values]))


def estimate_motion(runs: Sequence[TimeSeries], n_threads: int = 1) -> list[FloatArray]:
    """Head motion of every volume of every run, relative to the first volume of the first run.

    First pass: each run's first volume to the first volume of the first run, then volume after
    volume, each starting from the one before. Second pass: all volumes to the mean of what the
    first pass aligned. The result is then referred to the first volume again (as SPM does), so
    the space of aligned images is the scanner space of that volume.

    Parameters
    ----------
    runs : sequence of TimeSeries
        With equal numbers of voxels; their affines may differ and are taken into account.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    list of ndarray, shape (volumes, 4, 4)
        Per run, the rigid matrices from the scanner space of the first volume of the first run
        to the scanner space of each volume, in mm: they tell where a point of the head went.

    Raises
    ------
    InputError
        If the runs differ in their numbers of voxels.
    StepError
        If a volume's fit does not converge or is implausible.
    """
    for run in runs[1:]:
        if run.grid != runs[0].grid:
            raise InputError(
                f"{run.path} has {run.grid} voxels but {runs[0].path} has {runs[0].grid}; "
                "runs that are realigned together need the same shape: leave one out."
            )
    first = _first_volume(runs[0])

    def follow(run: TimeSeries) -> tuple[list[FloatArray], FloatArray, FloatArray]:
        """First pass over one run; also the sums of weighted values and of weights."""
        volumes = run.volumes().without_spikes()
        motion = np.eye(4)
        motions = []
        values = np.zeros(len(first.design))
        weights = np.zeros(len(first.design))
        for index in range(run.n_volumes):
            fit = _register(run, index, volumes, first, motion, FIRST_PASS_TOLERANCE)
            motion = fit.motion
            motions.append(motion)
            values += fit.weights * fit.values
            weights += fit.weights
        return motions, values, weights

    passes = list(ordered_map(follow, runs, n_threads))
    sum_of_values = np.sum([values for _, values, _ in passes], axis=0)
    sum_of_weights = np.sum([weights for *_, weights in passes], axis=0)
    mean = first.with_values(sum_of_values / sum_of_weights)

    def refine(run: TimeSeries, starts: list[FloatArray]) -> FloatArray:
        """Second pass over one run."""
        volumes = run.volumes().without_spikes()

        def register(index: int) -> FloatArray:
            start = starts[index]
            return _register(run, index, volumes, mean, start, TOLERANCE, robust=True).motion

        return np.array(list(ordered_map(register, range(run.n_volumes), n_threads)))

    motions = [refine(run, starts) for run, (starts, *_) in zip(runs, passes, strict=True)]
    mean_to_first = motions[0][0]
    return [run_motions @ np.linalg.inv(mean_to_first) for run_motions in motions]


def motion_parameters(motions: FloatArray) -> FloatArray:
    """Matrices of `estimate_motion` as SPM's six realignment parameters.

    Parameters
    ----------
    motions : ndarray, shape (volumes, 4, 4)
        First volume of the first run to each volume.

    Returns
    -------
    ndarray, shape (volumes, 6)
        x, y, z in mm and pitch, roll, yaw in rad of the *inverse* matrices: they bring a volume
        back onto the first one, as in SPM's `rp_*.txt`. (SPM refers each run to that run's own
        first volume; here all runs are referred to the first volume of the first run.)
    """
    return np.array([rigid_parameters(np.linalg.inv(motion)) for motion in motions])


def write_motion(path: Path, parameters: FloatArray) -> None:
    """Write the six parameters of each volume as plain text, all their digits."""
    with atomic_path(path) as temporary:
        np.savetxt(temporary, parameters, fmt="%.17g")


def _smoothed_coefficients(run: TimeSeries, volume: NDArray[np.float32]) -> NDArray[np.float32]:
    sigmas = SMOOTHING_FWHM / np.sqrt(8 * np.log(2)) / _voxel_sizes(run)
    return spline_coefficients(volume, axis_filters(run.grid, SPLINE_DEGREE, sigmas))


def _voxel_sizes(run: TimeSeries) -> FloatArray:
    """Along i, j, k in mm."""
    return np.asarray(np.linalg.norm(run.affine[:3, :3], axis=0))


def _sample(coefficients: NDArray[np.float32], voxels: FloatArray) -> FloatArray:
    return ndimage.map_coordinates(
        coefficients, voxels, float, order=SPLINE_DEGREE, mode="mirror", prefilter=False
    )


def _depth(voxels: FloatArray, grid: tuple[int, int, int]) -> FloatArray:
    """Voxels from the nearest face of the field of view; below 0 is outside."""
    last = np.array(grid)[:, None] - 1
    return np.asarray(np.minimum(voxels, last - voxels).min(axis=0))


def _edge_weights(voxels: FloatArray, grid: tuple[int, int, int]) -> FloatArray:
    """Weights of points: 0 outside the field of view, rising to 1 over `EDGE` voxels inside.

    They rise gradually because a point that jumps in or out would keep the fit from settling.
    """
    return np.clip(_depth(voxels, grid) / EDGE, 0, 1)


def _first_volume(run: TimeSeries) -> Reference:
    """Reference from a run's first volume, at the points that tell most about motion."""
    axes = [
        np.arange(0, size - 1, POINT_DISTANCE / voxel_size)
        for size, voxel_size in zip(run.grid, _voxel_sizes(run), strict=True)
    ]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    # Off the grid by chance, as in SPM: on the grid, interpolation would smooth less.
    voxels += np.random.default_rng(0).uniform(0, 0.5, voxels.shape)
    voxels = voxels[:, _depth(voxels, run.grid) >= 1]

    coefficients = _smoothed_coefficients(run, run.volumes().without_spikes()[0])
    values = _sample(coefficients, voxels)
    step = 0.1
    by_voxel = np.stack(
        [
            _sample(coefficients, voxels + step * unit[:, None])
            - _sample(coefficients, voxels - step * unit[:, None])
            for unit in np.eye(3)
        ]
    ) / (2 * step)
    gradient = np.linalg.inv(run.affine[:3, :3]).T @ by_voxel

    world = run.affine[:3, :3] @ voxels + run.affine[:3, 3:]
    middle = world.mean(axis=1, keepdims=True)
    x, y, z = world - middle
    g_x, g_y, g_z = gradient
    turns = [g_y * z - g_z * y, g_x * z - g_z * x, g_x * y - g_y * x]
    design = np.column_stack([*gradient, *turns, values])

    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise StepError(
            f"Realignment cannot start from volume 1 of {run.path}: it shows no head; check the "
            "image."
        )
    kept = _informative(design)
    centre = np.eye(4)
    centre[:3, 3:] = middle
    points = np.vstack([world, np.ones(world.shape[1])])[:, kept]
    radius = float(np.sqrt(((points - centre[:, 3:]) ** 2).sum(axis=0).mean()))
    return Reference(points, design[kept], centre, radius)


def _informative(design: FloatArray) -> NDArray[np.bool_]:
    """Points that together hold nearly all of the information on the parameters."""
    normal = design.T @ design
    leverage = np.einsum("pi,ij,pj->p", design, np.linalg.inv(normal), design)
    order = np.argsort(-leverage, kind="stable")
    n_kept = int(np.searchsorted(np.cumsum(leverage[order]), SHARE_OF_INFORMATION * 7)) + 1
    kept = np.zeros(len(leverage), dtype=bool)
    kept[order[:n_kept]] = True
    return kept


def _register(
    run: TimeSeries,
    index: int,
    volumes: Volumes,
    reference: Reference,
    start: FloatArray,
    tolerance: float,
    robust: bool = False,
) -> Fit:
    """Rigid motion and scale that take the reference to a volume, by Gauss-Newton.

    With the volume f at the moved points, reference r and derivatives J, each step solves
    f = s (r + J p) for s and s p over the points inside the volume's field of view, and puts
    the inverse of p before the motion so far. A robust fit then solves it once more with
    weights from the residuals.
    """
    coefficients = _smoothed_coefficients(run, volumes[index])
    to_voxels = np.linalg.inv(run.affine)
    design, centre = reference.design, reference.centre
    motion = start
    where = f"Realignment of volume {index + 1} of {run.path}"
    for _ in range(MAXIMUM_ITERATIONS):
        voxels = (to_voxels @ motion @ reference.points)[:3]
        weights = _edge_weights(voxels, run.grid)
        if weights.mean() < SMALLEST_OVERLAP:
            raise StepError(
                f"{where} failed: less than half of it overlaps the first volume; check the image "
                "and its header."
            )
        values = _sample(coefficients, voxels)
        solution = _least_squares(design, values, weights)
        if robust:
            outlying = tukey_weights(values - design @ solution)
            solution = _least_squares(design, values, weights * outlying)
        scale = solution[6]
        if not scale > 0:
            break
        step = solution[:6] / scale
        motion = motion @ centre @ np.linalg.inv(rigid_matrix(step)) @ np.linalg.inv(centre)
        if np.linalg.norm(step[:3]) + reference.radius * np.linalg.norm(step[3:]) < tolerance:
            shift = np.linalg.norm((motion @ centre - centre)[:3, 3])
            if shift > LARGEST_MOTION:
                raise StepError(
                    f"{where} found a shift of {shift:.0f} mm, more than a head can move in a "
                    "coil; check the image and its header."
                )
            return Fit(motion, values / scale, weights)
    raise StepError(f"{where} did not converge; check the image for artefacts.")


def _least_squares(design: FloatArray, values: FloatArray, weights: FloatArray) -> FloatArray:
    weighted = weights[:, None] * design
    return np.asarray(np.linalg.solve(weighted.T @ design, weighted.T @ values))


def tukey_weights(residuals: FloatArray, sample: FloatArray | None = None) -> FloatArray:
    """Tukey's biweight: from 1 for no residual to 0 at `TUKEY_LIMIT` standard deviations.

    These are known from the median absolute residual, of `sample` where it is given.
    """
    standard_deviation = 1.4826 * np.median(np.abs(residuals if sample is None else sample))
    # The least normal number of float32, as residuals may be of that type.
    ratio = residuals / max(TUKEY_LIMIT * standard_deviation, np.finfo(np.float32).tiny)
    return np.where(np.abs(ratio) < 1, (1 - ratio**2) ** 2, 0.0)
