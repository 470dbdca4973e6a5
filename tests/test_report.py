"""The report of a comparison, read as a text: what it says, and that names stay names."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_cases import (
    HOSTILE_MODEL,
    HOSTILE_NOTE,
    HOSTILE_REGION,
    HOSTILE_STIMULUS,
    hostile,
    planted,
    planted_result,
    written_report,
)

from conceptrsa.analysis.output.figures.captions import CAPTIONS
from conceptrsa.analysis.output.report import contents, explorer
from conceptrsa.analysis.output.report.answer_table import answer_tables
from conceptrsa.analysis.output.report.contents import (
    TABLES,
    embed_figures,
    read_tables,
    shortened,
)
from conceptrsa.analysis.output.report.explorer import (
    encode,
    explorer_data,
    rdms_to_show,
)
from conceptrsa.analysis.output.report.methods import describe_methods
from conceptrsa.analysis.output.report.rendering import (
    by_column,
    embed_as_webp,
    embed_picture,
    render_page,
)
from conceptrsa.analysis.results import ComparisonResult

KINDS = ("wholes", "hemispheres")


class Page(HTMLParser):
    """All elements of a page with their attributes and the text inside them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._script: dict[str, str | None] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs)
            self.scripts.append((self._script, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.text += data
        else:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = (attributes, text + data)

    def data(self, id_: str) -> object:
        return next(json.loads(text) for found, text in self.scripts if found.get("id") == id_)


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    file = written_report(hostile(), tmp_path_factory.mktemp("hostile"))
    return Page(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def group_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_report(planted(), tmp_path_factory.mktemp("planted")).parent


@pytest.fixture(scope="module")
def page(group_dir: Path) -> Page:
    return Page((group_dir / "report.html").read_text(encoding="utf-8"))


def test_names_do_not_become_elements(hostile_page: Page) -> None:
    tags = [tag for tag, _ in hostile_page.elements]
    assert not {"i", "b"} & set(tags)
    assert all("onerror" not in attributes for _, attributes in hostile_page.elements)
    scripts = [found for found, _ in hostile_page.scripts if "type" not in found]
    assert len(scripts) == 5
    for name in (HOSTILE_MODEL, HOSTILE_REGION, HOSTILE_NOTE, "{{ 7 * 7 }}"):
        assert name in hostile_page.text
    assert "49 (language)" not in hostile_page.text


def test_names_survive_in_the_data_of_the_explorer(hostile_page: Page) -> None:
    data = hostile_page.data("explorer-data")
    assert isinstance(data, dict)
    assert HOSTILE_STIMULUS in data["names"]
    assert data["models"][0]["name"] == HOSTILE_MODEL
    assert data["regions"][0]["name"] == HOSTILE_REGION


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    for tag, attributes in page.elements:
        if "src" in attributes:
            assert str(attributes["src"]).startswith("data:image/")
        if tag == "link":
            assert attributes["href"] == "data:,"
        assert not {"srcset", "style", "background", "action", "data"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert not {"iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.elements}
    assert "@import" not in page.text and "url(" not in page.text


def test_the_policy_allows_these_scripts_only(page: Page) -> None:
    policy = next(
        attributes["content"]
        for _, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None and policy.startswith("default-src 'none';")
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    run = [text for attributes, text in page.scripts if "type" not in attributes]
    assert allowed == [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run
    ]


def test_links_within_the_page_and_beside_it_lead_somewhere(page: Page, group_dir: Path) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        target = str(attributes.get("href", ""))
        if tag != "a" or target.startswith("https://doi.org/"):
            continue
        if target.startswith("#"):
            assert target[1:] in ids
        else:
            assert (group_dir / target).exists()


def test_every_figure_and_table_is_in_the_page(page: Page, group_dir: Path) -> None:
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == len(list((group_dir / "figures").glob("*.svg"))) > 0
    assert all(attributes["alt"] for attributes in pictures)
    in_page = {str(found["id"]) for tag, found in page.elements if tag == "table" and "id" in found}
    with_rows = [file for file in group_dir.glob("*.tsv") if file.read_text().count("\n") > 1]
    assert {f"table-{file.stem}" for file in with_rows} <= in_page


def test_warnings_stand_before_figures_and_all_of_them(page: Page) -> None:
    assert planted().warnings
    for warning in planted().warnings:
        assert page.text.index(warning) < page.text.index(CAPTIONS["ceiling_sweep"]["title"])


def test_of_many_warnings_the_first_are_open_and_none_is_lost(tmp_path: Path) -> None:
    many = tuple(f"warning {number}" for number in range(15))
    text = written_report(replace(planted(), warnings=many), tmp_path).read_text()
    assert all(text.count(f"<li>{warning}</li>") == 1 for warning in many)
    folded = text[text.index("<summary>7 more</summary>") :]
    assert "<li>warning 7</li>" not in folded and "<li>warning 8</li>" in folded


def test_the_same_result_gives_the_same_bytes(group_dir: Path, tmp_path: Path) -> None:
    again = written_report(planted(), tmp_path)
    for name in ("report.html", "CITATION.bib"):
        assert (again.parent / name).read_bytes() == (group_dir / name).read_bytes()


def test_every_figure_has_words() -> None:
    assert all({"title", "shows", "topic"} <= set(words) for words in CAPTIONS.values())


def test_figures_are_embedded_with_every_pixel_in_fewer_bytes(group_dir: Path) -> None:
    file = group_dir / "figures" / "scores.png"
    address = embed_as_webp(file)
    assert address.startswith("data:image/webp;base64,")
    assert len(address) < len(embed_picture(file)) / 2
    content = base64.b64decode(address.partition(",")[2])
    with Image.open(file) as written, Image.open(BytesIO(content)) as embedded:
        np.testing.assert_array_equal(np.asarray(written.convert("RGB")), np.asarray(embedded))


def test_a_figure_that_no_webp_holds_is_embedded_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "long.png"
    Image.new("RGB", (16_384, 1)).save(file)
    assert embed_as_webp(file) == embed_picture(file)


def test_three_figures_are_open_and_the_others_folded_by_topic(group_dir: Path) -> None:
    figures = embed_figures(planted(), group_dir / "figures")
    assert [drawing.first.id for drawing in figures.open] == [
        "figure-scores", "figure-groups", "figure-model_tests",
    ]  # fmt: skip
    assert [topic.title for topic in figures.topics] == ["Noise ceiling", "What models share"]
    text = (group_dir / "report.html").read_text(encoding="utf-8")
    folded = text[text.index('id="figures-1"') : text.index('id="explore"')]
    ids = re.findall(r'<figure id="figure-(\w+)"', folded)
    assert ids == ["shares_of_ceiling", "ceiling_sweep", "variance_partition", "partial_rsa"]
    assert not figures.has_both and 'id="show-hemispheres"' not in text


def test_of_whole_regions_and_hemispheres_one_is_seen_at_a_time(tmp_path: Path) -> None:
    result = planted_result(truth={"V1": "visual", "V1-left": "visual"}, n_subjects=3)
    text = written_report(result, tmp_path).read_text(encoding="utf-8")
    kinds = [re.findall(rf'<figure id="(\S+)" class="of-{kind}"', text) for kind in KINDS]
    assert [f"{name}_hemispheres" for name in kinds[0]] == kinds[1] != []
    assert text.index('id="show-wholes" checked') < text.index('id="show-hemispheres"')
    assert [table.name for table in answer_tables(result)] == [
        "best-models", "best-models-hemispheres",
    ]  # fmt: skip


def test_figures_and_tables_lead_to_their_files(page: Page, group_dir: Path) -> None:
    links = {
        str(found["href"]) for tag, found in page.elements if tag == "a" and "download" in found
    }
    files = [*(group_dir / "figures").iterdir(), *group_dir.glob("*.tsv")]
    with_rows = [
        file for file in files if file.suffix != ".tsv" or "\n" in file.read_text().strip()
    ]
    assert links == {file.relative_to(group_dir).as_posix() for file in with_rows}


def test_a_page_can_be_rendered_from_another_package() -> None:
    text = render_page("base.html.j2", package="conceptrsa.analysis.output.report", title="<x> & y")
    assert "<title>&lt;x&gt; &amp; y</title>" in text
    assert any(
        str(attributes.get("content", "")).endswith("script-src 'none'")
        for _, attributes in Page(text).elements
    )


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def decoded(coded: dict[str, Any]) -> np.ndarray:
    """Numbers as the page's script computes them."""
    low, high, missing, text = coded["low"], coded["high"], 2 ** coded["bits"] - 1, coded["steps"]
    if coded["bits"] == 6:
        steps = np.array([LETTERS.index(letter) for letter in text])
    else:
        steps = np.frombuffer(base64.b64decode(text), dtype="<u2").astype(int)
    return np.where(steps == missing, np.nan, low + steps * (high - low) / (missing - 1))


@pytest.mark.parametrize("bits", [6, 16])
@pytest.mark.parametrize(
    "distances", [[0.1, 0.7, np.nan, 1.9], [0.5, 0.5, 0.5], [np.nan, np.nan], [-2.0, 3.0, 0.0]]
)
def test_distances_come_back_from_6_or_16_bits(distances: list[float], bits: explorer.Bits) -> None:
    values = np.array(distances)
    back = decoded(encode(values, bits))
    span = np.nanmax(values) - np.nanmin(values) if any(np.isfinite(values)) else 0.0
    half_a_step = 0.5 * span / (2**bits - 2)
    np.testing.assert_allclose(back, values, rtol=0, atol=half_a_step * 1.01)


def explored(result: ComparisonResult) -> dict[str, Any] | None:
    rdms = rdms_to_show(result)
    assert rdms is not None
    return explorer_data(result, rdms)


def test_the_explorer_holds_the_rdms_and_scores_of_the_result() -> None:
    result = planted()
    data = explored(result)
    assert data is not None
    for region, roi in zip(data["regions"], result.rois, strict=True):
        mean, *subjects = region["sources"]
        assert [source["name"] for source in subjects] == list(result.subjects)
        rdms = roi.rdms.mean(axis=0)
        np.testing.assert_allclose(decoded(mean["rdm"]), rdms.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(mean["scores"], roi.rsa.mean(axis=0), atol=1e-6)
        for source, rdm, scores in zip(subjects, rdms, roi.rsa, strict=True):
            np.testing.assert_allclose(decoded(source["rdm"]), rdm, atol=1e-4)
            np.testing.assert_allclose(source["scores"], scores, atol=1e-6)
    for model, rdm in zip(data["models"], result.model_rdms, strict=True):
        np.testing.assert_allclose(decoded(model["rdm"]), rdm, atol=1e-4)


def test_the_explorer_leaves_out_what_no_page_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    result = planted()
    n_pairs = result.model_rdms.shape[-1]
    n_means = len(result.rois) + len(result.models)
    n_rdms = n_means + len(result.rois) * len(result.subjects)
    for n_bits, form in (
        (16 * n_rdms, (16, 16)),
        (16 * n_means + 6 * (n_rdms - n_means), (16, 6)),
        (16 * n_means, (16, None)),
        (6 * n_means, (6, None)),
    ):
        monkeypatch.setattr(explorer, "MAX_CHARACTERS", n_bits * n_pairs / 6)
        data = explored(result)
        assert data is not None
        coded = [source["rdm"] for source in data["regions"][0]["sources"]]
        assert len(coded) == (1 if form[1] is None else 1 + len(result.subjects))
        assert (coded[0]["bits"], form[1] and coded[1]["bits"]) == form
        model = data["models"][0]["rdm"]
        step = 1.01 * (model["high"] - model["low"]) / (2 ** model["bits"] - 2)
        np.testing.assert_allclose(decoded(model), result.model_rdms[0], atol=step / 2)
    monkeypatch.setattr(explorer, "MAX_CHARACTERS", n_means * n_pairs - 1)
    assert explored(result) is None


def test_a_single_subject_is_explored() -> None:
    result = planted_result(truth={"V1": "visual"}, n_subjects=1, voxel_selection="all")
    data = explored(result)
    assert data is not None
    ((source,),) = (region["sources"] for region in data["regions"])
    assert source["name"] == result.subjects[0]
    rdm, models = decoded(source["rdm"]), [decoded(model["rdm"]) for model in data["models"]]
    found = [np.corrcoef(rdm, model)[0, 1] for model in models]
    np.testing.assert_allclose(found, result.rois[0].rsa[0], atol=1e-3)


def test_cells_are_shortened_and_nothing_else() -> None:
    assert shortened("0.123456") == "0.1235"
    assert shortened("1234567") == "1234567"
    assert shortened("-12") == "-12"
    assert shortened("1.5e-09") == "1.5e-09"
    assert shortened("n/a") == "n/a"


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {"subject": ["01", "02"], "roi": ["1.23456", "7"], "rsa": ["0.123456", "n/a"]}
    )
    rows.to_csv(tmp_path / "rsa.tsv", sep="\t", index=False)
    (table,) = read_tables(tmp_path)
    assert table.rows == [["01", "1.23456", "0.1235"], ["02", "7", "n/a"]]
    assert [column.numeric for column in table.columns] == [False, False, True]


def test_long_tables_say_what_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rois = [f"region {number}" for number in range(40)]
    scores = pd.DataFrame({
        "roi": np.repeat(rois, 50), "model": [f"m{number}" for number in range(50)] * 40,
        "rsa": np.random.default_rng(0).random(2000),
    })  # fmt: skip
    scores.to_csv(tmp_path / "scores.tsv", sep="\t", index=False)
    sweep = pd.DataFrame({"selection": ["top", "random"] * 50, "n_voxels": np.arange(100)})
    sweep.to_csv(tmp_path / "noise_ceilings.tsv", sep="\t", index=False)
    whole, other = read_tables(tmp_path)
    assert len(whole.rows) == 2000 and "the file has all" not in whole.note
    monkeypatch.setattr(contents, "MAX_CHARACTERS", 10_000)
    table, other = read_tables(tmp_path)
    assert len(other.rows) == 50 and {row[0] for row in other.rows} == {"top"}
    assert "50 of 100 rows where selection is top" in other.note
    assert len(other.first_rows) < len(other.rows)
    assert sum(len(json.dumps(by_column(one.rows))) for one in (table, other)) < 11_000
    assert f"The page holds {len(table.rows)} of 2,000 rows; the file has all" in table.note
    # Of every region the best are there.
    n_each = len(table.rows) // len(rois)
    best = scores.sort_values("rsa", ascending=False).groupby("roi").head(n_each)
    found = {(row[0], row[1]) for row in table.rows}
    assert n_each > 2 and set(zip(best["roi"], best["model"], strict=True)) <= found


def test_rows_are_sorted_within_regions_and_empty_tables_and_columns_are_left_out(
    tmp_path: Path,
) -> None:
    rows = pd.DataFrame({
        "roi": ["V1", "V1", "V1", "IT", "IT"],
        "se_both": "n/a",
        "model": list("abcde"),
        "rsa": ["0.1", "n/a", "0.3", "0.2", "0.4"],
    })  # fmt: skip
    rows.to_csv(tmp_path / "scores.tsv", sep="\t", index=False)
    rows[:0].to_csv(tmp_path / "ceilings.tsv", sep="\t", index=False)
    (table,) = read_tables(tmp_path)
    assert [column.name for column in table.columns] == ["roi", "model", "rsa"]
    assert [row[1] for row in table.rows] == ["c", "a", "b", "e", "d"]
    assert all(column.words for column in table.columns if column.name != "model")


def test_a_study_by_the_recommended_preset_shows_nothing_of_the_paper(
    page: Page, group_dir: Path
) -> None:
    shown = [page.text, *(str(value) for _, found in page.elements for value in found.values())]
    of_paper = re.compile(r"\bFigure \d|the paper|ResNet50|hippocampus|Choksi|[Tt]able 1\b")
    assert not [text for text in shown if of_paper.search(text)]
    files = [file for file in group_dir.rglob("*") if file.is_file() and file.suffix != ".png"]
    assert not [file.name for file in files if of_paper.search(file.read_text(encoding="utf-8"))]
    assert not list(group_dir.rglob("*figure_*"))


def test_the_title_names_the_study_and_the_version(tmp_path: Path) -> None:
    page = Page(written_report(planted(), tmp_path).read_text(encoding="utf-8"))
    assert f"{HOSTILE_NOTE}: which neural network explains which brain region?" in page.text
    assert f"preset recommended; conceptrsa {version('conceptrsa')}." in page.text


def columns_of(table: list[Any]) -> list[list[str]]:
    """Columns of a table as the page's script reads them."""
    return [
        [column["texts"][place] for place in column["places"]]
        if isinstance(column, dict)
        else column
        for column in table
    ]


def test_columns_name_each_text_once_and_come_back() -> None:
    rows = [("V1", "a"), ("V1", "b"), ("V1", "c"), ("IT", "d")]
    coded = by_column(rows)
    assert coded == [{"texts": ["V1", "IT"], "places": [0, 0, 0, 1]}, ["a", "b", "c", "d"]]
    assert list(zip(*columns_of(coded), strict=True)) == rows


def test_all_rows_of_a_table_are_in_the_page(page: Page, group_dir: Path) -> None:
    longest = max(
        (file for file in group_dir.glob("*.tsv") if file.stem != "noise_ceilings"),
        key=lambda file: len(file.read_text().splitlines()),
    )
    embedded = [json.loads(text) for found, text in page.scripts if found.get("class") == "rows"]
    lengths = [len(columns_of(table)[0]) for table in embedded]
    assert len(lengths) == len(list(read_tables(group_dir)))
    assert max(lengths) == len(longest.read_text().splitlines()) - 1


def test_every_table_that_can_be_written_is_described() -> None:
    source = Path(contents.__file__).parents[1] / "tables.py"
    names = re.findall(r'^        "(\w+)": ', source.read_text(), flags=re.MULTILINE)
    assert set(TABLES) == {*names, "published_check"}


def test_the_file_of_citations_holds_what_the_methods_cite(group_dir: Path) -> None:
    text = (group_dir / "CITATION.bib").read_text(encoding="utf-8")
    keys = re.findall(r"^@\w+\{(\w+),$", text, flags=re.MULTILINE)
    cited = [reference.key for reference in describe_methods(planted()).references]
    assert keys == ["conceptrsa", *cited]
    assert text.count("{") == text.count("}")
