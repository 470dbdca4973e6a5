"""What a run needs beside its raw data, found and checked before anything runs."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from conceptrsa.analysis.files.stimuli import find_pictures
from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.images import open_volume
from conceptrsa.bids_config.schema import DatasetConfig
from conceptrsa.interfaces.numerics.brain_mask import is_stripped, require_network
from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.bids.events import count_presentations
from conceptrsa.pipelines.options import ParticipantOptions, RunModel, partition_runs
from conceptrsa.pipelines.workflows.engines import SpmSettings
from conceptrsa.pipelines.workflows.freesurfer import NormalizationSettings

SECONDS_PER_MINUTE = 60
LONGEST_START = 600.0  # s; the first start of a MATLAB Runtime unpacks SPM


def find_spm(options: ParticipantOptions, scratch: Path | None = None) -> SpmSettings:
    """Find SPM and ask it for its version; nothing is asked for the engine python.

    Parameters
    ----------
    options : ParticipantOptions
        Command and time limit.
    scratch : Path, optional
        Folder that SPM can see, as a container may not see that of temporary files.

    Raises
    ------
    InputError
        If there is none, or it does not run.
    """
    if options.engine != "spm":
        return SpmSettings(run_model=options.run_model)
    from conceptrsa.interfaces.spm.jobs import read_version
    from conceptrsa.interfaces.spm.launcher import DEFAULT_TIME_LIMIT, find_launcher

    limit = options.spm_time_limit
    seconds = DEFAULT_TIME_LIMIT if limit is None else limit * SECONDS_PER_MINUTE
    launcher = find_launcher(options.spm_command, seconds)
    asked = replace(launcher, time_limit=min(seconds, LONGEST_START))
    if scratch is not None:
        require_writable(scratch, "--work-dir")
    folder = Path(tempfile.mkdtemp(prefix="conceptrsa-spm-", dir=scratch))
    try:
        version = read_version(asked, folder)
    except StepError as error:  # the folder stays, as the message names a file in it
        raise InputError(
            f"SPM was asked for its version with '{launcher.text()}': {error}"
        ) from error
    shutil.rmtree(folder, ignore_errors=True)
    return SpmSettings(launcher.text(), version, seconds, options.run_model)


def find_normalization(
    options: ParticipantOptions, out_dir: Path, n_threads: int
) -> NormalizationSettings:
    """Find FreeSurfer, its licence and fsaverage as far as the way to MNI305 needs them.

    Raises
    ------
    InputError
        For the first thing that is missing.
    """
    roi_source = options.regions_from()
    settings = NormalizationSettings(
        options.normalization,
        options.fs_subjects_dir and options.fs_subjects_dir.resolve(),
        roi_source,
        registration=options.fs_registration,
        missing=options.fs_missing,
        n_threads=n_threads,
    )
    if roi_source == "fsaverage":
        from conceptrsa.interfaces.freesurfer.installation import find_fsaverage

        settings = replace(settings, fsaverage_dir=find_fsaverage(options.fs_subjects_dir))
    if options.normalization == "python":
        return settings
    from conceptrsa.interfaces.freesurfer.installation import find_freesurfer, find_license

    limit = options.fs_time_limit
    return replace(
        settings,
        fs_subjects_dir=options.reconstructions(out_dir).resolve(),
        license_file=find_license(options.fs_license_file),
        freesurfer_version=find_freesurfer().version,
        time_limit=None if limit is None else limit * SECONDS_PER_MINUTE,
    )


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
    yield partial(_require_brain_masks, subjects, options)
    fitted = options.regions_from() == "subject" and not options.has_reconstructions
    if options.regions_from() == "template" or (
        fitted and any(subject.segmentation is None for subject in subjects)
    ):
        yield partial(_require_regions, config)
    if fitted:
        yield partial(_require_regions_alike, subjects)
    if options.engine == "spm":
        yield partial(_require_spm_can, subjects, config, options.run_model)
    if options.runs_per_partition is not None:
        yield partial(_require_whole_partitions, subjects, options.runs_per_partition)
    yield from _freesurfer_checks(subjects, options, out_dir)


def _freesurfer_checks(
    subjects: Sequence[SubjectInputs], options: ParticipantOptions, out_dir: Path
) -> Iterator[Callable[[], object]]:
    from conceptrsa.interfaces.freesurfer import installation

    if options.regions_from() == "fsaverage":
        yield partial(installation.find_fsaverage, options.fs_subjects_dir)
    if options.normalization == "freesurfer":
        from conceptrsa.interfaces.freesurfer.recon_all import require_plain_folder

        folder = options.reconstructions(out_dir)
        yield installation.find_freesurfer
        yield partial(installation.find_license, options.fs_license_file)
        yield partial(require_makeable, folder, "--fs-subjects-dir")
        if not all(is_reconstructed(folder, subject) for subject in subjects):
            yield partial(require_plain_folder, folder)
        for subject in subjects:
            yield partial(_require_not_at_work, folder, subject)
    elif options.fs_subjects_dir is not None:
        for subject in subjects:
            yield partial(_require_reconstruction, options.fs_subjects_dir, subject)


def require_writable(folder: Path, option: str = "output folder") -> None:
    """Make a folder and try to write in it; `option` names where it was given.

    Raises
    ------
    InputError
        If that cannot be done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write in {folder} ({error.strerror}); choose another {option}"
        ) from error


def require_makeable(folder: Path, option: str = "OUT_DIR") -> None:
    """Look whether a folder could be written to, or made, without making it.

    Raises
    ------
    InputError
        If not; it names the option that gave the folder.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"cannot write in {existing}; choose another {option}")


def _require_pictures(subjects: Sequence[SubjectInputs], stimuli_dir: Path | None) -> None:
    if stimuli_dir is None:
        return
    pictures = find_pictures(stimuli_dir)
    for subject in subjects:
        for run in subject.runs:
            missing = sorted(count_presentations([run.conditions]).keys() - pictures.keys())
            if missing:
                raise InputError(
                    f"{run.events} shows {missing[0]}, of which {stimuli_dir} has no picture; "
                    f"add {missing[0]}.png or the like, or give another --stimuli"
                )


def _require_whole_partitions(subjects: Sequence[SubjectInputs], runs_per_partition: int) -> None:
    """Refuse a single run, and a partition that lacks a stimulus of its subject."""
    for subject in subjects:
        if len(subject.runs) < 2:
            raise InputError(
                f"sub-{subject.subject} has one run, and crossnobis distances need two; leave "
                "--run-betas out"
            )
        shown = [set(count_presentations([run.conditions])) for run in subject.runs]
        for part in partition_runs(len(shown), runs_per_partition):
            missing = set().union(*shown).difference(*(shown[run] for run in part))
            if missing:
                raise InputError(
                    f"{min(missing)} is not shown in {subject.runs[part[0]].events}, nor in the "
                    f"{len(part) - 1} runs pooled with it; give --runs-per-partition a number "
                    f"above {runs_per_partition}, or leave --run-betas out"
                )


def _require_regions(config: DatasetConfig) -> None:
    """Refuse a region that the packaged atlas does not have."""
    from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305

    _, names = desikan_killiany_mni305()
    for roi in config.rois:
        if not set(roi.labels) & set(names):
            raise InputError(
                f"region {roi.name} of the data set configuration {config.name} has labels "
                f"({', '.join(map(str, roi.labels))}) that the atlas does not have; mend them, or "
                "give --fs-subjects-dir"
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
            f"sub-{without[0]} has no desc-aparcaseg_dseg in the --derivatives and other subjects "
            "have one, so that their regions would not be alike; restore it, give "
            "--fs-subjects-dir, or choose --roi-source template"
        )


def _require_reconstruction(fs_subjects_dir: Path, subject: SubjectInputs) -> None:
    from conceptrsa.interfaces.freesurfer.installation import missing_files

    _require_not_at_work(fs_subjects_dir, subject)
    missing = missing_files(fs_subjects_dir / f"sub-{subject.subject}")
    if missing:
        raise InputError(
            f"{missing[0]} is missing; run recon-all for sub-{subject.subject} to its end, or "
            "leave --fs-subjects-dir out"
        )


def _require_not_at_work(fs_subjects_dir: Path, subject: SubjectInputs) -> None:
    from conceptrsa.interfaces.freesurfer.recon_all import is_complete

    try:
        is_complete(fs_subjects_dir / f"sub-{subject.subject}")
    except StepError as error:
        raise InputError(str(error)) from error


def is_reconstructed(fs_subjects_dir: Path, subject: SubjectInputs) -> bool:
    """Tell whether recon-all has nothing to do for a subject."""
    from conceptrsa.interfaces.freesurfer.recon_all import is_complete

    try:
        return is_complete(fs_subjects_dir / f"sub-{subject.subject}")
    except StepError:
        return False


def _require_spm_can(
    subjects: Sequence[SubjectInputs], config: DatasetConfig, run_model: RunModel
) -> None:
    """Refuse what SPM's steps have no setting for."""
    from conceptrsa.interfaces.spm.first_level import microtime_onset

    if not any(subject.is_preprocessed for subject in subjects):
        microtime_onset(config.glm.slice_time_reference)
    if config.glm.pooling == "mean" and run_model == "concatenated":
        raise InputError(
            "pooling = 'mean' needs a beta a run, which concatenated runs do not have; choose "
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
                    f"{run.bold} has its slices along the axis {run.slice_axis[0]}, and SPM "
                    "corrects them along the third (k) only; use --engine python"
                )
        times = sorted({run.repetition_time for run in subject.runs})
        if len(times) > 1:
            raise InputError(
                f"the runs of sub-{subject.subject} have the repetition times "
                f"{', '.join(f'{time:g}' for time in times)} s, and a model of SPM has one; use "
                "--engine python"
            )
