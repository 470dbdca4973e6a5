"""Figures drawn again from the tables of a finished comparison, and layers as depth profiles."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from figure_cases import (
    FIVE,
    QUICK,
    TINY,
    WHOLES,
    drawn,
    five,
    points,
    result_of,
    sixteen,
    view_of,
)
from matplotlib.figure import Figure
from PIL import Image
from test_figures_written import texts_of

from conceptrsa.analysis.brain.patterns import RoiPatterns, SubjectPatterns
from conceptrsa.analysis.comparison import compare
from conceptrsa.analysis.models.feature_files import Features
from conceptrsa.analysis.output.figures.all_figures import draw_figure, figure_names
from conceptrsa.analysis.output.figures.appearance import APPEARANCES, IN_REPORT
from conceptrsa.analysis.output.figures.depth_profiles import draw_depth_profile
from conceptrsa.analysis.output.figures.groups import compact_letters
from conceptrsa.analysis.output.figures.models import draw_scores
from conceptrsa.analysis.output.figures.style import style
from conceptrsa.analysis.output.finished_comparison import read_finished
from conceptrsa.analysis.output.tables import write_tables
from conceptrsa.analysis.output.write import provenance_of, write_provenance
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.analysis.settings import settings_for
from conceptrsa.pipelines.cli import main

LAYERS = {"ResNet50": [f"layer{n}" for n in range(1, 7)], "timm:vit": ["a", "b", "c", "d"]}


def write_finished(result: ComparisonResult, out_dir: Path) -> Path:
    write_tables(result, out_dir / "group")
    write_provenance(provenance_of(result), out_dir / "group" / "provenance.json")
    return out_dir


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_finished(five(), tmp_path_factory.mktemp("finished"))


@lru_cache
def of_layers() -> ComparisonResult:
    """Networks whose last layers are like the brain, beside one model without layers."""
    rng = np.random.default_rng(0)
    stimuli = tuple(f"s{row:02d}" for row in range(16))
    latent = rng.standard_normal((16, 4))
    features = [
        Features(
            f"{network}@{layer}", "visual", stimuli,
            latent @ rng.standard_normal((4, 30))
            + (len(layers) - depth) * rng.standard_normal((16, 30)),
        )
        for network, layers in LAYERS.items()
        for depth, layer in enumerate(layers)
    ]  # fmt: skip
    features.append(Features("CLIP", "multimodal", stimuli, rng.standard_normal((16, 30))))
    subjects = []
    for number in range(4):
        odd, even = latent @ rng.standard_normal((4, 30)) + rng.standard_normal((2, 16, 30))
        roi = RoiPatterns((odd + even) / 2, np.arange(30), halves=(odd, even))
        subjects.append(SubjectPatterns(f"{number}", stimuli, {"IT": roi}))
    quick = {**TINY, **QUICK, "multiverse": False}
    return compare(subjects, features, settings_for("recommended", **quick))


def marks_of(figure: Figure) -> Iterator[np.ndarray]:
    """Places of all lines, points and whiskers of a figure."""
    for axes in figure.axes:
        for line in axes.lines:
            yield np.asarray(line.get_xydata(), dtype=float)
        for collection in axes.collections:
            yield np.asarray(collection.get_offsets(), dtype=float)
            yield from (np.asarray(path.vertices) for path in collection.get_paths())
        for image in axes.images:
            yield np.ma.filled(image.get_array(), np.nan)


@pytest.mark.parametrize("case", [five, of_layers])
def test_tables_give_the_figures_of_the_result(case: object, tmp_path: Path) -> None:
    result = case()  # type: ignore[operator]
    again = read_finished(write_finished(result, tmp_path))
    assert figure_names(again) == figure_names(result)
    for name in figure_names(result):
        if name == "ceiling_sweep":
            # The number of voxels of each half of the runs is in no table.
            continue
        one, other = draw_figure(result, name), draw_figure(again, name)
        for a, b in zip(marks_of(one), marks_of(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        texts = ([text.get_text() for text in texts_of(figure)] for figure in (one, other))
        for a, b in zip(*texts, strict=True):
            assert a == b or "voxels" in a
    curves = [draw_figure(found, "ceiling_sweep").axes[0] for found in (result, again)]
    by_label = [{line.get_label(): line.get_ydata() for line in axes.lines} for axes in curves]
    for label in ("highest betas", "random voxels"):
        np.testing.assert_allclose(by_label[0][label], by_label[1][label], atol=1e-6)


def test_settings_survive_the_provenance(tmp_path: Path) -> None:
    result = result_of(FIVE, 3, WHOLES[:1], "recommended", rsa_metric="cosine", multiverse=False)
    assert read_finished(write_finished(result, tmp_path)).settings == result.settings


def test_a_paper_gets_its_width_letters_and_captions(finished: Path, tmp_path: Path) -> None:
    words = ["figures", str(finished), "--format", "svg", "pdf", "png", "--out", str(tmp_path)]
    assert main([*words, "--figures", "scores", "groups", "--dpi", "100"]) == 0
    stems = ("scores", "groups")
    files = {f"{stem}.{kind}" for stem in stems for kind in ("svg", "pdf", "png")}
    assert {file.name for file in tmp_path.iterdir()} == files | {"captions.md"}
    svg = (tmp_path / "scores.svg").read_text()
    assert ">ConSE-standin†</text>" in svg and "font-family: 'Arial'" in svg
    points_wide = 180 / 25.4 * 72
    assert float(re.search(r'width="([\d.]+)pt"', svg)[1]) == pytest.approx(points_wide)  # type: ignore[index]
    sizes = {float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)}
    sizes |= {float(size) for size in re.findall(r"font: (?:\w+ )?([\d.]+)px", svg)}
    assert 7.0 in {round(size, 2) for size in sizes} and min(sizes) > 5
    pdf = (tmp_path / "scores.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/MediaBox [ 0 0 510.236" in pdf
    with Image.open(tmp_path / "scores.png") as picture:
        assert abs(picture.width - 180 / 25.4 * 100) <= 1
    captions = (tmp_path / "captions.md").read_text()
    assert captions.startswith("## groups") and "95 % interval for new subjects" in captions


def test_what_tables_do_not_hold_is_said(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["figures", str(finished / "group"), "--figures", "ceiling_sweep"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [str(tmp_path / name) for name in ("ceiling_sweep.pdf", "captions.md")]
    assert [line.split(": ", 2)[1] for line in said[2:]] == ["not in the tables"]
    assert "each half of the runs" in said[2]


def test_the_same_command_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    for folder in ("one", "other"):
        words = ["figures", str(finished), "--format", "svg", "pdf", "tiff", "--dpi", "50"]
        assert main([*words, "--figures", "scores", "--out", str(tmp_path / folder)]) == 0
    for kind in ("svg", "pdf", "tiff"):
        one, other = ((tmp_path / f / f"scores.{kind}").read_bytes() for f in ("one", "other"))
        assert one == other


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--regions", "V9"], "the comparison has no region 'V9'"),
        (["--models", "MiniLN"], "did you mean 'MiniLM'"),
        (["--figures", "figure_9"], "the result has no figure 'figure_9'"),
        (["--palette", "blu"], "--palette blu is not a colour"),
        (["--palette", "visual=red", "blue"], "--palette has colours"),
        (["--palette", "visuals=red"], "the comparison has no group 'visuals'"),
        (["--width", "180"], "'180' is not a length"),
        (["--width", "1mm"], "give 51mm to 1524mm"),
    ],
)
def test_mistakes_are_one_sentence(
    words: list[str], said: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["figures", str(finished), *words])
    except SystemExit as end:
        code = end.code  # type: ignore[assignment]
    message = capsys.readouterr().err
    assert code == 2 and said in message and message.count("\n") == 1


def test_a_folder_without_a_comparison_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figures", str(tmp_path)]) == 2
    assert "holds no finished comparison" in capsys.readouterr().err
    (tmp_path / "provenance.json").write_text("{")
    assert main(["figures", str(tmp_path)]) == 2
    assert "is damaged" in capsys.readouterr().err


def test_models_are_chosen_sorted_and_coloured() -> None:
    result = sixteen()
    look = replace(IN_REPORT, sort="score", models=("SIN", "CLIP", "BERT"), palette=("red", "lime"))
    view = replace(view_of(result), appearance=look)
    means = {
        model.name: np.mean([roi.rsa[:, place].mean() for roi in result.rois])
        for place, model in enumerate(result.models)
    }
    names = sorted(look.models, key=means.__getitem__, reverse=True)
    assert [row.label for row in view.rows] == names
    for axes, roi in zip(drawn(draw_scores, view).axes, result.rois, strict=True):
        expected = [score.rsa for score in view.scores(roi)]
        assert [points(axes)[row] for row in range(3)] == pytest.approx(expected)
    assert list(view.group_colours.items())[:2] == [("multimodal", "red"), ("visual", "lime")]
    assert len(set(view.group_colours.values())) == len(set(view.group_markers.values())) == 3


def test_profiles_are_the_scores_of_the_layers_and_name_the_highest() -> None:
    result = of_layers()
    view = view_of(result)
    (axes,) = drawn(draw_depth_profile, view).axes
    means = result.rois[0].rsa.mean(axis=0)
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    said = " ".join(text.get_text() for text in axes.texts)
    start = 0
    for line, (network, layers) in zip(lines, LAYERS.items(), strict=True):
        of_network = means[start : start + len(layers)]
        np.testing.assert_allclose(line.get_ydata(), of_network)
        np.testing.assert_allclose(line.get_xdata(), np.linspace(0, 1, len(layers)))
        assert f"{network}: {layers[int(of_network.argmax())]}" in said
        start += len(layers)


def test_of_a_network_the_scores_show_its_highest_layer_as_chosen() -> None:
    result = of_layers()
    view = view_of(result)
    labels = ["CLIP", "ResNet50 (best layer)", "timm:vit (best layer)"]
    assert [row.label for row in view.rows] == labels
    figure = drawn(draw_scores, view)
    (axes,) = figure.axes
    means = result.rois[0].rsa.mean(axis=0)
    best = [means[-1], means[:6].max(), means[6:10].max()]
    assert [points(axes)[row] for row in range(3)] == pytest.approx(best)
    numbers = {text.get_text() for text in axes.texts}
    assert {f"{means[:6].argmax() + 1}/6", f"{means[6:10].argmax() + 1}/4"} <= numbers
    assert "its score and its lead over other models are optimistic" in " ".join(
        text.get_text() for text in figure.texts
    )


def test_letters_are_shared_exactly_by_those_that_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    names = list("ABCDEFG")
    pairs = [frozenset(pair) for pair in combinations(names, 2)]
    for share in (0.0, 0.2, 0.5, 0.8, 1.0):
        differ = [pair for pair in pairs if rng.random() < share]
        letters = dict(zip(names, compact_letters(names, differ), strict=True))
        for one, other in combinations(names, 2):
            is_shared = bool(set(letters[one]) & set(letters[other]))
            assert is_shared is (frozenset((one, other)) not in differ)


@pytest.mark.parametrize("look", ["paper", "slides"])
@pytest.mark.parametrize("case", [sixteen, five, of_layers])
def test_texts_lie_inside_figures_of_a_width(case: object, look: str) -> None:
    result, appearance = case(), APPEARANCES[look]  # type: ignore[operator]
    for name in figure_names(result, appearance):
        with style(appearance.fonts):
            figure = draw_figure(result, name, appearance)
            figure.draw_without_rendering()
            width, height = figure.canvas.get_width_height()
            found = [
                (text.get_text(), text.get_window_extent())
                for text in texts_of(figure)
                if text.get_text().strip()
            ]
        assert appearance.width is not None
        assert figure.get_size_inches()[0] == pytest.approx(appearance.width)
        for text, box in found:
            assert box.x0 >= -1 and box.x1 <= width + 1, (name, text)
            assert box.y0 >= -1 and box.y1 <= height + 1, (name, text)
        for (one, a), (other, b) in combinations(found, 2):
            overlap = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(overlap) <= 2, f"{name}: {one!r} over {other!r}"
