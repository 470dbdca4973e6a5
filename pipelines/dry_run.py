"""List what a run would do and need, and all that is wrong with its input, without running it."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from conceptrsa.bids_config.durations import duration
from conceptrsa.bids_config.errors import Problems, grouped
from conceptrsa.bids_config.schema import DatasetConfig
from conceptrsa.bids_config.spaces import Space
from conceptrsa.pipelines.bids.dataset import SubjectInputs, links_outside
from conceptrsa.pipelines.bids.events import ONE_BACK, count_presentations
from conceptrsa.pipelines.bids.reading import survey
from conceptrsa.pipelines.bids.validation import require_valid
from conceptrsa.pipelines.execution.earlier_results import require_own_config, shared_config
from conceptrsa.pipelines.execution.find_programs import find_spm
from conceptrsa.pipelines.execution.forecast import (
    Forecast,
    disk_need,
    forecast_subject,
    require_room,
)
from conceptrsa.pipelines.execution.output_folders import require_makeable
from conceptrsa.pipelines.execution.requirements import checks
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.participants import reading_of, require_own_folders
from conceptrsa.pipelines.workflows.engines import spm_memory_gb
from conceptrsa.pipelines.workflows.mni305 import RECONSTRUCTION_GB

LARGEST_STEP_GB = 2.0


def report_dry_run(
    bids_dir: Path, out_dir: Path, config: DatasetConfig, options: ParticipantOptions
) -> int:
    """Print what a run would do, and everything that is wrong with its input.

    Parameters and return value as for `run_participants`; the exit code is 2 where there are
    problems.
    """
    problems = Problems()
    given, config = config, options.configured(config)
    subjects, found = survey(
        bids_dir,
        config,
        options.participant_labels,
        options.session_labels,
        n_threads=options.n_procs,
        reading=reading_of(options, config),
    )
    with problems.noted():
        require_own_config(out_dir, shared_config(given, options, subjects), options)
    problems.found += found
    if any(subject.standard_space for subject in subjects):
        options = options.without_registration()
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
    space = next((subject.standard_space for subject in subjects), None)
    print_totals(forecasts, options, out_dir, need.total, space)
    with problems.noted():
        labels = {subject.subject for subject in subjects}
        require_room(need, options.work_dir or out_dir / ".work", out_dir, options, labels)
    for problem in grouped(problems.found):
        print(f"problem: {problem}")
    return 2 if problems.found else 0


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
        takes = f"about {duration(step.seconds):>8s}  {step.gigabytes:6.2f} GB"
        print(f"  step {step.name:24s} {takes}")


def print_totals(
    forecasts: Sequence[Forecast],
    options: ParticipantOptions,
    out_dir: Path,
    gigabytes: float,
    space: Space | None = None,
) -> None:
    """Print what all subjects need together.

    `gigabytes` is of disk, `space` the standard one that the runs are in already.
    """
    way = f"normalization {options.normalization}" if space is None else f"space {space}"
    reconstructs = any(step.node == "reconstruct" for f in forecasts for step in f.steps)
    most = max((forecast.size.n_volumes for forecast in forecasts), default=0)
    largest_gb = spm_memory_gb(most) if options.engine == "spm" else LARGEST_STEP_GB
    largest_gb = max(largest_gb, RECONSTRUCTION_GB if reconstructs else 0.0)
    fit = int(options.memory_mb / 1000 / largest_gb)
    side_by_side = max(1, min(options.n_procs, len(forecasts), fit))
    longest = max((forecast.seconds for forecast in forecasts), default=0.0)
    seconds = math.ceil(len(forecasts) / side_by_side) * longest
    takes = f"{duration(seconds)} with {side_by_side} at a time"
    if options.slurm is not None:
        takes = (
            f"{duration(longest)} if Slurm starts every job at once and each subject's steps run "
            f"one after the other, with up to {largest_gb:.1f} GB of memory a job"
        )
    print(
        f"engine {options.engine}, {way}, output {out_dir}: about "
        f"{takes}, {gigabytes:.1f} GB of disk{'' if options.keep_work else ' when it is most'}"
    )
    if options.slurm is None and side_by_side < min(options.n_procs, len(forecasts)):
        print(
            f"(--mem-mb {options.memory_mb} allows no more at a time: one needs up to "
            f"{largest_gb:.1f} GB)"
        )
    if any(forecast.size.is_assumed for forecast in forecasts):
        print("(missing images are assumed to have 64 x 64 voxels per slice)")
