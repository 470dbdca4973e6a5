"""FreeSurfer's steps, run with stand-ins for its programs (`fake_freesurfer`).

They show how FreeSurfer is called, that what it says and leaves is looked at, and that the matrices
fit together by the conventions that its source spells out. They prove nothing about FreeSurfer
itself, which is not installed where the tests run.
"""

import json
import shutil
from pathlib import Path

import fake_freesurfer
import nibabel as nib
import numpy as np
import pytest
from conftest import TALAIRACH
from nibabel.affines import apply_affine

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.interfaces.freesurfer.registration import (
    RegisterToReconstruction,
    header_registration,
)
from conceptrsa.interfaces.freesurfer.to_mni305 import AtlasInMNI305, ResampleByFreeSurfer
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.freesurfer_subject import labels_mni305, read_register_dat
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import read_matrix, rigid_matrix, write_matrix

BOLD_TO_T1W = rigid_matrix(np.array([4.0, -3, 2]), np.array([0.02, 0.05, -0.03]))
EPI_SHAPE = (34, 36, 28)
EPI_AFFINE = rigid_matrix(np.array([-100.0, -90, -80]), np.array([0.1, 0, 0.05])) @ np.diag(
    [6.0, 6, 6, 1]
)


@pytest.fixture
def epi(tmp_path):
    """Mean EPI, three betas with a border of NaN, their mask, and the matrix to the T1w."""
    rng = np.random.default_rng(0)
    places = apply_affine(EPI_AFFINE, np.indices(EPI_SHAPE).reshape(3, -1).T)
    mask = (np.linalg.norm(places - (0, 0, 10), axis=1) < 65).reshape(EPI_SHAPE)
    betas = rng.normal(2, 1, (*EPI_SHAPE, 3)).astype(np.float32)
    betas[~mask] = np.nan
    folder = tmp_path / "epi"
    folder.mkdir()
    mean = rng.normal(100, 5, EPI_SHAPE).astype(np.float32)
    for name, data in (("mean", mean), ("betas", betas), ("mask", mask.astype(np.uint8))):
        nib.save(nib.Nifti1Image(data, EPI_AFFINE), folder / f"{name}.nii")
    write_matrix(folder / "bold_to_t1w.txt", BOLD_TO_T1W)
    return folder


def register(epi, subjects, cwd, **inputs):
    cwd.mkdir(parents=True, exist_ok=True)
    step = RegisterToReconstruction(
        boldref_file=str(epi / "mean.nii"),
        bold_to_t1w_file=str(epi / "bold_to_t1w.txt"),
        subject="sub-01",
        subjects_dir=str(subjects),
        **inputs,
    )
    return step.run(cwd=str(cwd)).outputs


def resample_betas(epi, subjects, cwd, register_file, **inputs):
    cwd.mkdir(parents=True, exist_ok=True)
    step = ResampleByFreeSurfer(
        in_file=str(epi / inputs.pop("betas", "betas.nii")),
        mask_file=str(epi / "mask.nii"),
        register_file=str(register_file),
        subject="sub-01",
        subjects_dir=str(subjects),
        **inputs,
    )
    return nib.load(step.run(cwd=str(cwd)).outputs.out_file)


def write_register_file(path, epi):
    """What RegisterToReconstruction's header method makes, without running a program."""
    orig = nib.load(epi.parent / "subjects" / "sub-01" / "mri" / "orig.mgz")
    moved = nib.Nifti1Image(np.zeros(EPI_SHAPE, np.uint8), BOLD_TO_T1W @ EPI_AFFINE)
    rows = "\n".join(" ".join(map(repr, map(float, r))) for r in header_registration(moved, orig))
    path.write_text(f"sub-01\n6.0\n6.0\n0.15\n{rows}\nround\n")
    return path


# --- Registration


def test_registration_by_the_headers(freesurfer, epi, tmp_path, monkeypatch):
    """The stand-in's register.dat, its formula spelled out on its own, is that of Python's."""
    (freesurfer / "bin" / "tkregister2_cmdl").unlink()
    monkeypatch.setenv("FS_LICENSE", str(freesurfer / "license.txt"))
    cwd = tmp_path / "node"
    outputs = register(epi, tmp_path / "subjects", cwd, n_threads=2)
    (call,) = fake_freesurfer.calls(tmp_path / "calls.jsonl")
    assert call["argv"] == [
        *("tkregister2", "--mov", f"{cwd}/boldref_moved.nii", "--noedit"),
        *("--reg", f"{cwd}/register.dat", "--regheader", "--s", "sub-01"),
    ]
    assert call["stdin_empty"]
    assert call["environment"] == {
        "SUBJECTS_DIR": str(tmp_path / "subjects"),
        "FREESURFER_HOME": str(freesurfer),
        "FS_LICENSE": str(freesurfer / "license.txt"),
        "OMP_NUM_THREADS": "2",
        "PWD": call["environment"]["PWD"],
    }
    moved = nib.load(cwd / "boldref_moved.nii")
    np.testing.assert_allclose(moved.affine, BOLD_TO_T1W @ EPI_AFFINE, atol=1e-4)
    np.testing.assert_allclose(moved.get_qform(), moved.get_sform(), atol=1e-3)
    np.testing.assert_allclose(read_matrix(outputs.transform_file), BOLD_TO_T1W, atol=1e-4)
    report = json.loads(Path(outputs.report_file).read_text())
    assert report["max_displacement"] < 1e-3
    assert report["cost"] is None and report["warnings"] == []


def test_registration_by_bbregister(freesurfer, epi, tmp_path):
    cwd = tmp_path / "node"
    outputs = register(epi, tmp_path / "subjects", cwd, method="bbregister")
    (call,) = fake_freesurfer.calls(tmp_path / "calls.jsonl")
    assert call["argv"] == [
        *("bbregister", "--bold", "--init-header", "--reg", f"{cwd}/register.dat"),
        *("--mov", f"{cwd}/boldref_moved.nii", "--s", "sub-01"),
    ]
    report = json.loads(Path(outputs.report_file).read_text())
    assert report["cost"] == 0.45
    assert 0.5 < report["mean_displacement"] < report["max_displacement"] < 5
    assert report["warnings"] == []
    moved = np.abs(read_matrix(outputs.transform_file) - BOLD_TO_T1W).max()
    assert 0.2 < moved < 5


def test_bad_registration_by_bbregister_is_warned_of(freesurfer, epi, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_BBREGISTER", "wrong")
    outputs = register(epi, tmp_path / "subjects", tmp_path / "node", method="bbregister")
    cost, move = json.loads(Path(outputs.report_file).read_text())["warnings"]
    assert "cost of 0.95" in cost
    assert "moved the EPI by up to 2" in move


def test_register_dat_that_is_not_what_the_headers_say_is_refused(
    freesurfer, epi, tmp_path, monkeypatch
):
    monkeypatch.setenv("FAKE_TKREGISTER2", "wrong")
    with pytest.raises(StepError, match=r"lies 1 mm from the position in the headers"):
        register(epi, tmp_path / "subjects", tmp_path / "node")


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("fail", r"tkregister2 failed \(exit code 1\): ERROR: the .* of the test fails; see .*log"),
        ("die", r"tkregister2 was killed \(signal 9\)"),
        ("silent", r"left no .*register\.dat: ERROR: nothing was written"),
        ("hang", r"tkregister2 did not end within 0\.005 minutes"),
    ],
)
def test_program_that_did_not_do_its_work_fails_the_step(
    freesurfer, epi, tmp_path, monkeypatch, does, message
):
    """Even where the output of an earlier run is still there."""
    monkeypatch.setenv("FAKE_TKREGISTER2", does)
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "register.dat").write_text("old")
    with pytest.raises(StepError, match=message):
        register(epi, tmp_path / "subjects", tmp_path / "node", time_limit=0.3)


def test_missing_licence_and_reconstruction_stop_the_step(freesurfer, epi, tmp_path):
    (freesurfer / "license.txt").unlink()
    with pytest.raises(InputError, match="needs a licence file"):
        register(epi, tmp_path / "subjects", tmp_path / "node")
    (tmp_path / "subjects" / "sub-01" / "mri" / "orig.mgz").unlink()
    with pytest.raises(InputError, match=r"orig\.mgz is missing; run recon-all on sub-01"):
        register(epi, tmp_path / "subjects", tmp_path / "node")


# --- Resampling


def test_resampling_equals_the_embedded_engines(freesurfer, epi, tmp_path):
    """R * inv(talairach.xfm) * inv(Rtal) of the stand-in and the product of the two transforms.

    One volume has no data at all, as an odd half without runs.
    """
    betas = np.asarray(nib.load(epi / "betas.nii").dataobj).copy()
    betas[..., 1] = np.nan
    nib.save(nib.Nifti1Image(betas, EPI_AFFINE), epi / "betas.nii")
    registration = write_register_file(epi / "register.dat", epi)
    cwd = tmp_path / "node"
    found = resample_betas(epi, tmp_path / "subjects", cwd, registration)
    assert [call["argv"] for call in fake_freesurfer.calls(tmp_path / "calls.jsonl")] == [
        [
            *("mri_vol2vol", "--interp", "trilin", "--reg", f"{cwd}/registration_of_epi.dat"),
            *("--mov", f"{cwd}/{name}.nii", "--tal", "--talres", "2.0000000000"),
            *("--o", f"{cwd}/{name}_MNI305.nii"),
        ]
        for name in ("betas", "mask")
    ]
    assert {path.name for path in cwd.glob("*.nii")} == {"space-MNI305.nii"}
    assert found.get_data_dtype() == np.float32
    np.testing.assert_array_equal(found.affine, mni305_grid.AFFINE)
    expected = resample(
        betas, EPI_AFFINE, mni305_grid.SHAPE, mni305_grid.AFFINE, TALAIRACH @ BOLD_TO_T1W, "linear"
    )
    values = np.asarray(found.dataobj)
    assert values.shape == expected.shape
    differing = np.isfinite(values) != np.isfinite(expected)
    assert differing.sum() <= 5  # exactly half of the weight, up to rounding
    both = np.isfinite(values) & np.isfinite(expected)
    assert both[..., 0].sum() > 50_000 and not both[..., 1].any()
    np.testing.assert_allclose(values[both], expected[both], atol=1e-3)


def test_the_papers_way_leaves_betas_at_the_border_as_freesurfer_makes_them(
    freesurfer, epi, tmp_path
):
    """One volume without a fourth dimension, in either way."""
    nib.save(nib.load(epi / "betas.nii").slicer[..., 0], epi / "one.nii")
    registration = write_register_file(epi / "register.dat", epi)
    own, paper = (
        resample_betas(
            epi, tmp_path / "subjects", tmp_path / way, registration, betas="one.nii", missing=way
        )
        for way in ("excluded", "zero")
    )
    *_, mask_call = fake_freesurfer.calls(tmp_path / "calls.jsonl")
    assert mask_call["argv"][:3] == ["mri_vol2vol", "--interp", "nearest"]
    assert own.shape == paper.shape == mni305_grid.SHAPE
    own, paper = np.asarray(own.dataobj), np.asarray(paper.dataobj)
    assert not (paper == 0).any()
    both = np.isfinite(own) & np.isfinite(paper)
    same = np.isclose(own, paper, atol=1e-4)[both]
    assert 0.7 < same.mean() < 0.98
    # Drawn towards 0 where it differs: the betas' mean is 2.
    assert paper[both][~same].mean() < own[both][~same].mean() - 0.2


def test_resampling_into_another_grid_is_refused(freesurfer, epi, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_MRI_VOL2VOL", "wrong")
    registration = write_register_file(epi / "register.dat", epi)
    with pytest.raises(StepError, match=r"grid of \(75, 76, 93, 3\), not the 2 mm grid of MNI305"):
        resample_betas(epi, tmp_path / "subjects", tmp_path / "node", registration)


def test_mask_of_another_grid_is_refused(freesurfer, epi, tmp_path):
    registration = write_register_file(epi / "register.dat", epi)
    nib.save(nib.Nifti1Image(np.ones(EPI_SHAPE, np.uint8), np.eye(4)), epi / "mask.nii")
    with pytest.raises(InputError, match=r"mask\.nii and .*betas\.nii are not in the same grid"):
        resample_betas(epi, tmp_path / "subjects", tmp_path / "node", registration)


def test_betas_outside_mni305_fail_the_step(freesurfer, epi, tmp_path):
    registration = write_register_file(epi / "register.dat", epi)
    lines = registration.read_text().split("\n")
    lines[4] = "1.0 0.0 0.0 900.0"
    registration.write_text("\n".join(lines))
    with pytest.raises(StepError, match=r"no voxel of .*betas\.nii lies within MNI305"):
        resample_betas(epi, tmp_path / "subjects", tmp_path / "node", registration)


def test_blanks_and_quotes_in_folders(freesurfer, epi, tmp_path):
    """All programs are told of links with plain names; the originals stay as they were."""
    odd = tmp_path / "it's a (work) folder"
    shutil.copytree(tmp_path / "subjects", odd / "all subjects")
    shutil.move(epi, odd / "my epi")
    cwd = odd / "node 1"
    outputs = register(odd / "my epi", odd / "all subjects", cwd)
    subject, matrix = read_register_dat(outputs.register_file)
    moved = nib.load(cwd / "boldref_moved.nii")
    orig = nib.load(odd / "all subjects" / "sub-01" / "mri" / "orig.mgz")
    assert subject == "sub-01"
    np.testing.assert_allclose(matrix, header_registration(moved, orig), atol=1e-4)
    found = resample_betas(odd / "my epi", odd / "all subjects", cwd, outputs.register_file)
    assert np.isfinite(found.dataobj).any()
    assert Path(outputs.register_file).is_file()
    words = [w for c in fake_freesurfer.calls(tmp_path / "calls.jsonl") for w in c["argv"]]
    assert not any(set(word) & set(" '()") for word in words)


# --- Atlas


def test_atlas_equals_the_embedded_engines(freesurfer, tmp_path):
    cwd = tmp_path / "node"
    cwd.mkdir()
    step = AtlasInMNI305(subject="sub-01", subjects_dir=str(tmp_path / "subjects"))
    outputs = step.run(cwd=str(cwd)).outputs
    aseg = tmp_path / "subjects" / "sub-01" / "mri" / "aparc+aseg.mgz"
    assert [call["argv"] for call in fake_freesurfer.calls(tmp_path / "calls.jsonl")] == [
        [
            *("tkregister2_cmdl", "--mov", str(aseg), "--noedit"),
            *("--reg", f"{cwd}/atlas.dat", "--regheader", "--s", "sub-01"),
        ],
        [
            *("mri_vol2vol", "--interp", "nearest", "--reg", f"{cwd}/atlas.dat"),
            *("--mov", str(aseg), "--tal", "--talres", "2.0000000000"),
            *("--o", f"{cwd}/atlas_MNI305.nii"),
        ],
    ]
    dseg = nib.load(outputs.dseg_file)
    expected = labels_mni305(aseg, TALAIRACH)
    assert dseg.get_data_dtype() == np.int16 and dseg.shape == mni305_grid.SHAPE
    labels, python = np.asarray(dseg.dataobj), np.asarray(expected.dataobj)
    assert (labels != python).sum() <= 5
    assert (labels == 17).sum() > 1000
    assert Path(outputs.labels_file).read_text() == (
        "index\tname\n17\tLeft-Hippocampus\n53\tRight-Hippocampus\n1007\tctx-lh-fusiform\n"
    )
