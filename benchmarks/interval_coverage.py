"""How often each interval covers the truth, which is the mean over many data sets."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.bootstrap import (
    bootstrap_scores,
    draw_samples,
    two_factor_variance,
)
from benchmarks.calibration_study import SIGNALS, Study, described, rows_of
from benchmarks.simulation import GROUPS, Design, draw_brain, draw_features, draw_models
from conceptrsa.analysis.inference.generalisation import Generalisation, generalise
from conceptrsa.analysis.rsa.correlations import correlate_rdms
from conceptrsa.analysis.settings import RsaMetric

N_BOOTSTRAPS = 300
UNEQUAL = np.array([{"multimodal": 0.6, "visual": 0.4, "language": 0.2}[name] for name in GROUPS])

CEILINGS = {"lower": "Nili lower", "upper": "Nili upper"} | {
    name: name for name in ("pairwise", "split-half")
}
TARGETS = dict.fromkeys(("score", "diffe", "noise"), (0.93, 0.97))


def coverage(n: int, seed: int, metric: RsaMetric, design: Design, *, bootstraps: bool) -> Study:
    """Models related to the brain to different degrees; the truth is the mean over data sets."""
    generator = np.random.default_rng([seed, 3])
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for region, signal in SIGNALS.items():
        estimates: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        for _ in range(n):
            features = draw_features(design, generator)
            models = draw_models(features, UNEQUAL, design, generator)
            rdms = draw_brain(features, signal, design, generator)
            for name, interval in intervals_of(generalise(rdms, models, GROUPS, metric)).items():
                estimates[name].append(interval)
            if bootstraps:
                for name, interval in _bootstrap_intervals(rdms, models, metric, generator).items():
                    estimates[name].append(interval)
        found |= shares_covered(estimates, region)
    rows = rows_of(found, "ceiling {}", TARGETS)
    # Of ratios that are shown only where the ceiling came out high, no coverage is promised.
    compared = ("bootstrap", "dual", "withheld")
    rows = tuple(
        replace(row, target=None)
        if any(word in row.quantity for word in compared)
        or ("Fieller" in row.quantity and row.data == "ceiling 0.02")
        else row
        for row in rows
    )
    return Study(f"Coverage of 95 % intervals ({described(metric, design)})", "covered", rows)


def shares_covered(
    estimates: dict[str, list[NDArray[np.float64]]], region: str
) -> dict[tuple[str, str], list[float]]:
    """Share of each data set's intervals that cover the mean of the estimates over data sets."""
    found: dict[tuple[str, str], list[float]] = {}
    ceiling = next(
        (
            np.mean([each[0] for each in intervals])
            for name, intervals in estimates.items()
            if name.startswith("noise ceiling")
        ),
        np.nan,
    )
    for name, intervals in estimates.items():
        estimate, lower, upper = np.moveaxis(np.stack(intervals), 1, 0)
        truth = estimate.mean(axis=0)
        if name.startswith("score / ceiling"):
            scores = np.stack([each[0] for each in estimates["score"]])
            truth = scores.mean(axis=0) / ceiling
        covered = (lower <= truth) & (truth <= upper)
        shown = np.isfinite(lower).all(axis=1)
        if name.startswith("score / ceiling"):
            found["share of data sets with a ratio", region] = list(shown.astype(float))
            found["score / ceiling (Fieller), withheld ones covering", region] = list(
                np.where(shown, covered.mean(axis=1), 1.0)
            )
        if shown.sum() > 20:
            found[name, region] = list(covered[shown].mean(axis=1))
    return found


def intervals_of(result: Generalisation) -> dict[str, NDArray[np.float64]]:
    """Estimates and ends of intervals, (3, quantities)."""

    def stacked(*arrays: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(arrays)

    bounds = result.ceilings
    ceilings = {
        f"noise ceiling, {name}": np.array(
            [[bounds.estimate[row]], [bounds.lower[row]], [bounds.upper[row]]]
        )
        for row, name in enumerate(CEILINGS[name] for name in bounds.names)
    }
    models, pairs, groups = result.models, result.model_pairs, result.group_pairs
    return {
        "score": stacked(models.estimate, models.lower, models.upper),
        "difference of two models": stacked(pairs.estimate, pairs.lower, pairs.upper),
        "difference of two groups (mixed model)": stacked(
            groups.estimate, groups.lower, groups.upper
        ),
        **ceilings,
        "score / ceiling (Fieller), where shown": stacked(
            result.normalised.ratio, result.normalised.lower, result.normalised.upper
        ),
    }


def _bootstrap_intervals(
    rdms: NDArray[np.float64],
    models: NDArray[np.float64],
    metric: RsaMetric,
    generator: np.random.Generator,
) -> dict[str, NDArray[np.float64]]:
    """Intervals of scores by bootstraps over subjects and stimuli."""
    n_subjects = rdms.shape[1]
    n_stimuli = round((1 + np.sqrt(1 + 8 * rdms.shape[2])) / 2)
    draws = draw_samples(n_stimuli, n_subjects, N_BOOTSTRAPS, generator)
    both, stimuli, subjects = (
        bootstrap_scores(each, rdms, models, metric)
        for each in (draws, draws.of_stimuli(), draws.of_subjects())
    )
    estimate = correlate_rdms(rdms, models, metric).mean(axis=(0, 1))
    variance = two_factor_variance(both, subjects, stimuli, n_subjects, n_stimuli)
    degrees_of_freedom = min(n_subjects, n_stimuli) - 1
    half_width = np.sqrt(variance) * stats.t.ppf(0.975, degrees_of_freedom)
    percentiles = np.nanquantile(both, [0.025, 0.975], axis=0)
    return {
        "score, percentile bootstrap": np.stack([estimate, *percentiles]),
        "score, dual bootstrap with t": np.stack(
            [estimate, estimate - half_width, estimate + half_width]
        ),
    }
