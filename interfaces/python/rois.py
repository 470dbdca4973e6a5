"""Regions of interest in the grid of the betas, and how much of each has data, as nipype steps."""

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.affines import apply_affine
from nipype.interfaces.base import isdefined, traits

from conceptrsa.bids_config.desikan_killiany import names_of, region_names
from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.images import open_volume, read_labels, save_image
from conceptrsa.bids_config.tsv import write_table
from conceptrsa.bids_config.writing import write_json
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305
from conceptrsa.interfaces.numerics.freesurfer_subject import (
    labels_mni305,
    read_talairach,
    segmentation_file,
    talairach_file,
)
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.subject_regions import find_regions
from conceptrsa.interfaces.numerics.transforms import read_matrix
from conceptrsa.interfaces.python.step import (
    Step,
    file_in,
    file_out,
    optional_file,
    optional_folder,
)


class GivesSegmentation(Step):
    """Base of the steps that give labels in the grid of the betas."""

    dseg_file = file_out("labels; in MNI305 int16, FreeSurfer aparc+aseg ids, 76x76x93 at 2 mm")
    labels_file = file_out("TSV: index, name")


class MNI305Rois(GivesSegmentation):
    """Desikan-Killiany regions in MNI305: FreeSurfer's, the atlas fitted to a head, or as it is."""

    fs_subject_dir = optional_folder("FreeSurfer's folder of this subject; its aparc+aseg is taken")
    segmentation_file = optional_file("aparc+aseg in T1w space, in place of fs_subject_dir's")
    t1w_file = optional_file("T1w, 3D: the atlas is fitted to this head")
    t1w_mask_file = optional_file("brain mask of t1w_file, in its grid")
    t1w_to_mni305_file = optional_file(
        "4x4 matrix, RAS mm, of the subject; by default its talairach.xfm"
    )

    report_file = file_out("JSON: where the regions come from, and the evidence")

    def files_read(self) -> list[Path]:
        """Files of FreeSurfer's folder that are read; see `pipelines/workflows/steps.py`."""
        folder = self.inputs.fs_subject_dir
        return [segmentation_file(folder), talairach_file(folder)] if isdefined(folder) else []

    def _run_in(self, folder: Path) -> dict[str, Path]:
        report: dict[str, object] = {}
        if isdefined(self.inputs.fs_subject_dir) or isdefined(self.inputs.segmentation_file):
            segmentation = self._of_subject()
            names = names_of(np.asarray(segmentation.dataobj))
        elif isdefined(self.inputs.t1w_file):
            found = find_regions(
                open_volume(self.inputs.t1w_file),
                np.asarray(nib.load(self.inputs.t1w_mask_file).dataobj) > 0,
                read_matrix(self.inputs.t1w_to_mni305_file),
            )
            segmentation, names, report = found.labels, region_names(), found.report()
        else:
            segmentation, names = desikan_killiany_mni305()
        write_json(folder / "regions.json", report)
        return {
            "report_file": folder / "regions.json",
            **write_segmentation(folder, np.asarray(segmentation.dataobj, np.int16), names),
        }

    def _of_subject(self) -> nib.Nifti1Image:
        folder, matrix_file = self.inputs.fs_subject_dir, self.inputs.t1w_to_mni305_file
        matrix = read_matrix(matrix_file) if isdefined(matrix_file) else read_talairach(folder)
        given = self.inputs.segmentation_file
        return labels_mni305(given if isdefined(given) else segmentation_file(folder), matrix)


class RegionsInGrid(GivesSegmentation):
    """Bring labels into the grid of the betas, in the same space, by nearest neighbour."""

    segmentation_file = file_in("labels, 3D, in any grid")
    grid_file = file_in("image in the grid of the betas")
    names = traits.List(
        traits.Tuple(traits.Int(), traits.Str()),
        desc="labels and their names; those of FreeSurfer's aparc+aseg by default",
    )

    report_file = file_out("JSON: how they came into the grid")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        labels, affine = read_labels(self.inputs.segmentation_file)
        grid = nib.load(self.inputs.grid_file)
        same = np.shape(labels) == grid.shape[:3] and np.allclose(affine, grid.affine, atol=1e-3)
        if not same:
            labels = resample(labels, affine, grid.shape[:3], grid.affine, None, "nearest")
        names = dict(self.inputs.names) if isdefined(self.inputs.names) else names_of(labels)
        write_json(
            folder / "regions.json",
            {"grid": "as it is" if same else "resampled by nearest neighbour"},
        )
        return {
            "report_file": folder / "regions.json",
            **write_segmentation(folder, labels.astype(np.int32), names, grid.affine),
        }


def write_segmentation(
    folder: Path,
    labels: np.ndarray,
    names: Mapping[int, str],
    affine: np.ndarray = mni305_grid.AFFINE,
) -> dict[str, Path]:
    """Write labels and the table of their names, as `GivesSegmentation` puts out."""
    dseg, table = folder / "dseg.nii", folder / "dseg.tsv"
    save_image(dseg, labels, affine)
    write_table(table, pd.DataFrame(sorted(names.items()), columns=["index", "name"]))
    return {"dseg_file": dseg, "labels_file": table}


class TakesRegions(Step):
    """Base of the steps that take regions of interest."""

    dseg_file = file_in("labels in the grid of the betas")
    rois = traits.List(
        traits.Tuple(traits.Str(), traits.List(traits.Int())),
        mandatory=True,
        desc="name and labels of each region",
    )


class RoiCoverage(TakesRegions):
    """Count the voxels of each region that have data, and tell how far it is from the atlas'."""

    betas_file = file_in("4D in the same grid, NaN without data")

    coverage_file = file_out("TSV: roi, n_voxels, n_covered, coverage, distance_from_atlas_mm")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        segmentation = nib.load(self.inputs.dseg_file)
        labels = np.asarray(segmentation.dataobj)
        atlas = _packaged_atlas(segmentation)
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
                    f"No voxel of region {name} has betas: check the field of view and the "
                    "normalization to the standard space."
                )
            distance = _distance(region, in_atlas, segmentation.affine)
            rows.append((name, n_voxels, n_covered, f"{n_covered / n_voxels:.4f}", distance))
        columns = ["roi", "n_voxels", "n_covered", "coverage", "distance_from_atlas_mm"]
        write_table(folder / "coverage.tsv", pd.DataFrame(rows, columns=columns))
        return {"coverage_file": folder / "coverage.tsv"}


def _packaged_atlas(segmentation: nib.Nifti1Image) -> np.ndarray:
    """Labels of the packaged atlas in the same grid; without a voxel where that is none of it."""
    if np.allclose(segmentation.affine, mni305_grid.AFFINE):
        return np.asarray(desikan_killiany_mni305()[0].dataobj)
    return np.zeros(segmentation.shape, np.int16)


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
