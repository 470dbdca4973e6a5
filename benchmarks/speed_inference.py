"""Bootstraps beside rsatoolbox's on the same draws, and the time of permutations.

python -m benchmarks.speed_inference
"""

import warnings
from collections.abc import Iterator
from unittest.mock import patch

import numpy as np
import rsatoolbox
from numpy.typing import NDArray
from rsatoolbox.inference import evaluate
from rsatoolbox.rdm import RDMs
from scipy.spatial.distance import pdist
from threadpoolctl import threadpool_limits

from benchmarks.bootstrap import Draws, bootstrap_scores, draw_samples
from benchmarks.timing import Comparison, best_time
from conceptrsa.analysis.inference.permutation import permute_labels
from conceptrsa.analysis.settings import RsaMetric

N_STIMULI, N_SUBJECTS, N_MODELS, N_BOOTSTRAPS = 50, 5, 16, 1000
REQUIRED_RATIOS: dict[RsaMetric, float] = {"pearson": 50, "spearman": 20}
RSATOOLBOX_METHODS: dict[RsaMetric, str] = {"pearson": "corr", "spearman": "spearman"}
TOLERANCE = 1e-10

N_PERMUTATIONS, N_REGIONS = 10_000, 12
PERMUTATION_LIMIT = 2.0
"""Seconds."""


def measure() -> list[Comparison]:
    """Bootstraps over both factors, on one thread."""
    generator = np.random.default_rng(0)
    brain, models = _rdms(generator, N_SUBJECTS), _rdms(generator, N_MODELS)
    draws = draw_samples(N_STIMULI, N_SUBJECTS, N_BOOTSTRAPS, generator)
    with threadpool_limits(1):
        return [_compare_bootstraps(draws, brain, models, metric) for metric in REQUIRED_RATIOS]


def permutation_seconds() -> float:
    """Seconds of all tests of models, pairs of models and groups by permutation, on one thread."""
    generator = np.random.default_rng(0)
    brain = {f"region {i}": _rdms(generator, N_SUBJECTS)[None] for i in range(N_REGIONS)}
    models = _rdms(generator, N_MODELS)
    groups = ["visual"] * 5 + ["multimodal"] * 8 + ["language"] * 3
    with threadpool_limits(1):
        seconds, _ = best_time(
            lambda: permute_labels(
                brain, models, groups, "pearson", N_PERMUTATIONS, np.random.default_rng(1)
            )
        )
    return seconds


def _rdms(generator: np.random.Generator, n: int) -> NDArray[np.float64]:
    """RDMs with something in common, (n, pairs)."""
    shared = generator.standard_normal((N_STIMULI, 20))
    return np.stack(
        [pdist(shared + generator.standard_normal(shared.shape), "correlation") for _ in range(n)]
    )


def _compare_bootstraps(
    draws: Draws, brain: NDArray[np.float64], models: NDArray[np.float64], metric: RsaMetric
) -> Comparison:
    fast_seconds, ours = best_time(lambda: bootstrap_scores(draws, brain[None], models, metric))
    slow_seconds, theirs = best_time(
        lambda: _rsatoolbox_bootstrap(draws, brain, models, RSATOOLBOX_METHODS[metric]),
        repetitions=1,
    )
    return Comparison(
        work=f"{N_BOOTSTRAPS} bootstraps over subjects and stimuli, {N_MODELS} "
        f"models, {N_SUBJECTS} subjects, {N_STIMULI} stimuli, {metric}",
        slow="rsatoolbox eval_bootstrap, which computes ceilings as well",
        fast="benchmarks.bootstrap",
        slow_seconds=slow_seconds,
        fast_seconds=fast_seconds,
        required_ratio=REQUIRED_RATIOS[metric],
        difference=float(np.abs(ours - theirs.evaluations).max()),
        tolerance=TOLERANCE,
    )


def _rsatoolbox_bootstrap(
    draws: Draws, brain: NDArray[np.float64], models: NDArray[np.float64], method: str
) -> rsatoolbox.inference.Result:
    """Its bootstrap, told what to draw."""
    samples = _drawn(draws)

    def draw(
        data: RDMs, rdm_descriptor: str, pattern_descriptor: str
    ) -> tuple[RDMs, NDArray[np.intp], NDArray[np.intp]]:
        subjects, stimuli = next(samples)
        sample = data.subsample(rdm_descriptor, subjects)
        return sample.subsample_pattern(pattern_descriptor, stimuli), subjects, stimuli

    fixed = [rsatoolbox.model.ModelFixed(str(i), model) for i, model in enumerate(models)]
    with (
        patch.object(evaluate, "bootstrap_sample", draw),
        patch.object(evaluate.tqdm, "trange", range),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        return rsatoolbox.inference.eval_bootstrap(
            fixed, RDMs(brain), method=method, N=len(draws.stimuli)
        )


def _drawn(draws: Draws) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Drawn subjects and stimuli of each sample."""
    for stimuli, subjects in zip(draws.stimuli, draws.subjects, strict=True):
        yield np.repeat(np.arange(N_SUBJECTS), subjects), np.repeat(np.arange(N_STIMULI), stimuli)


if __name__ == "__main__":
    for comparison in measure():
        print(
            f"{comparison.work}: {comparison.slow_seconds:.2f} s {comparison.slow}, "
            f"{comparison.fast_seconds:.3f} s {comparison.fast}, {comparison.ratio:.0f} times "
            f"faster (required {comparison.required_ratio:g}), "
            f"difference {comparison.difference:.1e} (allowed {comparison.tolerance:g})"
        )
    print(
        f"{N_PERMUTATIONS} permutations, {N_MODELS} models, {N_REGIONS} regions: "
        f"{permutation_seconds():.2f} s (limit {PERMUTATION_LIMIT:g} s)"
    )
