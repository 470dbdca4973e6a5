"""Findings of inference: rows of tables, values of figures, and the standing of the best model.

Which test answers which question stands in `docs/statistics.md`.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np

from conceptrsa.analysis.settings import RsaMetric

CeilingName = Literal["pairwise", "lower", "upper", "split-half"]
Score = Literal["rsa", "rsa_normalised"]

ALPHA = 0.05

ZERO = "zero"
"""Reference of tests against zero."""

ONE_SIDED_PERMUTATION = "label permutation, one-sided"
TWO_SIDED_PERMUTATION = (
    "screen: label permutation, two-sided; of neither being related to the brain"
)
RANDOM_EFFECTS = "random effects of subjects and stimuli, two-sided"
MIXED_MODEL = "mixed model of subjects, stimuli and models, two-sided"
SIGN_FLIP = "sign-flip over subjects, two-sided"
SIGNED_RANK = "Wilcoxon signed-rank, two-sided"
WELCH = "Welch t, two-sided; treats models as independent"

MOST_NAMES = 3
"""Number of names in a sentence; if there are more, they are counted."""


@dataclass(frozen=True, kw_only=True)
class ModelTest:
    """One model against the reference model in one region.

    Attributes
    ----------
    score : {'rsa', 'rsa_normalised'}
        Which values of the subjects were compared.
    statistic, p, p_corrected : float
        Statistic (that of the signed ranks, or a mean difference), p, and p corrected by Benjamini
        and Hochberg over all rows of the same score, test and kind of reference (zero, the
        reference model, or every other model); NaN where no test was possible.
    test : str
        The test, and how its p was found.
    n : int
        Subjects with both values.
    p_floor : float
        The smallest p that so many subjects whose values differ, or so many permutations, can give.
    p_max : float
        Corrected for all tests of the same kind in all regions by the largest statistic, where
        the test is one of permutations; else NaN.
    low, high : float
        95 % interval of the statistic, where the test has one; else NaN.
    """

    roi: str
    model: str
    reference: str
    score: Score = "rsa"
    statistic: float
    p: float
    p_corrected: float = np.nan
    test: str
    n: int
    p_floor: float = np.nan
    p_max: float = np.nan
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True, kw_only=True)
class GroupTest:
    """One group of models against another in one region.

    Attributes
    ----------
    mean_a, mean_b : float
        Means over the models' means over subjects.
    statistic, p, p_corrected : float
        Welch's t, two-sided p, and p corrected as in `ModelTest`; NaN where no test was possible.
    test : str
    n : int
        Models of both groups together.
    p_floor : float
        NaN for a t-test, which has none.
    p_max, low, high : float
        As in `ModelTest`.
    """

    roi: str
    group_a: str
    group_b: str
    score: Score = "rsa"
    mean_a: float
    mean_b: float
    statistic: float
    p: float
    p_corrected: float = np.nan
    test: str
    n: int
    p_floor: float = np.nan
    p_max: float = np.nan
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True, kw_only=True)
class ModelScore:
    """One model in one region, for new subjects and new stimuli.

    Attributes
    ----------
    rsa : float
        Mean over subjects (and folds).
    low, high : float
        Its 95 % interval, subjects and stimuli random.
    se_subjects, se_stimuli, se_both : float
        Standard errors over new subjects, over new stimuli, and over both, by the variances that
        the interval is made of. Estimates: that over both can come out below another.
    may_be_best : bool or None
        Whether the model cannot be ruled out as the best of its region (random effects; the truly
        best one is ruled out in at most 5 % of studies); None where it was not compared.
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
    rsa: float = np.nan
    low: float = np.nan
    high: float = np.nan
    se_subjects: float = np.nan
    se_stimuli: float = np.nan
    se_both: float = np.nan
    may_be_best: bool | None = None
    p: float = np.nan
    p_max: float = np.nan
    p_fdr: float = np.nan
    normalised: float = np.nan
    normalised_low: float = np.nan
    normalised_high: float = np.nan
    withheld: str


@dataclass(frozen=True, kw_only=True)
class CeilingInterval:
    """A noise ceiling of one region.

    Attributes
    ----------
    ceiling : {'pairwise', 'lower', 'upper'}
        Between subjects, and Nili's bounds; mean over subjects (and folds).
    low, high : float
        Its 95 % interval, subjects and stimuli random.
    p : float
        Of the pairwise ceiling, by permutation of the stimuli in each subject; else NaN.
    """

    roi: str
    ceiling: CeilingName
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan


@dataclass(frozen=True)
class VariancePart:
    """Variance of one region's RDMs that groups of models explain, alone or together.

    Attributes
    ----------
    part : str
        'explained by multimodal', ..., 'explained by all': what the models of a group, or all,
        explain. 'only by multimodal', ..., 'shared by multimodal and visual', ...: parts of
        what all explain, which add up to it; of more than 4 groups, 'shared by several' is one.
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

    def of(self, roi: str) -> "Inference":
        """Give what concerns one region."""
        return self._by_region.get(roi, Inference((), (), (), (), (), ()))

    @cached_property
    def _by_region(self) -> dict[str, "Inference"]:
        """Findings by region, indexed once: there may be hundreds with hundreds of tests each."""
        found: dict[str, dict[str, list[Any]]] = {}
        kinds = [kind.name for kind in fields(self)]
        for kind in kinds:
            for row in getattr(self, kind):
                found.setdefault(row.roi, {}).setdefault(kind, []).append(row)
        return {
            roi: Inference(**{kind: tuple(rows.get(kind, ())) for kind in kinds})
            for roi, rows in found.items()
        }


@dataclass(frozen=True)
class BestModels:
    """Which models of one region may be the best, the highest score first.

    Attributes
    ----------
    names : tuple of str
        Those that cannot be ruled out: the best one is among them with a confidence of 95 %.
    ruled_out : tuple of str
    unknown : tuple of str
        Those that were not compared.
    """

    names: tuple[str, ...] = ()
    ruled_out: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def besides(self, model: str) -> tuple[str, ...]:
        """Give the others that may be the best."""
        return tuple(name for name in self.names if name != model)


def best_models(inference: Inference | None, roi: str) -> BestModels:
    """Give the models that may be the best of a region, for new subjects and new stimuli."""
    scores = () if inference is None else inference.of(roi).model_scores
    ranked = sorted(scores, key=lambda score: -np.nan_to_num(score.rsa, nan=-np.inf))

    def those(may_be_best: bool | None) -> tuple[str, ...]:
        return tuple(score.model for score in ranked if score.may_be_best is may_be_best)

    return BestModels(those(True), those(False), those(None))


@dataclass(frozen=True)
class Standing:
    """One group of models, in one region, against every other.

    Attributes
    ----------
    above : tuple of str
        Those that it is found to do better than.
    level : tuple of str
        Those that it is not told apart from.
    untested : tuple of str
        Those that it could not be tested against.
    """

    above: tuple[str, ...] = ()
    level: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()

    def in_words(self) -> str:
        """Say it so that it can follow a name; empty where there is no other."""
        if self.level:
            untested = f", nor tested against {_some(self.untested)}" if self.untested else ""
            return f"not told apart from {_some(self.level)}{untested}"
        if self.untested:
            return f"not tested against {_some(self.untested)}"
        return "above every other" if self.above else ""


def group_standing(inference: Inference | None, roi: str, group: str) -> Standing:
    """Give the standing of a group of models, for new models of the kind too (mixed model)."""
    tests = () if inference is None else inference.of(roi).group_tests
    above: list[str] = []
    level: list[str] = []
    untested: list[str] = []
    for test in tests:
        if test.test != MIXED_MODEL or group not in (test.group_a, test.group_b):
            continue
        is_first = test.group_a == group
        other = test.group_b if is_first else test.group_a
        ahead = test.statistic if is_first else -test.statistic
        if not np.isfinite(test.p_corrected):
            untested.append(other)
        else:
            (above if test.p_corrected < ALPHA and ahead > 0 else level).append(other)
    return Standing(tuple(above), tuple(level), tuple(untested))


def _some(names: tuple[str, ...]) -> str:
    if len(names) > MOST_NAMES:
        return f"{len(names)} others"
    return ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]
