"""Normalization of the T1w to MNI305 as a nipype step."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
)

from bids_config.files import atomic_path
from interfaces.embedded.freesurfer import read_talairach
from interfaces.embedded.normalization import (
    MINIMUM_CORRELATION,
    normalize,
    template_correlation,
)
from interfaces.embedded.transforms import write_matrix


class NormalizeInputSpec(BaseInterfaceInputSpec):
    """Inputs of `Normalize`."""

    in_file = File(exists=True, mandatory=True, desc="T1w, 3D, with the skull or without")
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

    def _run_interface(self, runtime: Any) -> Any:
        if isdefined(self.inputs.fs_subject_dir):
            matrix = read_talairach(self.inputs.fs_subject_dir)
            evidence = _evidence_for(matrix, self.inputs.in_file)
        else:
            result = normalize(nib.load(self.inputs.in_file))
            matrix, evidence = result.t1w_to_mni305, result.report()
        transform = Path(runtime.cwd) / "t1w_to_mni305.txt"
        report = Path(runtime.cwd) / "normalization.json"
        write_matrix(transform, matrix)
        with atomic_path(report) as temporary:
            temporary.write_text(json.dumps(evidence, indent=2) + "\n")
        self._results["transform_file"] = str(transform)
        self._results["report_file"] = str(report)
        return runtime


def _evidence_for(talairach: np.ndarray, t1w_file: str) -> dict[str, Any]:
    """What speaks for FreeSurfer's transform: it may be of another image, or have failed."""
    correlation = template_correlation(nib.load(t1w_file), talairach)
    warnings = []
    if correlation < MINIMUM_CORRELATION:
        warnings.append(
            f"through talairach.xfm the T1w image correlates with the template by only "
            f"{correlation:.2f}: is the reconstruction of this very image, and did it succeed?"
        )
    return {
        "method": "talairach.xfm of FreeSurfer",
        "correlation_with_template": correlation,
        "warnings": warnings,
    }
