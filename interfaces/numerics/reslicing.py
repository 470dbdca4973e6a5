"""Realigned runs, their mean and their common field of view, each volume interpolated once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.numerics.realignment import (
    estimate_motion,
    motion_parameters,
    write_motion,
)
from conceptrsa.interfaces.numerics.resampling import (
    axis_filters,
    resample_affine,
    spline_coefficients,
)
from conceptrsa.interfaces.numerics.time_series import (
    TimeSeries,
    image_stem,
    open_time_series,
    ordered_map,
    write_time_series,
)

SPLINE_DEGREE: Final = 3
# A cubic spline through values in [-1, 1] stays within (1 + 3 sqrt 3) / 4 = 1.549 along one
# axis (Richards 1973, J Approx Theory 7:302), so within the third power of it in a volume.
LARGEST_OVERSHOOT = ((1 + 3 * 3**0.5) / 4) ** 3
# As in SPM: a volume may stick out by this many voxels, or the smallest motion would
# take the outermost slices away.
FIELD_OF_VIEW_TOLERANCE = 0.05

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class RealignedFiles:
    """Files that `realign_files` writes; lists are in the order of the runs.

    Attributes
    ----------
    runs : tuple of Path
        4D images in the grid of the first volume of the first run.
    mean : Path
        Mean of all volumes of all runs, in the same grid.
    motions : tuple of Path
        Text files, volumes x 6: x, y, z in mm; pitch, roll, yaw in rad.
    valid_mask : Path
        1 where every volume of every run has data.
    """

    runs: tuple[Path, ...]
    mean: Path
    motions: tuple[Path, ...]
    valid_mask: Path


def realign_files(
    in_files: Sequence[str | Path],
    out_dir: str | Path,
    n_threads: int = 1,
    on_resliced: Callable[[Path], None] | None = None,
) -> RealignedFiles:
    """Realign all runs of a subject together and write them resliced.

    Runs are opened one at a time (`n_threads` at a time to begin with), so their number does not
    matter for memory. The files do not depend on `n_threads`.

    Parameters
    ----------
    in_files : sequence of str or Path
        4D NIfTI files of equal shape, in the order of the runs.
    out_dir : str or Path
        Folder of what is written.
    n_threads : int
        Volumes worked on at the same time.
    on_resliced : callable, optional
        Called with each input file when it is needed no more.

    Returns
    -------
    RealignedFiles
        Voxels outside `valid_mask` are 0. Runs that store integers are written as int16 with a
        scale, others as float32.

    Raises
    ------
    InputError
        If the runs differ in shape or cannot be read.
    StepError
        If the motion of a volume cannot be found.
    """
    out_dir = Path(out_dir)
    runs = [open_time_series(path) for path in in_files]
    # Threads are used over volumes; threads inside a matrix product would only compete.
    with threadpool_limits(1):
        motions = estimate_motion(runs, n_threads)
        valid = common_field_of_view(runs, motions)
        total = np.zeros(runs[0].grid)
        out_runs, out_motions = [], []
        for number, (run, motion) in enumerate(zip(runs, motions, strict=True), start=1):
            stem = f"{number:02d}_{image_stem(run.path)}"
            out_run = out_dir / f"{stem}_realigned.nii"
            low, high = run.volumes().without_spikes().value_range()
            largest = abs(high + low) / 2 + LARGEST_OVERSHOOT * (high - low) / 2
            volumes = resliced_volumes(run, motion, runs[0], valid, n_threads)
            write_time_series(out_run, _added_to(total, volumes), run, runs[0].affine, largest)
            out_runs.append(out_run)
            out_motion = out_dir / f"{stem}_motion.txt"
            write_motion(out_motion, motion_parameters(motion))
            out_motions.append(out_motion)
            if on_resliced is not None:
                on_resliced(run.path)
    mean = total / sum(run.n_volumes for run in runs)
    return RealignedFiles(
        tuple(out_runs),
        _write_volume(out_dir / "mean.nii", mean.astype(np.float32), runs[0]),
        tuple(out_motions),
        _write_volume(out_dir / "valid_mask.nii", valid.astype(np.uint8), runs[0]),
    )


def common_field_of_view(
    runs: Sequence[TimeSeries], motions: Sequence[FloatArray]
) -> NDArray[np.bool_]:
    """Voxels of the first run that lie in the field of view of every volume of every run.

    Parameters
    ----------
    runs : sequence of TimeSeries
    motions : sequence of ndarray, shape (volumes, 4, 4)
        From `estimate_motion`.

    Returns
    -------
    ndarray of bool, shape (i, j, k)
    """
    grid = runs[0].grid
    valid = np.ones(grid, dtype=bool)
    i, j, k = np.ogrid[tuple(slice(size) for size in grid)]
    for run, run_motions in zip(runs, motions, strict=True):
        for motion in run_motions:
            to_volume = _voxels_to_voxels(run, motion, runs[0])
            for row, size in zip(to_volume[:3], run.grid, strict=True):
                voxel = (row[0] * i + row[1] * j) + (row[2] * k + row[3])
                valid &= voxel >= -FIELD_OF_VIEW_TOLERANCE
                valid &= voxel <= size - 1 + FIELD_OF_VIEW_TOLERANCE
    return valid


def resliced_volumes(
    run: TimeSeries,
    motions: FloatArray,
    target: TimeSeries,
    valid: NDArray[np.bool_],
    n_threads: int = 1,
) -> Iterator[NDArray[np.float32]]:
    """Volumes of a run in the grid of another, by cubic splines, 0 outside the mask.

    Parameters
    ----------
    run : TimeSeries
    motions : ndarray, shape (volumes, 4, 4)
        World of `target` to the world of each volume, in mm.
    target : TimeSeries
        Gives the grid.
    valid : ndarray of bool, shape (i, j, k)
        Where to keep values.
    n_threads : int
        Volumes worked on at the same time.

    Yields
    ------
    ndarray of float32, shape (i, j, k)
        In the order of the run.
    """
    stored = run.volumes().without_spikes()
    filters = axis_filters(run.grid, SPLINE_DEGREE)

    def reslice(index: int) -> NDArray[np.float32]:
        coefficients = spline_coefficients(stored[index], filters)
        to_run = _voxels_to_voxels(run, motions[index], target)
        resliced = resample_affine(
            coefficients,
            to_run,
            target.grid,
            SPLINE_DEGREE,
            output=np.float32,
            mode="mirror",
            prefilter=False,
        )
        return np.where(valid, resliced, np.float32(0))

    yield from ordered_map(reslice, range(run.n_volumes), n_threads)


def _voxels_to_voxels(run: TimeSeries, motion: FloatArray, target: TimeSeries) -> FloatArray:
    """Voxel indices of the target to those of a moved volume."""
    return np.asarray(np.linalg.inv(run.affine) @ motion @ target.affine)


def _added_to(
    total: FloatArray, volumes: Iterator[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    """Pass volumes on, adding each to a running total."""
    for volume in volumes:
        total += volume
        yield volume


def _write_volume(path: Path, values: NDArray[np.generic], like: TimeSeries) -> Path:
    image = nib.Nifti1Image(values, like.affine)
    code = max(1, int(like.header["sform_code"]))
    image.set_sform(like.affine, code)
    image.set_qform(like.affine, code)
    image.header.set_xyzt_units("mm")
    with atomic_path(path) as temporary:
        nib.save(image, temporary)
    return path
