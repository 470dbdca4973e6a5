"""The variance of a mean over crossed random factors, and what follows from it.

Subjects and stimuli (and models, where groups of them are compared) are samples, each of which
could have come out differently. For factors that are crossed, the variance of the grand mean is
found by inclusion and exclusion: that over subjects, plus that over stimuli, less that of their
interaction, which both contain (Cornfield and Tukey, 1956). Every part is a sum of mean squares of
a balanced analysis of variance. An RDM holds *pairs* of stimuli, so that its variance over stimuli
has two strata: what a stimulus does to all its pairs, and what is particular to pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

from conceptrsa.analysis.arrays import Booleans, Floats, Integers
from conceptrsa.analysis.rsa.correlations import (
    number_of_stimuli,
    pairs_of_levels,
    sums_by_level,
)

CONFIDENCE = 0.95
"""Coverage of intervals."""

N_POINTS = 1024
"""Points of the integral over the true mean squares."""

SMALLEST_SHARE = 0.15
"""The variance is taken to be at least so large a share of that over any single factor."""

SMALLEST_SHARE_OF_PAIRS = 0.5
"""And at least so large a share of what is particular to pairs of stimuli."""

FEW = 20
"""Degrees of freedom below which a mean square says little."""

N_BISECTIONS = 26
"""Tolerance of the limits of ratios' intervals."""


class Stratum(NamedTuple):
    """One part of the variation over a factor.

    Attributes
    ----------
    values : ndarray, (..., coordinates)
        Scaled so that their sum of squares is the mean square.
    weight : float
        Of the mean square in the variance of the mean over this factor.
    df : int
        Degrees of freedom.
    """

    values: Floats
    weight: float
    df: int


Split = tuple[Floats, tuple[Stratum, ...]]
"""The mean (..., 1) of values over a factor, and the strata about it."""

Factor = Callable[[Floats], Split]
"""A random factor of a balanced design: splits values (..., units)."""


def levels(values: Floats) -> Split:
    """Split values (..., levels) of a factor whose units are its levels: subjects, or models."""
    n = values.shape[-1]
    mean = values.mean(axis=-1, keepdims=True)
    return mean, (Stratum((values - mean) / np.sqrt(n - 1), 1 / n, n - 1),)


def pairs(values: Floats) -> Split:
    """Split values of a factor whose units are the pairs of its levels, at least 3.

    These are stimuli, or subjects in noise ceilings; values are (..., pairs) in the order of
    `scipy.spatial.distance.pdist`.

    Notes
    -----
    For values m + a_i + a_j + b_ij the variance of the mean is 4 var(a) / n +
    2 var(b) / (n (n - 1)), that of a U-statistic of two arguments (Hoeffding, 1948). The mean
    squares of the levels and of the rest have the expectations var(b) + (n - 2) var(a) and var(b).
    """
    n = number_of_stimuli(values.shape[-1])
    mean = values.mean(axis=-1, keepdims=True)
    deviation = values - mean
    of_level = sums_by_level(deviation) / (n - 2)
    of_levels = Stratum(of_level * np.sqrt((n - 2) / (n - 1)), 4 / (n * (n - 2)), n - 1)
    df = n * (n - 3) // 2
    if df == 0:
        return mean, (of_levels,)
    rest = (deviation - pairs_of_levels(of_level)) / np.sqrt(df)
    return mean, (of_levels, Stratum(rest, -2 / ((n - 1) * (n - 2)), df))


def compact_pairs(vectors: Floats) -> tuple[Floats, Factor]:
    """Replace the pairs of stimuli by few coordinates in which products are the same.

    Mean squares are sums of products over pairs, so a few vectors of many pairs say no more than
    their products in each stratum.

    Parameters
    ----------
    vectors : ndarray, (vectors, pairs)
        In the order of `scipy.spatial.distance.pdist`; those with a NaN become NaN.

    Returns
    -------
    coordinates : ndarray, (vectors, coordinates)
        As many as there are stimuli and vectors, and one; the pairs themselves if they are no more.
    factor : Factor
        Splits arrays (..., coordinates) as `pairs` would split (..., pairs).
    """
    n_vectors, n_pairs = vectors.shape
    n = number_of_stimuli(n_pairs)
    if n_pairs <= n + n_vectors + 1:
        return vectors, pairs
    df = n * (n - 3) // 2
    mean = vectors.mean(axis=1, keepdims=True)
    missing = np.isnan(mean)
    mean = np.where(missing, 0.0, mean)
    products = np.zeros((n_vectors, n_vectors))
    sums = np.zeros((n_vectors, n))
    end = 0
    # By the pairs of each stimulus with those after it: vectors may fill the memory.
    for level in range(n - 1):
        start, end = end, end + n - 1 - level
        deviations = np.where(missing, 0.0, vectors[:, start:end] - mean)
        products += deviations @ deviations.T
        sums[:, level] += deviations.sum(axis=1)
        sums[:, level + 1 :] += deviations
    of_level = sums / (n - 2)
    # For sums of zero, products of a_i + a_j over pairs are n - 2 times those of a.
    of_rest = products - (n - 2) * (of_level @ of_level.T)
    squares, axes = np.linalg.eigh(of_rest)
    rest = axes * np.sqrt(np.maximum(squares, 0.0) / df)
    of_level *= np.sqrt((n - 2) / (n - 1))
    coordinates = np.concatenate([mean, of_level, rest], axis=1)

    def split(values: Floats) -> Split:
        of_levels = Stratum(values[..., 1 : n + 1], 4 / (n * (n - 2)), n - 1)
        rest = Stratum(values[..., n + 1 :], -2 / ((n - 1) * (n - 2)), df)
        return values[..., :1], (of_levels, rest)

    return np.where(missing, np.nan, coordinates), split


def one_level(values: Floats) -> Split:
    """Treat a factor with a single level, such as a study's only subject, as fixed."""
    return values, ()


class Part(NamedTuple):
    """A mean square, of one stratum of each of some factors, in the variance of the mean.

    Attributes
    ----------
    strata : tuple of (int, int)
        Factors that are crossed, in order, and the stratum of each; the others are averaged over.
    weight : float
        Product of the strata's weights.
    df : int
    products : ndarray, (statistics, statistics)
        Mean squares and mean products.
    share : float
        Of a negative weight, how much the stratum itself adds to the variance, as a share.
    """

    strata: tuple[tuple[int, int], ...]
    weight: float
    df: int
    products: Floats
    share: float = 1.0


class MeanSquares(NamedTuple):
    """The analysis of variance of several statistics at once.

    Attributes
    ----------
    estimates : ndarray, (statistics,)
        Grand means.
    parts : tuple of Part
    """

    estimates: Floats
    parts: tuple[Part, ...]


class Estimates(NamedTuple):
    """Estimates with intervals and tests against zero; arrays of one length.

    Attributes
    ----------
    estimate : ndarray
    standard_error : ndarray
        Over new samples of all random factors.
    lower, upper : ndarray
        Ends of the two-sided interval.
    p : ndarray
        Two-sided; NaN where nothing varies, as in the difference of a model from itself.
    """

    estimate: Floats
    standard_error: Floats
    lower: Floats
    upper: Floats
    p: Floats

    def row(self, index: int) -> dict[str, Any]:
        """Give one estimate's numbers, named as in the tables of tests."""
        return {
            "statistic": float(self.estimate[index]),
            "p": float(self.p[index]),
            "low": float(self.lower[index]),
            "high": float(self.upper[index]),
        }


def mean_squares(values: Floats, factors: Sequence[Factor]) -> MeanSquares:
    """Analyse the variance of values over crossed factors.

    Parameters
    ----------
    values : ndarray, (statistics, units of the first factor, ...)
        One axis a factor. A statistic with a NaN is NaN and does not touch the others.
    factors : sequence of Factor
    """
    found: list[tuple[tuple[tuple[int, int], ...], Floats, float, int]]
    found = [((), values, 1.0, 1)]
    for axis, factor in enumerate(factors):
        split = []
        for crossed, array, weight, df in found:
            mean, strata = factor(np.moveaxis(array, axis + 1, -1))
            split.append((crossed, np.moveaxis(mean, -1, axis + 1), weight, df))
            for index, stratum in enumerate(strata):
                part = np.moveaxis(stratum.values, -1, axis + 1)
                both = (*crossed, (axis, index))
                split.append((both, part, weight * stratum.weight, df * stratum.df))
        found = split
    parts = []
    for crossed, array, weight, df in found[1:]:
        flat = array.reshape(len(values), -1)
        parts.append(Part(crossed, weight, df, flat @ flat.T))
    return MeanSquares(found[0][1].reshape(len(values)), tuple(parts))


MODELS = 2
"""Place of models among the factors, after subjects and stimuli."""


def difference_of_groups(squares: MeanSquares, first: Integers, second: Integers) -> MeanSquares:
    """Cross the factors with models, a third one, nested in two groups whose means are compared.

    The groups are taken to vary alike, as the paper's 3 language models would else leave two
    degrees of freedom.

    Parameters
    ----------
    squares : MeanSquares
        Of models as statistics.
    first, second : ndarray of int
        Models of each group.

    Returns
    -------
    MeanSquares
        Of one statistic, the difference of the groups' means.
    """
    difference = np.zeros(len(squares.estimates))
    difference[first], difference[second] = 1 / len(first), -1 / len(second)
    about_means = np.zeros((len(first) + len(second), len(squares.estimates)))
    row = 0
    for group in (first, second):
        rows = np.arange(row, row + len(group))
        about_means[np.ix_(rows, group)] = np.eye(len(group)) - 1 / len(group)
        row += len(group)
    df = len(about_means) - 2
    weight = 1 / len(first) + 1 / len(second)

    def squared(contrasts: Floats, products: Floats) -> Floats:
        return np.asarray(np.einsum("cs,st,ct->", contrasts, products, contrasts)).reshape(1, 1)

    # A model of neither group may be NaN.
    estimates = np.nan_to_num(squares.estimates)
    means = np.outer(estimates, estimates)
    parts = [Part(((MODELS, 0),), weight, df, squared(about_means, means) / df)]
    for part in squares.parts:
        products = np.nan_to_num(part.products)
        crossed = (*part.strata, (MODELS, 0))
        parts += [
            part._replace(products=squared(difference[None], products)),
            Part(crossed, part.weight * weight, part.df * df, squared(about_means, products) / df),
        ]
    return MeanSquares(np.atleast_1d(difference @ estimates), tuple(parts))


def infer(squares: MeanSquares, contrasts: Floats, confidence: float = CONFIDENCE) -> Estimates:
    """Intervals and tests of contrasts of the means, over new samples of all factors.

    Parameters
    ----------
    squares : MeanSquares
    contrasts : ndarray, (contrasts, statistics)
        Weights of the statistics, for example 1 and -1 for a difference.
    confidence : float
        Coverage of the intervals.

    Notes
    -----
    A mean square is its expectation times a chi-squared over its degrees of freedom. Given the
    mean squares, the expectations are thus distributed, and with them the variance; p-values and
    intervals average over that distribution (generalised inference, Weerahandi 1993). With one
    mean square this is the t-test; with many, of which some are subtracted, it stays calibrated
    where Satterthwaite's degrees of freedom, taken from an estimate that is near zero or negative,
    do not.
    """
    estimate = _contrasted(squares, contrasts)
    variances, weights = _possible_variances(squares, contrasts)
    half_width = _half_width(variances, weights, 1 - confidence)
    return Estimates(
        estimate=estimate,
        standard_error=np.sqrt(_summed(squares, contrasts, np.ones((1, len(squares.parts))))[:, 0]),
        lower=estimate - half_width,
        upper=estimate + half_width,
        p=_two_sided(estimate, variances, weights),
    )


def two_sided_p(squares: MeanSquares, contrasts: Floats) -> Floats:
    """Two-sided p of contrasts against zero, as in `infer`."""
    return _two_sided(_contrasted(squares, contrasts), *_possible_variances(squares, contrasts))


def weighted_parts(squares: MeanSquares, contrasts: Floats) -> Floats:
    """Contribution of each mean square to the variance of contrasts, (contrasts, parts).

    Inclusion and exclusion: parts that cross an odd number of factors are added. The sum is an
    unbiased estimate of the variance, which may be negative.
    """
    columns = [
        (1 if len(part.strata) % 2 else -1)
        * part.weight
        * np.einsum("cs,cs->c", contrasts @ np.nan_to_num(part.products), contrasts)
        for part in squares.parts
    ]
    unknown = _unknown(squares, contrasts)[:, None]
    return np.where(unknown, np.nan, np.stack(columns, axis=1))


def errors_by_factor(squares: MeanSquares, contrasts: Floats) -> Floats:
    """Standard errors of contrasts over new levels of each factor alone, (factors, contrasts).

    The units of the other factors stay as they are. What is subtracted for pairs of stimuli can be
    more than what the stimuli add; as in `infer`, the variance is at least half of it.
    """
    parts = weighted_parts(squares, contrasts)
    places: dict[int, list[int]] = {}
    for place, part in enumerate(squares.parts):
        if len(part.strata) == 1:
            places.setdefault(part.strata[0][0], []).append(place)
    of_factors = [parts[:, places[factor]] for factor in sorted(places)]
    variances = [
        np.maximum(one.sum(axis=1), -SMALLEST_SHARE_OF_PAIRS * np.minimum(one, 0.0).sum(axis=1))
        for one in of_factors
    ]
    return np.sqrt(variances)


def _unknown(squares: MeanSquares, contrasts: Floats) -> Booleans:
    """Which contrasts weigh a statistic that is NaN."""
    return np.asarray((contrasts[:, np.isnan(squares.estimates)] != 0).any(axis=1))


def _contrasted(squares: MeanSquares, contrasts: Floats) -> Floats:
    """Contrasts (contrasts, statistics) of the means; NaN where a statistic of theirs is."""
    known = np.nan_to_num(squares.estimates)
    return np.where(_unknown(squares, contrasts), np.nan, contrasts @ known)


def _possible_variances(squares: MeanSquares, contrasts: Floats) -> tuple[Floats, Floats]:
    """Variances (contrasts, points) that the mean squares allow for, and weights (points,)."""
    inverse, weights = _inverse_chi_squared(tuple(part.df for part in squares.parts))
    return _summed(squares, contrasts, inverse), weights


def _summed(squares: MeanSquares, contrasts: Floats, multiples: Floats) -> Floats:
    """Variances of contrasts, the parts multiplied in several ways (points, parts).

    A difference of mean squares can come out near or below zero, where the true variance is at
    least that over a single factor, and at least that of what is particular to pairs of stimuli.
    So neither is the sum less than a share of these.

    Returns
    -------
    ndarray, (contrasts, points)
    """
    return _summed_parts(squares, weighted_parts(squares, contrasts), multiples)


def _summed_parts(squares: MeanSquares, parts: Floats, multiples: Floats) -> Floats:
    """As `_summed`, of what each mean square adds (contrasts, parts)."""
    variances = parts @ multiples.T
    for share, chosen in _limits(squares):
        limit = share * (parts[:, chosen] @ multiples[:, chosen].T)
        np.maximum(variances, limit, out=variances)
    return np.maximum(variances, 0.0)


def _limits(squares: MeanSquares) -> Iterator[tuple[float, list[int]]]:
    """Signed shares, and parts with whose sum the variance is compared."""
    alone = [(i, part) for i, part in enumerate(squares.parts) if len(part.strata) == 1]
    for factor in {part.strata[0][0] for _, part in alone}:
        yield SMALLEST_SHARE, [i for i, part in alone if part.strata[0][0] == factor]
    for _, part in alone:
        # What is subtracted for pairs, less their interactions, is left; unless hardly known.
        if part.weight < 0 and part.df >= FEW:
            stratum = part.strata[0]
            chosen = [i for i, each in enumerate(squares.parts) if stratum in each.strata]
            yield -SMALLEST_SHARE_OF_PAIRS * part.share, chosen


@lru_cache(maxsize=32)
def _inverse_chi_squared(df: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Points (points, parts) of df / chi-squared, and their weights (points,).

    A fixed low-discrepancy sequence, so that results do not depend on a seed. Parts of few degrees
    of freedom, which small p-values hang on, have their points moved towards small chi-squared.
    """
    sequence = stats.qmc.Sobol(len(df), scramble=False).random(N_POINTS) + 0.5 / N_POINTS
    few = np.array(df) < FEW
    weights = np.prod(np.where(few, 2 * sequence, 1.0), axis=1)
    points = np.where(few, sequence**2, sequence)
    return np.array(df) / stats.chi2.ppf(points, df), weights / weights.sum()


def _two_sided(estimate: Floats, variances: Floats, weights: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * ndtr(-np.abs(estimate)[:, None] / np.sqrt(variances)) @ weights)


def _half_width(variances: Floats, weights: Floats, alpha: float) -> Floats:
    """Distances whose two-sided p is alpha, by Newton's method (p is convex in the distance)."""
    scale = np.sqrt(variances @ weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / np.maximum(np.sqrt(variances) / scale[:, None], 1e-9)
        width = np.full(len(variances), float(-ndtri(alpha / 2)))
        for _ in range(50):
            z = width[:, None] * inverse
            excess = 2 * ndtr(-z) @ weights - alpha
            slope = -np.sqrt(2 / np.pi) * (np.exp(-(z**2) / 2) * inverse) @ weights
            step = excess / slope
            width = np.maximum(width - step, width / 4)
            if not (np.abs(step) > 1e-9 * width).any():
                break
    return np.where(scale == 0, 0.0, width * scale)


class Ratios(NamedTuple):
    """Ratios with intervals; arrays (ratios,).

    Attributes
    ----------
    ratio, lower, upper : ndarray
        NaN where withheld.
    withheld : str
        Why no ratio is given, for all of them; empty where they are.
    """

    ratio: Floats
    lower: Floats
    upper: Floats
    withheld: str = ""


def ratios_to_last(squares: MeanSquares) -> Ratios:
    """Ratios of all statistics but the last to the last, with Fieller's intervals.

    Parameters
    ----------
    squares : MeanSquares
        Scores, then the noise ceiling.

    Returns
    -------
    Ratios
        Withheld where the interval of the last includes zero or lies below it.
    """
    n = len(squares.estimates) - 1
    last = infer(squares, np.eye(n + 1)[-1:])
    if not last.lower[0] > 0:
        nothing = np.full(n, np.nan)
        reason = (
            f"the noise ceiling, {last.estimate[0]:.3f}, is not known to be above zero: its "
            f"{100 * CONFIDENCE:g} % interval is [{last.lower[0]:.3f}, {last.upper[0]:.3f}]"
        )
        return Ratios(nothing, nothing, nothing, reason)
    ratio = squares.estimates[:-1] / squares.estimates[-1]
    ends = [ratio + side * _reach(squares, ratio, side, 1 - CONFIDENCE) for side in (-1.0, 1.0)]
    return Ratios(ratio, *ends)


def _reach(squares: MeanSquares, ratio: Floats, side: float, alpha: float) -> Floats:
    """Find the distance from the ratios at which the test of numerator - r denominator rejects.

    It ends, since at infinity that is the test of the denominator. Bisection of the angle whose
    tangent is the distance reaches all of that way.
    """
    inside, outside = np.zeros(len(ratio)), np.full(len(ratio), np.pi / 2)
    # The variance of a difference is quadratic in its weights, so that it is taken apart once.
    unit = np.eye(len(ratio) + 1)
    alone = weighted_parts(squares, unit)
    both = (weighted_parts(squares, unit[:-1] + unit[-1]) - alone[:-1] - alone[-1]) / 2
    means = np.where(np.isnan(squares.estimates), 0.0, squares.estimates)
    inverse, weights = _inverse_chi_squared(tuple(part.df for part in squares.parts))
    for _ in range(N_BISECTIONS):
        angle = (inside + outside) / 2
        # The contrast is scaled by the cosine, to stay finite.
        first, last = np.cos(angle), -(ratio * np.cos(angle) + side * np.sin(angle))
        estimate = first * means[:-1] + last * means[-1]
        one, other = first[:, None], last[:, None]
        parts = one**2 * alone[:-1] + 2 * one * other * both + other**2 * alone[-1]
        p = _two_sided(estimate, _summed_parts(squares, parts, inverse), weights)
        kept = ~(p < alpha)
        inside, outside = np.where(kept, angle, inside), np.where(kept, outside, angle)
    distance: Floats = np.tan((inside + outside) / 2)
    return np.where(np.isfinite(ratio), distance, np.nan)
