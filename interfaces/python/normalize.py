"""Normalization of the T1w to MNI305, and resampling there, as nipype steps."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from nipype.interfaces.base import isdefined
from scipy import ndimage

from conceptrsa.bids_config.errors import StepError
from conceptrsa.bids_config.images import open_volume, save_image
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.freesurfer_subject import read_talairach, talairach_file
from conceptrsa.interfaces.numerics.normalization import correlation, inner_correlation, normalize
from conceptrsa.interfaces.numerics.registration_search import image_data
from conceptrsa.interfaces.numerics.transforms import is_inside, read_matrix
from conceptrsa.interfaces.python.step import (
    Step,
    file_in,
    file_out,
    optional_folder,
    write_transform,
)

SURELY_ANOTHER, PERHAPS_ANOTHER = 0.6, 0.9
"""Correlations of a T1w with the image that a reconstruction was made from."""
DOUBTFUL_TALAIRACH = 0.4
"""Correlation of inner structure; talairach.xfm of eight heads reaches 0.49 to 0.82."""


class Normalize(Step):
    """Find the affine transform of a T1w to MNI305, by itself or from FreeSurfer's folder."""

    in_file = file_in("T1w, 3D")
    mask_file = file_in("its brain mask, in the same grid")
    fs_subject_dir = optional_folder(
        "FreeSurfer's folder of this subject, made from the same T1w; "
        "its talairach.xfm is taken instead of a registration"
    )

    transform_file = file_out("4x4 matrix, T1w world to MNI305, RAS mm")
    report_file = file_out("JSON: where the transform comes from, and its evidence")

    def files_read(self) -> list[Path]:
        """Files of FreeSurfer's folder that are read; see `pipelines/workflows/steps.py`."""
        if not isdefined(self.inputs.fs_subject_dir):
            return []
        folder = Path(self.inputs.fs_subject_dir)
        return [talairach_file(folder), folder / "mri" / "orig.mgz"]

    def _run_in(self, folder: Path) -> dict[str, Path]:
        t1w = open_volume(self.inputs.in_file)
        mask = np.asarray(nib.load(self.inputs.mask_file).dataobj) > 0
        if isdefined(self.inputs.fs_subject_dir):
            matrix = read_talairach(self.inputs.fs_subject_dir)
            evidence = _evidence_for(matrix, t1w, mask, self.inputs.fs_subject_dir)
        else:
            result = normalize(t1w, mask)
            matrix, evidence = result.t1w_to_mni305, result.report()
        return write_transform(folder, "t1w_to_mni305", matrix, evidence)


def _evidence_for(
    talairach: np.ndarray, t1w: SpatialImage, mask: np.ndarray, subject_dir: str
) -> dict[str, Any]:
    """Check FreeSurfer's transform, which may belong to another image or have failed."""
    correlation = inner_correlation(t1w, talairach, mask)
    warnings = []
    if correlation < DOUBTFUL_TALAIRACH:
        warnings.append(
            "through talairach.xfm the inner structure of the brain correlates with the template's "
            f"by only {correlation:.2f}: check that the reconstruction was made from this image "
            "and succeeded"
        )
    orig_file = Path(subject_dir) / "mri" / "orig.mgz"
    likeness = scanner_correlation(t1w, nib.load(orig_file)) if orig_file.is_file() else None
    if likeness is not None and likeness < SURELY_ANOTHER:
        raise StepError(
            f"{t1w.get_filename()} and {orig_file} do not show the same head in the same place "
            f"(correlation {likeness:.2f} in scanner space), so the reconstruction belongs to "
            "another image; give the subjects directory made from this T1w image, or none."
        )
    if likeness is not None and likeness < PERHAPS_ANOTHER:
        warnings.append(
            f"the T1w image and FreeSurfer's orig.mgz correlate by only {likeness:.2f} in scanner "
            "space: check that the reconstruction was made from this image"
        )
    return {
        "method": "talairach.xfm of FreeSurfer",
        "correlation_of_inner_structure": correlation,
        "correlation_with_orig": likeness,
        "warnings": warnings,
    }


def scanner_correlation(first: SpatialImage, second: SpatialImage) -> float:
    """Pearson correlation of two images where both have data, point by point of scanner space.

    Parameters
    ----------
    first, second : nibabel image
        3D. Points are every fourth voxel of the first; both are smoothed over two voxels.
    """
    smooth = [ndimage.gaussian_filter(image_data(image), 2.0) for image in (first, second)]
    voxels = np.indices(first.shape[:3])[:, ::4, ::4, ::4].reshape(3, -1).T
    there = apply_affine(np.linalg.inv(second.affine) @ first.affine, voxels)
    inside = is_inside(there, second.shape[:3])
    if inside.sum() < 2:
        return 0.0
    others = ndimage.map_coordinates(smooth[1], there[inside].T, order=1)
    return correlation(smooth[0][tuple(voxels[inside].T)], others)


class ResampleToMNI305(Step):
    """Resample once, by the product of the two transforms, into the MNI305 grid of 2 mm."""

    in_file = file_in("3D or 4D in EPI space, NaN without data")
    bold_to_t1w_file = file_in("4x4 matrix, RAS mm")
    t1w_to_mni305_file = file_in("4x4 matrix, RAS mm")

    out_file = file_out("in the 76x76x93 grid of 2 mm, NaN without data")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        image = nib.load(self.inputs.in_file)
        bold_to_t1w = read_matrix(self.inputs.bold_to_t1w_file)
        to_mni305 = read_matrix(self.inputs.t1w_to_mni305_file) @ bold_to_t1w
        data = mni305_grid.to_mni305(np.asarray(image.dataobj), image.affine, to_mni305)
        save_image(folder / "space-MNI305.nii", data, mni305_grid.AFFINE)
        return {"out_file": folder / "space-MNI305.nii"}
