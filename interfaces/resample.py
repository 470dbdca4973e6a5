from pathlib import Path
from typing import Any
import json
import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, Directory, File, SimpleInterface, TraitedSpec, traits, isdefined
from interfaces.embedded.transforms import read_matrix, write_matrix

from interfaces.embedded import mni305
from interfaces.embedded.resampling import resample
class I(BaseInterfaceInputSpec):
    in_file=File(exists=True,mandatory=True)
    bold_to_t1w_file=File(exists=True,mandatory=True); t1w_to_mni305_file=File(exists=True,mandatory=True)
    interpolation=traits.Enum('linear','nearest',usedefault=True)
class O(TraitedSpec):
    out_file=File(exists=True)
class ResampleToMNI305(SimpleInterface):
    input_spec=I; output_spec=O
    def _run_interface(self, runtime):
        im=nib.load(self.inputs.in_file)
        M=read_matrix(self.inputs.t1w_to_mni305_file)@read_matrix(self.inputs.bold_to_t1w_file)
        out=resample(np.asarray(im.dataobj),im.affine,mni305.SHAPE,mni305.AFFINE,M,self.inputs.interpolation)
        f=Path(runtime.cwd)/'mni305.nii'; nib.save(nib.Nifti1Image(out,mni305.AFFINE),f)
        self._results['out_file']=str(f); return runtime
