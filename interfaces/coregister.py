"""Coregistration of the mean EPI with the T1w, made or only checked, as nipype steps."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec

from bids_config.files import atomic_path
from bids_config.images import open_volume
from interfaces.embedded.coregistration import coregister, gather_evidence
from interfaces.embedded.transforms import read_matrix, write_matrix

PREPROCESSED = "fMRIPrep's, so the transform is the identity; examined here by mutual information"


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
        result = coregister(
            nib.load(self.inputs.source_file), open_volume(self.inputs.reference_file)
        )
        transform = Path(runtime.cwd) / "bold_to_t1w.txt"
        report = Path(runtime.cwd) / "coregistration.json"
        write_matrix(transform, result.matrix)
        _write_report(report, result.report())
        self._results["transform_file"] = str(transform)
        self._results["report_file"] = str(report)
        return runtime


class CheckCoregistrationInputSpec(BaseInterfaceInputSpec):
    """Inputs of `CheckCoregistration`."""

    source_file = File(exists=True, mandatory=True, desc="mean EPI, 3D")
    mask_file = File(exists=True, mandatory=True, desc="1 where the EPI has data, in its grid")
    reference_file = File(exists=True, mandatory=True, desc="T1w, 3D")
    transform_file = File(exists=True, mandatory=True, desc="EPI world to T1w world, RAS mm")


class CheckCoregistrationOutputSpec(TraitedSpec):
    """Outputs of `CheckCoregistration`."""

    report_file = File(exists=True, desc="JSON: the evidence for the transform, and warnings")


class CheckCoregistration(SimpleInterface):
    """Tell whether EPI and T1w lie where fMRIPrep put them; a doubt is a warning.

    Nothing is refused: fMRIPrep registers by the border of white matter, which may well succeed
    where the searches that give the evidence here do not.
    """

    input_spec = CheckCoregistrationInputSpec
    output_spec = CheckCoregistrationOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        source: Any = nib.load(inputs.source_file)
        has_data = np.asarray(nib.load(inputs.mask_file).dataobj) > 0
        mean = np.where(has_data, np.asarray(source.dataobj, dtype=np.float32), np.nan)
        found = gather_evidence(
            nib.Nifti1Image(mean, source.affine),
            open_volume(inputs.reference_file),
            read_matrix(inputs.transform_file),
            PREPROCESSED,
        )
        content = found.report()
        if found.failures:
            content["warnings"] = [
                "the mean EPI does not seem to lie on the T1w image where fMRIPrep put it "
                f"({'; '.join(found.failures)}): look at both"
            ]
        report = Path(runtime.cwd) / "coregistration.json"
        _write_report(report, content)
        self._results["report_file"] = str(report)
        return runtime


def _write_report(file: Path, content: dict[str, object]) -> None:
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
