"""Crossnobis distances in closed form against rsatoolbox, on one thread.

rsatoolbox has two ways to them. `calc_rdm_unbalanced` goes through all pairs of measurements of
different runs. `calc_rdm` leaves out one run after the other; it multiplies by the (voxels x
voxels) precision matrix, the identity where none is given, which takes 40 times as many operations
as the closed form. As both spend nearly all their time in matrix products, the ratio cannot be much
greater than that.
"""

import warnings

import numpy as np
import rsatoolbox
from threadpoolctl import threadpool_limits

from benchmarks.timing import Comparison, best_time
from conceptrsa.analysis.rsa.distances import crossnobis_rdm

N_RUNS, N_STIMULI, N_VOXELS = 35, 50, 2000
N_RESIDUALS = 4000
TOLERANCE = 1e-10
"""Of the largest distance."""


def measure() -> list[Comparison]:
    """Time 35 runs of 50 stimuli in 2000 voxels, without and with the covariance of noise."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((N_STIMULI, N_VOXELS))
    runs = signal + 3 * rng.standard_normal((N_RUNS, N_STIMULI, N_VOXELS))
    residuals = rng.standard_normal((N_RESIDUALS, N_VOXELS))
    residuals += rng.standard_normal((N_RESIDUALS, 1))
    covariance = np.cov(residuals.T)
    precision = np.linalg.inv(covariance)
    dataset = rsatoolbox.data.Dataset(
        runs.reshape(-1, N_VOXELS),
        obs_descriptors={
            "stimulus": np.tile(np.arange(N_STIMULI), N_RUNS),
            "run": np.repeat(np.arange(N_RUNS), N_STIMULI),
        },
    )
    names = {"method": "crossnobis", "descriptor": "stimulus", "cv_descriptor": "run"}

    def all_pairs() -> np.ndarray:
        return rsatoolbox.rdm.calc_rdm_unbalanced(dataset, **names).dissimilarities[0]

    def leave_one_out(noise: np.ndarray | None = None) -> np.ndarray:
        return rsatoolbox.rdm.calc_rdm(dataset, noise=noise, **names).dissimilarities[0]

    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        pairs_seconds, of_pairs = best_time(all_pairs, repetitions=1)
        folds_seconds, of_folds = best_time(leave_one_out)
        noise_seconds, of_noise = best_time(lambda: leave_one_out(precision))
        fast_seconds, fast = best_time(lambda: crossnobis_rdm(runs), repetitions=10)
        whitened_seconds, whitened = best_time(lambda: crossnobis_rdm(runs, covariance))
    work = f"crossnobis, {N_RUNS} runs x {N_STIMULI} stimuli x {N_VOXELS} voxels"
    return [
        Comparison(
            work,
            "rsatoolbox calc_rdm_unbalanced",
            "closed form",
            pairs_seconds,
            fast_seconds,
            200,
            _difference(fast, of_pairs),
            TOLERANCE,
        ),
        Comparison(
            work,
            "rsatoolbox calc_rdm",
            "closed form",
            folds_seconds,
            fast_seconds,
            40,
            _difference(fast, of_folds),
            TOLERANCE,
        ),
        Comparison(
            f"{work}, with the covariance of noise",
            "rsatoolbox calc_rdm with its inverse given",
            "closed form with its Cholesky decomposition",
            noise_seconds,
            whitened_seconds,
            1,
            _difference(whitened, of_noise),
            TOLERANCE,
        ),
    ]


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


if __name__ == "__main__":
    for comparison in measure():
        print(
            f"{comparison.work}: {comparison.slow} {comparison.slow_seconds:.3f} s, "
            f"{comparison.fast} {comparison.fast_seconds:.4f} s, {comparison.ratio:.0f} times "
            f"faster (required {comparison.required_ratio:g}), difference "
            f"{comparison.difference:.1e}: {'passed' if comparison.passed else 'FAILED'}"
        )
