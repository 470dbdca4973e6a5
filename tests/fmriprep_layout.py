"""Preprocessed runs laid out as fMRIPrep names them, made by this tool's own first steps."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage

from conceptrsa.interfaces.numerics.transforms import read_matrix
from conceptrsa.interfaces.python.quality_images import ConfoundsTable
from conceptrsa.pipelines.bids.dataset import SubjectInputs


@dataclass(frozen=True)
class Preprocessed:
    """What slice timing, realignment and coregistration left of a subject."""

    bold_files: Sequence[str]
    motion_files: Sequence[str]
    bold_to_t1w: str


def write_fmriprep(
    folder: Path, subject: SubjectInputs, found: Preprocessed, voxel_mm: float | None = None
) -> None:
    """Write a derivatives data set as fMRIPrep leaves it with `--output-spaces T1w`.

    Without `voxel_mm` the runs keep their voxels, and only their affine is brought to T1w space;
    else they are resampled to a grid along the axes of the T1w world, as fMRIPrep does it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text(
        json.dumps(
            {
                "Name": "fMRIPrep - fMRI PREProcessing workflow",
                "BIDSVersion": "1.4.0",
                "DatasetType": "derivative",
                "GeneratedBy": [{"Name": "fMRIPrep", "Version": "23.2.0"}],
            }
        )
    )
    name = f"sub-{subject.subject}"
    anat = folder / name / "anat"
    anat.mkdir(parents=True)
    nib.save(nib.load(subject.t1w), anat / f"{name}_desc-preproc_T1w.nii.gz")
    bold_to_t1w = read_matrix(found.bold_to_t1w)
    for run, bold_file, motion_file in zip(
        subject.runs, found.bold_files, found.motion_files, strict=True
    ):
        func = folder / name / f"ses-{run.session}" / "func"
        func.mkdir(parents=True, exist_ok=True)
        stem = run.bold.name.removesuffix("_bold.nii.gz")
        image = in_t1w_space(nib.load(bold_file), bold_to_t1w, voxel_mm)
        nib.save(image, func / f"{stem}_space-T1w_desc-preproc_bold.nii.gz")
        (func / f"{stem}_space-T1w_desc-preproc_bold.json").write_text(
            json.dumps(
                {
                    "RepetitionTime": run.repetition_time,
                    "SkullStripped": False,
                    "SliceTimingCorrected": True,
                    "StartTime": run.repetition_time / 2,
                    "TaskName": "perception",
                }
            )
        )
        motion = pd.DataFrame(np.loadtxt(motion_file), columns=list(ConfoundsTable.columns)[:6])
        # Among others, in another order, as in fMRIPrep's tables.
        motion.insert(0, "global_signal", 1.0)
        motion["rot_z_derivative1"] = ["n/a", *np.diff(motion["rot_z"])]
        motion[motion.columns[::-1]].to_csv(
            func / f"{stem}_desc-confounds_timeseries.tsv", sep="\t", index=False
        )


def in_t1w_space(
    image: nib.Nifti1Image, bold_to_t1w: np.ndarray, voxel_mm: float | None
) -> nib.Nifti1Image:
    """Bring a run to T1w space: by its affine alone, or resampled along the axes of the world."""
    affine = bold_to_t1w @ image.affine
    header = image.header
    data = np.asarray(image.dataobj, dtype=np.float32)
    if voxel_mm is not None:
        corners = np.array(np.meshgrid(*[(0, size - 1) for size in image.shape[:3]])).reshape(3, -1)
        world = nib.affines.apply_affine(affine, corners.T)
        target = np.diag([voxel_mm] * 3 + [1.0])
        target[:3, 3] = world.min(axis=0)
        shape = tuple(np.ceil(np.ptp(world, axis=0) / voxel_mm).astype(int) + 1)
        to_voxels = np.linalg.inv(affine) @ target
        # Cubic splines are near to the Lanczos window that fMRIPrep interpolates by.
        volumes = [
            ndimage.affine_transform(volume, to_voxels, output_shape=shape, order=3)
            for volume in np.moveaxis(data, 3, 0)
        ]
        data, affine = np.stack(volumes, axis=3), target
    moved = nib.Nifti1Image(data, affine)
    moved.header.set_zooms((*moved.header.get_zooms()[:3], header.get_zooms()[3]))
    moved.header.set_xyzt_units("mm", "sec")
    return moved
