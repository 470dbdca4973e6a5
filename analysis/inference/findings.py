"""What inference finds: rows of the tables, and what figures show."""

from dataclasses import dataclass
from typing import Literal

from conceptrsa.analysis.inference.paper_tests import GroupTest, ModelTest
from conceptrsa.analysis.settings import RsaMetric

CeilingName = Literal["pairwise", "lower", "upper"]


@dataclass(frozen=True)
class ModelScore:
    """One model in one region, for new subjects and new stimuli.

    Attributes
    ----------
    rsa : float
        Mean over subjects (and folds).
    low, high : float
        Its 95 % interval, subjects and stimuli random.
    se_subjects, se_stimuli, se_both : float
        Standard errors by bootstrap over subjects, stimuli, and both.
    p, p_max, p_fdr : float
        Permutation of the stimuli's labels, one-sided: alone; corrected for all models and regions
        by the largest statistic; by false discovery rate.
    normalised, normalised_low, normalised_high : float
        Mean score as a share of the mean pairwise ceiling, and its 95 % interval; NaN where
        withheld.
    withheld : str
        Why there is no share; empty where there is.
    """

    roi: str
    model: str
    group: str
    rsa: float
    low: float
    high: float
    se_subjects: float
    se_stimuli: float
    se_both: float
    p: float
    p_max: float
    p_fdr: float
    normalised: float
    normalised_low: float
    normalised_high: float
    withheld: str


@dataclass(frozen=True)
class CeilingInterval:
    """A noise ceiling of one region.

    Attributes
    ----------
    ceiling : {'pairwise', 'lower', 'upper'}
        The paper's, and Nili's bounds; mean over subjects (and folds).
    low, high : float
        Its 95 % interval, subjects and stimuli random.
    p : float
        Of the pairwise ceiling, by permutation of the stimuli in each subject; else NaN.
    """

    roi: str
    ceiling: CeilingName
    estimate: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class VariancePart:
    """What groups of models explain of one region's RDMs, alone or together.

    Attributes
    ----------
    part : str
        'explained by multimodal', ..., 'explained by all': what the models of a group, or all,
        explain. 'only by multimodal', ..., 'shared by multimodal and visual', ...: parts of
        what all explain, which add up to it.
    r2 : float
        Share of the variance of whitened RDMs, corrected for what models unrelated to the brain
        would explain, mean over subjects (and folds).
    low, high : float
        Its 95 % interval.
    """

    roi: str
    part: str
    r2: float
    low: float
    high: float


@dataclass(frozen=True)
class PartialScore:
    """A model's correlation with the brain beyond the models of another group.

    Attributes
    ----------
    given : str
        The group whose models are partialled out, or 'all others'.
    correlation : {'pearson', 'spearman'}
        The kind that there is a partial one of, nearest to how RDMs are compared.
    partial : float
        Partial correlation, mean over subjects (and folds).
    low, high : float
        Its 95 % interval.
    """

    roi: str
    model: str
    group: str
    given: str
    correlation: RsaMetric
    partial: float
    low: float
    high: float


@dataclass(frozen=True)
class Inference:
    """All of it; regions and models in their order."""

    model_scores: tuple[ModelScore, ...]
    ceilings: tuple[CeilingInterval, ...]
    variance_parts: tuple[VariancePart, ...]
    partial_scores: tuple[PartialScore, ...]
    model_tests: tuple[ModelTest, ...]
    group_tests: tuple[GroupTest, ...]
