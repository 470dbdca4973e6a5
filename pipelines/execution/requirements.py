"""Whether the inputs allow what is asked for: checked before anything runs."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from conceptrsa.analysis.betas.atlas_volumes import AtlasReading
from conceptrsa.analysis.betas.roi_voxels import RoiVoxels, notes_on_regions, read_roi_voxels
from conceptrsa.analysis.betas.volumes import Grid, load_volume
from conceptrsa.analysis.files.stimuli import find_pictures
from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.images import open_volume
from conceptrsa.bids_config.names import warn_once
from conceptrsa.bids_config.schema import DatasetConfig
from conceptrsa.interfaces.numerics.brain_mask import is_stripped, require_network
from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.bids.events import count_presentations
from conceptrsa.pipelines.execution.find_programs import freesurfer_checks
from conceptrsa.pipelines.execution.output_folders import require_makeable
from conceptrsa.pipelines.participant_options import ParticipantOptions, RunModel, partition_runs

SECONDS_PER_MINUTE = 60
LONGEST_START = 600.0  # s; the first start of a MATLAB Runtime unpacks SPM


def checks(
    subjects: Sequence[SubjectInputs],
    config: DatasetConfig,
    options: ParticipantOptions,
    out_dir: Path,
) -> Iterator[Callable[[], object]]:
    """Give checks of the input and the machine against the settings, each for one thing.

    Each raises an `InputError` if something is missing or does not fit; nothing is written.
    """
    yield partial(_require_pictures, subjects, options.stimuli_dir)
    if options.work_dir is not None:
        yield partial(require_makeable, options.work_dir, "--work-dir")
    if any(subject.standard_space for subject in subjects):
        yield partial(_require_regions_in_space, subjects, config, options)
    else:
        yield from _checks_of_anatomy(subjects, config, options)
    if options.engine == "spm":
        yield partial(_require_spm_can, subjects, config, options.run_model)
    if options.runs_per_partition is not None:
        yield partial(_require_whole_partitions, subjects, options.runs_per_partition)
    yield from freesurfer_checks(subjects, options, out_dir)


def _checks_of_anatomy(
    subjects: Sequence[SubjectInputs], config: DatasetConfig, options: ParticipantOptions
) -> Iterator[Callable[[], object]]:
    """Give checks of what is registered with MNI305, and of the regions there."""
    yield partial(_require_brain_masks, subjects, options)
    fitted = options.regions_from() == "subject" and not options.has_reconstructions
    if options.regions_from() == "template" or (
        fitted and any(subject.segmentation is None for subject in subjects)
    ):
        yield partial(_require_regions, config)
    if fitted:
        yield partial(_require_regions_alike, subjects)


def _require_pictures(subjects: Sequence[SubjectInputs], stimuli_dir: Path | None) -> None:
    if stimuli_dir is None:
        return
    pictures = find_pictures(stimuli_dir)
    for subject in subjects:
        for run in subject.runs:
            missing = sorted(count_presentations([run.conditions]).keys() - pictures.keys())
            if missing:
                raise InputError(
                    f"{run.events} shows {missing[0]}, which has no picture in {stimuli_dir}; add "
                    f"{missing[0]}.png (or another picture format), or give another --stimuli"
                )


def _require_whole_partitions(subjects: Sequence[SubjectInputs], runs_per_partition: int) -> None:
    """Refuse a single run, and a partition that lacks a stimulus of its subject."""
    for subject in subjects:
        if len(subject.runs) < 2:
            raise InputError(
                f"sub-{subject.subject} has one run, but crossnobis distances need two; leave "
                "--run-betas out"
            )
        shown = [set(count_presentations([run.conditions])) for run in subject.runs]
        for part in partition_runs(len(shown), runs_per_partition):
            missing = set().union(*shown).difference(*(shown[run] for run in part))
            if missing:
                raise InputError(
                    f"{min(missing)} is not shown in {subject.runs[part[0]].events}, nor in the "
                    f"{len(part) - 1} runs pooled with it; raise --runs-per-partition above "
                    f"{runs_per_partition}, or leave --run-betas out"
                )


def _require_regions(config: DatasetConfig) -> None:
    """Refuse a region that the packaged atlas does not have."""
    from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305

    _, names = desikan_killiany_mni305()
    for roi in config.rois:
        if not set(roi.labels) & set(names):
            raise InputError(
                f"region {roi.name} of the data set configuration {config.name} has labels "
                f"({', '.join(map(str, roi.labels))}) that the atlas does not have; correct them, "
                "or give --fs-subjects-dir"
            )


def _require_brain_masks(subjects: Sequence[SubjectInputs], options: ParticipantOptions) -> None:
    """Refuse a T1w image whose brain only the network can find, where it is not installed."""
    try:
        require_network()
    except InputError:
        for subject in subjects:
            if subject.t1w_mask is None and not _has_brain_mask(subject, options):
                raise


def _has_brain_mask(subject: SubjectInputs, options: ParticipantOptions) -> bool:
    if options.normalization == "freesurfer":
        return True
    if options.fs_subjects_dir is not None:
        folder = options.fs_subjects_dir / f"sub-{subject.subject}"
        return (folder / "mri" / "brainmask.mgz").is_file()
    try:
        return is_stripped(open_volume(subject.t1w))
    except (InputError, StepError, OSError, EOFError):
        return False


def _require_regions_alike(subjects: Sequence[SubjectInputs]) -> None:
    """Refuse regions of FreeSurfer in some subjects and of the fitted atlas in others."""
    without = [subject.subject for subject in subjects if subject.segmentation is None]
    if without and len(without) < len(subjects):
        raise InputError(
            f"sub-{without[0]} has no desc-aparcaseg_dseg in --derivatives, but other subjects "
            "have one, so their regions would not be comparable; restore it, give "
            "--fs-subjects-dir, or choose --roi-source template"
        )


def _require_regions_in_space(
    subjects: Sequence[SubjectInputs], config: DatasetConfig, options: ParticipantOptions
) -> None:
    """Refuse an atlas of another space, and one that lacks a region; say if it is resampled."""
    found: dict[tuple[object, ...], RoiVoxels] = {}
    for subject in subjects:
        image = subject.runs[0].image
        if subject.segmentation is None or not image.is_file():
            continue  # said where it was looked for
        grid = Grid.of(load_volume(image), image)
        key = (subject.segmentation, grid.shape, grid.affine.tobytes())
        if key not in found:
            reading = AtlasReading(ignore_place="orientation" in options.ignore, ignore_space=None)
            found[key] = read_roi_voxels(subject.segmentation, config.rois, grid, reading)
    for note in notes_on_regions(list(found.values())):
        warn_once(note)


def _require_spm_can(
    subjects: Sequence[SubjectInputs], config: DatasetConfig, run_model: RunModel
) -> None:
    """Refuse what SPM's steps have no setting for."""
    from conceptrsa.interfaces.spm.first_level import microtime_onset

    if not any(subject.is_preprocessed for subject in subjects):
        microtime_onset(config.glm.slice_time_reference)
    if config.glm.pooling == "mean" and run_model == "concatenated":
        raise InputError(
            "pooling = 'mean' needs a beta per run, which concatenated runs do not have; choose "
            "--run-model sessions, or --pooling joint"
        )
    if config.glm.hrf != "spm":
        raise InputError(
            f"hrf = {config.glm.hrf!r} of the data set configuration {config.name} is not SPM's; "
            "set hrf = 'spm', or use --engine python"
        )
    for subject in subjects:
        for run in subject.runs:
            if not run.slice_axis.startswith("k"):
                raise InputError(
                    f"{run.bold} has its slices along axis {run.slice_axis[0]}, but SPM corrects "
                    "them along the third (k) only; use --engine python"
                )
        times = sorted({run.repetition_time for run in subject.runs})
        if len(times) > 1:
            raise InputError(
                f"the runs of sub-{subject.subject} have the repetition times "
                f"{', '.join(f'{time:g}' for time in times)} s, but an SPM model has only one; use "
                "--engine python"
            )
