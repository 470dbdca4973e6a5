"""The command from raw BIDS to tables, on a small data set: what it leaves, killed or not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from commands_in_pages import ROOT, commands_of, words_of
from PIL import Image
from small_demo import STIMULI, SUBJECTS, planted_features, write_pictures
from validation import bids_errors

from conceptrsa import bids_config
from conceptrsa.bids_config import load_dataset_config
from conceptrsa.pipelines.cli import main

MAXIMUM_SECONDS = 300
FEW_DRAWS = ["--n-random-draws", "1"]
FEW_SAMPLES = ["--n-permutations", "100"]


@pytest.fixture(scope="module")
def folder(small_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tutorial is typed: a small data set stands where `conceptrsa demo` puts one."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(small_demo, folder / "demo")
    write_pictures(folder / "demo" / "bids")
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    """`bids` and `features`: two subjects of two runs, and two models."""
    data = folder / "demo"
    (data / "features").mkdir()
    features = list(planted_features().items())[:2]
    for model, values in features:
        np.savez(data / "features" / f"{model}.npz", stimulus=STIMULI, features=values)
    (visual, _), (language, _) = features
    (data / "features" / "models.tsv").write_text(
        f"model\tgroup\n{visual}\tvisual\n{language}\tlanguage\n"
    )
    return data


def tutorial_steps() -> list[str]:
    """What is typed after `conceptrsa demo demo`, which is what `make demo` runs."""
    made, *steps = commands_of(ROOT / "docs" / "tutorial.md")
    assert made == "conceptrsa demo demo" and len(steps) == 8
    return steps


def runs_participants(step: str) -> bool:
    return " participant " in step and "--dry-run" not in step


def participant_command(data: Path, out: Path) -> list[str]:
    return [
        sys.executable, "-m", "conceptrsa", "run", str(data / "bids"), str(out), "participant",
        "--dataset-config", "demo", "--nprocs", "2", "--keep-work",
    ]  # fmt: skip


def run_group(data: Path, out: Path) -> int:
    return main([
        "run", str(data / "bids"), str(out), "group", "--dataset-config", "demo",
        "--features", str(data / "features"), "--n-random-draws", "3",
    ])  # fmt: skip


@pytest.mark.parametrize("case", ["empty region", "no picture", "truncated image"])
def test_wrong_input_ends_before_anything_runs(
    case: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bids, out = data / "bids", tmp_path / "out"
    arguments = ["run", str(bids), str(out), "participant", "--participant-label", "01"]
    config = "demo"
    if case == "empty region":
        text = (Path(bids_config.__file__).parent / "demo.toml").read_text()
        config = str(tmp_path / "other.toml")
        Path(config).write_text(text.replace("[rois]", "[rois]\nnowhere = [9999]"))
        said = "nowhere"
    elif case == "no picture":
        (tmp_path / "pictures").mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / "pictures" / "other.png")
        arguments += ["--stimuli", str(tmp_path / "pictures")]
        said = "thing_00.png"
    else:
        bids = tmp_path / "bids"
        shutil.copytree(data / "bids", bids)
        image = next(bids.glob("sub-01/*/func/*_bold.nii.gz"))
        image.write_bytes(image.read_bytes()[:20000])
        arguments[1] = str(bids)
        said = image.name
    assert main([*arguments, "--dataset-config", config]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not (out / ".work").exists()


@pytest.fixture(scope="module")
def derivatives(folder: Path, data: Path) -> Path:
    """Both levels, undisturbed: the first by the tutorial's command."""
    (step,) = filter(runs_participants, tutorial_steps())
    done = subprocess.run(
        [sys.executable, "-m", "conceptrsa", *words_of(step), "--nprocs", "2", "--keep-work"],
        cwd=folder, capture_output=True, text=True, timeout=MAXIMUM_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "sub-02" in done.stderr and "left" in done.stderr
    assert "nipype" not in done.stderr
    assert run_group(data, folder / "out") == 0
    return folder / "out"


def checksums(out: Path) -> dict[str, str]:
    """Of all results, logs and working files apart."""
    return {
        str(path.relative_to(out)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not {".work", "logs"} & set(path.relative_to(out).parts)
    }


def test_betas_regions_and_transforms_are_there(derivatives: Path) -> None:
    rois = load_dataset_config("demo").rois
    for subject in SUBJECTS:
        folder = derivatives / f"sub-{subject}"
        stem = folder / "func" / f"sub-{subject}_task-perception"
        for half in ("", "_desc-odd", "_desc-even"):
            name = f"{stem}_space-MNI305_res-2_stat-effect{half}_statmap"
            betas = nib.load(f"{name}.nii.gz")
            assert betas.shape == (76, 76, 93, len(STIMULI))
            table = pd.read_csv(f"{name}.tsv", sep="\t")
            assert tuple(table["stimulus"]) == STIMULI
            sidecar = json.loads(Path(f"{name}.json").read_text())
            assert "percent" in sidecar["Units"]
            assert len(sidecar["Sources"]) == (2 if half == "" else 1)
            for source in sidecar["Sources"]:
                raw = source.removeprefix("bids:raw:")
                assert (derivatives.parent / raw).suffix == ".gz"
        coverage = pd.read_csv(f"{stem}_space-MNI305_res-2_desc-coverage_rois.tsv", sep="\t")
        assert list(coverage["roi"]) == [roi.name for roi in rois]
        assert (coverage["coverage"] > 0.7).all()
        for transform in (
            f"{stem}_from-boldref_to-T1w_xfm.txt",
            folder / "anat" / f"sub-{subject}_from-T1w_to-MNI305_xfm.txt",
        ):
            assert np.loadtxt(transform).shape == (4, 4)
        confounds = sorted(folder.glob("func/*_desc-confounds_timeseries.tsv"))
        assert len(confounds) == 2


def test_each_subject_has_a_page_that_nothing_is_missing_from(derivatives: Path) -> None:
    for subject in SUBJECTS:
        html = (derivatives / f"sub-{subject}.html").read_text()
        assert html.count('class="flip"') == 2
        assert html.count('class="run"') == 2
        for missing in ("nothing to look at", "no map of", "no outlines", "not saved"):
            assert missing not in html


def test_sources_name_files_of_the_raw_data_set(data: Path, derivatives: Path) -> None:
    for sidecar in derivatives.glob("sub-*/func/*space-MNI305*statmap.json"):
        for source in json.loads(sidecar.read_text())["Sources"]:
            assert (data / "bids" / source.removeprefix("bids:raw:")).is_file()


def test_the_derivatives_are_valid_bids(derivatives: Path, tmp_path: Path) -> None:
    assert bids_errors(derivatives, tmp_path) == []
    description = json.loads((derivatives / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "conceptrsa"
    assert description["SourceDatasets"]


def test_group_tables_have_the_promised_columns(derivatives: Path) -> None:
    columns = {
        "rsa": "subject roi model group rdm_metric rsa_metric voxel_selection n_voxels rsa ceiling "
        "rsa_normalised",
        "noise_ceilings": "roi selection draw n_voxels ceiling_mean ceiling_sem lower upper",
        "voxel_counts": "subject roi n_voxels",
    }
    for name, expected in columns.items():
        table = pd.read_csv(derivatives / "group" / f"{name}.tsv", sep="\t")
        assert list(table.columns)[: len(expected.split())] == expected.split()
        assert len(table) > 0


@pytest.mark.slow
def test_killed_and_interrupted_runs_end_with_the_same_bytes(
    data: Path, derivatives: Path, tmp_path: Path
) -> None:
    out = tmp_path / "derivatives"
    moments = random.Random(1)
    n_hit = 0
    # The interrupt comes first: a run that goes on from finished steps may be over by then.
    for kill in (signal.SIGINT, signal.SIGKILL, signal.SIGKILL):
        process = subprocess.Popen(
            participant_command(data, out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moments.uniform(6, 16))
        if process.poll() is None:
            n_hit += 1
            if kill == signal.SIGINT:
                os.killpg(process.pid, kill)
                assert process.wait(timeout=60) == 130
            else:
                process.kill()
                process.wait()
    assert n_hit > 0
    done = subprocess.run(
        participant_command(data, out), capture_output=True, text=True, timeout=MAXIMUM_SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert run_group(data, out) == 0
    undisturbed = checksums(derivatives)
    resumed = checksums(out)
    assert set(resumed) == set(undisturbed)
    different = [name for name in resumed if resumed[name] != undisturbed[name]]
    # These name the files the tables were made from, which lie in another folder.
    assert set(different) <= {"group/provenance.json", "group/report.html"}


def test_a_finished_run_started_again_restores_what_was_removed(
    data: Path, derivatives: Path
) -> None:
    before = checksums(derivatives)
    removed = next(derivatives.glob("sub-01/func/*space-MNI305*stat-effect_statmap.nii.gz"))
    removed.unlink()
    done = subprocess.run(participant_command(data, derivatives), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for step in ("slice timing", "realign", "coregister", "normalize", "estimate betas"):
        assert done.stderr.count(f"{step} done (found)") == len(SUBJECTS)
    assert checksums(derivatives) == before


@pytest.mark.slow
def test_the_tutorial_is_run(
    folder: Path, derivatives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From raw data to every comparison in it."""
    pytest.importorskip("torch", reason="needs the extra 'networks'")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    shutil.rmtree(derivatives / "group")
    for step in tutorial_steps():
        if runs_participants(step):  # it made the derivatives
            continue
        fewer = FEW_DRAWS if " group " in step or " compare " in step else []
        fewer = fewer + FEW_SAMPLES if fewer and "paper" not in step else fewer
        if " compare " in step:  # figures are drawn once, by the group level
            monkeypatch.setattr("conceptrsa.analysis.output.write.write_figures", lambda *_: None)
        assert main([*words_of(step), *fewer]) == 0, step
    for table in ("out/group/scores.tsv", "paper/group/rsa.tsv", "own/group/scores.tsv"):
        assert (folder / table).stat().st_size > 0
    assert (folder / "out/group/report.html").exists()
