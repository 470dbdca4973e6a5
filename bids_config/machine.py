"""Processors and memory that the machine, container or job lets this process use.

A container (`docker run --cpus 2 --memory 8g`) and a job of Slurm are control groups of Linux.
Their limits are seen neither in the number of processors nor in the size of the memory; they stand
in files of the group and of those above it, of which the tightest counts. Version 1 has a hierarchy
of groups for each resource, version 2 one for all, and some systems have both.
"""

import math
import operator
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from conceptrsa.bids_config.errors import InputError

Item = TypeVar("Item")
Found = TypeVar("Found")

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Variables that set the number of threads of numerical libraries."""
UNLIMITED_BYTES = 1 << 60
"""Version 1 gives a number above this where there is no limit."""


def available_processors(groups: Path = GROUPS, own_groups: Path = OWN_GROUPS) -> int:
    """Processor cores that this process may use: by its affinity, and by its control groups.

    Parameters
    ----------
    groups : Path
        Where the hierarchies of control groups are mounted.
    own_groups : Path
        File that says which groups this process is in.

    Returns
    -------
    int
        A quota such as 1.5 processors is rounded up.
    """
    limits = [
        math.ceil(quota) for group in _own(groups, own_groups, "cpu") for quota in _quotas(group)
    ]
    return max(1, min([_processors_by_affinity(), *limits]))


def limit_threads(groups: Path = GROUPS, own_groups: Path = OWN_GROUPS) -> None:
    """Have libraries start no more threads than there are processors for.

    They look at the affinity by themselves, but not at control groups: on 64 cores of which a
    container may use one, 64 threads would wait for each other. It has to be called before they are
    loaded; what the user has set stays. Parameters as for `available_processors`.
    """
    allowed = available_processors(groups, own_groups)
    if allowed < _processors_by_affinity():
        for name in THREAD_VARIABLES:
            os.environ.setdefault(name, str(allowed))


def _processors_by_affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory(groups: Path = GROUPS, own_groups: Path = OWN_GROUPS) -> int:
    """Memory that this process and those it starts may use together, in bytes.

    That is the memory of the machine, or less where a control group has a limit. Parameters as for
    `available_processors`.
    """
    limits = [
        limit for group in _own(groups, own_groups, "memory") for limit in _memory_limits(group)
    ]
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *limits])


def _own(groups: Path, own_groups: Path, resource: str) -> Iterator[Path]:
    """Folders of the groups that a resource of this process is limited by, outermost first.

    In a container the path of a group may be that of the machine outside, of which only the group
    of the container is mounted: at the root, which is always among the folders.
    """
    for line in _read(own_groups).splitlines():
        resources, _, path = line.partition(":")[2].partition(":")
        if not resources:
            mounts = [groups, groups / "unified"]
        elif resource in resources.split(","):
            mounts = [groups / resource, groups / resources]
        else:
            continue
        parts = [part for part in path.split("/") if part]
        if ".." in parts:  # a group outside of what this container sees
            parts = []
        for mount in mounts:
            for depth in range(len(parts) + 1):
                yield mount.joinpath(*parts[:depth])


def _quotas(group: Path) -> Iterator[float]:
    """Processors that a group may use, of version 2 and 1."""
    with suppress(ValueError, ZeroDivisionError):  # 'max', or nothing
        quota, period = _read(group / "cpu.max").split()
        yield int(quota) / int(period)
    with suppress(ValueError, ZeroDivisionError):
        microseconds = int(_read(group / "cpu.cfs_quota_us"))
        if microseconds > 0:
            yield microseconds / int(_read(group / "cpu.cfs_period_us"))


def _memory_limits(group: Path) -> Iterator[int]:
    """Bytes that a group may use, of version 2 and 1."""
    for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
        with suppress(ValueError):
            limit = int(_read(group / name))
            if limit < UNLIMITED_BYTES:
                yield limit


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


@dataclass(frozen=True)
class Share:
    """Share of the machine that some work may use, beside other work of this process.

    Attributes
    ----------
    n_processors : int
    memory : int
        In bytes.
    """

    n_processors: int
    memory: int


_SHARE: ContextVar[Share | None] = ContextVar("share", default=None)
_STOP: ContextVar[threading.Event | None] = ContextVar("stop", default=None)


def share_of_machine() -> Share:
    """Share of this thread: all that the process may use, unless that was divided."""
    return _SHARE.get() or Share(available_processors(), available_memory())


def share_for(n_jobs: int | None) -> Share:
    """Share of work with a given number of processors, as in joblib and scikit-learn.

    Parameters
    ----------
    n_jobs : int, optional
        -1: all of this process, -2: all but one, and so on; by default what there is.

    Raises
    ------
    InputError
        On 0, or what is no whole number.
    """
    share = share_of_machine()
    if n_jobs is None:
        return share
    try:
        n_jobs = operator.index(n_jobs)
    except TypeError:
        raise InputError(
            f"n_jobs = {n_jobs!r} is not a whole number: give 1 or more, or -1 for all processors"
        ) from None
    if n_jobs == 0:
        raise InputError("n_jobs = 0 is not possible: give 1 or more, or -1 for all processors")
    n_processors = n_jobs if n_jobs > 0 else max(1, available_processors() + 1 + n_jobs)
    return Share(n_processors, share.memory)


@contextmanager
def limited_to(share: Share) -> Iterator[None]:
    """Let the work of this thread use so much of the machine."""
    before = _SHARE.set(share)
    try:
        yield
    finally:
        _SHARE.reset(before)


class Stopped(Exception):
    """Work of another thread has ended what this thread works for."""


def end_if_stopped() -> None:
    """End a long call of `map_on_threads` here, if nobody waits for what it gives any more.

    Raises
    ------
    Stopped
        After an interrupt, or where another call has failed.
    """
    stop = _STOP.get()
    if stop is not None and stop.is_set():
        raise Stopped


def map_on_threads(
    function: Callable[[Item], Found],
    items: Iterable[Item],
    n_bytes: int = 0,
    in_turn: bool = False,
) -> list[Found]:
    """Call a function on all items and give a list; see `iterate_on_threads`."""
    return list(iterate_on_threads(function, items, n_bytes, in_turn))


def iterate_on_threads(
    function: Callable[[Item], Found],
    items: Iterable[Item],
    n_bytes: int = 0,
    in_turn: bool = False,
) -> Generator[Found, None, None]:
    """Call a function on all items, on as many threads as there are processors; results in order.

    What each call computes must not depend on the others. Where there are fewer items than
    processors, calls within a call share what is left of them. After an interrupt calls that have
    begun go on to where they next ask `end_if_stopped`, as calls within calls do.

    Parameters
    ----------
    function : callable
    items : iterable
    n_bytes : int
        What a call takes of the memory. On fewer threads where all would take more than half.
    in_turn : bool
        One call after the other, as for functions of the user, which may not run side by side.
    """
    items, share = list(items), share_of_machine()
    n_threads = 1 if in_turn else calls_at_once(len(items), n_bytes)
    if n_threads == 1:
        for item in items:
            end_if_stopped()
            yield function(item)
        return
    part = Share(share.n_processors // n_threads, share.memory // n_threads)
    outer = _STOP.get()
    stop = outer or threading.Event()

    def call(item: Item) -> Found:
        _STOP.set(stop)
        end_if_stopped()
        with limited_to(part):
            return function(item)

    with ThreadPoolExecutor(n_threads) as threads:
        try:
            yield from threads.map(call, items)
        except BaseException:
            # What is within another call is stopped by whoever made that one.
            if outer is None:
                stop.set()
            raise


def calls_at_once(n_items: int, n_bytes: int = 0) -> int:
    """Number of calls that `iterate_on_threads` makes side by side."""
    share = share_of_machine()
    n_threads = max(1, min(share.n_processors, n_items))
    if n_bytes and n_threads > 1:
        n_threads = max(1, min(n_threads, share.memory // (2 * n_bytes)))
    return n_threads


def default_cache_dir() -> Path:
    """Give the user's cache folder of this program (XDG base directory specification)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "conceptrsa"
