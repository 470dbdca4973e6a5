"""Intervals of ratios: a score as a share of a noise ceiling that is itself uncertain."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.inference.random_effects import MeanSquares, infer, two_sided_p

N_BISECTIONS = 26


@dataclass(frozen=True)
class Ratios:
    """Ratios with intervals; arrays (ratios,).

    Attributes
    ----------
    ratio, lower, upper : ndarray
        NaN where withheld.
    withheld : str
        Why no ratio is given, for all of them; empty where they are.
    """

    ratio: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    withheld: str = ""


def ratios_to_last(squares: MeanSquares, confidence: float = 0.95) -> Ratios:
    """Ratios of all statistics but the last to the last, with Fieller's intervals.

    Parameters
    ----------
    squares : MeanSquares
        Scores, then the noise ceiling.
    confidence : float

    Returns
    -------
    Ratios
        Withheld where the interval of the last includes zero or lies below it.
    """
    n = len(squares.estimates) - 1
    last = infer(squares, np.eye(n + 1)[-1:], confidence)
    if not last.lower[0] > 0:
        nothing = np.full(n, np.nan)
        reason = (
            f"the noise ceiling, {last.estimate[0]:.3f}, is not known to be above zero: its "
            f"{100 * confidence:g} % interval is [{last.lower[0]:.3f}, {last.upper[0]:.3f}]"
        )
        return Ratios(nothing, nothing, nothing, reason)
    ratio = squares.estimates[:-1] / squares.estimates[-1]
    ends = [ratio + side * _reach(squares, ratio, side, 1 - confidence) for side in (-1.0, 1.0)]
    return Ratios(ratio, *ends)


def _reach(
    squares: MeanSquares, ratio: NDArray[np.float64], side: float, alpha: float
) -> NDArray[np.float64]:
    """How far from the ratios the test of numerator - r denominator starts to reject.

    It ends, since at infinity that is the test of the denominator. Bisection of the angle whose
    tangent is the distance reaches all of that way.
    """
    inside, outside = np.zeros(len(ratio)), np.full(len(ratio), np.pi / 2)
    contrasts = np.eye(len(ratio), len(ratio) + 1)
    for _ in range(N_BISECTIONS):
        angle = (inside + outside) / 2
        # The contrast is scaled by the cosine, to stay finite.
        scaled = contrasts * np.cos(angle)[:, None]
        scaled[:, -1] = -(ratio * np.cos(angle) + side * np.sin(angle))
        kept = ~(two_sided_p(squares, scaled) < alpha)
        inside, outside = np.where(kept, angle, inside), np.where(kept, outside, angle)
    distance: NDArray[np.float64] = np.tan((inside + outside) / 2)
    return np.where(np.isfinite(ratio), distance, np.nan)
