"""Figures: what is drawn, and that every label can be read."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from analysis.comparison import compare
from analysis.figures.captions import visited_sizes
from analysis.figures.ceiling_sweep import draw_ceiling_sweep
from analysis.figures.explained import draw_partial_rsa, draw_variance_partition
from analysis.figures.group_intervals import draw_group_intervals
from analysis.figures.groups import draw_groups
from analysis.figures.model_intervals import draw_normalised_intervals, draw_raw_intervals
from analysis.figures.model_tests import draw_model_tests
from analysis.figures.models import NORMALISED_LIMITS, draw_normalised_models, draw_raw_models
from analysis.figures.multiverse import draw_multiverse
from analysis.figures.sheet import shorten, text_width, wrap
from analysis.figures.style import GROUP_COLOURS, View, style
from analysis.figures.write import _figures, primary_figures, write_figures
from analysis.inference.comparisons import MIXED_MODEL, RANDOM_EFFECTS, TWO_SIDED_PERMUTATION
from analysis.models.feature_files import Features
from analysis.noise_ceiling import NoiseCeiling
from analysis.patterns import RoiPatterns, SubjectPatterns, SubjectRdms
from analysis.rdm import compute_rdm
from analysis.results import ComparisonResult
from analysis.settings import settings_for
from analysis.significance import mean_over_subjects, sem_over_subjects

WHOLES = ("visual", "fusiform", "hippocampus", "parahippocampal")
HALVES = tuple(f"{roi}-{side}" for roi in WHOLES for side in ("left", "right"))
NINE = WHOLES + HALVES[:5]
Models = tuple[tuple[str, tuple[str, ...]], ...]
SIXTEEN: Models = (
    ("multimodal", ("CLIP", "TSM", "VirTex", "ICMLM-attfc", "ICMLM-tfm")),
    (
        "visual",
        ("ResNet50", "BiT-M", "AR-L2", "AR-Linf4", "AR-Linf8", "SIN", "SIN-IN", "SIN-IN+FIN"),
    ),
    ("language", ("GPT-2", "BERT", "CLIP-L")),
)
FIVE: Models = (
    ("visual", ("EfficientNet-Lite0", "EfficientNet-Lite1", "EfficientNet-Lite2")),
    ("language", ("MiniLM",)),
    ("multimodal", ("ConSE-standin",)),
)
TWO_GROUPS: Models = (("visual", ("ResNet50", "SIN")), ("language", ("BERT", "GPT-2")))
ONE: Models = (("visual", ("ResNet50",)),)
HOSTILE: Models = (
    ("visual", ("a$b$c_%s", "W" * 60)),
    ("language", ("^{x}_" + "long-name-" * 9, "\\alpha")),
)
STAND_IN_NOTE = "stand-in for an image-text network: ImageNet classes seen, embedded as text"
TINY = {"n_random_draws": 2, "sweep_dense_until": 10, "sweep_log_points": 3}
QUICK = {"n_permutations": 100, "n_bootstraps": 100}


def features_of(models: Models, latent: np.ndarray, rng: np.random.Generator) -> list[Features]:
    noise = {"multimodal": 0.3, "visual": 1.0, "language": 3.0}
    n_stimuli = len(latent)
    return [
        Features(
            name,
            group,
            tuple(f"s{row:02d}" for row in range(n_stimuli)),
            latent @ rng.standard_normal((4, 30))
            + noise[group] * rng.standard_normal((n_stimuli, 30)),
            note=STAND_IN_NOTE if name.startswith("ConSE") else "",
        )
        for group, names in models
        for name in names
    ]


@lru_cache
def result_of(
    models: Models,
    n_subjects: int,
    rois: tuple[str, ...],
    preset: str = "paper",
    noisy: str = "hippocampus",
    n_stimuli: int = 12,
    **changes: object,
) -> ComparisonResult:
    """Regions that share a latent space with the models, but for one that is noise."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n_stimuli, 4))
    stimuli = tuple(f"s{row:02d}" for row in range(n_stimuli))
    features = features_of(models, latent, rng)
    subjects = []
    for number in range(n_subjects):
        regions = {}
        for roi in rois:
            strength = 0.0 if roi.startswith(noisy) else 0.5
            signal = strength * latent @ rng.standard_normal((4, 40))
            odd, even = signal + rng.standard_normal((2, n_stimuli, 40))
            regions[roi] = RoiPatterns((odd + even) / 2, np.arange(40), odd=odd, even=even)
        subjects.append(SubjectPatterns(f"{number + 1:02d}", stimuli, regions))
    quick = QUICK if preset == "recommended" else {}
    return compare(subjects, features, settings_for(preset, **{**TINY, **quick, **changes}))


@lru_cache
def supplied_rdms(preset: str) -> ComparisonResult:
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((12, 4))
    subjects = [
        SubjectRdms(
            f"{number}",
            tuple(f"s{row:02d}" for row in range(12)),
            {"IT": compute_rdm(latent + rng.standard_normal((12, 4)), "correlation")[None]},
        )
        for number in range(4)
    ]
    return compare(subjects, features_of(FIVE, latent, rng), settings_for(preset, **QUICK))


def sixteen() -> ComparisonResult:
    return result_of(SIXTEEN, 4, WHOLES, "recommended", multiverse=False)


def five() -> ComparisonResult:
    return result_of(FIVE, 4, WHOLES[:3], "recommended", multiverse=True)


CASES = {
    "paper, 16 models, 9 regions": lambda: result_of(SIXTEEN, 5, NINE),
    "paper, 5 models, 50 subjects": lambda: result_of(FIVE, 50, WHOLES[2:]),
    "paper, one model, 2 subjects, one region": lambda: result_of(ONE, 2, WHOLES[:1]),
    "paper, hostile names": lambda: result_of(HOSTILE, 3, ("$v$", "x_" * 30)),
    "paper, supplied RDMs": lambda: supplied_rdms("paper"),
    "paper, slow comparison": lambda: result_of(
        FIVE, 3, ("visual",), rsa_metric="kendall-tau-a", remove_mean_pattern=True
    ),
    "recommended, 16 models": sixteen,
    "recommended, 5 models": five,
    "recommended, two groups, 2 subjects": lambda: result_of(
        TWO_GROUPS, 2, WHOLES[:1], "recommended", multiverse=True
    ),
    "recommended, one model": lambda: result_of(
        ONE, 3, WHOLES[2:], "recommended", multiverse=False
    ),
    "recommended, hostile names": lambda: result_of(
        HOSTILE, 3, ("$v$", "x_" * 30), "recommended", multiverse=True
    ),
    "recommended, circular, 92 stimuli": lambda: result_of(
        TWO_GROUPS, 3, WHOLES[:1], "recommended", n_stimuli=92, multiverse=False,
        selection_data="same",
    ),
    "recommended, supplied RDMs": lambda: supplied_rdms("recommended"),
}  # fmt: skip


def view_of(result: ComparisonResult) -> View:
    return View(result, result.primary, result.rois)


def drawn(draw: object, view: View) -> Figure:
    with style():
        return draw(view)  # type: ignore[operator, no-any-return]


def notes_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def bars(axes: Axes) -> list[tuple[str, float]]:
    """Colour and length of each horizontal bar."""
    (collection,) = [c for c in axes.collections if isinstance(c, PolyCollection)]
    colours = [to_hex(colour[:3]).upper() for colour in collection.get_facecolor()]
    return [
        (colour, path.vertices[1, 0])
        for colour, path in zip(colours, collection.get_paths(), strict=True)
    ]


def markers(axes: Axes, marker: str) -> list[tuple[float, float]]:
    return [
        (float(x), float(y))
        for line in axes.lines
        if line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def whiskers(axes: Axes) -> np.ndarray:
    """Low and high ends of horizontal whiskers (rows, 2)."""
    segments = [
        segment
        for collection in axes.collections
        if not isinstance(collection, PolyCollection) and hasattr(collection, "get_segments")
        for segment in collection.get_segments()
    ]
    return np.array([segment[:, 0] for segment in segments])


def texts_of(figure: Figure) -> Iterator[Text]:
    for axes in figure.axes:
        if not axes.axison:
            yield from (axes.title, *axes.texts)
            continue
        yield from (axes.title, axes.xaxis.label, *axes.texts)
        if axes.yaxis.get_visible():
            yield axes.yaxis.label
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            if axis.get_visible():
                yield from (
                    label
                    for tick in axis.get_major_ticks()
                    for label in (tick.label1, tick.label2)
                    if label.get_visible() and min(limits) <= tick.get_loc() <= max(limits)
                )
    for legend in figure.legends:
        yield from legend.get_texts()
    yield from figure.texts


@pytest.mark.parametrize("case", list(CASES))
def test_texts_lie_inside_and_do_not_overlap(case: str) -> None:
    result = CASES[case]()
    for stem, draw, view in _figures(result, Path()):
        if stem.name.startswith(("figure_6", "figure_7")):
            # As figure 5, in other words.
            continue
        with style():
            figure = draw(view)
            figure.draw_without_rendering()
            width, height = figure.canvas.get_width_height()
            boxes = [
                (text.get_text(), text.get_window_extent())
                for text in texts_of(figure)
                if text.get_text().strip()
            ]
            assert not any(text.get_parse_math() for text in figure.findobj(Text))
        for text, box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0, (stem, text)
            assert box.x1 <= width and box.y1 <= height, (stem, text)
        for (one, a), (other, b) in combinations(boxes, 2):
            overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(overlap) <= 1, f"{stem}: {one!r} over {other!r}"


def test_bars_are_means_in_the_colours_of_their_groups() -> None:
    result = result_of(FIVE, 5, WHOLES)
    figure = drawn(draw_raw_models, view_of(result))
    order = ["ConSE-standin", *dict(FIVE)["visual"], "MiniLM"]
    columns = [[model.name for model in result.models].index(name) for name in order]
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        scores = roi.rsa[:, columns]
        assert [colour for colour, _ in bars(axes)] == [
            GROUP_COLOURS[result.models[column].group] for column in columns
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
        figure = drawn(draw_raw_models, View(result, variant, variant.rois))
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
            if name in ("multiverse", "figure_1"):
                continue
            said = notes_of(drawn(draw, view_of(result)))
            assert ("CIRCULAR" in said) is is_circular
            assert ("scored on the other" in said) is bool(result.primary.folds[0].select_on)


def test_stand_ins_are_marked_and_explained() -> None:
    result = result_of(FIVE, 5, WHOLES)
    for draw in (draw_normalised_models, draw_raw_models, draw_groups):
        notes = notes_of(drawn(draw, view_of(result)))
        assert f"† ConSE-standin: {STAND_IN_NOTE}" in notes
        assert notes.count("†") == 1


def test_ceiling_is_drawn_at_one() -> None:
    figure = drawn(draw_normalised_models, view_of(result_of(FIVE, 5, WHOLES)))
    for axes in figure.axes:
        dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert [line.get_xdata()[0] for line in dashed] == [1]
        assert axes.get_xlim()[1] > 1


def test_every_pair_that_welch_finds_has_an_asterisk() -> None:
    result = result_of(SIXTEEN, 5, NINE)
    significant = [
        test for test in result.group_tests if test.score == "rsa_normalised" and test.p < 0.05
    ]
    (axes,) = drawn(draw_groups, view_of(result)).axes
    asterisks = [text for text in axes.texts if text.get_text() == "*"]
    assert len(asterisks) == len(significant) > 0
    top = axes.get_ylim()[1]
    assert all(text.get_position()[1] < top for text in asterisks)


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
    low, high = NORMALISED_LIMITS
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
    assert visited_sizes([every]) == "every number of voxels from 3"
    assert visited_sizes([every, sweep]).startswith("every number of voxels from 3 to 10,")
    noted = replace(result, sweeps=tuple(replace(s, note="not as asked") for s in result.sweeps))
    assert "Note: not as asked." in notes_of(drawn(draw_ceiling_sweep, view_of(noted)))


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
    figure = drawn(draw_raw_intervals, view)
    n_stars = 0
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        scores = view.scores(roi.roi)
        ceilings = [view.ceiling(roi.roi, name) for name in ("pairwise", "lower", "upper")]
        np.testing.assert_allclose(
            [length for _, length in bars(axes)],
            [score.rsa for score in scores] + [ceiling.estimate for ceiling in ceilings],
        )
        low, high = axes.get_xlim()
        expected = [[found.low, found.high] for found in [*scores, *ceilings] if found.low < high]
        np.testing.assert_allclose(whiskers(axes), np.clip(expected, low, high))
        starred = [int(row) for _, row in markers(axes, "*")]
        assert starred == [row for row, score in enumerate(scores) if score.p_max < 0.05]
        n_stars += len(starred)
    assert 0 < n_stars < len(result.rois) * len(result.models)


def test_shares_have_their_intervals_or_the_reason_for_none() -> None:
    result = sixteen()
    view = view_of(result)
    figure = drawn(draw_normalised_intervals, view)
    withheld = 0
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        scores = view.scores(roi.roi)
        said = " ".join(text.get_text() for text in axes.texts).replace("\n", " ")
        if scores[0].withheld:
            withheld += 1
            assert f"Withheld: {scores[0].withheld}." in said
            assert not axes.collections
            continue
        assert "Withheld" not in said
        np.testing.assert_allclose(
            [length for _, length in bars(axes)], [score.normalised for score in scores]
        )
        ends = [[score.normalised_low, score.normalised_high] for score in scores]
        np.testing.assert_allclose(whiskers(axes), np.clip(ends, *axes.get_xlim()))
    assert 0 < withheld < len(result.rois)


def test_groups_have_the_marks_of_the_tests_that_find_them_different() -> None:
    result = sixteen()
    view = view_of(result)
    figure = drawn(draw_group_intervals, view)
    n_marks = 0
    for axes, roi in zip(figure.axes, result.rois, strict=True):
        tests = [test for test in view.inference.group_tests if test.roi == roi.roi]
        stars = [t for t in tests if t.test == TWO_SIDED_PERMUTATION and t.p_max < 0.05]
        diamonds = [t for t in tests if t.test == MIXED_MODEL and t.p_corrected < 0.05]
        assert len(markers(axes, "*")) == len(stars)
        assert len(markers(axes, "D")) == len(diamonds)
        n_marks += len(stars) + len(diamonds)
        scores = view.scores(roi.roi)
        raw = bool(scores[0].withheld)
        assert axes.get_ylabel() == ("RSA (Pearson r)" if raw else "RSA / noise ceiling")
        expected = [score.rsa if raw else score.normalised for score in scores]
        low, high = axes.spines["left"].get_bounds()
        np.testing.assert_allclose(
            [y for _, y in markers(axes, "o")], [y for y in expected if low <= y <= high]
        )
    assert n_marks > 0


def test_differences_of_models_are_marked_where_they_are_significant() -> None:
    result = sixteen()
    view = view_of(result)
    figure = drawn(draw_model_tests, view)
    panels = [axes for axes in figure.axes if axes.get_title()]
    order = [model.name for model in view.ordered_models]
    n_marks = 0
    for axes, roi in zip(panels, result.rois, strict=True):
        means = roi.rsa.mean(axis=0)[view.model_order]
        shown = np.ma.filled(axes.images[0].get_array(), np.nan)
        off_diagonal = ~np.eye(len(order), dtype=bool)
        np.testing.assert_allclose(
            shown[off_diagonal], (means[:, None] - means)[off_diagonal], atol=1e-12
        )
        expected = set()
        for test in view.inference.model_tests:
            if test.roi != roi.roi or test.reference not in order:
                continue
            low, high = sorted((order.index(test.model), order.index(test.reference)))
            if test.test == TWO_SIDED_PERMUTATION and test.p_max < 0.05:
                expected.add((high, low))
            if test.test == RANDOM_EFFECTS and test.p_corrected < 0.05:
                expected.add((low, high))
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
        np.testing.assert_allclose(points, [partial[m.name] for m in view.ordered_models])
        plain = [x for x, _ in markers(axes, "|")]
        np.testing.assert_allclose(plain, [score.rsa for score in view.scores(roi.roi)])


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
        assert f"model {primary}, best in the primary: best in {best.count(primary)} of" in said
        language = [row.rsa for row in rows if row.group == "language"]
        colours = {to_hex(line.get_color()).upper(): line for line in curve.lines}
        shown = colours[GROUP_COLOURS["language"]].get_ydata()
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


def test_what_there_is_not_is_called_so() -> None:
    result = result_of(FIVE, 5, WHOLES)
    first, second = result.rois[:2]
    nothing = np.full_like(first.rsa, np.nan)
    without_model = second.rsa.copy()
    without_model[:, 0] = np.nan
    unknown = NoiseCeiling(*np.full((3, 5), np.nan))
    rois = (replace(first, rsa=nothing, ceiling=unknown), replace(second, rsa=without_model))
    view = View(result, replace(result.primary, rois=rois), rois)
    for draw, expected in ((draw_raw_models, [5, 1]), (draw_normalised_models, [5, 1])):
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


def test_a_primary_analysis_too_slow_for_the_multiverse_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("analysis.multiverse.MAX_PAIRS_OF_SIGNS", 10)
    result = result_of(
        TWO_GROUPS, 2, WHOLES[:1], "recommended", multiverse=True, rsa_metric="kendall-tau-a"
    )
    slow = [row for row in result.multiverse if row.rsa_metric == "kendall-tau-a"]
    assert len(slow) == len(result.models) and all(row.primary for row in slow)
    assert any("kendall-tau-a but in the primary analysis" in text for text in result.warnings)
    drawn(draw_multiverse, view_of(result))


def test_unknown_intervals_are_not_drawn() -> None:
    result = result_of(TWO_GROUPS, 2, WHOLES[:1], "recommended", multiverse=True)
    assert result.inference is not None
    unknown = tuple(
        replace(score, low=np.nan, high=np.nan) for score in result.inference.model_scores
    )
    blind = replace(result, inference=replace(result.inference, model_scores=unknown))
    (axes,) = drawn(draw_raw_intervals, view_of(blind)).axes
    assert len(whiskers(axes)) == 0
    assert len(bars(axes)) == len(result.models) + 3
    (axes,) = drawn(draw_group_intervals, view_of(blind)).axes
    assert len(markers(axes, "o")) == len(result.models)
    (axes,) = drawn(draw_normalised_intervals, view_of(blind)).axes
    assert "two subjects have" in " ".join(text.get_text() for text in axes.texts)


def test_long_text_is_made_to_fit() -> None:
    text = "long-name-" * 9
    short = shorten(text, 1.5, 9)
    assert text_width(short, 9) <= 1.5 < text_width(text, 9)
    assert (short[0], short[-1], short.count("…")) == ("l", "-", 1)
    assert shorten("short", 1.5, 9) == "short"
    lines = wrap(f"one two {text}", 1.0, 9)
    assert "".join(lines) == f"onetwo{text}" or "".join(lines) == f"one two{text}"
    assert max(text_width(line, 9) for line in lines) <= 1.0


def test_stale_figures_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def touch(_: Figure, stem: Path) -> None:
        for suffix in ("svg", "png"):
            stem.with_name(f"{stem.name}.{suffix}").touch()

    monkeypatch.setattr("analysis.figures.write.save", touch)
    result = result_of(ONE, 2, (*WHOLES[:1], *HALVES[:2]))
    write_figures(result, tmp_path)
    (tmp_path / "multiverse.svg").touch()
    assert len(list(tmp_path.glob("*_hemispheres.svg"))) == 7

    def wholes(analysis: object) -> object:
        return replace(analysis, rois=analysis.rois[:1])  # type: ignore[type-var, attr-defined]

    write_figures(
        replace(
            result, primary=wholes(result.primary), variants=tuple(map(wholes, result.variants))
        ),
        tmp_path,
    )
    names = ("1", "2a", "2b", "3", "5", "6", "7")
    assert {file.name for file in tmp_path.iterdir()} == {
        f"figure_{name}.{suffix}" for name in names for suffix in ("svg", "png")
    }


def test_files_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    result = CASES["recommended, two groups, 2 subjects"]()
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        write_figures(result, tmp_path / folder)
    names = {file.name for file in (tmp_path / "one").iterdir()}
    stems = {*(f"figure_{n}" for n in ("1", "2a", "2b", "3", "5", "6", "7"))}
    stems |= {"model_tests", "variance_partition", "partial_rsa", "multiverse"}
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("svg", "png")}
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert "<dc:date>" not in (tmp_path / "one" / "figure_1.svg").read_text()


def test_legend_names_the_marks_of_both_tests() -> None:
    figure = drawn(draw_group_intervals, view_of(sixteen()))
    (legend,) = figure.legends
    handles = {
        handle.get_marker() for handle in legend.legend_handles if isinstance(handle, Line2D)
    }
    assert {"*", "D"} <= handles
