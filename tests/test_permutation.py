import math
from itertools import permutations

import numpy as np
import pytest
from rsatoolbox.rdm import compare
from scipy.spatial.distance import pdist, squareform
from scipy.stats import false_discovery_control, pearsonr

from conceptrsa.analysis.inference import permutation
from conceptrsa.analysis.inference.permutation import draw_permutations, null_scores, permute_labels

RSATOOLBOX = {
    "pearson": "corr",
    "spearman": "spearman",
    "cosine": "cosine",
    "whitened-cosine": "cosine_cov",
    "rho-a": "rho-a",
    "kendall-tau-a": "tau-a",
}


def random_rdms(generator, *shape, n_stimuli):
    patterns = generator.standard_normal((math.prod(shape), n_stimuli, 6))
    return np.array([pdist(values) for values in patterns]).reshape(*shape, -1)


def permuted(rdm, order):
    return squareform(squareform(rdm)[np.ix_(order, order)])


def plain_null(brain, models, method, orders):
    """Scores (permutations, regions, models), one comparison at a time."""
    null = np.empty((len(orders), len(brain), len(models)))
    for index in np.ndindex(null.shape):
        order, region, model = orders[index[0]], brain[index[1]], models[index[2]]
        null[index] = np.mean(
            [
                compare(permuted(rdm, order)[None], model[None], method)[0, 0]
                for rdm in region.reshape(-1, region.shape[-1])
                if np.isfinite(rdm).all()
            ]
        )
    return null


def plain_p_values(null, contrasts, expected, two_sided):
    """Uncorrected, by maximum and by false discovery rate, one statistic at a time."""
    n, n_regions, _ = null.shape
    z = np.empty((n, n_regions, len(contrasts)))
    for region in range(n_regions):
        for test, weights in enumerate(contrasts):
            values = (null[:, region] - expected[region]) @ weights
            values = values / math.sqrt(np.mean(values**2))
            z[:, region, test] = np.abs(values) if two_sided else values
    z = np.round(z, 9)
    p = np.mean(z >= z[0], axis=0)
    maxima = z.reshape(n, -1).max(axis=1)
    p_max = np.mean(maxima[:, None, None] >= z[0], axis=0)
    return p, p_max, false_discovery_control(p.ravel()).reshape(p.shape)


@pytest.mark.parametrize("metric", RSATOOLBOX)
def test_null_scores_are_those_of_a_loop_over_permuted_rdms(metric):
    generator = np.random.default_rng(0)
    brain = random_rdms(generator, 2, 2, 3, n_stimuli=6)
    brain[1, 0, 2] = np.nan
    brain[0] = np.round(brain[0])
    models = random_rdms(generator, 3, n_stimuli=6)
    models[1] = np.round(models[1])
    orders = draw_permutations(6, 20, generator)
    found, _ = null_scores(brain.reshape(2, 6, -1), models, metric, orders)
    expected = plain_null(brain, models, RSATOOLBOX[metric], orders)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("metric", RSATOOLBOX)
def test_expected_scores_are_the_means_over_all_permutations(metric):
    generator = np.random.default_rng(1)
    brain = random_rdms(generator, 2, 3, n_stimuli=5)
    models = random_rdms(generator, 2, n_stimuli=5)
    null, expected = null_scores(brain, models, metric, draw_permutations(5, 120, generator))
    assert len(null) == 120
    np.testing.assert_allclose(null.mean(axis=0), expected, atol=1e-12)


@pytest.mark.parametrize("metric", ["pearson", "cosine"])
def test_p_values_are_those_of_plain_loops(metric):
    generator = np.random.default_rng(2)
    brain = {name: random_rdms(generator, 2, 3, n_stimuli=7) for name in ("a", "b", "c")}
    models = random_rdms(generator, 4, n_stimuli=7)
    groups = ["visual", "language", "visual", "language"]
    found = permute_labels(brain, models, groups, metric, 300, np.random.default_rng(3))
    orders = draw_permutations(7, 300, np.random.default_rng(3))
    null = plain_null(list(brain.values()), models, RSATOOLBOX[metric], orders)
    expected = null_scores(
        np.stack([values.reshape(6, -1) for values in brain.values()]), models, metric, orders
    )[1]
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    differences = np.array([np.eye(4)[a] - np.eye(4)[b] for a, b in pairs])
    for tests, contrasts, two_sided in (
        (found.models, np.eye(4), False),
        (found.model_pairs, differences, True),
        (found.group_pairs, np.array([[0.5, -0.5, 0.5, -0.5]]), True),
    ):
        p, p_max, p_fdr = plain_p_values(null, contrasts, expected, two_sided)
        np.testing.assert_allclose(tests.statistic, null[0] @ contrasts.T, atol=1e-12)
        np.testing.assert_allclose(tests.p, p, atol=1e-15)
        np.testing.assert_allclose(tests.p_max, p_max, atol=1e-15)
        np.testing.assert_allclose(tests.p_fdr, p_fdr, atol=1e-15)


def test_few_stimuli_are_permuted_in_every_way_once():
    generator = np.random.default_rng(4)
    brain = random_rdms(generator, 1, 2, n_stimuli=4)
    models = random_rdms(generator, 2, n_stimuli=4)
    found = permute_labels({"roi": brain}, models, ["g", "g"], "pearson", 1000, generator)
    assert found.p_floor == 1 / 24
    for column, model in enumerate(models):
        null = [
            np.mean([pearsonr(permuted(rdm, order), model)[0] for rdm in brain[0]])
            for order in permutations(range(4))
        ]
        assert found.models.p[0, column] == np.mean(np.array(null) >= null[0] - 1e-12)


def test_permutations_that_change_nothing_count_as_ties():
    # Two of six stimuli stand apart: 2 x 24 of 720 permutations give the same RDM.
    apart = np.array([0, 0, 1, 1, 1, 1.0])
    rdm = pdist(apart[:, None])
    found = permute_labels(
        {"roi": rdm[None, None] * 3 + 0.1},
        rdm[None],
        ["g"],
        "pearson",
        720,
        np.random.default_rng(0),
    )
    assert found.models.p[0, 0] == found.models.p_max[0, 0] == 48 / 720


def test_rounding_does_not_break_ties():
    # Models in which stimuli 0 and 1, and 2 and 3, are alike: scores come in groups of four that
    # are equal, but summed in another order.
    generator = np.random.default_rng(15)
    patterns = generator.standard_normal((20, 4, 6))[:, [0, 0, 1, 1, 2, 3]]
    models = np.array([pdist(values) for values in patterns])
    found = permute_labels(
        {name: random_rdms(generator, 1, 3, n_stimuli=6) for name in "ab"},
        models,
        ["g", "k"] * 10,
        "pearson",
        720,
        generator,
    )
    for tests in (found.models, found.model_pairs, found.group_pairs):
        for p in (tests.p, tests.p_max):
            assert (np.round(p * 720).astype(int) % 4 == 0).all()


def test_a_missing_model_is_no_part_of_the_maximum():
    generator = np.random.default_rng(16)
    brain = random_rdms(generator, 1, 1, n_stimuli=7)
    models = random_rdms(generator, 10, n_stimuli=7)
    p = []
    for model in models:
        both = np.stack([model, np.full_like(model, np.nan)])
        found = permute_labels({"roi": brain}, both, ["g", "g"], "pearson", 100, generator)
        assert found.models.p[0, 0] == found.models.p_max[0, 0]
        p.append(found.models.p[0, 0])
    assert max(p) > 0.6


def test_identity_comes_first_and_permutations_are_uniform():
    orders = draw_permutations(8, 20_001, np.random.default_rng(5))
    assert (orders[0] == np.arange(8)).all()
    assert (np.sort(orders, axis=1) == np.arange(8)).all()
    places = (orders[1:, :, None] == np.arange(8)).mean(axis=0)
    np.testing.assert_allclose(places, 1 / 8, atol=0.012)


def test_a_related_model_is_found_and_preferred():
    generator = np.random.default_rng(6)
    signal = random_rdms(generator, 1, n_stimuli=12)[0]
    brain = signal + 0.5 * random_rdms(generator, 1, 4, n_stimuli=12)
    models = np.stack([signal, *random_rdms(generator, 3, n_stimuli=12)])
    for metric in RSATOOLBOX:
        found = permute_labels({"roi": brain}, models, ["g", "h", "h", "h"], metric, 200, generator)
        assert found.models.p_max[0, 0] == found.p_floor
        assert (found.models.p[0, 1:] > 0.01).all()
        assert (found.model_pairs.statistic[0, :3] > 0.03).all()
        assert (found.model_pairs.p_max[0, :3] <= 0.02).all()
        assert found.group_pairs.p[0, 0] <= 0.02


def test_false_positives_are_as_rare_as_promised():
    generator = np.random.default_rng(7)
    n_simulations = 1000
    positives = np.zeros((3, 3))
    for _ in range(n_simulations):
        # A shared component makes regions and models alike; the second region is noisier.
        shared, shared_model = random_rdms(generator, 2, n_stimuli=8)
        brain = {
            name: shared + noise * random_rdms(generator, 1, 3, n_stimuli=8)
            for name, noise in (("a", 0.3), ("b", 3.0))
        }
        models = shared_model + random_rdms(generator, 4, n_stimuli=8)
        found = permute_labels(brain, models, list("ggkk"), "pearson", 200, generator)
        for row, tests in enumerate((found.models, found.model_pairs, found.group_pairs)):
            positives[row] += (
                (tests.p <= 0.05).mean(),
                tests.p_max.min() <= 0.05,
                tests.p_fdr.min() <= 0.05,
            )
    rates = positives / n_simulations
    # Three standard errors of a rate of 0.05 in so many simulations are 0.021.
    assert ((rates[:, :2] > 0.029) & (rates[:, :2] < 0.071)).all(), rates
    assert (rates[:, 2] < 0.071).all(), rates


def test_results_do_not_depend_on_the_size_of_chunks(monkeypatch):
    generator = np.random.default_rng(8)
    brain = {name: random_rdms(generator, 1, 3, n_stimuli=9) for name in "ab"}
    models = random_rdms(generator, 3, n_stimuli=9)

    def results(metric):
        found = permute_labels(brain, models, list("gkk"), metric, 111, np.random.default_rng(9))
        return np.concatenate(
            [
                np.ravel([tests.p, tests.p_max, tests.p_fdr])
                for tests in (found.models, found.model_pairs, found.group_pairs)
            ]
        )

    before = {metric: results(metric) for metric in ("pearson", "kendall-tau-a")}
    monkeypatch.setattr(permutation, "PERMUTATIONS_AT_ONCE", 7)
    monkeypatch.setattr(permutation, "SIGNS_AT_ONCE", 300)
    for metric, values in before.items():
        assert (results(metric) == values).all()


def test_regions_do_not_change_each_others_uncorrected_results():
    generator = np.random.default_rng(10)
    brain = {name: random_rdms(generator, 1, 3, n_stimuli=9) for name in "ab"}
    models = random_rdms(generator, 3, n_stimuli=9)
    arguments = models, list("gkk"), "spearman", 200
    together = permute_labels(brain, *arguments, np.random.default_rng(11))
    alone = permute_labels({"b": brain["b"]}, *arguments, np.random.default_rng(11))
    assert (together.models.p[1] == alone.models.p[0]).all()
    assert (together.models.p_max[1] >= alone.models.p_max[0]).all()


def test_missing_rdms_are_left_out():
    generator = np.random.default_rng(12)
    brain = random_rdms(generator, 1, 4, n_stimuli=8)
    missing = brain.copy()
    missing[0, 1] = np.nan
    models = random_rdms(generator, 4, n_stimuli=8)
    models[2] = 1.0
    groups = ["g", "k", "g", "empty"]
    models[3, 0] = np.nan
    arguments = models, groups, "pearson", 150
    found = permute_labels(
        {"roi": missing, "nothing": np.full_like(brain, np.nan)},
        *arguments,
        np.random.default_rng(0),
    )
    without = permute_labels({"roi": brain[:, [0, 2, 3]]}, *arguments, np.random.default_rng(0))
    for tests, expected in (
        (found.models, without.models),
        (found.model_pairs, without.model_pairs),
        (found.group_pairs, without.group_pairs),
    ):
        for values, expected_values in (
            (tests.statistic, expected.statistic),
            (tests.p, expected.p),
            (tests.p_max, expected.p_max),
            (tests.p_fdr, expected.p_fdr),
        ):
            np.testing.assert_allclose(values[0], expected_values[0], atol=1e-14)
            assert np.isnan(values[1]).all()
    assert np.isfinite(found.models.p[0]).tolist() == [True, True, False, False]
    assert np.isfinite(found.model_pairs.p[0]).tolist() == [True] + [False] * 5
    # Group g is left with its first model.
    assert found.group_pairs.p[0, 0] == found.model_pairs.p[0, 0]
    assert np.isnan(found.group_pairs.p[0, 1:]).all()


def test_equal_models_do_not_differ():
    generator = np.random.default_rng(13)
    brain = {"roi": random_rdms(generator, 1, 3, n_stimuli=8)}
    model = random_rdms(generator, 1, n_stimuli=8)[0]
    found = permute_labels(
        brain, np.stack([model, 3 * model + 0.1]), ["g", "k"], "pearson", 200, generator
    )
    for tests in (found.model_pairs, found.group_pairs):
        assert abs(tests.statistic[0, 0]) < 1e-14
        assert tests.p[0, 0] == tests.p_max[0, 0] == 1


def test_equal_models_add_nothing_to_the_maximum():
    generator = np.random.default_rng(17)
    brain = {"roi": random_rdms(generator, 1, 3, n_stimuli=8)}
    model, other = random_rdms(generator, 2, n_stimuli=8)
    models = np.stack([model, 3 * model + 0.1, other])
    pairs = permute_labels(brain, models, ["g"] * 3, "pearson", 200, generator).model_pairs
    assert (pairs.p_max[0, 1:] == pairs.p[0, 1:]).all()


def test_one_model_of_one_group_has_no_pairs():
    generator = np.random.default_rng(14)
    found = permute_labels(
        {"roi": random_rdms(generator, 1, 1, n_stimuli=6)},
        random_rdms(generator, 1, n_stimuli=6),
        ["g"],
        "pearson",
        100,
        generator,
    )
    assert found.models.p.shape == (1, 1)
    assert found.model_pairs.p.shape == found.group_pairs.p.shape == (1, 0)


def test_scores_of_many_stimuli_are_summed_over_blocks_of_pairs() -> None:
    rng = np.random.default_rng(0)
    n_stimuli, n_pairs = 100, 4950
    brain, models = rng.standard_normal((2, 3, n_pairs)), rng.standard_normal((4, n_pairs))
    permutations = draw_permutations(n_stimuli, 120, rng)
    found, _ = null_scores(brain, models, "pearson", permutations)
    first, second = np.triu_indices(n_stimuli, k=1)
    for row in (0, 49, 50, 119):
        order = permutations[row]
        squares = [[squareform(rdm)[order[first], order[second]] for rdm in rdms] for rdms in brain]
        expected = [
            np.mean([[np.corrcoef(rdm, m)[0, 1] for m in models] for rdm in rdms], axis=0)
            for rdms in squares
        ]
        np.testing.assert_allclose(found[row], expected, atol=1e-12)
