"""Resampling of EPI-space images into MNI305 as a nipype step."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_config.files import atomic_path
from interfaces.embedded import mni305
from interfaces.embedded.resampling import resample
from interfaces.embedded.transforms import read_matrix


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
            mni305.SHAPE,
            mni305.AFFINE,
            t1w_to_mni305 @ bold_to_t1w,
            self.inputs.interpolation,
        )
        path = Path(runtime.cwd) / "space-MNI305.nii"
        with atomic_path(path) as temporary:
            nib.save(nib.Nifti1Image(data, mni305.AFFINE), temporary)
        self._results["out_file"] = str(path)
        return runtime
