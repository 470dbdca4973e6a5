"""Temporal signal-to-noise ratio of a run."""

import numpy as np
from numpy.typing import NDArray

from conceptrsa.interfaces.numerics.time_series import TimeSeries

NEGLIGIBLE = 1e-9
"""Share of a voxel's variation that may be rounding."""


def temporal_snr(run: TimeSeries) -> NDArray[np.float32]:
    """Mean over time divided by the standard deviation about a straight line.

    The line takes the scanner's linear drift out of the noise; slower and faster fluctuations
    stay in it. Volumes are read one at a time.

    Parameters
    ----------
    run : TimeSeries
        A realigned run.

    Returns
    -------
    ndarray of float32, shape (i, j, k)
        0 where nothing varies, where the mean is not above 0, and for fewer than three volumes.
    """
    volumes = run.volumes()
    first = volumes[0].astype(np.float64)
    total, along_time, squares = (np.zeros(run.grid) for _ in range(3))
    times = np.arange(run.n_volumes) - (run.n_volumes - 1) / 2
    for index, time in enumerate(times):
        # Differences from the first volume keep the sums of squares small, and so exact.
        change = volumes[index] - first
        total += change
        along_time += time * change
        squares += change * change
    if run.n_volumes < 3:
        return np.zeros(run.grid, dtype=np.float32)
    residual = squares - total**2 / run.n_volumes - along_time**2 / (times @ times)
    mean = first + total / run.n_volumes
    good = (residual > NEGLIGIBLE * squares) & (mean > 0)
    deviation = np.sqrt(np.where(good, residual, 1.0) / (run.n_volumes - 2))
    return np.where(good, mean / deviation, 0.0).astype(np.float32)
