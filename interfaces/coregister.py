from pathlib import Path
from typing import Any
import json
import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, Directory, File, SimpleInterface, TraitedSpec, traits, isdefined
from interfaces.embedded.transforms import read_matrix, write_matrix

from dataclasses import asdict
from interfaces.embedded.coregistration import coregister
class I(BaseInterfaceInputSpec):
    source_file=File(exists=True,mandatory=True); reference_file=File(exists=True,mandatory=True)
class O(TraitedSpec):
    transform_file=File(exists=True); report_file=File(exists=True)
class Coregister(SimpleInterface):
    input_spec=I; output_spec=O
    def _run_interface(self, runtime):
        r=coregister(nib.load(self.inputs.source_file), nib.load(self.inputs.reference_file))
        t=Path(runtime.cwd)/'m.txt'; j=Path(runtime.cwd)/'r.json'
        write_matrix(t,r.matrix); j.write_text(json.dumps({'nmi':r.nmi}))
        self._results['transform_file']=str(t); self._results['report_file']=str(j); return runtime
