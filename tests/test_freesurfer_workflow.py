"""From raw data to regions with FreeSurfer's programs in the workflow, stand-ins for all of them.

The stand-ins compute by formulas of their own (`fake_freesurfer`), so that a matrix taken the wrong
way round, or an output wired to the wrong input, gives betas in other places than the embedded
arithmetic does on the same reconstruction. They prove nothing about FreeSurfer itself.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import fake_freesurfer
import h5py
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from small_demo import STIMULI, write_brain_mask
from validation import bids_errors

from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305
from conceptrsa.interfaces.numerics.mni305_grid import AFFINE, MNI152_TO_MNI305
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.demo.truth import SubjectTruth

BETAS = "sub-01_task-perception_space-MNI305_res-2_stat-effect_statmap"


@pytest.fixture(scope="module")
def folder(small_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stand-ins, an fsaverage that is the packaged atlas, and what recon-all will make."""
    folder = tmp_path_factory.mktemp("freesurfer")
    home = fake_freesurfer.install(folder / "freesurfer")
    atlas, _ = desikan_killiany_mni305()
    labels = np.asarray(atlas.dataobj).astype(np.int32)
    write_reconstruction(home / "subjects" / "fsaverage", labels, AFFINE, np.eye(4))
    t1w = nib.load(next(small_demo.glob("bids/sub-01/**/*_T1w.nii.gz")))
    truth = SubjectTruth.read(small_demo / "truth" / "sub-01.npz")
    to_mni305 = MNI152_TO_MNI305 @ truth.t1w_to_mni152
    own = resample(labels, AFFINE, t1w.shape, t1w.affine, np.linalg.inv(to_mni305), "nearest")
    write_reconstruction(folder / "finished", own, t1w.affine, to_mni305)
    head = np.asarray(t1w.dataobj, dtype=np.float32)
    nib.save(nib.MGHImage(head, t1w.affine), folder / "finished" / "mri" / "orig.mgz")
    write_brain_mask(small_demo, folder / "finished")
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(("FS_", "FREESURFER"))]:
            environment.delenv(name)
        environment.setenv("FREESURFER_HOME", str(home))
        environment.setenv("FAKE_LOG", str(folder / "calls.jsonl"))
        environment.setenv("FAKE_RECONSTRUCTION", str(folder / "finished"))
        yield folder


def programs_called(folder: Path) -> list[str]:
    return [call["argv"][0] for call in fake_freesurfer.calls(folder / "calls.jsonl")]


def write_reconstruction(
    folder: Path, labels: np.ndarray, affine: np.ndarray, talairach: np.ndarray
) -> None:
    fake_freesurfer.write_reconstruction(folder, talairach)
    for name, data in (("aparc+aseg", labels.astype(np.int32)), ("orig", labels.astype(np.uint8))):
        nib.save(nib.MGHImage(data, affine), folder / "mri" / f"{name}.mgz")


def command(demo: Path, folder: Path, out: Path, *arguments: str) -> list[str]:
    """All runs share their working folder: what their options do not change is done once."""
    return [
        "run", str(demo / "bids"), str(out), "participant", "--dataset-config", "demo",
        "--participant-label", "01", "--nprocs", "2", "--skip-bids-validation", "--keep-work",
        "--work-dir", str(folder / "work"), *arguments,
    ]  # fmt: skip


def run(demo: Path, folder: Path, name: str, *arguments: str) -> Path:
    assert main(command(demo, folder, folder / name, *arguments)) == 0
    return folder / name / "sub-01"


@pytest.fixture(scope="module")
def by_freesurfer(folder: Path, small_demo: Path) -> Path:
    """Results of the first run."""
    subject = run(
        small_demo, folder, "with blank", "--normalization", "freesurfer", "--fs-subjects-dir",
        str(folder / "subjects"), "--run-betas",
    )  # fmt: skip
    programs = programs_called(folder)
    assert programs.count("recon-all") == 1
    assert programs.count("mri_vol2vol") == 2 * 3 + 1  # betas and mask of three sets, and atlas
    return subject


def read_betas(subject: Path) -> np.ndarray:
    return np.asarray(nib.load(subject / "func" / f"{BETAS}.nii.gz").dataobj)


def read_regions(subject: Path) -> np.ndarray:
    name = "sub-01_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz"
    return np.asarray(nib.load(subject / "anat" / name).dataobj)


@pytest.mark.slow
def test_betas_and_regions_lie_where_the_embedded_arithmetic_puts_them(
    by_freesurfer: Path, folder: Path, small_demo: Path
) -> None:
    before = programs_called(folder)
    by_python = run(
        small_demo, folder, "python", "--fs-subjects-dir", str(folder / "subjects"),
        "--roi-source", "fsaverage",
    )  # fmt: skip
    assert programs_called(folder) == before

    one, other = read_betas(by_freesurfer), read_betas(by_python)
    both = np.isfinite(one) & np.isfinite(other)
    assert (np.isfinite(one) == np.isfinite(other)).mean() > 0.999
    assert np.abs(one - other)[both].max() < 0.02 * np.std(other[both])
    assert np.array_equal(read_regions(by_freesurfer), read_regions(by_python))

    sidecar = json.loads((by_freesurfer / "func" / f"{BETAS}.json").read_text())["Estimation"]
    assert sidecar["Normalization"].startswith("FreeSurfer")
    assert sidecar["RegionsFrom"] == "fsaverage"
    xfm = by_freesurfer / "func" / "sub-01_task-perception_from-boldref_to-fsnative_xfm"
    t1w = np.loadtxt(str(xfm).replace("fsnative", "T1w") + ".txt")
    assert np.allclose(np.loadtxt(f"{xfm}.txt"), t1w, atol=1e-3)
    assert json.loads(Path(f"{xfm}.json").read_text())["warnings"] == []
    coverage = pd.read_csv(next(by_freesurfer.glob("func/*coverage*.tsv")), sep="\t")
    assert (coverage["coverage"] > 0.7).all()


@pytest.mark.slow
def test_own_regions_and_bbregister_and_a_second_start(
    folder: Path, small_demo: Path, tmp_path: Path
) -> None:
    arguments = [
        "--normalization", "freesurfer", "--roi-source", "subject", "--fs-registration",
        "bbregister",
    ]  # fmt: skip
    subject = run(small_demo, folder, "out", *arguments)
    out = subject.parent
    assert (out / "sourcedata" / "freesurfer" / "sub-01" / "mri" / "orig.mgz").is_file()
    report = next(subject.glob("func/*_to-fsnative_xfm.json"))
    assert json.loads(report.read_text())["cost"] == pytest.approx(0.45)
    atlas, _ = desikan_killiany_mni305()
    hippocampus, own = (np.isin(labels, [17, 53]) for labels in (
        np.asarray(atlas.dataobj), read_regions(subject)
    ))  # fmt: skip
    assert 2 * (hippocampus & own).sum() / (hippocampus.sum() + own.sum()) > 0.8
    assert bids_errors(out, tmp_path) == []
    before = programs_called(folder)
    run(small_demo, folder, "out", *arguments)
    assert programs_called(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["excluded", "zero"])
def test_run_wise_betas_lie_where_mri_vol2vol_puts_betas(
    missing: str, by_freesurfer: Path, folder: Path, small_demo: Path
) -> None:
    """Pooled betas of a half are a partition of two runs' betas, sampled without mri_vol2vol."""
    subject = by_freesurfer
    if missing == "zero":
        before = len(programs_called(folder))
        subject = run(
            small_demo, folder, "out", "--normalization", "freesurfer", "--fs-registration",
            "bbregister", "--fs-missing", missing, "--run-betas",
        )  # fmt: skip
        programs = programs_called(folder)[before:]
        assert 0 < programs.count("mri_vol2vol") <= 2 * 3 + 1
    odd = np.asarray(nib.load(next(subject.glob("func/*MNI305*desc-odd_statmap.nii.gz"))).dataobj)
    with h5py.File(next(subject.glob("func/*_desc-runs_roibetas.h5"))) as file:
        for name in ("visual", "hippocampus"):
            voxels, betas = file[name]["voxels"][:], file[name]["betas"][0]
            expected = odd.reshape(-1, len(STIMULI))[voxels].T
            both = np.isfinite(expected)
            assert both.mean() > 0.99
            assert np.abs(betas - expected)[both].max() < 0.02 * np.std(expected[both])


def test_a_failed_reconstruction_fails_its_subject_with_a_sentence(
    folder: Path,
    small_demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAKE_RECON_ALL", "error")
    monkeypatch.setenv("FAKE_RECONSTRUCTION", str(tmp_path / "none"))
    out = tmp_path / "out"
    code = main(command(small_demo, folder, out, "--normalization", "freesurfer"))
    assert code == 1
    error = capsys.readouterr().err
    assert "sub-01 failed: FreeSurfer's recon-all failed" in error
    assert "mri_ca_register: out of memory" in error
