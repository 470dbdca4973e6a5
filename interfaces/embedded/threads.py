"""Work in threads whose result does not depend on their number."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], n_threads: int
) -> Iterator[Result]:
    """Apply a function in threads, give the results in order, stop at the first exception.

    Threads suffice because NumPy's products and SciPy's interpolations let others run.

    Parameters
    ----------
    function : callable
        Of one item.
    items : iterable
    n_threads : int

    Yields
    ------
    object
        What `function` gave, in the order of `items`.
    """
    executor = ThreadPoolExecutor(n_threads)
    try:
        yield from executor.map(function, items)
    finally:
        executor.shutdown(cancel_futures=True)
