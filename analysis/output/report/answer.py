"""The answer in words: which models and groups explain which region, and how certain that is.

Here is found what there is to say of each region; the sentences are in the templates `answer_*`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conceptrsa.analysis.inference.findings import (
    ALPHA,
    MIXED_MODEL,
    WELCH,
    GroupTest,
    ModelScore,
    best_models,
    group_standing,
)
from conceptrsa.analysis.output.figures.specification_curve import specifications
from conceptrsa.analysis.output.figures.style import (
    RSA_NAMES,
    View,
    is_hemisphere,
    printed,
    unbroken,
)
from conceptrsa.analysis.output.leading_models import leading_models
from conceptrsa.analysis.output.report.headline import headline
from conceptrsa.analysis.output.report.rendering import (
    counted,
    estimate,
    p_value,
    render_paragraphs,
)
from conceptrsa.analysis.results import ComparisonResult, RoiResult
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects

MOST_IN_A_LINE = 6
"""Regions that a line names."""


@dataclass(frozen=True)
class Answer:
    """The answer, in plain text.

    Attributes
    ----------
    headline : str
        Which model is the best, or may be; empty where that is not known.
    summary : str
        One paragraph on whole regions; on hemispheres where there is nothing else.
    regions : tuple of (str, str)
        Every region and what was found there.
    """

    headline: str
    summary: str
    regions: tuple[tuple[str, str], ...]


def answer(result: ComparisonResult) -> Answer:
    """Put into words what a comparison found, with its uncertainty, and what it did not find."""
    by_the_paper = result.inference is None
    look = _found_by_the_paper if by_the_paper else _found_recommended
    template = f"answer_{'of_the_paper' if by_the_paper else 'recommended'}.txt.j2"
    found = {roi.roi: _found(roi) | look(result, roi) for roi in result.rois}
    wholes = [region for name, region in found.items() if not is_hemisphere(name, found)]
    notes: dict[str, list[str]] = {}
    for model in result.models:
        if model.note:
            notes.setdefault(model.note, []).append(model.name)
    values = {
        "result": result,
        "regions": wholes or list(found.values()),
        "measure": RSA_NAMES[result.settings.rsa_metric],
        "alpha": ALPHA,
        "n_groups": len({model.group for model in result.models}),
        "tested": [] if result.inference is None else _tested(result.inference.model_scores),
        "notes": notes,
    }

    def written(region: dict[str, Any] | None) -> str:
        return unbroken(" ".join(render_paragraphs(template, region=region, **values)))

    regions = tuple((name, written(region)) for name, region in found.items())
    return Answer(unbroken(headline(result)), written(None), regions)


def best_by_region(result: ComparisonResult) -> str:
    """Name the best model of each region in one line, of many regions those of the highest scores.

    With the preset 'recommended' a model has to be related to the region, and it is said how many
    others cannot be ruled out as the best.
    """
    names = [roi.roi for roi in result.rois]
    wholes = [roi for roi in result.rois if not is_hemisphere(roi.roi, names)]
    best = leading_models(result)
    shown = [roi.roi for roi in wholes if roi.roi in best]
    if len(shown) > MOST_IN_A_LINE:
        shown = sorted(shown, key=lambda roi: -best[roi].rsa)[:MOST_IN_A_LINE]
    said = []
    for name in shown:
        model, rsa = best[name].model, best[name].rsa
        others = best_models(result.inference, name).besides(model)
        left = f", {counted(len(others), 'other')} not ruled out" if others else ""
        said.append(f"{name}: {model} ({printed(rsa)}{left})")
    n_found = sum(roi.roi in best for roi in wholes)
    if n_found > len(shown):
        said.append(f"{counted(n_found - len(shown), 'more region')}")
    if n_found < len(wholes):
        none = "has a score" if result.inference is None else "is found to be related"
        said.append(f"in {counted(len(wholes) - n_found, 'region')} no model {none}")
    return "; ".join(said)


def _tested(scores: Any) -> list[ModelScore]:
    return [score for score in scores if np.isfinite(score.p_max)]


def _found(roi: RoiResult) -> dict[str, Any]:
    """What is known of a region by any preset."""
    return {
        "name": roi.roi,
        "has_ceiling": bool(np.isfinite(roi.ceiling_p)),
        "has_weak_ceiling": roi.has_weak_ceiling,
        "ceiling": float(mean_over_subjects(roi.ceiling.pairwise)),
        "ceiling_p": roi.ceiling_p,
    }


def _found_by_the_paper(result: ComparisonResult, roi: RoiResult) -> dict[str, Any]:
    """Means over subjects, Wilcoxon's test and Welch's."""
    model_tests = [t for t in result.model_tests if t.roi == roi.roi and t.score == "rsa"]
    group_tests = [
        test
        for test in result.group_tests
        if (test.roi, test.score, test.test) == (roi.roi, "rsa_normalised", WELCH)
    ]
    made = [test for test in model_tests if np.isfinite(test.p_corrected)]
    found: dict[str, Any] = {
        "best": None,
        "highest": -np.inf,
        "champion": [],
        "model_tests": made,
        "told_apart": [f"{t.model} in {t.roi}" for t in made if t.p_corrected < ALPHA],
        "group_tests": [test for test in group_tests if np.isfinite(test.p)],
        "groups_apart": [f"{_order(t)} ({p_value(t.p)})" for t in group_tests if t.p < ALPHA],
    }
    means = mean_over_subjects(roi.rsa)
    if not np.isfinite(means).any():
        return found
    highest = int(np.nanargmax(means))
    best = result.models[highest]
    error = float(sem_over_subjects(roi.rsa)[highest])
    # One subject alone has no standard error.
    spread = f" ± {printed(error)}" if np.isfinite(error) else ""
    n_subjects = int(np.isfinite(roi.rsa[:, highest]).sum())
    score = f"{printed(float(means[highest]))}{spread} (n = {n_subjects})"
    return found | {
        "best": best,
        "highest": float(means[highest]),
        "score": score,
        "champion": [f"{_of_group(result, best.name, best.group)}: {score}"],
        "tests_of_best": [t for t in model_tests if t.model == best.name and np.isfinite(t.p)],
    }


def _found_recommended(result: ComparisonResult, roi: RoiResult) -> dict[str, Any]:
    """Label permutation, random effects, and the mixed model of groups."""
    inference = result.inference
    assert inference is not None
    every = inference.of(roi.roi).model_scores
    scores = [score for score in every if np.isfinite(score.rsa)]
    related = [score for score in every if score.p_max < ALPHA]
    tests = [
        test
        for test in inference.of(roi.roi).group_tests
        if test.test == MIXED_MODEL and np.isfinite(test.p_corrected)
    ]
    found: dict[str, Any] = {
        "best": None,
        "highest": -np.inf,
        "withheld": every[0].withheld,
        "n_models": len(every),
        "tested": _tested(every),
        "related": related,
        "group_tests": tests,
        "groups_apart": [_order(test) for test in tests if test.p_corrected < ALPHA],
        "differences": [_difference(test) for test in tests if test.p_corrected < ALPHA],
        "clearest": [],
    }
    if tests:
        clearest = min(tests, key=lambda test: test.p_corrected)
        found |= {"clearest": [_difference(clearest)], "clearest_p": clearest.p_corrected}
    if not scores:
        return found
    best = max(scores, key=lambda score: score.rsa)
    means = {
        group: np.mean([score.rsa for score in scores if score.group == group])
        for group in dict.fromkeys(score.group for score in scores)
    }
    first = max(means, key=lambda group: means[group])
    choices = specifications(View(result, result.primary, (roi,)), roi.roi)
    found |= {
        "best": best,
        "highest": best.rsa,
        "contenders": best_models(inference, roi.roi),
        "leading_group": [_named(first, group_standing(inference, roi.roi, first).in_words())],
        "n_choices": len(choices),
        "n_agreeing": sum(choice.best_model == best.model for choice in choices),
    }
    if related:
        ahead = max(related, key=lambda score: score.rsa)
        champion = (
            f"{_of_group(result, ahead.model, ahead.group)}: "
            f"{estimate(ahead.rsa, ahead.low, ahead.high)}, {p_value(ahead.p_max)}"
        )
        found |= {"best_related": ahead, "champion": [champion]}
    return found


def _of_group(result: ComparisonResult, model: str, group: str) -> str:
    """A model with its group, where there are several."""
    return _named(model, group if len({model.group for model in result.models}) > 1 else "")


def _named(name: str, more: str) -> str:
    return f"{name} ({more})" if more else name


def _order(test: GroupTest) -> str:
    """Which group does better, and by how much where the test has an interval for that."""
    sign = 1 if test.statistic >= 0 else -1
    better, worse = (test.group_a, test.group_b)[::sign]
    order = f"{better} models above {worse} ones"
    if test.test != MIXED_MODEL:
        return order
    low, high = sorted((sign * test.low, sign * test.high))
    return f"{order} by {estimate(sign * test.statistic, low, high)}"


def _difference(test: GroupTest) -> str:
    return f"{_order(test)}, {p_value(test.p_corrected, 'corrected p')}"
