from pathlib import Path
from typing import Any
import json
import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, Directory, File, SimpleInterface, TraitedSpec, traits, isdefined
from interfaces.embedded.transforms import read_matrix, write_matrix

from scipy import ndimage
from interfaces.embedded import mni305
from interfaces.embedded.resampling import resample
class I(BaseInterfaceInputSpec):
    boldref_file=File(exists=True,mandatory=True); valid_mask_file=File(exists=True,mandatory=True)
    bold_to_t1w_file=File(exists=True,mandatory=True); t1w_to_mni305_file=File(exists=True,mandatory=True)
class O(TraitedSpec):
    mask_file=File(exists=True)
class BrainMask(SimpleInterface):
    input_spec=I; output_spec=O
    def _run_interface(self, runtime):
        from nilearn.datasets import load_mni152_brain_mask
        m=load_mni152_brain_mask(resolution=2); d=np.asarray(m.dataobj)>0
        d=ndimage.binary_dilation(d,iterations=2).astype(np.int16)
        ref=nib.load(self.inputs.boldref_file)
        M=np.linalg.inv(read_matrix(self.inputs.t1w_to_mni305_file)@read_matrix(self.inputs.bold_to_t1w_file))@mni305.MNI152_TO_MNI305
        out=resample(d,m.affine,ref.shape,ref.affine,M,'nearest')
        v=np.asarray(nib.load(self.inputs.valid_mask_file).dataobj)>0
        f=Path(runtime.cwd)/'mask.nii'; nib.save(nib.Nifti1Image(((out>0)&v).astype(np.uint8),ref.affine),f)
        self._results['mask_file']=str(f); return runtime
