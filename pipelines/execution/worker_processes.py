"""Processes that do part of a run's work: they end with the run, and leave interrupts to it.

Ctrl-C on a terminal reaches all its processes at once. The main process alone answers it; a worker
that answered, too, would print a traceback in the middle of its work.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

INTERRUPTS = {signal.SIGINT, signal.SIGTERM}


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Start workers: neither this process nor they are interrupted meanwhile.

    They hold interrupts back, too, until they call `start_worker`. A worker that is started by half
    would complain.
    """
    received: list[int] = []
    # The mask is what workers inherit; here a thread that has none may take the signal.
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for number in INTERRUPTS:
            handlers[number] = signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        if received:
            signal.raise_signal(received[0])


def start_worker() -> None:
    """Make the process a worker: the first that it does."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTS)


def die_with_parent() -> None:
    """Ask the kernel (Linux) to kill this process when its parent dies, however it dies.

    A process of `multiprocessing` whose parent died while it was starting ends at once.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        os._exit(1)


def kill_workers(pool: ProcessPoolExecutor) -> None:
    """Kill the processes of a pool, at work or not."""
    for process in list((pool._processes or {}).values()):
        process.kill()
    # Python before 3.11.6 waits at its end until somebody reads what is being sent to a worker.
    queue = getattr(pool, "_call_queue", None)
    if queue is not None:
        queue._reader.close()
