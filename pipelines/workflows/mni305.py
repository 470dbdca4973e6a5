"""From a subject's own space into the 2 mm MNI305 grid, and the regions of interest there."""

from collections.abc import Sequence
from pathlib import Path

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import RoiDefinition
from conceptrsa.interfaces.python.masks import T1wBrainMask
from conceptrsa.interfaces.python.normalize import Normalize, ResampleToMNI305
from conceptrsa.interfaces.python.rois import MNI305Rois, RoiCoverage
from conceptrsa.pipelines.workflows.freesurfer import (
    NormalizationSettings,
    connect_freesurfer,
    init_reconstruction_node,
)
from conceptrsa.pipelines.workflows.steps import MapNode, Node


def init_normalization_wf(
    settings: NormalizationSettings,
    subject: str,
    t1w_mask: Path | None = None,
    name: str = "normalization_wf",
) -> Workflow:
    """Find the brain in the anatomical image, and its 12-parameter transform to MNI305.

    Parameters
    ----------
    settings : NormalizationSettings
        By registration with the template, or from a FreeSurfer reconstruction, made if need be.
    subject : str
        Label without `sub-`.
    t1w_mask : Path, optional
        Supplied brain mask; else the reconstruction's is taken, or one is found.
    name : str
        Name of the workflow.

    Inputs
    ------
    t1w
        Anatomical image.

    Outputs
    -------
    t1w_mask, t1w_mask_report
        Brain mask in the grid of the anatomical image, and JSON: how it was found.
    t1w_to_mni305
        4x4 matrix, T1w world (RAS, mm) to MNI305 world.
    report
        JSON: how well the two agree.
    fs_subjects_dir
        Folder of the reconstruction that was made or found; not set where there is none.
    """
    workflow = Workflow(name=name)
    inputnode = Node(IdentityInterface(fields=["t1w"]), name="inputnode")
    outputs = ["t1w_mask", "t1w_mask_report", "t1w_to_mni305", "report", "fs_subjects_dir"]
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")
    find_brain = Node(T1wBrainMask(), name="find_brain", mem_gb=2.0)
    if t1w_mask is not None:
        find_brain.inputs.mask_file = str(t1w_mask)
    normalize = Node(Normalize(), name="normalize", mem_gb=1.0)
    workflow.connect([
        (inputnode, find_brain, [("t1w", "t1w_file")]),
        (inputnode, normalize, [("t1w", "in_file")]),
        (find_brain, normalize, [("mask_file", "mask_file")]),
        (find_brain, outputnode, [
            ("mask_file", "t1w_mask"),
            ("report_file", "t1w_mask_report"),
        ]),
        (normalize, outputnode, [
            ("transform_file", "t1w_to_mni305"),
            ("report_file", "report"),
        ]),
    ])  # fmt: skip
    if settings.method == "freesurfer":
        reconstruct = init_reconstruction_node(settings, subject)
        workflow.connect([
            (inputnode, reconstruct, [("t1w", "t1w_file")]),
            (reconstruct, find_brain, [("subject_dir", "fs_subject_dir")]),
            (reconstruct, normalize, [("subject_dir", "fs_subject_dir")]),
            (reconstruct, outputnode, [("subjects_dir", "fs_subjects_dir")]),
        ])  # fmt: skip
    elif settings.fs_subjects_dir is not None:
        for node in (find_brain, normalize):
            node.inputs.fs_subject_dir = str(settings.fs_subjects_dir / f"sub-{subject}")
    return workflow


def init_mni305_wf(
    rois: Sequence[RoiDefinition],
    settings: NormalizationSettings,
    subject: str,
    segmentation: Path | None = None,
    name: str = "mni305_wf",
) -> Workflow:
    """Resample betas once into the MNI305 grid, and find the regions of interest in it.

    Parameters
    ----------
    rois : sequence of RoiDefinition
        Label sets whose coverage is counted.
    settings : NormalizationSettings
        Who resamples, and whose segmentation is taken.
    subject : str
        Label without `sub-`.
    segmentation : Path, optional
        The subject's aparc+aseg in T1w space, for the regions where there is no reconstruction.
    name : str
        Name of the workflow.

    Inputs
    ------
    betas
        [all runs, odd runs, even runs] in EPI space.
    bold_to_t1w, t1w_to_mni305
        4x4 matrices (RAS, mm).
    t1w, t1w_mask
        Anatomical image and its brain mask, which the atlas is fitted to.
    boldref, brain_mask, fs_subjects_dir
        Mean EPI, mask of the betas, and folder of the reconstructions; for FreeSurfer only.

    Outputs
    -------
    betas
        The same three, 76x76x93 voxels of 2 mm.
    segmentation, segmentation_labels, segmentation_report
        Desikan-Killiany label image in that grid, the TSV that names its labels, and JSON: how
        well the atlas fits the head, where it was fitted.
    coverage
        TSV: how much of each region has betas, and how far it lies from the packaged atlas'.
    registration, registration_report
        Where FreeSurfer's registration of EPI and reconstruction is used: 4x4 matrix from EPI world
        to T1w world, and JSON.
    """
    workflow = Workflow(name=name)
    inputs = [
        "betas", "bold_to_t1w", "t1w_to_mni305", "t1w", "t1w_mask", "boldref", "brain_mask",
        "fs_subjects_dir",
    ]  # fmt: skip
    inputnode = Node(IdentityInterface(fields=inputs), name="inputnode")
    outputs = [
        "betas", "segmentation", "segmentation_labels", "segmentation_report", "coverage",
        "registration", "registration_report",
    ]  # fmt: skip
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")
    coverage = Node(RoiCoverage(rois=[(roi.name, list(roi.labels)) for roi in rois]), "coverage")
    if settings.method == "freesurfer":
        resample, find_rois = connect_freesurfer(workflow, inputnode, outputnode, settings, subject)
    else:
        resample, find_rois = _connect_python(
            workflow, inputnode, outputnode, settings, subject, segmentation
        )
    workflow.connect([
        (find_rois, coverage, [("dseg_file", "dseg_file")]),
        (resample, coverage, [(("out_file", first), "betas_file")]),
        (resample, outputnode, [("out_file", "betas")]),
        (find_rois, outputnode, [
            ("dseg_file", "segmentation"),
            ("labels_file", "segmentation_labels"),
        ]),
        (coverage, outputnode, [("coverage_file", "coverage")]),
    ])  # fmt: skip
    return workflow


def _connect_python(
    workflow: Workflow,
    inputnode: Node,
    outputnode: Node,
    settings: NormalizationSettings,
    subject: str,
    segmentation: Path | None,
) -> tuple[Node, Node]:
    """Resample by the product of the two transforms, and find the regions without FreeSurfer."""
    resample = MapNode(ResampleToMNI305(), iterfield=["in_file"], name="resample_betas", mem_gb=1.5)
    resample.inputs.interpolation = "linear"
    find_rois = Node(MNI305Rois(), name="find_rois", mem_gb=1.5)
    workflow.connect([
        (inputnode, resample, [
            ("betas", "in_file"),
            ("bold_to_t1w", "bold_to_t1w_file"),
            ("t1w_to_mni305", "t1w_to_mni305_file"),
        ]),
        (find_rois, outputnode, [("report_file", "segmentation_report")]),
    ])  # fmt: skip
    if settings.roi_source == "fsaverage" and settings.fsaverage_dir is not None:
        find_rois.inputs.fs_subject_dir = str(settings.fsaverage_dir / "fsaverage")
    elif settings.roi_source == "subject":
        workflow.connect([(inputnode, find_rois, [("t1w_to_mni305", "t1w_to_mni305_file")])])
        if settings.fs_subjects_dir is not None:
            find_rois.inputs.fs_subject_dir = str(settings.fs_subjects_dir / f"sub-{subject}")
        elif segmentation is not None:
            find_rois.inputs.segmentation_file = str(segmentation)
        else:
            of_head = [("t1w", "t1w_file"), ("t1w_mask", "t1w_mask_file")]
            workflow.connect([(inputnode, find_rois, of_head)])
    return resample, find_rois


def first(items: list[str]) -> str:
    """Give the first of a list of files."""
    return items[0]
