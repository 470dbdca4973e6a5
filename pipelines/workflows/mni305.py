"""From a subject's own space into the 2 mm MNI305 grid, and the regions of interest there."""

from collections.abc import Sequence
from pathlib import Path

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import MapNode, Node, Workflow

from bids_config.schema import RoiDefinition
from interfaces.resample import ResampleToMNI305
from interfaces.rois import MNI305Rois, RoiCoverage
from pipelines.workflows.engines import Engine


def init_normalization_wf(
    engine: Engine, fs_subject_dir: Path | None = None, name: str = "normalization_wf"
) -> Workflow:
    """Estimate the 12-parameter transform of the anatomical image to MNI305.

    Parameters
    ----------
    engine : Engine
        Chooses the interface.
    fs_subject_dir : Path, optional
        A FreeSurfer reconstruction of the subject, whose `talairach.xfm` is then used.
    name : str
        Name of the workflow.

    Inputs
    ------
    t1w
        Anatomical image.

    Outputs
    -------
    t1w_to_mni305
        4x4 matrix, T1w world (RAS, mm) to MNI305 world.
    report
        JSON: how well the two agree.
    """
    workflow = Workflow(name=name)
    inputnode = Node(IdentityInterface(fields=["t1w"]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["t1w_to_mni305", "report"]), name="outputnode")
    normalize = Node(engine.normalize(), name="normalize", mem_gb=1.0)
    if fs_subject_dir is not None:
        normalize.inputs.fs_subject_dir = str(fs_subject_dir)
    workflow.connect([
        (inputnode, normalize, [("t1w", "in_file")]),
        (normalize, outputnode, [
            ("transform_file", "t1w_to_mni305"),
            ("report_file", "report"),
        ]),
    ])  # fmt: skip
    return workflow


def init_mni305_wf(
    rois: Sequence[RoiDefinition], fs_subject_dir: Path | None = None, name: str = "mni305_wf"
) -> Workflow:
    """Resample betas once into the MNI305 grid, and find the regions of interest in it.

    Parameters
    ----------
    rois : sequence of RoiDefinition
        Label sets whose coverage is counted.
    fs_subject_dir : Path, optional
        A FreeSurfer reconstruction of the subject, whose `aparc+aseg` is then the segmentation.
    name : str
        Name of the workflow.

    Inputs
    ------
    betas
        [all runs, odd runs, even runs] in EPI space.
    bold_to_t1w, t1w_to_mni305
        4x4 matrices (RAS, mm); their product is applied, in one interpolation.

    Outputs
    -------
    betas
        The same three, 76x76x93 voxels of 2 mm.
    segmentation, segmentation_labels
        Desikan-Killiany label image in that grid, and the TSV that names its labels.
    coverage
        TSV: how much of each region has betas.
    """
    workflow = Workflow(name=name)
    inputs = ["betas", "bold_to_t1w", "t1w_to_mni305"]
    inputnode = Node(IdentityInterface(fields=inputs), name="inputnode")
    outputs = ["betas", "segmentation", "segmentation_labels", "coverage"]
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")

    resample = MapNode(ResampleToMNI305(), iterfield=["in_file"], name="resample_betas", mem_gb=1.5)
    resample.inputs.interpolation = "linear"
    find_rois = Node(MNI305Rois(), name="find_rois")
    coverage = Node(RoiCoverage(rois=[(roi.name, list(roi.labels)) for roi in rois]), "coverage")

    workflow.connect([
        (inputnode, resample, [
            ("betas", "in_file"),
            ("bold_to_t1w", "bold_to_t1w_file"),
            ("t1w_to_mni305", "t1w_to_mni305_file"),
        ]),
        (find_rois, coverage, [("dseg_file", "dseg_file")]),
        (resample, coverage, [(("out_file", first), "betas_file")]),
        (resample, outputnode, [("out_file", "betas")]),
        (find_rois, outputnode, [
            ("dseg_file", "segmentation"),
            ("labels_file", "segmentation_labels"),
        ]),
        (coverage, outputnode, [("coverage_file", "coverage")]),
    ])  # fmt: skip
    if fs_subject_dir is not None:
        find_rois.inputs.fs_subject_dir = str(fs_subject_dir)
        workflow.connect([(inputnode, find_rois, [("t1w_to_mni305", "t1w_to_mni305_file")])])
    return workflow


def first(items: list[str]) -> str:
    """Give the first of a list of files."""
    return items[0]
