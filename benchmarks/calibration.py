"""Whether p-values and intervals keep their promises, on data sets whose truth is known.

    python benchmarks/calibration.py [--simulations 500] [--quick]

Every data set has new subjects, new stimuli and new models. Prints a table in Markdown: how often
each test rejects a true null hypothesis at 0.05, how often each interval covers the truth, and how
much selecting voxels inflates results on noise, with standard errors over data sets.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scipy.spatial.distance import pdist

from analysis.ceiling_null import ceiling_p_value
from analysis.inference.bootstrap import bootstrap_with, draw_samples
from analysis.inference.bootstrap_intervals import (
    percentile_interval,
    t_interval,
    two_factor_variance,
)
from analysis.inference.generalisation import Generalisation, generalise
from analysis.inference.permutation import permute_labels
from analysis.inference.sign_flip import sign_flip_test
from analysis.nested_ceilings import nested_ceilings
from analysis.noise_ceiling import noise_ceiling
from analysis.rsa import correlate_rdms
from analysis.settings import RsaMetric
from analysis.voxel_selection import max_beta, rank_voxels
from benchmarks.simulation import (
    GROUPS,
    Design,
    correlation_rdms,
    draw_brain,
    draw_features,
    draw_models,
    draw_patterns,
)

ALPHA = 0.05
N_PERMUTATIONS = 200
N_BOOTSTRAPS = 300
SIGNALS = {"0.02": 0.18, "0.35": 0.5}
"""Strength of the signal that gives each mean pairwise ceiling: hippocampus and visual areas."""

UNRELATED = np.zeros(len(GROUPS))
EQUAL = np.full(len(GROUPS), 0.5)
UNEQUAL = np.array([{"multimodal": 0.6, "visual": 0.4, "language": 0.2}[name] for name in GROUPS])
RESNET50 = GROUPS.index("visual")

Outcomes = dict[str, list[float]]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    quantity, data : str
        What was computed, and on which kind of data.
    value, standard_error : float
    target : tuple of float, or None
        Lowest and highest value that is right; None where the quantity is shown for comparison.
    """

    quantity: str
    data: str
    value: float
    standard_error: float
    target: tuple[float, float] | None

    @property
    def verdict(self) -> str:
        """Whether the value lies in the target, give or take two standard errors."""
        if self.target is None:
            return ""
        low, high = self.target
        near = low - 2 * self.standard_error <= self.value <= high + 2 * self.standard_error
        inside = low <= self.value <= high
        return "yes" if inside else "within error" if near else "**no**"


@dataclass(frozen=True)
class Study:
    """Rows of one heading."""

    title: str
    unit: str
    rows: tuple[Row, ...]


def false_positives(n: int, seed: int, metric: RsaMetric, design: Design) -> Study:
    """Models unrelated to the brain, in two regions at once."""
    generator = np.random.default_rng([seed, 1])
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(n):
        features = draw_features(design, generator)
        models = draw_models(features, UNRELATED, design, generator)
        brain = {
            name: draw_brain(features, signal, design, generator)
            for name, signal in SIGNALS.items()
        }
        permuted = permute_labels(
            brain, models, [str(i) for i in range(16)], GROUPS, metric, N_PERMUTATIONS, generator
        )
        for kind, tests in (
            ("model vs zero", permuted.models),
            ("model vs model", permuted.model_pairs),
            ("group vs group", permuted.group_pairs),
        ):
            for region, p in zip(permuted.regions, tests.p, strict=True):
                found[f"label permutation, {kind}", region].append(_rejected(p))
            found[f"label permutation, {kind}, family-wise", "both"].append(
                float((tests.p_max <= ALPHA).any())
            )
            found[f"false discovery rate, {kind}, any found", "both"].append(
                float((tests.p_fdr <= ALPHA).any())
            )
        for region, rdms in brain.items():
            result = generalise(rdms, models, GROUPS, metric)
            found["random effects, model vs zero", region].append(_rejected(result.models.p))
            found["random effects, model vs model", region].append(_rejected(result.model_pairs.p))
            found["mixed model, group vs group", region].append(_rejected(result.group_pairs.p))
            scores = correlate_rdms(rdms, models, metric).mean(axis=0)
            found["sign-flip over subjects (these stimuli only), model vs zero", region].append(
                _rejected(sign_flip_test(scores).p)
            )
            for name, rejected in _paper_tests(rdms, models, metric).items():
                found[name, region].append(rejected)
    targets = {
        "label": (0.03, 0.07),
        "false": (0.0, 0.07),
        "rando": (0.03, 0.07),
        "mixed": (0.03, 0.07),
    }
    return Study(
        f"False positives at 0.05: models unrelated to the brain ({_described(metric, design)})",
        "rejected",
        _rows(found, "ceiling {}", targets),
    )


def equally_related(n: int, seed: int, metric: RsaMetric, design: Design) -> Study:
    """Models related to the brain, all to the same degree: differences are zero."""
    generator = np.random.default_rng([seed, 2])
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(n):
        features = draw_features(design, generator)
        models = draw_models(features, EQUAL, design, generator)
        for region, signal in SIGNALS.items():
            rdms = draw_brain(features, signal, design, generator)
            result = generalise(rdms, models, GROUPS, metric)
            found["random effects, model vs model", region].append(_rejected(result.model_pairs.p))
            found["mixed model, group vs group", region].append(_rejected(result.group_pairs.p))
            permuted = permute_labels(
                {region: rdms},
                models,
                [str(i) for i in range(16)],
                GROUPS,
                metric,
                N_PERMUTATIONS,
                generator,
            )
            found["label permutation, model vs model", region].append(
                _rejected(permuted.model_pairs.p)
            )
            found["label permutation, group vs group", region].append(
                _rejected(permuted.group_pairs.p)
            )
            for name, rejected in _paper_tests(rdms, models, metric).items():
                found[name, region].append(rejected)
    targets = {"rando": (0.03, 0.07), "mixed": (0.03, 0.07)}
    return Study(
        "False positives at 0.05: all models related to the brain, to the same degree "
        f"({_described(metric, design)})",
        "rejected",
        _rows(found, "ceiling {}", targets),
    )


def different_parts(n: int, seed: int, design: Design) -> Study:
    """Two models that hold different halves of what the brain holds, equally related to it."""
    generator = np.random.default_rng([seed, 8])
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(n):
        features = generator.standard_normal((design.n_stimuli, 8))
        noise = generator.standard_normal((design.n_subjects, design.n_stimuli, design.n_voxels))
        weights = generator.standard_normal((design.n_subjects, 8, design.n_voxels))
        brain = correlation_rdms(features @ weights + 1.5 * noise)[None]
        models = np.stack([pdist(half, "sqeuclidean") for half in np.split(features, 2, axis=1)])
        names = ["first half", "second half"]
        permuted = permute_labels(
            {"region": brain}, models, names, GROUPS[:2], "pearson", N_PERMUTATIONS, generator
        )
        random_effects = generalise(brain, models, GROUPS[:2], "pearson").model_pairs
        data = "two models"
        found["random effects, model vs model", data].append(_rejected(random_effects.p))
        found["label permutation, model vs model", data].append(_rejected(permuted.model_pairs.p))
    return Study(
        "False positives at 0.05: two models that hold different halves of the brain's features",
        "rejected",
        _rows(found, "{}", {"rando": (0.03, 0.07)}),
    )


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
            for name, interval in _intervals(generalise(rdms, models, GROUPS, metric)).items():
                estimates[name].append(interval)
            if bootstraps:
                for name, interval in _bootstrap_intervals(rdms, models, metric, generator).items():
                    estimates[name].append(interval)
        ceiling = np.mean([each[0] for each in estimates["noise ceiling, pairwise"]])
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
    targets = dict.fromkeys(("score", "diffe", "noise"), (0.93, 0.97))
    rows = _rows(found, "ceiling {}", targets)
    # Of ratios that are shown only where the ceiling came out high, no coverage is promised.
    compared = ("bootstrap", "dual", "withheld")
    rows = tuple(
        replace(row, target=None)
        if any(word in row.quantity for word in compared)
        or ("Fieller" in row.quantity and row.data == "ceiling 0.02")
        else row
        for row in rows
    )
    return Study(f"Coverage of 95 % intervals ({_described(metric, design)})", "covered", rows)


def ceiling_of_noise(n: int, seed: int, metric: RsaMetric, design: Design) -> Study:
    """Brains that are noise: is the ceiling found to be above zero?"""
    generator = np.random.default_rng([seed, 4])
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(n):
        features = draw_features(design, generator)
        models = draw_models(features, UNRELATED, design, generator)
        rdms = draw_brain(features, 0.0, design, generator)
        permuted = ceiling_p_value(rdms, metric, generator)
        found["label permutation, ceiling", "noise"].append(float(permuted <= ALPHA))
        result = generalise(rdms, models, GROUPS, metric)
        found["random effects, ceiling", "noise"].append(float(result.ceilings.p <= ALPHA))
        found["random effects, model vs zero", "noise"].append(_rejected(result.models.p))
        found["mixed model, group vs group", "noise"].append(_rejected(result.group_pairs.p))
    targets = dict.fromkeys(("label", "rando", "mixed"), (0.03, 0.07))
    return Study(
        f"False positives at 0.05: no signal in the brain ({_described(metric, design)})",
        "rejected",
        _rows(found, "{}", targets),
    )


def tests_over_subjects(n: int, seed: int) -> Study:
    """Subjects' values that are symmetric about zero: the null of the tests over subjects."""
    generator = np.random.default_rng([seed, 5])
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for n_subjects in (5, 12):
        values = generator.standard_normal((n_subjects, 20 * n))
        sign_flip = sign_flip_test(values)
        data = f"{n_subjects} subjects, smallest p {sign_flip.p_floor:.4f}"
        exact = stats.wilcoxon(values, method="exact", axis=0).pvalue
        asymptotic = stats.wilcoxon(values, method="asymptotic", axis=0).pvalue
        found["sign-flip, exact", data] = list((sign_flip.p <= ALPHA).astype(float))
        found["Wilcoxon, exact", data] = list((exact <= ALPHA).astype(float))
        found["Wilcoxon, asymptotic", data] = list((asymptotic <= ALPHA).astype(float))
    targets = dict.fromkeys(("sign-", "Wilco"), (0.03, 0.07))
    return Study(
        "False positives at 0.05 of tests over subjects, under their own null",
        "rejected",
        _rows(found, "{}", targets),
    )


def selection_on_noise(n: int, seed: int, design: Design) -> Study:
    """Voxels of noise, chosen by the highest beta, as many as give the highest ceiling."""
    generator = np.random.default_rng([seed, 6])
    design = replace(design, n_voxels=300)
    sizes = np.unique(np.geomspace(3, design.n_voxels, 60).astype(np.intp))
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(n):
        features = draw_features(design, generator)
        model = draw_models(features, UNRELATED, design, generator)[:1]
        halves = np.stack(
            [draw_patterns(features, 0.0, design, generator) for _ in range(design.n_subjects)],
            axis=1,
        )
        both = halves.mean(axis=0)
        odd, even = halves
        for name, folds in (
            ("selected and scored on the same runs", ((both, both),)),
            ("selected on one half, scored on the other", ((odd, even), (even, odd))),
        ):
            results = [_selected(select, score, sizes, model) for select, score in folds]
            ceiling, model_score = np.mean(results, axis=0)
            found["noise ceiling", name].append(ceiling)
            found["score of an unrelated model", name].append(model_score)
    rows = []
    for (quantity, data), values in found.items():
        error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
        target = None if "same" in data else (-2 * error, 2 * error)
        rows.append(Row(quantity, data, float(np.mean(values)), error, target))
    return Study("Mean over data sets of pure noise (0 is right)", "mean", tuple(rows))


def _selected(
    select: NDArray[np.float64],
    score: NDArray[np.float64],
    sizes: NDArray[np.intp],
    model: NDArray[np.float64],
) -> tuple[float, float]:
    """Ceiling, and score of a model, of voxels chosen by other data (subjects, stimuli, voxels)."""
    order = [rank_voxels(max_beta(subject)) for subject in select]
    ordered = np.stack([values[:, each] for values, each in zip(select, order, strict=True)])
    sweep = nested_ceilings(ordered, sizes, "correlation", "pearson").pairwise.mean(axis=-1)
    best = sizes[np.argmax(sweep)]
    chosen = np.stack([values[:, each[:best]] for values, each in zip(score, order, strict=True)])
    rdms = correlation_rdms(chosen)
    return (
        float(noise_ceiling(rdms, "pearson").pairwise.mean()),
        float(correlate_rdms(rdms, model, "pearson").mean()),
    )


def _paper_tests(
    rdms: NDArray[np.float64], models: NDArray[np.float64], metric: RsaMetric
) -> dict[str, float]:
    """Shares of rejections by the paper's tests."""
    scores = correlate_rdms(rdms, models, metric).mean(axis=0)
    differences = np.delete(scores - scores[:, [RESNET50]], RESNET50, axis=1)
    exact, asymptotic = (
        stats.wilcoxon(differences, method=method, axis=0).pvalue
        for method in ("exact", "asymptotic")
    )
    membership = np.array(GROUPS)
    means = scores.mean(axis=0)
    welch = [
        stats.ttest_ind(means[membership == a], means[membership == b], equal_var=False).pvalue
        for a, b in combinations(dict.fromkeys(GROUPS), 2)
    ]
    return {
        "paper: Wilcoxon against ResNet50, exact": _rejected(exact),
        "paper: Wilcoxon against ResNet50, asymptotic": _rejected(asymptotic),
        "paper: Welch over model means": _rejected(np.array(welch)),
    }


def _intervals(result: Generalisation) -> dict[str, NDArray[np.float64]]:
    """Estimates and ends of intervals, (3, quantities)."""

    def stacked(*arrays: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(arrays)

    ceilings = {
        f"noise ceiling, {name}": np.array([[each.estimate], [each.lower], [each.upper]])
        for name, each in (
            ("pairwise", result.ceilings.pairwise),
            ("Nili lower", result.ceilings.nili_lower),
            ("Nili upper", result.ceilings.nili_upper),
        )
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
    draws = draw_samples(n_stimuli, n_subjects, "both", N_BOOTSTRAPS, generator)
    once = replace(draws, subjects=np.ones_like(draws.subjects))
    same = replace(draws, stimuli=np.ones_like(draws.stimuli))
    both, stimuli, subjects = (
        bootstrap_with(each, rdms, models, metric).scores for each in (draws, once, same)
    )
    estimate = correlate_rdms(rdms, models, metric).mean(axis=(0, 1))
    dual = t_interval(
        estimate,
        two_factor_variance(both, subjects, stimuli, n_subjects, n_stimuli),
        min(n_subjects, n_stimuli) - 1,
    )
    return {
        "score, percentile bootstrap": np.stack([estimate, *percentile_interval(both)]),
        "score, dual bootstrap with t": np.stack([estimate, *dual]),
    }


def _rejected(p: NDArray[np.float64]) -> float:
    """Share of tests that reject."""
    return float((p <= ALPHA).mean())


def _rows(
    found: dict[tuple[str, str], list[float]],
    data: str,
    targets: dict[str, tuple[float, float]],
) -> tuple[Row, ...]:
    """Means and standard errors over data sets; targets by the first letters of the quantity."""
    return tuple(
        Row(
            quantity,
            data.format(region),
            float(np.mean(values)),
            float(np.std(values, ddof=1) / np.sqrt(len(values))),
            targets.get(quantity[:5]),
        )
        for (quantity, region), values in found.items()
    )


def _described(metric: str, design: Design) -> str:
    stimuli = f"{design.n_stimuli} stimuli"
    if design.n_categories:
        stimuli += f" in {design.n_categories} categories"
    return f"{metric}, {design.n_subjects} subjects, {stimuli}"


def studies(n: int, seed: int) -> list[Callable[[], Study]]:
    """All studies; the variations have half or a quarter as many data sets."""
    design = Design()
    categories, many = replace(design, n_categories=8), replace(design, n_subjects=12)
    half, quarter = max(n // 2, 2), max(n // 4, 2)
    return [
        lambda: false_positives(n, seed, "pearson", design),
        lambda: equally_related(n, seed, "pearson", design),
        lambda: different_parts(n, seed, design),
        lambda: ceiling_of_noise(n, seed, "pearson", design),
        lambda: coverage(n, seed, "pearson", design, bootstraps=True),
        lambda: tests_over_subjects(n, seed),
        lambda: selection_on_noise(half, seed, design),
        lambda: coverage(half, seed, "spearman", design, bootstraps=False),
        lambda: coverage(quarter, seed, "whitened-cosine", design, bootstraps=False),
        lambda: coverage(half, seed, "pearson", categories, bootstraps=False),
        lambda: false_positives(half, seed, "pearson", categories),
        lambda: coverage(half, seed, "pearson", many, bootstraps=False),
        lambda: false_positives(half, seed, "pearson", many),
    ]


def markdown(study: Study) -> str:
    """A heading and a table."""
    lines = [
        f"### {study.title}",
        "",
        f"| quantity | data | {study.unit} | as it should be |",
        "|---|---|---|---|",
    ]
    for row in study.rows:
        if study.unit == "mean":
            value = f"{row.value:.4f} ± {row.standard_error:.4f}"
        else:
            value = f"{100 * row.value:.1f} ± {100 * row.standard_error:.1f} %"
        lines.append(f"| {row.quantity} | {row.data} | {value} | {row.verdict} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Run all studies and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=500, help="data sets per study")
    parser.add_argument("--quick", action="store_true", help="20 data sets, to see that it runs")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    n = 20 if arguments.quick else arguments.simulations
    start = time.perf_counter()
    for study in studies(n, arguments.seed):
        print(markdown(study()), flush=True)
    print(f"{n} data sets per study, seed {arguments.seed}, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
