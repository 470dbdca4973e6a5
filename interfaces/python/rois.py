"""Regions of interest in the MNI305 grid, and how much of each has data, as nipype steps."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.affines import apply_affine
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.images import open_volume
from conceptrsa.bids_config.tsv import write_table
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305, region_names
from conceptrsa.interfaces.numerics.freesurfer_subject import (
    labels_mni305,
    read_talairach,
    segmentation_file,
    segmentation_mni305,
    talairach_file,
)
from conceptrsa.interfaces.numerics.subject_regions import find_regions
from conceptrsa.interfaces.numerics.transforms import read_matrix


class MNI305RoisInputSpec(BaseInterfaceInputSpec):
    """Inputs of `MNI305Rois`."""

    fs_subject_dir = Directory(desc="FreeSurfer's folder of this subject; its aparc+aseg is taken")
    segmentation_file = File(
        exists=True, desc="aparc+aseg in T1w space, in place of fs_subject_dir's"
    )
    t1w_file = File(exists=True, desc="T1w, 3D: the atlas is fitted to this head")
    t1w_mask_file = File(exists=True, desc="brain mask of t1w_file, in its grid")
    t1w_to_mni305_file = File(
        exists=True, desc="4x4 matrix, RAS mm, of the subject; by default its talairach.xfm"
    )


class MNI305RoisOutputSpec(TraitedSpec):
    """Outputs of `MNI305Rois`."""

    dseg_file = File(exists=True, desc="int16, FreeSurfer aparc+aseg ids, 76x76x93 at 2 mm")
    labels_file = File(exists=True, desc="TSV: index, name")
    report_file = File(exists=True, desc="JSON: where the regions come from, and the evidence")


class MNI305Rois(SimpleInterface):
    """Desikan-Killiany regions in MNI305: FreeSurfer's, the atlas fitted to a head, or as it is."""

    input_spec = MNI305RoisInputSpec
    output_spec = MNI305RoisOutputSpec

    def files_read(self) -> list[Path]:
        """Files of FreeSurfer's folder that are read; see `pipelines/workflows/steps.py`."""
        folder = self.inputs.fs_subject_dir
        return [segmentation_file(folder), talairach_file(folder)] if isdefined(folder) else []

    def _run_interface(self, runtime: Any) -> Any:
        report: dict[str, object] = {}
        if isdefined(self.inputs.fs_subject_dir) or isdefined(self.inputs.segmentation_file):
            segmentation, names = self._of_subject()
        elif isdefined(self.inputs.t1w_file):
            found = find_regions(
                open_volume(self.inputs.t1w_file),
                np.asarray(nib.load(self.inputs.t1w_mask_file).dataobj) > 0,
                read_matrix(self.inputs.t1w_to_mni305_file),
            )
            segmentation, names, report = found.labels, desikan_killiany_mni305()[1], found.report()
        else:
            segmentation, names = desikan_killiany_mni305()
        dseg = Path(runtime.cwd) / "dseg.nii"
        with atomic_path(dseg) as temporary:
            nib.save(segmentation, temporary)
        labels = Path(runtime.cwd) / "dseg.tsv"
        write_table(labels, pd.DataFrame(sorted(names.items()), columns=["index", "name"]))
        report_file = Path(runtime.cwd) / "regions.json"
        with atomic_path(report_file) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n")
        self._results["dseg_file"] = str(dseg)
        self._results["report_file"] = str(report_file)
        self._results["labels_file"] = str(labels)
        return runtime

    def _of_subject(self) -> tuple[nib.Nifti1Image, dict[int, str]]:
        folder, matrix_file = self.inputs.fs_subject_dir, self.inputs.t1w_to_mni305_file
        matrix = read_matrix(matrix_file) if isdefined(matrix_file) else read_talairach(folder)
        if isdefined(self.inputs.segmentation_file):
            segmentation = labels_mni305(self.inputs.segmentation_file, matrix)
        else:
            segmentation = segmentation_mni305(folder, matrix)
        known = region_names()
        present = np.unique(np.asarray(segmentation.dataobj))
        return segmentation, {
            index: known.get(index, f"label-{index}") for index in present.tolist() if index != 0
        }


class RoiCoverageInputSpec(BaseInterfaceInputSpec):
    """Inputs of `RoiCoverage`."""

    dseg_file = File(exists=True, mandatory=True, desc="labels in MNI305")
    betas_file = File(exists=True, mandatory=True, desc="4D in the same grid, NaN without data")
    rois = traits.List(
        traits.Tuple(traits.Str(), traits.List(traits.Int())),
        mandatory=True,
        desc="name and labels of each region",
    )


class RoiCoverageOutputSpec(TraitedSpec):
    """Outputs of `RoiCoverage`."""

    coverage_file = File(
        exists=True, desc="TSV: roi, n_voxels, n_covered, coverage, distance_from_atlas_mm"
    )


class RoiCoverage(SimpleInterface):
    """Count the voxels of each region that have data, and tell how far it is from the atlas'."""

    input_spec = RoiCoverageInputSpec
    output_spec = RoiCoverageOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        segmentation = nib.load(self.inputs.dseg_file)
        labels = np.asarray(segmentation.dataobj)
        atlas = np.asarray(desikan_killiany_mni305()[0].dataobj)
        betas = np.asarray(nib.load(self.inputs.betas_file).dataobj)
        covered = np.isfinite(betas).reshape(*labels.shape, -1).any(axis=-1)
        rows = []
        for name, members in self.inputs.rois:
            region = np.isin(labels, members)
            n_voxels, n_covered = int(region.sum()), int((region & covered).sum())
            in_atlas = np.isin(atlas, members)
            if n_voxels == 0 and in_atlas.any():
                raise StepError(
                    f"Region {name} has no voxel in the regions of this subject; check the T1w "
                    "image and its brain mask, or choose --roi-source template."
                )
            if n_voxels == 0:
                raise InputError(
                    f"Region {name} (labels {', '.join(map(str, members))}) has no voxel in "
                    f"{self.inputs.dseg_file}; correct its labels in the data set configuration."
                )
            if n_covered == 0:
                raise StepError(
                    f"No voxel of region {name} has betas: the field of view misses it, or the "
                    "T1w image was not brought to MNI305 rightly; look at both."
                )
            distance = _distance(region, in_atlas, segmentation.affine)
            rows.append((name, n_voxels, n_covered, f"{n_covered / n_voxels:.4f}", distance))
        path = Path(runtime.cwd) / "coverage.tsv"
        columns = ["roi", "n_voxels", "n_covered", "coverage", "distance_from_atlas_mm"]
        write_table(path, pd.DataFrame(rows, columns=columns))
        self._results["coverage_file"] = str(path)
        return runtime


def _distance(region: np.ndarray, in_atlas: np.ndarray, affine: np.ndarray) -> str:
    """Distance in mm between the centres of a region and of the same in the packaged atlas.

    The mean over the hemispheres that it lies in: opposite shifts would cancel.
    """
    if region.shape != in_atlas.shape:
        return "n/a"
    points = [apply_affine(affine, np.argwhere(mask)) for mask in (region, in_atlas)]
    sides = [[part[(part[:, 0] > 0) == right] for part in points] for right in (False, True)]
    distances = [
        np.linalg.norm(own.mean(axis=0) - atlas.mean(axis=0))
        for own, atlas in sides
        if len(own) and len(atlas)
    ]
    return f"{np.mean(distances):.2f}" if distances else "n/a"
