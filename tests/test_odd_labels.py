"""Pictures without labels: known before any network runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supplied_data as data
from odd_inputs import settings as odd

import conceptrsa.analysis.models.features
import conceptrsa.pipelines.cli.run_comparison
from conceptrsa.analysis.files.stimuli import read_stimuli
from conceptrsa.analysis.models.features import extract_features
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.cli import main

Ran = list[str]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    """Names of the networks that would run; each gives noise."""
    names: Ran = []

    def features(job: Any, progress: Any) -> list[conceptrsa.analysis.models.features.Features]:
        names.append(job.entry.name)
        ids = tuple(stimulus.id for stimulus in job.stimuli)
        values = np.random.default_rng(len(names)).standard_normal((len(ids), 20))
        return [
            conceptrsa.analysis.models.features.Features(
                job.entry.name, job.entry.group, ids, values
            )
        ]

    monkeypatch.setattr(conceptrsa.analysis.models.features._Job, "features", features)
    return names


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the comparison on small betas and these pictures; gives exit code and result."""
    results: list[ComparisonResult] = []
    monkeypatch.setattr(
        conceptrsa.pipelines.cli.run_comparison,
        "write_comparison",
        lambda result, *_: results.append(result),
    )
    data.write_rdms(tmp_path / "betas")

    def run(pictures: Path, *options: str) -> tuple[int, ComparisonResult | None]:
        code = main([
            "compare", "--betas", str(tmp_path / "betas"), "--stimuli", str(pictures), "--out",
            str(tmp_path / "out"), "--n-permutations", "100",
            "--cache-dir", str(tmp_path / "cache"), "--offline", *options,
        ])  # fmt: skip
        return code, results[-1] if results else None

    return run


def test_language_models_that_nobody_named_are_left_out_with_a_note(
    compare: Any, ran: Ran, tmp_path: Path
) -> None:
    code, result = compare(odd.pictures(tmp_path / "pictures", data.STIMULI))
    assert code == 0 and "MiniLM" not in ran and "EfficientNet-Lite0" in ran
    assert result is not None and "MiniLM" not in [model.name for model in result.models]
    assert (
        "left out, because the pictures have no labels: MiniLM; to include them, add labels.tsv "
        "(columns stimulus, label) to the folder of the pictures"
    ) in result.warnings


def test_a_language_model_that_was_named_is_refused_at_once(
    compare: Any, ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = odd.pictures(tmp_path / "pictures", data.STIMULI)
    for models in (["EfficientNet-Lite0", "MiniLM"], ["paper"]):
        assert compare(pictures, "--models", *models)[0] == 2
        said = capsys.readouterr().err
        assert f"{pictures} has no labels.tsv, but " in said and "leave it out of --mod" in said
    # Betas were not read either.
    command = ["compare", "--betas", str(tmp_path), "--betas-format", "rdms", "--out", "out"]
    assert main([*command, "--stimuli", str(pictures), "--models", "minilm"]) == 2
    assert "but MiniLM needs labels" in capsys.readouterr().err
    group = ["run", "bids", str(tmp_path), "group", "--stimuli", str(pictures)]
    assert main([*group, "--models", "MiniLM"]) == 2
    assert "but MiniLM needs labels" in capsys.readouterr().err
    assert ran == []


def test_a_label_that_is_missing_is_known_before_any_network_runs(
    compare: Any, ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = odd.pictures(tmp_path / "pictures", data.STIMULI, data.STIMULI[:-1])
    assert compare(pictures)[0] == 2
    assert f"add a row for '{data.STIMULI[-1]}' to labels.tsv" in capsys.readouterr().err
    assert ran == []
    with pytest.raises(InputError, match="has no label, which MiniLM needs"):
        models = ["EfficientNet-Lite0", "MiniLM"]
        extract_features(read_stimuli(pictures), models, tmp_path / "cache")
    assert ran == []


def test_with_labels_all_models_run(compare: Any, ran: Ran, tmp_path: Path) -> None:
    code, result = compare(odd.pictures(tmp_path / "pictures", data.STIMULI, data.STIMULI))
    assert code == 0 and "MiniLM" in ran
    assert result is not None and not any("left out" in note for note in result.warnings)


def test_features_says_which_models_it_left_out(
    ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = odd.pictures(tmp_path / "pictures", data.STIMULI)
    assert main(["features", str(pictures), str(tmp_path / "features")]) == 0
    assert "note: left out, because the pictures have no labels: MiniLM" in capsys.readouterr().out
    assert "MiniLM" not in ran
