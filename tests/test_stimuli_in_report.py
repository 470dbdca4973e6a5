"""What the report shows of stimuli: pictures, labels, maps, and their influence on scores."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rdm_study import write_study
from report_cases import planted
from scipy.spatial.distance import pdist, squareform

from conceptrsa.analysis.files.stimuli import Stimulus, find_stimulus_pictures
from conceptrsa.analysis.inference import score_influence
from conceptrsa.analysis.inference.score_influence import influence_on_scores
from conceptrsa.analysis.library import Comparison
from conceptrsa.analysis.output.report.explorer import stimuli_data
from conceptrsa.analysis.output.report.stimulus_maps import place_stimuli
from conceptrsa.analysis.output.report.thumbnails import Thumbnails, make_thumbnails
from conceptrsa.analysis.rsa.correlations import correlate_rdms
from conceptrsa.analysis.settings import RsaMetric, rsa_metric_of
from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.cli import main


def test_maps_of_points_in_a_plane_are_these_points() -> None:
    points = np.random.default_rng(0).standard_normal((12, 2))
    placed = place_stimuli(pdist(points, "sqeuclidean"))
    assert placed is not None and placed.share == pytest.approx(1)
    np.testing.assert_allclose(np.linalg.norm(placed.places, axis=1).max(), 1)
    ratio = pdist(placed.places) / pdist(points)
    np.testing.assert_allclose(ratio, ratio[0])
    # Of correlation distances the map shows the first principal components of the patterns.
    patterns = np.random.default_rng(1).standard_normal((12, 30))
    placed = place_stimuli(pdist(patterns, "correlation"))
    scaled = patterns - patterns.mean(axis=1, keepdims=True)
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    spread = np.linalg.svd(scaled - scaled.mean(axis=0), compute_uv=False) ** 2
    assert placed is not None and placed.share == pytest.approx(spread[:2].sum() / spread.sum())
    assert place_stimuli(np.ones(6)) is None and place_stimuli(np.array([1, np.nan, 2])) is None


@pytest.mark.parametrize("metric", ["pearson", "spearman", "kendall-tau-a", "whitened-cosine"])
def test_influence_is_what_a_score_loses_without_a_stimulus(metric: RsaMetric) -> None:
    rng = np.random.default_rng(0)
    n, latent = 24, rng.standard_normal((24, 4))
    brain = np.array(
        [[pdist(latent + 0.5 * rng.standard_normal((n, 4))) for _ in range(3)] for _ in range(2)]
    )
    models = np.array([pdist(latent + rng.standard_normal((n, 4))) for _ in range(2)])
    found = influence_on_scores(models, [brain], metric)
    assert found is not None
    (influence,) = found
    np.testing.assert_allclose(influence.sum(axis=1), 0, atol=1e-9)

    def scores(kept: np.ndarray) -> np.ndarray:
        def among(rdms: np.ndarray) -> np.ndarray:
            return np.array([squareform(squareform(rdm)[np.ix_(kept, kept)]) for rdm in rdms])

        of_folds = [correlate_rdms(among(one), among(models), metric) for one in brain]
        return np.mean(of_folds, axis=(0, 1))

    everyone = np.arange(n)
    lost = np.array([scores(everyone) - scores(np.delete(everyone, one)) for one in everyone]).T
    lost -= lost.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(influence, lost, atol=0.15 * np.abs(lost).max())


def test_influence_is_left_out_where_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    models = np.random.default_rng(0).random((2, 15))
    assert influence_on_scores(models, [models[None]], "pearson") is not None
    assert influence_on_scores(models, [models[None]], rsa_metric_of(lambda a, b: 0.0)) is None
    monkeypatch.setattr(score_influence, "MOST_PRODUCTS", 2 * 2 * 15 * 14)
    assert influence_on_scores(models, [models[None]], "kendall-tau-a") is None


def picture(file: Path, mode: str = "RGB", side: int = 300, **options: Any) -> Path:
    noise = np.random.default_rng(side).integers(0, 255, (side, side // 2, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(file, **options)
    return file


def test_odd_pictures_become_thumbnails_within_the_budget(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    picture(tmp_path / "b.jpg", "CMYK")
    picture(tmp_path / "c.png", "L")
    rotated = Image.Exif()
    rotated[0x0112] = 6
    picture(tmp_path / "d.jpg", exif=rotated)
    Image.new("RGBA", (90, 30), (0, 0, 0, 0)).save(tmp_path / "e.png")
    (tmp_path / "f.png").write_text("no picture")
    Image.fromarray(np.full((40, 40), 65535, np.uint16)).save(tmp_path / "g.png")
    picture(tmp_path / "h.jpg").with_name("labels.tsv").write_text(
        "stimulus\tlabel\na\tdog\nb\tdog\nc\tcat\n"
    )
    stimuli = [*"abcdefgh", "z"]
    data, notes = stimuli_data(stimuli, find_stimulus_pictures(tmp_path))
    assert data["names"] == ["dog (a)", "dog (b)", "cat", *"defgh", "z"]
    assert notes == ("These pictures cannot be read: f.png.", "There is no picture of z.")
    thumbnails = [
        Image.open(BytesIO(base64.b64decode(address.split(",")[1]))) if address else None
        for address in data["pictures"]
    ]
    assert [place for place, found in enumerate(thumbnails) if found is None] == [5, 8]
    sizes = [found.size for found in thumbnails if found is not None]
    assert sizes == [(60, 40), (48, 96), (48, 96), (96, 48), (90, 30), (40, 40), (48, 96)]
    pixels = [np.asarray(found.convert("RGB"))[5, 5] for found in thumbnails if found is not None]
    red, clear, white = pixels[0], pixels[4], pixels[5]
    assert red[0] > 200 > 60 > red[2] and clear.min() > 240 and white.min() > 240
    files = [tmp_path / "b.jpg", None, tmp_path / "h.jpg"]
    assert len(make_thumbnails(files, budget=3000).addresses) == 3
    assert sum(map(len, make_thumbnails(files, budget=3000).addresses)) <= 3000
    assert make_thumbnails(files, budget=100) == Thumbnails(too_many=True)


def test_what_cannot_be_shown_is_said_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a text")
    data, (note,) = stimuli_data(["a"], find_stimulus_pictures(tmp_path))
    assert data == {"names": ["a"], "pictures": []}
    assert note.startswith(f"No pictures are shown: {tmp_path} holds no picture")
    (tmp_path / "labels.tsv").write_text("name\n")
    _, notes = stimuli_data(["a"], find_stimulus_pictures(tmp_path))
    assert notes[1].startswith("No labels are shown: ")


def test_features_and_pictures_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = write_study(tmp_path)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("s0", "s1", "s2", "s3"):
        picture(folder / f"{name}.jpg")
    (folder / "s4.jpg").write_text("no picture")
    (folder / "labels.tsv").write_text("stimulus\tlabel\ns0\tgrey wolf\n")
    assert main([*command, "--stimuli", str(folder)]) == 0
    page = (tmp_path / "out" / "group" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp;base64") >= 4 and '"grey wolf","s1","s2"' in page
    assert "These pictures cannot be read: s4.jpg." in page
    assert main([*command, "--stimuli", str(tmp_path / "typo")]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_a_result_is_saved_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conceptrsa.analysis.output.write.write_figures", lambda *given: None)
    result = Comparison(planted())
    with pytest.raises(InputError, match="typo is not a folder"):
        result.save(tmp_path, stimuli=tmp_path / "typo")
    assert not (tmp_path / "group").exists()
    stimuli = [Stimulus("s03", picture(tmp_path / "s03.png"), "grey wolf")]
    page = (result.save(tmp_path, stimuli) / "report.html").read_text(encoding="utf-8")
    assert '"s02","grey wolf","s04"' in page and page.count("data:image/webp;base64") == 1
