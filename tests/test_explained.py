"""What groups of models explain, against least squares, permutations and planted truth."""

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from conceptrsa.analysis.inference.explained import (
    SameStimuli,
    partial_rsa,
    partition_variance,
    shared_parts,
    variance_parts,
)
from conceptrsa.analysis.rsa.correlations import whiten
from conceptrsa.analysis.rsa.distances import compute_rdm
from conceptrsa.bids_config.errors import InputError

GROUPS = ["multimodal"] * 2 + ["visual"] * 3 + ["language"]


def random_rdms(rng: np.random.Generator, n_rdms: int, n_stimuli: int, n_features: int = 3):
    """Euclidean distances in few dimensions, whose stimuli differ in how far they are from all."""
    return np.stack(
        [
            compute_rdm(rng.standard_normal((n_stimuli, n_features)), "euclidean")
            for _ in range(n_rdms)
        ]
    )


def plain_r2(rdm: np.ndarray, models: np.ndarray) -> float:
    design = np.column_stack([np.ones(len(rdm)), *models])
    fitted = design @ np.linalg.lstsq(design, rdm)[0]
    return 1 - np.sum((rdm - fitted) ** 2) / np.sum((rdm - rdm.mean()) ** 2)


def test_raw_shares_are_least_squares_of_whitened_rdms() -> None:
    rng = np.random.default_rng(0)
    rdms, models = random_rdms(rng, 3, 12), random_rdms(rng, 6, 12)
    found = partition_variance(rdms, models, GROUPS)
    assert found.subsets[3] == ("multimodal", "visual")
    assert found.r2_raw.shape == (3, 7)
    for column, chosen in enumerate(found.subsets):
        members = [index for index, group in enumerate(GROUPS) if group in chosen]
        expected = [plain_r2(rdm, whiten(models[members])) for rdm in whiten(rdms)]
        np.testing.assert_allclose(found.r2_raw[:, column], expected, atol=1e-12)


def test_chance_is_the_mean_over_relabellings() -> None:
    """Of all 5! relabellings: the closed form is exact."""
    rng = np.random.default_rng(1)
    rdm, models = random_rdms(rng, 1, 5)[0], random_rdms(rng, 3, 5)
    first, second = np.triu_indices(5, k=1)
    square = squareform(rdm)
    relabelled = np.array(
        [square[np.ix_(order, order)][first, second] for order in permutations(range(5))]
    )
    groups = ["a", "a", "b"]
    every = partition_variance(relabelled, models, groups)
    np.testing.assert_allclose(
        partition_variance(rdm, models, groups).chance, every.r2_raw.mean(axis=0), atol=1e-12
    )
    assert np.ptp(every.chance, axis=0).max() < 1e-12


def test_white_rdms_are_corrected_as_usual() -> None:
    rng = np.random.default_rng(2)
    n_pairs = 300
    rdms, models = rng.standard_normal((2000, n_pairs)), random_rdms(rng, 6, 25)
    # Such that they are white once they are whitened.
    rdms = np.linalg.solve(whiten(np.eye(n_pairs)), rdms.T).T
    found = partition_variance(rdms, models, GROUPS)
    np.testing.assert_allclose(found.chance[:, -1].mean(), 6 / (n_pairs - 1), rtol=0.01)
    shares = found.r2[:, -1]
    assert abs(shares.mean()) < 4 * shares.std() / np.sqrt(2000)


def test_two_groups_by_hand() -> None:
    rng = np.random.default_rng(3)
    rdms, models = random_rdms(rng, 4, 10), random_rdms(rng, 4, 10)
    found = partition_variance(rdms, models, ["a", "b", "b", "a"])
    a, b, both = found.r2.T
    np.testing.assert_allclose(found.parts.T, [both - b, both - a, a + b - both], atol=1e-12)
    np.testing.assert_allclose(found.parts.T[:2], [both - b, both - a], atol=1e-12)


@pytest.mark.parametrize("n_groups", [1, 3, 4])
def test_parts_add_up_to_every_share(n_groups: int) -> None:
    rng = np.random.default_rng(n_groups)
    groups = [f"group {index % n_groups}" for index in range(8)]
    found = partition_variance(random_rdms(rng, 3, 12), random_rdms(rng, 8, 12), groups)
    assert found.parts.shape == (3, 2**n_groups - 1)
    for column, chosen in enumerate(found.subsets):
        touched = [bool(set(part) & set(chosen)) for part in found.subsets]
        np.testing.assert_allclose(
            found.parts[:, touched].sum(axis=1), found.r2[:, column], atol=1e-12
        )


def test_of_many_groups_what_several_share_is_one_part() -> None:
    rng = np.random.default_rng(7)
    groups = [f"group {index % 6}" for index in range(8)]
    names = tuple(dict.fromkeys(groups))
    rdms, models = random_rdms(rng, 3, 20), random_rdms(rng, 8, 20)
    found = partition_variance(rdms, models, groups)
    assert found.parts.shape == (3, 7)
    np.testing.assert_allclose(found.parts.sum(axis=1), found.r2[:, -1], atol=1e-12)
    for column, name in enumerate(names):
        # With the others as one group, this one's own share is the same.
        two = ["own" if group == name else "others" for group in groups]
        alone = partition_variance(rdms, models, two)
        own = alone.parts[:, alone.subsets.index(("own",))]
        np.testing.assert_allclose(found.parts[:, column], own, atol=1e-12)
    labels = [
        part.part for part in variance_parts([SameStimuli({"V1": rdms[None]}, models)], groups)
    ]
    assert labels[:7] == [*(f"explained by {name}" for name in names), "explained by all"]
    assert labels[7:] == [*(f"only by {name}" for name in names), "shared by several"]


def test_names_of_groups_do_not_run_together() -> None:
    assert shared_parts(("a", "b", "c"))[-1] == "shared by a and b and c"
    parts = shared_parts(("a", "b and c", "b", "c"))
    assert "shared by a + b and c" in parts
    assert len(set(parts)) == len(parts) == 11


def test_unrelated_models_explain_nothing_where_the_usual_adjustment_fails() -> None:
    rng = np.random.default_rng(4)
    corrected, adjusted = [], []
    for _ in range(60):
        rdm, models = random_rdms(rng, 1, 30)[0], random_rdms(rng, 6, 30)
        found = partition_variance(rdm, models, GROUPS)
        corrected.append([found.r2[-1], *found.parts[:3]])
        adjusted.append(1 - (1 - plain_r2(rdm, models)) * 434 / 428)
    mean, error = np.mean(corrected, axis=0), np.std(corrected, axis=0) / np.sqrt(60)
    assert (np.abs(mean) < 4 * error).all()
    assert (np.abs(mean) < 0.01).all()
    assert np.mean(adjusted) > 0.04


def test_planted_parts_are_found() -> None:
    rng = np.random.default_rng(5)
    multimodal, visual, both, own, language = (rng.standard_normal((60, 20)) for _ in range(5))
    almost = both + 0.3 * rng.standard_normal((60, 20))
    models = np.stack(
        [
            compute_rdm(features, "correlation")
            for features in (multimodal, both, visual, almost, language)
        ]
    )
    rdm = compute_rdm(np.hstack([multimodal, both, own]), "correlation")
    groups = ["multimodal"] * 2 + ["visual"] * 2 + ["language"]
    found = partition_variance(rdm, models, groups)
    parts = dict(zip(found.subsets, found.parts, strict=True))
    assert parts[("multimodal",)] == pytest.approx(1 / 3, abs=0.1)
    assert parts[("multimodal", "visual")] == pytest.approx(1 / 3, abs=0.1)
    assert found.r2[-1] == pytest.approx(2 / 3, abs=0.1)
    for nothing in (("visual",), ("language",), ("multimodal", "language")):
        assert abs(parts[nothing]) < 0.02


def test_models_that_repeat_others_add_nothing() -> None:
    rng = np.random.default_rng(6)
    rdms, models = random_rdms(rng, 2, 12), random_rdms(rng, 3, 12)
    once = partition_variance(rdms, models, ["a", "a", "b"])
    twice = partition_variance(rdms, np.vstack([models, models[:1]]), ["a", "a", "b", "a"])
    np.testing.assert_allclose(twice.r2, once.r2, atol=1e-12)


def test_missing_rdms_and_too_many_models() -> None:
    rng = np.random.default_rng(8)
    rdms, models = random_rdms(rng, 3, 12), random_rdms(rng, 6, 12)
    rdms[1, 4] = np.nan
    found = partition_variance(rdms, models, GROUPS)
    assert np.isnan(found.parts[1]).all()
    assert np.isfinite(found.parts[[0, 2]]).all()
    few = partition_variance(random_rdms(rng, 1, 4)[0], random_rdms(rng, 6, 4), GROUPS)
    assert np.isnan(few.r2[-1])
    models[3] = 0.5
    for function in (partition_variance, lambda *a: partial_rsa(*a, "pearson")):
        with pytest.raises(InputError, match="model 4 of 6"):
            function(rdms, models, GROUPS)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_partial_correlations_of_the_precision_matrix(metric: str) -> None:
    rng = np.random.default_rng(9)
    rdms, models = random_rdms(rng, 2, 15), random_rdms(rng, 6, 15)
    found = partial_rsa(rdms, models, GROUPS, metric)
    assert found.shape == (2, 6, 4)
    groups = np.array(GROUPS)

    def partial(rdm: np.ndarray, model: int, constant: np.ndarray) -> float:
        variables = np.vstack([rdm, models[model], models[constant]])
        if metric == "spearman":
            variables = rankdata(variables, axis=1)
        precision = np.linalg.inv(np.corrcoef(variables))
        return -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])

    for subject, rdm in enumerate(rdms):
        for model, group in enumerate(GROUPS):
            others = partial(rdm, model, groups != group)
            assert found[subject, model, -1] == pytest.approx(others, abs=1e-10)
            for column, name in enumerate(dict.fromkeys(GROUPS)):
                value = found[subject, model, column]
                if name == group:
                    assert np.isnan(value)
                else:
                    assert value == pytest.approx(partial(rdm, model, groups == name), abs=1e-10)


def test_partial_correlation_of_what_is_held_constant_is_unknown() -> None:
    rng = np.random.default_rng(10)
    rdms, models = random_rdms(rng, 2, 12), random_rdms(rng, 4, 12)
    models[3] = 2 * models[0] + 1
    rdms[1] = np.nan
    found = partial_rsa(rdms, models, ["a", "a", "b", "b"], "pearson")
    assert np.isfinite(found[0, [1, 2], -1]).all()
    assert np.isnan(found[0, [0, 3], -1]).all()
    assert np.isnan(found[1]).all()
    assert np.isnan(partial_rsa(rdms, models, ["a"] * 4, "pearson")).all()
    with pytest.raises(ValueError, match="cosine"):
        partial_rsa(rdms, models, ["a", "a", "b", "b"], "cosine")
