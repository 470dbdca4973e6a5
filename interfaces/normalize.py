from pathlib import Path
from typing import Any
import json
import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, Directory, File, SimpleInterface, TraitedSpec, traits, isdefined
from interfaces.embedded.transforms import read_matrix, write_matrix

from interfaces.embedded.normalization import normalize
class I(BaseInterfaceInputSpec):
    in_file=File(exists=True,mandatory=True); fs_subject_dir=Directory()
class O(TraitedSpec):
    transform_file=File(exists=True); report_file=File(exists=True)
class Normalize(SimpleInterface):
    input_spec=I; output_spec=O
    def _run_interface(self, runtime):
        r=normalize(nib.load(self.inputs.in_file))
        t=Path(runtime.cwd)/'m.txt'; j=Path(runtime.cwd)/'r.json'
        write_matrix(t,r.t1w_to_mni305); j.write_text(json.dumps({'c':r.correlation}))
        self._results['transform_file']=str(t); self._results['report_file']=str(j); return runtime
