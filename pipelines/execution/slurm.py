"""A nipype plugin that makes every step a job of Slurm, and believes nothing it did not see."""

import hashlib
import json
import logging
import math
import pickle
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import format_exception
from typing import Any

from nipype.interfaces.utility import Merge
from nipype.pipeline.engine import MapNode

from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.python.data_sink import SaveDerivative
from conceptrsa.pipelines.execution.failures import Failure, FailureKeeper
from conceptrsa.pipelines.execution.slurm_queue import (
    JobState,
    SlurmUnreachableError,
    cancel,
    forget_jobs,
    job_states,
    living_jobs,
    note_jobs,
    submit,
)
from conceptrsa.pipelines.execution.tidying import TidyingPlugin
from conceptrsa.pipelines.execution.worker_pool import ONE_THREAD
from conceptrsa.pipelines.participant_options import SlurmSettings
from conceptrsa.pipelines.workflows import software

INTERPRETER_GB = 0.8
"""Memory of a Python process with all libraries of a step, rounded up."""
LIGHT_BYTES = 10_000_000
"""Files below are saved at once, larger ones by a job, as compressing takes seconds."""
LOOK_SECONDS = 5.0
"""Between two looks at the queue."""
PATIENCE_SECONDS = 60.0
"""Seconds until a result must be visible on a shared file system, and Slurm must answer."""
_AGAIN = "run the same command again to continue"
log = logging.getLogger(__name__)


@dataclass
class _Job:
    """A job that was submitted.

    Attributes
    ----------
    name : str
        Slurm's name of it.
    memory_mb : int
        What it asked for, unless `sbatch_args` say otherwise.
    step_dir, node_file, outcome_file : Path
        Working folder of the step; what the job reads, and the note that it leaves.
    submitted : float
        When (s, monotonic).
    result : dict, optional
        What became of a step that was done without a job, or whose job Slurm refused.
    over : float, optional
        When it was first seen to have ended, to be unknown, or to wait in vain (s, monotonic).
    """

    name: str
    memory_mb: int
    step_dir: Path
    node_file: Path
    outcome_file: Path
    submitted: float = 0.0
    result: dict[str, Any] | None = None
    over: float | None = None


class SlurmJobsPlugin(FailureKeeper, TidyingPlugin):
    """Every step a job of Slurm, but for those that take less than a job does.

    It differs from nipype's own SLURM plugin in what can go wrong. What a step did is told by a
    file of that very job, so that a cancelled job never passes an older result for its own. A
    job that is killed, refused, out of memory or time, or forgotten by Slurm fails its subject
    with a sentence and the others go on. An interrupt cancels the jobs; jobs that a killed run
    left are noted where the next run finds them.

    Parameters
    ----------
    work_dir : Path
        Working folder; shared by all machines.
    log_dir : Path
        Where the jobs' own logs go.
    settings : SlurmSettings
        From the user.
    subjects : sequence of str
        Labels of this run.
    status_callback : callable
        Called with the node and 'start', 'end' or 'exception'.
    """

    def __init__(
        self,
        work_dir: Path,
        log_dir: Path,
        settings: SlurmSettings,
        subjects: Sequence[str],
        status_callback: Callable[[Any, str], None],
    ) -> None:
        super().__init__({} if settings.max_jobs is None else {"max_jobs": settings.max_jobs})
        # Not among the arguments: nipype pickles those with every step.
        self._status_callback = status_callback
        self.failures: list[Failure] = []
        self._settings = settings
        self._log_dir = log_dir.resolve()
        self._jobs_dir = work_dir.resolve() / "slurm"
        self._noted_in = (log_dir.resolve(), work_dir.resolve())
        of_run = hashlib.sha256(str(self._jobs_dir).encode()).hexdigest()[:10]
        self._name_ends = {subject: f".sub-{subject}.conceptrsa-{of_run}" for subject in subjects}
        self._submitted: dict[int, _Job] = {}
        self._n_jobs = 0
        self._states: dict[int, JobState] = {}
        self._looked = -math.inf
        self._is_answering = True

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Submit the steps as what they need is there, and wait for them all."""
        note_jobs(self._noted_in, self._name_ends)
        for subject in self._name_ends:
            shutil.rmtree(self._job_dir(subject), ignore_errors=True)
        (self._log_dir / "slurm").mkdir(parents=True, exist_ok=True)
        super().run(graph, config, updatehash)

    def stop(self) -> None:
        """Cancel all jobs that are left."""
        try:
            if self._n_jobs > 0:
                cancel(living_jobs(self._name_ends.values()))
            forget_jobs(self._noted_in, self._name_ends)
        except SlurmUnreachableError as error:
            log.warning(
                "jobs may still be in the queue (%s); cancel them with scancel, or let the next "
                "run do so",
                error,
            )

    def _job_dir(self, subject: str) -> Path:
        return self._jobs_dir / f"sub-{subject}"

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        subject, _ = software.place_of(node.output_dir(), self._jobs_dir.parent)
        self._n_jobs += 1
        step = re.sub(r"[^A-Za-z0-9_-]", "_", str(node.name)).strip("_")
        stem = self._job_dir(subject) / f"{self._n_jobs:06d}-{step}"
        job = _Job(
            step + self._name_ends[subject],
            math.ceil(1000 * (node.mem_gb + INTERPRETER_GB)),
            Path(node.output_dir()),
            stem.with_suffix(".pkl"),
            stem.with_suffix(".json"),
        )
        number = -self._n_jobs
        try:
            if is_light(node):
                node.run(updatehash=updatehash)
                job.result = {"result": None, "traceback": None}
            else:
                number = self._submit(job, node, updatehash)
        except Exception as error:
            job.result = {"result": None, "traceback": format_exception(error)}
        job.submitted = time.monotonic()
        self._submitted[number] = job
        return number

    def _submit(self, job: _Job, node: Any, updatehash: bool) -> int:
        content = pickle.dumps((node, updatehash))
        with atomic_path(job.node_file) as temporary:
            temporary.write_bytes(content)
        log_file = str(self._log_dir / "slurm" / job.name).replace("%", "%%")
        arguments = [
            f"--mem={job.memory_mb}M",
            "--nodes=1",
            "--ntasks=1",
            f"--cpus-per-task={node.n_procs}",
            *shlex.split(self._settings.sbatch_args),
            # By these the jobs and what they said are found again; so the user's come before.
            f"--job-name={job.name}",
            f"--output={log_file}-%j.log",
            f"--chdir={self._jobs_dir}",
        ]
        sha256 = hashlib.sha256(content).hexdigest()
        command = [
            sys.executable, "-P", "-m", "conceptrsa.pipelines.execution.slurm_job",
            str(job.node_file), sha256, str(job.outcome_file),
        ]  # fmt: skip
        script = [
            self._settings.template,
            *(f"export {name}={value}" for name, value in ONE_THREAD.items()),
            "export NIPYPE_NO_ET=1",
            f"exec {shlex.join(command)}\n",
        ]
        settings = self._settings
        return submit(arguments, "\n".join(script), settings.max_tries, settings.retry_timeout)

    def _get_result(self, taskid: int) -> dict[str, Any] | None:
        job = self._submitted[taskid]
        if job.result is not None:
            return job.result
        outcome = _read_outcome(job)
        if outcome is not None:
            return outcome
        self._look()
        if self._looked < job.submitted:
            return None
        state = self._states.get(taskid)
        if state is not None and state.is_alive and not state.is_hopeless:
            job.over = None
            return None
        if job.over is None:
            job.over = time.monotonic()
        may_change = state is None or state.is_hopeless or state.state == "COMPLETED"
        if may_change and time.monotonic() - job.over < PATIENCE_SECONDS:
            return None
        if state is not None and state.is_hopeless:
            try:
                cancel([taskid])
            except SlurmUnreachableError as error:
                log.warning("job %d may still be in the queue (%s)", taskid, error)
            return _failed(
                f"Slurm will never start job {taskid} ({state.reason}); correct 'sbatch_args' in "
                "the file of --use-plugin, or --omp-nthreads"
            )
        return _read_outcome(job) or _failed(self._how_it_ended(taskid, job, state))

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        submitted = [number for number in self._submitted if number > 0]
        try:
            self._states = job_states(submitted)
            if not self._is_answering:
                log.info("Slurm answers again")
            self._is_answering = True
        except SlurmUnreachableError as error:
            if self._is_answering:
                log.warning("Slurm does not answer (%s); the run waits", error)
            self._is_answering = False
            # What cannot be asked after is taken to be running.
            self._states = dict.fromkeys(submitted, JobState("RUNNING", "unknown"))

    def _how_it_ended(self, number: int, job: _Job, state: JobState | None) -> str:
        log_file = self._log_dir / "slurm" / f"{job.name}-{number}.log"
        if state is None:
            return f"Slurm no longer lists job {number}, which left no result; {_AGAIN}"
        endings = {
            "CANCELLED": f"job {number} was cancelled; {_AGAIN}",
            "OUT_OF_MEMORY": f"job {number} ran out of memory ({job.memory_mb} MB "
            "unless 'sbatch_args' say otherwise); raise it with --mem=... in 'sbatch_args' of the "
            f"file of --use-plugin, and {_AGAIN}",
            "TIMEOUT": f"job {number} reached its time limit; raise it with --time=... in "
            f"'sbatch_args' of the file of --use-plugin, and {_AGAIN}",
            "COMPLETED": f"job {number} ended without a result (its log: {log_file}); {_AGAIN}",
            "NODE_FAIL": f"the machine that ran job {number} failed; {_AGAIN}",
        }
        return endings.get(
            state.state,
            f"job {number} was killed or could not start (Slurm: {state.state}, {state.reason}; "
            f"its log: {log_file}); {_AGAIN}",
        )

    def _clear_task(self, taskid: int) -> None:
        job = self._submitted.pop(taskid)
        job.node_file.unlink(missing_ok=True)
        job.outcome_file.unlink(missing_ok=True)


def is_light(node: Any) -> bool:
    """Whether a step takes less than a job would: a small file to copy, results to collect."""
    if isinstance(node, MapNode) and node.num_subnodes() > 1:
        return True
    if isinstance(node.interface, Merge):
        return True
    if not isinstance(node.interface, SaveDerivative):
        return False
    node._get_inputs()
    files = node.inputs.in_file
    paths = [Path(file) for file in ([files] if isinstance(files, str) else files)]
    return all(path.is_file() and path.stat().st_size < LIGHT_BYTES for path in paths)


def _failed(sentence: str) -> dict[str, Any]:
    # nipype adds lines to a traceback, which has to be a list therefore.
    return {"result": None, "traceback": [f"StepError: {sentence}\n"]}


def _read_outcome(job: _Job) -> dict[str, Any] | None:
    try:
        outcome = json.loads(job.outcome_file.read_text())
    except FileNotFoundError:
        return None
    if outcome["traceback"] is not None:
        return {"result": None, "traceback": outcome["traceback"].splitlines(keepends=True)}
    # A shared file system may show the note before the result that was written before it; that
    # the folder is listed makes it look again.
    if not any(job.step_dir.glob("result_*.pklz")):
        return None
    return {"result": None, "traceback": None}
