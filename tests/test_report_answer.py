"""The answer in words: it names what was planted, and says what was not found."""

from dataclasses import replace

import numpy as np
import pytest
from report_cases import HOSTILE_MODEL, HOSTILE_NOTE, hostile, planted, planted_result

from conceptrsa.analysis.inference.findings import best_models
from conceptrsa.analysis.output.figures.style import unbroken
from conceptrsa.analysis.output.report import answer_table
from conceptrsa.analysis.output.report.answer import Answer, best_by_region
from conceptrsa.analysis.output.report.answer import answer as answer_in_print
from conceptrsa.analysis.output.report.answer_table import MOST_NAMED, answer_tables
from conceptrsa.analysis.results import ComparisonResult


def answer(result: ComparisonResult) -> Answer:
    """The answer with plain spaces."""
    found = answer_in_print(result)
    regions = tuple((roi, text.replace("\xa0", " ")) for roi, text in found.regions)
    headline, summary = (text.replace("\xa0", " ") for text in (found.headline, found.summary))
    return Answer(headline, summary, regions)


def test_the_answer_names_the_planted_model_and_its_uncertainty() -> None:
    result = planted()
    found = answer(result)
    assert result.inference is not None
    best = max(
        (score for score in result.inference.model_scores if score.roi == "V1"),
        key=lambda score: score.rsa,
    )
    assert best.group == "visual"
    assert f"in V1, {best.model} (visual): {best.rsa:.3f} [{best.low:.3f}, {best.high:.3f}]" in (
        found.summary
    )
    assert "visual models above language ones by" in found.summary
    others = best_models(result.inference, "V1").besides(best.model)
    assert found.headline == (
        f"Of the 4 models, {best.model} or {others[0]} is the best in V1; none is found to be "
        "related to deep. Each statement on a best model holds for new subjects and new "
        "stimuli, with 95 % confidence for its region alone."
    )
    assert "Subjects do not agree with each other beyond chance in deep" in found.summary
    assert "5 subjects and 24 stimuli" in found.summary
    regions = dict(found.regions)
    assert f"{others[0]} cannot be ruled out as the best either; text-" in regions["V1"]
    assert "No other model is ruled out as the best." in regions["deep"]
    assert "No model is found to be related to this region, so that it means" in regions["deep"]
    assert "No two groups of models are told apart" in regions["deep"]


def test_one_line_names_the_best_model_of_each_region() -> None:
    result = planted()
    assert result.inference is not None
    best = max(
        (score for score in result.inference.model_scores if score.roi == "V1"),
        key=lambda score: score.rsa,
    )
    assert best_by_region(result) == (
        f"V1: {best.model} ({best.rsa:.3f}, 1 other not ruled out); in 1 region no model is "
        "found to be related"
    )
    paper = planted_result(truth={"V1": "visual"}, preset="paper")
    means = paper.rois[0].rsa.mean(axis=0)
    highest = paper.models[int(means.argmax())].name
    assert best_by_region(paper) == f"V1: {highest} ({means.max():.3f})"


def test_of_many_regions_the_line_names_those_of_the_highest_scores() -> None:
    (roi,) = planted_result(truth={"V1": "visual"}, preset="paper").rois
    result = planted_result(truth={"V1": "visual"}, preset="paper")
    rois = tuple(replace(roi, roi=f"p{n}", rsa=roi.rsa - n / 100) for n in range(9))
    many = replace(result, primary=replace(result.primary, rois=rois))
    line = best_by_region(many)
    assert line.startswith("p0: ") and "p5: " in line and "p6: " not in line
    assert line.endswith("; 3 more regions")


def test_no_line_breaks_within_a_number_and_what_belongs_to_it() -> None:
    text = unbroken("0.2 [−0.1, 0.3], p = 0.01, 95 % and 0.1 ± 0.2; a, b")
    assert text.split(" ") == [
        "0.2\xa0[−0.1,\xa00.3],", "p\xa0=\xa00.01,", "95\xa0%", "and", "0.1\xa0±\xa00.2;", "a,",
        "b",
    ]  # fmt: skip


def test_the_answer_is_that_there_is_none_where_nothing_is_significant() -> None:
    found = answer(planted_result(truth={"a": None, "b": None}))
    assert found.headline == "No model is found to be related to a or b."
    assert found.summary.startswith("No model is found to be related to the brain in a or b")
    assert "smallest corrected p = 0." in found.summary
    assert "No group is found to do better than another" in found.summary
    assert "beyond chance in any region" in found.summary
    assert "highest mean score" not in found.summary


def test_the_answer_of_the_paper_says_what_its_tests_cannot_reach() -> None:
    found = answer(planted_result(truth={"V1": "visual"}, preset="paper", reference_model="text-a"))
    assert "cannot give a p below 0.0625" in found.summary
    assert "takes models for independent" in found.summary
    assert "optimistic" in found.summary
    assert "±" in found.summary


def test_the_answer_of_the_paper_names_models_that_are_told_apart() -> None:
    found = answer(
        planted_result(
            truth={"V1": "visual"}, preset="paper", reference_model="text-a", n_subjects=8
        )
    )
    assert "Told apart from text-a" in found.summary
    assert "visual-a in V1" in found.summary
    assert "cannot give" not in found.summary


def test_the_answer_does_not_compare_groups_where_there_is_one() -> None:
    found = answer(planted_result(truth={"V1": "visual"}, groups={"a": "visual", "b": "visual"}))
    assert "group" not in found.summary


def test_the_answer_says_so_where_groups_cannot_be_tested() -> None:
    found = answer(planted_result(truth={"V1": "visual"}, rsa_metric="whitened-cosine"))
    assert "Groups of models could not be tested against each other." in found.summary


def test_the_answer_names_circular_selection() -> None:
    circular = answer(planted_result(truth={"V1": "visual"}, selection_data="same"))
    assert "chosen by the very betas" in circular.summary
    assert "chosen by the very betas" not in answer(planted()).summary


def test_the_answer_holds_the_notes_on_models() -> None:
    assert f"Note on {HOSTILE_MODEL}: {HOSTILE_NOTE}." in answer(hostile()).summary


def test_the_answer_is_about_whole_regions_where_there_are_some() -> None:
    truth = {"V1": "visual", "V1-left": "visual", "V1-right": "visual"}
    found = answer(planted_result(truth=truth, n_subjects=3))
    assert "V1-left" not in found.summary
    assert [roi for roi, _ in found.regions] == list(truth)
    halves = {"V1-left": "visual", "V1-right": "visual"}
    assert "V1-left" in answer(planted_result(truth=halves, n_subjects=3)).summary


def test_the_answer_says_where_an_interval_includes_zero() -> None:
    result = planted()
    assert result.inference is not None
    wide = tuple(replace(score, low=-0.1) for score in result.inference.model_scores)
    uncertain = replace(result, inference=replace(result.inference, model_scores=wide))
    assert "In V1 that interval includes zero" in answer(uncertain).summary
    assert "includes zero" not in answer(result).summary


def test_regions_without_a_score_have_no_answer() -> None:
    result = planted()
    assert result.inference is not None
    lost = tuple(
        replace(score, rsa=np.nan, p_max=np.nan, withheld="too few voxels")
        for score in result.inference.model_scores
    )
    found = answer(replace(result, inference=replace(result.inference, model_scores=lost)))
    assert found.summary.startswith("No model could be tested in any region.")
    assert dict(found.regions)["V1"] == "No result: too few voxels."


def test_regions_that_could_not_be_tested_are_no_null_findings() -> None:
    """Voxels of a region were found in one subject only: nothing is said to be unrelated there."""
    found = answer(one_subject_in_deep())
    assert "Nothing could be tested in deep." in found.summary
    assert "related to deep" not in found.summary
    assert "all 4 models and 1 region;" in found.summary
    assert "do not agree" not in found.summary
    assert dict(found.regions)["deep"].startswith("No result: fewer than two subjects")


def test_warnings_say_who_has_no_result_and_why() -> None:
    warnings = one_subject_in_deep().warnings
    others = "sub-02, sub-03, sub-04, sub-05"
    assert f"deep: no result for {others}: fewer than 3 voxels were selected" in warnings
    assert any("deep: only one subject has a result" in warning for warning in warnings)
    assert not any("deep: the noise ceiling" in warning for warning in warnings)


def one_subject_in_deep() -> ComparisonResult:
    """A result whose region `deep` has two voxels in all subjects but the first."""
    return planted_result(
        truth={"V1": "visual", "deep": None}, few_voxels={"deep": 2}, voxel_selection="all"
    )


def test_a_model_that_could_not_be_compared_is_not_among_those_that_are_worse() -> None:
    result = planted()
    assert result.inference is not None
    best = max(
        (score for score in result.inference.model_scores if score.roi == "V1"),
        key=lambda score: score.rsa,
    ).model
    (twin,) = {"visual-a", "visual-b"} - {best}
    scores = tuple(
        replace(score, may_be_best=None) if score.model == twin else score
        for score in result.inference.model_scores
    )
    found = answer(replace(result, inference=replace(result.inference, model_scores=scores)))
    text = dict(found.regions)["V1"]
    assert "Every other model that was compared with it is ruled out as the best." in text
    assert f"It could not be compared with {twin}." in text


def test_the_answer_of_the_paper_counts_the_subjects_of_each_region() -> None:
    result = planted_result(
        truth={"V1": "visual", "deep": "visual"},
        few_voxels={"deep": 2},
        preset="paper",
        voxel_selection="all",
    )
    found = answer(result)
    assert "(n = 5); in deep" in found.summary and found.summary.count("(n = 1)") == 1
    assert "n/a (n = 1)" not in found.summary and "± n/a" not in found.summary
    assert "There is no noise ceiling." in dict(found.regions)["deep"]


def test_of_very_many_regions_the_answer_names_those_with_the_highest_scores() -> None:
    from conceptrsa.analysis.output.report.rendering import joined

    assert joined(["a", "b", "c"]) == "a, b and c"
    many = joined([str(number) for number in range(360)])
    assert many.startswith("0, 1, 2, ") and many.endswith("11 and 348 more")


def test_the_table_gives_the_planted_model_and_those_level_with_it() -> None:
    result = planted()
    (table,) = answer_tables(result)
    assert result.inference is not None
    scores = {(score.roi, score.model): score for score in result.inference.model_scores}
    rows = {row[0]: [cell.replace("\xa0", " ") for cell in row[1:]] for row in table.rows}
    assert list(rows) == [roi.roi for roi in result.rois]
    model, score, share, level = rows["V1"]
    best = scores["V1", model]
    assert best.group == "visual" and best.p_max < 0.05
    assert score.startswith(f"{best.rsa:.3f} [{best.low:.3f}, ")
    assert share.startswith(f"{best.normalised:.3f} [")
    others = [name for (roi, name), one in scores.items() if roi == "V1" and one.may_be_best]
    assert level == (", ".join(name for name in others if name != model) or "none")
    assert not {"text-a", "text-b"} & set(others)
    assert rows["deep"][0].startswith("none is related (highest: ")


def test_the_table_of_many_models_names_some_and_counts_the_others() -> None:
    models = {f"m{number:02d}": "visual" for number in range(12)}
    (table,) = answer_tables(planted_result(truth={"noise": None}, groups=models))
    *named, rest = table.rows[0][-1].split(", ")
    assert len(named) == MOST_NAMED and set(named) <= set(models)
    assert rest == "5 others"


def test_of_many_regions_those_with_a_related_model_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = planted_result(truth={"deep": None, "V1": "visual"})
    (in_order,) = answer_tables(result)
    monkeypatch.setattr(answer_table, "MOST_IN_ORDER", 1)
    (sorted_,) = answer_tables(result)
    assert [row[0] for row in in_order.rows] == ["deep", "V1"]
    assert sorted_.rows == in_order.rows[::-1]


def test_of_one_subject_nothing_is_said_of_new_subjects() -> None:
    result = planted_result(truth={"V1": "visual"}, n_subjects=1, voxel_selection="all")
    (table,) = answer_tables(result)
    for text in (table.note, answer(result).summary):
        assert "about new stimuli" in text or "for new stimuli" in text
        assert "new subjects" not in text


def test_the_table_of_the_paper_has_standard_errors_and_no_tests() -> None:
    (table,) = answer_tables(planted_result(truth={"V1": "visual"}, preset="paper"))
    assert [column.name for column in table.columns] == [
        "region", "best model", "mean score", "share of the ceiling",
    ]  # fmt: skip
    ((_, model, score, share),) = table.rows
    assert model.startswith("visual") and "±" in score and "±" in share
