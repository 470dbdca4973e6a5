"""The sweep of Figure 1 beside the paper's loop.

    python -m benchmarks.speed_sweep

The paper's loop is timed on numbers of voxels spread evenly over 3 to 2000 and scaled up to all
of them; its work is the same for every number but for the sorting of voxels and the distances,
which grow with it no more than linearly.
"""

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from scipy.stats import pearsonr, spearmanr
from threadpoolctl import threadpool_limits

from benchmarks.timing import Comparison, best_time
from conceptrsa.analysis.brain.voxel_selection import max_beta, rank_voxels
from conceptrsa.analysis.rsa.ceiling_sweep import CeilingSweep, draw_orders, sweep_ceiling
from conceptrsa.analysis.rsa.nested_ceilings import ceilings_of_orders
from conceptrsa.analysis.settings import ComparisonSettings

N_SUBJECTS, N_STIMULI, N_VOXELS = 5, 50, 2000
N_TIMED = 20
REQUIRED = {"pearson": 2000.0, "spearman": 200.0}
TOLERANCE = 1e-12

ROI_SIZES = (1900, 1000, 900, 900, 450, 450, 650, 330, 320, 700, 400, 400)
"""Voxels of the 12 regions, 700 on average."""

LIMIT_OF_FIGURE = 20.0
"""Seconds that the complete figure may take."""

Betas = list[NDArray[np.float64]]


@dataclass(frozen=True)
class Timing:
    """Work that has a limit but nothing to be compared with.

    Attributes
    ----------
    work : str
    seconds, limit : float
    """

    work: str
    seconds: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.seconds <= self.limit


def betas(n_voxels: int, seed: int = 0) -> Betas:
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal((N_STIMULI, 8))
    return [
        0.3 * signal @ rng.standard_normal((8, n_voxels))
        + rng.standard_normal((N_STIMULI, n_voxels))
        for _ in range(N_SUBJECTS)
    ]


def paper_loop(
    subjects: Betas, sizes: NDArray[np.intp], metric: str, random: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Ceilings (2, sizes, subjects) as the paper's loop comes to them, top and random.

    For every number of voxels: each voxel's highest beta anew, all RDMs anew, each of them twice
    (once to see whether it holds a NaN), and all ceilings twice (once for the mean, once for the
    standard error). The random voxels are given, so that the numbers can be compared.
    """
    correlate = {"pearson": pearsonr, "spearman": spearmanr}[metric]

    def rdm(values: NDArray[np.float64]) -> NDArray[np.float64]:
        assert not np.isnan(pdist(values, "correlation")).any()
        return pdist(values, "correlation")

    def ceilings(rdms: Betas) -> list[float]:
        return [
            np.mean([correlate(rdms[j], rdms[i])[0] for j in range(len(rdms)) if j != i])
            for i in range(len(rdms))
        ]

    found = np.empty((2, len(sizes), len(subjects)))
    for row, size in enumerate(sizes):
        top, drawn = [], []
        for values, order in zip(subjects, random, strict=True):
            scores = [values[:, voxel].max() for voxel in range(values.shape[1])]
            top.append(rdm(values[:, np.argsort(scores)[-size:]]))
            drawn.append(rdm(values[:, order[:size]]))
        for kind, rdms in enumerate((top, drawn)):
            mean, again = ceilings(rdms), ceilings(rdms)
            assert mean == again
            found[kind, row] = mean
    return found


def sweep(subjects: Betas, metric: str) -> CeilingSweep:
    settings = ComparisonSettings(rsa_metric=metric, n_random_draws=1, sweep_dense_until=N_VOXELS)
    orders = [rank_voxels(max_beta(values)) for values in subjects]
    return sweep_ceiling("visual", subjects, orders, settings)


def compare_with_paper(metric: str) -> Comparison:
    """Time one region's sweep over every number of voxels in both ways."""
    subjects = betas(N_VOXELS)
    fast_seconds, found = best_time(lambda: sweep(subjects, metric), 5)
    rows = np.linspace(0, len(found.n_voxels) - 1, N_TIMED).round().astype(int)
    generator = np.random.default_rng(0)
    random = draw_orders(subjects, N_VOXELS, 1, generator)
    slow_seconds, expected = best_time(
        lambda: paper_loop(subjects, found.n_voxels[rows], metric, random[0]), 1
    )
    of_random = ceilings_of_orders(subjects, random, found.n_voxels, "correlation", metric)
    differences = (
        found.top.pairwise[rows] - expected[0],
        of_random.pairwise[0, rows] - expected[1],
    )
    return Comparison(
        work=(
            f"Figure 1, one region: {N_VOXELS} voxels, {N_STIMULI} images, {N_SUBJECTS} subjects, "
            f"every N from 3, top and one random draw, {metric.capitalize()}"
        ),
        slow=f"the paper's loop ({N_TIMED} of {len(found.n_voxels)} N, scaled up)",
        fast="this tool, one thread" + ("" if _has_numba() else ", without numba"),
        slow_seconds=slow_seconds * len(found.n_voxels) / N_TIMED,
        fast_seconds=fast_seconds,
        required_ratio=REQUIRED[metric],
        difference=float(max(np.abs(difference).max() for difference in differences)),
        tolerance=TOLERANCE,
    )


def time_figure_1(n_draws: int = 100) -> Timing:
    """Time the complete figure: 12 regions, every number of voxels, top and random draws."""
    regions = [betas(n_voxels, seed) for seed, n_voxels in enumerate(ROI_SIZES)]
    settings = ComparisonSettings(n_random_draws=n_draws, sweep_dense_until=max(ROI_SIZES))

    def figure() -> None:
        for number, subjects in enumerate(regions):
            orders = [rank_voxels(max_beta(values)) for values in subjects]
            sweep_ceiling(f"region {number}", subjects, orders, settings)

    seconds, _ = best_time(figure, 1)
    return Timing(
        f"the complete Figure 1: {len(ROI_SIZES)} regions of {np.mean(ROI_SIZES):.0f} voxels on "
        f"average, every N from 3, top and {n_draws} random draws, Pearson",
        seconds,
        LIMIT_OF_FIGURE,
    )


def measure() -> list[Comparison]:
    """Both comparisons with the paper's loop."""
    with threadpool_limits(limits=1):
        return [compare_with_paper(metric) for metric in REQUIRED]


def _has_numba() -> bool:
    from conceptrsa.analysis.rsa import nested_ceilings

    return nested_ceilings._kernels() is not None


def main() -> int:
    passed = True
    for comparison in measure():
        passed &= comparison.passed
        print(comparison.work)
        print(f"  {comparison.slow}: {comparison.slow_seconds:.1f} s")
        print(f"  {comparison.fast}: {comparison.fast_seconds:.4f} s")
        print(f"  {comparison.ratio:.0f} times faster (required: {comparison.required_ratio:.0f})")
        print(f"  largest difference {comparison.difference:.1e} (allowed: {comparison.tolerance})")
    figure = time_figure_1()
    print(f"{figure.work}: {figure.seconds:.1f} s (limit {figure.limit:.0f} s)")
    return 0 if passed and figure.passed else 1


if __name__ == "__main__":
    sys.exit(main())
