"""Programs outside Python: how any of them is run, and images where it can read them.

A program has no standard input, a home of its own and an end that is certain; images are
uncompressed under a path that it can be told of, and never the user's own to write to.
"""

import gzip
import os
import re
import shutil
import signal
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from conceptrsa.bids_config.errors import InputError, StepError

CONTAINER_VARIABLE = "CONCEPTRSA_CONTAINER"
"""Set in the Docker images, to the name of the image's target."""
_IMAGES_WITH = {"SPM": ("octave", "spm"), "FreeSurfer": ("spm",)}
_WATCH = 'read -r _; kill -KILL -"$0"'
_GZIP_MAGIC = b"\x1f\x8b"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+:=@-]+")


def is_left_out(program: str) -> bool:
    """Whether this is a Docker image that does without a program, 'SPM' or 'FreeSurfer'."""
    image = os.environ.get(CONTAINER_VARIABLE)
    return bool(image) and image not in _IMAGES_WITH[program]


def how_to_get(program: str, otherwise: str, install: str) -> str:
    """Say how to get a program that was not found.

    Parameters
    ----------
    program : str
        'SPM' or 'FreeSurfer'.
    otherwise : str
        Option of the command line that does without it.
    install : str
        What to do outside of the Docker images.
    """
    image = os.environ.get(CONTAINER_VARIABLE)
    if is_left_out(program):
        others = " or ".join(f"'{name}'" for name in _IMAGES_WITH[program])
        return (
            f"the Docker image '{image}' does not include {program}: use the image {others} "
            f"(docker/README.md), or {otherwise}"
        )
    return f"{install}, or use {'' if image else 'the Docker image or '}{otherwise}"


class StoppedError(StepError):
    """A program was ended from outside: by the time limit, for lack of memory, by somebody."""


def run_logged(
    command: Sequence[str],
    folder: Path,
    log: Path,
    time_limit: float,
    n_threads: int = 1,
    variables: Mapping[str, str] = MappingProxyType({}),
    *,
    title: str = "The program",
    option: str = "time limit",
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
    variables : mapping of str to str
        Set in its environment.
    title : str
        What messages call it.
    option : str
        What sets its time limit.

    Returns
    -------
    int
        Exit code; minus the signal that killed it.

    Raises
    ------
    StoppedError
        If it does not end within its time.
    StepError
        If it cannot be started.
    """
    # Below the folder, so that it goes with it where this process is killed.
    home = Path(tempfile.mkdtemp(prefix="home-", dir=folder))
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    own = {"HOME": str(home), "MCR_CACHE_ROOT": str(home / "mcr")}
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **dict.fromkeys(threads, str(n_threads)), **own, **variables},
                start_new_session=True,
            )
        try:
            with _ended_with_this_process(process.pid):
                return process.wait(timeout=time_limit)
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    except subprocess.TimeoutExpired as error:
        raise StoppedError(
            f"{title} did not end within {time_limit / 60:g} minutes and was stopped; see "
            f"{real(log)}, and raise {option} if it was still working."
        ) from error
    except OSError as error:
        raise StepError(
            f"{title} cannot be started ({error.strerror}): try {command[0]} in a terminal."
        ) from error
    finally:
        shutil.rmtree(home, ignore_errors=True)


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


class Written:
    """Notes files before a program runs, and tells afterwards which of them it wrote.

    Parameters
    ----------
    paths : sequence of Path
        Files that it must write, whether they are there already or not.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._before = {path: _stamp(path) for path in paths}

    def require(self, title: str, hint: str = "") -> None:
        """Make sure that each was written since.

        Parameters
        ----------
        title : str
            What messages call the program.
        hint : str
            How the sentence goes on.

        Raises
        ------
        StepError
            If one is missing, empty or as it was.
        """
        for path, before in self._before.items():
            now = _stamp(path)
            if now is None or now == before:
                failed = "left no" if now is None else "did not change"
                raise StepError(f"{title} ended without an error, but {failed} {real(path)}{hint}")


def real(path: Path) -> Path:
    """Path by which a file is found later, when a link to its folder is gone."""
    return path.parent.resolve() / path.name


def _stamp(path: Path) -> tuple[int, int] | None:
    """Tell one state of a file from another; None where it is missing or empty."""
    if not path.exists():
        return None
    status = path.stat()
    return (status.st_mtime_ns, status.st_size) if status.st_size else None


def provide(source: Path, target: Path) -> None:
    """Have an image under an uncompressed name that is only read: unpacked, or linked to.

    Raises
    ------
    InputError
        If a compressed image is damaged.
    """
    if _is_gzip(source):
        copy(source, target)
    else:
        target.symlink_to(source.resolve())


def copy(source: Path, target: Path) -> None:
    """Copy an image, unpacked, that will be written to; the original is never touched.

    Raises
    ------
    InputError
        If a compressed image is damaged.
    """
    if not _is_gzip(source):
        shutil.copyfile(source, target)
        return
    try:
        with gzip.open(source, "rb") as packed, target.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, length=1 << 20)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{source} is damaged ({error}); copy it again.") from error


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == _GZIP_MAGIC


def remove_all(paths: Iterable[Path]) -> None:
    """Remove files that may or may not be there."""
    for path in paths:
        path.unlink(missing_ok=True)


def is_plain(path: Path) -> bool:
    """Tell whether a path has nothing in it that SPM's or FreeSurfer's scripts trip on.

    SPM's quote paths with ``'``, split lists of images at commas and blanks, and old runtimes
    garble what is not ASCII; FreeSurfer's quote nothing.
    """
    return _PLAIN_PATH.fullmatch(str(path)) is not None


@contextmanager
def plain_folder(folder: Path) -> Iterator[Path]:
    """Give a plain path to a folder: its own, or a link from the folder of temporary files.

    Raises
    ------
    StepError
        If even that folder has no plain path.
    """
    if is_plain(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="conceptrsa-") as temporary:
        link = Path(temporary) / "work"
        if not is_plain(link):
            raise StepError(
                f"{folder} and {temporary} have spaces, quotes or similar characters in their "
                "names, which SPM and FreeSurfer cannot read: set TMPDIR to a folder named with "
                "letters and digits."
            )
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield link
