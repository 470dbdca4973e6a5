"""How much each stimulus raises or lowers the models' mean scores."""

from collections.abc import Sequence

import numpy as np

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.inference.stimulus_pulls import models_of_subject, pull_scores
from conceptrsa.analysis.rsa.correlations import number_of_stimuli
from conceptrsa.analysis.settings import RsaMetric, is_product

MOST_PRODUCTS = 2_000_000_000
"""So many products of distances take some seconds; no more are computed."""

FEWEST_STIMULI = 5


def influence_on_scores(
    models: Floats, regions: Sequence[Floats], metric: RsaMetric
) -> list[Floats] | None:
    """Estimate by how much each mean score would fall without each of the stimuli.

    Parameters
    ----------
    models : ndarray, (models, pairs)
    regions : sequence of ndarray, (folds, subjects, pairs)
        The brain's RDMs.
    metric : str

    Returns
    -------
    list of ndarray, (models, stimuli), or None
        A region each, means over its subjects with an RDM; they add up to zero over the stimuli.
        NaN where there is no score. None where this is not computed: of a function of the user's
        own, and of Kendall's tau or very many distances where it would take too long.

    Notes
    -----
    The mean of the influences of all pairs (`pair_influence`) is the score; without a stimulus it
    is, to first order, the mean of those of the pairs that are left. With n stimuli, which pull by
    a (`pull_scores`), the difference is 2 a / (n - 1).
    """
    n_models, n_pairs = models.shape
    n_stimuli = number_of_stimuli(n_pairs)
    n_rdms = sum(rdms.shape[0] * rdms.shape[1] for rdms in regions)
    n_products = n_rdms * n_models * n_pairs * (1 if is_product(metric) else n_pairs)
    is_quick = is_product(metric) or metric == "kendall-tau-a"
    if not is_quick or n_products > MOST_PRODUCTS or n_stimuli < FEWEST_STIMULI:
        return None
    prepared = models_of_subject(models, metric)
    found = []
    for rdms in regions:
        of_subjects = rdms.swapaxes(0, 1)
        usable = np.isfinite(of_subjects).all(axis=(1, 2)) & (np.ptp(of_subjects, axis=2) > 0).all(
            1
        )
        if not usable.any():
            found.append(np.full((n_models, n_stimuli), np.nan))
            continue
        # The mean over subjects and folds at once: every subject has as many folds.
        pulls = pull_scores(prepared, of_subjects[usable].reshape(-1, n_pairs), metric)
        found.append(2 / (n_stimuli - 1) * pulls.of_stimuli)
    return found
