"""Every command of docs/supplied_data.md, as it stands there, and what goes wrong on the way."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import supplied_data as data

import conceptrsa.pipelines.cli.run_comparison
from conceptrsa.analysis.results import ComparisonResult
from conceptrsa.pipelines.cli import main

PAGE = Path(__file__).resolve().parents[1] / "docs" / "supplied_data.md"
EVERY_COMMAND = re.findall(
    r"^conceptrsa (compare .+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
)
TRIALS = re.compile(r"--betas (glmsingle|nsd|betas_csv) ")
"""Single trials, whose commands `test_single_trials.py` runs on betas of their own."""
COMMANDS = [command for command in EVERY_COMMAND if not TRIALS.search(command)]
FEW_SAMPLES = ["--n-permutations", "100"]
FEW_DRAWS = ["--n-random-draws", "1", "--no-multiverse"]
FORMS = (
    "derivatives", "paper_betas", "spm_models", "statmaps", "maps", "betas.tsv", "patterns",
    "roi_tables", "rdms",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page speaks of, under the names that it has there."""
    folder = tmp_path_factory.mktemp("documented")
    data.write_atlas(folder / "aparc+aseg.nii.gz")
    data.write_atlas(folder / "parcels.nii.gz")
    names = "index\tname\n17\thippocampus\n1011\tlh.visual\n2011\trh.visual\n"
    (folder / "parcels.tsv").write_text(names)
    data.write_per_subject_atlases(folder / "atlases")
    data.write_derivatives(folder / "derivatives")
    data.write_run_betas(folder / "derivatives")
    data.write_paper_layout(folder / "paper_betas")
    data.write_spm(folder / "spm_models")
    data.write_statmaps(folder / "statmaps")
    data.write_table(folder / "betas.tsv")
    data.write_roi_patterns(folder / "patterns")
    data.write_effect_maps(folder / "maps")
    data.write_roi_tables(folder / "roi_tables")
    data.write_rdms(folder / "rdms")
    data.write_rdm_tables(folder / "rdm_tables")
    data.write_models(folder / "models")
    name = "Schaefer2018_400Parcels_7Networks_order"
    data.write_atlas(folder / "nilearn_data" / "schaefer_2018" / f"{name}_FSLMNI152_1mm.nii.gz")
    labels = "17\t7Networks_LH_Limbic_1\n1011\t7Networks_LH_Vis_1\n2011\t7Networks_RH_Vis_1\n"
    (folder / "nilearn_data" / "schaefer_2018" / f"{name}.txt").write_text(
        labels.replace("\n", "\t1\t2\t3\t0\n")
    )
    (folder / "small.toml").write_text(data.CONFIG)
    return folder


@pytest.fixture
def results(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[ComparisonResult]:
    """Collects results in place of writing them with all their figures."""
    written: list[ComparisonResult] = []

    def keep(result: ComparisonResult, *others: Any, **more: Any) -> None:
        written.append(result)

    monkeypatch.chdir(root)
    monkeypatch.setenv("NILEARN_DATA", str(root / "nilearn_data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    monkeypatch.setattr(conceptrsa.pipelines.cli.run_comparison, "write_comparison", keep)
    return written


def run(command: str) -> int:
    fast = [] if "--preset paper" in command else FEW_SAMPLES
    if "--betas rdm" not in command:
        fast = [*fast, *FEW_DRAWS]
    # The small atlas has one hippocampus.
    words = shlex.split(command.replace("=17,53", "=17"))
    return main([*words, "--dataset-config", "small.toml", *fast])


def test_the_page_shows_every_form() -> None:
    for form in (*FORMS, "rdm_tables"):
        assert any(f"--betas {form} " in command for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs(command: str, results: list[ComparisonResult]) -> None:
    assert run(command) == 0
    (result,) = results
    assert result.subjects == ("sub-01", "sub-02", "sub-03")
    assert result.stimuli == data.STIMULI
    other = "limbic" if "schaefer" in command else "hippocampus"
    assert [roi.roi for roi in result.primary.rois] == ["visual", other]
    models = ["ResNet50", "CLIP", "BERT", "animacy"]
    if "--models" in command:
        models = ["ResNet50", "animacy"]
    assert [model.name for model in result.models] == models


def test_every_form_gives_the_same_scores(results: list[ComparisonResult]) -> None:
    for form in FORMS:
        atlas = form in ("spm_models", "paper_betas", "statmaps", "maps", "betas.tsv")
        options = "--atlas aparc+aseg.nii.gz" if atlas else ""
        if form != "rdms":
            options += " --voxel-selection all"
        options += " --features models --preset paper --out results"
        assert run(f"compare --betas {form} {options}") == 0
    for result in results[1:]:
        for first, other in zip(results[0].primary.rois, result.primary.rois, strict=True):
            np.testing.assert_allclose(other.rsa, first.rsa, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--betas spm_models", "needs a label volume"),
        ("--betas nowhere", "nowhere is missing"),
        ("--betas models", "no betas in a known form"),
        ("--betas patterns --atlas aparc+aseg.nii.gz", "its own regions"),
        (
            "--betas paper_betas --atlas aparc+aseg.nii.gz --voxel-selection top-n",
            "no betas of odd and even runs",
        ),
        ("--betas spm_models --atlas aparc+aseg.nii.gz --conditions x*", "is a stimulus"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    arguments: str, said: str, results: list[ComparisonResult], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"compare {arguments} --features models --out results") == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and not results
    assert len([line for line in error.splitlines() if line.startswith("conceptrsa: ")]) == 1


def test_the_paper_s_numbers_are_in_the_report(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setattr("conceptrsa.analysis.output.write.write_figures", lambda *_: None)
    command = next(c for c in COMMANDS if "--betas paper_betas " in c)
    out = f"--out {shlex.quote(str(tmp_path))} --preset paper --check-paper"
    assert run(f"{re.sub(r'--(out|preset) [^ ]+', '', command)} {out}") == 0
    said = re.search(r"(\d+) of (\d+) agree, (\d+) could not", capsys.readouterr().out)
    assert said is not None
    table = pd.read_csv(tmp_path / "group" / "published_check.tsv", sep="\t")
    assert (table["agrees"].count(), table["agrees"].isna().sum()) == (int(said[2]), int(said[3]))
    page = (tmp_path / "group" / "report.html").read_text(encoding="utf-8")
    assert "Against the published numbers" in page
