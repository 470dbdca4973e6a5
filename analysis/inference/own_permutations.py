"""Permutation of labels where subjects saw different stimuli, or very many.

Stimuli are exchanged within classes: those that the same subjects saw. Of each class one
permutation moves the stimuli in all subjects, folds and regions alike, so that what they share
stays shared, and no subject's RDM is compared with models of stimuli that it did not see. A
stimulus that is alone in its class never moves: where most are, the tests stay valid but find
little.

An RDM of very many stimuli is never permuted whole. A score is a sum of products over pairs, and
relabelling does not mix the three parts of an RDM (see `split_rdms`), so that a score is a sum of
three. The product of the means is the same under every permutation. That of the stimuli's values,
(n - 2) sum a_i b_i, is permuted as it is, with all stimuli. The rests, which are particular to
pairs, are permuted in a thinned study, a random share of each class. Under relabelling the product
of rests R and Q has the variance |R|^2 |Q|^2 / d with d = n (n - 3) / 2, the dimensions of rests
(Mantel, 1967); in the thinned study its distribution has the same form and the same correlations
among models, regions and subjects, and it is scaled to that variance.

The two products are uncorrelated but not independent: of an RDM of one dimension u the rest is
u_i u_j, and its product grows with the square of what the stimuli's values give. How it does so is
estimated in the thinned study.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from conceptrsa.analysis.arrays import Booleans, Floats, Integers
from conceptrsa.analysis.inference.permutation import (
    LabelPermutations,
    label_tests,
    null_scores,
)
from conceptrsa.analysis.inference.stimulus_classes import (
    StimulusClasses,
    draw_within_classes,
    stimulus_classes,
    thin_classes,
)
from conceptrsa.analysis.inference.stimulus_pulls import SubjectPulls
from conceptrsa.analysis.rsa.correlations import split_rdms, standardise
from conceptrsa.analysis.settings import RsaMetric, is_product
from conceptrsa.bids_config.machine import map_on_threads

MANY_STIMULI = 300
"""With more stimuli, residuals are permuted in a study thinned to this many."""

PERMUTATIONS_AT_ONCE = 50
"""Limits memory: each permutation covers every stimulus of the study, up to 80,000."""

RdmsAmong = Callable[[Integers], Floats]
"""Gives RDMs (rdms, pairs) among some stimuli of a subject, by their places in ascending order."""


@dataclass(frozen=True)
class SubjectStudy:
    """One subject's stimuli, and what gives its RDMs.

    Attributes
    ----------
    stimuli : sequence of str
        In the order of the RDMs.
    models : callable
        Gives RDMs (models, pairs) among some of the stimuli.
    brain : mapping of str to callable
        By region, the same in all subjects: gives RDMs (folds, pairs). An RDM with a NaN leaves the
        subject out of the region.
    pulls : mapping of str to SubjectPulls
        By region, of all stimuli. Needed only where a subject has more than `MANY_STIMULI`; a
        region that is not among them the subject is left out of.
    """

    stimuli: Sequence[str]
    models: RdmsAmong
    brain: Mapping[str, RdmsAmong]
    pulls: Mapping[str, SubjectPulls]

    def of_regions(self, names: Sequence[str]) -> "SubjectStudy":
        """Give some of the regions."""
        return replace(self, brain={name: self.brain[name] for name in names})


def permute_own_labels(
    subjects: Sequence[SubjectStudy],
    groups: Sequence[str],
    metric: RsaMetric,
    n_permutations: int,
    generator: np.random.Generator,
) -> LabelPermutations:
    """Test models, pairs of models and pairs of groups in all regions; see `null_scores_of_own`."""
    null, expected = null_scores_of_own(subjects, metric, n_permutations, generator)
    return label_tests(null, expected, groups)


def null_scores_of_own(
    subjects: Sequence[SubjectStudy],
    metric: RsaMetric,
    n_permutations: int,
    generator: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Mean scores over folds and subjects, the brain RDMs' stimuli permuted within classes.

    A score is the mean over the subjects that have RDMs of a region, of means over folds.

    Parameters
    ----------
    subjects : sequence of SubjectStudy
        All of a study, also those without RDMs of a region, so that with the same generator
        permutations are the same in regions that are computed one by one.
    metric : str
        Beyond `MANY_STIMULI`, one that is a sum of products over pairs.
    n_permutations : int
        The identity among them. Up to `MANY_STIMULI`, where there are no more than that, all are
        taken, and tests are exact.
    generator : Generator

    Returns
    -------
    scores : ndarray, (permutations, regions, models)
        NaN for a model that a subject's stimuli give no score, and a region without RDMs.
    expected : ndarray, (regions, models)
        Means over all possible permutations.

    Raises
    ------
    ValueError
        On very many stimuli and a comparison that is no sum of products.
    """
    classes = stimulus_classes([subject.stimuli for subject in subjects])
    if max(len(subject.stimuli) for subject in subjects) <= MANY_STIMULI:
        permutations = draw_within_classes(classes, n_permutations, generator)
        return _null_of_all_pairs(subjects, classes, metric, permutations)
    if is_product(metric):
        return _null_of_many(subjects, classes, metric, n_permutations, generator)
    raise ValueError(f"{metric} is no sum of products: it takes all pairs of stimuli")


def _null_of_all_pairs(
    subjects: Sequence[SubjectStudy],
    classes: StimulusClasses,
    metric: RsaMetric,
    permutations: Integers,
) -> tuple[Floats, Floats]:
    """Scores (permutations, regions, models), and their means over all possible permutations."""
    total: Floats | float = 0.0
    total_expected: Floats | float = 0.0
    n_present: Floats | float = 0.0
    for index, subject in enumerate(subjects):
        everything = np.arange(len(subject.stimuli))
        brain = np.stack([rdms(everything) for rdms in subject.brain.values()])
        # All folds or none, as with patterns.
        brain[np.isnan(brain).any(axis=(1, 2))] = np.nan
        orders = classes.own_orders(index, permutations)
        null, expected = null_scores(brain, subject.models(everything), metric, orders)
        if len(classes.of_subject(index)) > 1:
            # A pair does not come to every place, as it does within one class.
            expected = null.mean(axis=0)
        present = np.isfinite(null[0]).any(axis=1, keepdims=True)
        total = total + np.where(present, null, 0.0)
        total_expected = total_expected + np.where(present, expected, 0.0)
        n_present = n_present + present
    n_subjects = _or_nan(n_present)
    return total / n_subjects, total_expected / n_subjects


def _or_nan(counts: Floats | float) -> Floats:
    return np.where(np.asarray(counts) > 0, counts, np.nan)


@dataclass(frozen=True)
class _ManyStimuli:
    """Values of one subject over all its stimuli; zeros in regions without RDMs.

    Attributes
    ----------
    present : ndarray of bool, (regions,)
    scores, constant : ndarray, (regions, models)
        And what the means of the RDMs add to each score.
    brain : ndarray, (regions, stimuli)
        The stimuli's values times the stimuli less two, so that scores are sums of products.
    models : ndarray, (models, stimuli)
        The stimuli's values.
    rests : ndarray, (regions, models)
        Standard deviation over permutations of the product of the rests.
    """

    present: Booleans
    scores: Floats
    constant: Floats
    brain: Floats
    models: Floats
    rests: Floats


def _of_many_stimuli(subject: SubjectStudy, n_models: int) -> _ManyStimuli:
    n = len(subject.stimuli)
    n_regions = len(subject.brain)
    found = _ManyStimuli(
        present=np.zeros(n_regions, dtype=bool),
        scores=np.zeros((n_regions, n_models)),
        constant=np.zeros((n_regions, n_models)),
        brain=np.zeros((n_regions, n)),
        models=np.zeros((n_models, n)),
        rests=np.zeros((n_regions, n_models)),
    )
    for row, region in enumerate(subject.brain):
        pulls = subject.pulls.get(region)
        if pulls is None or not np.isfinite(pulls.scores).any():
            continue
        brain, models = pulls.brain, pulls.models
        assert brain is not None
        assert models is not None
        found.present[row] = True
        found.scores[row] = pulls.scores
        found.constant[row] = n * (n - 1) / 2 * brain.mean * models.mean
        found.brain[row] = (n - 2) * brain.of_stimuli[0]
        found.models[:] = models.of_stimuli
        found.rests[row] = brain.rest * models.rest / np.sqrt(n * (n - 3) / 2)
    return found


def _null_of_many(
    subjects: Sequence[SubjectStudy],
    classes: StimulusClasses,
    metric: RsaMetric,
    n_permutations: int,
    generator: np.random.Generator,
) -> tuple[Floats, Floats]:
    """As `_null_of_all_pairs`, of values of all stimuli and of rests of some."""
    n_models = max(len(each.scores) for subject in subjects for each in subject.pulls.values())
    of_all = [_of_many_stimuli(subject, n_models) for subject in subjects]
    values = _permuted_values(of_all, classes, n_permutations, generator)
    share = MANY_STIMULI / max(len(subject.stimuli) for subject in subjects)
    thinned, kept = thin_classes(classes, share, generator)
    permutations = draw_within_classes(thinned, n_permutations, generator)
    null, expected = np.zeros(values.shape[1:]), np.zeros(values.shape[2:])
    for index, (subject, own) in enumerate(zip(subjects, of_all, strict=True)):
        orders = thinned.own_orders(index, permutations)
        rests = _permuted_rests(subject, kept[index], metric, orders)
        of_some = _products(own.brain[:, kept[index]], own.models[:, kept[index]], orders)
        _as_with_all(rests, of_some, values[index])
        null += own.constant + values[index] + rests * own.rests
        expected += own.constant
        for stimuli in classes.of_subject(index):
            means = own.models[:, stimuli].mean(axis=1)
            expected += own.brain[:, stimuli].sum(axis=1)[:, None] * means
    null[0] = sum(own.scores for own in of_all)
    n_subjects = _or_nan(sum(own.present[:, None].astype(float) for own in of_all))
    return null / n_subjects, expected / n_subjects


def _permuted_values(
    subjects: Sequence[_ManyStimuli],
    classes: StimulusClasses,
    n_permutations: int,
    generator: np.random.Generator,
) -> Floats:
    """Products of the stimuli's values, (subjects, permutations, regions, models)."""
    values = np.empty((len(subjects), n_permutations, *subjects[0].rests.shape))
    starts = range(0, n_permutations, PERMUTATIONS_AT_ONCE)

    def permute(block: tuple[int, np.random.Generator]) -> None:
        start, own_generator = block
        rows = slice(start, min(start + PERMUTATIONS_AT_ONCE, n_permutations))
        # The first, which changes nothing, is left out.
        orders = draw_within_classes(classes, rows.stop - rows.start + 1, own_generator)[1:]
        for index, subject in enumerate(subjects):
            own_orders = classes.own_orders(index, orders)
            values[index, rows] = _products(subject.brain, subject.models, own_orders)

    # A generator for every block, so that numbers do not depend on the threads.
    map_on_threads(permute, zip(starts, generator.spawn(len(starts)), strict=True))
    return values


def _products(brain: Floats, models: Floats, orders: Integers) -> Floats:
    """Sums of products with the brain's values permuted, (permutations, regions, models)."""
    return np.asarray((brain.take(orders, axis=1) @ models.T).swapaxes(0, 1))


def _permuted_rests(
    subject: SubjectStudy, kept: Integers, metric: RsaMetric, orders: Integers
) -> Floats:
    """Products of the rests of a thinned study, scaled to a variance of one, about their mean."""
    brain = [standardise(rdms(kept), metric).mean(axis=0) for rdms in subject.brain.values()]
    of_brain = split_rdms(np.stack(brain))[2]
    of_models = split_rdms(standardise(subject.models(kept), metric))[2]
    null, _ = null_scores(of_brain[:, None], of_models, "cosine", orders)
    n = len(kept)
    null = np.nan_to_num(null) * np.sqrt(n * (n - 3) / 2)
    return np.asarray(null - null[1:].mean(axis=0))


def _as_with_all(rests: Floats, of_some: Floats, of_all: Floats) -> None:
    """Let rests depend on the squares of all stimuli's values, as they do on those of some.

    Parameters
    ----------
    rests : ndarray, (permutations, regions, models)
        Changed in place.
    of_some, of_all : ndarray, (permutations, regions, models)
        Products of the stimuli's values, of the thinned study and of all.
    """

    def squares(products: Floats) -> Floats:
        deviations = products - products[1:].mean(axis=0)
        variances = np.square(deviations[1:]).mean(axis=0)
        return np.asarray(np.square(deviations) / np.where(variances > 0, variances, np.inf) - 1)

    # The first, which changes nothing, may be exceptional.
    before, after = squares(of_some), squares(of_all)
    slopes = (rests * before)[1:].sum(axis=0) / np.square(before[1:]).sum(axis=0)
    rests += slopes * (after - before)
