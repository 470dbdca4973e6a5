"""Runs that fMRIPrep preprocessed, brought to what realignment and coregistration leave."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.images import open_volume, save_image
from conceptrsa.bids_config.tsv import read_table
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.numerics.design import MOTION_PARAMETERS
from conceptrsa.interfaces.numerics.glm import same_grid
from conceptrsa.interfaces.numerics.realignment import write_motion
from conceptrsa.interfaces.numerics.transforms import write_matrix
from conceptrsa.interfaces.programs import copy
from conceptrsa.interfaces.python.step import (
    Step,
    file_in,
    file_out,
    files_in,
)


class ImportRun(Step):
    """Unpack a run, take its motion out of its confounds, and see where it has data.

    What lies outside the field of view of the scanner is 0 in fMRIPrep's images.
    """

    in_file = file_in("4D, in a space that all runs share")
    confounds_file = file_in("TSV with trans_x ... rot_z (mm, rad)")

    out_file = file_out("the run, uncompressed")
    motion_file = file_out("text, volumes x 6: x y z (mm), pitch roll yaw (rad)")
    mean_file = file_out("mean of the volumes, float32")
    valid_file = file_out("1 where every volume has data")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        bold, motion_file = folder / "bold.nii", folder / "motion.txt"
        with atomic_path(bold) as temporary:
            copy(Path(self.inputs.in_file), temporary)
        image: Any = nib.load(bold)
        write_motion(motion_file, read_confounds_motion(self.inputs.confounds_file, image.shape[3]))
        mean, valid = summarize_volumes(image)
        save_image(folder / "mean.nii", mean.astype(np.float32), image.affine)
        save_image(folder / "valid.nii", valid.astype(np.uint8), image.affine)
        return {
            "out_file": bold,
            "motion_file": motion_file,
            "mean_file": folder / "mean.nii",
            "valid_file": folder / "valid.nii",
        }


class CombineRuns(Step):
    """Mean and field of view of all runs of a subject, and the identity in place of a transform."""

    motion_files = files_in("per run")
    mean_files = files_in("per run")
    valid_files = files_in("per run")

    mean_file = file_out("mean of all volumes of all runs")
    valid_mask_file = file_out("1 where every volume of every run has data")
    transform_file = file_out("identity, 4x4: the runs lie in the anatomy's space already")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        first: Any = nib.load(self.inputs.mean_files[0])
        total, valid, n_volumes = np.zeros(first.shape), np.ones(first.shape, dtype=bool), 0
        files = zip(
            self.inputs.motion_files, self.inputs.mean_files, self.inputs.valid_files, strict=True
        )
        for motion_file, mean_file, valid_file in files:
            mean: Any = nib.load(mean_file)
            if not same_grid(first, mean):
                raise StepError(
                    "the runs of the subject are not in one grid: run fMRIPrep again on all of "
                    "them together, or leave out the one that differs"
                )
            volumes = len(np.loadtxt(motion_file, ndmin=2))
            total += np.asarray(mean.dataobj, dtype=float) * volumes
            valid &= np.asarray(nib.load(valid_file).dataobj) > 0
            n_volumes += volumes
        save_image(folder / "mean.nii", (total / n_volumes).astype(np.float32), first.affine)
        save_image(folder / "valid_mask.nii", valid.astype(np.uint8), first.affine)
        write_matrix(folder / "bold_to_t1w.txt", np.eye(4))
        return {
            "mean_file": folder / "mean.nii",
            "valid_mask_file": folder / "valid_mask.nii",
            "transform_file": folder / "bold_to_t1w.txt",
        }


class CombineMasks(Step):
    """Brain mask of all runs: where any run's has brain, and every volume has data.

    fMRIPrep's masks follow the intensity of each run and differ at their borders.
    """

    mask_files = files_in("per run, in the grid of the runs")
    valid_mask_file = file_in("1 where every volume of every run has data")

    mask_file = file_out("uint8, 1 in the brain")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        valid: Any = nib.load(self.inputs.valid_mask_file)
        brain = np.zeros(valid.shape, dtype=bool)
        for file in self.inputs.mask_files:
            brain |= np.asarray(open_volume(file).dataobj) > 0
        brain &= np.asarray(valid.dataobj) > 0
        if not brain.any():
            raise StepError(
                f"{self.inputs.mask_files[0]} and the masks of the other runs hold no voxel with "
                "data in every volume: check fMRIPrep's report on this subject"
            )
        save_image(folder / "brain_mask.nii", brain.astype(np.uint8), valid.affine)
        return {"mask_file": folder / "brain_mask.nii"}


def read_confounds_motion(confounds_file: str | Path, n_volumes: int) -> NDArray[np.float64]:
    """Read the six motion parameters (mm, rad) out of a confounds table, shape (volumes, 6).

    Raises
    ------
    InputError
        When a column is missing, or does not hold a finite number for every volume.
    """
    table = read_table(confounds_file)
    table.require_columns(MOTION_PARAMETERS, "restore it from fMRIPrep's output")
    motion = table.numbers(MOTION_PARAMETERS, missing=True)
    if len(motion) != n_volumes or not np.isfinite(motion).all():
        raise InputError(
            f"{confounds_file} does not hold six finite motion parameters for each of the "
            f"{n_volumes} volumes: restore it from fMRIPrep's output"
        )
    return motion


def summarize_volumes(image: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean over the volumes of a 4D image, and where every volume has data.

    Parameters
    ----------
    image : nibabel image, shape (i, j, k, volumes)

    Returns
    -------
    mean : array, shape (i, j, k)
        Voxels without data in some volume count as 0 there.
    valid : array of bool, shape (i, j, k)
        Finite and inside the field of view in every volume; see `outside_field_of_view`.
    """
    total = np.zeros(image.shape[:3])
    valid = np.ones(image.shape[:3], dtype=bool)
    for volume in range(image.shape[3]):
        stored = np.asarray(image.dataobj[..., volume], dtype=np.float64)
        is_number = np.isfinite(stored)
        values = np.where(is_number, stored, 0)
        total += values
        valid &= is_number & ~outside_field_of_view(values)
    return total / image.shape[3], valid


def outside_field_of_view(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell the zeros that stand for no data from those of dark voxels.

    What a moved scanner did not see is a layer of zeros along the border of the grid, or all that
    lies beyond an oblique plane. A dark voxel, as in dropout beside an air space, may be 0 by
    chance; to leave out every such voxel would cut ventral temporal cortex. So a zero counts as no
    data only as part of a cross of zeros (a voxel and its six neighbours; all beyond the grid
    counts as zero): the morphological opening of the zeros.

    Parameters
    ----------
    values : array, shape (i, j, k)
        One volume; 0 where there is no data.

    Returns
    -------
    array of bool, shape (i, j, k)
    """
    zeros = np.pad(values == 0, 2, constant_values=True)
    if not zeros[2:-2, 2:-2, 2:-2].any():
        return np.zeros(values.shape, dtype=bool)
    centres: NDArray[np.bool_] = np.logical_and.reduce(list(_with_neighbours(zeros)))
    opened: NDArray[np.bool_] = np.logical_or.reduce(list(_with_neighbours(centres)))
    outside: NDArray[np.bool_] = opened & (values == 0)
    return outside


def _with_neighbours(marked: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """Give an array and its six neighbours in the grid, without the outermost layer."""
    inside = slice(1, -1)
    yield marked[inside, inside, inside]
    for axis in range(3):
        for shifted in (slice(None, -2), slice(2, None)):
            where = [inside, inside, inside]
            where[axis] = shifted
            yield marked[tuple(where)]
