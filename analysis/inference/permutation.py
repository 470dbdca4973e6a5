"""Permutation of the stimuli's labels: are models related to the brain, and which one more?

Under the null hypothesis the models are unrelated to the brain, and the names of the stimuli in
the brain's RDMs mean nothing: rows and columns of an RDM may be permuted jointly (Kriegeskorte et
al., 2008). Subjects, folds and regions are permuted alike, so that what they share stays shared.

The family-wise p compares each statistic with the largest of all under every permutation (Nichols
and Holmes, 2002). Statistics are first divided by their own standard deviation over permutations,
so that no region or model sets the limit for the others only because its statistic varies more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations as all_orders
from typing import Any

import numpy as np
from scipy.spatial.distance import squareform

from conceptrsa.analysis.arrays import Booleans, Floats, Integers, Singles
from conceptrsa.analysis.inference.tests_over_subjects import benjamini_hochberg
from conceptrsa.analysis.rsa.correlations import (
    correlate_rdms,
    mean_over_subjects,
    mean_ranks,
    number_of_stimuli,
    standardise,
    vary,
)
from conceptrsa.analysis.rsa.relabelled_rdms import add_relabelled, blocks_of_rows
from conceptrsa.analysis.settings import RsaMetric, is_own
from conceptrsa.bids_config.machine import map_on_threads

PERMUTATIONS_AT_ONCE, PAIRS_AT_ONCE = 50, 4096
"""Chunk size for which permuted distances stay in the processor's cache."""

SIGNS_AT_ONCE = 1_000_000
"""Signs of differences that Kendall's tau takes for the brain RDMs at once."""

TOLERANCE = 1e-12
"""Statistics that differ by less are equal: permutations that change nothing but the order of a
sum must count as ties."""


def draw_permutations(
    n_stimuli: int, n_permutations: int, generator: np.random.Generator
) -> Integers:
    """Permutations of the stimuli, the identity first.

    Returns
    -------
    ndarray, (permutations, stimuli)
        `n_permutations` of them; or all there are, each once, where these are no more, which
        makes the tests exact.
    """
    if math.factorial(n_stimuli) <= n_permutations:
        return np.array(list(all_orders(range(n_stimuli))), dtype=np.intp)
    orders = np.tile(np.arange(n_stimuli), (n_permutations, 1))
    generator.permuted(orders[1:], axis=1, out=orders[1:])
    return orders


def null_scores(
    brain: Floats, models: Floats, metric: RsaMetric, permutations: Integers
) -> tuple[Floats, Floats]:
    """Mean scores over folds and subjects, the brain RDMs' stimuli permuted jointly.

    Parameters
    ----------
    brain : ndarray, (regions, rdms, pairs)
        RDMs of all folds and subjects; constant ones or those with NaN are left out.
    models : ndarray, (models, pairs)
    metric : str
        Kendall's tau-a takes time in proportion to the *square* of the number of pairs.
    permutations : ndarray of int, (permutations, stimuli)

    Returns
    -------
    scores : ndarray, (permutations, regions, models)
        NaN for a model that is constant or holds a NaN, and a region without RDMs.
    expected : ndarray, (regions, models)
        Mean over all possible permutations: each pair of stimuli is as often in each place.
    """
    if is_own(metric):
        scores = _own_scores(brain, models, metric, permutations)
        return scores, scores.mean(axis=0)
    if metric == "kendall-tau-a":
        scores = _kendall_scores(brain, models, permutations)
        return scores, np.zeros(scores.shape[1:])
    region_vectors = _mean_over_rdms(standardise(brain, metric))
    model_vectors = standardise(models, metric)
    scores = _product_scores(region_vectors, model_vectors, permutations)
    return scores, np.outer(region_vectors.mean(axis=-1), model_vectors.sum(axis=-1))


def _mean_over_rdms(vectors: Floats) -> Floats:
    """Mean over the second-last axis of the vectors without NaN; NaN if there is none."""
    present = np.isfinite(vectors).all(axis=-1, keepdims=True)
    count = present.sum(axis=-2)
    total = np.where(present, vectors, 0.0).sum(axis=-2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _product_scores(
    region_vectors: Floats, model_vectors: Floats, permutations: Integers
) -> Floats:
    if len(region_vectors) > len(model_vectors):
        # Permuting the models the other way is the same, and there are fewer of them.
        inverse = np.argsort(permutations, axis=1)
        return _product_scores(model_vectors, region_vectors, inverse).swapaxes(1, 2)
    n_stimuli = permutations.shape[1]
    squares = [squareform(vector, checks=False) for vector in region_vectors]
    scores = np.zeros((len(permutations), len(region_vectors), len(model_vectors)))
    blocks = list(blocks_of_rows(n_stimuli, PAIRS_AT_ONCE))

    def score(start: int) -> None:
        some = slice(start, start + PERMUTATIONS_AT_ONCE)
        orders = permutations[some]
        for region, square in enumerate(squares):
            for rows, pairs in blocks:
                permuted = np.zeros((len(orders), pairs.stop - pairs.start))
                add_relabelled(square, orders, rows, permuted)
                scores[some, region] += permuted @ model_vectors[:, pairs].T

    map_on_threads(score, range(0, len(permutations), PERMUTATIONS_AT_ONCE))
    return scores


def _own_scores(brain: Floats, models: Floats, metric: RsaMetric, permutations: Integers) -> Floats:
    """Scores by a function of the user's own, which is called for every permutation and RDM."""
    first, second = np.triu_indices(permutations.shape[1], k=1)
    squares = np.stack([squareform(model, checks=False) for model in models])
    scores = np.empty((len(permutations), len(brain), len(models)))
    for index, order in enumerate(np.argsort(permutations, axis=1)):
        permuted = squares[:, order[first], order[second]]
        for region, rdms in enumerate(brain):
            scores[index, region] = mean_over_subjects(correlate_rdms(rdms, permuted, metric))
    return scores


def _kendall_scores(brain: Floats, models: Floats, permutations: Integers) -> Floats:
    """Kendall's tau-a as products of the signs of differences between all pairs of distances.

    Signs of a block of rows are summed over the RDMs of a region once, for all permutations. Sums
    are whole numbers, small enough in a block to be exact in single precision.
    """
    n_regions, n_rdms, n_pairs = brain.shape
    first, second = np.triu_indices(permutations.shape[1], k=1)
    # Differences of doubled ranks are whole numbers: clipped to 1, they are signs.
    brain_ranks = (2 * mean_ranks(brain)).astype(np.float32)
    model_ranks = (2 * mean_ranks(models)).astype(np.float32)
    squares = np.stack([squareform(ranks, checks=False) for ranks in model_ranks])
    present = vary(brain_ranks)
    # Permuting the models the other way is the same and leaves the sums over RDMs alone.
    inverse = np.argsort(permutations, axis=1)
    sums = np.zeros((len(permutations), n_regions, len(models)))
    exact = 2**24 // (n_pairs * n_rdms)
    n_rows = max(1, min(exact, SIGNS_AT_ONCE // (n_regions * n_pairs), n_pairs))
    for start in range(0, n_pairs, n_rows):
        rows = slice(start, min(start + n_rows, n_pairs))
        brain_signs = _summed_signs(brain_ranks, present, rows)
        for index, order in enumerate(inverse):
            permuted = squares[:, order[first], order[second]]
            model_signs = _signs(permuted, rows).reshape(len(models), -1)
            sums[index] += brain_signs @ model_signs.T
    count = present.sum(axis=1)[:, None] * np.where(vary(model_ranks), 1.0, np.nan)
    scale = count * (n_pairs * (n_pairs - 1) / 2)
    return sums / np.where(scale > 0, scale, np.nan)


def _signs(ranks: Singles, rows: slice) -> Singles:
    """Signs of the differences of some entries (rows) from them and all later ones (columns)."""
    differences = ranks[:, rows, None] - ranks[:, None, rows.start :]
    return np.clip(differences, -1, 1, out=differences)


def _summed_signs(ranks: Singles, present: Booleans, rows: slice) -> Singles:
    """Signs summed over the RDMs of every region, each two entries once: (regions, signs)."""
    summed = np.stack(
        [
            sum(
                (_signs(rdm[None], rows)[0] for rdm in of_region[there]),
                start=np.zeros((rows.stop - rows.start, ranks.shape[-1] - rows.start), np.float32),
            )
            for of_region, there in zip(ranks, present, strict=True)
        ]
    )
    return np.triu(summed, k=1).reshape(len(ranks), -1)


@dataclass(frozen=True)
class PermutationTests:
    """Tests of one kind in all regions; arrays (regions, tests), NaN where nothing was tested.

    Attributes
    ----------
    statistic : ndarray
        Score, or difference between two scores.
    p : ndarray
        Share of permutations, the identity among them, with a statistic as large.
    p_max : ndarray
        Corrected over all tests and regions by the largest standardised statistic (family-wise).
    p_fdr : ndarray
        Corrected over all tests and regions after Benjamini and Hochberg.
    """

    statistic: Floats
    p: Floats
    p_max: Floats
    p_fdr: Floats

    def row(self, region: int, test: int) -> dict[str, Any]:
        """Give one test's numbers, named as in the tables of tests."""
        place = region, test
        return {
            "statistic": float(self.statistic[place]),
            "p": float(self.p[place]),
            "p_corrected": float(self.p_fdr[place]),
            "p_max": float(self.p_max[place]),
        }


def permutation_tests(
    contrasts: Floats, null: Sequence[Floats], expected: Floats, *, two_sided: bool
) -> PermutationTests:
    """Test weighted sums of scores.

    Parameters
    ----------
    contrasts : ndarray, (scores, tests)
        Each test's weights; NaN where there is nothing to test.
    null : sequence of ndarray, (permutations, scores)
        Of each region, scores under every permutation, the identity first; NaN scores make their
        tests NaN.
    expected : ndarray, (regions, scores)
        Means over all possible permutations, from which two-sided tests count both ways.
    two_sided : bool
        Whether large means far from the expected value; otherwise, above it.
    """
    identity = np.stack([of_region[0] for of_region in null])
    missing = ~np.isfinite(identity)
    weights = np.nan_to_num(contrasts)
    unusable = (missing.astype(float) @ (weights != 0) > 0) | np.isnan(contrasts).any(axis=0)

    def test(region: int) -> tuple[Floats, Floats, Floats, Floats]:
        """Statistics, divisors, shares of permutations as large, and the largest of each."""
        scores = np.where(missing[region], 0.0, null[region] - expected[region])
        found = scores @ weights
        if two_sided:
            np.abs(found, out=found)
        observed = found[0].copy()
        share = np.mean(found >= observed - TOLERANCE, axis=0)
        sd = np.sqrt(np.einsum("nt,nt->t", found, found) / len(found))
        precision = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > TOLERANCE)
        found *= precision
        largest = found[:, ~unusable[region]].max(axis=1, initial=-np.inf)
        return observed, precision, share, largest

    every = map_on_threads(test, range(len(missing)))
    observed, precision, share = (np.stack(values) for values in list(zip(*every, strict=True))[:3])
    maxima = np.max([largest for *_, largest in every], axis=0)
    p = np.where(unusable, np.nan, share)
    below = np.searchsorted(np.sort(maxima), (observed - TOLERANCE) * precision, side="left")
    p_max = (len(maxima) - below) / len(maxima)
    return PermutationTests(
        statistic=np.where(unusable, np.nan, np.where(missing, 0.0, identity) @ weights),
        p=p,
        p_max=np.where(unusable, np.nan, p_max),
        p_fdr=benjamini_hochberg(p.ravel()).reshape(p.shape),
    )


@dataclass(frozen=True)
class LabelPermutations:
    """All tests by permutation of the stimuli's labels.

    Attributes
    ----------
    p_floor : float
        The smallest p that so many permutations can give.
    models : PermutationTests
        Each model against no relation, one-sided (greater).
    model_pairs, group_pairs : PermutationTests
        Each two models, and the means of each two groups' models, two-sided, in the order of
        `itertools.combinations`.
    """

    p_floor: float
    models: PermutationTests
    model_pairs: PermutationTests
    group_pairs: PermutationTests

    def without_p(self) -> "LabelPermutations":
        """Give the statistics alone, where permutations are too few to test anything."""
        tests = (self.models, self.model_pairs, self.group_pairs)
        nothing = [np.full_like(one.statistic, np.nan) for one in tests]
        return LabelPermutations(
            self.p_floor,
            *(
                replace(one, p=none, p_max=none, p_fdr=none)
                for one, none in zip(tests, nothing, strict=True)
            ),
        )


def permute_labels(
    brain: Mapping[str, Floats],
    models: Floats,
    groups: Sequence[str],
    metric: RsaMetric,
    n_permutations: int,
    generator: np.random.Generator,
) -> LabelPermutations:
    """Test models, pairs of models and pairs of groups in all regions.

    Parameters
    ----------
    brain : mapping of str to ndarray, (folds, subjects, pairs)
        By region. A score is the mean over the RDMs of all folds and subjects; RDMs with a
        NaN, or constant (cosines: zero) ones, are left out.
    models : ndarray, (models, pairs)
        A model that cannot be compared, likewise, gets NaN and is no member of its group.
    groups : sequence of str
        Of the models.
    metric : str
        Kendall's tau-a is slow: one permutation of 50 stimuli, 16 models and 12 regions costs
        what hundreds cost with the others.
    n_permutations : int
        The identity among them; where there are no more permutations than that, all are taken
        and the tests are exact. Of each only the scores are kept, (regions, models).
    generator : Generator

    Returns
    -------
    LabelPermutations
    """
    rdms = np.stack([values.reshape(-1, values.shape[-1]) for values in brain.values()])
    n_stimuli = number_of_stimuli(models.shape[-1])
    permutations = draw_permutations(n_stimuli, n_permutations, generator)
    return label_tests(*null_scores(rdms, models, metric, permutations), groups)


def label_tests(
    null: Floats | Sequence[Floats], expected: Floats, groups: Sequence[str]
) -> LabelPermutations:
    """Test models, pairs of models and pairs of groups.

    Parameters
    ----------
    null : ndarray, (permutations, regions, models), or sequence of ndarray, (permutations, models)
        Scores as from `null_scores`, of all regions or of each.
    expected : ndarray, (regions, models)
    groups : sequence of str
    """
    null = list(null.swapaxes(0, 1)) if isinstance(null, np.ndarray) else null
    of_models = np.eye(len(groups))
    usable = np.isfinite(np.stack([of_region[0] for of_region in null])).any(axis=0)
    names = np.array(list(dict.fromkeys(groups)))
    members = (np.asarray(groups)[:, None] == names) & usable[:, None]
    with np.errstate(invalid="ignore"):
        of_groups = members / members.sum(axis=0)
    return LabelPermutations(
        p_floor=1 / len(null[0]),
        models=permutation_tests(of_models, null, expected, two_sided=False),
        model_pairs=permutation_tests(_differences(of_models), null, expected, two_sided=True),
        group_pairs=permutation_tests(_differences(of_groups), null, expected, two_sided=True),
    )


def _differences(means: Floats) -> Floats:
    """Differences between each two columns."""
    first, second = np.triu_indices(means.shape[1], k=1)
    return np.asarray(means[:, first] - means[:, second])
