"""Running a workflow: resources, working folder, messages, and what became of each subject."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from traceback import format_exception
from typing import Any

from nipype.pipeline.engine import MapNode, Workflow
from rich.console import Console

from conceptrsa.pipelines.execution.forecast import Forecast
from conceptrsa.pipelines.execution.plugin_settings import SlurmSettings
from conceptrsa.pipelines.execution.progress import RunProgress, node_place
from conceptrsa.pipelines.execution.slurm import SlurmJobsPlugin
from conceptrsa.pipelines.execution.slurm_leftovers import end_jobs_left
from conceptrsa.pipelines.execution.worker_pool import (
    Failure,
    WorkerPoolPlugin,
    last_sentence,
    log_to_file,
)

QUICK_STEPS = ("coverage",)


@dataclass(frozen=True)
class StepWork:
    """What a step contributes to the progress shown.

    Attributes
    ----------
    each : float
        Expected time of one execution (s).
    times : int
        Executions a subject.
    """

    each: float
    times: int


def expected_work(forecast: Forecast) -> dict[str, StepWork]:
    """Steps of a subject that take noticeable time; the others are not shown."""
    return {
        step.node: StepWork(step.seconds / step.times, step.times)
        for step in forecast.steps
        if step.node not in QUICK_STEPS
    }


@dataclass(frozen=True)
class Resources:
    """What a run may use.

    Attributes
    ----------
    n_procs : int
        Processes at once.
    memory_gb : float
        Memory of all together.
    slurm : SlurmSettings, optional
        Every step is a job of Slurm, whatever the two others say.
    """

    n_procs: int
    memory_gb: float
    slurm: SlurmSettings | None = None


def run_workflow(
    workflow: Workflow,
    forecasts: Mapping[str, Forecast],
    resources: Resources,
    log_dir: Path,
    console: Console,
    keep_work: bool = False,
    before_start: Callable[[Collection[str]], None] = lambda unfinished: None,
) -> dict[str, list[Failure]]:
    """Run the participant workflows and say what failed.

    Parameters
    ----------
    workflow : Workflow
        Made by `init_dataset_wf`.
    forecasts : mapping of str to Forecast
        Subject to what its steps are expected to take.
    resources : Resources
        Processes and memory.
    log_dir : Path
        For nipype's log and crash files.
    console : Console
        Where progress is shown.
    keep_work : bool
        Whether intermediate files stay that nothing needs any more.
    before_start : callable
        Called with the subjects that are not finished, before any step; may refuse.

    Returns
    -------
    dict of str to list of Failure
        Every subject, with the steps of it that failed.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    work_dir = Path(workflow.base_dir)
    log_file = log_dir / "nipype.log"
    log_to_file(log_file)
    workflow.config["execution"].update(
        crashdump_dir=str(log_dir),
        crashfile_format="txt",
        hash_method="content",
        check_version="false",
        poll_sleep_duration="0.02" if resources.slurm is None else "0.5",
        remove_unnecessary_outputs="false",
        create_report="false",
        stop_on_first_crash="false",
    )
    root = str(work_dir.resolve())
    work = {subject: expected_work(forecast) for subject, forecast in forecasts.items()}
    expanded: set[tuple[str, str]] = set()
    progress = RunProgress(
        {
            subject: sum(step.each * step.times for step in steps.values())
            for subject, steps in work.items()
        },
        console,
    )

    def show(node: Any, status: str) -> None:
        subject, step = node_place(node, root)
        if "/mapflow/" in node.output_dir():
            expanded.add((subject, step))
        elif isinstance(node, MapNode) and (subject, step) in expanded:
            return
        known = work[subject].get(step)
        if known is not None:
            progress.update(subject, step, known.each, known.times, status)
        elif status == "exception":
            progress.update(subject, step, 0.0, 1, status)

    end_jobs_left((log_dir.resolve(), work_dir.resolve()), list(forecasts))
    plugin: WorkerPoolPlugin | SlurmJobsPlugin
    if resources.slurm is None:
        plugin = WorkerPoolPlugin(
            work_dir, log_file, resources.n_procs, resources.memory_gb, status_callback=show
        )
    else:
        plugin = SlurmJobsPlugin(
            work_dir,
            log_dir,
            resources.slurm,
            place_of=partial(node_place, work_dir=root),
            subjects=list(forecasts),
            status_callback=show,
        )

    def look_at(steps: Collection[Any]) -> None:
        before_start({node_place(step, root)[0] for step in steps})

    plugin.start_from(work_dir, keep_work, look_at)
    cut_short: list[Failure] = []
    with progress:
        try:
            workflow.run(plugin=plugin)
        except Exception as error:
            # nipype ends by raising what the first failed step raised; all others are done then.
            unfinished = plugin.unfinished()
            if not unfinished and not plugin.failures:
                raise
            if unfinished:
                cut_short = _cut_short(error, unfinished, log_dir)
        finally:
            plugin.stop()
    return _failures_by_subject([*plugin.failures, *cut_short], list(forecasts), work_dir)


def _cut_short(error: Exception, unfinished: Sequence[Any], log_dir: Path) -> list[Failure]:
    """What is to be said of steps that the end of the whole run left undone."""
    traceback = "".join(format_exception(error))
    crash_file = log_dir / f"crash-{datetime.now():%Y%m%d-%H%M%S}-run.txt"
    with suppress(OSError):
        crash_file.write_text(traceback, encoding="utf-8")
    sentence = f"the run ended before all was done: {last_sentence(traceback)}"
    return [Failure(Path(step.output_dir()), sentence, crash_file) for step in unfinished]


def _failures_by_subject(
    failures: Sequence[Failure], subjects: Sequence[str], work_dir: Path
) -> dict[str, list[Failure]]:
    by_subject: dict[str, list[Failure]] = {subject: [] for subject in subjects}
    for failure in failures:
        parts = failure.step_dir.relative_to(work_dir.resolve()).parts
        subject = next(part for part in parts if part.startswith("sub_"))
        known = by_subject[subject.removeprefix("sub_").removesuffix("_wf")]
        # All steps that a run left undone are one and the same failure.
        told = {(other.sentence, other.crash_file) for other in known}
        if (failure.sentence, failure.crash_file) not in told:
            known.append(failure)
    return by_subject
