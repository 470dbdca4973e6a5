"""The participant level: checks first, then all subjects' workflows, then what came of them."""

import logging
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.label_tables import read_label_table, table_beside
from conceptrsa.bids_config.recorded import MIXED, add_to_mixture, write_recorded
from conceptrsa.bids_config.schema import DatasetConfig, RoiDefinition
from conceptrsa.bids_config.spaces import Space
from conceptrsa.bids_config.writing import remove_leftovers
from conceptrsa.pipelines.bids.dataset import Reading, SubjectInputs, links_outside
from conceptrsa.pipelines.bids.layout import BidsFilters, read_filters
from conceptrsa.pipelines.bids.reading import read_dataset
from conceptrsa.pipelines.bids.validation import require_valid
from conceptrsa.pipelines.execution.earlier_results import (
    notes_on_other_runs,
    require_own_config,
    shared_config,
    subjects_in,
)
from conceptrsa.pipelines.execution.failures import note_how_to_repeat
from conceptrsa.pipelines.execution.find_programs import find_normalization, find_spm
from conceptrsa.pipelines.execution.forecast import disk_need, forecast_subject, require_room
from conceptrsa.pipelines.execution.output_folders import (
    Input,
    require_makeable,
    require_no_other_data_set,
    require_separate,
    require_writable,
    write_dataset_description,
)
from conceptrsa.pipelines.execution.requirements import checks
from conceptrsa.pipelines.execution.run_lock import lock, only_run
from conceptrsa.pipelines.execution.run_workflows import run_workflow
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.reports.subject_page import write_subject_page
from conceptrsa.pipelines.reports.subject_records import read_cautions
from conceptrsa.pipelines.workflows import software
from conceptrsa.pipelines.workflows.participant import ParticipantSettings, init_dataset_wf

log = logging.getLogger(__name__)


def run_participants(
    bids_dir: Path, out_dir: Path, config: DatasetConfig, options: ParticipantOptions
) -> int:
    """Take subjects from their runs to betas and regions in a standard space.

    Parameters
    ----------
    bids_dir, out_dir : Path
        Raw data set, and root of the derivatives.
    config : DatasetConfig
        What is particular to the data set.
    options : ParticipantOptions
        From the command line.

    Returns
    -------
    int
        Exit code: 0, or 1 when a subject failed (the others are done).

    Raises
    ------
    InputError
        For anything wrong with the input or the output folder, before anything runs.
    """
    require_own_folders(bids_dir, out_dir, options)
    require_writable(out_dir)
    given, config = config, options.configured(config)
    work_dir = (options.work_dir or out_dir / ".work").resolve()
    require_makeable(work_dir, "--work-dir")
    spm = find_spm(options, work_dir)
    log.info("reading and checking %s", bids_dir)
    selection = (bids_dir, config, options.participant_labels, options.session_labels)
    reading = reading_of(options, config)
    # Names, sidecars and events in a moment; images are read to their end, which takes longer.
    subjects = read_dataset(*selection, names_only=True, reading=reading)
    kept = shared_config(given, options, subjects)
    require_own_config(out_dir, kept, options)
    if subjects[0].standard_space is not None:
        options = options.without_registration()
    if options.validate:
        require_valid(bids_dir, {subject.subject for subject in subjects}, out_dir / "logs")
    subjects = read_dataset(*selection, n_threads=options.n_procs, reading=reading)
    if strays := links_outside(subjects, bids_dir):
        log.warning("%s", strays)
    for subject in subjects:
        for said in subject.noticed:
            log.warning("sub-%s: %s", subject.subject, said)
    for check in checks(subjects, config, options, out_dir):
        check()
    n_threads = options.threads_per_step(len(subjects))
    settings = ParticipantSettings(
        engine=options.engine,
        task=config.runs.task,
        glm=config.glm,
        rois=config.rois,
        out_dir=out_dir.resolve(),
        normalization=find_normalization(options, out_dir, n_threads),
        spm=spm,
        n_threads=n_threads,
        runs_per_partition=options.runs_per_partition,
        keep_work=options.keep_work,
        atlas=config.atlas,
        label_names=None if config.atlas is None else label_names(config.atlas, config.rois),
    )
    version_dir = software.of_version(work_dir)
    require_writable(version_dir, "--work-dir")
    names = {f"sub-{subject.subject}" for subject in subjects}
    with ExitStack() as held:
        # Another run may have recorded its configuration since the first look.
        with lock(out_dir, "record", wait=True):
            differing = require_own_config(out_dir, kept, options)
            others = subjects_in(out_dir) - names
            held.enter_context(only_run((settings.out_dir, version_dir), names))
            if differing and others:
                add_to_mixture(differing, out_dir)
            elif not others:
                (out_dir / MIXED).unlink(missing_ok=True)
            write_recorded(kept, out_dir)
        write_dataset_description(
            out_dir, bids_dir, options.derivatives_dir, settings.normalization.subjects_dirs
        )
        failed = _run_subjects(subjects, config, settings, options, work_dir)
    for label, sentences in failed.items():
        for sentence in sentences:
            print(f"conceptrsa: sub-{label} failed: {sentence}", file=sys.stderr)
    for subject in subjects:
        if subject.subject not in failed:
            cautions = cautions_of(out_dir, subject.subject)
            for note in [*cautions, *write_page(out_dir, subject, config.runs.task, cautions)]:
                print(f"note: sub-{subject.subject}: {note}")
    done = len(subjects) - len(failed)
    log.info("%d of %d subjects done: %s", done, len(subjects), out_dir)
    return 1 if failed else 0


def require_own_folders(bids_dir: Path, out_dir: Path, options: ParticipantOptions) -> None:
    """Refuse folders for results and intermediate files that are inputs, or mixed with them.

    Raises
    ------
    InputError
    """
    inputs = [
        Input("BIDS_DIR", bids_dir, "data set"),
        Input("--derivatives", options.derivatives_dir, "data set"),
        Input("--stimuli", options.stimuli_dir, "files"),
        Input("--fs-subjects-dir", options.fs_subjects_dir, "files"),
        Input("--t1w-mask", options.t1w_mask, "betas"),
        Input("--atlas", options.atlas, "betas"),
    ]
    require_separate(out_dir, inputs)
    require_no_other_data_set(out_dir)
    if (work_dir := options.work_dir) is not None:
        part = software.of_version(work_dir).name
        require_separate(work_dir, inputs, "--work-dir", part)


def reading_of(options: ParticipantOptions, config: DatasetConfig) -> Reading:
    """Say how the data set is read; `config` is `ParticipantOptions.configured`."""
    filters = BidsFilters() if options.filter_file is None else read_filters(options.filter_file)
    masks = options.t1w_mask and options.t1w_mask.resolve()
    space = None if config.runs.space is None else Space.read(config.runs.space)
    return Reading(
        filters, options.derivatives_dir, masks, frozenset(options.ignore), space, config.atlas
    )


def label_names(atlas: Path, rois: Sequence[RoiDefinition]) -> dict[int, str]:
    """Give the names of an atlas' labels: those of its table, else of the regions they are of."""
    file = table_beside(atlas)
    if file is None:
        return {label: roi.name for roi in reversed(rois) for label in roi.labels}
    named = read_label_table(file).labels
    return {label: name for name, labels in named.items() for label in labels}


def cautions_of(out_dir: Path, subject: str) -> list[str]:
    """Read what there is to heed in a subject that is done; say why not, if that fails.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    subject : str
        Label without `sub-`.
    """
    try:
        return read_cautions(out_dir, subject)
    except InputError as error:
        return [f"results are written, but their warnings cannot be read ({error})"]


def write_page(
    out_dir: Path, subject: SubjectInputs, task: str, cautions: Sequence[str]
) -> list[str]:
    """Write the subject's page; say why not, if that fails, as its results stand without it.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    subject : SubjectInputs
        A subject that is done.
    task : str
        BIDS task label.
    cautions : sequence of str
        From `cautions_of`.

    Returns
    -------
    list of str
        A note, or nothing.
    """
    try:
        write_subject_page(out_dir, subject.subject, task, cautions, subject.standard_space)
    except Exception as error:
        log.debug("the page of sub-%s", subject.subject, exc_info=error)
        return [f"results are written, but the page could not be made ({error})"]
    return []


def _run_subjects(
    subjects: Sequence[SubjectInputs],
    config: DatasetConfig,
    settings: ParticipantSettings,
    options: ParticipantOptions,
    work_dir: Path,
) -> Mapping[str, list[str]]:
    version_dir = software.of_version(work_dir)
    for note in notes_on_other_runs(settings.out_dir, subjects, config.runs.task):
        log.warning("%s", note)
    workflow = init_dataset_wf(subjects, config, settings, version_dir)
    for label in (subject.subject for subject in subjects):
        remove_leftovers(settings.out_dir / f"sub-{label}")
        remove_leftovers(software.of_subject(version_dir, label))
        remove_leftovers(version_dir / "conditions" / f"sub-{label}")
    forecasts = {
        subject.subject: forecast_subject(subject, options, settings.out_dir)
        for subject in subjects
    }

    def require_room_for(unfinished: Collection[str]) -> None:
        need = disk_need([forecasts[subject] for subject in unfinished], options)
        require_room(need, work_dir, settings.out_dir, options, unfinished)

    failures = run_workflow(
        workflow,
        forecasts,
        options,
        settings.out_dir / "logs",
        Console(stderr=True),
        before_start=require_room_for,
    )
    for label, failed in failures.items():
        words = (*options.command_words, "--participant-label", label)
        command = shlex.join(words) if options.command_words else "the same command again"
        note_how_to_repeat(failed, command)
    return {
        subject: [f"{f.sentence} (details: {f.crash_file or f.step_dir})" for f in failed]
        for subject, failed in failures.items()
        if failed
    }
