"""The answer of the preset 'paper', with what its tests cannot say."""

from collections.abc import Iterator, Sequence

import numpy as np

from conceptrsa.analysis.cautions import ALPHA
from conceptrsa.analysis.inference.paper_tests import (
    WELCH,
    GroupTest,
    ModelTest,
)
from conceptrsa.analysis.output.figures.style import RSA_NAMES, printed
from conceptrsa.analysis.output.report.wording import (
    by_place,
    counted,
    joined,
    p_value,
)
from conceptrsa.analysis.results import ComparisonResult, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects


class OfThePaper:
    """Sentences on means over subjects, Wilcoxon's test and Welch's.

    Parameters
    ----------
    result : ComparisonResult
    """

    def __init__(self, result: ComparisonResult) -> None:
        self._result = result
        self._measure = RSA_NAMES[result.settings.rsa_metric]
        is_alone = len(result.models) == 1
        self._untested = "" if is_alone else "; whether it differs from the next is not tested"

    def models_in(self, rois: Sequence[RoiResult]) -> Iterator[str]:
        """Name the highest mean of every region, and which models differ from the reference."""
        best = [(roi.roi, part) for roi in rois if (part := self._champion(roi))]
        if not best:
            yield "No model has a score in any region."
            return
        yield (
            f"The highest mean scores ({self._measure}) ± standard error over subjects: "
            f"{by_place(best)}{self._untested}."
        )
        tests = [test for roi in rois for test in self._model_tests(roi.roi)]
        made = [test for test in tests if np.isfinite(test.p_corrected)]
        if not made:
            return
        reference = self._result.reference_model
        differing = [test for test in made if test.p_corrected < ALPHA]
        floor = min(test.p_floor for test in made)
        if differing:
            where = joined([f"{test.model} in {test.roi}" for test in differing])
            yield f"Told apart from {reference} by Wilcoxon's test, p corrected: {where}."
        elif floor > ALPHA:
            yield (
                f"No difference from {reference} is significant, nor could one be: with so few "
                f"subjects Wilcoxon's test cannot give a p below {floor:.4g}."
            )
        else:
            smallest = min(test.p_corrected for test in made)
            yield (
                f"No model is told apart from {reference} (Wilcoxon's test, "
                f"{p_value(smallest, 'smallest corrected p')})."
            )

    def groups_in(self, rois: Sequence[RoiResult]) -> Iterator[str]:
        """Say which groups Welch's test tells apart, and that it cannot be trusted to."""
        tests = [test for roi in rois for test in self._group_tests(roi.roi) if np.isfinite(test.p)]
        if not tests:
            return
        differing = [test for test in tests if test.p < ALPHA]
        if differing:
            parts = [(test.roi, _order(test)) for test in differing]
            yield (
                "Of the groups of models Welch's t-test, which takes models for independent "
                "although they are not and so only describes, tells apart by shares of the noise "
                f"ceiling, uncorrected, as Figure 2B marks: {by_place(parts)}."
            )
        else:
            smallest = min(test.p for test in tests)
            yield (
                "Welch's t-test tells no two groups of models apart "
                f"({p_value(smallest, 'smallest p')})."
            )

    def scope(self) -> Iterator[str]:
        """Say for whom this holds."""
        yield (
            "All this is about these stimuli: for intervals and tests for new subjects and new "
            "stimuli take the preset 'recommended'."
        )

    def region(self, roi: RoiResult) -> str:
        """Say what was found in one region."""
        champion = self._best(roi)
        if champion is None:
            return "No result: no model has a score."
        model = self._result.models[champion]
        mean, error, n_subjects = self._mean_and_error(roi, champion)
        sentences = [
            f"{model.name} ({model.group}) has the highest mean score, "
            f"{_over_subjects(mean, error, n_subjects)}{self._untested}.",
            *self._on_reference(roi.roi, model.name),
            *self._on_groups(roi.roi),
            _ceiling(roi),
        ]
        return " ".join(sentences)

    def _best(self, roi: RoiResult) -> int | None:
        means = mean_over_subjects(roi.rsa)
        return int(np.nanargmax(means)) if np.isfinite(means).any() else None

    def _mean_and_error(self, roi: RoiResult, model: int) -> tuple[float, float, int]:
        """Mean, standard error, and over how many subjects."""
        scores = roi.rsa[:, [model]]
        n_subjects = int(np.isfinite(scores).sum())
        return float(mean_over_subjects(scores)[0]), float(sem_over_subjects(scores)[0]), n_subjects

    def _champion(self, roi: RoiResult) -> str:
        best = self._best(roi)
        if best is None:
            return ""
        model = self._result.models[best]
        return f"{model.name} ({model.group}): {_over_subjects(*self._mean_and_error(roi, best))}"

    def _model_tests(self, roi: str) -> list[ModelTest]:
        return [
            test for test in self._result.model_tests if test.roi == roi and test.score == "rsa"
        ]

    def _group_tests(self, roi: str) -> list[GroupTest]:
        return [
            test
            for test in self._result.group_tests
            if (test.roi, test.score, test.test) == (roi, "rsa_normalised", WELCH)
        ]

    def _on_reference(self, roi: str, best: str) -> Iterator[str]:
        reference = self._result.reference_model
        for test in self._model_tests(roi):
            if test.model == best and np.isfinite(test.p):
                yield (
                    f"Against {reference}: {p_value(test.p)}, "
                    f"{p_value(test.p_corrected, 'corrected')} (Wilcoxon's test over "
                    f"{counted(test.n, 'subject')}, which cannot go below {test.p_floor:.4g})."
                )

    def _on_groups(self, roi: str) -> Iterator[str]:
        differing = [test for test in self._group_tests(roi) if test.p < ALPHA]
        if differing:
            yield (
                f"Groups: {joined([_order(test) for test in differing])} (Welch's t-test, "
                "uncorrected, as description)."
            )


def _over_subjects(mean: float, error: float, n_subjects: int) -> str:
    """A mean with its standard error, where there is one, and the number of subjects."""
    spread = f" ± {printed(error)}" if np.isfinite(error) else ""
    return f"{printed(mean)}{spread} (n = {n_subjects})"


def _ceiling(roi: RoiResult) -> str:
    if not np.isfinite(roi.ceiling_p):
        return "There is no noise ceiling."
    weak = ": not beyond chance, shares of it mean little" if roi.has_weak_ceiling else ""
    mean = float(mean_over_subjects(roi.ceiling.pairwise))
    return f"Noise ceiling {printed(mean)}, {p_value(roi.ceiling_p)}{weak}."


def _order(test: GroupTest) -> str:
    better, worse = (
        (test.group_a, test.group_b) if test.mean_a >= test.mean_b else (test.group_b, test.group_a)
    )
    return f"{better} models above {worse} ones ({p_value(test.p)})"
