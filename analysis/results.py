"""Results of a comparison, before they become tables and figures."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from conceptrsa.analysis.arrays import Booleans, Floats, Integers
from conceptrsa.analysis.brain.folds import Fold, is_circular
from conceptrsa.analysis.brain.patterns import RegionCoverage
from conceptrsa.analysis.brain.region_map import RegionMap
from conceptrsa.analysis.brain.stimulus_sets import StimulusSets
from conceptrsa.analysis.inference.findings import ALPHA, GroupTest, Inference, ModelTest
from conceptrsa.analysis.inference.generalisation import OwnRegion
from conceptrsa.analysis.multiverse import MultiverseRow
from conceptrsa.analysis.rsa.ceiling_sweep import CeilingSweep
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling, normalise
from conceptrsa.analysis.settings import ComparisonSettings

PRIMARY = "primary"


@dataclass(frozen=True)
class Model:
    """A model that was compared.

    Attributes
    ----------
    name, group : str
    note : str
        Note for readers, such as that it stands in for another kind of model; or empty.
    features_sha256 : str
        Hash of its features or RDM, and of their stimuli.
    origin : dict
        Network, layer, weights and libraries that made them, where known.
    supplied_rdm : bool
        Whether it came as an RDM, which was taken as it is.
    """

    name: str
    group: str
    note: str
    features_sha256: str
    origin: dict[str, Any] = field(default_factory=dict)
    supplied_rdm: bool = False


@dataclass(frozen=True)
class RoiResult:
    """Brains and models in one region.

    Attributes
    ----------
    roi : str
    n_voxels : ndarray of int, (folds, subjects)
        Voxels that were selected; 0 where RDMs were supplied.
    rdms : ndarray, (folds, subjects, pairs)
        Of common stimuli; NaN for a subject with fewer than three voxels selected. Without pairs
        where subjects share too few stimuli.
    rsa : ndarray, (subjects, models)
        Mean over the folds.
    ceiling : NoiseCeiling
        Arrays (subjects,), means over the folds.
    ceiling_p : float
        P-value of the mean pairwise ceiling, with stimuli permuted in each subject.
    ceiling_from : {'subjects', 'halves'}
        What the pairwise ceiling compares: subjects, or where they share too few stimuli each one's
        odd and even runs.
    own : OwnRegion or None
        Scores on stimuli other than those of the RDMs, if there are any.
    rsa_common : ndarray, (subjects, models), or None
        Scores on the stimuli of the RDMs, where `rsa` is of others.
    """

    roi: str
    n_voxels: Integers
    rdms: Floats
    rsa: Floats
    ceiling: NoiseCeiling
    ceiling_p: float
    ceiling_from: Literal["subjects", "halves"] = "subjects"
    own: OwnRegion | None = None
    rsa_common: Floats | None = None

    @property
    def has_rdm(self) -> Booleans:
        """Subjects with an RDM, (subjects,)."""
        if self.rdms.shape[-1] == 0:
            return np.asarray(np.isfinite(self.rsa).any(axis=1))
        return np.asarray(np.isfinite(self.rdms).all(axis=(0, 2)))

    @property
    def rsa_normalised(self) -> Floats:
        """Scores as shares of each subject's pairwise ceiling, (subjects, models).

        NaN where scores are of all runs and the ceiling is that of half of them. Where scores are
        of more stimuli than the ceiling is, of those on the ceiling's.
        """
        if self.own is not None and self.own.of_all_runs and self.own.single:
            return np.full_like(self.rsa, np.nan)
        of_ceiling = self.rsa if self.rsa_common is None else self.rsa_common
        return normalise(of_ceiling, self.ceiling.pairwise)

    @property
    def mean_n_voxels(self) -> Floats:
        """Voxels that were selected, mean over folds, (subjects,)."""
        return np.asarray(self.n_voxels.mean(axis=0), dtype=np.float64)

    @property
    def has_weak_ceiling(self) -> bool:
        """Whether the mean pairwise ceiling is not above 95 % of those of permuted stimuli.

        Also if there is none to be tested.
        """
        return not self.ceiling_p <= ALPHA

    @property
    def n_normalised(self) -> int:
        """Subjects whose pairwise ceiling is above zero, so that scores can be shares of it."""
        return int((self.ceiling.pairwise > 0).sum())


@dataclass(frozen=True)
class Analysis:
    """All regions by one choice of voxels, distance and comparison.

    Attributes
    ----------
    name : str
        'primary', or of the preset 'paper' the figure of the appendix that it is made for.
    settings : ComparisonSettings
    folds : tuple of Fold
    rois : tuple of RoiResult
    notes : tuple of str
        Notes for the user.
    whitened : bool
        Whether voxels were whitened by the covariance of the residuals.
    """

    name: str
    settings: ComparisonSettings
    folds: tuple[Fold, ...]
    rois: tuple[RoiResult, ...]
    notes: tuple[str, ...] = ()
    whitened: bool = False

    @cached_property
    def supplied(self) -> bool:
        """Whether RDMs were supplied, so that no voxels were chosen.

        Looked for once, as every row of a table asks, and there may be hundreds of regions.
        """
        return not any(roi.n_voxels.any() for roi in self.rois)

    @property
    def circular(self) -> bool:
        """Whether voxels were chosen on the same betas that were scored."""
        return not self.supplied and is_circular(self.settings)


@dataclass(frozen=True, repr=False)
class ComparisonResult:
    """All that a comparison found.

    Attributes
    ----------
    subjects : tuple of str
        Labels in BIDS spelling, `sub-XX`.
    stimuli : tuple of str
        In the order of the RDMs.
    sets : StimulusSets
        Stimuli that each subject is scored on.
    models : tuple of Model
    reference_model : str
    model_rdms : ndarray, (models, pairs)
        RDMs of the models in the primary analysis.
    primary : Analysis
        The analysis that was asked for.
    variants : tuple of Analysis
        Analyses of the paper's Figures 4 to 7, with the preset 'paper'.
    sweeps : tuple of CeilingSweep
        The noise ceiling over the number of voxels; empty where RDMs were supplied.
    model_tests : tuple of ModelTest
    group_tests : tuple of GroupTest
    inference : Inference or None
        Intervals, permutation tests and what models explain together; preset 'recommended'.
    multiverse : tuple of MultiverseRow
    warnings : tuple of str
        Notes, and reasons to doubt results.
    sources : tuple of Path
        Files of the betas and regions.
    estimation : dict
        How the betas of the first subject were estimated, as their sidecar has it (all are
        required to be estimated alike); empty where that is not known.
    coverage : tuple of RegionCoverage
        Voxels without betas; empty where RDMs were supplied.
    region_map : RegionMap or None
        Positions of the regions, if betas are in a standard space.
    """

    subjects: tuple[str, ...]
    stimuli: tuple[str, ...]
    sets: StimulusSets
    models: tuple[Model, ...]
    reference_model: str
    model_rdms: Floats
    primary: Analysis
    variants: tuple[Analysis, ...]
    sweeps: tuple[CeilingSweep, ...]
    model_tests: tuple[ModelTest, ...]
    group_tests: tuple[GroupTest, ...]
    inference: Inference | None
    multiverse: tuple[MultiverseRow, ...]
    warnings: tuple[str, ...]
    sources: tuple[Path, ...]
    estimation: dict[str, Any] = field(default_factory=dict)
    coverage: tuple[RegionCoverage, ...] = ()
    region_map: RegionMap | None = None

    def __repr__(self) -> str:
        """Summary of what was compared, without the numbers."""
        return (
            f"ComparisonResult({len(self.models)} models, {len(self.subjects)} subjects, "
            f"{self.sets.size} stimuli; {', '.join(roi.roi for roi in self.rois)})"
        )

    @property
    def settings(self) -> ComparisonSettings:
        """Settings of the primary analysis."""
        return self.primary.settings

    @property
    def rois(self) -> tuple[RoiResult, ...]:
        """Regions of the primary analysis."""
        return self.primary.rois
