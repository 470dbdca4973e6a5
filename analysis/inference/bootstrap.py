"""Bootstrap over subjects, stimuli, or both: scores of models and noise ceilings in every sample.

A sample is described by how often each subject and each stimulus was drawn. A pair of stimuli
drawn c_i and c_j times occurs c_i c_j times in the resampled RDM; pairs of a stimulus with itself
are left out (Schuett et al., 2023). So no RDM has to be resampled: its entries have weights.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import num_obs_y

from conceptrsa.analysis.inference.bootstrap_products import (
    SampleComparison,
    compare_weighted_products,
)
from conceptrsa.analysis.inference.bootstrap_ranks import compare_weighted_ranks
from conceptrsa.analysis.rsa.correlations import standardise
from conceptrsa.analysis.settings import RsaMetric

Factors = Literal["subjects", "stimuli", "both"]

MIN_STIMULI = 3
"""Distinct stimuli of a sample: two make a single distance."""

WEIGHTS_AT_ONCE = 300_000
"""Weights of pairs held at once, whatever the number of samples."""


@dataclass(frozen=True)
class Draws:
    """How often each stimulus and subject was drawn.

    Attributes
    ----------
    stimuli : ndarray of int, (bootstraps, stimuli)
    subjects : ndarray of int, (bootstraps, subjects)
        All ones for a factor that is not resampled.
    """

    stimuli: NDArray[np.intp]
    subjects: NDArray[np.intp]

    def of_subjects(self) -> "Draws":
        """The same draws of subjects, with every stimulus once."""
        return replace(self, stimuli=np.ones_like(self.stimuli))

    def of_stimuli(self) -> "Draws":
        """The same draws of stimuli, with every subject once."""
        return replace(self, subjects=np.ones_like(self.subjects))


@dataclass(frozen=True)
class BootstrapSamples:
    """Results in every sample; NaN where a sample does not allow one.

    Attributes
    ----------
    scores : ndarray, (bootstraps, models)
        Means over the RDMs of all folds and drawn subjects.
    pairwise, lower, upper : ndarray, (bootstraps,)
        Noise ceilings, means over the *distinct* subjects drawn and the folds. All copies of a
        subject are left out together of the others' mean. NaN where one subject alone was drawn.
    draws : Draws
    """

    scores: NDArray[np.float64]
    pairwise: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    draws: Draws


def draw_samples(
    n_stimuli: int,
    n_subjects: int,
    over: Factors,
    n_bootstraps: int,
    generator: np.random.Generator,
) -> Draws:
    """Draw with replacement as many stimuli, subjects or both as there are.

    Samples of fewer than 3 distinct stimuli are drawn anew.

    Raises
    ------
    ValueError
        For fewer than 3 stimuli.
    """
    if n_stimuli < MIN_STIMULI:
        raise ValueError(f"{n_stimuli} stimuli cannot be resampled: {MIN_STIMULI} are needed")
    stimuli = np.ones((n_bootstraps, n_stimuli), dtype=np.intp)
    subjects = np.ones((n_bootstraps, n_subjects), dtype=np.intp)
    if over != "stimuli":
        subjects = _counts(n_subjects, n_bootstraps, generator)
    if over != "subjects":
        stimuli = _counts(n_stimuli, n_bootstraps, generator)
        while (few := np.count_nonzero(stimuli, axis=1) < MIN_STIMULI).any():
            stimuli[few] = _counts(n_stimuli, int(few.sum()), generator)
    return Draws(stimuli, subjects)


def _counts(n: int, n_bootstraps: int, generator: np.random.Generator) -> NDArray[np.intp]:
    return generator.multinomial(n, np.full(n, 1 / n), size=n_bootstraps).astype(np.intp)


def bootstrap(
    brain: NDArray[np.float64],
    models: NDArray[np.float64],
    metric: RsaMetric,
    over: Factors,
    n_bootstraps: int,
    generator: np.random.Generator,
) -> BootstrapSamples:
    """Draw samples and compute scores and ceilings in each; see `bootstrap_with`."""
    draws = draw_samples(num_obs_y(models[0]), brain.shape[1], over, n_bootstraps, generator)
    return bootstrap_with(draws, brain, models, metric)


def bootstrap_with(
    draws: Draws,
    brain: NDArray[np.float64],
    models: NDArray[np.float64],
    metric: RsaMetric,
) -> BootstrapSamples:
    """Scores and noise ceilings in given samples, so that regions can share them.

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
    BootstrapSamples
        Equal to rsatoolbox's on the same draws, but for the ceilings of samples of one subject:
        those are NaN here, and 1 there.
    """
    # Few subjects make few samples: each is computed once.
    both = np.concatenate([draws.stimuli, draws.subjects], axis=1)
    distinct, place = np.unique(both, axis=0, return_inverse=True)
    stimuli, subjects = np.split(distinct, [draws.stimuli.shape[1]], axis=1)
    n_rows = max(1, WEIGHTS_AT_ONCE // models.shape[1])
    chunks = [
        _compute(
            stimuli[start : start + n_rows], subjects[start : start + n_rows], brain, models, metric
        )
        for start in range(0, len(distinct), n_rows)
    ]
    scores, ceilings = (np.concatenate(parts)[place.ravel()] for parts in zip(*chunks, strict=True))
    return BootstrapSamples(
        scores=scores,
        pairwise=ceilings[:, 0],
        lower=ceilings[:, 1],
        upper=ceilings[:, 2],
        draws=draws,
    )


def _compute(
    stimuli: NDArray[np.intp],
    subjects: NDArray[np.intp],
    brain: NDArray[np.float64],
    models: NDArray[np.float64],
    metric: RsaMetric,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores (bootstraps, models) and pairwise, lower and upper ceiling (bootstraps, 3)."""
    usable = _usable(models, metric)
    total = np.zeros((len(stimuli), len(models)))
    count = np.zeros_like(total)
    ceilings = []
    for fold in brain:
        there = _usable(fold, metric)
        drawn = subjects[:, there]
        found = _compare(stimuli, drawn, fold[there], models[usable], metric)
        present = drawn[..., None] * np.isfinite(found.scores)
        total[:, usable] += np.where(present > 0, present * found.scores, 0.0).sum(axis=1)
        count[:, usable] += present.sum(axis=1)
        ceilings.append(_ceilings(found, drawn))
    enough = (np.count_nonzero(stimuli, axis=1) >= MIN_STIMULI)[:, None]
    scores = np.where((count > 0) & enough, total / np.maximum(count, 1), np.nan)
    return scores, np.where(enough, _mean_without_nan(np.stack(ceilings)), np.nan)


def _compare(
    stimuli: NDArray[np.intp],
    subjects: NDArray[np.intp],
    fold: NDArray[np.float64],
    models: NDArray[np.float64],
    metric: RsaMetric,
) -> SampleComparison:
    if metric == "pearson" or metric == "cosine" or metric == "whitened-cosine":
        return compare_weighted_products(stimuli, subjects, fold, models, metric)
    return compare_weighted_ranks(stimuli, subjects, fold, models, metric)


def _usable(rdms: NDArray[np.float64], metric: RsaMetric) -> NDArray[np.bool_]:
    """Which RDMs can be compared at all."""
    vectors = standardise(rdms, "rho-a" if metric == "kendall-tau-a" else metric)
    return np.asarray(np.isfinite(vectors).all(axis=-1))


def _ceilings(found: SampleComparison, subjects: NDArray[np.intp]) -> NDArray[np.float64]:
    """Pairwise, lower and upper ceiling of one fold, (bootstraps, 3)."""
    drawn = subjects > 0
    others = subjects[:, None, :] * (1 - np.eye(subjects.shape[1], dtype=np.intp))
    others = np.where(np.isfinite(found.among), others, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        pairwise = np.where(others > 0, others * found.among, 0.0).sum(axis=2) / others.sum(axis=2)
    ceilings = np.stack([pairwise, found.lower, found.upper])
    ceilings[:, ~drawn | (drawn.sum(axis=1, keepdims=True) < 2)] = np.nan
    return _mean_without_nan(ceilings.transpose(2, 1, 0))


def _mean_without_nan(values: NDArray[np.float64]) -> NDArray[np.float64]:
    present = np.isfinite(values)
    total = np.where(present, values, 0.0).sum(axis=0)
    count = present.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
