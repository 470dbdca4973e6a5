"""What a figure marks is what the answer calls different, and no first one stands alone falsely."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from figure_cases import CASES, drawn, five, markers, sixteen, view_of
from report_cases import planted, planted_result

from conceptrsa.analysis.inference.findings import (
    ALPHA,
    MIXED_MODEL,
    RANDOM_EFFECTS,
    TWO_SIDED_PERMUTATION,
    ZERO,
    BestModels,
)
from conceptrsa.analysis.output.figures.groups import draw_groups
from conceptrsa.analysis.output.figures.model_differences import (
    draw_model_tests,
    significance_matrix,
)
from conceptrsa.analysis.output.figures.specification_curve import draw_multiverse
from conceptrsa.analysis.output.figures.style import is_hemisphere
from conceptrsa.analysis.output.report.answer import answer
from conceptrsa.analysis.output.report.answer_table import MOST_NAMED, answer_tables
from conceptrsa.analysis.output.report.headline import _Region
from conceptrsa.analysis.output.report.methods import describe_methods
from conceptrsa.analysis.output.report.rendering import joined
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
        model_scores=tuple(
            replace(score, may_be_best=True) for score in result.inference.model_scores
        ),
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
def test_stars_of_the_paper_are_the_differences_of_the_answer(case: str) -> None:
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
        assert not significance_matrix(view, roi).any()
    assert not any(markers(axes, "o") for axes in drawn(draw_model_tests, view).axes)
    found = answer(result)
    assert "No group is found to do better" in found.summary
    assert all("No other model is ruled out as the best." in text for _, text in found.regions)
    assert "none can be ruled out as the best in" in found.headline
    assert TWO_SIDED_PERMUTATION.startswith("screen: ")
    assert any("as a screen" in text for text in describe_methods(result).paragraphs)


@pytest.mark.parametrize("make", [five, sixteen, planted])
def test_dots_are_differences_that_are_found(make) -> None:  # type: ignore[no-untyped-def]
    result = make()
    view = view_of(result)
    assert result.inference is not None
    for roi in result.rois:
        order = [model.name for model in view.models(roi)]
        marked = significance_matrix(view, roi)
        assert (marked == marked.T).all()
        pairs = {
            frozenset((order[one], order[other])) for one, other in np.argwhere(np.triu(marked))
        }
        assert pairs == {
            frozenset((test.model, test.reference))
            for test in result.inference.of(roi.roi).model_tests
            if test.test == RANDOM_EFFECTS and test.reference != ZERO and test.p_corrected < ALPHA
        }


@pytest.mark.parametrize("make", [five, sixteen, planted])
def test_the_answer_names_who_may_be_best(make) -> None:  # type: ignore[no-untyped-def]
    result = make()
    assert result.inference is not None
    rows = {row[0]: row for table in answer_tables(result) for row in table.rows}
    for roi, text in answer(result).regions:
        scores = sorted(result.inference.of(roi).model_scores, key=lambda score: -score.rsa)
        may_be = [score.model for score in scores[1:] if score.may_be_best]
        others = [score.model for score in scores[1:] if not score.may_be_best]
        assert scores[0].may_be_best
        if not may_be:
            assert "Every other model is ruled out as the best." in text
        elif not others:
            assert "No other model is ruled out as the best." in text
        else:
            assert f". {joined(may_be)} cannot be ruled out as the best either; " in text
            assert f"either; {joined(others)} " in text
        if len(may_be) <= MOST_NAMED and rows[roi][1] == scores[0].model:
            assert rows[roi][-1] == (", ".join(may_be) or "none")


def test_the_first_sentence_is_the_answer() -> None:
    def first(**options: Any) -> str:
        return answer(planted_result(**options)).headline.split(". ")[0].rstrip(".")

    two = {"good": "visual", "bad": "language"}
    both = {"V1": "visual", "V2": "visual"}
    assert first(truth=both, groups=two) == "Of the 2 models, good is the best in V1 and V2"
    many = {f"v{n}": "visual" for n in range(5)}
    assert first(truth={"V1": "visual", "deep": None}, groups=many) == (
        "Of the 5 models, none can be ruled out as the best in V1; none is found to be related to "
        "deep"
    )
    result = planted_result(truth={"V1": "visual"}, groups=many | {"t": "language"})
    assert result.inference is not None
    scores = result.inference.model_scores
    all_but_t = tuple(replace(score, may_be_best=score.model != "t") for score in scores)
    found = answer(replace(result, inference=replace(result.inference, model_scores=all_but_t)))
    highest = max(scores, key=lambda score: score.rsa).model
    assert found.headline.replace("\xa0", " ") == (
        f"Of the 6 models, {highest} or one of 4 others is the best in V1. This holds "
        "for new subjects and new stimuli, with 95 % confidence."
    )
    seven = {f"p{n}": "visual" if n < 5 else None for n in range(7)}
    assert first(truth=seven, groups=two) == (
        "Of the 2 models, one is the best in 5 of 7 regions (good in 5); none is found to be "
        "related to 2"
    )
    alone = first(truth={"V1": "visual", "deep": None}, groups={"one": "visual"})
    assert alone == "one is related to V1; it is not found to be related to deep"
    result = planted_result(truth={f"p{n}": None for n in range(7)})
    assert result.inference is not None
    none = tuple(replace(score, p_max=1.0) for score in result.inference.model_scores)
    found = answer(replace(result, inference=replace(result.inference, model_scores=none)))
    assert found.headline == "No model is found to be related to any of 7 regions."
    assert not first(truth={"V1": "visual"}, preset="paper")
    untested = answer(planted_result(truth={"V1": "visual"}, rsa_metric="whitened-cosine"))
    assert untested.headline == "Of the 4 models, visual-a has the highest score in V1."
    assert "It could not be compared with" in untested.regions[0][1]


def test_groups_that_lead_are_named_with_those_they_are_level_with() -> None:
    summary = answer(with_screens_only(planted())).summary
    assert "highest mean score: in V1, visual (not told apart from language)." in summary


def test_titles_of_the_specification_curve_say_who_is_level() -> None:
    result = with_screens_only(five())
    figure = drawn(draw_multiverse, view_of(result))
    said = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "best model" not in said and "(4 more may be best): highest in" in said
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


def test_hemispheres_without_a_whole_are_regions_of_their_own() -> None:
    rois = ["Brainstem", "Amygdala-left", "V1", "V1-left"]
    assert [is_hemisphere(roi, rois) for roi in rois] == [False, False, False, True]


@pytest.mark.parametrize(
    ("leader", "names", "ruled_out", "one", "words"),
    [
        ("A", ("A",), ("B",), True, "A is the best in"),
        ("A", ("B",), ("A",), False, "A is the highest of those related, though B may be better,"),
        ("A", ("A",), (), False, "A is the only one with a score in"),
        ("A", ("A", "B"), (), False, "none can be ruled out as the best in"),
        ("", ("A",), ("B",), False, "none is found to be related to"),
    ],
)
def test_only_a_related_model_with_rivals_is_called_the_best(
    leader: str, names: tuple[str, ...], ruled_out: tuple[str, ...], one: bool, words: str
) -> None:
    region = _Region("V1", leader, BestModels(names, ruled_out))
    assert region.has_one_best is one
    assert region.in_words().startswith(words)
