"""The whole of a subject: from its raw runs to betas in MNI305, as one workflow."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import DatasetConfig, GlmConfig, RoiDefinition
from conceptrsa.pipelines.bids.checks import count_volumes
from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.bids.events import write_run_events
from conceptrsa.pipelines.bids.fmriprep import UNCORRECTED
from conceptrsa.pipelines.options import RUNS_PER_PARTITION
from conceptrsa.pipelines.workflows import software
from conceptrsa.pipelines.workflows.derivatives import (
    init_derivatives_wf,
    init_save_run_betas_node,
    run_stem,
)
from conceptrsa.pipelines.workflows.engines import Engine, SpmSettings, get_engine
from conceptrsa.pipelines.workflows.estimation import OF_EACH_RUN
from conceptrsa.pipelines.workflows.freesurfer import NormalizationSettings
from conceptrsa.pipelines.workflows.mni305 import init_mni305_wf, init_normalization_wf
from conceptrsa.pipelines.workflows.model_runs import init_glm_wf
from conceptrsa.pipelines.workflows.preprocessing import connect_preprocessing
from conceptrsa.pipelines.workflows.quality import init_quality_wf
from conceptrsa.pipelines.workflows.run_betas import init_run_betas_wf
from conceptrsa.pipelines.workflows.steps import Node

PACKAGED_ATLAS = "packaged Desikan-Killiany atlas"


@dataclass(frozen=True)
class ParticipantSettings:
    """What is the same for all subjects of a run.

    Attributes
    ----------
    engine : str
        Name of the engine.
    task : str
        BIDS task label.
    glm : GlmConfig
        Settings of the linear model.
    rois : tuple of RoiDefinition
        Regions whose coverage is counted.
    out_dir : Path
        Root of the derivatives.
    normalization : NormalizationSettings
        How subjects come to MNI305.
    spm : SpmSettings
        For the engine spm.
    n_threads : int
        Processors that one step may use.
    runs_per_partition : int or None
        Runs that are pooled in each of the partitions of the run-wise betas; None: without those.
    keep_work : bool
        Whether steps leave their input files where they are.
    """

    engine: str
    task: str
    glm: GlmConfig
    rois: tuple[RoiDefinition, ...]
    out_dir: Path
    normalization: NormalizationSettings = field(default_factory=NormalizationSettings)
    spm: SpmSettings = field(default_factory=SpmSettings)
    n_threads: int = 1
    runs_per_partition: int | None = None
    keep_work: bool = True


def init_participant_wf(
    subject: SubjectInputs, settings: ParticipantSettings, name: str | None = None
) -> Workflow:
    """Slice timing, realignment, coregistration, GLM, MNI305, regions, derivatives.

    Parameters
    ----------
    subject : SubjectInputs
        Whose workflow it is; its runs name the derivatives.
    settings : ParticipantSettings
        Engine, linear model, regions, output folder.
    name : str, optional
        Name of the workflow, by default `sub_XX_wf`.

    Inputs
    ------
    t1w
        Anatomical image.
    bold_files, events_files, repetition_times, reference_times, slice_times, slice_axes
        Per run: raw 4D image, conditions TSV, TR (s), moment within a volume that slices are
        corrected to and the model is sampled at (s), time of each slice (s), slice axis.
    confounds_files
        Per run, fMRIPrep's table of confounds, where `bold_files` are its images in T1w space:
        slice timing, realignment and coregistration are left out then. Slice timing alone is
        left out where raw runs have no slice times.

    Outputs
    -------
    betas
        [all runs, odd runs, even runs] in MNI305, a volume a stimulus.
    stimuli
        TSV that names the volumes.
    segmentation
        Desikan-Killiany labels in the same grid.
    """
    settings = _of_subject(settings, subject)
    engine = get_engine(settings.engine, settings.spm, settings.n_threads)
    workflow = Workflow(name=name or software.subject_workflow(subject.subject))
    fields = [
        "t1w", "bold_files", "events_files", "repetition_times", "reference_times",
        "slice_times", "slice_axes", "confounds_files",
    ]  # fmt: skip
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    outputs = ["betas", "stimuli", "segmentation"]
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")

    realignment_wf, coregistration_wf = connect_preprocessing(
        workflow,
        inputnode,
        engine,
        is_preprocessed=subject.is_preprocessed,
        corrects_slices=subject.has_corrected_slices,
        n_threads=settings.n_threads,
        keep_work=settings.keep_work,
    )
    normalization_wf = init_normalization_wf(
        settings.normalization, subject.subject, subject.t1w_mask
    )
    glm_wf = init_glm_wf(engine, settings.glm, count_volumes(subject))
    mni305_wf = init_mni305_wf(
        settings.rois, settings.normalization, subject.subject, subject.segmentation
    )
    by_freesurfer = settings.normalization.method == "freesurfer"
    derivatives_wf = init_derivatives_wf(
        subject,
        settings.task,
        _estimation(settings, subject),
        settings.out_dir,
        settings.normalization,
        settings.rois,
    )
    quality_wf = init_quality_wf(
        subject, settings.task, settings.glm.slice_time_reference, settings.out_dir
    )

    workflow.connect([
        (inputnode, normalization_wf, [("t1w", "inputnode.t1w")]),
        (inputnode, glm_wf, [
            ("events_files", "inputnode.events_files"),
            ("repetition_times", "inputnode.repetition_times"),
        ]),
        (realignment_wf, glm_wf, [
            ("outputnode.bold_files", "inputnode.bold_files"),
            ("outputnode.motion_files", "inputnode.motion_files"),
            ("outputnode.boldref", "inputnode.boldref"),
            ("outputnode.valid_mask", "inputnode.valid_mask"),
        ]),
        (coregistration_wf, glm_wf, [("outputnode.bold_to_t1w", "inputnode.bold_to_t1w")]),
        (normalization_wf, glm_wf, [("outputnode.t1w_mask", "inputnode.t1w_mask")]),
        (glm_wf, mni305_wf, [("outputnode.betas", "inputnode.betas")]),
        (coregistration_wf, mni305_wf, [("outputnode.bold_to_t1w", "inputnode.bold_to_t1w")]),
        (inputnode, mni305_wf, [("t1w", "inputnode.t1w")]),
        (normalization_wf, mni305_wf, [
            ("outputnode.t1w_to_mni305", "inputnode.t1w_to_mni305"),
            ("outputnode.t1w_mask", "inputnode.t1w_mask"),
            ("outputnode.fs_subjects_dir", "inputnode.fs_subjects_dir"),
        ]),
        (realignment_wf, mni305_wf, [("outputnode.boldref", "inputnode.boldref")]),
        (glm_wf, mni305_wf, [("outputnode.brain_mask", "inputnode.brain_mask")]),
        (mni305_wf, outputnode, [
            ("outputnode.betas", "betas"),
            ("outputnode.segmentation", "segmentation"),
        ]),
        (glm_wf, outputnode, [("outputnode.stimuli", "stimuli")]),
        (realignment_wf, derivatives_wf, [
            ("outputnode.boldref", "inputnode.boldref"),
            ("outputnode.motion_files", "inputnode.motion_files"),
        ]),
        (coregistration_wf, derivatives_wf, [
            ("outputnode.bold_to_t1w", "inputnode.bold_to_t1w"),
            ("outputnode.report", "inputnode.coregistration_report"),
        ]),
        (normalization_wf, derivatives_wf, [
            ("outputnode.t1w_to_mni305", "inputnode.t1w_to_mni305"),
            ("outputnode.report", "inputnode.normalization_report"),
            ("outputnode.t1w_mask", "inputnode.t1w_mask"),
            ("outputnode.t1w_mask_report", "inputnode.t1w_mask_report"),
        ]),
        (glm_wf, derivatives_wf, [
            ("outputnode.betas", "inputnode.betas_boldref"),
            ("outputnode.stimuli", "inputnode.stimuli"),
            ("outputnode.brain_mask", "inputnode.brain_mask"),
            ("outputnode.design_matrices", "inputnode.design_matrices"),
        ]),
        (mni305_wf, derivatives_wf, [
            ("outputnode.betas", "inputnode.betas_mni305"),
            ("outputnode.segmentation", "inputnode.segmentation"),
            ("outputnode.segmentation_labels", "inputnode.segmentation_labels"),
            ("outputnode.segmentation_report", "inputnode.segmentation_report"),
            ("outputnode.coverage", "inputnode.coverage"),
        ]),
        (inputnode, quality_wf, [("t1w", "inputnode.t1w")]),
        (realignment_wf, quality_wf, [
            ("outputnode.bold_files", "inputnode.bold_files"),
            ("outputnode.boldref", "inputnode.boldref"),
        ]),
        (coregistration_wf, quality_wf, [("outputnode.bold_to_t1w", "inputnode.bold_to_t1w")]),
        (normalization_wf, quality_wf, [
            ("outputnode.t1w_to_mni305", "inputnode.t1w_to_mni305"),
        ]),
    ])  # fmt: skip
    if by_freesurfer:
        workflow.connect([
            (mni305_wf, derivatives_wf, [
                ("outputnode.registration", "inputnode.bold_to_fsnative"),
                ("outputnode.registration_report", "inputnode.fsnative_report"),
            ]),
        ])  # fmt: skip
    if settings.runs_per_partition is not None:
        _connect_run_betas(workflow, subject, settings, engine)
    return workflow


def _of_subject(settings: ParticipantSettings, subject: SubjectInputs) -> ParticipantSettings:
    """Take the moment that slices stand for from what was preprocessed, or is not corrected."""
    first = subject.runs[0].preprocessed
    if first is None and subject.has_corrected_slices:
        return settings
    reference = UNCORRECTED if first is None else first.slice_time_reference
    if settings.engine == "spm":
        from conceptrsa.interfaces.spm.first_level import MICROTIME_BINS

        # SPM samples its model at the beginning of a bin; the nearest is off by TR/32 at most.
        reference = min(round(reference * MICROTIME_BINS), MICROTIME_BINS - 1) / MICROTIME_BINS
    return replace(settings, glm=replace(settings.glm, slice_time_reference=reference))


def _connect_run_betas(
    workflow: Workflow, subject: SubjectInputs, settings: ParticipantSettings, engine: Engine
) -> None:
    """Add run-wise betas; nothing else in the workflow depends on them."""
    runs_per_partition = settings.runs_per_partition or RUNS_PER_PARTITION
    by_freesurfer = settings.normalization.method == "freesurfer"
    run_betas_wf = init_run_betas_wf(
        engine,
        settings.glm,
        settings.rois,
        [run.bold.name.split(".")[0].removesuffix("_bold") for run in subject.runs],
        runs_per_partition,
        count_volumes(subject),
        settings.normalization.missing if by_freesurfer else "excluded",
    )
    save = init_save_run_betas_node(
        subject, settings.task, _estimation(settings, subject), settings.out_dir, runs_per_partition
    )
    inputnode, mni305_wf, glm_wf, realignment_wf, normalization_wf, coregistration_wf = map(
        workflow.get_node,
        (
            "inputnode", "mni305_wf", "glm_wf",
            "preprocessed_wf" if subject.is_preprocessed else "realignment_wf",
            "normalization_wf",
            "preprocessed_wf" if subject.is_preprocessed else "coregistration_wf",
        ),
    )  # fmt: skip
    # mri_vol2vol goes by FreeSurfer's own registration of the EPI.
    registered = (
        (mni305_wf, "outputnode.registration")
        if by_freesurfer
        else (coregistration_wf, "outputnode.bold_to_t1w")
    )
    from_glm = ["brain_mask", "design_matrices", *(OF_EACH_RUN if engine.has_run_betas else ())]
    workflow.connect([
        (inputnode, run_betas_wf, [
            ("events_files", "inputnode.events_files"),
            ("repetition_times", "inputnode.repetition_times"),
        ]),
        (realignment_wf, run_betas_wf, [
            ("outputnode.bold_files", "inputnode.bold_files"),
            ("outputnode.motion_files", "inputnode.motion_files"),
        ]),
        (glm_wf, run_betas_wf, [
            *((f"outputnode.{field}", f"inputnode.{field}") for field in from_glm),
            ("outputnode.betas", "inputnode.betas_boldref"),
        ]),
        (registered[0], run_betas_wf, [(registered[1], "inputnode.bold_to_t1w")]),
        (normalization_wf, run_betas_wf, [
            ("outputnode.t1w_to_mni305", "inputnode.t1w_to_mni305"),
        ]),
        (mni305_wf, run_betas_wf, [
            ("outputnode.segmentation", "inputnode.segmentation"),
            ("outputnode.betas", "inputnode.betas_mni305"),
        ]),
        (run_betas_wf, save, [("outputnode.run_betas", "in_file")]),
    ])  # fmt: skip


def init_dataset_wf(
    subjects: Sequence[SubjectInputs],
    config: DatasetConfig,
    settings: ParticipantSettings,
    work_dir: Path,
) -> Workflow:
    """One participant workflow a subject, with its inputs set.

    Parameters
    ----------
    subjects : sequence of SubjectInputs
        What `conceptrsa.pipelines.bids.dataset.read_dataset` found.
    config : DatasetConfig
        How the events are read.
    settings : ParticipantSettings
        The same for all subjects.
    work_dir : Path
        Where intermediate files go; the conditions of every run are written here now.

    Returns
    -------
    Workflow
        Ready to run.
    """
    workflow = Workflow(name=software.DATASET_WORKFLOW, base_dir=str(work_dir))
    for subject in subjects:
        participant_wf = init_participant_wf(subject, settings)
        inputs = participant_wf.get_node("inputnode").inputs
        inputs.t1w = str(subject.t1w)
        inputs.bold_files = [str(run.image) for run in subject.runs]
        inputs.confounds_files = [
            str(run.preprocessed.confounds) for run in subject.runs if run.preprocessed is not None
        ]
        inputs.repetition_times = [run.repetition_time for run in subject.runs]
        inputs.reference_times = [
            run.repetition_time * config.glm.slice_time_reference for run in subject.runs
        ]
        inputs.slice_times = [list(run.slice_times) for run in subject.runs]
        inputs.slice_axes = [run.slice_axis for run in subject.runs]
        inputs.events_files = []
        for run in subject.runs:
            # Named by the run: one file of events may be that of many runs and subjects.
            stem = Path(run_stem(subject.subject, run.bold)).name
            folder = work_dir / "conditions" / f"sub-{subject.subject}"
            conditions = folder / f"{stem}_events.tsv"
            write_run_events(run.conditions, conditions)
            inputs.events_files.append(str(conditions))
        workflow.add_nodes([participant_wf])
    return workflow


def _estimation(settings: ParticipantSettings, subject: SubjectInputs) -> dict[str, object]:
    """What a reader of the betas must know of how they came about."""
    described: dict[str, object] = {
        "Engine": settings.engine,
        "Version": version("conceptrsa"),
        "HRF": settings.glm.hrf,
        "HighPassSeconds": settings.glm.high_pass_seconds,
        "NoiseModel": settings.glm.noise_model,
        "Baseline": settings.glm.baseline,
        "SliceTimingCorrected": subject.has_corrected_slices,
        "SliceTimeReference": settings.glm.slice_time_reference,
        "Pooling": settings.glm.pooling,
        "Normalization": _normalization(settings.normalization),
        "RegionsFrom": regions_from(settings.normalization, subject),
    }
    if subject.is_preprocessed:
        described["Preprocessing"] = subject.made_by
    if settings.normalization.method == "freesurfer":
        described |= {
            "FreeSurfer": settings.normalization.freesurfer_version or "n/a",
            "MissingBetas": settings.normalization.missing,
        }
    if settings.engine == "spm":
        described |= {"RunModel": settings.spm.run_model, "SPM": settings.spm.version or "n/a"}
    return described


def regions_from(settings: NormalizationSettings, subject: SubjectInputs) -> str:
    """Say whose regions are looked at, as betas of one study must all say."""
    if settings.roi_source == "template":
        return PACKAGED_ATLAS
    if settings.roi_source == "fsaverage":
        return "fsaverage"
    has_own = settings.fs_subjects_dir is not None or subject.segmentation is not None
    return "subject" if has_own else f"{PACKAGED_ATLAS}, fitted to the subject"


def _normalization(settings: NormalizationSettings) -> str:
    if settings.method == "freesurfer":
        return f"FreeSurfer, EPI to reconstruction by {settings.registration}"
    return "registration with MNI152" if settings.fs_subjects_dir is None else "talairach.xfm"
