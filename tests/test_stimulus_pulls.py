"""How stimuli pull a subject's scores: accumulated by rows, against influences of all pairs."""

import numpy as np
import pytest

from conceptrsa.analysis.inference import stimulus_pulls
from conceptrsa.analysis.inference.influence import pair_influence
from conceptrsa.analysis.inference.random_effects import mean_squares, pairs
from conceptrsa.analysis.inference.stimulus_pulls import (
    SubjectPulls,
    models_of_subject,
    places_of_pairs,
    pull_scores,
)
from conceptrsa.analysis.rsa.correlations import split_rdms, standardise, sums_by_level
from conceptrsa.analysis.rsa.distances import compute_rdm
from conceptrsa.bids_config import machine

N_STIMULI = 40
BY_ROWS = ("pearson", "cosine")


def rdms_of_models(n_stimuli=N_STIMULI, n_models=6, seed=0):
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(n_stimuli, 5))
    return np.stack(
        [
            compute_rdm(
                np.hstack([shared, generator.normal(size=(n_stimuli, 3 + model))]), "correlation"
            )
            for model in range(n_models)
        ]
    )


def rdms_of_brain(n_stimuli=N_STIMULI, n_folds=2):
    return rdms_of_models(n_stimuli, n_folds, seed=1)


def from_all_pairs(models, brain, metric):
    """Influences of all pairs, means over folds."""
    return np.mean([pair_influence(models, rdm[None], metric)[:, 0] for rdm in brain], axis=0)


@pytest.fixture
def by_rows(monkeypatch):
    """Few stimuli are many."""
    monkeypatch.setattr(stimulus_pulls, "FEW_STIMULI", 12)


def check_pulls(found: SubjectPulls, models, brain, metric, tolerance=1e-10):
    influence = from_all_pairs(models, brain, metric)
    n_stimuli = found.of_stimuli.shape[1]
    scores = influence.mean(axis=-1)
    np.testing.assert_allclose(found.scores, scores, rtol=0, atol=tolerance)
    of_stimuli = sums_by_level(influence - scores[:, None]) / (n_stimuli - 2)
    np.testing.assert_allclose(found.of_stimuli, of_stimuli, rtol=0, atol=tolerance)


def check_parts(found: SubjectPulls, models, brain, metric, tolerance=1e-10):
    vectors = np.mean([standardise(rdm, metric) for rdm in brain], axis=0)[None]
    for parts, rdms in ((found.brain, vectors), (found.models, standardise(models, metric))):
        mean, of_stimuli, rest = split_rdms(rdms)
        n_stimuli = parts.of_stimuli.shape[1]
        from_rdms = sums_by_level(of_stimuli) / (n_stimuli - 2)
        np.testing.assert_allclose(parts.mean, mean[:, 0], rtol=0, atol=tolerance)
        np.testing.assert_allclose(parts.of_stimuli, from_rdms, rtol=0, atol=tolerance)
        np.testing.assert_allclose(parts.rest, np.linalg.norm(rest, axis=1), atol=tolerance)


@pytest.mark.parametrize(
    "metric", ["pearson", "spearman", "rho-a", "cosine", "whitened-cosine", "kendall-tau-a"]
)
def test_sums_and_products_of_all_influences(metric):
    models, brain = rdms_of_models(16), rdms_of_brain(16)
    found = pull_scores(models, brain, metric)
    check_pulls(found, models, brain, metric)
    _, strata = pairs(from_all_pairs(models, brain, metric))
    np.testing.assert_allclose(found.of_pairs, strata[1].values @ strata[1].values.T, atol=1e-10)
    if metric == "kendall-tau-a":
        assert found.brain is None
        assert found.models is None
    else:
        check_parts(found, models, brain, metric)


def test_mean_squares_of_a_subject_follow_from_pulls():
    models, brain = rdms_of_models(), rdms_of_brain()
    found = pull_scores(models, brain, "pearson")
    parts = mean_squares(from_all_pairs(models, brain, "pearson"), (pairs,)).parts
    of_stimuli = found.of_stimuli @ found.of_stimuli.T * (N_STIMULI - 2) / (N_STIMULI - 1)
    np.testing.assert_allclose(of_stimuli, parts[0].products, rtol=1e-9)
    np.testing.assert_allclose(found.of_pairs, parts[1].products, rtol=1e-9)


@pytest.mark.parametrize("metric", [*BY_ROWS, "spearman", "whitened-cosine"])
@pytest.mark.parametrize("n_folds", [1, 3])
def test_many_stimuli_as_few(by_rows, metric, n_folds):
    models, brain = rdms_of_models(), rdms_of_brain(n_folds=n_folds)
    found = pull_scores(models, brain, metric)
    check_pulls(found, models, brain, metric)
    check_parts(found, models, brain, metric)


@pytest.mark.parametrize("metric", [*BY_ROWS, "spearman"])
def test_products_are_estimated_from_some_of_many_stimuli(by_rows, metric, monkeypatch):
    models, brain = rdms_of_models(), rdms_of_brain()
    few = pull_scores(models, brain, metric).of_pairs
    monkeypatch.setattr(stimulus_pulls, "_sampled_stimuli", np.arange)
    by_row = pull_scores(models, brain, metric).of_pairs
    monkeypatch.setattr(stimulus_pulls, "FEW_STIMULI", 1000)
    exact = pull_scores(models, brain, metric).of_pairs
    np.testing.assert_allclose(by_row, exact, rtol=1e-9, atol=1e-10)
    # 66 pairs of 780: a variance is known to some 20 %.
    np.testing.assert_allclose(np.diag(few), np.diag(exact), rtol=0.7)


def test_products_from_some_stimuli_are_right_on_average(by_rows, monkeypatch):
    models, brain = rdms_of_models(), rdms_of_brain()
    _, strata = pairs(from_all_pairs(models, brain, "pearson"))
    exact = np.square(strata[1].values).sum(axis=1)
    generator = np.random.default_rng(3)

    def draw(n_stimuli):
        return np.sort(generator.choice(n_stimuli, 12, replace=False))

    monkeypatch.setattr(stimulus_pulls, "_sampled_stimuli", draw)
    some = np.mean([pull_scores(models, brain, "pearson").of_pairs for _ in range(400)], axis=0)
    np.testing.assert_allclose(np.diag(some), exact, rtol=0.06)


def test_single_precision_and_sums_taken_before(by_rows):
    models, brain = rdms_of_models(), rdms_of_brain()
    single = models.astype(np.float32), brain.astype(np.float32)
    before = models_of_subject(single[0], "pearson")
    assert before.rdms is single[0]
    found = pull_scores(before, single[1], "pearson")
    again = pull_scores(*single, "pearson")
    np.testing.assert_array_equal(found.of_stimuli, again.of_stimuli)
    np.testing.assert_array_equal(found.of_pairs, again.of_pairs)
    # Single precision is that of the distances; sums of them are in double precision.
    in_double = [each.astype(np.float64) for each in single]
    check_pulls(found, *in_double, "pearson")
    check_pulls(found, models, brain, "pearson", tolerance=1e-5)


@pytest.mark.parametrize("metric", ["pearson", "cosine", "spearman"])
@pytest.mark.parametrize("few", [12, 1000])
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_missing_and_constant_rdms(metric, few, monkeypatch):
    monkeypatch.setattr(stimulus_pulls, "FEW_STIMULI", few)
    models, brain = rdms_of_models(), rdms_of_brain()
    whole = pull_scores(models, brain, metric)
    models[1, 7] = np.nan
    models[3] = 0.0
    found = pull_scores(models, brain, metric)
    there = [0, 2, 4, 5]
    for before, after in (
        (whole.scores, found.scores),
        (whole.of_stimuli, found.of_stimuli),
        (whole.models.of_stimuli, found.models.of_stimuli),
    ):
        assert np.isnan(after[[1, 3]]).all()
        np.testing.assert_allclose(after[there], before[there], atol=1e-12)
    np.testing.assert_allclose(
        found.of_pairs[np.ix_(there, there)], whole.of_pairs[there][:, there]
    )
    assert np.isnan(found.of_pairs[[1, 3]]).all()
    brain[1, 5] = np.nan
    nothing = pull_scores(models, brain, metric)
    assert np.isnan(nothing.scores).all()
    assert np.isnan(nothing.brain.of_stimuli).all()


def test_a_constant_that_is_no_round_number_has_no_correlation(by_rows):
    models, brain = rdms_of_models(), rdms_of_brain()
    models[2] = 0.1
    assert np.isnan(pull_scores(models, brain, "pearson").scores[2])


@pytest.mark.parametrize("n_processors", [1, 3])
def test_the_same_on_any_number_of_threads(by_rows, n_processors, monkeypatch):
    models, brain = rdms_of_models(), rdms_of_brain()
    found = pull_scores(models, brain, "pearson")
    monkeypatch.setattr(machine, "available_processors", lambda: n_processors)
    again = pull_scores(models, brain, "pearson")
    np.testing.assert_array_equal(found.of_stimuli, again.of_stimuli)
    np.testing.assert_array_equal(found.of_pairs, again.of_pairs)


def test_three_stimuli():
    models, brain = rdms_of_models(3), rdms_of_brain(3)
    found = pull_scores(models, brain, "pearson")
    check_pulls(found, models, brain, "pearson")
    assert not found.of_pairs.any()


def test_places_of_pairs():
    chosen = np.array([1, 4, 5, 9])
    first, second = np.triu_indices(12, k=1)
    among = np.isin(first, chosen) & np.isin(second, chosen)
    np.testing.assert_array_equal(places_of_pairs(chosen, 12), np.flatnonzero(among))
