"""Saved derivatives and confounds hold the numbers they were given."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from conceptrsa.interfaces.python.data_sink import SaveDerivative
from conceptrsa.interfaces.python.quality_images import ConfoundsTable, framewise_displacement


def test_framewise_displacement_by_hand() -> None:
    motion = np.array(
        [[0, 0, 0, 0, 0, 0], [0.1, -0.2, 0, 0.01, 0, 0], [0.1, -0.2, 0, 0.01, 0, 0.0]]
    )
    fd = framewise_displacement(motion)
    assert np.isnan(fd[0])
    np.testing.assert_allclose(fd[1:], [0.1 + 0.2 + 0.5, 0.0])


def test_confounds_table(tmp_path: Path) -> None:
    motion = np.random.default_rng(0).normal(size=(5, 6))
    np.savetxt(tmp_path / "rp.txt", motion)
    result = ConfoundsTable(motion_file=str(tmp_path / "rp.txt")).run(cwd=str(tmp_path))
    table = pd.read_csv(result.outputs.out_file, sep="\t", na_values="n/a")
    assert list(table) == list(ConfoundsTable.columns)
    np.testing.assert_allclose(table.iloc[:, :6], motion, atol=1e-6)


def test_images_are_saved_as_float32_with_sidecar_and_table(tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(4, 5, 6, 2))
    data[0, 0, 0] = np.nan
    affine = np.diag([2.0, 2, 2, 1])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "in.nii")
    (tmp_path / "t.tsv").write_text("volume\tstimulus\n0\ta\n1\tb\n")
    SaveDerivative(
        in_file=str(tmp_path / "in.nii"),
        base_dir=str(tmp_path / "out"),
        name="sub-01/func/sub-01_task-x_statmap.nii.gz",
        table_file=str(tmp_path / "t.tsv"),
        metadata={"Units": "percent"},
    ).run(cwd=str(tmp_path))
    folder = tmp_path / "out" / "sub-01" / "func"
    saved = nib.load(folder / "sub-01_task-x_statmap.nii.gz")
    assert saved.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(saved.dataobj), data.astype(np.float32))
    np.testing.assert_array_equal(saved.affine, affine)
    assert json.loads((folder / "sub-01_task-x_statmap.json").read_text()) == {"Units": "percent"}
    assert (folder / "sub-01_task-x_statmap.tsv").read_text().startswith("volume")
    assert not list(folder.glob(".writing-*"))


def test_label_images_keep_their_integers(tmp_path: Path) -> None:
    labels = np.array([[[0, 17], [2035, 53]]], dtype=np.int16)
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "in.nii")
    SaveDerivative(
        in_file=str(tmp_path / "in.nii"), base_dir=str(tmp_path), name="sub-01_dseg.nii.gz"
    ).run(cwd=str(tmp_path))
    saved = nib.load(tmp_path / "sub-01_dseg.nii.gz")
    assert saved.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(saved.dataobj), labels)
