"""One program outside Python: no standard input, its own home, an end that is certain."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from conceptrsa.bids_config.errors import StepError

_WATCH = 'read -r _; kill -KILL -"$0"'


class OutOfTimeError(StepError):
    """A program did not end within its time and was stopped."""


class NotStartedError(StepError):
    """A program could not be started."""


def run_logged(
    command: Sequence[str],
    folder: Path,
    log: Path,
    time_limit: float,
    n_threads: int = 1,
    variables: Mapping[str, str] | None = None,
) -> int:
    """Run a command to its end, its messages going to a file.

    Concurrent MATLAB Runtimes damage each other's cache, so each process gets a home and a cache of
    its own; whatever asks for input gets none; and no process outlives the time limit or the
    program that started it, however that ends.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; no shell reads them.
    folder : Path
        Working directory.
    log : Path
        Standard output and standard error.
    time_limit : float
        In seconds.
    n_threads : int
        Processors for its matrix products.
    variables : mapping of str to str, optional
        Set in its environment.

    Returns
    -------
    int
        Exit code; minus the signal that killed it.

    Raises
    ------
    NotStartedError, OutOfTimeError
        The caller knows what to do, and says so.
    """
    # Below the folder, so that it goes with it where this process is killed.
    home = Path(tempfile.mkdtemp(prefix="home-", dir=folder))
    try:
        with log.open("wb") as output:
            process = _start(
                command, folder, output, {**_environment(home, n_threads), **(variables or {})}
            )
            try:
                with _ended_with_this_process(process.pid):
                    return process.wait(timeout=time_limit)
            except subprocess.TimeoutExpired as error:
                raise OutOfTimeError(
                    f"{command[0]} did not end within {time_limit / 60:g} minutes"
                ) from error
            finally:
                _kill_group(process)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _start(
    command: Sequence[str], folder: Path, output: BinaryIO, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise NotStartedError(f"{command[0]} cannot be started ({error.strerror})") from error


def _environment(home: Path, n_threads: int) -> dict[str, str]:
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(n_threads)
    )
    return {**os.environ, **threads, "HOME": str(home), "MCR_CACHE_ROOT": str(home / "mcr")}


@contextmanager
def _ended_with_this_process(group: int) -> Iterator[None]:
    """Have a process group killed as soon as this process is gone, even if it was killed.

    A shell waits on a pipe that only this process holds open: `run_spm12.sh` is a script whose
    child would live on if only the script were told.
    """
    watch = subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, str(group)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        watch.kill()
        watch.communicate()


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
