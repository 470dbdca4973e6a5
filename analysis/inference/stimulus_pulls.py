"""Influence of each stimulus on one subject's scores, summed over very many pairs.

The variance of a mean over stimuli needs, of all influences of pairs, only their sums over the
pairs of each stimulus and their products in total. These are accumulated row by row of the RDMs,
so that the 50 million pairs of 10,000 stimuli are never held in double precision for all models.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers, Singles
from conceptrsa.analysis.inference.influence import pair_influence
from conceptrsa.analysis.rsa.correlations import (
    number_of_stimuli,
    pairs_of_levels,
    rows_of_pairs,
    standardise,
    sums_by_level,
)
from conceptrsa.analysis.settings import RsaMetric, is_product
from conceptrsa.bids_config.machine import map_on_threads

FEW_STIMULI = 1000
"""Up to so many, all models' influences are held at once; of more, so many estimate products."""

MODELS_AT_ONCE = 4
"""Number of RDMs of which a row stays in the processor's cache."""

CONSTANT = 1e-13
"""Rounding error of a constant minus its mean, in units of the mean."""


@dataclass(frozen=True)
class RdmParts:
    """The three parts of standardised RDM vectors, which relabelling stimuli does not mix.

    Of a vector x of pairs (i, j), which `standardise` scales to length 1: x = mean + a_i + a_j +
    rest. See `split_rdms`.

    Attributes
    ----------
    mean : ndarray, (rdms,)
    of_stimuli : ndarray, (rdms, stimuli)
        The values a, whose sum is zero.
    rest : ndarray, (rdms,)
        Length of the rest.
    """

    mean: Floats
    of_stimuli: Floats
    rest: Floats


@dataclass(frozen=True)
class ModelsOfSubject:
    """RDMs of all models among one subject's stimuli, with sums that every region needs.

    Attributes
    ----------
    rdms : ndarray, (models, pairs)
        In single or double precision, as given.
    metric : str
    parts : RdmParts or None
        Of the models; None where the comparison is no sum of products over pairs.
    centre, length : ndarray, (models,)
        Taking away the one and dividing by the other standardises an RDM; empty unless the sums
        are accumulated by rows.
    squares : ndarray, (models, stimuli)
        Sums of the squared standardised distances of each stimulus; empty likewise.
    """

    rdms: Floats | Singles
    metric: RsaMetric
    parts: RdmParts | None
    centre: Floats
    length: Floats
    squares: Floats


@dataclass(frozen=True)
class SubjectPulls:
    """Influence of stimuli on the scores of one subject in one region; means over folds.

    For influences v of a pair (i, j) on a model's score: v = score + a_i + a_j + rest. See
    `conceptrsa.analysis.inference.random_effects.pairs`.

    Attributes
    ----------
    scores : ndarray, (models,)
        NaN where a model, or the brain RDM of a fold, is constant or holds a NaN.
    of_stimuli : ndarray, (models, stimuli)
        The values a: sums of v - score over the pairs of a stimulus, divided by the stimuli less 2.
    of_pairs : ndarray, (models, models)
        Mean products of the rests: their sums over pairs, divided by n (n - 3) / 2. Beyond
        `FEW_STIMULI` estimated from the pairs among so many, drawn once for each number of stimuli:
        of so many pairs the mean hardly varies, and it weighs 2 / n^2.
    brain : RdmParts or None
        Of the mean over folds of the standardised brain RDM, one RDM; None where the comparison is
        no sum of products over pairs.
    models : RdmParts or None
        Of the models.
    """

    scores: Floats
    of_stimuli: Floats
    of_pairs: Floats
    brain: RdmParts | None
    models: RdmParts | None


def models_of_subject(models: Floats | Singles, metric: RsaMetric) -> ModelsOfSubject:
    """Take the sums over models that the scores of every region of one subject need.

    Parameters
    ----------
    models : ndarray, (models, pairs)
        Of the subject's own stimuli, in single or double precision; kept, not copied.
    metric : str
    """
    nothing = np.empty(0)
    if not _by_rows(models, metric):
        parts = _parts_one_by_one(models, metric) if is_product(metric) else None
        return ModelsOfSubject(models, metric, parts, nothing, nothing, nothing)
    centre, length, sums, squares = _standardised_sums(models, metric)
    return ModelsOfSubject(
        rdms=models,
        metric=metric,
        parts=_parts(sums, np.where(np.isnan(length), np.nan, 1.0)),
        centre=centre,
        length=length,
        squares=squares,
    )


def pull_scores(
    models: Floats | Singles | ModelsOfSubject, brain: Floats | Singles, metric: RsaMetric
) -> SubjectPulls:
    """Score the models by one subject's brain RDMs of one region, and find what pulls the scores.

    Parameters
    ----------
    models : ndarray, (models, pairs), or ModelsOfSubject
        Of the subject's own stimuli. What `models_of_subject` gives saves time where there are
        several regions.
    brain : ndarray, (folds, pairs)
        Of the same stimuli, in single or double precision.
    metric : str
        Pearson's correlation and the cosine take 2 s for 16 models and 10,000 stimuli, and memory
        of a few brain RDMs. The others are computed model by model through `pair_influence`, in
        time and memory that are those of a dozen such arrays (pairs,).

    Returns
    -------
    SubjectPulls
        Of the influences that `pair_influence` gives, means over folds.
    """
    if not isinstance(models, ModelsOfSubject):
        models = models_of_subject(models, metric)
    sampled = _sampled_stimuli(number_of_stimuli(brain.shape[-1]))
    if _by_rows(models.rdms, metric):
        return _pulls_by_rows(models, brain, metric, sampled)
    return _pulls_by_influence(models, brain, metric, sampled)


def _by_rows(models: Floats | Singles, metric: RsaMetric) -> bool:
    """Whether sums are accumulated row by row of the RDMs."""
    many = number_of_stimuli(models.shape[-1]) > FEW_STIMULI
    return many and metric in ("pearson", "cosine")


def _sampled_stimuli(n_stimuli: int) -> Integers:
    """Stimuli among whose pairs mean products are taken."""
    if n_stimuli <= FEW_STIMULI:
        return np.arange(n_stimuli)
    drawn = np.random.default_rng(n_stimuli).choice(n_stimuli, FEW_STIMULI, replace=False)
    return np.sort(drawn)


def places_of_pairs(stimuli: Integers, n_stimuli: int) -> Integers:
    """Find the pairs of some stimuli, in ascending order, among the pairs of all."""
    rows, columns = np.triu_indices(len(stimuli), k=1)
    first, second = stimuli[rows], stimuli[columns]
    return np.asarray(first * (2 * n_stimuli - first - 1) // 2 + second - first - 1)


def _mean_products(rest: Floats, n_stimuli: int) -> Floats:
    """Mean products of rests (models, sampled pairs) over the degrees of freedom of all pairs."""
    df = n_stimuli * (n_stimuli - 3) // 2
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    # Three stimuli leave nothing that is particular to pairs.
    scale = n_pairs / (df * rest.shape[-1]) if df else 0.0
    return np.asarray(rest @ rest.T * scale)


def _pulls_by_influence(
    models: ModelsOfSubject, brain: Floats | Singles, metric: RsaMetric, sampled: Integers
) -> SubjectPulls:
    """Hold influences of all pairs, of all models at once or one after the other."""
    n_models, n_pairs = models.rdms.shape
    n_stimuli = number_of_stimuli(n_pairs)
    scores, of_stimuli = np.empty(n_models), np.empty((n_models, n_stimuli))
    places = places_of_pairs(sampled, n_stimuli)
    rest = np.empty((n_models, len(places)))
    at_once = n_models if len(sampled) == n_stimuli else 1
    for start in range(0, n_models, at_once):
        chosen = slice(start, start + at_once)
        rdms = np.asarray(models.rdms[chosen], dtype=np.float64)
        values = np.zeros(rdms.shape)
        for rdm in brain:
            values += pair_influence(rdms, rdm[None].astype(np.float64), metric)[:, 0]
        values /= len(brain)
        scores[chosen] = values.mean(axis=-1)
        values -= scores[chosen, None]
        of_stimuli[chosen] = sums_by_level(values) / (n_stimuli - 2)
        rest[chosen] = values[:, places] - pairs_of_levels(of_stimuli[chosen][:, sampled])
    parts = None
    if models.parts is not None:
        mean = np.mean([standardise(rdm, metric) for rdm in brain], axis=0)
        parts = _parts_one_by_one(mean[None])
    return SubjectPulls(scores, of_stimuli, _mean_products(rest, n_stimuli), parts, models.parts)


def _pulls_by_rows(
    models: ModelsOfSubject, brain: Floats | Singles, metric: RsaMetric, sampled: Integers
) -> SubjectPulls:
    """Accumulate sums of products x y, x^2 and y^2, of which influences are made.

    For x and y of length 1 and N pairs, an influence less the score r is
    N (x y - r (x^2 + y^2) / 2); see `pair_influence`.
    """
    n_pairs = models.rdms.shape[-1]
    n_stimuli = number_of_stimuli(n_pairs)
    centre, length, sums, squares = _standardised_sums(brain, metric)
    mean = np.zeros(n_pairs)
    for rdm, middle, scale in zip(brain, centre, length, strict=True):
        _add_scaled(mean, rdm, middle, scale * len(brain))
    products, totals = _products_with(models.rdms, brain, mean)
    of_mean = sums.mean(axis=0)
    products -= models.centre[:, None] * of_mean
    products /= models.length[:, None]
    # Sums of a model times a fold; those of either alone complete them.
    alone = n_pairs * models.centre[:, None] * centre
    of_folds = (totals - alone) / (models.length[:, None] * length)
    scores = of_folds.mean(axis=1)
    pulls = n_pairs * (
        products - of_folds @ squares / (2 * len(brain)) - scores[:, None] * models.squares / 2
    )
    # The sum over stimuli, twice that over pairs, is zero but for rounding.
    of_stimuli = pulls / (n_stimuli - 2)
    places = places_of_pairs(sampled, n_stimuli)
    y = (models.rdms[:, places] - models.centre[:, None]) / models.length[:, None]
    x = (brain[:, places] - centre[:, None]) / length[:, None]
    rest = y * x.mean(axis=0)
    rest -= of_folds @ x**2 / (2 * len(brain))
    rest -= scores[:, None] * y**2 / 2
    rest *= n_pairs
    rest -= pairs_of_levels(of_stimuli[:, sampled])
    square = np.array([_sum_of_squares(mean)])
    return SubjectPulls(
        scores=scores,
        of_stimuli=of_stimuli,
        of_pairs=_mean_products(rest, n_stimuli),
        brain=_parts(of_mean[None], square),
        models=models.parts,
    )


def _blocks(n_pairs: int) -> Iterator[slice]:
    """Stretches of pairs that stay in the processor's cache."""
    size = 1 << 16
    return (slice(start, start + size) for start in range(0, n_pairs, size))


def _sum_of_squares(values: Floats) -> float:
    return float(sum(values[block] @ values[block] for block in _blocks(len(values))))


def _add_scaled(total: Floats, rdm: Floats | Singles, centre: float, length: float) -> None:
    """Add a standardised RDM to a total in place, without a copy of it."""
    for block in _blocks(len(total)):
        total[block] += (rdm[block] - centre) / length


def _standardised_sums(
    rdms: Floats | Singles, metric: RsaMetric
) -> tuple[Floats, Floats, Floats, Floats]:
    """Centre and length of RDMs, and sums over the pairs of each stimulus once standardised.

    Returns
    -------
    centre, length : ndarray, (rdms,)
        The length is NaN where an RDM is constant (the correlation) or zero (the cosine).
    sums, squares : ndarray, (rdms, stimuli)
        Sums of distances and of squared distances.
    """
    n_stimuli = number_of_stimuli(rdms.shape[-1])

    def of_one(rdm: Floats | Singles) -> tuple[float, float, Floats, Floats]:
        mean = float(rdm.mean(dtype=np.float64))
        centre = mean if metric == "pearson" else 0.0
        sums, squares = np.zeros(n_stimuli), np.zeros(n_stimuli)
        for level, row in rows_of_pairs(n_stimuli):
            values = rdm[row] - np.float64(centre)
            sums[level] += values.sum()
            sums[level + 1 :] += values
            values *= values
            squares[level] += values.sum()
            squares[level + 1 :] += values
        length = float(np.sqrt(squares.sum() / 2))
        if length <= CONSTANT * np.sqrt(len(rdm)) * abs(centre):
            length = np.nan
        return centre, length, sums / length, squares / length**2

    found = map_on_threads(of_one, rdms)
    centre, length, sums, squares = (np.array(each) for each in zip(*found, strict=True))
    return centre, length, sums, squares


def _products_with(
    models: Floats | Singles, brain: Floats | Singles, mean: Floats
) -> tuple[Floats, Floats]:
    """Products of RDMs of models with those of the brain, as they are.

    Returns
    -------
    of_stimuli : ndarray, (models, stimuli)
        With the mean standardised brain RDM, summed over the pairs of each stimulus.
    totals : ndarray, (models, folds)
        With the RDM of each fold, summed over all pairs.
    """
    n_models, n_pairs = models.shape
    n_stimuli = number_of_stimuli(n_pairs)

    def of_some(start: int) -> tuple[Floats, Floats]:
        chosen = models[start : start + MODELS_AT_ONCE]
        of_stimuli = np.zeros((len(chosen), n_stimuli))
        totals = np.zeros((len(chosen), len(brain)))
        buffer = np.empty((len(chosen), n_stimuli))
        for level, row in rows_of_pairs(n_stimuli):
            values = buffer[:, level + 1 :]
            values[:] = chosen[:, row]
            totals += values @ brain[:, row].T
            values *= mean[row]
            of_stimuli[:, level] += values.sum(axis=1)
            of_stimuli[:, level + 1 :] += values
        return of_stimuli, totals

    found = map_on_threads(of_some, range(0, n_models, MODELS_AT_ONCE))
    of_stimuli, totals = (np.concatenate(each) for each in zip(*found, strict=True))
    return of_stimuli, totals


def _parts(sums: Floats, squares: Floats) -> RdmParts:
    """Parts of vectors from their sums over the pairs of each stimulus, and their squared length.

    Parameters
    ----------
    sums : ndarray, (rdms, stimuli)
    squares : ndarray, (rdms,)
    """
    n = sums.shape[-1]
    n_pairs = n * (n - 1) // 2
    mean = sums.sum(axis=-1) / (2 * n_pairs)
    of_stimuli = (sums - (n - 1) * mean[:, None]) / (n - 2)
    rest = squares - n_pairs * mean**2 - (n - 2) * (of_stimuli**2).sum(axis=-1)
    return RdmParts(mean, of_stimuli, np.sqrt(np.maximum(rest, 0.0)))


def _parts_one_by_one(rdms: Floats | Singles, metric: RsaMetric | None = None) -> RdmParts:
    """Parts of RDMs once standardised, or as they are; one double copy at a time."""
    sums, squares = [], []
    for rdm in rdms:
        vector = np.asarray(rdm, dtype=np.float64) if metric is None else standardise(rdm, metric)
        sums.append(sums_by_level(vector))
        squares.append(_sum_of_squares(vector))
    return _parts(np.array(sums), np.array(squares))
