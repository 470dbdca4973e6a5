"""Permutation of labels where subjects saw different stimuli, or very many."""

import math
from dataclasses import replace

import numpy as np
import pytest

from conceptrsa.analysis.inference import own_permutations
from conceptrsa.analysis.inference.own_permutations import (
    SubjectStudy,
    null_scores_of_own,
    permute_own_labels,
)
from conceptrsa.analysis.inference.permutation import label_tests, permute_labels
from conceptrsa.analysis.inference.stimulus_classes import (
    draw_within_classes,
    stimulus_classes,
    thin_classes,
)
from conceptrsa.analysis.inference.stimulus_pulls import places_of_pairs, pull_scores
from conceptrsa.analysis.rsa.correlations import correlate_rdms, split_rdms, standardise
from conceptrsa.analysis.rsa.distances import compute_rdm
from conceptrsa.bids_config import machine

GROUPS = ["visual", "visual", "language"]


def names(n_shared, n_own, n_subjects=3):
    return [
        [f"shared{i}" for i in range(n_shared)] + [f"{subject}own{i}" for i in range(n_own)]
        for subject in range(n_subjects)
    ]


def rdms_among(rdms, n_stimuli):
    return lambda stimuli: rdms[:, places_of_pairs(stimuli, n_stimuli)]


def make_study(stimuli, metric="pearson", n_folds=2, signal=0.0, seed=0):
    """Subjects, and their RDMs of models and regions; subjects share what stimuli evoke."""
    generator = np.random.default_rng(seed)
    union = sorted(set().union(*stimuli))
    features = generator.normal(size=(3, len(union), 6))
    evoked = {
        "A": generator.normal(size=(len(union), 6)) + signal * features[0],
        # Two categories: rests of one dimension.
        "B": np.hstack([np.eye(2)[generator.integers(2, size=len(union))]] * 3),
    }
    subjects, rdms = [], []
    for own in stimuli:
        rows = [union.index(name) for name in own]
        models = np.stack([compute_rdm(each[rows], "correlation") for each in features])
        brain = {
            region: np.stack(
                [
                    compute_rdm(
                        values[rows] + 0.5 * generator.normal(size=(len(rows), 6)), "euclidean"
                    )
                    for _ in range(n_folds)
                ]
            )
            for region, values in evoked.items()
        }
        subjects.append(as_study(own, models, brain, metric))
        rdms.append((models, brain))
    return subjects, rdms


def as_study(own, models, brain, metric="pearson"):
    return SubjectStudy(
        stimuli=own,
        models=rdms_among(models, len(own)),
        brain={region: rdms_among(values, len(own)) for region, values in brain.items()},
        pulls={region: pull_scores(models, values, metric) for region, values in brain.items()},
    )


def observed(rdms, metric):
    """Mean scores, (regions, models)."""
    return np.mean(
        [
            [correlate_rdms(values, models, metric).mean(axis=0) for values in brain.values()]
            for models, brain in rdms
        ],
        axis=0,
    )


@pytest.fixture
def thinned(monkeypatch):
    """Few stimuli are many."""
    monkeypatch.setattr(own_permutations, "MANY_STIMULI", 20)


def test_classes_are_stimuli_that_the_same_subjects_saw():
    found = stimulus_classes([["a", "b", "c", "d"], ["d", "e", "b"], ["f", "b"]])
    # In this order: a and c; b; d; e; f.
    assert found.sizes == (2, 1, 1, 1, 1)
    assert [own.tolist() for own in found.places] == [[0, 2, 1, 3], [3, 4, 2], [5, 2]]
    assert [one.tolist() for one in found.of_subject(0)] == [[0, 2], [1], [3]]


def test_permutations_move_shared_stimuli_alike_and_keep_classes():
    stimuli = [["a", "b", "c", "x", "y"], ["p", "c", "b", "a", "q"]]
    classes = stimulus_classes(stimuli)
    drawn = draw_within_classes(classes, 30, np.random.default_rng(0))
    # 3! of those both saw and 2! of each subject's own are 24.
    assert len(drawn) == len(np.unique(drawn, axis=0)) == math.prod([6, 2, 2])
    np.testing.assert_array_equal(drawn[0], np.arange(7))
    first, second = (classes.own_orders(subject, drawn) for subject in (0, 1))
    for one, other in zip(first, second, strict=True):
        taken = {stimuli[0][i]: stimuli[0][one[i]] for i in range(5)}
        also = {stimuli[1][i]: stimuli[1][other[i]] for i in range(5)}
        assert all(taken[name] == also[name] for name in "abc")
        assert set(taken["a"] + taken["b"] + taken["c"]) == set("abc")


def test_drawn_permutations_start_with_the_identity():
    classes = stimulus_classes(names(10, 5))
    drawn = draw_within_classes(classes, 50, np.random.default_rng(1))
    np.testing.assert_array_equal(drawn[0], np.arange(25))
    np.testing.assert_array_equal(np.sort(drawn[7]), np.arange(25))
    for own in (slice(0, 10), slice(10, 15), slice(15, 20), slice(20, 25)):
        np.testing.assert_array_equal(np.sort(drawn[:, own]), np.sort(drawn[:1, own].repeat(50, 0)))


def test_thinning_keeps_the_share_of_every_class_and_the_shared_ones_shared():
    stimuli = names(40, 20)
    classes = stimulus_classes(stimuli)
    thin, kept = thin_classes(classes, 0.25, np.random.default_rng(2))
    assert thin.sizes == (10, 5, 5, 5)
    kept_names = [[own[i] for i in stimuli] for own, stimuli in zip(stimuli, kept, strict=True)]
    shared = [[name for name in own if name.startswith("shared")] for own in kept_names]
    assert shared[0] == shared[1] == shared[2]
    again = stimulus_classes(kept_names)
    for subject in range(3):
        in_order = np.argsort(again.places[subject]), np.argsort(thin.places[subject])
        np.testing.assert_array_equal(*in_order)


@pytest.mark.parametrize("metric", ["pearson", "spearman", "kendall-tau-a", "whitened-cosine"])
def test_stimuli_that_all_saw_as_permuted_labels(metric):
    """As many permutations as there are, so that no draw differs."""
    subjects, rdms = make_study(names(5, 0), metric, signal=1.0)
    null, expected = null_scores_of_own(subjects, metric, 120, np.random.default_rng(0))
    brain = {
        region: np.stack([of_subject[region] for _, of_subject in rdms], axis=1) for region in "AB"
    }
    of_all = permute_labels(brain, rdms[0][0], GROUPS, metric, 120, np.random.default_rng(0))
    # Models are of the same stimuli, but their RDMs are of the subject.
    found = permute_own_labels(subjects, GROUPS, metric, 120, np.random.default_rng(0))
    np.testing.assert_array_equal(found.models.p, label_tests(null, expected, GROUPS).models.p)
    for kind in ("models", "model_pairs", "group_pairs"):
        for field in ("statistic", "p", "p_max", "p_fdr"):
            ours, theirs = (getattr(getattr(each, kind), field) for each in (found, of_all))
            np.testing.assert_allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize(("n_shared", "n_own"), [(0, 12), (6, 6), (12, 0)])
def test_every_permutation_is_a_score_of_permuted_rdms(n_shared, n_own):
    subjects, rdms = make_study(names(n_shared, n_own))
    null, _ = null_scores_of_own(subjects, "pearson", 20, np.random.default_rng(3))
    np.testing.assert_allclose(null[0], observed(rdms, "pearson"), atol=1e-12)
    classes = stimulus_classes([subject.stimuli for subject in subjects])
    drawn = draw_within_classes(classes, 20, np.random.default_rng(3))
    first, second = np.triu_indices(12, k=1)
    permuted = []
    for subject, (models, brain) in enumerate(rdms):
        order = classes.own_orders(subject, drawn)[13]
        square = np.zeros((12, 12), dtype=int)
        square[first, second] = square[second, first] = np.arange(66)
        moved = square[order[first], order[second]]
        permuted.append((models, {region: rdm[:, moved] for region, rdm in brain.items()}))
    np.testing.assert_allclose(null[13], observed(permuted, "pearson"), atol=1e-12)


@pytest.mark.parametrize("many", [20, 100])
@pytest.mark.parametrize("has_pulls", [True, False])
def test_a_subject_without_a_region_is_left_out_of_it(many, has_pulls, monkeypatch):
    monkeypatch.setattr(own_permutations, "MANY_STIMULI", many)
    stimuli = names(15, 15)
    subjects, rdms = make_study(stimuli)
    rdms[1][1]["B"][1, 7] = np.nan
    subjects[1] = as_study(stimuli[1], *rdms[1])
    if not has_pulls:
        subjects[1] = replace(subjects[1], pulls={"A": subjects[1].pulls["A"]})
    null, expected = null_scores_of_own(subjects, "pearson", 50, np.random.default_rng(4))
    assert np.isfinite(null).all()
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(null[0, 0], observed(rdms, "pearson")[0], atol=1e-12)
    there = [rdms[0], rdms[2]]
    np.testing.assert_allclose(null[0, 1], observed(there, "pearson")[1], atol=1e-12)


@pytest.mark.parametrize("many", [20, 100])
def test_a_subject_without_any_region_is_left_out(many, monkeypatch):
    monkeypatch.setattr(own_permutations, "MANY_STIMULI", many)
    stimuli = names(15, 15)
    subjects, rdms = make_study(stimuli)
    for values in rdms[0][1].values():
        values[:] = np.nan
    subjects[0] = replace(as_study(stimuli[0], *rdms[0]), pulls={})
    null, _ = null_scores_of_own(subjects, "pearson", 50, np.random.default_rng(4))
    np.testing.assert_allclose(null[0], observed(rdms[1:], "pearson"), atol=1e-12)


@pytest.mark.parametrize("many", [20, 100])
def test_what_cannot_be_compared_is_missing(many, monkeypatch):
    monkeypatch.setattr(own_permutations, "MANY_STIMULI", many)
    stimuli = names(15, 15)
    _, rdms = make_study(stimuli)
    for models, brain in rdms:
        models[1] = 1.0
        brain["B"][:] = np.nan
    subjects = [as_study(own, *each) for own, each in zip(stimuli, rdms, strict=True)]
    null, expected = null_scores_of_own(subjects, "pearson", 50, np.random.default_rng(4))
    tests = label_tests(null, expected, GROUPS)
    np.testing.assert_array_equal(
        np.isnan(tests.models.p), [[False, True, False], [True, True, True]]
    )


def closed_form(rdms, classes):
    """Standard deviations over all permutations of one class, (regions, models)."""
    variances = 0.0
    n = len(classes.places[0])
    for models, brain in rdms:
        y = standardise(models, "pearson")
        x = np.stack([standardise(rdm, "pearson").mean(axis=0) for rdm in brain.values()])
        of_x, of_y = split_rdms(x), split_rdms(y)
        for part, df in ((1, n - 1), (2, n * (n - 3) / 2)):
            squares = [np.square(each[part]).sum(axis=-1) for each in (of_x, of_y)]
            variances = variances + np.outer(*squares) / df
    return np.sqrt(variances) / len(rdms)


@pytest.mark.parametrize("many", [20, 100])
def test_scores_vary_as_the_closed_form_says(many, monkeypatch):
    monkeypatch.setattr(own_permutations, "MANY_STIMULI", many)
    subjects, rdms = make_study(names(0, 60))
    null, _ = null_scores_of_own(subjects, "pearson", 4000, np.random.default_rng(5))
    expected = closed_form(rdms, stimulus_classes(names(0, 60)))
    np.testing.assert_allclose(null[1:].std(axis=0), expected, rtol=0.08)


@pytest.mark.parametrize(("n_shared", "n_own"), [(0, 60), (30, 30), (60, 0)])
@pytest.mark.parametrize("metric", ["pearson", "cosine", "spearman"])
def test_thinned_as_whole(n_shared, n_own, metric, monkeypatch):
    subjects, rdms = make_study(names(n_shared, n_own), metric)
    found = {}
    for many in (30, 100):
        monkeypatch.setattr(own_permutations, "MANY_STIMULI", many)
        found[many] = null_scores_of_own(subjects, metric, 4000, np.random.default_rng(6))
    (null, expected), (whole, whole_expected) = found[30], found[100]
    np.testing.assert_allclose(null[0], observed(rdms, metric), atol=1e-12)
    deviations = whole[1:].std(axis=0)
    np.testing.assert_allclose(null[1:].std(axis=0), deviations, rtol=0.1)
    np.testing.assert_allclose(expected / deviations, whole_expected / deviations, atol=0.15)
    for share in (0.05, 0.95, 0.99):
        as_large = null[1:] - expected >= np.quantile(whole[1:] - whole_expected, share, axis=0)
        np.testing.assert_allclose(as_large.mean(axis=0), 1 - share, rtol=0.6, atol=0.005)
    both = [np.corrcoef(each[1:].reshape(len(each) - 1, -1).T) for each in (null, whole)]
    np.testing.assert_allclose(*both, atol=0.15)


def test_regions_one_by_one_have_the_same_permutations(thinned):
    subjects, _ = make_study(names(15, 15))
    together, _ = null_scores_of_own(subjects, "pearson", 120, np.random.default_rng(7))
    for index, region in enumerate("AB"):
        alone = [
            SubjectStudy(s.stimuli, s.models, {region: s.brain[region]}, s.pulls) for s in subjects
        ]
        null, _ = null_scores_of_own(alone, "pearson", 120, np.random.default_rng(7))
        np.testing.assert_allclose(null[:, 0], together[:, index], atol=1e-12)


@pytest.mark.parametrize("n_processors", [1, 3])
def test_the_same_on_any_number_of_threads(thinned, n_processors, monkeypatch):
    subjects, _ = make_study(names(15, 15))
    null, _ = null_scores_of_own(subjects, "pearson", 120, np.random.default_rng(8))
    monkeypatch.setattr(machine, "available_processors", lambda: n_processors)
    again, _ = null_scores_of_own(subjects, "pearson", 120, np.random.default_rng(8))
    np.testing.assert_array_equal(null, again)


def test_very_many_stimuli_need_a_sum_of_products(thinned):
    subjects, _ = make_study(names(15, 15))
    with pytest.raises(ValueError, match="kendall-tau-a is no sum of products"):
        null_scores_of_own(subjects, "kendall-tau-a", 20, np.random.default_rng(9))


def test_a_planted_model_is_found(thinned):
    subjects, _ = make_study(names(20, 20), signal=1.5)
    null, expected = null_scores_of_own(subjects, "pearson", 1000, np.random.default_rng(10))
    tests = label_tests(null, expected, GROUPS)
    assert tests.models.p_max[0, 0] == tests.p_floor == 1 / 1000


@pytest.mark.parametrize("many", [20, 100])
def test_unrelated_models_are_rarely_found(many, monkeypatch):
    monkeypatch.setattr(own_permutations, "MANY_STIMULI", many)
    p, p_max = [], []
    for seed in range(70):
        subjects, _ = make_study(names(20, 20), n_folds=1, seed=seed)
        null, expected = null_scores_of_own(subjects, "pearson", 100, np.random.default_rng(seed))
        tests = label_tests(null, expected, GROUPS)
        p.append(tests.models.p)
        p_max.append(tests.models.p_max.min())
    # 420 p-values, by three of the same region: a standard error of 1.3 %.
    assert 0.02 < (np.array(p) <= 0.05).mean() < 0.085
    assert np.mean(np.array(p_max) <= 0.05) < 0.12
