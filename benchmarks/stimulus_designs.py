"""Tests and intervals where each subject saw stimuli of its own, of one subject, of very many.

What is scored goes the way of a comparison: `stimulus_sets` chooses what subjects are compared on.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.calibration_study import SIGNALS, UNRELATED, Study, rows_of
from benchmarks.false_positives import ALPHA, N_PERMUTATIONS
from benchmarks.interval_coverage import TARGETS, UNEQUAL, intervals_of, shares_covered
from benchmarks.simulation import (
    GROUPS,
    Design,
    correlation_rdms,
    draw_features,
    draw_model_features,
    draw_patterns,
)
from conceptrsa.analysis import own_scores
from conceptrsa.analysis.brain import stimulus_sets
from conceptrsa.analysis.brain.patterns import SubjectRdms
from conceptrsa.analysis.inference import own_permutations
from conceptrsa.analysis.inference.generalisation import Generalisation, ScoredRegion
from conceptrsa.analysis.inference.own_permutations import permute_own_labels
from conceptrsa.analysis.inference.permutation import (
    LabelPermutations,
    draw_permutations,
    label_tests,
)
from conceptrsa.analysis.inference.population_inference import infer_region
from conceptrsa.analysis.models.feature_files import Features
from conceptrsa.analysis.models.model_set import ModelSet
from conceptrsa.analysis.own_scores import OwnStudy
from conceptrsa.analysis.settings import ComparisonSettings

Rows = list[NDArray[np.intp]]
SETTINGS = ComparisonSettings(voxel_selection="all")


@dataclass(frozen=True)
class StimulusDesign:
    """Which stimuli of a pool each subject sees.

    Attributes
    ----------
    name : str
    subjects : Design
    pool : int
        Stimuli of all subjects together.
    rows : callable
        Draws each subject's.
    fixed : bool
        The subjects are the same in every data set: the truth is what new stimuli would give.
    most, most_permuted : int
        So many stimuli tell the variances, and are permuted whole; of more, some.
    """

    name: str
    subjects: Design
    pool: int
    rows: Callable[[Design, np.random.Generator], Rows]
    fixed: bool = False
    most: int = stimulus_sets.MOST
    most_permuted: int = own_permutations.MANY_STIMULI

    def limits(self) -> ExitStack:
        """Set how many stimuli are many."""
        stack = ExitStack()
        for module, name, value in (
            (stimulus_sets, "MOST", self.most),
            (own_scores, "MOST", self.most),
            (own_permutations, "MANY_STIMULI", self.most_permuted),
        ):
            stack.enter_context(patch.object(module, name, value))
        return stack


def all_stimuli(design: Design, generator: np.random.Generator) -> Rows:
    return [np.arange(design.n_stimuli)] * design.n_subjects


def _own(design: Design, generator: np.random.Generator) -> Rows:
    return np.split(np.arange(design.n_subjects * design.n_stimuli), design.n_subjects)


def _own_but_20(design: Design, generator: np.random.Generator) -> Rows:
    own = _own(replace(design, n_stimuli=design.n_stimuli - 20), generator)
    return [np.concatenate([np.arange(20), 20 + rows]) for rows in own]


def _half_of_pool(design: Design, generator: np.random.Generator) -> Rows:
    n = design.n_stimuli
    drawn = (generator.choice(2 * n, n, replace=False) for _ in range(design.n_subjects))
    return [np.sort(rows) for rows in drawn]


DESIGNS = (
    StimulusDesign("5 subjects, each its own 50 stimuli", Design(), 250, _own),
    StimulusDesign("5 subjects, 20 of 50 stimuli shared by all", Design(), 170, _own_but_20),
    StimulusDesign("5 subjects, each half of 100 stimuli", Design(), 100, _half_of_pool),
    StimulusDesign("1 subject, 50 stimuli", Design(n_subjects=1), 50, all_stimuli, fixed=True),
    StimulusDesign("2 subjects, each its own 50 stimuli", Design(n_subjects=2), 100, _own),
    StimulusDesign("5 subjects, 515 stimuli", Design(n_stimuli=515), 515, all_stimuli),
    StimulusDesign(
        "5 subjects, 75 stimuli, as if 50 and 30 were as many as can be analysed",
        Design(n_stimuli=75),
        75,
        all_stimuli,
        most=50,
        most_permuted=30,
    ),
)


@dataclass
class Outcomes:
    """What data sets of one design gave.

    Attributes
    ----------
    rejected : dict of (str, str) to list of float
        By test and region, the share of true null hypotheses that each data set rejects.
    intervals : dict of str to dict of str to list of ndarray
        By region and quantity.
    """

    rejected: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    intervals: dict[str, dict[str, list[NDArray[np.float64]]]] = field(
        default_factory=lambda: {region: defaultdict(list) for region in SIGNALS}
    )


def stimulus_design(n: int, seed: int, design: StimulusDesign) -> Study:
    """Rejections of models unrelated to the brain, and coverage of models related to it."""
    return tabulate(design, simulate(range(n), seed, design))


def simulate(numbers: Sequence[int], seed: int, design: StimulusDesign) -> Outcomes:
    """Make and analyse data sets; each has its own seed, so that some can be added later."""
    with design.limits():
        return _simulate(numbers, seed, design)


def _simulate(numbers: Sequence[int], seed: int, design: StimulusDesign) -> Outcomes:
    outcomes = Outcomes()
    for number in numbers:
        generator = np.random.default_rng([seed, 9, DESIGNS.index(design), number])
        subjects, features = draw_subjects(design, generator)
        unrelated = draw_models(features, UNRELATED, design, generator)
        general, permuted = analyse(subjects, unrelated, generator)
        for region, result, zero, pairs in zip(
            SIGNALS, general, permuted.models.p, permuted.model_pairs.p, strict=True
        ):
            for name, p in (
                ("label permutation, model vs zero", zero),
                ("label permutation, model vs model", pairs),
                ("random effects, model vs zero", result.models.p),
                ("random effects, model vs model", result.model_pairs.p),
                ("mixed model, group vs group", result.group_pairs.p),
            ):
                outcomes.rejected[name, region].append(float((p <= ALPHA).mean()))
        related = draw_models(features, UNEQUAL, design, generator)
        for region, result in zip(SIGNALS, analyse(subjects, related)[0], strict=True):
            for name, interval in intervals_of(result).items():
                outcomes.intervals[region][name].append(interval)
    return outcomes


def tabulate(design: StimulusDesign, outcomes: Outcomes) -> Study:
    """Rows of one design."""
    found = dict(outcomes.rejected)
    for region, intervals in outcomes.intervals.items():
        found |= shares_covered(intervals, region)
    targets = TARGETS | dict.fromkeys(("label", "rando", "mixed"), (0.03, 0.07))
    rows = rows_of(found, "ceiling {}", targets)
    # Of ratios that are shown only where the ceiling came out high, no coverage is promised.
    rows = tuple(
        replace(row, target=None)
        if "withheld" in row.quantity or ("Fieller" in row.quantity and "0.02" in row.data)
        else row
        for row in rows
    )
    n = len(next(iter(outcomes.rejected.values())))
    return Study(f"{design.name} ({n} data sets)", "rejected or covered", rows)


def draw_subjects(
    design: StimulusDesign, generator: np.random.Generator
) -> tuple[list[SubjectRdms], NDArray[np.float64]]:
    """Draw subjects with RDMs of two halves in two regions, and features of all stimuli."""
    features = draw_features(replace(design.subjects, n_stimuli=design.pool), generator)
    subjects = []
    for place, rows in enumerate(design.rows(design.subjects, generator)):
        seen = replace(design.subjects, n_stimuli=len(rows))
        rois = {}
        for region, signal in enumerate(SIGNALS.values()):
            fixed = np.random.default_rng([place, region]) if design.fixed else None
            patterns = draw_patterns(features[rows], signal, seen, generator, fixed)
            rois[f"region {region}"] = correlation_rdms(patterns)
        subjects.append(SubjectRdms(f"{place:02}", _names(rows), rois))
    return subjects, features


def draw_models(
    features: NDArray[np.float64],
    relation: NDArray[np.float64],
    design: StimulusDesign,
    generator: np.random.Generator,
) -> ModelSet:
    """Draw models of all stimuli."""
    pool = replace(design.subjects, n_stimuli=design.pool)
    names = _names(np.arange(design.pool))
    drawn = draw_model_features(features, relation, pool, generator)
    models = (
        Features(f"{place:02}", group, names, values)
        for place, (group, values) in enumerate(zip(GROUPS, drawn, strict=True))
    )
    return ModelSet(tuple(models), names)


def analyse(
    subjects: list[SubjectRdms], models: ModelSet, generator: np.random.Generator | None = None
) -> tuple[list[Generalisation], LabelPermutations | None]:
    """Infer all regions, and permute labels if there is a generator."""
    sets = stimulus_sets.stimulus_sets(subjects, SETTINGS)
    study = OwnStudy({}, ())
    if not sets.all_common:
        study = own_scores.score_own_stimuli(subjects, sets, models, {}, SETTINGS)
    common = models.of_stimuli(sets.common).rdms("correlation") if sets.common else np.empty((0, 0))
    shared = (
        stimulus_sets.on_stimuli(subjects, [sets.common] * len(subjects))
        if sets.common
        else subjects
    )
    permutations = draw_permutations(
        max(len(sets.common), 3),
        1 if generator is None else N_PERMUTATIONS,
        generator or np.random.default_rng(0),
    )
    found = []
    for roi in subjects[0].rois:
        own = study.regions.get(roi)
        rdms = np.stack([one.rois[roi] for one in shared], axis=1) if sets.common else None
        region = ScoredRegion(rdms, own.scores.rsa if own else np.empty(0), np.nan, own)
        found.append(infer_region(region, common, models.groups, SETTINGS.rsa_metric, permutations))
    general = [each.general for each in found]
    if generator is None:
        return general, None
    if study.subjects:
        return general, permute_own_labels(
            study.subjects, models.groups, SETTINGS.rsa_metric, N_PERMUTATIONS, generator
        )
    null = np.stack([each.null for each in found], axis=1)
    return general, label_tests(null, np.stack([each.expected for each in found]), models.groups)


def _names(rows: NDArray[np.intp]) -> tuple[str, ...]:
    return tuple(f"{row:05}" for row in rows)


OWN_400 = StimulusDesign(
    "3 subjects, each its own 400 stimuli", Design(n_subjects=3, n_stimuli=400), 1200, _own
)
HALF_OF_800 = StimulusDesign(
    "3 subjects, each half of 800 stimuli", Design(n_subjects=3, n_stimuli=400), 800, _half_of_pool
)
MANY_PERMUTATIONS = 1000


def thinned_permutations(n: int, seed: int) -> Study:
    """How far p-values of permutations lie apart, thinned from plain and plain from plain."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for design in (OWN_400, HALF_OF_800):
        for number in range(n):
            generator = np.random.default_rng([seed, 10, design.pool, number])
            subjects, features = draw_subjects(design, generator)
            models = draw_models(features, UNRELATED, design, generator)
            sets = stimulus_sets.stimulus_sets(subjects, SETTINGS)
            study = own_scores.score_own_stimuli(subjects, sets, models, {}, SETTINGS)
            thinned, plain, again = (_permute(study, most, generator) for most in (300, 1000, 1000))
            for kind in ("models", "model_pairs"):
                p = getattr(plain, kind).p
                for name, other in (("thinned", thinned), ("plain again", again)):
                    apart = np.abs(getattr(other, kind).p - p)
                    quantity = f"{kind.replace('_', ' ')}, {name}"
                    found[f"{quantity}: mean", design.name].append(apart.mean())
                    found[f"{quantity}: largest", design.name].append(apart.max())
    title = f"How far p of {MANY_PERMUTATIONS} permutations lie from those of as many plain ones"
    return Study(title, "mean", rows_of(found, "{}", {}))


def _permute(study: OwnStudy, most: int, generator: np.random.Generator) -> LabelPermutations:
    with patch.object(own_permutations, "MANY_STIMULI", most):
        return permute_own_labels(study.subjects, GROUPS, "pearson", MANY_PERMUTATIONS, generator)
