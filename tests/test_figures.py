"""Figures: what is drawn, and that every label can be read."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from analysis.comparison import compare
from analysis.figures.ceiling_sweep import draw_ceiling_sweep
from analysis.figures.groups import draw_groups
from analysis.figures.models import NORMALISED_LIMITS, draw_normalised_models, draw_raw_models
from analysis.figures.style import GROUP_COLOURS, View, style
from analysis.figures.write import FIGURES, write_figures
from analysis.models.feature_files import Features
from analysis.patterns import RoiPatterns, SubjectPatterns
from analysis.results import ComparisonResult
from analysis.settings import ComparisonSettings
from analysis.significance import mean_over_subjects

WHOLES = ("visual", "fusiform", "hippocampus", "parahippocampal")
HALVES = tuple(f"{roi}-{side}" for roi in WHOLES for side in ("left", "right"))
SIXTEEN = {
    "multimodal": ("CLIP", "TSM", "VirTex", "ICMLM-attfc", "ICMLM-tfm"),
    "visual": ("ResNet50", "BiT-M", "AR-L2", "AR-L4", "AR-L8", "SIN", "SIN-IN", "SIN-IN+FIN"),
    "language": ("GPT-2", "BERT", "CLIP-L"),
}
FIVE = {
    "visual": ("EfficientNet-Lite0", "EfficientNet-Lite1", "EfficientNet-Lite2"),
    "language": ("MiniLM",),
    "multimodal": ("ConSE-standin",),
}
THREE = {"visual": ("EfficientNet-Lite0",), "language": ("MiniLM",), "multimodal": ("ConSE",)}
STAND_IN_NOTE = "stand-in for an image-text network: ImageNet classes seen, embedded as text"


def result_of(
    models: dict[str, tuple[str, ...]], n_subjects: int, rois: tuple[str, ...], noisy: bool = False
) -> ComparisonResult:
    rng = np.random.default_rng(0)
    stimuli = tuple(f"s{row:02d}" for row in range(12))
    latent = rng.standard_normal((12, 4))
    noise = {"multimodal": 0.3, "visual": 1.0, "language": 3.0}
    features = [
        Features(
            name,
            group,
            stimuli,
            latent @ rng.standard_normal((4, 30)) + noise[group] * rng.standard_normal((12, 30)),
            note=STAND_IN_NOTE if name.startswith("ConSE") else "",
        )
        for group, names in models.items()
        for name in names
    ]
    subjects = [
        SubjectPatterns(
            f"{number + 1:02d}",
            stimuli,
            {
                roi: RoiPatterns(
                    (0.0 if noisy and roi.startswith("hippocampus") else 0.5)
                    * latent
                    @ rng.standard_normal((4, 40))
                    + rng.standard_normal((12, 40)),
                    np.arange(40),
                )
                for roi in rois
            },
        )
        for number in range(n_subjects)
    ]
    settings = ComparisonSettings(n_random_draws=2, sweep_dense_until=10, sweep_log_points=3)
    return compare(subjects, features, settings)


CASES = {
    "5 models": (FIVE, 5, WHOLES, True),
    "16 models": (SIXTEEN, 5, WHOLES, True),
    "16 models, 12 regions": (SIXTEEN, 5, WHOLES + HALVES, True),
    "3 models, 2 subjects": (THREE, 2, WHOLES, False),
    "16 models, 50 subjects": (SIXTEEN, 50, WHOLES, False),
}


@pytest.fixture(scope="module", params=list(CASES))
def view(request: pytest.FixtureRequest) -> View:
    result = result_of(*CASES[request.param])
    return View(result, result.rois)


@pytest.mark.parametrize("name", list(FIGURES))
def test_texts_lie_inside_and_do_not_overlap(view: View, name: str) -> None:
    with style():
        figure = FIGURES[name](view)
        figure.canvas.draw()
        width, height = figure.canvas.get_width_height()
        boxes = []
        for axes in figure.axes:
            labels = [axes.title, axes.xaxis.label, axes.yaxis.label]
            for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                labels += [
                    tick.label1
                    for tick in axis.get_major_ticks()
                    if tick.label1.get_visible() and min(limits) <= tick.get_loc() <= max(limits)
                ]
            boxes += [(t.get_text(), t.get_window_extent()) for t in labels if t.get_text().strip()]
        for legend in figure.legends:
            boxes += [(t.get_text(), t.get_window_extent()) for t in legend.get_texts()]
        boxes += [(t.get_text(), t.get_window_extent()) for t in figure.texts]
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
    for (one, a), (other, b) in combinations(boxes, 2):
        overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(overlap) <= 0.5, f"{one!r} over {other!r}"


def bars(figure: Figure) -> list[tuple[str, float]]:
    """Colour and length of each horizontal bar, panel by panel."""
    return [
        (to_hex(patch.get_facecolor()[:3]).upper(), patch.get_width())
        for axes in figure.axes
        for patch in axes.patches
        if isinstance(patch, Rectangle) and abs(patch.get_height() - 0.66) < 1e-9
    ]


def test_bars_are_means_in_the_colours_of_their_groups() -> None:
    result = result_of(FIVE, 5, WHOLES)
    with style():
        figure = draw_raw_models(View(result, result.rois))
    order = ["ConSE-standin", *FIVE["visual"], "MiniLM"]
    names = [model.name for model in result.models]
    expected = [
        (
            GROUP_COLOURS[result.models[names.index(name)].group],
            roi.rsa[:, names.index(name)].mean(),
        )
        for roi in result.rois
        for name in order
    ]
    assert [colour for colour, _ in bars(figure)] == [colour for colour, _ in expected]
    np.testing.assert_allclose([w for _, w in bars(figure)], [w for _, w in expected])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["ConSE-standin†", *order[1:]]


def test_stand_ins_are_marked_and_explained() -> None:
    result = result_of(FIVE, 3, WHOLES)
    for draw in (draw_normalised_models, draw_raw_models, draw_groups):
        with style():
            figure = draw(View(result, result.rois))
        notes = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
        assert f"† ConSE-standin: {STAND_IN_NOTE}" in notes
        assert notes.count("†") == 1


def test_ceiling_is_drawn_at_one() -> None:
    result = result_of(FIVE, 3, WHOLES)
    with style():
        figure = draw_normalised_models(View(result, result.rois))
    for axes in figure.axes:
        dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert [line.get_xdata()[0] for line in dashed] == [1]
        assert axes.get_xlim()[1] > 1


def test_every_significant_pair_has_an_asterisk() -> None:
    result = result_of(SIXTEEN, 5, WHOLES)
    significant = [
        test for test in result.group_tests if test.score == "rsa_normalised" and test.p < 0.05
    ]
    with style():
        figure = draw_groups(View(result, result.rois))
    asterisks = [text for text in figure.axes[0].texts if text.get_text() == "*"]
    assert len(asterisks) == len(significant) > 0
    top = figure.axes[0].get_ylim()[1]
    assert all(text.get_position()[1] < top for text in asterisks)


def test_groups_are_drawn_as_they_are() -> None:
    result = result_of(SIXTEEN, 5, WHOLES)
    stretched = tuple(
        replace(roi, rsa=4 * roi.rsa) if place == 0 else roi
        for place, roi in enumerate(result.rois)
    )
    view = View(replace(result, rois=stretched), stretched)
    with style():
        (axes,) = draw_groups(view).axes
    groups = np.array([model.group for model in result.models])
    means = [
        mean_over_subjects(roi.rsa_normalised)[groups == group]
        for roi in stretched
        for group in view.groups
    ]
    np.testing.assert_allclose(
        [patch.get_height() for patch in axes.patches], [values.mean() for values in means]
    )
    low, high = NORMALISED_LIMITS
    dots = np.concatenate([c.get_offsets()[:, 1] for c in axes.collections[0::3]])
    inside = [values[(values >= low) & (values <= high)] for values in means]
    np.testing.assert_allclose(dots, np.concatenate(inside))
    above = np.concatenate([c.get_offsets()[:, 1] for c in axes.collections[2::3]])
    assert len(above) == sum((values > high).sum() for values in means) > 0
    assert set(above) == {high}
    assert axes.spines["left"].get_bounds()[1] == high
    assert max(axes.get_yticks()) <= high


def test_names_with_dollar_signs_are_printed_as_they_are() -> None:
    result = result_of({"visual": ("a$b$c", "d^$x")}, 3, ("$v$",))
    for draw in FIGURES.values():
        with style():
            figure = draw(View(result, result.rois))
            figure.canvas.draw()
        assert not any(text.get_parse_math() for text in figure.findobj(Text))


def test_stale_figures_are_removed(tmp_path: Path) -> None:
    result = result_of(THREE, 2, (*WHOLES[:1], *HALVES[:2]))
    write_figures(result, tmp_path)
    wholes = replace(result, rois=result.rois[:1])
    write_figures(wholes, tmp_path)
    assert len(list(tmp_path.iterdir())) == 8
    assert not list(tmp_path.glob("*_hemispheres*"))


def test_sweep_lines_are_means_over_subjects() -> None:
    result = result_of(THREE, 4, WHOLES)
    with style():
        figure = draw_ceiling_sweep(View(result, result.rois))
    for axes, sweep in zip(figure.axes, result.sweeps, strict=True):
        lines = {line.get_label(): line for line in axes.lines}
        np.testing.assert_allclose(
            lines["highest betas"].get_ydata(), sweep.top.pairwise.mean(axis=-1)
        )
        np.testing.assert_allclose(
            lines["random voxels"].get_ydata(), sweep.random.pairwise.mean(axis=(0, 2))
        )


def test_files_of_wholes_and_hemispheres(tmp_path: Path) -> None:
    result = result_of(THREE, 2, (*WHOLES[:2], *HALVES[:2]))
    write_figures(result, tmp_path)
    stems = {f"figure_{n}{half}" for n in ("1", "2a", "2b", "3") for half in ("", "_hemispheres")}
    assert {file.name for file in tmp_path.iterdir()} == {
        f"{stem}.{suffix}" for stem in stems for suffix in ("svg", "png")
    }
    assert "<dc:date>" not in (tmp_path / "figure_1.svg").read_text()
