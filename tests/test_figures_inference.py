"""Figures of the inference show its intervals, tests, parts of the variance and multiverse."""

from dataclasses import replace

import numpy as np
import pytest
from figure_cases import (
    TWO_GROUPS,
    WHOLES,
    drawn,
    five,
    markers,
    notes_of,
    points,
    result_of,
    sixteen,
    view_of,
    whiskers,
)
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from conceptrsa.analysis.inference.findings import MIXED_MODEL, RANDOM_EFFECTS, best_models
from conceptrsa.analysis.output.figures.explained_shares import (
    draw_partial_rsa,
    draw_variance_partition,
)
from conceptrsa.analysis.output.figures.groups import draw_groups
from conceptrsa.analysis.output.figures.model_differences import draw_model_tests
from conceptrsa.analysis.output.figures.models import draw_scores, draw_shares
from conceptrsa.analysis.output.figures.specification_curve import draw_multiverse
from conceptrsa.analysis.output.figures.style import KNOWN_COLOURS


def test_raw_scores_have_their_intervals_and_stars() -> None:
    found = sixteen()
    assert found.inference is not None
    # Corrected p-values that single ones do not give away.
    scores = tuple(
        replace(score, p=0.001, p_max=0.01 if place % 3 else 0.2)
        for place, score in enumerate(found.inference.model_scores)
    )
    result = replace(found, inference=replace(found.inference, model_scores=scores))
    view = view_of(result)
    figure = drawn(draw_scores, view)
    n_stars = 0
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        scores = view.scores(roi)
        ceilings = view.ceilings(roi.roi)
        assert [found.ceiling for found in ceilings] == ["pairwise", "lower", "upper"]
        low, high = axes.get_xlim()
        values = [score.rsa for score in scores] + [ceiling.estimate for ceiling in ceilings]
        inside = {row: value for row, value in enumerate(values) if value <= high}
        assert points(axes) == pytest.approx(inside)
        (band,) = axes.patches
        assert band.get_xy()[0] == pytest.approx(ceilings[1].estimate)
        assert band.get_x() + band.get_width() == pytest.approx(ceilings[2].estimate)
        expected = [[found.low, found.high] for found in [*scores, *ceilings] if found.low < high]
        np.testing.assert_allclose(whiskers(axes), np.clip(expected, low, high))
        starred = [int(row) for _, row in markers(axes, "*")]
        assert starred == [row for row, score in enumerate(scores) if score.p_max < 0.05]
        n_stars += len(starred)
    assert 0 < n_stars < len(result.rois) * len(result.models)


def test_models_that_are_ruled_out_as_the_best_are_open() -> None:
    found = sixteen()
    assert found.inference is not None
    states = (True, False, None)
    scores = tuple(
        replace(score, may_be_best=states[place % 3])
        for place, score in enumerate(found.inference.model_scores)
    )
    view = view_of(replace(found, inference=replace(found.inference, model_scores=scores)))
    figure = drawn(draw_scores, view)
    for axes, roi in zip(figure.axes, view.rois, strict=True):
        (collection,) = [c for c in axes.collections if isinstance(c, PathCollection)]
        faces = [to_hex(face) for face in collection.get_facecolors()]
        is_open = [score.may_be_best is False for score in view.scores(roi)]
        assert [face == "#ffffff" for face in faces[: len(is_open)]] == is_open
    assert "Open: models that are ruled out as the best" in notes_of(figure)


def test_shares_have_their_intervals_or_the_reason_for_none() -> None:
    result = sixteen()
    view = view_of(result)
    figure = drawn(draw_shares, view)
    withheld = 0
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        scores = view.scores(roi)
        said = " ".join(text.get_text() for text in axes.texts).replace("\n", " ")
        if scores[0].withheld:
            withheld += 1
            assert f"Withheld: {scores[0].withheld}." in said
            assert not axes.collections
            continue
        assert "Withheld" not in said
        assert points(axes) == pytest.approx(dict(enumerate(s.normalised for s in scores)))
        ends = [[score.normalised_low, score.normalised_high] for score in scores]
        np.testing.assert_allclose(whiskers(axes), np.clip(ends, *axes.get_xlim()))
    assert 0 < withheld < len(result.rois)


def test_groups_have_the_marks_of_the_test_that_finds_them_different() -> None:
    result = sixteen()
    view = view_of(result)
    figure = drawn(draw_groups, view)
    n_marks = 0
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        tests = [test for test in view.inference.group_tests if test.roi == roi.roi]
        stars = [t for t in tests if t.test == MIXED_MODEL and t.p_corrected < 0.05]
        assert len(markers(axes, "*")) == len(stars)
        n_marks += len(stars)
        scores = view.scores(roi)
        raw = bool(scores[0].withheld)
        assert axes.get_ylabel() == ("RSA (Pearson r)" if raw else "RSA / noise ceiling")
        expected = [score.rsa if raw else score.normalised for score in scores]
        low, high = axes.spines["left"].get_bounds()
        shown = [y for marker in view.group_markers.values() for _, y in markers(axes, marker)]
        np.testing.assert_allclose(shown, [y for y in expected if low <= y <= high])
    assert n_marks > 0


def test_differences_of_models_are_marked_where_they_are_significant() -> None:
    found = sixteen()
    assert found.inference is not None
    # Corrected p-values that single ones do not give away.
    tests = tuple(
        replace(test, p_corrected=0.01 if place % 7 == 0 else 0.2)
        for place, test in enumerate(found.inference.model_tests)
    )
    result = replace(found, inference=replace(found.inference, model_tests=tests))
    view = view_of(result)
    figure = drawn(draw_model_tests, view)
    panels = [axes for axes in figure.axes if axes.get_title()]
    order = [row.label for row in view.rows]
    n_marks = 0
    for axes, roi in zip(panels, result.rois, strict=True):
        means = roi.rsa.mean(axis=0)[view.columns(roi)]
        shown = np.ma.filled(axes.images[0].get_array(), np.nan)
        off_diagonal = ~np.eye(len(order), dtype=bool)
        np.testing.assert_allclose(
            shown[off_diagonal], (means[:, None] - means)[off_diagonal], atol=1e-12
        )
        expected = set()
        for test in view.inference.model_tests:
            if test.roi != roi.roi or test.reference not in order:
                continue
            pair = (order.index(test.model), order.index(test.reference))
            if test.test == RANDOM_EFFECTS and test.p_corrected < 0.05:
                expected |= {pair, pair[::-1]}
        dots = {(int(column), int(row)) for column, row in markers(axes, "o")}
        assert dots == expected
        n_marks += len(dots)
    assert n_marks > 0


def test_parts_of_the_variance_are_those_of_the_table() -> None:
    result = five()
    figure = drawn(draw_variance_partition, view_of(result))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0] == "explained by all"
    assert {"only by multimodal", "shared by visual + language", "shared by all"} <= set(labels)
    by_label = {
        (part.roi, part.part.replace(" and ", " + ")): part
        for part in result.inference.variance_parts
    }
    everything = "shared by " + " + ".join(["visual", "language", "multimodal"])
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        parts = [
            by_label[roi.roi, everything if label == "shared by all" else label] for label in labels
        ]
        points = axes.collections[-1].get_offsets()
        np.testing.assert_allclose(points[:, 0], [part.r2 for part in parts])
        np.testing.assert_allclose(points[:, 1], np.arange(len(parts)))
        np.testing.assert_allclose(whiskers(axes), [[part.low, part.high] for part in parts])


def test_partial_correlations_stand_beside_the_scores() -> None:
    result = five()
    view = view_of(result)
    figure = drawn(draw_partial_rsa, view)
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        partial = {
            score.model: score.partial
            for score in result.inference.partial_scores
            if score.roi == roi.roi and score.given == "all others"
        }
        points = axes.collections[-1].get_offsets()[:, 0]
        np.testing.assert_allclose(points, [partial[m.name] for m in view.models(roi)])
        plain = [x for x, _ in markers(axes, "|")]
        np.testing.assert_allclose(plain, [score.rsa for score in view.scores(roi)])


def test_specification_curve_shows_every_specification_and_counts_the_best() -> None:
    result = five()
    view = view_of(result)
    figure = drawn(draw_multiverse, view)
    for place, roi in enumerate(result.rois):
        curve, dashboard = figure.axes[2 * place : 2 * place + 2]
        rows = [row for row in result.multiverse if row.roi == roi.roi]
        choices = dict.fromkeys((r.voxel_selection, r.rdm_metric, r.rsa_metric) for r in rows)
        best = []
        for choice in choices:
            of_choice = [
                r for r in rows if (r.voxel_selection, r.rdm_metric, r.rsa_metric) == choice
            ]
            best.append(max(of_choice, key=lambda row: row.rsa).model)
            if of_choice[0].primary:
                primary = best[-1]
        said = " ".join(text.get_text() for text in curve.texts)
        others = best_models(result.inference, roi.roi).besides(primary)
        company = f" ({len(others)} more may be best)" if others else ""
        assert f"model {primary}{company}: highest in {best.count(primary)} of" in said
        language = [row.rsa for row in rows if row.group == "language"]
        colours = {to_hex(line.get_color()).upper(): line for line in curve.lines}
        shown = colours[KNOWN_COLOURS["language"]].get_ydata()
        np.testing.assert_allclose(np.sort(shown), sorted(language))
        n_choices = sum(
            len(line.get_xdata()) for line in dashboard.lines if line.get_marker() == "|"
        )
        # One mark for each of the three choices, and one for the best group.
        assert n_choices == 4 * len(choices)
        (dashed,) = [line for line in curve.lines if line.get_linestyle() == "--"]
        place_of_primary = int(dashed.get_xdata()[0])
        score = next(r.rsa for r in rows if r.primary and r.group == "language")
        assert shown[place_of_primary] == pytest.approx(score)


def test_a_primary_analysis_too_slow_for_the_multiverse_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("conceptrsa.analysis.multiverse.MAX_PAIRS_OF_SIGNS", 10)
    result = result_of(
        TWO_GROUPS, 2, WHOLES[:1], "recommended", multiverse=True, rsa_metric="kendall-tau-a"
    )
    slow = [row for row in result.multiverse if row.rsa_metric == "kendall-tau-a"]
    assert len(slow) == len(result.models) and all(row.primary for row in slow)
    assert any("except in the primary analysis" in text for text in result.warnings)
    drawn(draw_multiverse, view_of(result))


def test_unknown_intervals_are_not_drawn() -> None:
    result = result_of(TWO_GROUPS, 2, WHOLES[:1], "recommended", multiverse=True)
    assert result.inference is not None
    unknown = tuple(
        replace(score, low=np.nan, high=np.nan) for score in result.inference.model_scores
    )
    blind = replace(result, inference=replace(result.inference, model_scores=unknown))
    (axes,) = drawn(draw_scores, view_of(blind)).axes
    assert len(whiskers(axes)) == 0
    assert len(points(axes)) == len(result.models) + 3
    (axes,) = drawn(draw_groups, view_of(blind)).axes
    view = view_of(blind)
    shown = [markers(axes, marker) for marker in view.group_markers.values()]
    assert sum(map(len, shown)) == len(result.models)
    (axes,) = drawn(draw_shares, view_of(blind)).axes
    assert "two subjects give one" in " ".join(text.get_text() for text in axes.texts)


def test_legend_names_the_mark_of_the_test() -> None:
    figure = drawn(draw_groups, view_of(sixteen()))
    (legend,) = figure.legends
    handles = {
        handle.get_marker() for handle in legend.legend_handles if isinstance(handle, Line2D)
    }
    assert "*" in handles
