"""The whole of a subject: from its runs to betas in a standard space, as one workflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import DatasetConfig, GlmConfig, RoiDefinition
from conceptrsa.pipelines.bids.checks import count_volumes
from conceptrsa.pipelines.bids.dataset import NOT_FOUND, SubjectInputs
from conceptrsa.pipelines.bids.events import write_run_events
from conceptrsa.pipelines.bids.fmriprep import UNCORRECTED
from conceptrsa.pipelines.workflows import software
from conceptrsa.pipelines.workflows.derivatives import (
    init_derivatives_wf,
    init_quality_wf,
    init_save_node,
)
from conceptrsa.pipelines.workflows.engines import Engine, SpmSettings, get_engine
from conceptrsa.pipelines.workflows.linear_model import init_glm_wf, init_run_betas_wf
from conceptrsa.pipelines.workflows.mni305 import (
    NormalizationSettings,
    init_normalization_wf,
    init_standard_space_wf,
)
from conceptrsa.pipelines.workflows.preprocessing import init_preprocessed_wf, init_preprocessing_wf
from conceptrsa.pipelines.workflows.sidecars import SubjectDerivatives, run_name
from conceptrsa.pipelines.workflows.wiring import begin_workflow, join

PACKAGED_ATLAS = "packaged Desikan-Killiany atlas"


@dataclass(frozen=True)
class ParticipantSettings:
    """Settings that all subjects of a run share.

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
    atlas : Path or None
        Labels in the standard space of runs; `{subject}` stands for the label of each.
    label_names : mapping of int to str, optional
        Of the atlas' labels.
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
    atlas: Path | None = None
    label_names: Mapping[int, str] | None = None


def init_participant_wf(subject: SubjectInputs, settings: ParticipantSettings) -> Workflow:
    """Preprocessing, linear model, MNI305, regions, derivatives.

    Each part takes, by their names, what the parts before it give. Runs that are in a standard
    space already stay there.

    Parameters
    ----------
    subject : SubjectInputs
        Whose workflow it is; its runs name the derivatives.
    settings : ParticipantSettings
        Engine, linear model, regions, output folder.

    Inputs
    ------
    t1w
        Anatomical image.
    bold_files, events_files, repetition_times, reference_times, slice_times, slice_axes
        Per run: raw 4D image, conditions TSV, TR (s), moment within a volume that slices are
        corrected to and the model is sampled at (s), time of each slice (s), slice axis.
    confounds_files
        Per run, fMRIPrep's table of confounds, where `bold_files` are its images: slice timing,
        realignment and coregistration are left out then. Slice timing alone is left out where
        raw runs have no slice times.
    mask_files
        Per run, fMRIPrep's brain mask, where its images are in a standard space.

    Outputs
    -------
    betas_standard
        [all runs, odd runs, even runs] in MNI305, or in the standard space of the runs; a volume
        a stimulus.
    stimuli
        TSV that names the volumes.
    segmentation
        Labels in the same grid.
    """
    settings = _of_subject(settings, subject)
    engine = get_engine(settings.engine, settings.spm, settings.n_threads)
    files = SubjectDerivatives(subject, settings.task, settings.normalization, settings.atlas)
    estimation = _estimation(settings, subject)
    by_freesurfer = settings.normalization.method == "freesurfer"
    workflow, inputnode, outputnode = begin_workflow(
        software.subject_workflow(subject.subject),
        [
            "t1w", "bold_files", "events_files", "repetition_times", "reference_times",
            "slice_times", "slice_axes", "confounds_files", "mask_files",
        ],
        ["betas_standard", "stimuli", "segmentation"],
    )  # fmt: skip
    givers = [inputnode]
    for part in _parts(subject, settings, engine):
        join(workflow, givers, part)
        givers.append(part)
    for part in (
        init_derivatives_wf(files, estimation, settings.out_dir, settings.rois),
        init_quality_wf(files, settings.glm.slice_time_reference, settings.out_dir),
        outputnode,
    ):
        join(workflow, givers, part)
    if settings.runs_per_partition is None:
        return workflow
    run_betas_wf = init_run_betas_wf(
        engine,
        settings.glm,
        settings.rois,
        [run_name(run) for run in subject.runs],
        settings.runs_per_partition,
        count_volumes(subject),
        settings.normalization.missing if by_freesurfer else "excluded",
    )
    saved = files.run_betas(estimation, settings.runs_per_partition)
    save_run_betas = init_save_node("save_run_betas", settings.out_dir, saved)
    # mri_vol2vol goes by FreeSurfer's own registration of the EPI.
    to_t1w = "bold_to_fsnative" if by_freesurfer else "bold_to_t1w"
    join(workflow, givers, run_betas_wf, bold_to_t1w=to_t1w)
    workflow.connect(run_betas_wf, "outputnode.run_betas", save_run_betas, "in_file")
    return workflow


def _parts(
    subject: SubjectInputs, settings: ParticipantSettings, engine: Engine
) -> tuple[Workflow, ...]:
    """From the runs to betas and regions in a standard space."""
    linear_model = init_glm_wf(engine, settings.glm, count_volumes(subject))
    standard_space = init_standard_space_wf(
        settings.rois, settings.normalization, subject, settings.label_names
    )
    if subject.standard_space is not None:
        return init_preprocessed_wf(in_standard_space=True), linear_model, standard_space
    return (
        init_preprocessed_wf()
        if subject.is_preprocessed
        else init_preprocessing_wf(
            engine, subject.has_corrected_slices, settings.n_threads, settings.keep_work
        ),
        init_normalization_wf(settings.normalization, subject),
        linear_model,
        standard_space,
    )


def _of_subject(settings: ParticipantSettings, subject: SubjectInputs) -> ParticipantSettings:
    """Take the moment that slices stand for from what was preprocessed, or is not corrected.

    Nothing is normalized where the runs are in a standard space.
    """
    if subject.standard_space is not None:
        settings = replace(settings, normalization=NormalizationSettings())
    first = subject.runs[0].preprocessed
    if first is None and subject.has_corrected_slices:
        return settings
    reference = UNCORRECTED if first is None else first.slice_time_reference
    if settings.engine == "spm":
        from conceptrsa.interfaces.spm.first_level import MICROTIME_BINS

        # SPM samples its model at the beginning of a bin; the nearest is off by TR/32 at most.
        reference = min(round(reference * MICROTIME_BINS), MICROTIME_BINS - 1) / MICROTIME_BINS
    return replace(settings, glm=replace(settings.glm, slice_time_reference=reference))


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
        What `conceptrsa.pipelines.bids.reading.read_dataset` found.
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
        if subject.t1w != NOT_FOUND:
            inputs.t1w = str(subject.t1w)
        inputs.bold_files = [str(run.image) for run in subject.runs]
        inputs.confounds_files = [
            str(run.preprocessed.confounds) for run in subject.runs if run.preprocessed is not None
        ]
        inputs.mask_files = [
            str(run.preprocessed.mask)
            for run in subject.runs
            if run.preprocessed is not None and run.preprocessed.mask is not None
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
            folder = work_dir / "conditions" / f"sub-{subject.subject}"
            conditions = folder / f"{run_name(run)}_events.tsv"
            write_run_events(run.conditions, conditions)
            inputs.events_files.append(str(conditions))
        workflow.add_nodes([participant_wf])
    return workflow


def _estimation(settings: ParticipantSettings, subject: SubjectInputs) -> dict[str, object]:
    """Describe how the betas were estimated, for their sidecar."""
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
        "Normalization": _normalization(settings.normalization, subject),
        "RegionsFrom": regions_from(settings.normalization, subject, settings.atlas),
    }
    if subject.is_preprocessed:
        described["Preprocessing"] = subject.made_by
    if subject.standard_space is not None:
        described["Space"] = str(subject.standard_space)
    elif settings.normalization.method == "freesurfer":
        described |= {
            "FreeSurfer": settings.normalization.freesurfer_version or "n/a",
            "MissingBetas": settings.normalization.missing,
        }
    if settings.engine == "spm":
        described |= {"RunModel": settings.spm.run_model, "SPM": settings.spm.version or "n/a"}
    return described


def regions_from(
    settings: NormalizationSettings, subject: SubjectInputs, atlas: Path | None = None
) -> str:
    """Say whose regions are looked at, as betas of one study must all say."""
    if atlas is not None:
        return atlas.name
    if subject.standard_space is not None:
        return "subject"
    if settings.roi_source == "template":
        return PACKAGED_ATLAS
    if settings.roi_source == "fsaverage":
        return "fsaverage"
    has_own = settings.fs_subjects_dir is not None or subject.segmentation is not None
    return "subject" if has_own else f"{PACKAGED_ATLAS}, fitted to the subject"


def _normalization(settings: NormalizationSettings, subject: SubjectInputs) -> str:
    if subject.standard_space is not None:
        return "fMRIPrep's"
    if settings.method == "freesurfer":
        return f"FreeSurfer, EPI to reconstruction by {settings.registration}"
    return "registration with MNI152" if settings.fs_subjects_dir is None else "talairach.xfm"
