"""Running a workflow: resources, working folder, messages, and what became of each subject."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.pipeline.engine import MapNode, Workflow
from rich.console import Console

from pipelines.progress import RunProgress, node_place
from pipelines.worker_pool import Failure, WorkerPoolPlugin, log_to_file

# Expected times of the steps, relative to each other; a step not named here takes next to none.
RUN_WORK: Mapping[str, float] = {"slice timing": 1.0, "estimate betas": 2.0}
REALIGN_WORK_PER_RUN = 8.0
SUBJECT_WORK: Mapping[str, float] = {"coregister": 20.0, "normalize": 20.0}


@dataclass(frozen=True)
class Resources:
    """What a run may use.

    Attributes
    ----------
    n_procs : int
        Processes at once.
    memory_gb : float
        Memory of all together.
    """

    n_procs: int
    memory_gb: float


def run_workflow(
    workflow: Workflow,
    n_runs: Mapping[str, int],
    resources: Resources,
    log_dir: Path,
    console: Console,
) -> dict[str, list[Failure]]:
    """Run the participant workflows and say what failed.

    Parameters
    ----------
    workflow : Workflow
        Made by `init_dataset_wf`.
    n_runs : mapping of str to int
        Subject to its number of runs.
    resources : Resources
        Processes and memory.
    log_dir : Path
        For nipype's log and crash files.
    console : Console
        Where progress is shown.

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
        poll_sleep_duration="0.1",
        remove_unnecessary_outputs="false",
        create_report="false",
        stop_on_first_crash="false",
    )
    root = str(work_dir.resolve())
    expanded: set[tuple[str, str]] = set()
    progress = RunProgress({name: _subject_work(runs) for name, runs in n_runs.items()}, console)

    def show(node: Any, status: str) -> None:
        subject, step = node_place(node, root)
        if isinstance(node, MapNode) and (subject, step) in expanded:
            return
        if "/mapflow/" in node.output_dir():
            expanded.add((subject, step))
        progress.update(subject, step, _step_work(step, n_runs[subject]), status)

    plugin = WorkerPoolPlugin(
        work_dir, log_file, resources.n_procs, resources.memory_gb, status_callback=show
    )
    with progress:
        try:
            workflow.run(plugin=plugin)
        except Exception:
            if not plugin.failures:
                raise
        finally:
            plugin.stop()
    return _failures_by_subject(plugin.failures, list(n_runs), work_dir)


def _step_work(step: str, n_runs: int) -> float:
    if step == "realign":
        return REALIGN_WORK_PER_RUN * n_runs
    return RUN_WORK.get(step, 0.0) + SUBJECT_WORK.get(step, 0.0)


def _subject_work(n_runs: int) -> float:
    per_run = sum(RUN_WORK.values()) + REALIGN_WORK_PER_RUN
    return n_runs * per_run + sum(SUBJECT_WORK.values())


def _failures_by_subject(
    failures: Sequence[Failure], subjects: Sequence[str], work_dir: Path
) -> dict[str, list[Failure]]:
    by_subject: dict[str, list[Failure]] = {subject: [] for subject in subjects}
    for failure in failures:
        parts = failure.step_dir.relative_to(work_dir.resolve()).parts
        subject = next(part for part in parts if part.startswith("sub_"))
        by_subject[subject.removeprefix("sub_").removesuffix("_wf")].append(failure)
    return by_subject
