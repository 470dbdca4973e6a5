"""The participant level: checks first, then all subjects' workflows, then what came of them."""

import logging
import re
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from conceptrsa.bids_config.errors import Problems, grouped
from conceptrsa.bids_config.names import warn_once
from conceptrsa.bids_config.recorded import (
    MIXED,
    RECORD,
    SECTIONS,
    add_to_mixture,
    difference,
    read_recorded,
    require_recorded,
    write_recorded,
)
from conceptrsa.bids_config.schema import DatasetConfig
from conceptrsa.bids_config.writing import remove_leftovers
from conceptrsa.pipelines.bids.dataset import Reading, SubjectInputs, links_outside
from conceptrsa.pipelines.bids.events import ONE_BACK, count_presentations
from conceptrsa.pipelines.bids.layout import BidsFilters, read_filters
from conceptrsa.pipelines.bids.reading import read_dataset, survey
from conceptrsa.pipelines.bids.validation import require_valid
from conceptrsa.pipelines.execution.disk import disk_need, require_room
from conceptrsa.pipelines.execution.forecast import (
    Forecast,
    duration,
    forecast_subject,
    print_totals,
)
from conceptrsa.pipelines.execution.output_folders import (
    Input,
    require_no_other_data_set,
    require_separate,
    write_dataset_description,
)
from conceptrsa.pipelines.execution.run_lock import one_at_a_time, only_run
from conceptrsa.pipelines.execution.worker_pool import Failure
from conceptrsa.pipelines.options import ParticipantOptions
from conceptrsa.pipelines.reports.subject_cautions import read_cautions
from conceptrsa.pipelines.workflows import software
from conceptrsa.pipelines.workflows.participant import ParticipantSettings
from conceptrsa.pipelines.workflows.requirements import (
    checks,
    find_normalization,
    find_spm,
    require_makeable,
    require_writable,
)

log = logging.getLogger(__name__)


def run_participants(
    bids_dir: Path, out_dir: Path, config: DatasetConfig, options: ParticipantOptions
) -> int:
    """Take subjects from raw BIDS data to betas and regions in MNI305.

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
    kept, config = _to_be_kept(config, options), options.configured(config)
    _require_own_config(out_dir, kept, options)
    work_dir = (options.work_dir or out_dir / ".work").resolve()
    require_makeable(work_dir, "--work-dir")
    spm = find_spm(options, work_dir)
    log.info("reading and checking %s", bids_dir)
    selection = (bids_dir, config, options.participant_labels, options.session_labels)
    reading = _reading(options)
    # Names, sidecars and events in a moment; images are read to their end, which takes longer.
    subjects = read_dataset(*selection, names_only=True, reading=reading)
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
    )
    version_dir = software.of_version(work_dir)
    require_writable(version_dir, "--work-dir")
    names = {f"sub-{subject.subject}" for subject in subjects}
    with ExitStack() as held:
        # Another run may have recorded its configuration since the first look.
        with one_at_a_time(out_dir, "record"):
            differing = _require_own_config(out_dir, kept, options)
            others = _subjects_in(out_dir) - names
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
            cautions = read_cautions(out_dir, subject.subject)
            for note in [*cautions, *write_page(out_dir, subject, config.runs.task, cautions)]:
                print(f"note: sub-{subject.subject}: {note}")
    done = len(subjects) - len(failed)
    log.info("%d of %d subjects done: %s", done, len(subjects), out_dir)
    return 1 if failed else 0


def report_dry_run(
    bids_dir: Path, out_dir: Path, config: DatasetConfig, options: ParticipantOptions
) -> int:
    """Print what a run would do, and everything that is wrong with its input.

    Parameters and return value as for `run_participants`; the exit code is 2 where there are
    problems.
    """
    problems = Problems()
    with problems.noted():
        _require_own_config(out_dir, _to_be_kept(config, options), options)
    config = options.configured(config)
    subjects, found = survey(
        bids_dir,
        config,
        options.participant_labels,
        options.session_labels,
        reading=_reading(options),
    )
    problems.found += found
    for subject in subjects:
        for said in subject.noticed:
            print(f"note: sub-{subject.subject}: {said}")
    if strays := links_outside(subjects, bids_dir):
        print(f"note: {strays}")
    if options.validate and not problems.found:  # its errors would be mostly the same again
        with problems.noted():
            require_valid(bids_dir, {subject.subject for subject in subjects})
    requirements: list[Callable[[], object]] = [
        partial(require_own_folders, bids_dir, out_dir, options),
        partial(require_makeable, out_dir),
        *checks(subjects, config, options, out_dir),
        partial(find_spm, options),
    ]
    for requirement in requirements:
        with problems.noted():
            requirement()
    forecasts = [forecast_subject(subject, options, out_dir) for subject in subjects]
    for subject, forecast in zip(subjects, forecasts, strict=True):
        _print_subject(subject, forecast, options)
    need = disk_need(forecasts, options)
    print_totals(forecasts, options, out_dir, need.total)
    with problems.noted():
        labels = {subject.subject for subject in subjects}
        require_room(need, options.work_dir or out_dir / ".work", out_dir, options, labels)
    for problem in grouped(problems.found):
        print(f"problem: {problem}")
    return 2 if problems.found else 0


def _to_be_kept(config: DatasetConfig, options: ParticipantOptions) -> DatasetConfig:
    """Give what all subjects of a folder share; derivatives of several tasks may lie there."""
    return replace(config, glm=options.configured(config).glm)


def _subjects_in(out_dir: Path) -> set[str]:
    """Names of subjects; of those that another run is at, there may be no more than the lock."""
    found = (re.search(r"sub-[^._]+", path.name) for path in out_dir.glob("*sub-*"))
    return {name[0] for name in found if name is not None}


def _require_own_config(out_dir: Path, config: DatasetConfig, options: ParticipantOptions) -> str:
    """Refuse a configuration other than that of the subjects in the output folder.

    Where it is forced, give what differs.
    """
    if not _subjects_in(out_dir):
        return ""
    sentence = require_recorded(config, out_dir, SECTIONS, options.force_config)
    if sentence:
        warn_once(f"{sentence}: subjects that are not run again now keep what that gave them")
    recorded = read_recorded(out_dir)
    if recorded is None:
        warn_once(
            f"{out_dir} holds subjects but no {RECORD}: they are taken to be of the same data set "
            "configuration"
        )
        return ""
    return difference(recorded, config)


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
    ]
    require_separate(out_dir, inputs)
    require_no_other_data_set(out_dir)
    if (work_dir := options.work_dir) is not None:
        part = software.of_version(work_dir).name
        require_separate(work_dir, inputs, "--work-dir", part)


def _reading(options: ParticipantOptions) -> Reading:
    filters = BidsFilters() if options.filter_file is None else read_filters(options.filter_file)
    masks = options.t1w_mask and options.t1w_mask.resolve()
    return Reading(filters, options.derivatives_dir, masks, frozenset(options.ignore))


def _print_subject(subject: SubjectInputs, forecast: Forecast, options: ParticipantOptions) -> None:
    presentations = count_presentations(run.conditions for run in subject.runs)
    one_backs = sum(int((run.conditions["kind"] == ONE_BACK).sum()) for run in subject.runs)
    absent = sum(not run.image.exists() for run in subject.runs)
    missing = f" ({absent} of their images are missing)" if absent else ""
    print(
        f"sub-{subject.subject}: {len(subject.runs)} runs{missing}, "
        f"{len(presentations)} stimuli, "
        f"{sum(presentations.values())} presentations, {one_backs} one-backs; "
        f"about {duration(forecast.seconds)}, {disk_need([forecast], options).total:.1f} GB"
    )
    for run in subject.runs:
        print(f"  run {run.image.name}  TR {run.repetition_time:g} s")
    for step in forecast.steps:
        print(f"  step {step.name:24s} {step.text()}")


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
        From `conceptrsa.pipelines.reports.subject_cautions.read_cautions`.

    Returns
    -------
    list of str
        A note, or nothing.
    """
    from conceptrsa.pipelines.reports.subject_page import write_subject_page

    try:
        write_subject_page(out_dir, subject.subject, task, cautions)
    except Exception as error:
        log.debug("the page of sub-%s", subject.subject, exc_info=error)
        return [f"its results are there, but its page could not be made ({error})"]
    return []


def _run_subjects(
    subjects: Sequence[SubjectInputs],
    config: DatasetConfig,
    settings: ParticipantSettings,
    options: ParticipantOptions,
    work_dir: Path,
) -> Mapping[str, list[str]]:
    from conceptrsa.pipelines.execution.earlier_results import notes_on_other_runs
    from conceptrsa.pipelines.execution.run_workflows import Resources, run_workflow
    from conceptrsa.pipelines.workflows.participant import init_dataset_wf

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
        Resources(options.n_procs, options.memory_mb / 1000, options.slurm),
        settings.out_dir / "logs",
        Console(stderr=True),
        keep_work=options.keep_work,
        before_start=require_room_for,
    )
    for subject, failed in failures.items():
        _note_how_to_repeat(failed, subject, options)
    return {
        subject: [f"{f.sentence} (details: {f.crash_file or f.step_dir})" for f in failed]
        for subject, failed in failures.items()
        if failed
    }


def _note_how_to_repeat(
    failures: Sequence[Failure], subject: str, options: ParticipantOptions
) -> None:
    """Add the command for the one subject to the crash files; the last label on it counts."""
    words = [*options.command_words, "--participant-label", subject]
    command = shlex.join(words) if options.command_words else "the same command again"
    for crash_file in {failure.crash_file for failure in failures} - {None}:
        with suppress(OSError), Path(str(crash_file)).open("a") as stream:
            stream.write(
                f"\nTo do this step again, once its cause is mended: {command}\n"
                "Steps that are finished are not repeated.\n"
            )
