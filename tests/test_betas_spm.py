"""First-level models of SPM of any version and layout are read, and damaged ones refused."""

import contextlib
from pathlib import Path

import betas_forms
import h5py
import nibabel as nib
import numpy as np
import pytest
import supplied_data as data
from betas_forms import check, read
from odd_inputs import betas as odd
from scipy.io import loadmat, savemat

from conceptrsa.analysis.betas.mat_files import read_names, read_numbers
from conceptrsa.analysis.betas.response_kind import regressor_names
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
        "sub-01: conditions left out, because they are not stimuli: fixation, one-back",
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


@pytest.mark.parametrize("kind", ["5", "7.3"])
@pytest.mark.parametrize("n_contrasts", [1, 3])
def test_contrasts_are_read_as_they_were_written(
    tmp_path: Path, n_contrasts: int, kind: str
) -> None:
    rng = np.random.default_rng(1)
    written = [rng.standard_normal(4), np.array([0.0, 1, -1, 300]), np.zeros(0)][:n_contrasts]
    names = ["a > b", "é", "c"][:n_contrasts]
    contrasts = list(zip(names, written, strict=True))
    odd.write_model(tmp_path / "SPM.mat", ["x"] * 4, "hrf", kind, contrasts)
    assert read_names(tmp_path / "SPM.mat", ("SPM", "xCon", "name")) == names
    found = read_numbers(tmp_path / "SPM.mat", ("SPM", "xCon", "c"))
    for weights, expected in zip(found, written, strict=True):
        np.testing.assert_array_equal(weights, expected)


@pytest.mark.parametrize("values", [np.array([[1, 0], [0, 300]], dtype=np.int16), np.eye(2) > 0])
def test_numbers_of_any_type_are_read_column_after_column(
    tmp_path: Path, values: np.ndarray
) -> None:
    savemat(tmp_path / "SPM.mat", {"SPM": {"xCon": {"c": values}}})
    (found,) = read_numbers(tmp_path / "SPM.mat", ("SPM", "xCon", "c"))
    np.testing.assert_array_equal(found, values.ravel(order="F"))


@pytest.mark.parametrize("kind", ["5", "7.3"])
def test_what_is_no_numbers_is_refused(tmp_path: Path, kind: str) -> None:
    odd.write_model(tmp_path / "SPM.mat", ["x"], "hrf", kind)
    for path in (("SPM", "xCon", "c"), ("SPM", "xX"), ("none",)):
        with pytest.raises(ValueError, match=r"holds|full array|without"):
            read_numbers(tmp_path / "SPM.mat", path)


def test_damaged_models_end_in_one_sentence(tmp_path: Path) -> None:
    """SciPy's reader crashes the process on some of these."""
    file = tmp_path / "SPM.mat"
    names = [name for _, _, name in data.spm_names(1)]
    odd.write_model(file, names, "hrf", contrasts=[("a", np.arange(len(names)) / 7)])
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
            with contextlib.suppress(ValueError):
                read_numbers(file, ("SPM", "xCon", "c"))
        except InputError:
            n_refused += 1
    assert n_refused > 100
