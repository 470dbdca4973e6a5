"""The variance where each subject saw stimuli of its own, against simulated components."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from conceptrsa.analysis.inference.explained import (
    SameStimuli,
    partial_scores,
    variance_parts,
)
from conceptrsa.analysis.inference.own_stimuli import (
    SharedInfluence,
    errors_of_own,
    mean_squares_of_own,
)
from conceptrsa.analysis.inference.random_effects import (
    errors_by_factor,
    infer,
    levels,
    mean_squares,
    pairs,
    weighted_parts,
)
from conceptrsa.analysis.rsa.distances import compute_rdm

UNIT = np.ones((1, 1))


class Components(NamedTuple):
    """Variances of what adds up to the value of a pair of stimuli in a subject."""

    subject: float
    stimulus: float
    own_stimulus: float
    pair: float
    own_pair: float

    def variance(self, counts, one, other):
        """Covariance of two subjects' scores, or a subject's variance, over new stimuli."""
        n, m, shared = counts[one, one], counts[other, other], counts[one, other]
        same = one == other
        per_stimulus = 4 * shared / (n * m)
        per_pair = 2 * shared * (shared - 1) / (n * (n - 1) * m * (m - 1))
        return per_stimulus * (self.stimulus + same * self.own_stimulus) + per_pair * (
            self.pair + same * self.own_pair
        )


COMPONENTS = {
    "all": Components(0.02, 0.05, 0.03, 0.3, 0.4),
    "of stimuli": Components(0, 0.1, 0, 0, 0),
    "of pairs": Components(0, 0, 0, 1, 1),
    "alike": Components(0.02, 0.05, 0, 0.3, 0),
}

HALVES = np.random.default_rng(5)
DESIGNS = {
    "crossed": [range(20)] * 4,
    "nested": [range(20 * s, 20 * s + 20) for s in range(3)],
    "partly shared": [[*range(10), *range(10 * s + 10, 10 * s + 20)] for s in range(3)],
    "halves": [np.sort(HALVES.choice(40, 20, replace=False)) for _ in range(3)],
    "unequal": [range(16), range(8, 30), range(4, 20)],
    "one subject": [range(20)],
}


def count_shared(sets):
    return np.array([[len(set(one) & set(other)) for other in sets] for one in sets])


def draw_values(sets, components, generator):
    """Values of all pairs of all stimuli in every subject, (subjects, stimuli, stimuli)."""
    n = max(max(one) for one in sets) + 1

    def draw(variance, *shape):
        return np.sqrt(variance) * generator.standard_normal(shape)

    # Whatever is drawn for (i, j) is taken for i < j alone.
    common = draw(components.pair, n, n) + (a := draw(components.stimulus, n)) + a[:, None]
    own = draw(components.own_pair, len(sets), n, n)
    b = draw(components.own_stimulus, len(sets), n)
    own += b[:, None] + b[:, :, None]
    return common + own + draw(components.subject, len(sets), 1, 1)


def among(values, stimuli):
    """Values of the pairs among some stimuli, as a statistic's in one subject, (1, 1, pairs)."""
    chosen = np.asarray(stimuli)
    first, second = np.triu_indices(len(chosen), k=1)
    return values[chosen[first], chosen[second]][None, None]


def shared_influences(sets, values):
    """Of stimuli that all subjects share where they are enough, or of each two subjects."""
    everyone = tuple(range(len(sets)))
    common = sorted(set(sets[0]).intersection(*sets[1:]))
    places = [everyone] if len(common) >= 10 else list(combinations(everyone, 2))
    found = []
    for subjects in places:
        stimuli = sorted(set(sets[subjects[0]]).intersection(*(sets[s] for s in subjects)))
        if not stimuli:
            continue
        of_subjects = np.concatenate([among(values[s], stimuli) for s in subjects], axis=1)
        found.append(SharedInfluence(subjects, of_subjects, stimuli, pairs))
    return found


@pytest.mark.parametrize("components", ["all", "of stimuli", "of pairs"])
@pytest.mark.parametrize("design", DESIGNS)
def test_variance_is_unbiased(design, components):
    sets, of = DESIGNS[design], COMPONENTS[components]
    counts = count_shared(sets)
    subjects = range(len(sets))
    over_stimuli = np.mean([[of.variance(counts, s, t) for t in subjects] for s in subjects])
    # Of a single subject nothing is known of new subjects.
    expected = over_stimuli + (of.subject / len(sets) if len(sets) > 1 else 0.0)
    generator = np.random.default_rng(len(design))
    found = []
    for _ in range(250):
        values = draw_values(sets, of, generator)
        singles = [among(one, stimuli) for one, stimuli in zip(values, sets, strict=True)]
        scores = np.array([[one.mean() for one in singles]])
        squares = mean_squares_of_own(scores, counts, shared_influences(sets, values))
        single = [SharedInfluence((s,), one, sets[s], pairs) for s, one in enumerate(singles)]
        errors = errors_of_own(squares, counts, single)
        found.append([weighted_parts(squares, UNIT).sum(), errors[1, 0] ** 2])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
    assert abs(mean[0] - expected) < 4 * error[0]
    # That over stimuli is kept above zero, as a standard error must be.
    assert -4 * error[1] < mean[1] - over_stimuli < 4 * error[1] + 0.1 * over_stimuli


def test_components_from_some_of_the_stimuli_are_unbiased():
    sets, of = [range(30)] * 4, COMPONENTS["all"]
    counts = count_shared(sets)
    expected = np.mean([[of.variance(counts, s, t) for t in range(4)] for s in range(4)])
    generator = np.random.default_rng(1)
    found = []
    for _ in range(300):
        values = draw_values(sets, of, generator)
        scores = np.array([[among(one, range(30)).mean() for one in values]])
        some = shared_influences([range(12)] * 4, values)
        found.append(weighted_parts(mean_squares_of_own(scores, counts, some), UNIT).sum())
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - expected - of.subject / 4) < 4 * error


def test_where_all_is_shared_it_is_the_crossed_design():
    sets = DESIGNS["crossed"]
    generator = np.random.default_rng(2)
    draws = [draw_values(sets, COMPONENTS["all"], generator) for _ in range(3)]
    values = np.concatenate(
        [np.concatenate([among(one, sets[0]) for one in draw], axis=1) for draw in draws]
    )
    shared = [SharedInfluence((0, 1, 2, 3), values, range(20), pairs)]
    own = mean_squares_of_own(values.mean(axis=-1), count_shared(sets), shared)
    crossed = mean_squares(values, (levels, pairs))
    contrasts = np.array([[1.0, 0, 0], [1, -1, 0], [1, 1, -2]])
    places = [[part.strata for part in own.parts].index(part.strata) for part in crossed.parts]
    of_own = weighted_parts(own, contrasts)[:, places]
    np.testing.assert_allclose(of_own, weighted_parts(crossed, contrasts), rtol=1e-9)
    assert [own.parts[place].df for place in places] == [part.df for part in crossed.parts]
    # The points of the integral fall otherwise where the parts are in another order.
    for found, expected in zip(infer(own, contrasts), infer(crossed, contrasts), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    single = [SharedInfluence((s,), values[:, [s]], range(20), pairs) for s in range(4)]
    errors = errors_of_own(own, count_shared(sets), single)
    np.testing.assert_allclose(errors, errors_by_factor(crossed, np.eye(3)), rtol=1e-9)


def degrees_of_freedom(sets, places, components="all"):
    """Of the parts over stimuli and pairs, in the mean of two subjects and in their differences."""
    values = draw_values(sets, COMPONENTS[components], np.random.default_rng(6))
    shared = []
    for subjects in places:
        stimuli = sorted(set.intersection(*(set(sets[s]) for s in subjects)))
        of_subjects = np.concatenate([among(values[s], stimuli) for s in subjects], axis=1)
        shared.append(SharedInfluence(subjects, of_subjects, stimuli, pairs))
    scores = np.array([[among(one, own).mean() for one, own in zip(values, sets, strict=True)]])
    parts = mean_squares_of_own(scores, count_shared(sets), shared).parts[1:]
    return {part.strata: part.df for part in parts}


def test_degrees_of_freedom_of_pairs_of_subjects_who_saw_the_same():
    sets, every_two = [range(20)] * 3, list(combinations(range(3), 2))
    together = degrees_of_freedom(sets, [(0, 1, 2)], "alike")
    assert degrees_of_freedom(sets, every_two, "alike") == together
    # What is a subject's own makes the mean of two differ from that of two others.
    together, apart = (degrees_of_freedom(sets, places) for places in ([(0, 1, 2)], every_two))
    for strata, df in together.items():
        assert df <= apart[strata] < 2 * df


def test_degrees_of_freedom_of_stimuli_that_no_others_share_add_up():
    sets = [range(20), range(20), range(20, 40), range(20, 40)]
    one = degrees_of_freedom(sets[:2], [(0, 1)])
    both = degrees_of_freedom(sets, [(0, 1), (2, 3)])
    assert both == {strata: 2 * df for strata, df in one.items()}


def draw_rdms(n_stimuli, generator, n_subjects=4, n_models=4):
    features = generator.standard_normal((n_stimuli, 8))
    models = [features[:, m : m + 5] for m in range(n_models)]
    brain = [features + generator.standard_normal((n_stimuli, 8)) for _ in range(n_subjects)]
    return [np.stack([compute_rdm(x, "euclidean") for x in some]) for some in (brain, models)]


GROUPS = ("a", "a", "b", "b")
NAMES = ("1", "2", "3", "4")


def explained(studies):
    parts = variance_parts(studies, GROUPS)
    partial = partial_scores(studies, NAMES, GROUPS, "pearson")
    return np.array(
        [[p.r2, p.low, p.high] for p in parts] + [[p.partial, p.low, p.high] for p in partial]
    )


def test_shares_of_variance_of_subjects_apart_who_saw_the_same():
    brain, models = draw_rdms(14, np.random.default_rng(3))
    stimuli = [f"{place:02}" for place in range(14)]
    apart = [SameStimuli({"V1": one[None, None]}, models, stimuli) for one in brain]
    together = SameStimuli({"V1": brain[None]}, models)
    np.testing.assert_allclose(explained(apart), explained([together]), atol=1e-12)


def test_shares_of_variance_depend_on_which_stimuli_are_shared():
    brain, models = draw_rdms(14, np.random.default_rng(4))
    stimuli = [f"{place:02}" for place in range(14)]

    def half_widths(own):
        studies = [
            SameStimuli({"V1": one[None, None]}, models, [f"{label}{name}" for name in stimuli])
            for label, one in zip(own, brain, strict=True)
        ]
        found = explained(studies)
        return found[:, 2] - found[:, 0]

    values = [explained([SameStimuli({"V1": one[None, None]}, models)])[:, 0] for one in brain]
    t_test = stats.t.ppf(0.975, 3) / 2
    np.testing.assert_allclose(half_widths("abcd"), t_test * np.std(values, axis=0, ddof=1), 1e-2)
    assert half_widths("aaaa").mean() > 1.2 * half_widths("abcd").mean()
