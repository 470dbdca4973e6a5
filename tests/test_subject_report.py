"""The page of a subject holds the right numbers, says what is missing, and opens offline."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from subject_derivatives import (
    AFFINE,
    DATA_SET,
    DISPLACEMENT,
    MOTION,
    REGION,
    STIMULUS,
    TASK,
    TSNR,
    change_sidecar,
    write_subject,
)

from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.time_series import open_time_series, temporal_snr
from conceptrsa.interfaces.numerics.transforms import rigid_matrix, write_matrix
from conceptrsa.interfaces.python.quality_images import (
    AnatomicalViews,
    fine_grid,
    framewise_displacement,
)
from conceptrsa.pipelines.bids.dataset import SubjectInputs
from conceptrsa.pipelines.participants import write_page
from conceptrsa.pipelines.reports.heads import Heads
from conceptrsa.pipelines.reports.mosaics import lay_out
from conceptrsa.pipelines.reports.run_plots import acquisition_order
from conceptrsa.pipelines.reports.subject_page import write_subject_page
from conceptrsa.pipelines.reports.subject_records import read_subject

CHROMIUM = Path("/usr/bin/chromium")
LARGEST_PAGE = 10e6  # bytes
FUNC = f"sub-01/func/sub-01_task-{TASK}"
BETAS = f"{FUNC}_space-MNI305_res-2_stat-effect_statmap.json"


class Tables(HTMLParser):
    """Texts of the cells of each table, by its id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self._table = ""
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self._table = dict(attrs)["id"]
            self.rows[self._table] = []
        elif tag == "tr":
            self.rows[self._table].append([])
        elif tag in ("td", "th"):
            self._in_cell = True
            self.rows[self._table][-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.rows[self._table][-1][-1] += data.strip()


@pytest.fixture
def out_dir(tmp_path: Path) -> Path:
    write_subject(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of derivatives that nothing is missing from."""
    folder = tmp_path_factory.mktemp("derivatives")
    write_subject(folder)
    return page_of(folder, (REGION, "only 75% of the region x has betas"))


def page_of(out_dir: Path, warnings: tuple[str, ...] = ()) -> str:
    return write_subject_page(out_dir, "01", TASK, warnings).read_text()


def section(html: str, name: str) -> str:
    """Visible text of a section; pictures are left out."""
    found = re.search(rf'<section id="{name}">(.*?)</section>', html, re.S)
    assert found
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", found[1])).split())


def run_file(tmp_path: Path, series: np.ndarray) -> Path:
    """A run whose voxels lie along one axis; series is (voxels, volumes)."""
    path = tmp_path / "run.nii"
    nib.save(nib.Nifti1Image(series[:, None, None, :].astype(np.float32), np.eye(4)), path)
    return path


def test_tsnr_of_planted_series(tmp_path: Path) -> None:
    # Orthogonal to the constant and to the line, so that the residual is the pattern itself.
    pattern = np.array([1, -1, -1, 1, 1, -1, -1, 1.0])
    time = np.arange(8)
    series = np.stack([
        100 + 2 * pattern,
        100 + 3.0 * time + 2 * pattern,
        np.full(8, 70.0),
        50 + 0.25 * time,
        -100 + 2 * pattern,
    ])  # fmt: skip
    found = temporal_snr(open_time_series(run_file(tmp_path, series)))[:, 0, 0]
    deviation = np.sqrt(8 * 2.0**2 / (8 - 2))
    expected = [100 / deviation, (100 + 3 * 3.5) / deviation, 0, 0, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_tsnr_is_that_of_a_least_squares_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    series = rng.normal(1000, 8, size=(6, 40)) + 0.4 * np.arange(40)
    series = series.astype(np.float32)
    found = temporal_snr(open_time_series(run_file(tmp_path, series)))[:, 0, 0]
    line = np.column_stack([np.ones(40), np.arange(40)])
    _, squares, *_ = np.linalg.lstsq(line, series.T.astype(float), rcond=None)
    np.testing.assert_allclose(found, series.mean(axis=1) / np.sqrt(squares / 38), rtol=1e-4)


def test_two_volumes_have_no_tsnr(tmp_path: Path) -> None:
    run = open_time_series(run_file(tmp_path, np.array([[100.0, 101.0]])))
    assert temporal_snr(run).max() == 0


def test_views_of_the_t1w_lie_where_the_matrices_say(tmp_path: Path) -> None:
    # Trilinear interpolation of a ramp is exact: values are coordinates of the T1w's world.
    direction = np.array([1.0, -2, 0.5])
    t1w_affine = np.diag([4.0, 4, 4, 1])
    t1w_affine[:3, 3] = -200
    points = nib.affines.apply_affine(t1w_affine, np.moveaxis(np.indices((100,) * 3), 0, -1))
    nib.save(
        nib.Nifti1Image((points @ direction).astype(np.float32), t1w_affine), tmp_path / "t1w.nii"
    )
    bold = nib.Nifti1Image(
        np.zeros((10, 12, 8), np.float32),
        rigid_matrix([5, 6, 7], [0.1, 0, 0.2]) @ np.diag([3, 3, 4, 1]),
    )
    nib.save(bold, tmp_path / "bold.nii")
    bold_to_t1w = rigid_matrix(np.array([3.0, -4, 5]), np.array([0.05, 0.1, -0.2]))
    t1w_to_mni305 = np.diag([1.1, 1.05, 1.2, 1])
    write_matrix(tmp_path / "to_t1w.txt", bold_to_t1w)
    write_matrix(tmp_path / "to_mni305.txt", t1w_to_mni305)
    views = (
        AnatomicalViews(
            t1w_file=str(tmp_path / "t1w.nii"),
            boldref_file=str(tmp_path / "bold.nii"),
            bold_to_t1w_file=str(tmp_path / "to_t1w.txt"),
            t1w_to_mni305_file=str(tmp_path / "to_mni305.txt"),
        )
        .run(cwd=str(tmp_path))
        .outputs
    )
    for file, to_t1w in (
        (views.t1w_boldref_file, bold_to_t1w),
        (views.t1w_mni305_file, np.linalg.inv(t1w_to_mni305)),
    ):
        image = nib.load(file)
        voxels = np.moveaxis(np.indices(image.shape), 0, -1)
        there = nib.affines.apply_affine(to_t1w @ image.affine, voxels)
        inside = ((there > -199) & (there < 195)).all(axis=-1)
        assert inside.mean() > 0.9
        np.testing.assert_allclose(
            image.get_fdata()[inside], (there @ direction)[inside], atol=0.01
        )
    assert nib.load(views.t1w_mni305_file).shape == mni305_grid.SHAPE


def test_the_fine_grid_covers_the_field_of_view() -> None:
    coarse = nib.Nifti1Image(
        np.zeros((10, 12, 8)),
        rigid_matrix(np.ones(3), np.array([0.3, 0, 0])) @ np.diag([3, 3, 4, 1]),
    )
    shape, affine = fine_grid(coarse)
    assert shape == (20, 24, 22)
    np.testing.assert_allclose(nib.affines.voxel_sizes(affine), 1.5)
    outer = nib.affines.apply_affine(affine, [-0.5, -0.5, -0.5])
    np.testing.assert_allclose(outer, nib.affines.apply_affine(coarse.affine, [-0.5, -0.5, -0.5]))


def test_planes_have_the_left_to_the_left_and_the_top_up() -> None:
    box = (np.array([-60.0, -80, -40]), np.array([60.0, 60, 50]))
    mosaic = lay_out(box, box, n_columns=3)
    by_plane = {label.plane: label for label in mosaic.labels if label.column == 0}
    for axis, (plane, right, up) in enumerate(
        (("sagittal", 1, 2), ("coronal", 0, 2), ("axial", 0, 1))
    ):
        label = by_plane[plane]
        corner = mosaic.points[label.row + 20 :, label.column : label.column + label.width]
        assert corner[0, -1, right] > corner[0, 0, right]
        assert corner[0, 0, up] > corner[5, 0, up]
        assert corner[0, 0, axis] == corner[5, 5, axis]
    assert [label.text for label in mosaic.labels[:3]] == ["z = −25", "z = 5", "z = 35"]


def test_slices_of_one_moment_share_a_place_in_the_order() -> None:
    assert acquisition_order(np.array([0.5, 0.0, 1.0, 0.5, 0.0])) == [2, 1, 3, 2, 1]


def test_the_table_of_runs_holds_the_planted_numbers(html: str) -> None:
    np.testing.assert_allclose(framewise_displacement(MOTION), DISPLACEMENT, atol=1e-12)
    header, *rows = Tables(html).rows["runs"]
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert [run["run"] for run in found] == ["ses-a run-01", "ses-a run-02"]
    for run, tsnr in zip(found, TSNR, strict=True):
        assert run["volumes"] == "5"
        assert run["TR (s)"] == "3"
        assert float(run["tSNR"]) == tsnr
        assert run["mean FD (mm)"] == f"{np.nanmean(DISPLACEMENT):.2f}"
        assert run["max FD (mm)"] == "0.60"
        # 0.6 and 0.5005 lie above the limit, 0.5 does not.
        assert run["FD > 0.5 mm"] == "2"
        assert run["shift (mm)"] == "0.60"
        assert run["turn (rad)"] == "0.0200"


def test_regions_have_their_coverage_and_tsnr(html: str) -> None:
    _, *rows = Tables(html).rows["coverage"]
    mean = f"{np.mean(TSNR):.1f}"
    assert rows == [
        ["hippocampus", "40", "30", "75.0%", mean, "2.3"],
        [REGION, "50", "50", "100.0%", mean, "n/a"],
    ]


def test_regions_are_found_where_the_betas_went(out_dir: Path) -> None:
    record = read_subject(out_dir, "01", TASK)
    region = Heads(record).region(record.regions[1])
    centre = nib.affines.apply_affine(AFFINE, np.argwhere(region)).mean(axis=0)
    np.testing.assert_allclose(centre, [-35, -60, -10], atol=1.5)
    shift = rigid_matrix(np.array([12.0, 0, 0]), np.zeros(3))
    write_matrix(out_dir / f"{FUNC}_from-boldref_to-T1w_xfm.txt", shift)
    moved = Heads(record).region(record.regions[1])
    centre = nib.affines.apply_affine(AFFINE, np.argwhere(moved)).mean(axis=0)
    np.testing.assert_allclose(centre, [-47, -60, -10], atol=1.5)


def test_every_section_is_there(html: str) -> None:
    assert "only 75% of the region x has betas" in section(html, "warnings")
    assert "4 of 10 volumes" in section(html, "motion")
    assert html.count('class="flip"') == 2
    assert "volume ml" in section(html, "t1w") and "1005" in section(html, "t1w")
    assert 'alt="Planes through the T1w in MNI305' in html
    assert "relative to the first volume of the first run" in section(html, "motion")
    assert "4 slices at 2 moments" in section(html, "slices")
    assert "1.5 s after its start" in section(html, "slices")
    assert "5 volumes by 3 columns" in section(html, "design")
    assert "50.0 to 80.0" in section(html, "tsnr")
    assert "2 in 1 session" in section(html, "ran")
    assert "/is/no/longer/there" in section(html, "ran")
    assert "High-pass filter (s) 128" in section(html, "ran")
    assert "numpy 2.0.0" in section(html, "ran")
    assert section(html, "coregistration").endswith("method by hand nmi 1.25")
    assert section(html, "each").count("2 of high motion") == 2
    assert html.count("<img ") == html.count('src="data:image/png;base64,') == 17
    assert "None:" not in section(html, "warnings")


def test_what_is_missing_is_said(out_dir: Path) -> None:
    for pattern in ("*T1w.nii.gz", "*tsnr*", "*_design.tsv", "*desc-coverage_rois.json"):
        files = list((out_dir / "sub-01").glob(f"*/{pattern}"))
        assert files
        for file in files:
            file.unlink()
    html = page_of(out_dir)
    assert "None:" in section(html, "warnings")
    assert "so there is no picture" in section(html, "coregistration")
    assert "so there is no picture" in section(html, "normalization")
    assert "so there is no picture" in section(html, "t1w")
    assert "no outlines" in section(html, "regions")
    assert "no tSNR map of: ses-a run-01, ses-a run-02" in section(html, "tsnr")
    assert "not saved" in section(html, "slices")
    assert "not saved" in section(html, "design")
    assert 'class="flip"' not in html
    _, first, _ = Tables(html).rows["runs"]
    assert first[2:4] == ["n/a", "n/a"]
    assert [row[-2] for row in Tables(html).rows["coverage"][1:]] == ["n/a", "n/a"]


def test_one_missing_map_leaves_the_others(out_dir: Path) -> None:
    next((out_dir / "sub-01/func").glob("*run-01*tsnr_boldmap.nii.gz")).unlink()
    assert "no tSNR map of: ses-a run-01." in section(page_of(out_dir), "tsnr")
    record = read_subject(out_dir, "01", TASK)
    summary = Heads(record).summarize_tsnr()
    assert summary.medians == (None, TSNR[1])
    assert summary.mean is not None
    assert summary.mean.max() == TSNR[1]


def test_spm_and_freesurfer_are_told_apart(out_dir: Path) -> None:
    for name in ("txt", "json"):
        source = out_dir / f"{FUNC}_from-boldref_to-T1w_xfm.{name}"
        source.with_name(source.name.replace("to-T1w", "to-fsnative")).write_bytes(
            source.read_bytes()
        )
    change_sidecar(
        out_dir / BETAS,
        Estimation={
            "Engine": "spm", "Normalization": "FreeSurfer, EPI to reconstruction by header",
        },
    )  # fmt: skip
    change_sidecar(
        out_dir / "sub-01/anat/sub-01_from-T1w_to-MNI305_xfm.json",
        method="talairach.xfm of FreeSurfer",
    )
    html = page_of(out_dir)
    assert "relative to the first volume of each run" in section(html, "motion")
    assert "by FreeSurfer, EPI to reconstruction by header" in section(html, "coregistration")
    assert "so nothing was registered" in section(html, "normalization")


def test_runs_of_fmriprep_say_what_is_not_known(out_dir: Path) -> None:
    change_sidecar(out_dir / BETAS, Estimation={"Engine": "spm", "Preprocessing": "fMRIPrep 25"})
    for sidecar in out_dir.glob("sub-01/func/*tsnr_boldmap.json"):
        sidecar.write_text('{"RepetitionTime": 3.0, "StartTime": 1.5}')
    html = page_of(out_dir)
    assert "relative to the reference image of each run" in section(html, "motion")
    assert "Preprocessed by fMRIPrep 25" in section(html, "ran")
    assert "their slice times are unknown" in section(html, "slices")


def test_names_are_escaped(html: str) -> None:
    for name in (STIMULUS, DATA_SET, REGION):
        assert name not in html
    assert unescape(html).count(REGION) >= 3
    assert DATA_SET in unescape(html)
    assert html.count("<script>") == 2


def test_the_same_derivatives_give_the_same_page(html: str, out_dir: Path) -> None:
    assert page_of(out_dir, (REGION, "only 75% of the region x has betas")) == html


def test_a_page_that_cannot_be_made_is_a_note(out_dir: Path) -> None:
    subject = SubjectInputs("01", out_dir / "T1w.nii", ())
    assert write_page(out_dir, subject, TASK, []) == []
    earlier = (out_dir / "sub-01.html").read_bytes()
    (out_dir / f"{FUNC}_desc-mean_boldref.nii.gz").write_bytes(b"no image")
    (note,) = write_page(out_dir, subject, TASK, [])
    assert "desc-mean_boldref.nii.gz" in note
    assert (out_dir / "sub-01.html").read_bytes() == earlier


@pytest.mark.slow
def test_thirty_five_runs_make_a_page_that_can_be_sent(tmp_path: Path) -> None:
    write_subject(tmp_path, n_runs=35)
    assert len(page_of(tmp_path)) < LARGEST_PAGE


def test_the_page_works_in_a_browser_without_a_network(out_dir: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is absent")
    page_file = write_subject_page(out_dir, "01", TASK, [REGION])
    said: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM))
        page = browser.new_context(offline=True).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: said.append(request.url))
        page.goto(page_file.as_uri())
        assert [url for url in said if not url.startswith("data:")] == [page_file.as_uri()]
        assert page.evaluate(
            "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
        )
        figure = page.locator("#flip-coregistration")
        first, second = figure.locator(".first"), figure.locator(".second")
        assert first.bounding_box() == second.bounding_box()
        assert not second.is_visible()

        button = figure.locator("button")
        button.focus()
        page.keyboard.press("Enter")
        assert second.is_visible()
        assert button.get_attribute("aria-pressed") == "true"
        button.click()
        assert not second.is_visible()

        page.keyboard.press("f")
        assert second.is_visible()
        assert page.locator("#flip-normalization .second").is_visible()
        page.keyboard.press("f")
        figure.locator(".pictures").hover()
        assert second.is_visible()
        page.mouse.move(0, 0)
        assert not second.is_visible()

        page.emulate_media(media="print")
        assert second.is_visible()
        assert second.bounding_box()["y"] > first.bounding_box()["y"]
        browser.close()
    assert [text for text in said if not text.startswith(("data:", "file:"))] == []
