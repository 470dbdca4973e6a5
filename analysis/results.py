"""What a comparison finds, before it becomes tables and figures."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.ceiling_sweep import CeilingSweep
from analysis.noise_ceiling import NoiseCeiling, normalise
from analysis.settings import ComparisonSettings
from analysis.significance import GroupTest, ModelTest

CEILING_ALPHA = 0.05


@dataclass(frozen=True)
class Model:
    """A model that was compared.

    Attributes
    ----------
    name, group : str
    note : str
        What a reader must know about it, a stand-in for another kind of model; or empty.
    features_sha256 : str
        Of its features and their stimuli.
    weights_sha256 : dict of str to str
        Of the files of weights that made them, where known.
    """

    name: str
    group: str
    note: str
    features_sha256: str
    weights_sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RoiResult:
    """Brains and models in one region.

    Attributes
    ----------
    roi : str
    n_voxels : ndarray of int, (subjects,)
        Voxels that were selected.
    rdms : ndarray, (subjects, pairs)
        NaN for a subject with fewer than three voxels selected.
    rsa : ndarray, (subjects, models)
    ceiling : NoiseCeiling
        Arrays (subjects,).
    ceiling_p : float
        Of the mean pairwise ceiling when stimuli are permuted in each subject.
    """

    roi: str
    n_voxels: NDArray[np.intp]
    rdms: NDArray[np.float64]
    rsa: NDArray[np.float64]
    ceiling: NoiseCeiling
    ceiling_p: float

    @property
    def rsa_normalised(self) -> NDArray[np.float64]:
        """Scores as shares of each subject's pairwise ceiling, (subjects, models)."""
        return normalise(self.rsa, self.ceiling.pairwise)

    @property
    def has_weak_ceiling(self) -> bool:
        """Whether the mean pairwise ceiling is not above 95 % of those of permuted stimuli."""
        return not self.ceiling_p <= CEILING_ALPHA

    @property
    def n_normalised(self) -> int:
        """Subjects whose pairwise ceiling is above zero, so that scores can be shares of it."""
        return int((self.ceiling.pairwise > 0).sum())


@dataclass(frozen=True)
class ComparisonResult:
    """All that a comparison found.

    Attributes
    ----------
    settings : ComparisonSettings
    subjects : tuple of str
        As BIDS spells them, `sub-XX`.
    stimuli : tuple of str
        In the order of the RDMs.
    models : tuple of Model
    reference_model : str
    model_rdms : ndarray, (models, pairs)
    rois : tuple of RoiResult
    sweeps : tuple of CeilingSweep
    model_tests : tuple of ModelTest
    group_tests : tuple of GroupTest
    warnings : tuple of str
        What happened on the way, and what should not be trusted.
    sources : tuple of Path
        Files of the betas and regions.
    """

    settings: ComparisonSettings
    subjects: tuple[str, ...]
    stimuli: tuple[str, ...]
    models: tuple[Model, ...]
    reference_model: str
    model_rdms: NDArray[np.float64]
    rois: tuple[RoiResult, ...]
    sweeps: tuple[CeilingSweep, ...]
    model_tests: tuple[ModelTest, ...]
    group_tests: tuple[GroupTest, ...]
    warnings: tuple[str, ...]
    sources: tuple[Path, ...]
