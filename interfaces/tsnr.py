"""Temporal signal-to-noise ratio of a run as a nipype step."""

from pathlib import Path
from typing import Any

import nibabel as nib
from nipype.interfaces.base import BaseInterfaceInputSpec, File, SimpleInterface, TraitedSpec

from bids_config.files import atomic_path
from interfaces.embedded.time_series import open_time_series
from interfaces.embedded.tsnr import temporal_snr


class TemporalSnrInputSpec(BaseInterfaceInputSpec):
    """Inputs of `TemporalSnr`."""

    in_file = File(exists=True, mandatory=True, desc="realigned run, 4D")


class TemporalSnrOutputSpec(TraitedSpec):
    """Outputs of `TemporalSnr`."""

    out_file = File(exists=True, desc="3D, mean over standard deviation, 0 without signal")


class TemporalSnr(SimpleInterface):
    """Map the temporal signal-to-noise ratio of a run."""

    input_spec = TemporalSnrInputSpec
    output_spec = TemporalSnrOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        run = open_time_series(self.inputs.in_file)
        path = Path(runtime.cwd) / "tsnr.nii"
        with atomic_path(path) as temporary:
            nib.save(nib.Nifti1Image(temporal_snr(run), run.affine), temporary)
        self._results["out_file"] = str(path)
        return runtime
