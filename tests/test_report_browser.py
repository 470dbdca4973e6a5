"""The report in a browser without a network: it opens, reacts, and can be read everywhere."""

import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from report_cases import hostile, pictures_of, planted, planted_result, written_report
from scipy.stats import rankdata

from conceptrsa.analysis.inference.score_influence import influence_on_scores

if importlib.util.find_spec("playwright") is None:
    pytest.skip("playwright is absent (pip install playwright)", allow_module_level=True)

from playwright.sync_api import Browser, Locator, Page, sync_playwright

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium (Debian: apt-get install chromium)"
)

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def planted_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_report(planted(), tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def pictured_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictured")
    return written_report(planted(), folder, pictures_of(planted().stimuli, folder))


@pytest.fixture(scope="module")
def hostile_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_report(hostile(), tmp_path_factory.mktemp("hostile"))


class Opened:
    """A page, what it asked for, and what went wrong."""

    def __init__(self, browser: Browser, file: Path, **options: object) -> None:
        context = browser.new_context(**{"offline": True, "viewport": DESKTOP, **options})
        context.set_default_timeout(5000)
        self.page = context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.address = file.as_uri()
        self.page.goto(self.address)


@pytest.fixture
def page(browser: Browser, planted_file: Path) -> Iterator[Page]:
    opened = Opened(browser, planted_file)
    yield opened.page
    assert opened.complaints == []
    opened.page.context.close()


@pytest.fixture
def pictured(browser: Browser, pictured_file: Path) -> Iterator[Page]:
    opened = Opened(browser, pictured_file)
    yield opened.page
    assert opened.complaints == []
    opened.page.context.close()


@pytest.mark.parametrize("case", ["planted_file", "pictured_file", "hostile_file"])
def test_the_page_opens_offline_without_an_error_or_a_request(
    case: str, browser: Browser, request: pytest.FixtureRequest
) -> None:
    opened = Opened(browser, request.getfixturevalue(case))
    opened.page.locator("#explorer canvas").scroll_into_view_if_needed()
    assert opened.page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert [url for url in opened.requests if not url.startswith("data:")] == [opened.address]
    assert opened.complaints == []
    opened.page.context.close()


@pytest.mark.parametrize("case", ["pictured_file", "hostile_file"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_is_as_wide_as_the_window(
    case: str, viewport: dict[str, int], browser: Browser, request: pytest.FixtureRequest
) -> None:
    opened = Opened(browser, request.getfixturevalue(case), viewport=viewport)
    opened.page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert opened.page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    opened.page.context.close()


def pixels(canvas: Locator) -> str:
    return str(canvas.evaluate("canvas => canvas.toDataURL()"))


def readout(page: Page) -> dict[str, str]:
    return {
        part: page.locator(f"#explorer-readout [data-part={part}]").inner_text()
        for part in ("pair", "brain", "model")
    }


def number_in(text: str) -> float:
    found = re.search(r"(-?\d+\.\d+) \(percentile", text)
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("control", ["region", "source", "model", "scale"])
def test_the_explorer_draws_anew_what_is_chosen(control: str, page: Page) -> None:
    canvas = page.locator("#explorer canvas")
    before = pixels(canvas)
    page.select_option(f"#explorer-{control}", index=1)
    assert pixels(canvas) != before


def test_the_explorer_shows_the_result_of_what_is_chosen(page: Page) -> None:
    result = planted()
    page.select_option("#explorer-region", "deep")
    page.select_option("#explorer-source", result.subjects[2])
    page.select_option("#explorer-model", "text-a")
    roi = result.rois[1]
    score = page.locator("#explorer-score").inner_text()
    model = [model.name for model in result.models].index("text-a")
    assert f"{roi.rsa[2, model]:.3f} (Pearson r)" in score
    found = readout(page)
    assert found["pair"] == "s01 and s00"
    assert number_in(found["brain"]) == pytest.approx(roi.rdms.mean(axis=0)[2, 0], abs=6e-4)
    assert number_in(found["model"]) == pytest.approx(result.model_rdms[model, 0], abs=6e-4)


def test_the_subject_stays_when_the_region_changes(page: Page) -> None:
    page.select_option("#explorer-source", planted().subjects[1])
    page.select_option("#explorer-region", "deep")
    assert page.input_value("#explorer-source") == planted().subjects[1]


@pytest.mark.parametrize("side", ["brain", "model"])
def test_pointing_at_a_cell_tells_its_pair_and_value(side: str, page: Page) -> None:
    result = planted()
    n = len(result.stimuli)
    canvas = page.locator("#explorer canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    side_length = min(460, (box["width"] - 28) / 2) - 2
    left = 1 if side == "brain" else 1 + side_length // 1 + 28
    cell = side_length / n
    canvas.hover(position={"x": left + 3.5 * cell, "y": 26 + 7.5 * cell})
    found = readout(page)
    assert found["pair"] == f"{result.stimuli[7]} and {result.stimuli[3]}"
    first, second = np.triu_indices(n, k=1)
    pair = int(np.flatnonzero((first == 3) & (second == 7))[0])
    rdm = result.rois[0].rdms.mean(axis=(0, 1))
    assert number_in(found["brain"]) == pytest.approx(rdm[pair], abs=6e-4)
    assert number_in(found["model"]) == pytest.approx(result.model_rdms[0, pair], abs=6e-4)


def test_arrow_keys_move_from_pair_to_pair(page: Page) -> None:
    canvas = page.locator("#explorer canvas")
    canvas.focus()
    before = pixels(canvas)
    for key, pair in (
        ("ArrowDown", "s02 and s00"),
        ("ArrowRight", "s02 and s01"),
        ("ArrowUp", "s01 and s01"),
        ("ArrowLeft", "s01 and s00"),
        ("ArrowLeft", "s01 and s00"),
        ("Shift+ArrowDown", "s06 and s00"),
    ):
        page.keyboard.press(key)
        assert readout(page)["pair"] == pair
    assert pixels(canvas) != before


def test_the_explorer_can_be_reached_by_tab(page: Page) -> None:
    page.locator("#explorer-scale").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"


def pictures_in(page: Page, selector: str) -> list[str]:
    addresses = page.locator(f"{selector} img").evaluate_all("all => all.map(one => one.src)")
    return [str(address) for address in addresses]


def pictures_of_page(page: Page) -> list[str]:
    return list(page.evaluate("document.getElementById('explorer').explorer.data.pictures"))


def test_hover_and_arrow_keys_show_the_pictures_of_a_pair(pictured: Page) -> None:
    every = pictures_of_page(pictured)
    assert len(set(every)) == len(planted().stimuli)
    canvas = pictured.locator("#explorer canvas")
    canvas.focus()
    pictured.keyboard.press("Shift+ArrowDown")
    assert readout(pictured)["pair"] == "thing s06 and thing s00"
    assert pictures_in(pictured, "#explorer-readout") == [every[6], every[0]]
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": box["width"] / 2 - 40, "y": 300})
    row, column = pictured.evaluate("document.getElementById('explorer').explorer.pair")
    assert column > 15 and row != 6
    assert pictures_in(pictured, "#explorer-readout") == [every[row], every[column]]


def test_pictures_stand_along_the_edges_of_rdms(pictured: Page, page: Page) -> None:
    leftmost = """canvas => {
        const ratio = window.devicePixelRatio;
        const [top, tall] = [60 * ratio, 300 * ratio];
        const seen = canvas.getContext("2d").getImageData(4 * ratio, top, 1, tall).data;
        const colours = new Set();
        for (let at = 0; at < seen.length; at += 4) colours.add(seen.slice(at, at + 4).join());
        return colours.size;
    }"""
    rows = pictured.locator("#explorer canvas").evaluate(leftmost)
    assert rows >= len(planted().stimuli) / 2
    # Where there are none, the RDM begins there.
    plain = page.locator("#explorer canvas").bounding_box()
    with_pictures = pictured.locator("#explorer canvas").bounding_box()
    assert plain is not None and with_pictures is not None
    assert plain["height"] == with_pictures["height"]


def test_maps_show_each_stimulus_at_the_pointer_and_by_keys(pictured: Page) -> None:
    every = pictures_of_page(pictured)
    brain, model = (pictured.locator(f"#map-{which}") for which in ("brain", "model"))
    assert brain.locator("image").count() == model.locator("image").count() == len(every)
    assert "%" in pictured.locator("#map-brain-title").inner_text()
    brain.locator("[data-stimulus='7']").dispatch_event("pointerover")
    said = pictured.locator("#map-readout")
    assert said.inner_text() == "thing s07" and pictures_in(pictured, "#map-readout") == [every[7]]
    for of in (brain, model):
        assert of.locator(".seen").get_attribute("data-stimulus") == "7"
    model.focus()
    for key, name in (("ArrowRight", "s08"), ("Shift+ArrowLeft", "s03"), ("ArrowUp", "s02")):
        pictured.keyboard.press(key)
        assert said.inner_text() == f"thing {name}"


def test_maps_without_pictures_show_names(page: Page) -> None:
    names = page.locator("#map-brain text").evaluate_all("all => all.map(one => one.textContent)")
    assert sorted(names) == list(planted().stimuli)
    assert page.locator("#map-brain image").count() == 0


def test_a_pair_of_disagreement_leads_to_the_rdms_and_maps(pictured: Page) -> None:
    result = planted()
    pictured.select_option("#explorer-region", "deep")
    pictured.select_option("#explorer-model", "text-a")
    model = [model.name for model in result.models].index("text-a")
    ranks = [
        rankdata(rdm) for rdm in (result.rois[1].rdms.mean(axis=(0, 1)), result.model_rdms[model])
    ]
    first, second = np.triu_indices(len(result.stimuli), k=1)
    for list_, sign in (("farther", 1), ("nearer", -1)):
        pair = int(np.argmax(sign * (ranks[0] - ranks[1])))
        button = pictured.locator(f"#{list_} button").first
        one, other = (result.stimuli[places[pair]] for places in (first, second))
        assert f"thing {one} and thing {other}" in button.inner_text()
        percentiles = [round(100 * (rank[pair] - 1) / (len(first) - 1)) for rank in ranks]
        found = re.search(r"percentile (\d+) in the brain, (\d+) in", button.inner_text())
        assert found is not None
        np.testing.assert_allclose([int(found[1]), int(found[2])], percentiles, atol=1)
        button.focus()
        pictured.keyboard.press("Enter")
        assert readout(pictured)["pair"] == f"thing {other} and thing {one}"
        assert pictured.locator("#map-model .in-pair").count() == 2


def test_stimuli_are_sorted_by_their_influence_on_the_score(pictured: Page) -> None:
    result = planted()
    pictured.select_option("#explorer-region", "V1")
    pictured.select_option("#explorer-model", "visual-b")
    model = [model.name for model in result.models].index("visual-b")
    (influence,) = influence_on_scores(
        result.model_rdms, [result.rois[0].rdms], result.settings.rsa_metric
    ) or [np.empty(0)]
    order = np.argsort(-influence[model])
    names = pictured.locator("#influence-strip .name").all_inner_texts()
    assert names == [f"thing {result.stimuli[place]}" for place in order]
    values = pictured.locator("#influence-strip strong").all_inner_texts()
    numbers = [float(text.replace("\u2212", "-")) for text in values]
    np.testing.assert_allclose(numbers, influence[model][order], atol=6e-5)
    assert (
        f"{result.rois[0].rsa.mean(axis=0)[model]:.3f}"
        in pictured.locator("#influence-of").inner_text()
    )


def test_the_best_model_is_shown_until_another_is_chosen(page: Page) -> None:
    for roi in planted().rois:
        page.select_option("#explorer-region", roi.roi)
        best = planted().models[int(np.argmax(roi.rsa.mean(axis=0)))].name
        assert page.input_value("#explorer-model") == best
    page.select_option("#explorer-model", "text-b")
    page.select_option("#explorer-region", "V1")
    assert page.input_value("#explorer-model") == "text-b"


def column(page: Page, name: str) -> list[str]:
    heads = page.locator("#table-scores thead th").all_inner_texts()
    index = [head.strip() for head in heads].index(name)
    return page.locator(f"#table-scores tbody td:nth-child({index + 1})").all_inner_texts()


def test_tables_are_sorted_by_the_button_in_the_head(page: Page) -> None:
    head = page.locator("#table-scores th", has=page.get_by_role("button", name="rsa", exact=True))
    button = head.get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    values = [float(text) for text in column(page, "rsa")]
    assert values == sorted(values) and len(set(values)) > 2
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(page, "rsa")] == values[::-1]
    page.locator("#table-scores th button", has_text="model").first.click()
    assert page.locator("#table-scores th[aria-sort]").count() == 1
    names = column(page, "model")
    assert names == sorted(names)


def test_missing_values_come_last_in_both_directions(page: Page) -> None:
    button = page.get_by_role("button", name="normalised", exact=True)
    for _ in range(2):
        button.click()
        values = column(page, "normalised")
        n_missing = values.count("n/a")
        assert 0 < n_missing < len(values)
        assert values[-n_missing:] == ["n/a"] * n_missing


def test_tables_are_filtered_by_all_words(page: Page) -> None:
    page.fill("#table-scores-filter", "V1 TEXT")
    assert column(page, "model") == ["text-a", "text-b"]
    count = page.locator("output[for=table-scores-filter]")
    assert count.inner_text() == "2 of 2 matching rows (of 8) are shown"
    page.fill("#table-scores-filter", "")
    assert len(column(page, "model")) == 8


def test_rows_that_are_not_shown_take_part(page: Page) -> None:
    box = page.locator("[data-table=table-rsa]")
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    rows = box.locator("tbody tr")
    n_rows = len(planted().subjects) * len(planted().rois) * len(planted().models)
    assert rows.count() < n_rows
    box.locator("input").fill(f"{planted().subjects[-1]} deep text-b")
    assert rows.count() == 1
    box.locator("input").fill("")
    box.get_by_role("button", name="Show more").click()
    assert rows.count() == n_rows


def test_the_skip_link_is_the_first_stop_and_seen_when_focused(page: Page) -> None:
    page.keyboard.press("Tab")
    link = page.locator("a.skip")
    assert page.evaluate("document.activeElement.className") == "skip"
    box = link.bounding_box()
    assert box is not None and box["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def contrast(page: Page, selector: str) -> float:
    """Ratio of luminances of an element's text and of what lies behind it, after WCAG 2."""
    ink, paper = page.locator(selector).first.evaluate(
        """element => {
            const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
            let behind = element;
            const clear = (colour) => colour.length > 3 && colour[3] === 0;
            while (clear(numbers(getComputedStyle(behind).backgroundColor))) {
                behind = behind.parentElement;
            }
            return [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor]
                .map(numbers);
        }"""
    )

    def luminance(colour: list[float]) -> float:
        shares = np.array(colour[:3]) / 255
        linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_colour_schemes(
    scheme: str, browser: Browser, planted_file: Path
) -> None:
    opened = Opened(browser, planted_file, color_scheme=scheme)
    for selector in (
        ".answer p", ".subtitle", ".note", ".warnings li", "main a", ".contents a",
        "#table-scores th button", "#table-scores td", ".pairs dt", "#explorer-readout strong",
    ):  # fmt: skip
        assert contrast(opened.page, selector) >= 4.5, selector
    assert opened.complaints == []
    opened.page.context.close()


def test_on_paper_there_is_neither_navigation_nor_a_field(
    browser: Browser, planted_file: Path
) -> None:
    opened = Opened(browser, planted_file, color_scheme="dark")
    opened.page.emulate_media(media="print", color_scheme="light")
    for selector in (".contents", ".skip", "[data-table=table-scores] input"):
        assert not opened.page.locator(selector).is_visible()
    assert opened.page.locator("#table-scores").is_visible()
    assert contrast(opened.page, ".answer p") > 15
    opened.page.context.close()


def test_the_explorer_is_printed_in_black_and_in_shape(
    browser: Browser, planted_file: Path
) -> None:
    opened = Opened(browser, planted_file, color_scheme="dark")
    canvas = opened.page.locator("#explorer canvas")
    darkest_of_title = """canvas => {
        const found = canvas.getContext("2d").getImageData(0, 0, canvas.width, 24).data;
        let darkest = 255;
        for (let at = 0; at < found.length; at += 4) {
            if (found[at + 3] > 200) darkest = Math.min(darkest, found[at]);
        }
        return darkest;
    }"""
    assert canvas.evaluate(darkest_of_title) > 150
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert canvas.evaluate(darkest_of_title) < 50
    opened.page.emulate_media(media="print")
    opened.page.set_viewport_size({"width": 700, "height": 900})
    box = canvas.bounding_box()
    assert box is not None
    shape = canvas.evaluate("canvas => canvas.width / canvas.height")
    assert box["width"] / box["height"] == pytest.approx(shape, rel=0.02)
    opened.page.context.close()


def test_what_is_folded_is_printed_where_it_matters(page: Page) -> None:
    open_parts = "[...document.querySelectorAll('details.print-open')].map(part => part.open)"
    before = page.evaluate(open_parts)
    assert not all(before)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert all(page.evaluate(open_parts))
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(open_parts) == before
    assert page.locator("details.print-open img").count() == 4


def test_a_link_opens_what_it_leads_to(page: Page) -> None:
    link = page.get_by_role("link", name="Noise ceiling", exact=True)
    figure = page.locator("#figure-ceiling_sweep")
    assert not figure.is_visible()
    link.focus()
    page.keyboard.press("Enter")
    figure.wait_for(state="visible")
    page.locator("#figures-1").evaluate("part => { part.open = false; }")
    link.click()
    figure.wait_for(state="visible")
    figure.get_by_role("link", name="Its numbers").click()
    page.locator("#table-noise_ceilings").wait_for(state="visible")


def test_the_contents_stay_beside_the_page_where_it_is_wide(page: Page) -> None:
    contents = page.locator(".contents")
    page.set_viewport_size({"width": 1400, "height": 900})
    page.locator("#provenance").scroll_into_view_if_needed()
    box, main = contents.bounding_box(), page.locator("main").bounding_box()
    assert box is not None and main is not None
    assert 0 <= box["y"] < 100 and box["x"] + box["width"] < main["x"]
    page.set_viewport_size({"width": 1100, "height": 900})
    page.locator("#provenance").scroll_into_view_if_needed()
    box = contents.bounding_box()
    assert box is not None and box["y"] < 0


@pytest.mark.parametrize("with_scripts", [True, False])
def test_hemispheres_take_the_place_of_whole_regions(
    with_scripts: bool, browser: Browser, tmp_path: Path
) -> None:
    result = planted_result(truth={"V1": "visual", "V1-left": "visual"}, n_subjects=3)
    file = written_report(result, tmp_path)
    opened = Opened(browser, file, java_script_enabled=with_scripts)
    whole, hemispheres = (
        opened.page.locator(f"#figure-scores{suffix}") for suffix in ("", "_hemispheres")
    )
    assert whole.is_visible() and not hemispheres.is_visible()
    opened.page.locator("#show-wholes").focus()
    opened.page.keyboard.press("ArrowRight")
    assert hemispheres.is_visible() and not whole.is_visible()
    opened.page.emulate_media(media="print")
    assert hemispheres.is_visible() and whole.is_visible()
    assert opened.complaints == []
    opened.page.context.close()


def test_the_best_models_are_sorted_by_their_scores(page: Page) -> None:
    page.locator("#best-models").get_by_role("button", name="score", exact=True).click()
    cells = page.locator("#best-models tbody td:nth-child(3)").all_inner_texts()
    scores = [float(cell.split()[0].replace("\u2212", "-")) for cell in cells]
    assert len(scores) == 2 and scores == sorted(scores)


def test_tables_and_answer_are_there_without_scripts(browser: Browser, planted_file: Path) -> None:
    opened = Opened(browser, planted_file, java_script_enabled=False)
    assert opened.page.locator("#table-scores tbody tr").count() == 8
    assert opened.page.locator(".headline").is_visible()
    assert not opened.page.locator("#table-scores-filter").is_visible()
    opened.page.context.close()


@pytest.mark.parametrize(
    ("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"]
)
def test_axe_finds_no_barrier(
    viewport: dict[str, int], scheme: str, browser: Browser, pictured_file: Path
) -> None:
    """Rules of WCAG and of good practice (axe-core), with all that is folded opened."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = Opened(browser, pictured_file, viewport=viewport, color_scheme=scheme)
    opened.page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    # What is opened is measured, and scripts react to it, with the next frames.
    opened.page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    found = axe.Axe().run(opened.page).response["violations"]
    barriers = [(rule["impact"], rule["id"], rule["nodes"][0]["html"]) for rule in found]
    assert barriers == []
    assert opened.complaints == []
    opened.page.context.close()
