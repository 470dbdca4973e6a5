"""Runs grouped into the partitions whose noise is independent, as crossnobis distances need them.

Where each picture is shown once a run, slow directions of a single run's betas are nearly
undetermined (`conceptrsa.interfaces.numerics.pooling`), and a distance from such betas is little
but noise. A partition of a few runs, pooled jointly, does not have that.
"""

from collections.abc import Sequence
from itertools import chain, zip_longest

RUNS_PER_PARTITION = 3
"""By default: the fewest whose pooled betas have nearly the precision of all runs pooled."""


def partition_runs(n_runs: int, runs_per_partition: int) -> tuple[tuple[int, ...], ...]:
    """Group runs, odd and even ones apart, so that halves of the runs are partitions as well.

    Parameters
    ----------
    n_runs : int
    runs_per_partition : int
        At least as many are in a partition, unless a half of the runs has fewer.

    Returns
    -------
    tuple of tuple of int
        Runs of each partition, counted from 0: of the 1st, 3rd, ... runs in the 1st, 3rd, ...
        partition, of the others in the others. Within a half they take turns, so that each
        partition spans all of the experiment.

    Examples
    --------
    >>> partition_runs(7, 1)
    ((0,), (1,), (2,), (3,), (4,), (5,), (6,))
    >>> partition_runs(9, 2)
    ((0, 4, 8), (1, 5), (2, 6), (3, 7))
    """
    halves = [_groups(range(first, n_runs, 2), runs_per_partition) for first in (0, 1)]
    return tuple(group for group in chain(*zip_longest(*halves)) if group)


def _groups(runs: Sequence[int], size: int) -> list[tuple[int, ...]]:
    n_groups = max(1, len(runs) // size)
    return [tuple(runs[first::n_groups]) for first in range(n_groups)]
