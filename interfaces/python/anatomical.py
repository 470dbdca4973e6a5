"""The T1w seen in the EPI's place and in MNI305, as a nipype step."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec
from scipy import ndimage

from conceptrsa.bids_config.images import open_volume
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.transforms import read_matrix

FINE_MM = 1.5


class AnatomicalViewsInputSpec(BaseInterfaceInputSpec):
    """Inputs of `AnatomicalViews`."""

    t1w_file = File(exists=True, mandatory=True, desc="T1w, 3D")
    boldref_file = File(exists=True, mandatory=True, desc="mean EPI; gives the field of view")
    bold_to_t1w_file = File(exists=True, mandatory=True, desc="4x4 matrix, RAS mm")
    t1w_to_mni305_file = File(exists=True, mandatory=True, desc="4x4 matrix, RAS mm")


class AnatomicalViewsOutputSpec(TraitedSpec):
    """Outputs of `AnatomicalViews`."""

    boldref_file = File(exists=True, desc="in the EPI's space and field of view, 1.5 mm isotropic")
    mni305_file = File(exists=True, desc="in the 76x76x93 MNI305 grid of 2 mm")


class AnatomicalViews(SimpleInterface):
    """Resample the T1w for the eye: into the field of view of the EPI, and into MNI305."""

    input_spec = AnatomicalViewsInputSpec
    output_spec = AnatomicalViewsOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        t1w = open_volume(self.inputs.t1w_file)
        fine_shape, fine_affine = fine_grid(nib.load(self.inputs.boldref_file))
        t1w_to_bold = np.linalg.inv(read_matrix(self.inputs.bold_to_t1w_file))
        t1w_to_mni305 = read_matrix(self.inputs.t1w_to_mni305_file)
        for name, shape, affine, matrix in (
            ("boldref", fine_shape, fine_affine, t1w_to_bold),
            ("mni305", mni305_grid.SHAPE, mni305_grid.AFFINE, t1w_to_mni305),
        ):
            path = Path(runtime.cwd) / f"t1w_{name}.nii"
            with atomic_path(path) as temporary:
                nib.save(resample_for_display(t1w, shape, affine, matrix), temporary)
            self._results[f"{name}_file"] = str(path)
        return runtime


def fine_grid(image: SpatialImage, voxel_mm: float = FINE_MM) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine of a grid of small isotropic voxels over the field of view of an image."""
    zooms = np.array(nib.affines.voxel_sizes(image.affine))
    shape = np.ceil(np.array(image.shape[:3]) * zooms / voxel_mm).astype(int)
    to_coarse = np.diag([*(voxel_mm / zooms), 1.0])
    # Both grids begin at the same outer face, half a voxel before the first centre.
    to_coarse[:3, 3] = (voxel_mm / zooms - 1) / 2
    return tuple(shape.tolist()), image.affine @ to_coarse


def resample_for_display(
    image: SpatialImage, shape: tuple[int, ...], affine: np.ndarray, source_to_target: np.ndarray
) -> nib.Nifti1Image:
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
    resampled = ndimage.affine_transform(
        # In two parts: SciPy refuses a last row that rounding has moved off 0 0 0 1.
        data.reshape(data.shape[:3]),
        to_voxels[:3, :3],
        to_voxels[:3, 3],
        output_shape=shape,
        order=1,
        cval=0.0,
    )
    return nib.Nifti1Image(resampled, affine)
