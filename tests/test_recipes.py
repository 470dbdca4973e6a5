"""Every recipe of docs/recipes.md, run as it stands on a small data set with a planted answer."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import single_trials
from commands_in_pages import ROOT
from small_demo import STIMULI as SMALL_STIMULI
from small_demo import planted_features
from standard_space import SPACE, write_data_set

from conceptrsa.bids_config.desikan_killiany import region_names

_PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)

N_STIMULI = 40
STIMULI = [f"picture{number:02d}" for number in range(1, N_STIMULI + 1)]


def run_recipe(heading: str, folder: Path) -> None:
    """Run the blocks under a heading of the page one after the other in a folder."""
    text = _PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = _BLOCK.findall(text)
    assert blocks, heading
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    for language, code in blocks:
        command = ["sh", "-euc", code] if language == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def answer(folder: Path, alpha: float = 0.05) -> dict[str, str]:
    """Model of the highest score by region, in the order of the table, where it is related."""
    assert (folder / "group" / "report.html").is_file()
    scores = pd.read_csv(folder / "group" / "scores.tsv", sep="\t")
    best = {
        roi: of_roi.loc[of_roi["rsa"].idxmax()] for roi, of_roi in scores.groupby("roi", sort=False)
    }
    return {roi: str(row["model"]) for roi, row in best.items() if row["p_max"] < alpha}


def features_of(seed: int, n_features: int = 20) -> np.ndarray:
    """What a model makes of the stimuli, (stimuli, features)."""
    return np.random.default_rng(seed).standard_normal((N_STIMULI, n_features))


MODELS = {"CLIP": features_of(1), "ResNet50": features_of(2)}
PLANTED = {"V1": "ResNet50", "hippocampus": "CLIP"}


def betas_of(subject: int, model: str, n_voxels: int = 60, n_runs: int = 4) -> np.ndarray:
    """Betas (runs, stimuli, voxels) that carry a model's features, with noise."""
    rng = np.random.default_rng(subject)
    signal = MODELS[model] @ rng.standard_normal((20, n_voxels))
    return signal + 6 * rng.standard_normal((n_runs, N_STIMULI, n_voxels))


WEAK = 0.5
"""Few runs of few stimuli: the planted model is ahead, not always by much."""

VISUAL_REGIONS = {"visual": "EfficientNet-Lite0", "fusiform": "EfficientNet-Lite0-early"}
"""What the small demo plants there."""


def write_planted_features(folder: Path) -> None:
    folder.mkdir()
    for model, values in planted_features().items():
        np.savez(folder / f"{model}.npz", stimulus=SMALL_STIMULI, features=values)


def test_raw_bids_data_with_another_task_and_other_regions(
    small_demo: Path, tmp_path: Path
) -> None:
    pytest.importorskip("deepbet", reason="finds the brain in T1w images")
    bids = tmp_path / "bids"
    shutil.copytree(small_demo / "bids", bids)
    for file in sorted(bids.rglob("*task-perception*")):
        if file.suffix == ".json":
            file.write_text(file.read_text().replace("perception", "objects"))
        file.rename(file.with_name(file.name.replace("task-perception", "task-objects")))
    write_planted_features(tmp_path / "models")
    run_recipe("Raw BIDS data, with another task and other regions", tmp_path)
    assert answer(tmp_path / "out", WEAK) == VISUAL_REGIONS


def test_fmriprep_in_mni_space_and_events(tmp_path: Path) -> None:
    made = write_data_set(tmp_path)
    made.raw.rename(tmp_path / "bids")
    atlas = made.func("01", f"{SPACE}_desc-aparcaseg_dseg.nii.gz")
    shutil.copy(atlas, tmp_path / "parcels.nii.gz")
    there = set(np.unique(np.asarray(nib.load(atlas).dataobj)).tolist())
    rows = [f"{label}\t{name}" for label, name in region_names().items() if label in there]
    (tmp_path / "parcels.tsv").write_text("\n".join(["index\tname", *rows]))
    write_planted_features(tmp_path / "models")
    run_recipe("fMRIPrep in MNI space, and events", tmp_path)
    assert answer(tmp_path / "out", WEAK) == VISUAL_REGIONS


def test_arrays_in_a_notebook(tmp_path: Path) -> None:
    (tmp_path / "betas").mkdir()
    (tmp_path / "features").mkdir()
    (tmp_path / "stimuli.txt").write_text("\n".join(STIMULI) + "\n")
    for model, values in MODELS.items():
        np.save(tmp_path / "features" / f"{model}.npy", values)
    for subject in range(1, 5):
        for roi, model in PLANTED.items():
            np.save(tmp_path / "betas" / f"sub-{subject:02d}_{roi}.npy", betas_of(subject, model))
    run_recipe("Arrays in a notebook", tmp_path)
    assert answer(tmp_path / "out") == PLANTED


@pytest.mark.parametrize(("recipe", "n_subjects"), [("Patterns of regions", 4), ("One subject", 1)])
def test_patterns_of_regions(tmp_path: Path, recipe: str, n_subjects: int) -> None:
    (tmp_path / "betas").mkdir()
    (tmp_path / "models").mkdir()
    for model, values in MODELS.items():
        np.savez(tmp_path / "models" / f"{model}.npz", stimulus=STIMULI, features=values)
    for subject in range(1, n_subjects + 1):
        betas = {f"{roi}/betas": betas_of(subject, model) for roi, model in PLANTED.items()}
        np.savez(tmp_path / "betas" / f"sub-{subject:02d}.npz", stimulus=STIMULI, **betas)
    run_recipe(recipe, tmp_path)
    assert answer(tmp_path / "out") == PLANTED


def test_rdms_of_another_lab(tmp_path: Path) -> None:
    real = ROOT.parent / "shared" / "data" / "algonauts2019_92images"
    if not real.is_dir():
        pytest.skip("the 92 images of Algonauts 2019 are not beside the project")
    pytest.importorskip("timm", reason="needs the extra 'networks'")
    (tmp_path / "rdms.npz").symlink_to(real / "rdms.npz")
    (tmp_path / "stimuli").symlink_to(real / "stimuli")
    run_recipe("RDMs of another lab", tmp_path)
    scores = pd.read_csv(tmp_path / "out" / "group" / "scores.tsv", sep="\t")
    assert list(scores["roi"].unique()) == ["EVC", "IT"]
    late = scores[scores["model"] == "EfficientNet-Lite0"].set_index("roi")
    assert late.loc["IT", "rsa"] == pytest.approx(0.140, abs=0.0015)
    assert late.loc["EVC", "rsa"] == pytest.approx(0.0425, abs=0.003)
    assert answer(tmp_path / "out") == {"IT": "EfficientNet-Lite0"}


def test_betas_of_glmsingle_and_an_atlas(tmp_path: Path) -> None:
    design = single_trials.small_design()
    single_trials.write_glmsingle(tmp_path / "glmsingle", "hdf5", design)
    single_trials.write_atlas(tmp_path / "parcels.nii.gz")
    single_trials.write_features(tmp_path / "models", list(design.names))
    rows = [f"{number},{name}.png" for number, name in enumerate(design.names, start=1)]
    (tmp_path / "conditions.csv").write_text("\n".join(["condition,stimulus", *rows]))
    run_recipe("Betas of GLMsingle and an atlas", tmp_path)
    assert answer(tmp_path / "out") == {"early": "early", "late": "late"}


def test_a_subset_of_nsd(tmp_path: Path) -> None:
    single_trials.write_nsd(tmp_path / "nsd")
    ids = single_trials.nsd_ids()[0, : single_trials.N_SHARED]
    single_trials.write_features(tmp_path / "nsd_models", [f"nsd{id_:05d}" for id_ in ids])
    run_recipe("A subset of NSD", tmp_path)
    assert answer(tmp_path / "out") == {"early": "early", "late": "late"}
