"""Running workflows: nipype's settings, the plugin, messages, and what became of each subject."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from nipype.pipeline.engine import Workflow
from rich.console import Console

from conceptrsa.pipelines.execution.failures import Failure, cut_short, failures_by_subject
from conceptrsa.pipelines.execution.forecast import Forecast
from conceptrsa.pipelines.execution.progress import RunProgress
from conceptrsa.pipelines.execution.slurm import SlurmJobsPlugin
from conceptrsa.pipelines.execution.slurm_queue import end_jobs_left
from conceptrsa.pipelines.execution.worker_pool import WorkerPoolPlugin, log_to_file
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.workflows import software


def run_workflow(
    workflow: Workflow,
    forecasts: Mapping[str, Forecast],
    options: ParticipantOptions,
    log_dir: Path,
    console: Console,
    before_start: Callable[[Collection[str]], None] = lambda unfinished: None,
) -> dict[str, list[Failure]]:
    """Run the participant workflows and say what failed.

    Parameters
    ----------
    workflow : Workflow
        Made by `init_dataset_wf`.
    forecasts : mapping of str to Forecast
        Subject to what its steps are expected to take.
    options : ParticipantOptions
        Processes and memory, or Slurm, and whether intermediate files stay.
    log_dir : Path
        For nipype's log and crash files.
    console : Console
        Where progress is shown.
    before_start : callable
        Called with the subjects that are not finished, before any step; may refuse.

    Returns
    -------
    dict of str to list of Failure
        Every subject, with the steps of it that failed.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    work_dir = Path(workflow.base_dir).resolve()
    log_file = log_dir / "nipype.log"
    log_to_file(log_file)
    workflow.config["execution"].update(
        crashdump_dir=str(log_dir),
        crashfile_format="txt",
        hash_method="content",
        check_version="false",
        poll_sleep_duration="0.05" if options.slurm is None else "0.5",
        remove_unnecessary_outputs="false",
        create_report="false",
        stop_on_first_crash="false",
    )
    progress = RunProgress(forecasts, work_dir, console)
    end_jobs_left((log_dir.resolve(), work_dir), list(forecasts))
    plugin: WorkerPoolPlugin | SlurmJobsPlugin
    if options.slurm is None:
        memory_gb = options.memory_mb / 1000
        plugin = WorkerPoolPlugin(work_dir, log_file, options.n_procs, memory_gb, progress.note)
    else:
        plugin = SlurmJobsPlugin(
            work_dir, log_dir, options.slurm, list(forecasts), status_callback=progress.note
        )

    def look_at(steps: Collection[Any]) -> None:
        before_start({software.place_of(step.output_dir(), work_dir)[0] for step in steps})

    plugin.start_from(work_dir, options.keep_work, look_at)
    failures = plugin.failures
    with progress.bars:
        try:
            workflow.run(plugin=plugin)
        except Exception as error:
            # nipype ends by raising what the first failed step raised; all others are done then.
            unfinished = plugin.unfinished()
            if not unfinished and not failures:
                raise
            if unfinished:
                failures += cut_short(error, unfinished, log_dir)
        finally:
            plugin.stop()
    return failures_by_subject(failures, list(forecasts), work_dir)
