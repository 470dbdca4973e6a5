"""How often each test rejects a null hypothesis at 0.05 that is true by construction."""

from collections import defaultdict
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import pdist

from benchmarks.calibration_study import SIGNALS, UNRELATED, Study, described, rows_of
from benchmarks.simulation import (
    GROUPS,
    Design,
    correlation_rdms,
    draw_brain,
    draw_features,
    draw_models,
)
from conceptrsa.analysis.inference.generalisation import generalise
from conceptrsa.analysis.inference.permutation import permute_labels
from conceptrsa.analysis.inference.tests_over_subjects import sign_flip_test
from conceptrsa.analysis.rsa.correlations import correlate_rdms
from conceptrsa.analysis.rsa.noise_ceiling import ceiling_p_value
from conceptrsa.analysis.settings import RsaMetric

ALPHA = 0.05
N_PERMUTATIONS = 200
EQUAL = np.full(len(GROUPS), 0.5)
RESNET50 = GROUPS.index("visual")


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
        permuted = permute_labels(brain, models, GROUPS, metric, N_PERMUTATIONS, generator)
        for kind, tests in (
            ("model vs zero", permuted.models),
            ("model vs model", permuted.model_pairs),
            ("group vs group", permuted.group_pairs),
        ):
            for region, p in zip(brain, tests.p, strict=True):
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
                _rejected(sign_flip_test(scores, generator).p)
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
        f"False positives at 0.05: models unrelated to the brain ({described(metric, design)})",
        "rejected",
        rows_of(found, "ceiling {}", targets),
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
        f"({described(metric, design)})",
        "rejected",
        rows_of(found, "ceiling {}", targets),
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
        permuted = permute_labels(
            {"region": brain}, models, GROUPS[:2], "pearson", N_PERMUTATIONS, generator
        )
        random_effects = generalise(brain, models, GROUPS[:2], "pearson").model_pairs
        data = "two models"
        found["random effects, model vs model", data].append(_rejected(random_effects.p))
        found["label permutation, model vs model", data].append(_rejected(permuted.model_pairs.p))
    return Study(
        "False positives at 0.05: two models that hold different halves of the brain's features",
        "rejected",
        rows_of(found, "{}", {"rando": (0.03, 0.07)}),
    )


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
        f"False positives at 0.05: no signal in the brain ({described(metric, design)})",
        "rejected",
        rows_of(found, "{}", targets),
    )


def tests_over_subjects(n: int, seed: int) -> Study:
    """Subjects' values that are symmetric about zero: the null of the tests over subjects."""
    generator = np.random.default_rng([seed, 5])
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for n_subjects in (5, 12):
        values = generator.standard_normal((n_subjects, 20 * n))
        sign_flip = sign_flip_test(values, generator)
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
        rows_of(found, "{}", targets),
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


def _rejected(p: NDArray[np.float64]) -> float:
    """Share of tests that reject."""
    return float((p <= ALPHA).mean())
