"""Saving what a subject leaves behind: its results, and what a look at it needs beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import RoiDefinition
from conceptrsa.interfaces.python.data_sink import SaveDerivative
from conceptrsa.interfaces.python.quality_images import AnatomicalViews, ConfoundsTable, TemporalSnr
from conceptrsa.pipelines.workflows.sidecars import BOLDREF, Saved, SubjectDerivatives
from conceptrsa.pipelines.workflows.steps import MapNode, Node
from conceptrsa.pipelines.workflows.wiring import as_files


def init_save_node(name: str, out_dir: Path, saved: Saved | Sequence[Saved]) -> Node:
    """Make the node that saves a file, or as many files, from its input `in_file`.

    Parameters
    ----------
    name : str
        Of the node.
    out_dir : Path
        Root of the derivatives data set.
    saved : Saved or sequence of Saved
        Names and sidecars.
    """
    interface = SaveDerivative(base_dir=str(out_dir))
    if isinstance(saved, tuple):
        node = Node(interface, name=name)
        node.inputs.name, node.inputs.metadata = saved
        return node
    node = MapNode(interface, iterfield=["in_file", "name", "metadata"], name=name)
    node.inputs.name = [target for target, _ in saved]
    node.inputs.metadata = [content for _, content in saved]
    return node


def init_derivatives_wf(
    files: SubjectDerivatives,
    estimation: dict[str, Any],
    out_dir: Path,
    rois: Sequence[RoiDefinition] = (),
) -> Workflow:
    """Save a subject's results under their BIDS names.

    Where the runs are in a standard space, there is none of EPI and anatomy, and no transform.

    Parameters
    ----------
    files : SubjectDerivatives
        Names and sidecars.
    estimation : dict
        How the betas were estimated: engine, version and settings, for their sidecars.
    out_dir : Path
        Root of the derivatives data set.
    rois : sequence of RoiDefinition
        Regions of the table of coverage, whose labels its sidecar tells.

    Inputs
    ------
    betas_boldref, betas_standard
        [all runs, odd runs, even runs] in EPI space and in the standard space.
    stimuli
        TSV that names the volumes of the betas.
    boldref, brain_mask
        Mean EPI and brain mask in EPI space.
    bold_to_t1w, t1w_to_mni305
        4x4 matrices (RAS, mm).
    coregistration_report, normalization_report
        JSON.
    t1w_mask, t1w_mask_report
        Brain mask of the anatomical image, and JSON.
    segmentation, segmentation_labels, segmentation_report, coverage
        Labels in the standard space, their names, JSON where the atlas was fitted to the head,
        and how much of each region has betas.
    motion_files, design_matrices
        Per run.
    bold_to_fsnative, fsnative_report
        Where FreeSurfer registers the EPI: 4x4 matrix (RAS, mm) and JSON.

    Outputs
    -------
    None; the files are written.
    """
    workflow = Workflow(name="derivatives_wf")
    saves: list[tuple[Node, dict[str, str]]] = []

    def save(field: str, saved: Saved | Sequence[Saved], **others: str) -> None:
        """Save a field; the others are tables beside it and reports for its sidecar."""
        node = init_save_node(f"save_{field}", out_dir, saved)
        saves.append((node, {"in_file": field, **others}))

    standard = files.subject.space.entities
    save("betas_standard", files.betas(standard, estimation), table_file="stimuli")
    save("boldref", files.boldref())
    save("brain_mask", files.brain_mask())
    if files.subject.standard_space is None:
        save("betas_boldref", files.betas(BOLDREF, estimation), table_file="stimuli")
        save("t1w_mask", files.t1w_mask(), report_file="t1w_mask_report")
        save("bold_to_t1w", files.bold_to("T1w"), report_file="coregistration_report")
        save("t1w_to_mni305", files.t1w_to_mni305(), report_file="normalization_report")
    save("coverage", files.coverage(rois))
    save(
        "segmentation",
        files.segmentation(),
        table_file="segmentation_labels",
        report_file="segmentation_report",
    )
    save("design_matrices", files.designs())
    if files.normalization.method == "freesurfer":
        save("bold_to_fsnative", files.bold_to("fsnative"), report_file="fsnative_report")
    confounds = MapNode(ConfoundsTable(), iterfield=["motion_file"], name="confounds")
    saves.append((confounds, {"motion_file": "motion_files"}))
    save_confounds = init_save_node("save_confounds", out_dir, files.confounds())
    workflow.connect(confounds, "out_file", save_confounds, "in_file")
    fields = sorted({field for _, inputs in saves for field in inputs.values()})
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    for node, inputs in saves:
        workflow.connect([(inputnode, node, [(field, name) for name, field in inputs.items()])])
    return workflow


def init_quality_wf(
    files: SubjectDerivatives, slice_time_reference: float, out_dir: Path
) -> Workflow:
    """Map the temporal signal-to-noise ratio of every run, and the T1w where it is looked at.

    Of runs in a standard space there is no T1w.

    They are saved, so that the subject's page can be made again.

    Parameters
    ----------
    files : SubjectDerivatives
        Names and sidecars.
    slice_time_reference : float
        Moment that slices were corrected to, as a share of the TR.
    out_dir : Path
        Root of the derivatives data set.

    Inputs
    ------
    bold_files
        Per run, realigned.
    t1w, boldref
        Anatomical image and mean EPI.
    bold_to_t1w, t1w_to_mni305
        4x4 matrices (RAS, mm).

    Outputs
    -------
    None; the files are written.
    """
    of_views: tuple[str, ...] = ("t1w", "boldref", "bold_to_t1w", "t1w_to_mni305")
    if files.subject.standard_space is not None:
        of_views = ()
    workflow = Workflow(name="quality_wf")
    inputnode = Node(IdentityInterface(fields=["bold_files", *of_views]), name="inputnode")
    tsnr = MapNode(TemporalSnr(), iterfield=["in_file"], name="tsnr", mem_gb=0.5)
    save_tsnr = init_save_node("save_tsnr", out_dir, files.tsnr(slice_time_reference))
    workflow.connect([
        (inputnode, tsnr, [("bold_files", "in_file")]),
        (tsnr, save_tsnr, [("out_file", "in_file")]),
    ])  # fmt: skip
    if not of_views:
        return workflow
    views = Node(AnatomicalViews(), name="anatomical_views", mem_gb=0.5)
    workflow.connect([(inputnode, views, as_files(*of_views))])
    for space, saved in files.t1w_views().items():
        save = init_save_node(f"save_t1w_{space}", out_dir, saved)
        workflow.connect([(views, save, [(f"t1w_{space}_file", "in_file")])])
    return workflow
