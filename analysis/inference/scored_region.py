"""What inference starts from in one region."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ScoredRegion:
    """One region of the primary analysis; a subject without an RDM in a fold has none in any.

    Attributes
    ----------
    rdms : ndarray, (folds, subjects, pairs)
    rsa : ndarray, (subjects, models)
    ceiling_p : float
        Of the pairwise ceiling, by permutation.
    """

    rdms: NDArray[np.float64]
    rsa: NDArray[np.float64]
    ceiling_p: float

    @property
    def n_complete(self) -> int:
        """Subjects with an RDM in every fold."""
        return int(np.isfinite(self.rdms).all(axis=(0, 2)).sum())
