"""What a figure marks is what the answer calls different, and no first one stands alone falsely."""

from dataclasses import replace

import numpy as np
import pytest
from figure_cases import CASES, drawn, five, markers, sixteen, view_of
from report_cases import planted, planted_result

from conceptrsa.analysis.inference.findings import (
    MIXED_MODEL,
    RANDOM_EFFECTS,
    TWO_SIDED_PERMUTATION,
)
from conceptrsa.analysis.output.figures.groups import draw_groups
from conceptrsa.analysis.output.figures.model_differences import (
    draw_model_tests,
    significance_matrix,
)
from conceptrsa.analysis.output.figures.specification_curve import draw_multiverse
from conceptrsa.analysis.output.report.answer import answer
from conceptrsa.analysis.output.report.methods import describe_methods
from conceptrsa.analysis.results import ComparisonResult

RECOMMENDED = [name for name in CASES if name.startswith("recommended")]
PAPER = [name for name in CASES if name.startswith("paper")]


def said_of_groups(text: str) -> int:
    """Pairs of groups that a region's text calls different."""
    if "No two groups" in text or "Groups: " not in text:
        return 0
    return text.split("Groups: ")[1].count(" models above ")


def with_screens_only(result: ComparisonResult) -> ComparisonResult:
    """The same result where the screen finds everything, and the recommended tests nothing."""
    assert result.inference is not None

    def changed(test):  # type: ignore[no-untyped-def]
        if test.test == TWO_SIDED_PERMUTATION:
            return replace(test, p=0.001, p_max=0.001, p_corrected=0.001)
        nothing = test.test in (RANDOM_EFFECTS, MIXED_MODEL) and np.isfinite(test.p_corrected)
        return replace(test, p=0.2, p_corrected=0.2) if nothing else test

    inference = replace(
        result.inference,
        model_tests=tuple(map(changed, result.inference.model_tests)),
        group_tests=tuple(map(changed, result.inference.group_tests)),
    )
    return replace(result, inference=inference)


@pytest.mark.parametrize("case", RECOMMENDED)
def test_brackets_are_the_differences_of_the_answer(case: str) -> None:
    result = CASES[case]()
    figure = drawn(draw_groups, view_of(result))
    texts = dict(answer(result).regions)
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        assert len(markers(axes, "*")) == said_of_groups(texts[roi.roi])


@pytest.mark.parametrize("case", PAPER)
def test_asterisks_of_the_paper_are_the_differences_of_the_answer(case: str) -> None:
    result = CASES[case]()
    (axes,) = drawn(draw_groups, view_of(result)).axes
    assert len(markers(axes, "*")) == sum(
        said_of_groups(text) for _, text in answer(result).regions
    )


@pytest.mark.parametrize("make", [five, sixteen, planted])
def test_a_screen_marks_nothing(make) -> None:  # type: ignore[no-untyped-def]
    result = with_screens_only(make())
    view = view_of(result)
    for axes in drawn(draw_groups, view).axes:
        assert not markers(axes, "*") and not markers(axes, "D")
    for roi in result.rois:
        assert not significance_matrix(view, roi.roi).any()
    assert not any(markers(axes, "o") for axes in drawn(draw_model_tests, view).axes)
    found = answer(result)
    assert "No group is found to do better" in found.summary
    assert "is not found to be better than any other" in "".join(text for _, text in found.regions)
    assert TWO_SIDED_PERMUTATION.startswith("screen: ")
    assert any("as a screen" in text for text in describe_methods(result).paragraphs)


@pytest.mark.parametrize("make", [five, sixteen, planted])
def test_dots_are_the_models_that_the_answer_calls_worse(make) -> None:  # type: ignore[no-untyped-def]
    result = make()
    view = view_of(result)
    order = [model.name for model in view.ordered_models]
    for roi, text in answer(result).regions:
        first = order[int(np.nanargmax([score.rsa for score in view.scores(roi)]))]
        marked = significance_matrix(view, roi)
        assert (marked == marked.T).all()
        worse = {name for name, mark in zip(order, marked[order.index(first)], strict=True) if mark}
        if len(worse) == len(order) - 1:
            assert f"{first} is better than every other model" in text
        elif worse:
            said = text.split("is better than ")[1].split(" (random")[0]
            assert set(said.replace(" and ", ", ").split(", ")) == worse
        else:
            assert f"{first} is not found to be better than any other model" in text


def test_the_first_is_named_with_those_it_is_not_told_apart_from() -> None:
    plain = answer(planted()).summary.replace("\xa0", " ")
    assert "The best" not in plain
    assert "not told apart from visual-" in plain
    alone = answer(planted_result(
        truth={"V1": "visual"}, groups={"good": "visual", "bad": "language"}
    )).summary  # fmt: skip
    assert "above every other" in alone and "not told apart" not in alone
    untested = answer(planted_result(truth={"V1": "visual"}, rsa_metric="whitened-cosine")).summary
    assert "not tested against" in untested


def test_groups_that_lead_are_named_with_those_they_are_level_with() -> None:
    summary = answer(with_screens_only(planted())).summary
    assert "highest mean score: in V1, visual (not told apart from language)." in summary


def test_titles_of_the_specification_curve_say_who_is_level() -> None:
    result = with_screens_only(five())
    figure = drawn(draw_multiverse, view_of(result))
    said = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "best" not in said and "(level with 4): highest in" in said
    assert "(level with 2): highest in" in said


def test_figures_without_a_test_say_so() -> None:
    result = planted_result(truth={"V1": "visual"}, rsa_metric="whitened-cosine")
    for draw, said in (
        (draw_groups, "Groups could not be tested"),
        (draw_model_tests, "Models could not be tested"),
    ):
        figure = drawn(draw, view_of(result))
        notes = " ".join(text.get_text() for text in figure.texts)
        assert said in notes and "p < 0.05" not in notes
