"""The answer of the preset 'recommended'."""

from collections.abc import Iterator, Sequence

import numpy as np

from conceptrsa.analysis.cautions import ALPHA
from conceptrsa.analysis.inference.comparisons import MIXED_MODEL
from conceptrsa.analysis.inference.findings import ModelScore
from conceptrsa.analysis.inference.paper_tests import GroupTest
from conceptrsa.analysis.inference.standing import group_standing, model_standing
from conceptrsa.analysis.output.figures.specification_curve import specifications
from conceptrsa.analysis.output.figures.style import RSA_NAMES, View, printed
from conceptrsa.analysis.output.report.wording import (
    by_place,
    counted,
    estimate,
    joined,
    p_value,
)
from conceptrsa.analysis.results import ComparisonResult, RoiResult


class Recommended:
    """Sentences on models by label permutation and random effects, on groups by the mixed model.

    Parameters
    ----------
    result : ComparisonResult
        With its inference.
    """

    def __init__(self, result: ComparisonResult) -> None:
        assert result.inference is not None
        self._result = result
        self._inference = result.inference
        self._measure = RSA_NAMES[result.settings.rsa_metric]

    def models_in(self, rois: Sequence[RoiResult]) -> Iterator[str]:
        """Name the highest score of every region in which a model is related to the brain."""
        tested = [roi.roi for roi in rois if self._tested(roi.roi)]
        if not tested:
            yield "No model could be tested in any region."
            return
        found = [roi for roi in tested if self._related(roi)]
        if found:
            yield from self._on_found(found, len(tested))
            nothing = [roi for roi in tested if roi not in found]
            if nothing:
                yield f"No model is found to be related to {joined(nothing)}."
        else:
            smallest = min(score.p_max for roi in tested for score in self._tested(roi))
            yield (
                f"No model is found to be related to the brain in {joined(tested)} "
                f"({self._how_tested()}; {p_value(smallest, 'smallest corrected p')})."
            )
        untested = [roi.roi for roi in rois if roi.roi not in tested]
        if untested:
            yield f"Nothing could be tested in {joined(untested)}."

    def _on_found(self, found: Sequence[str], n_tested: int) -> Iterator[str]:
        share = f"all {n_tested}" if len(found) == n_tested else f"{len(found)} of {n_tested}"
        where = f"{share} regions" if n_tested > 1 else found[0]
        is_alone = len(self._result.models) == 1
        against = "" if is_alone else "; against the other models by random effects"
        yield (
            f"In {where} at least one model is related to the brain ({self._how_tested()}; "
            f"p < {ALPHA:g}). "
            f"The highest score there ({self._measure}, 95 % interval{against}): "
            f"{by_place([(roi, self._champion(roi)) for roi in found])}."
        )
        yield from self._on_uncertain(found)

    def _how_tested(self) -> str:
        """The test, and what it was corrected for."""
        tested = [s for s in self._inference.model_scores if np.isfinite(s.p_max)]
        return (
            "label permutation, corrected by the largest statistic of all "
            f"{counted(len({score.model for score in tested}), 'model')} and "
            f"{counted(len({score.roi for score in tested}), 'region')}"
        )

    def groups_in(self, rois: Sequence[RoiResult]) -> Iterator[str]:
        """Say which groups of models differ, in which region, by how much."""
        tests = [test for roi in rois for test in self._group_tests(roi.roi)]
        made = [test for test in tests if np.isfinite(test.p_corrected)]
        if len({model.group for model in self._result.models}) < 2:
            return
        if not made:
            yield "Groups of models could not be tested against each other."
            return
        related = [roi for roi in rois if self._related(roi.roi)]
        if related:
            yield self._leading_groups(related)
        differing = [test for test in made if test.p_corrected < ALPHA]
        if not differing:
            clearest = min(made, key=lambda test: test.p_corrected)
            yield (
                "No group is found to do better than another (mixed model; "
                f"the clearest difference, in {clearest.roi}: {_difference(clearest)})."
            )
            return
        parts = [(test.roi, _order(test)) for test in differing]
        yield (
            f"Beyond chance (mixed model, corrected p < {ALPHA:g}) are these differences: "
            f"{by_place(parts)}."
        )
        tested = dict.fromkeys(test.roi for test in made)
        silent = [roi for roi in tested if roi not in {test.roi for test in differing}]
        if silent:
            yield f"No difference between groups is found in {joined(silent)}."

    def _leading_groups(self, rois: Sequence[RoiResult]) -> str:
        """The group of the highest mean over its models, in each region."""
        leading: list[tuple[str, str]] = []
        for roi in rois:
            scores = [score for score in self._scores(roi.roi) if np.isfinite(score.rsa)]
            means = {
                group: np.mean([score.rsa for score in scores if score.group == group])
                for group in dict.fromkeys(score.group for score in scores)
            }
            if means:
                first = max(means, key=lambda group: means[group])
                standing = group_standing(self._inference, roi.roi, first).in_words()
                leading.append((roi.roi, f"{first} ({standing})" if standing else first))
        return f"The group of models with the highest mean score: {by_place(leading)}."

    def scope(self) -> Iterator[str]:
        """Say for whom intervals and differences hold."""
        n_subjects, n_stimuli = len(self._result.subjects), len(self._result.stimuli)
        yield (
            "Intervals and differences are about new subjects and new stimuli; "
            f"{n_subjects} subjects and {n_stimuli} stimuli were measured."
        )

    def region(self, roi: RoiResult) -> str:
        """Say what was found in one region."""
        scores = [score for score in self._scores(roi.roi) if np.isfinite(score.rsa)]
        if not scores:
            return f"No result: {self._scores(roi.roi)[0].withheld or 'no score is a number'}."
        best = max(scores, key=lambda score: score.rsa)
        sentences = [
            f"{best.model} ({best.group}) has the highest score, "
            f"{estimate(best.rsa, best.low, best.high)}, {p_value(best.p_max, 'corrected p')}"
            f"{_share(best)}.",
            *self._on_others(roi.roi, best.model),
            self._on_related(roi.roi, best),
            *self._on_groups(roi.roi),
            *self._on_choices(roi, best.model),
            _ceiling(roi),
        ]
        return " ".join(sentence for sentence in sentences if sentence)

    def _scores(self, roi: str) -> list[ModelScore]:
        return [score for score in self._inference.model_scores if score.roi == roi]

    def _tested(self, roi: str) -> list[ModelScore]:
        return [score for score in self._scores(roi) if np.isfinite(score.p_max)]

    def _related(self, roi: str) -> list[ModelScore]:
        return [score for score in self._scores(roi) if score.p_max < ALPHA]

    def _best_related(self, roi: str) -> ModelScore:
        return max(self._related(roi), key=lambda score: score.rsa)

    def _on_uncertain(self, rois: Sequence[str]) -> Iterator[str]:
        """Regions where the relation is beyond chance, but its size for others is not known."""
        uncertain = [roi for roi in rois if self._best_related(roi).low <= 0]
        if uncertain:
            yield (
                f"In {joined(uncertain)} that interval includes zero: how the model would do with "
                "other subjects and stimuli is open."
            )

    def _champion(self, roi: str) -> str:
        best = self._best_related(roi)
        standing = model_standing(self._inference, roi, best.model).in_words()
        return (
            f"{best.model} ({best.group}): {estimate(best.rsa, best.low, best.high)}, "
            f"{p_value(best.p_max)}{f', {standing}' if standing else ''}"
        )

    def _on_related(self, roi: str, best: ModelScore) -> str:
        names = [score.model for score in self._related(roi)]
        if not names:
            return "No model is found to be related to this region."
        if len(names) == len(self._scores(roi)) > 1:
            return f"All {len(names)} models are related to this region."
        if names == [best.model]:
            return "It is the only model that is found to be related to this region."
        return f"Related to this region: {joined(names)}."

    def _on_others(self, roi: str, best: str) -> Iterator[str]:
        """Which models the best one is better than, by random effects."""
        standing = model_standing(self._inference, roi, best)
        better, unclear, untested = standing.above, standing.level, standing.untested
        if not better and not unclear:
            if untested:
                yield f"It could not be compared with {joined(untested)}."
            return
        how = "random effects, p corrected"
        if not better:
            yield f"{best} is not found to be better than any other model ({how})."
        elif not unclear and not untested:
            yield f"{best} is better than every other model ({how})."
        else:
            apart = f", and not told apart from {joined(unclear)}" if unclear else ""
            yield f"{best} is better than {joined(better)} ({how}){apart}."
        if untested:
            yield f"It could not be compared with {joined(untested)}."

    def _group_tests(self, roi: str) -> list[GroupTest]:
        return [
            test
            for test in self._inference.group_tests
            if test.roi == roi and test.test == MIXED_MODEL
        ]

    def _on_groups(self, roi: str) -> Iterator[str]:
        made = [test for test in self._group_tests(roi) if np.isfinite(test.p_corrected)]
        if not made:
            return
        differing = [test for test in made if test.p_corrected < ALPHA]
        if differing:
            yield f"Groups: {joined([_difference(test) for test in differing])}."
        else:
            clearest = min(made, key=lambda test: test.p_corrected)
            yield f"No two groups of models are told apart (clearest: {_difference(clearest)})."

    def _on_choices(self, roi: RoiResult, best: str) -> Iterator[str]:
        found = specifications(View(self._result, self._result.primary, (roi,)), roi.roi)
        if found:
            agreeing = sum(specification.best_model == best for specification in found)
            yield (
                f"{best} has the highest score in {agreeing} of {len(found)} choices of voxels, "
                "distance and comparison."
            )


def _difference(test: GroupTest) -> str:
    """Which group does better, by how much, and how surely."""
    return f"{_order(test)}, {p_value(test.p_corrected, 'corrected p')}"


def _order(test: GroupTest) -> str:
    """Which group does better, by how much."""
    sign = 1 if test.statistic >= 0 else -1
    better, worse = (test.group_a, test.group_b)[::sign]
    low, high = sorted((sign * test.low, sign * test.high))
    return f"{better} models above {worse} ones by {estimate(sign * test.statistic, low, high)}"


def _share(score: ModelScore) -> str:
    if not np.isfinite(score.normalised):
        return ""
    share = estimate(score.normalised, score.normalised_low, score.normalised_high)
    return f", as a share of the noise ceiling {share}"


def _ceiling(roi: RoiResult) -> str:
    if not np.isfinite(roi.ceiling_p):
        return "There is no noise ceiling."
    mean = float(np.nanmean(roi.ceiling.pairwise))
    text = f"Noise ceiling {printed(mean)}, {p_value(roi.ceiling_p)}"
    if roi.has_weak_ceiling:
        return f"{text}: not beyond chance, so that all this says little about the models."
    return f"{text}."
