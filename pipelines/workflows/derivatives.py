"""What a subject leaves behind: file names and sidecars of the BIDS derivatives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import RoiDefinition
from conceptrsa.interfaces.python.data_sink import SaveDerivative
from conceptrsa.interfaces.python.quality_images import ConfoundsTable
from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.options import partition_runs
from conceptrsa.pipelines.workflows import sidecars
from conceptrsa.pipelines.workflows.freesurfer import NormalizationSettings
from conceptrsa.pipelines.workflows.sidecars import source_uri
from conceptrsa.pipelines.workflows.software import software_versions
from conceptrsa.pipelines.workflows.steps import MapNode, Node

SPLITS = ("", "_desc-odd", "_desc-even")
MNI305_ENTITIES = "space-MNI305_res-2"
RESOLUTION = {"2": "2 mm isotropic, the grid of FreeSurfer's mni305.cor.subfov2"}
BETA_UNITS = {
    "python": "percent of the run's grand mean over the brain mask",
    "spm": "percent of the run's grand mean, the mean of spm_global over its volumes",
}
RESIDUALS = {
    "python": "of ordinary least squares, run by run",
    "spm": "of SPM's model of each partition, its runs concatenated: whitened and filtered",
}


def init_derivatives_wf(
    subject: SubjectInputs,
    task: str,
    estimation: dict[str, Any],
    out_dir: Path,
    normalization: NormalizationSettings,
    rois: Sequence[RoiDefinition] = (),
    name: str = "derivatives_wf",
) -> Workflow:
    """Save a subject's results under their BIDS names.

    Parameters
    ----------
    subject : SubjectInputs
        Whose results they are.
    task : str
        BIDS task label.
    estimation : dict
        How the betas were estimated: engine, version and settings, for their sidecars.
    out_dir : Path
        Root of the derivatives data set.
    normalization : NormalizationSettings
        Whether FreeSurfer registers the EPI with a reconstruction, and whose the labels are.
    rois : sequence of RoiDefinition
        Regions of the table of coverage, whose labels its sidecar tells.
    name : str
        Name of the workflow.

    Inputs
    ------
    betas_boldref, betas_mni305
        [all runs, odd runs, even runs] in EPI space and in MNI305.
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
        Labels in MNI305, their names, JSON where the atlas was fitted to the head, and how much of
        each region has betas.
    motion_files, design_matrices
        Per run.
    bold_to_fsnative, fsnative_report
        Where FreeSurfer registers the EPI: 4x4 matrix (RAS, mm) and JSON.

    Outputs
    -------
    None; the files are written.
    """
    workflow = Workflow(name=name)
    fields = [
        "betas_boldref", "betas_mni305", "stimuli", "boldref", "brain_mask", "bold_to_t1w",
        "t1w_to_mni305", "coregistration_report", "normalization_report", "t1w_mask",
        "t1w_mask_report", "segmentation", "segmentation_labels", "segmentation_report", "coverage",
        "motion_files", "design_matrices", "bold_to_fsnative", "fsnative_report",
    ]  # fmt: skip
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    func = f"sub-{subject.subject}/func/sub-{subject.subject}_task-{task}"
    anat = f"sub-{subject.subject}/anat/sub-{subject.subject}"
    run_stems = [run_stem(subject.subject, run.bold) for run in subject.runs]

    for space, field in ((MNI305_ENTITIES, "betas_mni305"), ("space-boldref", "betas_boldref")):
        betas = MapNode(
            SaveDerivative(base_dir=str(out_dir)),
            iterfield=["in_file", "name", "metadata"],
            name=f"save_{field}",
        )
        betas.inputs.name = [f"{func}_{space}_stat-effect{d}_statmap.nii.gz" for d in SPLITS]
        betas.inputs.metadata = [
            {
                **_betas_metadata(subject, func, space, split),
                "Units": BETA_UNITS[estimation["Engine"]],
                "Estimation": estimation,
                "Software": software_versions(),
            }
            for split in SPLITS
        ]
        workflow.connect([(inputnode, betas, [(field, "in_file"), ("stimuli", "table_file")])])

    bold_to_t1w = sidecars.describe_bold_to_t1w(subject, func)
    # Field, name, sidecar, and the field whose report the sidecar holds as well.
    single_files: list[tuple[str, str, dict[str, Any], str | None]] = [
        ("boldref", f"{func}_desc-mean_boldref.nii.gz", sidecars.describe_boldref(subject), None),
        ("brain_mask", f"{func}_space-boldref_desc-brain_mask.nii.gz",
         sidecars.describe_brain_mask(func, anat), None),
        ("t1w_mask", f"{anat}_desc-brain_mask.nii.gz",
         sidecars.describe_t1w_mask(subject, normalization), "t1w_mask_report"),
        ("bold_to_t1w", f"{func}_from-boldref_to-T1w_xfm.txt", bold_to_t1w,
         "coregistration_report"),
        ("t1w_to_mni305", f"{anat}_from-T1w_to-MNI305_xfm.txt",
         sidecars.describe_t1w_to_mni305(subject, normalization), "normalization_report"),
        ("coverage", f"{func}_{MNI305_ENTITIES}_desc-coverage_rois.tsv",
         sidecars.describe_coverage(rois, func, anat), None),
    ]  # fmt: skip
    if normalization.method == "freesurfer":
        target = f"{func}_from-boldref_to-fsnative_xfm.txt"
        single_files.append(("bold_to_fsnative", target, bold_to_t1w, "fsnative_report"))
    for field, target, metadata, report in single_files:
        node = Node(SaveDerivative(base_dir=str(out_dir), name=target), name=f"save_{field}")
        node.inputs.metadata = metadata
        connections = [(field, "in_file")] + ([(report, "report_file")] if report else [])
        workflow.connect([(inputnode, node, connections)])

    segmentation = Node(SaveDerivative(base_dir=str(out_dir)), name="save_segmentation")
    segmentation.inputs.name = f"{anat}_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz"
    segmentation.inputs.metadata = {
        **sidecars.describe_segmentation(subject, normalization, anat),
        "Resolution": RESOLUTION,
    }
    confounds = MapNode(ConfoundsTable(), iterfield=["motion_file"], name="confounds")
    save_confounds = MapNode(
        SaveDerivative(base_dir=str(out_dir)),
        iterfield=["in_file", "name", "metadata"],
        name="save_confounds",
    )
    save_confounds.inputs.name = [f"{stem}_desc-confounds_timeseries.tsv" for stem in run_stems]
    save_confounds.inputs.metadata = [sidecars.describe_confounds(run) for run in subject.runs]
    save_design = MapNode(
        SaveDerivative(base_dir=str(out_dir)),
        iterfield=["in_file", "name", "metadata"],
        name="save_design",
    )
    save_design.inputs.name = [f"{stem}_design.tsv" for stem in run_stems]
    save_design.inputs.metadata = [sidecars.describe_design(run) for run in subject.runs]
    workflow.connect([
        (inputnode, segmentation, [
            ("segmentation", "in_file"),
            ("segmentation_labels", "table_file"),
            ("segmentation_report", "report_file"),
        ]),
        (inputnode, confounds, [("motion_files", "motion_file")]),
        (confounds, save_confounds, [("out_file", "in_file")]),
        (inputnode, save_design, [("design_matrices", "in_file")]),
    ])  # fmt: skip
    return workflow


def init_save_run_betas_node(
    subject: SubjectInputs,
    task: str,
    estimation: dict[str, Any],
    out_dir: Path,
    runs_per_partition: int,
) -> Node:
    """Make the node that saves run-wise betas; its input `in_file` is their HDF5 file.

    Parameters
    ----------
    subject, task, estimation, out_dir
        As for `init_derivatives_wf`.
    runs_per_partition : int
        As asked for.
    """
    engine = estimation["Engine"]
    partitions = partition_runs(len(subject.runs), runs_per_partition)
    sources = sidecars.of_runs(subject)
    node = Node(SaveDerivative(base_dir=str(out_dir)), name="save_run_betas")
    stem = f"sub-{subject.subject}/func/sub-{subject.subject}_task-{task}_{MNI305_ENTITIES}"
    node.inputs.name = f"{stem}_desc-runs_roibetas.h5"
    node.inputs.metadata = {
        "Description": "betas of partitions of the runs, and covariance of the residuals of their "
        "linear models, at the voxels of each region of interest (a group a region)",
        "Sources": sources,
        "Resolution": RESOLUTION,
        "Units": BETA_UNITS[engine],
        "RunsPerPartition": runs_per_partition,
        "Partitions": [
            {"Half": ("odd", "even")[number % 2], "Sources": [sources[run] for run in part]}
            for number, part in enumerate(partitions)
        ],
        "Residuals": RESIDUALS[engine],
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
    return node


def run_stem(subject: str, bold: Path) -> str:
    """Beginning of the names of a run's derivatives, below the output folder."""
    return f"sub-{subject}/func/{bold.name.split('.')[0].removesuffix('_bold')}"


def _betas_metadata(subject: SubjectInputs, func: str, space: str, split: str) -> dict[str, Any]:
    runs = {"": subject.runs, "_desc-odd": subject.runs[::2], "_desc-even": subject.runs[1::2]}
    metadata: dict[str, Any] = {
        "Description": "responses to the stimuli named in the table beside this file, "
        "estimated from the runs of Sources",
        "Sources": [source_uri(subject.subject, run.image) for run in runs[split]],
        "Runs": [Path(run_stem(subject.subject, run.bold)).name for run in runs[split]],
        **sidecars.VOLUME_COLUMNS,
    }
    if subject.noticed:
        metadata["Noticed"] = list(subject.noticed)
    if subject.is_preprocessed:
        metadata["NonSteadyStateVolumes"] = [sidecars.non_steady_state(run) for run in runs[split]]
        wrong = [
            run.preprocessed.wrong_header_tr
            for run in runs[split]
            if run.preprocessed is not None and run.preprocessed.wrong_header_tr is not None
        ]
        if wrong:
            metadata["RepetitionTimesInHeaders"] = wrong
    if space == MNI305_ENTITIES:
        metadata["Resolution"] = RESOLUTION
    else:
        metadata["SpatialReference"] = f"bids::{func}_desc-mean_boldref.nii.gz"
    return metadata
