"""The brain mask in EPI space as a nipype step."""

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

from conceptrsa.bids_config.images import open_volume
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.numerics.brain_mask import brain_mask
from conceptrsa.interfaces.numerics.t1w_mask import find_brain, take_brain_mask
from conceptrsa.interfaces.numerics.time_series import open_time_series
from conceptrsa.interfaces.numerics.transforms import read_matrix
from conceptrsa.interfaces.numerics.tsnr import temporal_snr


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


FREESURFER_THRESHOLD = 5.0
"""Of brainmask.mgz, as recon-all takes it: editors leave 1 where they remove voxels."""


class T1wBrainMaskInputSpec(BaseInterfaceInputSpec):
    """Inputs of `T1wBrainMask`."""

    t1w_file = File(exists=True, mandatory=True, desc="T1w, 3D, with or without skull")
    mask_file = File(exists=True, desc="supplied mask in the world of the T1w image, in any grid")
    fs_subject_dir = Directory(
        desc="FreeSurfer's folder of this subject; its brainmask.mgz is taken, if it is there"
    )


class T1wBrainMaskOutputSpec(TraitedSpec):
    """Outputs of `T1wBrainMask`."""

    mask_file = File(exists=True, desc="uint8, 1 in the brain, in the grid of the T1w image")
    report_file = File(exists=True, desc="JSON: where the mask comes from, volume, and warnings")


class T1wBrainMask(SimpleInterface):
    """Find the brain in the T1w image, or take the mask that is supplied."""

    input_spec = T1wBrainMaskInputSpec
    output_spec = T1wBrainMaskOutputSpec

    def files_read(self) -> list[Path]:
        """Files of FreeSurfer's folder that are read; see `pipelines/workflows/steps.py`."""
        mask = self._freesurfer_mask()
        return [] if mask is None else [mask]

    def _run_interface(self, runtime: Any) -> Any:
        t1w = open_volume(self.inputs.t1w_file)
        freesurfer = self._freesurfer_mask()
        if isdefined(self.inputs.mask_file):
            found = take_brain_mask(t1w, open_volume(self.inputs.mask_file))
        elif freesurfer is not None:
            found = take_brain_mask(
                t1w, open_volume(freesurfer), FREESURFER_THRESHOLD, trusted=True
            )
        else:
            found = find_brain(t1w)
        mask = Path(runtime.cwd) / "brain_mask.nii"
        with atomic_path(mask) as temporary:
            nib.save(nib.Nifti1Image(found.mask.astype(np.uint8), t1w.affine), temporary)
        report = Path(runtime.cwd) / "brain_mask.json"
        with atomic_path(report) as temporary:
            temporary.write_text(json.dumps(found.report(), indent=2) + "\n")
        self._results["mask_file"] = str(mask)
        self._results["report_file"] = str(report)
        return runtime

    def _freesurfer_mask(self) -> Path | None:
        if not isdefined(self.inputs.fs_subject_dir):
            return None
        file = Path(self.inputs.fs_subject_dir) / "mri" / "brainmask.mgz"
        return file if file.is_file() else None


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
