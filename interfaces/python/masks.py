"""Brain masks of the T1w image and of the EPI as nipype steps."""

from pathlib import Path

import nibabel as nib
import numpy as np
from nipype.interfaces.base import isdefined

from conceptrsa.bids_config.images import open_volume, save_image
from conceptrsa.bids_config.writing import write_json
from conceptrsa.interfaces.numerics.brain_mask import brain_mask, find_brain, take_brain_mask
from conceptrsa.interfaces.numerics.transforms import read_matrix
from conceptrsa.interfaces.python.step import (
    Step,
    file_in,
    file_out,
    optional_file,
    optional_folder,
)


class BrainMask(Step):
    """Take the brain mask of the T1w image into EPI space."""

    boldref_file = file_in("mean EPI; gives the grid")
    valid_mask_file = file_in("1 where every volume has data")
    bold_to_t1w_file = file_in("4x4 matrix, RAS mm")
    t1w_mask_file = file_in("brain mask of the T1w image")

    mask_file = file_out("brain mask in the grid of boldref_file")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        mask = brain_mask(
            nib.load(self.inputs.boldref_file),
            np.asarray(nib.load(self.inputs.valid_mask_file).dataobj) > 0,
            read_matrix(self.inputs.bold_to_t1w_file),
            nib.load(self.inputs.t1w_mask_file),
        )
        save_image(folder / "brain_mask.nii", mask.dataobj, mask.affine)
        return {"mask_file": folder / "brain_mask.nii"}


FREESURFER_THRESHOLD = 5.0
"""Of brainmask.mgz, as recon-all takes it: editors leave 1 where they remove voxels."""


class T1wBrainMask(Step):
    """Find the brain in the T1w image, or take the mask that is supplied."""

    t1w_file = file_in("T1w, 3D, with or without skull")
    supplied_file = optional_file("mask in the world of the T1w image, in any grid")
    fs_subject_dir = optional_folder(
        "FreeSurfer's folder of this subject; its brainmask.mgz is taken, if it is there"
    )

    mask_file = file_out("uint8, 1 in the brain, in the grid of the T1w image")
    report_file = file_out("JSON: where the mask comes from, volume, and warnings")

    def files_read(self) -> list[Path]:
        """Files of FreeSurfer's folder that are read; see `pipelines/workflows/steps.py`."""
        mask = self._freesurfer_mask()
        return [] if mask is None else [mask]

    def _run_in(self, folder: Path) -> dict[str, Path]:
        t1w = open_volume(self.inputs.t1w_file)
        freesurfer = self._freesurfer_mask()
        if isdefined(self.inputs.supplied_file):
            found = take_brain_mask(t1w, open_volume(self.inputs.supplied_file))
        elif freesurfer is not None:
            found = take_brain_mask(
                t1w, open_volume(freesurfer), FREESURFER_THRESHOLD, trusted=True
            )
        else:
            found = find_brain(t1w)
        mask, report = folder / "brain_mask.nii", folder / "brain_mask.json"
        save_image(mask, found.mask.astype(np.uint8), t1w.affine)
        write_json(report, found.report())
        return {"mask_file": mask, "report_file": report}

    def _freesurfer_mask(self) -> Path | None:
        if not isdefined(self.inputs.fs_subject_dir):
            return None
        file = Path(self.inputs.fs_subject_dir) / "mri" / "brainmask.mgz"
        return file if file.is_file() else None
