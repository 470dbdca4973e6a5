from pathlib import Path
from typing import Any
import json
import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, Directory, File, SimpleInterface, TraitedSpec, traits, isdefined
from interfaces.embedded.transforms import read_matrix, write_matrix

from interfaces.embedded.atlas import desikan_killiany_mni305
class I(BaseInterfaceInputSpec):
    fs_subject_dir=Directory(); t1w_to_mni305_file=File()
class O(TraitedSpec):
    dseg_file=File(exists=True); labels_file=File(exists=True)
class MNI305Rois(SimpleInterface):
    input_spec=I; output_spec=O
    def _run_interface(self, runtime):
        im,names=desikan_killiany_mni305()
        f=Path(runtime.cwd)/'dseg.nii'; nib.save(im,f); t=Path(runtime.cwd)/'labels.tsv'
        t.write_text('index\tname\n'+''.join(f'{k}\t{v}\n' for k,v in names.items()))
        self._results['dseg_file']=str(f); self._results['labels_file']=str(t); return runtime
class CI(BaseInterfaceInputSpec):
    dseg_file=File(exists=True,mandatory=True); betas_file=File(exists=True,mandatory=True); rois=traits.List(traits.Tuple(traits.Str(),traits.List(traits.Int())))
class CO(TraitedSpec):
    coverage_file=File(exists=True)
class RoiCoverage(SimpleInterface):
    input_spec=CI; output_spec=CO
    def _run_interface(self, runtime):
        d=np.asarray(nib.load(self.inputs.dseg_file).dataobj); b=np.isfinite(np.asarray(nib.load(self.inputs.betas_file).dataobj)).all(-1)
        t=Path(runtime.cwd)/'coverage.tsv'
        rows=['roi\tn_voxels\tn_covered\tcoverage']
        for n,l in self.inputs.rois:
            m=np.isin(d,l); rows.append(f'{n}\t{m.sum()}\t{(m&b).sum()}\t{(m&b).sum()/max(m.sum(),1):.4f}')
        t.write_text('\n'.join(rows)+'\n'); self._results['coverage_file']=str(t); return runtime
