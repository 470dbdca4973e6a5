"""A nipype plugin on local processes that neither hangs, nor outlives its parent, nor hides why."""

import gc
import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from conceptrsa.bids_config.machine import THREAD_VARIABLES
from conceptrsa.pipelines.execution.failures import Failure, FailureKeeper
from conceptrsa.pipelines.execution.tidying import TidyingPlugin
from conceptrsa.pipelines.execution.worker_processes import (
    interrupts_held_back,
    kill_workers,
    start_worker,
)

ONE_THREAD = dict.fromkeys(THREAD_VARIABLES, "1")
NIPYPE_LOGGERS = ("nipype", "nipype.workflow", "nipype.interface", "nipype.utils")
_KILLED = (
    "StepError: this step was killed while running alone, perhaps for lack of memory; run the same "
    "command again to continue, with more memory if that was the cause"
)
log = logging.getLogger(__name__)


class _LogFile(logging.FileHandler):
    """A full disk fails the step that needs it, and need not be complained of at every message.

    Nor does a folder that was removed: the log file is opened when there is something to write.
    """

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        pass


def log_to_file(log_file: Path) -> None:
    """Send nipype's messages to a file and nowhere else."""
    handler = _LogFile(log_file, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    for name in NIPYPE_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name == "nipype" else []


def _start_worker(work_dir: Path, log_file: Path) -> None:
    start_worker()
    os.environ["NIPYPE_NO_ET"] = "1"
    os.chdir(work_dir)
    log_to_file(log_file)


class WorkerPoolPlugin(FailureKeeper, TidyingPlugin, MultiProcPlugin):
    """nipype's MultiProc with three faults corrected.

    A worker that is killed fails its step (nipype waits for it for ever) and no other; workers die
    with their parent (nipype's go on and damage a run started afterwards); and what went wrong is
    kept as a sentence per step.

    When a worker dies, the pool ends all others and does not tell whose step it was. So the steps
    that were in flight are done again one after the other, and nothing else meanwhile: a step that
    was alone when the pool broke is to blame.

    Parameters
    ----------
    work_dir : Path
        Working folder of the workers.
    log_file : Path
        Where nipype's messages go.
    n_procs : int
        Number of processes.
    memory_gb : float
        Steps are started only as long as their estimates sum to less than this.
    status_callback : callable
        Called with the node and 'start', 'end' or 'exception'.
    """

    def __init__(
        self,
        work_dir: Path,
        log_file: Path,
        n_procs: int,
        memory_gb: float,
        status_callback: Callable[[Any, str], None],
    ) -> None:
        super().__init__({
            "n_procs": n_procs,
            "memory_gb": memory_gb,
            "raise_insufficient": False,
        })  # fmt: skip
        # A step is one processor's work: threads below it would only compete with other steps.
        os.environ.update(ONE_THREAD)
        # Not among the arguments: nipype pickles those with every step.
        self._status_callback = status_callback
        self.failures: list[Failure] = []
        self._steps: dict[int, tuple[Any, bool]] = {}
        self._felled: list[int] = []
        self._to_repeat: deque[int] = deque()
        self._alone: Future[dict[str, Any]] | None = None
        self._make_pool = partial(
            ProcessPoolExecutor,
            max_workers=n_procs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(work_dir, log_file),
        )
        self.pool.shutdown()
        self.pool: ProcessPoolExecutor = self._make_pool()

    def _prerun_check(self, graph: Any) -> None:
        super()._prerun_check(graph)
        # nipype collects garbage before each step: 0.15 s if it looks through all that is loaded.
        gc.freeze()
        for name in sorted({node.name for node in graph if node.mem_gb > self.memory_gb}):
            most = max(node.mem_gb for node in graph if node.name == name)
            log.warning(
                "%s may need %.1f GB, more than the %.1f GB of --mem-mb; it runs alone",
                name.replace("_", " "), most, self.memory_gb,
            )  # fmt: skip

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid: int = self._taskid + 1
        self._steps[self._taskid] = (node, updatehash)
        self._submit(self._taskid)
        return self._taskid

    def _submit(self, taskid: int) -> "Future[dict[str, Any]]":
        step = partial(run_node, *self._steps[taskid], taskid)
        with interrupts_held_back():
            try:
                future = self.pool.submit(step)
            except BrokenProcessPool:
                self._mend_pool()
                future = self.pool.submit(step)
        self._watch_new_worker()
        self._task_obj[taskid] = future
        future.add_done_callback(partial(self._keep_result, taskid))
        return future

    def _watch_new_worker(self) -> None:
        """Have the pool look at its workers again.

        Its thread is woken before a worker is started for a step, so it may have begun to wait for
        the other workers only, and would not notice that this one dies.
        """
        with self.pool._shutdown_lock:
            if self.pool._executor_manager_thread_wakeup is not None:
                self.pool._executor_manager_thread_wakeup.wakeup()

    def _keep_result(self, taskid: int, future: "Future[dict[str, Any]]") -> None:
        """Called when a step has ended, by a thread of the pool."""
        error = None if future.cancelled() else future.exception()
        if isinstance(error, BrokenProcessPool):
            self._felled.append(taskid)
        elif future.cancelled() or error is not None:
            self._fail(taskid, _KILLED if error is None else f"{type(error).__name__}: {error}")
        else:
            self._taskresult[taskid] = future.result()

    def _fail(self, taskid: int, sentence: str) -> None:
        self._taskresult[taskid] = {"result": None, "traceback": [sentence], "taskid": taskid}

    def _mend_pool(self) -> None:
        """Make another pool in place of one that broke."""
        kill_workers(self.pool)
        self.pool.shutdown()  # until its thread has ended, which has told of every step by then
        felled, self._felled = self._felled, []
        if len(felled) == 1:
            self._fail(felled[0], _KILLED)
        elif felled:
            log.warning(
                "a process was killed; its step and those running beside it are repeated one at a "
                "time"
            )
            self._to_repeat.extend(felled)
        self.pool = self._make_pool()

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        if self._felled:
            self._mend_pool()
        if self._alone is not None and self._alone.done():
            self._alone = None
        if not self._to_repeat and self._alone is None:
            super()._send_procs_to_workers(updatehash, graph)
        elif self._to_repeat and all(future.done() for future in self._task_obj.values()):
            self._alone = self._submit(self._to_repeat.popleft())

    def _clear_task(self, taskid: int) -> None:
        super()._clear_task(taskid)
        del self._steps[taskid]

    def stop(self) -> None:
        """Kill the workers at once."""
        gc.unfreeze()
        kill_workers(self.pool)
        self.pool.shutdown(wait=False, cancel_futures=True)
