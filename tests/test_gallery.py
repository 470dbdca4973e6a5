"""The examples of the gallery run, and find what they planted."""

import runpy
import tempfile
import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from commands_in_pages import ROOT

from conceptrsa import ComparisonWarning

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "docs" / "examples"
PLANTED = {
    "betas_to_answer": {"V1": "ResNet50", "IT": "CLIP"},
    "layers": {"early": "EfficientNet-Lite0@blocks.1.1", "late": "EfficientNet-Lite0@global_pool"},
    "one_subject": {"IT": "CLIP"},
    "own_distance": {"LO": "shape", "V4": "colour"},
    "own_rdms": {"early": "appearance", "late": "category"},
    "paper_preset": {},
    "reading_the_statistics": {"IT": "content"},
    "regions_of_an_atlas": {"occipital": "network", "fusiform": "network"},
    "subjects_with_own_stimuli": {"IT": "CLIP"},
    "the_report": {"V1": "image-1", "FFA": "category", "hippocampus": "text-1"},
}
"""The model that is above zero and highest, by region."""


def run(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ComparisonWarning)
        made = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    plt.close("all")
    return made


def test_every_example_is_listed() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.py")} == set(PLANTED)
    listed = (ROOT / "docs" / "gallery_settings.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in listed for name in PLANTED)


@pytest.mark.parametrize("name", PLANTED)
def test_the_planted_models_are_found(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if name == "layers":
        pytest.importorskip("timm", reason="needs the extra 'networks'")
    made = run(name, monkeypatch, tmp_path)
    result = made.get("own") or made["result"]
    if name == "paper_preset":
        assert result.settings.preset == "paper"
        return
    scores = result.scores
    best = scores.loc[scores.groupby("roi", sort=False)["rsa"].idxmax()]
    related = best[best["p_max"] < 0.05]
    assert dict(zip(related["roi"], related["model"], strict=True)) == PLANTED[name]
