"""Groups of models compared, models being a sample as subjects and stimuli are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.inference.random_effects import (
    Estimates,
    Levels,
    Pairs,
    Stratum,
    infer,
    mean_squares,
)


@dataclass(frozen=True)
class GroupDifference:
    """The factor of models nested in two groups, whose difference in means is of interest.

    Attributes
    ----------
    in_first, in_second : ndarray of int
        The models of either group.
    """

    in_first: NDArray[np.intp]
    in_second: NDArray[np.intp]

    def split(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], tuple[Stratum, ...]]:
        """Split values (..., models) into the groups' difference and the models within groups.

        The groups are taken to vary alike, as the paper's 3 language models would else leave two
        degrees of freedom.
        """
        groups = values[..., self.in_first], values[..., self.in_second]
        first, second = (group.mean(axis=-1, keepdims=True) for group in groups)
        deviations = np.concatenate([groups[0] - first, groups[1] - second], axis=-1)
        n_first, n_second = len(self.in_first), len(self.in_second)
        df = n_first + n_second - 2
        within = Stratum(deviations / np.sqrt(df), 1 / n_first + 1 / n_second, df)
        return first - second, (within,)


def compare_groups(
    influence: NDArray[np.float64],
    groups: Sequence[NDArray[np.intp]],
    n_stimuli: int,
    confidence: float = 0.95,
) -> Estimates:
    """Difference in mean score between two groups, over new subjects, stimuli and models.

    Parameters
    ----------
    influence : ndarray, (models, subjects, pairs)
        From `conceptrsa.analysis.inference.influence`, means over folds. A model with a NaN is no
        member of its group.
    groups : two ndarrays of int
        Models of the first and of the second group.
    n_stimuli : int
    confidence : float

    Returns
    -------
    Estimates
        Of one element; NaN where either group has no model, or neither has two, because nothing
        is then known of how models differ.

    Notes
    -----
    The linear mixed model score ~ group + (1 | subject) + (1 | stimulus) + (1 | group:model) and
    all interactions, in a balanced design, by the method of moments: where no component is
    negative that is restricted maximum likelihood.
    """
    usable = np.isfinite(influence.sum(axis=(1, 2)))
    first, second = (group[usable[group]] for group in groups)
    if min(len(first), len(second)) == 0 or max(len(first), len(second)) == 1:
        return Estimates(*(np.full(1, np.nan) for _ in range(5)))
    factors = Levels(), Pairs(n_stimuli), GroupDifference(first, second)
    values = np.moveaxis(influence, 0, -1)[None]
    return infer(mean_squares(values, factors), np.ones((1, 1)), confidence)
