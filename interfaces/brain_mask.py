"""The brain mask in EPI space as a nipype step."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec

from bids_config.files import atomic_path
from interfaces.embedded.brain_mask import brain_mask
from interfaces.embedded.transforms import read_matrix


class BrainMaskInputSpec(BaseInterfaceInputSpec):
    """Inputs of `BrainMask`."""

    boldref_file = File(exists=True, mandatory=True, desc="mean EPI; gives the grid")
    valid_mask_file = File(exists=True, mandatory=True, desc="1 where every volume has data")
    bold_to_t1w_file = File(exists=True, mandatory=True, desc="4x4 matrix, RAS mm")
    t1w_mask_file = File(exists=True, mandatory=True, desc="brain mask of the T1w image")


class BrainMaskOutputSpec(TraitedSpec):
    """Outputs of `BrainMask`."""

    mask_file = File(exists=True, desc="brain mask in the grid of boldref_file")


class BrainMask(SimpleInterface):
    """Take the brain mask of the T1w image into EPI space."""

    input_spec = BrainMaskInputSpec
    output_spec = BrainMaskOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        mask = brain_mask(
            nib.load(self.inputs.boldref_file),
            np.asarray(nib.load(self.inputs.valid_mask_file).dataobj) > 0,
            read_matrix(self.inputs.bold_to_t1w_file),
            nib.load(self.inputs.t1w_mask_file),
        )
        path = Path(runtime.cwd) / "brain_mask.nii"
        with atomic_path(path) as temporary:
            nib.save(mask, temporary)
        self._results["mask_file"] = str(path)
        return runtime
