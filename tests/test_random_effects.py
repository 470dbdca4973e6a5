"""Variance components, influences and intervals against planted truth, loops and textbooks."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.simulation import GROUPS, Design, draw_brain, draw_features, draw_models
from conceptrsa.analysis.inference.generalisation import compare_groups, generalise
from conceptrsa.analysis.inference.influence import pair_influence
from conceptrsa.analysis.inference.random_effects import (
    MeanSquares,
    compact_pairs,
    difference_of_groups,
    errors_by_factor,
    infer,
    levels,
    mean_squares,
    pairs,
    two_sided_p,
    weighted_parts,
)
from conceptrsa.analysis.rsa.correlations import correlate_rdms, pairs_of_levels
from conceptrsa.analysis.rsa.noise_ceiling import noise_ceiling
from conceptrsa.analysis.settings import RsaMetric

ONE = np.ones((1, 1))
METRICS: tuple[RsaMetric, ...] = (
    "pearson",
    "spearman",
    "kendall-tau-a",
    "rho-a",
    "cosine",
    "whitened-cosine",
)


@pytest.fixture
def generator():
    return np.random.default_rng(4)


def variance(squares: MeanSquares, contrasts: np.ndarray) -> np.ndarray:
    return weighted_parts(squares, contrasts).sum(axis=1)


def related_rdms(generator, n_rdms=3, n_stimuli=30):
    """RDMs with something in common, far enough from zero for cosines to mean something."""
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    common = pairs_of_levels(generator.standard_normal(n_stimuli))
    common += generator.standard_normal(n_pairs)
    return 6 + common + 1.5 * generator.standard_normal((n_rdms, n_pairs))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_influence_has_the_score_as_its_mean(generator, metric, tied):
    rdms = related_rdms(generator)
    rdms = np.round(rdms) if tied else rdms
    values = pair_influence(rdms[:2], rdms[1:], metric)
    np.testing.assert_allclose(
        values.mean(axis=-1), correlate_rdms(rdms[:2], rdms[1:], metric), atol=1e-12
    )


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_influence_predicts_what_leaving_a_stimulus_out_does(generator, metric, tied):
    rdms = related_rdms(generator)
    rdms = np.round(rdms) if tied else rdms
    values = pair_influence(rdms[:1], rdms[1:], metric)
    first, second = np.triu_indices(30, k=1)
    predicted, left_out = [], []
    for stimulus in range(30):
        kept = (first != stimulus) & (second != stimulus)
        predicted.append(values[..., kept].mean(axis=-1))
        left_out.append(correlate_rdms(rdms[:1][:, kept], rdms[1:][:, kept], metric))
    change, actual = (np.array(each) - np.mean(each, axis=0) for each in (predicted, left_out))
    # What is left are terms of the second order, of relative size 1 / stimuli.
    slope = (change * actual).sum(axis=0) / (change**2).sum(axis=0)
    np.testing.assert_allclose(slope, 1, atol=0.08)
    correlation = [np.corrcoef(change[:, 0, i], actual[:, 0, i])[0, 1] for i in range(2)]
    assert min(correlation) > 0.99


def test_one_factor_is_the_t_test(generator):
    values = generator.standard_normal((4, 6)) + np.array([0, 0.5, 1, 2])[:, None]
    found = infer(mean_squares(values, [levels]), np.eye(4))
    expected = stats.ttest_1samp(values, 0, axis=1)
    np.testing.assert_allclose(found.p, expected.pvalue, rtol=1e-3)
    interval = expected.confidence_interval()
    np.testing.assert_allclose(found.lower, interval.low, rtol=1e-4)
    np.testing.assert_allclose(found.upper, interval.high, rtol=1e-4)
    np.testing.assert_allclose(found.standard_error, stats.sem(values, axis=1))


def test_confidence_is_that_of_the_p(generator):
    squares = mean_squares(generator.standard_normal((1, 5, 45)) + 0.4, [levels, pairs])
    found = infer(squares, ONE, confidence=0.8)
    for end in (found.lower, found.upper):
        moved = type(squares)(squares.estimates - end, squares.parts)
        np.testing.assert_allclose(two_sided_p(moved, ONE), 0.2, atol=1e-6)


def planted(generator, n_subjects, n_stimuli, deviations):
    """Values (subjects, pairs) with a component for each part of both factors."""
    first, second = np.triu_indices(n_stimuli, k=1)
    subject, stimulus, both, pair, rest = deviations
    draw = generator.standard_normal
    of_stimuli = stimulus * draw((1, n_stimuli)) + both * draw((n_subjects, n_stimuli))
    return (
        subject * draw((n_subjects, 1))
        + of_stimuli[:, first]
        + of_stimuli[:, second]
        + pair * draw((1, len(first)))
        + rest * draw((n_subjects, len(first)))
    )


@pytest.mark.parametrize(
    "deviations",
    [(1, 0, 0, 0, 0), (0, 1, 0, 0, 0), (0, 0, 0, 3, 0), (0, 0, 0, 0, 3), (0.3, 0.4, 0.5, 1, 2)],
)
def test_variance_is_unbiased(generator, deviations):
    n_subjects, n_stimuli = 4, 8
    samples = [planted(generator, n_subjects, n_stimuli, deviations) for _ in range(2000)]
    estimated = [variance(mean_squares(each[None], [levels, pairs]), ONE)[0] for each in samples]
    subject, stimulus, both, pair, rest = np.square(deviations)
    truth = subject / n_subjects + 4 / n_stimuli * (stimulus + both / n_subjects)
    truth += (pair + rest / n_subjects) * 2 / (n_stimuli * (n_stimuli - 1))
    np.testing.assert_allclose(np.mean(estimated), truth, rtol=0.08)
    np.testing.assert_allclose(np.var([each.mean() for each in samples]), truth, rtol=0.12)


def test_variance_over_pairs_of_subjects_is_unbiased(generator):
    n = 5
    first, second = np.triu_indices(n, k=1)
    estimated, means = [], []
    for _ in range(3000):
        level = generator.standard_normal(n)
        values = level[first] + level[second] + 2 * generator.standard_normal(len(first))
        estimated.append(variance(mean_squares(values[None], [pairs]), ONE)[0])
        means.append(values.mean())
    np.testing.assert_allclose(np.mean(estimated), 4 / n + 4 * 2 / (n * (n - 1)), rtol=0.06)
    np.testing.assert_allclose(np.mean(estimated), np.var(means), rtol=0.1)


def test_a_score_is_the_same_over_subjects_and_over_pairs_of_subjects(generator):
    values = planted(generator, 5, 10, (0.3, 0.4, 0.5, 1, 2))
    first, second = np.triu_indices(5, k=1)
    over_pairs = ((values[first] + values[second]) / 2)[None]
    np.testing.assert_allclose(
        variance(mean_squares(values[None], [levels, pairs]), ONE),
        variance(mean_squares(over_pairs, [pairs, pairs]), ONE),
    )


def test_variance_of_a_score_agrees_with_new_data_sets(generator):
    design = Design(n_stimuli=30, n_voxels=60)
    relation = np.full(len(GROUPS), 0.5)
    scores, estimated = [], []
    for _ in range(250):
        features = draw_features(design, generator)
        models = draw_models(features, relation, design, generator)[[0, 5]]
        values = pair_influence(models, draw_brain(features, 0.4, design, generator)[0], "pearson")
        squares = mean_squares(values, [levels, pairs])
        contrasts = np.array([[1.0, 0], [1, -1]])
        scores.append(contrasts @ squares.estimates)
        estimated.append(variance(squares, contrasts))
    np.testing.assert_allclose(np.mean(estimated, axis=0), np.var(scores, axis=0), rtol=0.3)


def test_models_within_groups_enter_the_variance(generator):
    groups = [np.arange(4), np.arange(4, 10)]
    n_subjects, n_stimuli = 4, 8
    differences, estimated, errors = [], [], []
    for _ in range(800):
        values = planted(generator, n_subjects, n_stimuli, (0.2, 0.2, 0, 0, 1))
        values = values + generator.standard_normal((10, 1, 1))
        values = values + generator.standard_normal((10, n_subjects, 28))
        squares = difference_of_groups(mean_squares(values, (levels, pairs)), *groups)
        estimated.append(variance(squares, ONE)[0])
        differences.append(squares.estimates[0])
        errors.append(two_sided_p(squares, ONE) <= 0.05)
    truth = (1 / 4 + 1 / 6) * (1 + 1 / n_subjects / 28)
    np.testing.assert_allclose(np.mean(estimated), truth, rtol=0.08)
    np.testing.assert_allclose(np.var(differences), truth, rtol=0.15)
    assert 0.02 < np.mean(errors) < 0.075


def test_a_group_of_one_takes_the_other_groups_variance(generator):
    values = generator.standard_normal((4, 5, 45))
    squares = mean_squares(values, (levels, pairs))
    found = compare_groups(squares, [np.array([0]), np.array([1, 2, 3])])
    assert 0 < found.p[0] < 1
    assert found.estimate[0] == pytest.approx(values[0].mean() - values[1:].mean())
    alone = compare_groups(squares, [np.array([0]), np.array([1])])
    assert np.isnan(alone.p[0])


def test_regions_numbers_are_means_over_folds_and_subjects(generator):
    design = Design(n_stimuli=20)
    features = draw_features(design, generator)
    models = draw_models(features, np.linspace(0, 1, 16), design, generator)
    brain = draw_brain(features, 0.6, design, generator)
    for metric in ("pearson", "spearman"):
        found = generalise(brain, models, GROUPS, metric)
        scores = np.mean([correlate_rdms(fold, models, metric) for fold in brain], axis=(0, 1))
        np.testing.assert_allclose(found.models.estimate, scores, atol=1e-12)
        np.testing.assert_allclose(found.model_pairs.estimate[1], scores[0] - scores[2])
        np.testing.assert_allclose(
            found.group_pairs.estimate,
            [
                scores[:5].mean() - scores[5:13].mean(),
                scores[:5].mean() - scores[13:].mean(),
                scores[5:13].mean() - scores[13:].mean(),
            ],
        )
        ceilings = noise_ceiling(brain, metric)
        np.testing.assert_allclose(found.ceilings.estimate, [each.mean() for each in ceilings])
        assert (found.ceilings.lower < found.ceilings.estimate).all()
        assert (found.ceilings.estimate < found.ceilings.upper).all()
        np.testing.assert_allclose(found.normalised.ratio, scores / ceilings.pairwise.mean())


def test_a_subject_or_model_without_rdm_does_not_touch_the_others(generator):
    design = Design(n_stimuli=12)
    features = draw_features(design, generator)
    models = draw_models(features, np.ones(16), design, generator)
    brain = draw_brain(features, 0.8, design, generator)
    expected = generalise(brain[:, 1:], np.delete(models, 3, axis=0), GROUPS[1:], "pearson")
    brain[1, 0, 5] = np.nan
    models[3, 0] = np.nan
    found = generalise(brain, models, GROUPS, "pearson")
    assert np.isnan(found.models.p[3])
    np.testing.assert_allclose(np.delete(found.models.p, 3), expected.models.p)
    np.testing.assert_allclose(found.ceilings.p, expected.ceilings.p)


def test_a_model_compared_with_itself_gives_no_p(generator):
    design = Design(n_stimuli=12)
    features = draw_features(design, generator)
    models = np.repeat(draw_models(features, np.ones(16), design, generator)[:1], 2, axis=0)
    brain = draw_brain(features, 0.8, design, generator)
    found = generalise(brain, models, ("a", "b"), "pearson")
    assert np.isnan(found.model_pairs.p[0])
    ends = found.model_pairs.lower[0], found.model_pairs.upper[0]
    np.testing.assert_allclose(ends, 0, atol=1e-8)


def test_two_subjects_give_scores_but_no_ratio(generator):
    design = Design(n_subjects=2, n_stimuli=12)
    features = draw_features(design, generator)
    models = draw_models(features, np.ones(16), design, generator)
    found = generalise(draw_brain(features, 0.8, design, generator), models, GROUPS, "pearson")
    assert np.isfinite(found.models.p).all()
    assert np.isnan(found.ceilings.p)
    assert "two subjects" in found.normalised.withheld


@pytest.mark.parametrize("signal", [0.0, 0.5])
def test_calibration_is_right_within_error(signal):
    """Unrelated models are found at about 5 %, with and without signal in the brain."""
    generator = np.random.default_rng(8)
    design = Design(n_stimuli=24, n_voxels=60)
    rejected = []
    for _ in range(200):
        features = draw_features(design, generator)
        models = draw_models(features, np.zeros(16), design, generator)[[0, 5, 13]]
        values = pair_influence(
            models, draw_brain(features, signal, design, generator)[0], "pearson"
        )
        squares = mean_squares(values, [levels, pairs])
        rejected.append(two_sided_p(squares, np.eye(3)) <= 0.05)
    assert 0.02 < np.mean(rejected) < 0.085


@pytest.mark.parametrize("n_stimuli", [3, 4, 8, 9, 12])
def test_compact_coordinates_have_the_mean_squares_of_pairs(generator, n_stimuli):
    values = generator.standard_normal((4, 5, n_stimuli * (n_stimuli - 1) // 2)) + 3
    values[2, 1, 0] = np.nan
    expected = mean_squares(values, (levels, pairs))
    compact, stimuli = compact_pairs(values.reshape(20, -1))
    assert compact.shape[1] == min(values.shape[-1], n_stimuli + 21)
    found = mean_squares(compact.reshape(4, 5, -1), (levels, stimuli))
    np.testing.assert_allclose(found.estimates, expected.estimates, atol=1e-12)
    for one, other in zip(found.parts, expected.parts, strict=True):
        assert one[:3] == other[:3]
        np.testing.assert_allclose(one.products, other.products, atol=1e-12)


def test_errors_over_one_factor_are_those_of_its_means(generator):
    """Over new subjects alone, as if there were one value a subject; over stimuli likewise."""
    values = generator.standard_normal((2, 6, 45))
    of_subjects, of_stimuli = errors_by_factor(mean_squares(values, (levels, pairs)), np.eye(2))
    means = values.mean(axis=2)
    np.testing.assert_allclose(of_subjects, means.std(axis=1, ddof=1) / np.sqrt(6))
    alone = infer(mean_squares(values.mean(axis=1), (pairs,)), np.eye(2))
    variance = weighted_parts(mean_squares(values.mean(axis=1), (pairs,)), np.eye(2)).sum(axis=1)
    np.testing.assert_allclose(of_stimuli, np.sqrt(variance))
    assert (of_stimuli <= alone.standard_error + 1e-12).all()


def test_errors_over_stimuli_are_above_zero(generator):
    """Of noise, what is subtracted for pairs is often more than what the stimuli add."""
    values = generator.standard_normal((200, 5, 66))
    values[0, 0, 0] = np.nan
    squares = mean_squares(values, (levels, pairs))
    of_stimuli = errors_by_factor(squares, np.eye(200))[1]
    assert np.isnan(of_stimuli[0])
    places = [i for i, part in enumerate(squares.parts) if part.strata in (((1, 0),), ((1, 1),))]
    parts = weighted_parts(squares, np.eye(200))[1:, places]
    assert (parts.sum(axis=1) < 0).any()
    least = np.sqrt(-parts[:, 1] / 2)
    expected = np.sqrt(np.maximum(parts.sum(axis=1), 0))
    np.testing.assert_allclose(of_stimuli[1:], np.maximum(expected, least))
