"""Normalization of the T1w to MNI305 as a nipype step."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from scipy import ndimage

from conceptrsa.bids_config.errors import StepError
from conceptrsa.bids_config.images import open_volume
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.freesurfer_subject import read_talairach, talairach_file
from conceptrsa.interfaces.numerics.normalization import image_data, inner_correlation, normalize
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import read_matrix, write_matrix

SURELY_ANOTHER, PERHAPS_ANOTHER = 0.6, 0.9
"""Correlations of a T1w with the image that a reconstruction was made from."""
DOUBTFUL_TALAIRACH = 0.4
"""Correlation of inner structure; talairach.xfm of eight heads reaches 0.49 to 0.82."""


class NormalizeInputSpec(BaseInterfaceInputSpec):
    """Inputs of `Normalize`."""

    in_file = File(exists=True, mandatory=True, desc="T1w, 3D")
    mask_file = File(exists=True, mandatory=True, desc="its brain mask, in the same grid")
    fs_subject_dir = Directory(
        desc="FreeSurfer's folder of this subject, made from the same T1w; "
        "its talairach.xfm is taken instead of a registration"
    )


class NormalizeOutputSpec(TraitedSpec):
    """Outputs of `Normalize`."""

    transform_file = File(exists=True, desc="4x4 matrix, T1w world to MNI305, RAS mm")
    report_file = File(exists=True, desc="JSON: where the transform comes from, and its evidence")


class Normalize(SimpleInterface):
    """Find the affine transform of a T1w to MNI305, by itself or from FreeSurfer's folder."""

    input_spec = NormalizeInputSpec
    output_spec = NormalizeOutputSpec

    def files_read(self) -> list[Path]:
        """Files of FreeSurfer's folder that are read; see `pipelines/workflows/steps.py`."""
        if not isdefined(self.inputs.fs_subject_dir):
            return []
        folder = Path(self.inputs.fs_subject_dir)
        return [talairach_file(folder), folder / "mri" / "orig.mgz"]

    def _run_interface(self, runtime: Any) -> Any:
        t1w = open_volume(self.inputs.in_file)
        mask = np.asarray(nib.load(self.inputs.mask_file).dataobj) > 0
        if isdefined(self.inputs.fs_subject_dir):
            matrix = read_talairach(self.inputs.fs_subject_dir)
            evidence = _evidence_for(matrix, t1w, mask, self.inputs.fs_subject_dir)
        else:
            result = normalize(t1w, mask)
            matrix, evidence = result.t1w_to_mni305, result.report()
        transform = Path(runtime.cwd) / "t1w_to_mni305.txt"
        report = Path(runtime.cwd) / "normalization.json"
        write_matrix(transform, matrix)
        with atomic_path(report) as temporary:
            temporary.write_text(json.dumps(evidence, indent=2) + "\n")
        self._results["transform_file"] = str(transform)
        self._results["report_file"] = str(report)
        return runtime


def _evidence_for(
    talairach: np.ndarray, t1w: SpatialImage, mask: np.ndarray, subject_dir: str
) -> dict[str, Any]:
    """What speaks for FreeSurfer's transform: it may be of another image, or have failed."""
    correlation = inner_correlation(t1w, talairach, mask)
    warnings = []
    if correlation < DOUBTFUL_TALAIRACH:
        warnings.append(
            f"through talairach.xfm the inner structure of the brain correlates with the "
            f"template's by only {correlation:.2f}: is the reconstruction of this very image, and "
            "did it succeed?"
        )
    orig_file = Path(subject_dir) / "mri" / "orig.mgz"
    likeness = scanner_correlation(t1w, nib.load(orig_file)) if orig_file.is_file() else None
    if likeness is not None and likeness < SURELY_ANOTHER:
        raise StepError(
            f"{t1w.get_filename()} and {orig_file} do not show the same head in the same place "
            f"(correlation {likeness:.2f} in scanner space), so the reconstruction is of another "
            "image; give the subjects directory that was made from this T1w, or none."
        )
    if likeness is not None and likeness < PERHAPS_ANOTHER:
        warnings.append(
            f"the T1w image and FreeSurfer's orig.mgz correlate by only {likeness:.2f} in scanner "
            "space: is the reconstruction of this very image?"
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
    voxels = np.indices(first.shape[:3])[:, ::4, ::4, ::4].reshape(3, -1)
    there = apply_affine(np.linalg.inv(second.affine) @ first.affine, voxels.T).T
    inside = ((there >= 0) & (np.array(second.shape[:3]) - 1 >= there.T).T).all(axis=0)
    if inside.sum() < 2:
        return 0.0
    values = smooth[0][tuple(voxels[:, inside])]
    others = ndimage.map_coordinates(smooth[1], there[:, inside], order=1)
    if np.ptp(values) == 0 or np.ptp(others) == 0:
        return 0.0
    return float(np.corrcoef(values, others)[0, 1])


class ResampleToMNI305InputSpec(BaseInterfaceInputSpec):
    """Inputs of `ResampleToMNI305`."""

    in_file = File(exists=True, mandatory=True, desc="3D or 4D in EPI space, NaN without data")
    bold_to_t1w_file = File(exists=True, mandatory=True, desc="4x4 matrix, RAS mm")
    t1w_to_mni305_file = File(exists=True, mandatory=True, desc="4x4 matrix, RAS mm")
    interpolation = traits.Enum("linear", "nearest", usedefault=True)


class ResampleToMNI305OutputSpec(TraitedSpec):
    """Outputs of `ResampleToMNI305`."""

    out_file = File(exists=True, desc="in the 76x76x93 grid of 2 mm, NaN without data")


class ResampleToMNI305(SimpleInterface):
    """Resample once, by the product of the two transforms, into the MNI305 grid of 2 mm."""

    input_spec = ResampleToMNI305InputSpec
    output_spec = ResampleToMNI305OutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        image = nib.load(self.inputs.in_file)
        bold_to_t1w = read_matrix(self.inputs.bold_to_t1w_file)
        t1w_to_mni305 = read_matrix(self.inputs.t1w_to_mni305_file)
        data = resample(
            np.asarray(image.dataobj),
            image.affine,
            mni305_grid.SHAPE,
            mni305_grid.AFFINE,
            t1w_to_mni305 @ bold_to_t1w,
            self.inputs.interpolation,
        )
        path = Path(runtime.cwd) / "space-MNI305.nii"
        with atomic_path(path) as temporary:
            nib.save(nib.Nifti1Image(data, mni305_grid.AFFINE), temporary)
        self._results["out_file"] = str(path)
        return runtime
