"""Standard errors of models' scores by bootstrap over subjects, stimuli, or both.

A sample is described by how often each subject and each stimulus was drawn. A pair of stimuli
drawn c_i and c_j times occurs c_i c_j times in the resampled RDM; pairs of a stimulus with itself
are left out (Schuett et al., 2023). So no RDM has to be resampled: its entries have weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from conceptrsa.analysis.arrays import Booleans, Floats, Integers
from conceptrsa.analysis.rsa.correlations import number_of_stimuli, standardise, variance_of_present
from conceptrsa.analysis.settings import RsaMetric, is_own

MIN_STIMULI = 6
"""Of fewer stimuli, samples hold too few to give a standard error."""

MIN_DISTINCT = 3
"""Distinct stimuli of a sample: two make a single distance."""

WEIGHTS_AT_ONCE = 300_000
"""Weights of pairs held at once, whatever the number of samples."""

SIGNS_AT_ONCE = 200_000


@dataclass(frozen=True)
class Draws:
    """How often each stimulus and subject was drawn.

    Attributes
    ----------
    stimuli : ndarray of int, (bootstraps, stimuli)
    subjects : ndarray of int, (bootstraps, subjects)
        All ones for a factor that is not resampled.
    """

    stimuli: Integers
    subjects: Integers

    def of_subjects(self) -> "Draws":
        """The same draws of subjects, with every stimulus once."""
        return replace(self, stimuli=np.ones_like(self.stimuli))

    def of_stimuli(self) -> "Draws":
        """The same draws of stimuli, with every subject once."""
        return replace(self, subjects=np.ones_like(self.subjects))


def draw_samples(
    n_stimuli: int, n_subjects: int, n_bootstraps: int, generator: np.random.Generator
) -> Draws:
    """Draw with replacement as many stimuli, and as many subjects, as there are.

    Samples of fewer than 3 distinct stimuli are drawn anew.

    Raises
    ------
    ValueError
        For fewer than 3 stimuli.
    """
    if n_stimuli < MIN_DISTINCT:
        raise ValueError(f"{n_stimuli} stimuli cannot be resampled: {MIN_DISTINCT} are needed")

    def counts(n: int, size: int) -> Integers:
        return generator.multinomial(n, np.full(n, 1 / n), size=size).astype(np.intp)

    subjects, stimuli = counts(n_subjects, n_bootstraps), counts(n_stimuli, n_bootstraps)
    while (few := np.count_nonzero(stimuli, axis=1) < MIN_DISTINCT).any():
        stimuli[few] = counts(n_stimuli, int(few.sum()))
    return Draws(stimuli, subjects)


def bootstrap_errors(
    regions: Mapping[str, Floats],
    models: Floats,
    metric: RsaMetric,
    n_bootstraps: int,
    generator: np.random.Generator,
) -> dict[str, Floats]:
    """Standard errors of mean scores over subjects, over stimuli, and over both.

    With their small-sample factors, and that over both corrected (`two_factor_variance`).

    Parameters
    ----------
    regions : mapping of str to ndarray, (folds, subjects, pairs)
    models : ndarray, (models, pairs)
    metric : str
    n_bootstraps : int
        Samples, the same for all regions.
    generator : Generator

    Returns
    -------
    dict of str to ndarray, (3, models)
        By region; NaN for fewer than 6 stimuli.
    """
    n_subjects = next(iter(regions.values())).shape[1]
    n_stimuli = number_of_stimuli(models.shape[-1])
    if n_stimuli < MIN_STIMULI:
        return dict.fromkeys(regions, np.full((3, len(models)), np.nan))
    draws = draw_samples(n_stimuli, n_subjects, n_bootstraps, generator)
    errors = {}
    for roi, brain in regions.items():
        over_subjects, over_stimuli, over_both = (
            bootstrap_scores(drawn, brain, models, metric)
            for drawn in (draws.of_subjects(), draws.of_stimuli(), draws)
        )
        variances = (
            one_factor_variance(over_subjects, n_subjects),
            one_factor_variance(over_stimuli, n_stimuli),
            two_factor_variance(over_both, over_subjects, over_stimuli, n_subjects, n_stimuli),
        )
        errors[roi] = np.sqrt(variances)
    return errors


def bootstrap_scores(draws: Draws, brain: Floats, models: Floats, metric: RsaMetric) -> Floats:
    """Score models in given samples, so that regions can share them.

    Parameters
    ----------
    draws : Draws
    brain : ndarray, (folds, subjects, pairs)
        A subject's RDM that is constant or holds a NaN is left out of its fold, in the samples in
        which the subject was drawn as well.
    models : ndarray, (models, pairs)
        Constant ones, or those with a NaN, get NaN.
    metric : str
        Pearson, cosine and whitened cosine cost tens of microseconds a sample (50 stimuli, 5
        subjects, 16 models); Spearman and rho-a some hundreds; Kendall's tau-a tens of
        milliseconds.

    Returns
    -------
    ndarray, (bootstraps, models)
        Means over the RDMs of all folds and drawn subjects, equal to rsatoolbox's on the same
        draws; NaN where a sample does not allow a score, and for a function of the user's own,
        which knows no weights.
    """
    if is_own(metric):
        return np.full((len(draws.stimuli), len(models)), np.nan)
    # Few subjects make few samples: each is computed once.
    both = np.concatenate([draws.stimuli, draws.subjects], axis=1)
    distinct, place = np.unique(both, axis=0, return_inverse=True)
    stimuli, subjects = np.split(distinct, [draws.stimuli.shape[1]], axis=1)
    compare = _compare_ranks if metric in ("spearman", "rho-a", "kendall-tau-a") else _compare
    usable = _usable(models, metric)
    scores = np.full((len(distinct), len(models)), np.nan)
    n_rows = max(1, WEIGHTS_AT_ONCE // models.shape[1])
    for start in range(0, len(distinct), n_rows):
        rows = slice(start, start + n_rows)
        total = np.zeros((len(stimuli[rows]), usable.sum()))
        count = np.zeros_like(total)
        for fold in brain:
            there = _usable(fold, metric)
            found = compare(stimuli[rows], fold[there], models[usable], metric)
            present = subjects[rows, there, None] * np.isfinite(found)
            total += np.where(present > 0, present * found, 0.0).sum(axis=1)
            count += present.sum(axis=1)
        scores[rows, usable] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return scores[place.ravel()]


def _usable(rdms: Floats, metric: RsaMetric) -> Booleans:
    """Which RDMs can be compared at all."""
    vectors = standardise(rdms, "rho-a" if metric == "kendall-tau-a" else metric)
    return np.asarray(np.isfinite(vectors).all(axis=-1))


def _pair_weights(counts: Integers) -> Floats:
    """How often each pair of distinct stimuli occurs, (..., pairs), from counts (..., stimuli)."""
    first, second = np.triu_indices(counts.shape[-1], k=1)
    as_float = counts.astype(np.float64)
    return as_float[..., first] * as_float[..., second]


def _compare(stimuli: Integers, brain: Floats, models: Floats, metric: RsaMetric) -> Floats:
    """Compare by Pearson's correlation or a cosine: (bootstraps, subjects, models).

    One product of the weights with all products of two RDMs serves all samples: centring (Pearson)
    and double centring (whitened cosine) are projections, and take a product of two vectors of few
    elements off a weighted sum of products. NaN where an RDM is constant in a sample.
    """
    n_subjects = len(brain)
    rdms = np.concatenate([brain, models])
    if metric == "pearson":
        rdms = rdms - rdms.mean(axis=1, keepdims=True)
    # Of one size, so that one limit tells rounding from variance.
    rdms = rdms / np.sqrt(np.square(rdms).mean(axis=1, keepdims=True))
    weights = _pair_weights(stimuli)
    products = rdms[:n_subjects, None] * rdms[n_subjects:]
    covariance = np.einsum("bp,smp->bsm", weights, products, optimize=True)
    variance = weights @ np.square(rdms).T
    if metric != "cosine":
        removed, coefficients = (
            _centring(weights, rdms) if metric == "pearson" else _double_centring(stimuli, rdms)
        )
        covariance -= removed[:, :n_subjects] @ coefficients[:, n_subjects:].swapaxes(1, 2)
        variance -= np.einsum("brk,brk->br", removed, coefficients)
    varies = variance > 1e-12 * weights.sum(axis=1, keepdims=True)
    length = np.sqrt(np.where(varies, variance, np.nan))
    return np.asarray(covariance / (length[:, :n_subjects, None] * length[:, None, n_subjects:]))


def _centring(weights: Floats, rdms: Floats) -> tuple[Floats, Floats]:
    """Factors (bootstraps, rdms, 1) of what centring takes off the sums of products."""
    sums = (weights @ rdms.T)[..., None]
    return sums, sums / weights.sum(axis=1)[:, None, None]


def _double_centring(stimuli: Integers, rdms: Floats) -> tuple[Floats, Floats]:
    """What double centring takes off, where pairs of a stimulus with itself are missing.

    Whitened RDMs are the Gram matrices of centred patterns (Diedrichsen et al., 2021). With copies
    of stimuli, whose distances are left out, centring is the least-squares fit of b_i + b_j to all
    distances between two different stimuli (twice) and to the zeros of the diagonal (once).
    """
    n_stimuli = stimuli.shape[1]
    first, second = np.triu_indices(n_stimuli, k=1)
    squares = np.zeros((len(rdms), n_stimuli, n_stimuli))
    squares[:, first, second] = squares[:, second, first] = rdms
    counts = stimuli.astype(np.float64)
    sums = np.einsum("bi,rij->brj", counts, squares, optimize=True) * counts[:, None]
    normal = counts[:, :, None] * counts[:, None, :]
    diagonal = np.arange(n_stimuli)
    n_others = counts.sum(axis=1, keepdims=True) - counts
    normal[:, diagonal, diagonal] = np.where(counts > 0, counts * (n_others + 2), 1.0)
    return sums, np.linalg.solve(normal, sums.swapaxes(1, 2)).swapaxes(1, 2)


def _compare_ranks(stimuli: Integers, brain: Floats, models: Floats, metric: RsaMetric) -> Floats:
    """Compare by ranks, sample by sample: (bootstraps, subjects, models).

    The order of each RDM's entries is found once; ranks follow from cumulative weights. NaN where
    an RDM is constant in a sample (Spearman).
    """
    places = rankdata(np.concatenate([brain, models]), method="dense", axis=-1).astype(np.intp) - 1
    found = np.empty((len(stimuli), len(brain), len(models)))
    for index, all_weights in enumerate(_pair_weights(stimuli)):
        occurs = np.flatnonzero(all_weights)
        weights = all_weights[occurs]
        ranks = _weighted_ranks(places[:, occurs], weights, places.shape[1])
        of_brain, of_models = np.split(ranks, [len(brain)])
        total = weights.sum()
        if metric == "kendall-tau-a":
            found[index] = _concordance(of_brain, of_models, weights) / (total * (total - 1))
            continue
        centre = (total + 1) / 2
        deviations, other_deviations = of_brain - centre, of_models - centre
        weighted = deviations * weights
        products = weighted @ other_deviations.T
        if metric == "rho-a":
            found[index] = products * (12 / (total**3 - total))
            continue
        squares = np.einsum("np,np->n", weighted, deviations)
        other_squares = np.square(other_deviations) @ weights
        with np.errstate(divide="ignore", invalid="ignore"):
            found[index] = products / np.sqrt(squares[:, None] * other_squares)
    return found


def _weighted_ranks(places: Integers, weights: Floats, n_places: int) -> Floats:
    """Mean ranks from 1 of entries that occur several times, all copies tied.

    Parameters
    ----------
    places : ndarray of int, (rdms, entries)
        Numbers below `n_places` in the order of the values, equal for equal values.
    weights : ndarray, (entries,)
        How often each entry occurs.
    n_places : int

    Returns
    -------
    ndarray, (rdms, entries)
    """
    n_rdms = len(places)
    shifted = places + n_places * np.arange(n_rdms)[:, None]
    occurrences = np.bincount(
        shifted.ravel(), np.tile(weights, n_rdms), minlength=n_rdms * n_places
    ).reshape(n_rdms, n_places)
    middle = np.cumsum(occurrences, axis=1) - (occurrences - 1) / 2
    return np.asarray(middle.ravel()[shifted])


def _concordance(ranks: Floats, others: Floats, weights: Floats) -> Floats:
    """Concordant minus discordant pairs of entries, each two entries counted in both orders."""
    n_entries = len(weights)
    n_rows = max(1, SIGNS_AT_ONCE // n_entries)
    found = np.zeros((len(ranks), len(others)))
    for start in range(0, n_entries, n_rows):
        rows = slice(start, start + n_rows)
        signs = np.sign(ranks[:, rows, None] - ranks[:, None]) * weights
        signs *= weights[rows, None]
        other_signs = np.sign(others[:, rows, None] - others[:, None])
        found += signs.reshape(len(ranks), -1) @ other_signs.reshape(len(others), -1).T
    return found


def one_factor_variance(samples: Floats, n: int) -> Floats:
    """Variance over samples of one factor of n subjects or stimuli, times n / (n - 1).

    A bootstrap draws from n values about their own mean, and gives too little by that factor.
    """
    return variance_of_present(samples) * (n / (n - 1) if n > 1 else np.nan)


def two_factor_variance(
    both: Floats, subjects: Floats, stimuli: Floats, n_subjects: int, n_stimuli: int
) -> Floats:
    """Variance to be expected with new subjects and new stimuli (Schuett et al., 2023).

    A bootstrap over both factors counts the variance of measurement noise three times. The
    corrected variance adds those of the two factors and takes off their interaction, each with
    its small-sample factor; it is kept between the larger of the two and that over both.

    Parameters
    ----------
    both, subjects, stimuli : ndarray, (bootstraps, ...)
        The same quantity in samples over both factors and over either one, from the same draws.
        A sample with a NaN in any of the three is left out of all.
    n_subjects, n_stimuli : int

    Returns
    -------
    ndarray, (...)
        NaN for one subject.
    """
    present = np.isfinite(both) & np.isfinite(subjects) & np.isfinite(stimuli)
    of_both, of_subjects, of_stimuli = (
        variance_of_present(np.where(present, values, np.nan))
        for values in (both, subjects, stimuli)
    )
    if n_subjects < 2 or n_stimuli < 2:
        return np.full_like(of_both, np.nan)
    subject_factor = n_subjects / (n_subjects - 1)
    stimulus_factor = n_stimuli / (n_stimuli - 1)
    interaction = of_both - of_subjects - of_stimuli
    corrected = (
        subject_factor * of_subjects
        + stimulus_factor * of_stimuli
        - subject_factor * stimulus_factor * interaction
    )
    at_least = np.maximum(subject_factor * of_subjects, stimulus_factor * of_stimuli)
    return np.minimum(np.maximum(corrected, at_least), of_both)
