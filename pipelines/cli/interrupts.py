"""Stop a command cleanly on Ctrl-C or a termination signal.

`docker stop`, Slurm and the shutdown of a machine send SIGTERM. Python would die of it without
cleaning up, and as the first process of a container it would ignore it. Here it does what Ctrl-C
does: running steps are ended, temporary files are removed, and the same command continues later.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM."""


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Give the exit code of an interrupted command: 128 plus the signal's number."""
    number = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
    return 128 + number


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the main thread; elsewhere signals cannot be handled."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
