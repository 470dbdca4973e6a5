"""Coregistration of the mean EPI with the T1w by SPM12 as a nipype step."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import SimpleInterface

from bids_config.files import atomic_path
from bids_config.images import open_volume
from interfaces.coregister import CoregisterInputSpec, CoregisterOutputSpec
from interfaces.embedded.coregistration import examine
from interfaces.embedded.transforms import write_matrix
from interfaces.programs.files import copy, provide, remove_all
from interfaces.spm.files import Written, workplace
from interfaces.spm.jobs import CoregisterJob
from interfaces.spm.specs import SpmInputSpec, launcher_of

METHOD = "spm_coreg: normalised mutual information, 4 and 2 mm"


class SpmCoregisterInputSpec(SpmInputSpec, CoregisterInputSpec):
    """Inputs of `SpmCoregister`."""


class SpmCoregister(SimpleInterface):
    """Find the rigid motion of the mean EPI to the T1w (`spm_coreg`, estimate only).

    SPM writes the new place of the mean EPI into the header of a copy; what is kept is the matrix
    between the old place and the new one. SPM does not say whether a registration went wrong, so
    it is examined in the way of the embedded engine.
    """

    input_spec = SpmCoregisterInputSpec
    output_spec = CoregisterOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        folder = Path(runtime.cwd)
        source, reference = Path(self.inputs.source_file), Path(self.inputs.reference_file)
        with workplace(folder) as plain:
            moved, still = plain / "boldref.nii", plain / "T1w.nii"
            copy(source, moved)
            provide(reference, still)
            before = nib.load(moved).affine
            job = CoregisterJob(
                source=[str(moved)],
                target=str(still),
                jobtype="estimate",
                cost_function="nmi",
                separation=[4.0, 2.0],
                tolerance=[0.02] * 3 + [0.001] * 3 + [0.01] * 3 + [0.001] * 3,
                fwhm=[7.0, 7.0],
            )
            written = Written([moved])
            job.run_in(launcher_of(self.inputs), plain)
            written.require(job.module)
            matrix = np.asarray(nib.load(moved).affine @ np.linalg.inv(before))
            remove_all([moved, still])
        evidence = examine(nib.load(source), open_volume(reference), matrix, METHOD)
        transform, report = folder / "bold_to_t1w.txt", folder / "coregistration.json"
        write_matrix(transform, matrix)
        with atomic_path(report) as temporary:
            temporary.write_text(json.dumps(evidence.report(), indent=2) + "\n")
        self._results["transform_file"] = str(transform)
        self._results["report_file"] = str(report)
        return runtime
