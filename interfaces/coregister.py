"""Coregistration of the mean EPI with the T1w as a nipype step."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec

from bids_config.files import atomic_path
from interfaces.embedded.coregistration import coregister
from interfaces.embedded.transforms import write_matrix


class CoregisterInputSpec(BaseInterfaceInputSpec):
    """Inputs of `Coregister`."""

    source_file = File(exists=True, mandatory=True, desc="mean EPI, 3D")
    reference_file = File(exists=True, mandatory=True, desc="T1w, 3D")


class CoregisterOutputSpec(TraitedSpec):
    """Outputs of `Coregister`."""

    transform_file = File(exists=True, desc="4x4 matrix, EPI world to T1w world, RAS mm")
    report_file = File(exists=True, desc="JSON: the evidence for the result, and warnings")


class Coregister(SimpleInterface):
    """Find the rigid motion of the mean EPI to the T1w; neither image is resampled."""

    input_spec = CoregisterInputSpec
    output_spec = CoregisterOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        result = coregister(nib.load(self.inputs.source_file), nib.load(self.inputs.reference_file))
        transform = Path(runtime.cwd) / "bold_to_t1w.txt"
        report = Path(runtime.cwd) / "coregistration.json"
        write_matrix(transform, result.matrix)
        with atomic_path(report) as temporary:
            temporary.write_text(json.dumps(result.report(), indent=2) + "\n")
        self._results["transform_file"] = str(transform)
        self._results["report_file"] = str(report)
        return runtime
