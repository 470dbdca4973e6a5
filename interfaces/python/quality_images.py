"""Images for quality control: motion, signal-to-noise ratio, T1w views."""

from pathlib import Path
from typing import ClassVar

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd
from nibabel.spatialimages import SpatialImage

from conceptrsa.bids_config.images import open_volume, save_image
from conceptrsa.bids_config.tsv import write_table
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.resampling import resample_affine
from conceptrsa.interfaces.numerics.time_series import open_time_series, temporal_snr
from conceptrsa.interfaces.numerics.transforms import read_matrix
from conceptrsa.interfaces.python.step import Step, file_in, file_out

FINE_MM = 1.5
HEAD_RADIUS_MM = 50.0


def framewise_displacement(motion: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum of the absolute changes of the six motion parameters from volume to volume.

    Rotations count as the arc they make on a sphere of 50 mm radius (Power et al., 2012,
    NeuroImage 59:2142, "FD").

    Parameters
    ----------
    motion : array, shape (volumes, 6)
        Three translations (mm) and three rotations (rad).

    Returns
    -------
    array, shape (volumes,)
        In mm; NaN for the first volume, which has none before it.
    """
    in_mm = motion * np.array([1.0, 1.0, 1.0, HEAD_RADIUS_MM, HEAD_RADIUS_MM, HEAD_RADIUS_MM])
    displacement = np.abs(np.diff(in_mm, axis=0)).sum(axis=1)
    return np.concatenate([[np.nan], displacement])


class ConfoundsTable(Step):
    """Write the motion parameters of a run with fMRIPrep's column names."""

    motion_file = file_in("six columns: mm, mm, mm, rad, rad, rad")

    out_file = file_out("TSV with fMRIPrep's column names")
    columns: ClassVar[dict[str, dict[str, str]]] = {
        **{f"trans_{axis}": {"Units": "mm"} for axis in "xyz"},
        **{f"rot_{axis}": {"Units": "rad"} for axis in "xyz"},
        "framewise_displacement": {
            "Units": "mm",
            "Description": "Power et al. (2012), rotations on a sphere of 50 mm radius",
        },
    }

    def _run_in(self, folder: Path) -> dict[str, Path]:
        motion = np.loadtxt(self.inputs.motion_file, ndmin=2)
        values = np.column_stack([motion, framewise_displacement(motion)])
        table = pd.DataFrame(values, columns=list(self.columns))
        write_table(folder / "confounds.tsv", table, float_format="%.6f")
        return {"out_file": folder / "confounds.tsv"}


class TemporalSnr(Step):
    """Map the temporal signal-to-noise ratio of a run."""

    in_file = file_in("realigned run, 4D")

    out_file = file_out("3D, mean over standard deviation, 0 without signal")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        run = open_time_series(self.inputs.in_file)
        save_image(folder / "tsnr.nii", temporal_snr(run), run.affine)
        return {"out_file": folder / "tsnr.nii"}


class AnatomicalViews(Step):
    """Resample the T1w for the eye: into the field of view of the EPI, and into MNI305."""

    t1w_file = file_in("T1w, 3D")
    boldref_file = file_in("mean EPI; gives the field of view")
    bold_to_t1w_file = file_in("4x4 matrix, RAS mm")
    t1w_to_mni305_file = file_in("4x4 matrix, RAS mm")

    t1w_boldref_file = file_out("in the EPI's space and field of view, 1.5 mm isotropic")
    t1w_mni305_file = file_out("in the 76x76x93 MNI305 grid of 2 mm")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        t1w = open_volume(self.inputs.t1w_file)
        t1w_to_bold = np.linalg.inv(read_matrix(self.inputs.bold_to_t1w_file))
        shape, affine = fine_grid(nib.load(self.inputs.boldref_file))
        boldref, mni305 = folder / "t1w_boldref.nii", folder / "t1w_mni305.nii"
        save_image(boldref, resample_for_display(t1w, shape, affine, t1w_to_bold), affine)
        shape, affine = mni305_grid.SHAPE, mni305_grid.AFFINE
        to_mni305 = read_matrix(self.inputs.t1w_to_mni305_file)
        save_image(mni305, resample_for_display(t1w, shape, affine, to_mni305), affine)
        return {"t1w_boldref_file": boldref, "t1w_mni305_file": mni305}


def fine_grid(image: SpatialImage) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of a grid of small isotropic voxels over the field of view of an image."""
    zooms = np.array(nib.affines.voxel_sizes(image.affine))
    shape = np.ceil(np.array(image.shape[:3]) * zooms / FINE_MM).astype(int)
    to_coarse = np.diag([*(FINE_MM / zooms), 1.0])
    # Both grids begin at the same outer face, half a voxel before the first centre.
    to_coarse[:3, 3] = (FINE_MM / zooms - 1) / 2
    return tuple(shape.tolist()), image.affine @ to_coarse


def resample_for_display(
    image: SpatialImage, shape: tuple[int, ...], affine: np.ndarray, source_to_target: np.ndarray
) -> np.ndarray:
    """Resample a 3D image trilinearly: float32, 0 outside it.

    Parameters
    ----------
    image : nibabel image
        3D.
    shape, affine : tuple, array (4, 4)
        Of the target grid; world RAS mm.
    source_to_target : array (4, 4)
        World of the image to world of the target, RAS mm.
    """
    data = np.nan_to_num(np.asarray(image.dataobj, dtype=np.float32), posinf=0, neginf=0)
    to_voxels = np.linalg.inv(source_to_target @ image.affine) @ affine
    return resample_affine(data.reshape(data.shape[:3]), to_voxels, shape)
