"""First-level models of SPM of any version and layout are read, and damaged ones refused."""

from pathlib import Path

import betas_forms
import h5py
import nibabel as nib
import numpy as np
import pytest
import supplied_data as data
from betas_forms import check, read
from scipy.io import loadmat, savemat

from conceptrsa.analysis.betas.responses import regressor_names
from conceptrsa.bids_config.errors import InputError

root = betas_forms.root


@pytest.mark.parametrize("suffix", [".nii.gz", ".mgz"])
def test_other_volume_formats_of_spm(root: Path, tmp_path: Path, suffix: str) -> None:
    for subject in data.SUBJECTS:
        folder = tmp_path / f"sub-{subject}"
        data.write_spm_model(folder, subject, range(1))
        for file in folder.glob("*.nii"):
            name = f"w{file.name.removesuffix('.nii')}{suffix}"
            data.save(np.asarray(nib.load(file).dataobj), folder / name)
            file.unlink()
    subject = read(tmp_path, atlas=root / "atlas.nii.gz")[0]
    expected = data.patterns_of("01", data.ROIS[0])[0]
    np.testing.assert_array_equal(subject.rois["visual"].values, expected)
    assert subject.rois["visual"].odd is None
    assert subject.notes == (
        "sub-01: conditions left out as no stimuli: fixation, one-back",
        "sub-01: betas of the canonical response are used, not of its derivatives",
    )


def test_models_in_session_folders_are_one_after_the_other(root: Path, tmp_path: Path) -> None:
    for subject in data.SUBJECTS:
        for session, runs in enumerate((range(2), range(2, 4)), start=1):
            data.write_spm_model(tmp_path / f"sub-{subject}" / f"ses-{session}", subject, runs)
    check(read(tmp_path, atlas=root / "atlas.nii.gz", with_runs=True), runs=True)
    (tmp_path / "sub-02" / "ses-1").rename(tmp_path / "sub-02" / "old")
    with pytest.raises(InputError, match="sub-02 holds several models"):
        read(tmp_path, atlas=root / "atlas.nii.gz")


def test_models_of_matlab_7_3_are_read(tmp_path: Path) -> None:
    names = [name for _, _, name in data.spm_names()]
    with h5py.File(tmp_path / "SPM.mat", "w", userblock_size=512) as content:
        references = np.empty((len(names), 1), dtype=h5py.ref_dtype)
        for row, name in enumerate(names):
            text = content.create_dataset(f"#refs#/{row}", data=np.array([[ord(c)] for c in name]))
            references[row, 0] = text.ref
        content.create_dataset("SPM/xX/name", data=references)
    assert regressor_names(tmp_path / "SPM.mat") == names


@pytest.mark.parametrize("compressed", [False, True])
def test_names_are_read_as_scipy_does(tmp_path: Path, compressed: bool) -> None:
    names = ["Sn(1) a*bf(1)", "", "Sn(1) é — 犬*bf(1)", "b", "x" * 300]
    design = {"X": np.eye(3), "name": np.array(names, dtype=object)[None], "iG": []}
    model = {"swd": "here", "xY": {"P": ["p", "q"]}, "xX": design, "Sess": [{"U": 1}, {"U": 2}]}
    file = tmp_path / "SPM.mat"
    savemat(file, {"other": np.arange(3), "SPM": model}, do_compression=compressed)
    assert regressor_names(file) == names
    read_back = loadmat(file, simplify_cells=True)["SPM"]["xX"]["name"]
    assert [str(name) if len(name) else "" for name in read_back] == names


def test_damaged_models_end_in_one_sentence(tmp_path: Path) -> None:
    """SciPy's reader crashes the process on some of these."""
    data.write_spm_model(tmp_path, "01", range(1))
    file = tmp_path / "SPM.mat"
    intact = file.read_bytes()
    rng = np.random.default_rng(2)
    n_refused = 0
    for _ in range(300):
        damaged = bytearray(intact)
        for place in rng.integers(120, len(intact), size=rng.integers(1, 20)):
            damaged[place] = rng.integers(256)
        file.write_bytes(damaged[: rng.integers(len(intact) // 2, 2 * len(intact))])
        try:
            assert all(isinstance(name, str) for name in regressor_names(file))
        except InputError:
            n_refused += 1
    assert n_refused > 100
