"""SPM and FreeSurfer: found, asked for their versions, and checked for what a run needs of them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.execution.output_folders import require_makeable, require_writable
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.workflows.engines import SpmSettings
from conceptrsa.pipelines.workflows.mni305 import NormalizationSettings

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
    from conceptrsa.interfaces.spm.find_spm import DEFAULT_TIME_LIMIT, find_launcher
    from conceptrsa.interfaces.spm.jobs import read_version

    limit = options.spm_time_limit
    seconds = DEFAULT_TIME_LIMIT if limit is None else limit * SECONDS_PER_MINUTE
    launcher = find_launcher(options.spm_command, seconds)
    asked = replace(launcher, time_limit=min(seconds, LONGEST_START))
    if scratch is not None:
        require_writable(scratch, "--work-dir")
    folder = Path(tempfile.mkdtemp(prefix="conceptrsa-spm-", dir=scratch))
    is_needed = False
    try:
        version = read_version(asked, folder)
    except StepError as error:
        is_needed = True  # the message names a file in the folder
        raise InputError(
            f"SPM was asked for its version with '{launcher.text()}': {error}"
        ) from error
    finally:
        if not is_needed:
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
    from conceptrsa.interfaces.freesurfer import installation

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
        fsaverage_dir = installation.find_fsaverage(options.fs_subjects_dir)
        settings = replace(settings, fsaverage_dir=fsaverage_dir)
    if options.normalization == "python":
        return settings
    return replace(
        settings,
        fs_subjects_dir=options.reconstructions(out_dir).resolve(),
        license_file=installation.find_license(options.fs_license_file),
        freesurfer_version=installation.find_freesurfer().version,
        time_limit=options.fs_time_limit and options.fs_time_limit * SECONDS_PER_MINUTE,
    )


def freesurfer_checks(
    subjects: Sequence[SubjectInputs], options: ParticipantOptions, out_dir: Path
) -> Iterator[Callable[[], object]]:
    """Give checks of FreeSurfer and its reconstructions, each for one thing."""
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


def _require_reconstruction(fs_subjects_dir: Path, subject: SubjectInputs) -> None:
    from conceptrsa.interfaces.freesurfer.installation import require_whole

    _require_not_at_work(fs_subjects_dir, subject)
    require_whole(fs_subjects_dir / f"sub-{subject.subject}", ", or leave --fs-subjects-dir out")


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
