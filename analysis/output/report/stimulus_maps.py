"""Maps of stimuli: places in a plane whose distances are as much like an RDM's as can be."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import squareform

from conceptrsa.analysis.arrays import Floats

NOTHING = 1e-9
"""As a share of the largest eigenvalue: what is no more comes from rounding."""


@dataclass(frozen=True)
class StimulusMap:
    """Where stimuli are in a plane.

    Attributes
    ----------
    places : ndarray, (stimuli, 2)
        Centred, the farthest from the centre at distance 1.
    share : float
        What the plane holds of the spread of all stimuli, 0 to 1.
    """

    places: Floats
    share: float


def place_stimuli(rdm: Floats) -> StimulusMap | None:
    """Place stimuli by classical multidimensional scaling (Torgerson, 1952).

    Parameters
    ----------
    rdm : ndarray, (pairs,)
        Taken as squared distances in space, which the distances of this package are (of
        correlations: between patterns of mean 0 and length 1).

    Returns
    -------
    StimulusMap or None
        The first two principal components of the patterns whose squared distances these are; None
        where the RDM holds a NaN, is constant, or has negative distances alone.
    """
    if not np.isfinite(rdm).all() or np.ptp(rdm) == 0:
        return None
    squared = squareform(rdm, checks=False)
    means = squared.mean(axis=0)
    products = (means + means[:, None] - squared - means.mean()) / 2
    values, vectors = np.linalg.eigh(products)
    if values[-1] <= NOTHING * np.abs(values).max():
        return None
    places = vectors[:, :-3:-1] * np.sqrt(np.maximum(values[:-3:-1], 0))
    # The sign of an axis means nothing: take one that no library of linear algebra changes.
    farthest = places[np.abs(places).argmax(axis=0), [0, 1]]
    places *= np.where(farthest < 0, -1, 1)
    share = values[:-3:-1].clip(0).sum() / np.abs(values).sum()
    return StimulusMap(places / np.linalg.norm(places, axis=1).max(), float(share))
