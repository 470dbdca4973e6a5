"""Permutation of the stimuli's labels: are models related to the brain, and which one more?

Under the null hypothesis the models are unrelated to the brain, and the names of the stimuli in
the brain's RDMs mean nothing: rows and columns of an RDM may be permuted jointly (Kriegeskorte et
al., 2008). Subjects, folds and regions are permuted alike, so that what they share stays shared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import num_obs_y

from analysis.inference.multiple_testing import PermutationTests, permutation_tests
from analysis.inference.permutation_null import draw_permutations, null_scores
from analysis.settings import RsaMetric


@dataclass(frozen=True)
class LabelPermutations:
    """All tests by permutation of the stimuli's labels.

    Attributes
    ----------
    regions : tuple of str
        Rows of all tables.
    n_permutations : int
        The identity among them.
    models : PermutationTests
        Each model against no relation, one-sided (greater).
    model_pairs, group_pairs : PermutationTests
        Each two models, and the means of each two groups' models, two-sided.
    """

    regions: tuple[str, ...]
    n_permutations: int
    models: PermutationTests
    model_pairs: PermutationTests
    group_pairs: PermutationTests

    @property
    def p_floor(self) -> float:
        """The smallest p that so many permutations can give."""
        return 1 / self.n_permutations


def permute_labels(
    brain: Mapping[str, NDArray[np.float64]],
    models: NDArray[np.float64],
    names: Sequence[str],
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
    names, groups : sequence of str
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
    permutations = draw_permutations(num_obs_y(models[0]), n_permutations, generator)
    null, expected = null_scores(rdms, models, metric, permutations)
    usable = np.isfinite(null[0]).any(axis=0)
    pairs = tuple(combinations(range(len(names)), 2))
    group_pairs = tuple(combinations(dict.fromkeys(groups), 2))
    return LabelPermutations(
        regions=tuple(brain),
        n_permutations=len(permutations),
        models=permutation_tests(
            tuple((name,) for name in names), np.eye(len(names)), null, expected, two_sided=False
        ),
        model_pairs=permutation_tests(
            tuple((names[a], names[b]) for a, b in pairs),
            _differences(np.eye(len(names)), pairs),
            null,
            expected,
            two_sided=True,
        ),
        group_pairs=permutation_tests(
            group_pairs,
            _group_differences(groups, group_pairs, usable),
            null,
            expected,
            two_sided=True,
        ),
    )


def _differences(
    means: NDArray[np.float64], pairs: Sequence[tuple[int, int]]
) -> NDArray[np.float64]:
    """Columns of the differences between columns a and b."""
    first, second = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    return np.asarray(means[:, first] - means[:, second])


def _group_differences(
    groups: Sequence[str], pairs: Sequence[tuple[str, str]], usable: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Weights of the models in the differences between groups' means; NaN for an empty group."""
    names = list(dict.fromkeys(groups))
    members = (np.asarray(groups)[:, None] == np.asarray(names)) & usable[:, None]
    with np.errstate(invalid="ignore"):
        means = members / members.sum(axis=0)
    return _differences(means, [(names.index(a), names.index(b)) for a, b in pairs])
