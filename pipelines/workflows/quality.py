"""What a look at a subject needs beside its results: saved, so that the page can be made again."""

from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.interfaces.python.data_sink import SaveDerivative
from conceptrsa.interfaces.python.quality_images import FINE_MM, AnatomicalViews, TemporalSnr
from conceptrsa.pipelines.bids.dataset import BoldRun, SubjectInputs
from conceptrsa.pipelines.workflows.derivatives import MNI305_ENTITIES, RESOLUTION, run_stem
from conceptrsa.pipelines.workflows.sidecars import source_uri
from conceptrsa.pipelines.workflows.steps import MapNode, Node


def init_quality_wf(
    subject: SubjectInputs,
    task: str,
    slice_time_reference: float,
    out_dir: Path,
    name: str = "quality_wf",
) -> Workflow:
    """Map the temporal signal-to-noise ratio of every run, and the T1w where it is looked at.

    Parameters
    ----------
    subject : SubjectInputs
        Whose images they are.
    task : str
        BIDS task label.
    slice_time_reference : float
        Moment that slices were corrected to, as a share of the TR.
    out_dir : Path
        Root of the derivatives data set.
    name : str
        Name of the workflow.

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
    workflow = Workflow(name=name)
    fields = ["bold_files", "t1w", "boldref", "bold_to_t1w", "t1w_to_mni305"]
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    func = f"sub-{subject.subject}/func/sub-{subject.subject}_task-{task}"
    anat = f"sub-{subject.subject}/anat/sub-{subject.subject}"

    tsnr = MapNode(TemporalSnr(), iterfield=["in_file"], name="tsnr", mem_gb=0.5)
    save_tsnr = MapNode(
        SaveDerivative(base_dir=str(out_dir)),
        iterfield=["in_file", "name", "metadata"],
        name="save_tsnr",
    )
    save_tsnr.inputs.name = [
        f"{run_stem(subject.subject, run.bold)}_space-boldref_stat-tsnr_boldmap.nii.gz"
        for run in subject.runs
    ]
    save_tsnr.inputs.metadata = [
        {
            **_tsnr_metadata(run, slice_time_reference),
            "SpatialReference": f"bids::{func}_desc-mean_boldref.nii.gz",
        }
        for run in subject.runs
    ]
    views = Node(AnatomicalViews(), name="anatomical_views", mem_gb=0.5)
    workflow.connect([
        (inputnode, tsnr, [("bold_files", "in_file")]),
        (tsnr, save_tsnr, [("out_file", "in_file")]),
        (inputnode, views, [
            ("t1w", "t1w_file"),
            ("boldref", "boldref_file"),
            ("bold_to_t1w", "bold_to_t1w_file"),
            ("t1w_to_mni305", "t1w_to_mni305_file"),
        ]),
    ])  # fmt: skip

    for field, target, metadata in (
        ("boldref", f"{anat}_space-boldref_res-fine_T1w.nii.gz", {
            "Resolution": {"fine": f"{FINE_MM:g} mm isotropic, over the mean EPI's field of view"},
            "SpatialReference": f"bids::{func}_desc-mean_boldref.nii.gz",
        }),
        ("mni305", f"{anat}_{MNI305_ENTITIES}_T1w.nii.gz", {"Resolution": RESOLUTION}),
    ):  # fmt: skip
        save = Node(SaveDerivative(base_dir=str(out_dir), name=target), name=f"save_t1w_{field}")
        save.inputs.metadata = {
            "Description": "T1w image, trilinearly interpolated, to be looked at",
            "Sources": [source_uri(subject.subject, subject.t1w)],
            "Units": "arbitrary, as in the T1w image",
            "SkullStripped": False,
            **metadata,
        }
        workflow.connect([(views, save, [(f"{field}_file", "in_file")])])
    return workflow


def _tsnr_metadata(run: BoldRun, slice_time_reference: float) -> dict[str, Any]:
    """What the map shows, and how the run was acquired."""
    metadata: dict[str, Any] = {
        "Description": "mean over time divided by the standard deviation about a straight line, "
        "of the run as the linear model took it",
        "Sources": [source_uri(run.subject, run.image)],
        "Units": "none, a ratio",
        "RepetitionTime": run.repetition_time,
    }
    metadata["SliceTimingCorrected"] = run.has_corrected_slices
    if not run.has_corrected_slices:
        return metadata
    if run.preprocessed is not None:  # its slice times are not known
        start = run.repetition_time * run.preprocessed.slice_time_reference
        return metadata | {"StartTime": start}
    return metadata | {
        "StartTime": run.repetition_time * slice_time_reference,
        "SliceTiming": list(run.slice_times),
        "SliceEncodingDirection": run.slice_axis,
    }
