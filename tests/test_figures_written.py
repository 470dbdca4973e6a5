"""Figures as they are written: every label can be read, files never differ, and none is stale."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from figure_cases import CASES, HALVES, ONE, WHOLES, result_of
from matplotlib.figure import Figure
from matplotlib.text import Text

from conceptrsa.analysis.output.figures.all_figures import _figures, write_figures
from conceptrsa.analysis.output.figures.sheet import shorten, text_width, wrap
from conceptrsa.analysis.output.figures.style import style

PRIMARY_FIGURES = ("ceiling_sweep", "shares_of_ceiling", "groups", "scores")


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

    monkeypatch.setattr("conceptrsa.analysis.output.figures.all_figures.save", touch)
    result = result_of(ONE, 2, (*WHOLES[:1], *HALVES[:2]))
    write_figures(result, tmp_path)
    (tmp_path / "multiverse.svg").touch()
    (tmp_path / "figure_2a.png").touch()  # of an earlier version
    assert len(list(tmp_path.glob("*_hemispheres.svg"))) == 6

    def wholes(analysis: object) -> object:
        return replace(analysis, rois=analysis.rois[:1])  # type: ignore[type-var, attr-defined]

    write_figures(
        replace(
            result, primary=wholes(result.primary), variants=tuple(map(wholes, result.variants))
        ),
        tmp_path,
    )
    # One group is compared with no other.
    names = {*PRIMARY_FIGURES, "figure_5", "figure_6", "figure_7"} - {"groups"}
    assert {file.name for file in tmp_path.iterdir()} == {
        f"{name}.{suffix}" for name in names for suffix in ("svg", "png")
    }


def test_files_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    result = CASES["recommended, two groups, 2 subjects"]()
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        write_figures(result, tmp_path / folder)
    names = {file.name for file in (tmp_path / "one").iterdir()}
    stems = {*PRIMARY_FIGURES, "model_tests", "variance_partition", "partial_rsa", "multiverse"}
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("svg", "png")}
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert "<dc:date>" not in (tmp_path / "one" / "ceiling_sweep.svg").read_text()


def test_of_very_many_regions_those_with_the_highest_ceiling_are_drawn() -> None:
    result = result_of(ONE, 3, WHOLES[:1], "recommended", multiverse=False)
    (roi,) = result.rois
    ceiling = roi.ceiling.pairwise
    parcels = tuple(
        replace(roi, roi=f"parcel {n}", ceiling=roi.ceiling._replace(pairwise=ceiling + n % 7))
        for n in range(30)
    )
    many = replace(result, primary=replace(result.primary, rois=parcels))
    figures = {stem.name: (draw, view) for stem, draw, view in _figures(many, Path())}
    draw, view = figures["shares_of_ceiling"]
    # Six of 30 have the lowest ceilings: 0, 7, 14, 21, 28 (n % 7 is 0), and one of n % 7 is 1.
    shown = [int(roi.roi.split()[1]) for roi in view.rois]
    assert shown == sorted(shown) and len(shown) == 24
    assert {0, 7, 14, 21, 28}.isdisjoint(shown)
    with style():
        figure = draw(replace(view, rois=(roi,)))
    assert any("of 30 regions with the highest" in text.get_text() for text in figure.texts)
