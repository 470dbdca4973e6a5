"""Figures of the scores of models and groups show the means, markers and notes of their results."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from figure_cases import (
    FIVE,
    NINE,
    SIXTEEN,
    STAND_IN_NOTE,
    WHOLES,
    bars,
    drawn,
    five,
    markers,
    notes_of,
    result_of,
    view_of,
    whiskers,
)
from matplotlib.figure import Figure

from conceptrsa.analysis.output.figures.all_figures import primary_figures
from conceptrsa.analysis.output.figures.captions import CAPTIONS, note, visited_sizes
from conceptrsa.analysis.output.figures.ceiling_curves import (
    PANEL_WIDTH,
    draw_ceiling_sweep,
    fitting_ticks,
)
from conceptrsa.analysis.output.figures.groups import draw_groups
from conceptrsa.analysis.output.figures.models import SHARE_LIMITS, draw_scores, draw_shares
from conceptrsa.analysis.output.figures.sheet import LABEL_SIZE
from conceptrsa.analysis.output.figures.style import KNOWN_COLOURS, View, group_colours
from conceptrsa.analysis.rsa.correlations import mean_over_subjects, sem_over_subjects
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling


def test_bars_are_means_in_the_colours_of_their_groups() -> None:
    result = result_of(FIVE, 5, WHOLES)
    figure = drawn(draw_scores, view_of(result))
    order = ["ConSE-standin", *dict(FIVE)["visual"], "MiniLM"]
    columns = [[model.name for model in result.models].index(name) for name in order]
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        scores = roi.rsa[:, columns]
        assert [colour for colour, _ in bars(axes)] == [
            KNOWN_COLOURS[result.models[column].group] for column in columns
        ]
        np.testing.assert_allclose([length for _, length in bars(axes)], scores.mean(axis=0))
        half = sem_over_subjects(scores)
        np.testing.assert_allclose(
            whiskers(axes), np.stack([scores.mean(0) - half, scores.mean(0) + half], axis=1)
        )
        np.testing.assert_allclose(sorted(x for x, _ in markers(axes, "o")), np.sort(scores.flat))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["ConSE-standin†", *order[1:]]


def test_variants_say_what_they_are() -> None:
    result = result_of(FIVE, 5, WHOLES)
    said = {
        "figure_4": "Voxels above the score that leaves 30 in hippocampus, per subject",
        "figure_5": "correlation distance, compared by Spearman ρ",
        "figure_6": "cosine distance, compared by Spearman ρ",
        "figure_7": "cosine distance, compared by Pearson r",
    }
    assert [variant.name for variant in result.variants] == list(said)
    for variant in result.variants:
        figure = drawn(draw_scores, View(result, variant, variant.rois))
        assert said[variant.name] in notes_of(figure)
        assert "CIRCULAR SELECTION" in notes_of(figure)
        for axes, roi in zip(figure.axes, variant.rois, strict=True):
            counts = roi.n_voxels
            lowest, highest = counts.min(), counts.max()
            number = f"{lowest} to {highest}" if lowest < highest else f"{lowest}"
            assert any(f"{number} voxels" in text.get_text() for text in axes.texts)
            np.testing.assert_allclose(
                sorted(length for _, length in bars(axes)), np.sort(roi.rsa.mean(axis=0))
            )


def test_selection_is_called_circular_only_where_it_is() -> None:
    for result, is_circular in (
        (result_of(FIVE, 5, WHOLES), True),
        (five(), False),
        (result_of(FIVE, 3, WHOLES[:1], voxel_selection="all"), False),
    ):
        for name, draw in primary_figures(result).items():
            if name in ("multiverse", "ceiling_sweep"):
                continue
            said = notes_of(drawn(draw, view_of(result)))
            assert ("CIRCULAR" in said) is is_circular
            assert ("scored on the other" in said) is bool(result.primary.folds[0].select_on)


def test_stand_ins_are_marked_and_explained() -> None:
    result = result_of(FIVE, 5, WHOLES)
    for draw in (draw_shares, draw_scores, draw_groups):
        notes = notes_of(drawn(draw, view_of(result)))
        assert f"† ConSE-standin: {STAND_IN_NOTE}" in notes
        assert notes.count("†") == 1


def test_ceiling_is_drawn_at_one() -> None:
    figure = drawn(draw_shares, view_of(result_of(FIVE, 5, WHOLES)))
    for axes in figure.axes:
        dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert [line.get_xdata()[0] for line in dashed] == [1]
        assert axes.get_xlim()[1] > 1


def test_every_pair_that_welch_finds_has_a_star() -> None:
    result = result_of(SIXTEEN, 5, NINE)
    significant = [
        test for test in result.group_tests if test.score == "rsa_normalised" and test.p < 0.05
    ]
    (axes,) = drawn(draw_groups, view_of(result)).axes
    stars = markers(axes, "*")
    assert len(stars) == len(significant) > 0
    assert all(height < axes.get_ylim()[1] for _, height in stars)


def test_groups_are_drawn_as_they_are() -> None:
    result = result_of(SIXTEEN, 5, NINE)
    stretched = tuple(
        replace(roi, rsa=4 * roi.rsa) if place == 0 else roi
        for place, roi in enumerate(result.rois)
    )
    view = View(result, replace(result.primary, rois=stretched), stretched)
    (axes,) = drawn(draw_groups, view).axes
    groups = np.array([model.group for model in result.models])
    means = [
        mean_over_subjects(roi.rsa_normalised)[groups == group]
        for roi in stretched
        for group in view.groups
    ]
    means = [values[np.isfinite(values)] for values in means]
    np.testing.assert_allclose(
        [patch.get_height() for patch in axes.patches],
        [values.mean() for values in means if len(values)],
    )
    low, high = SHARE_LIMITS
    inside = [values[(values >= low) & (values <= high)] for values in means]
    dots = [float(y) for _, y in markers(axes, "o")]
    np.testing.assert_allclose(dots, np.concatenate(inside))
    above = [y for _, y in markers(axes, "^")]
    assert len(above) == sum((values > high).sum() for values in means) > 0
    assert set(above) == {high}
    assert axes.spines["left"].get_bounds()[1] == high
    assert max(axes.get_yticks()) <= high


def test_sweep_lines_are_means_over_subjects() -> None:
    result = result_of(FIVE, 5, WHOLES)
    figure = drawn(draw_ceiling_sweep, view_of(result))
    for axes, sweep in zip(figure.axes, result.sweeps, strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        np.testing.assert_allclose(
            lines["highest betas"].get_ydata(), sweep.top.pairwise.mean(axis=-1)
        )
        np.testing.assert_allclose(
            lines["random voxels"].get_ydata(), sweep.random.pairwise.mean(axis=(0, 2))
        )
        dotted = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        assert dotted == [30]


def test_sweep_marks_the_numbers_chosen_and_says_what_was_visited() -> None:
    result = five()
    figure = drawn(draw_ceiling_sweep, view_of(result))
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        dotted = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        assert dotted == roi.n_voxels[:, 0].tolist()
    assert "every number of voxels from 3 to 10, above that log-spaced ones" in notes_of(figure)
    assert "2 draws without replacement" in notes_of(figure)
    sweep = result.sweeps[0]
    every = replace(sweep, n_voxels=np.arange(3, 40))
    assert visited_sizes([every.n_voxels]) == "every number of voxels from 3"
    assert visited_sizes([every.n_voxels, sweep.n_voxels]).startswith(
        "every number of voxels from 3 to 10,"
    )
    noted = replace(result, sweeps=tuple(replace(s, note="not as asked") for s in result.sweeps))
    assert "Note: not as asked." in notes_of(drawn(draw_ceiling_sweep, view_of(noted)))


def test_what_there_is_not_is_called_so() -> None:
    result = result_of(FIVE, 5, WHOLES)
    first, second = result.rois[:2]
    nothing = np.full_like(first.rsa, np.nan)
    without_model = second.rsa.copy()
    without_model[:, 0] = np.nan
    unknown = NoiseCeiling(*np.full((3, 5), np.nan))
    rois = (replace(first, rsa=nothing, ceiling=unknown), replace(second, rsa=without_model))
    view = View(result, replace(result.primary, rois=rois), rois)
    for draw, expected in ((draw_scores, [5, 1]), (draw_shares, [5, 1])):
        figure = drawn(draw, view)
        for axes, roi, n in zip(figure.axes, rois, expected, strict=True):
            assert len([text for text in axes.texts if text.get_text() == " n/a"]) == n
            assert len(bars(axes)) == len(result.models) - n
            if roi.roi == first.roi:
                assert any("ceiling n/a ± n/a" in text.get_text() for text in axes.texts)
    (axes,) = drawn(draw_groups, view).axes
    # All groups of the first region, and the one group of which the lost model was all.
    alone = sum(model.group == result.models[0].group for model in result.models) == 1
    assert len([text for text in axes.texts if text.get_text() == "n/a"]) == 3 + alone


@pytest.mark.parametrize("largest", [3, 9, 40, 250, 1200, 3577, 9000, 150_000])
def test_numbers_of_voxels_on_the_axis_do_not_touch(largest: int) -> None:
    ticks = fitting_ticks(largest)
    assert ticks[0] == 3 and ticks[-1] <= largest
    assert len(ticks) >= sum(tick <= largest for tick in (3, 10, 30))
    figure = Figure(figsize=(PANEL_WIDTH, 1.6))
    axes = figure.add_axes((0, 0.3, 1, 0.7))
    axes.set_xscale("log")
    axes.set_xlim(3 * 0.93, max(largest, 4) * 1.07)
    axes.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=LABEL_SIZE)
    axes.minorticks_off()
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


def test_every_group_has_its_own_colour() -> None:
    assert list(group_colours(["language", "robot", "visual"])) == ["visual", "language", "robot"]
    names = ["robot", *KNOWN_COLOURS, *(f"group {index}" for index in range(20))]
    colours = group_colours(names)
    assert len(set(colours.values())) == len(names)
    assert {name: colours[name] for name in KNOWN_COLOURS} == KNOWN_COLOURS


def test_captions_of_one_subject_speak_of_no_mean_over_subjects() -> None:
    view = view_of(result_of(FIVE, 5, WHOLES))
    alone = replace(view, result=replace(view.result, subjects=("01",)))
    for name, words in CAPTIONS.items():
        for kind in ("", "intervals"):
            if (f"note_{kind}" if kind else "note") in words and name != "ceiling_sweep":
                assert "over subjects" not in note(
                    alone, name, kind, tested="", reading="", through="", n_subjects=1
                )
