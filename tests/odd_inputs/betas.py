"""Betas that hold nothing, or that are not the response to one condition."""

from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import supplied_data as data
from nibabel.nifti1 import Nifti1Extension
from scipy.io import savemat

UNMEASURED = np.zeros(data.SHAPE, dtype=bool)
UNMEASURED[0, :4] = True
"""More than half of the left part of the visual region, as outside of a mask."""

N_UNMEASURED = int(UNMEASURED.sum())


def runs_with(
    value: float, runs: slice | int = slice(None), rounding: float = 0.0
) -> Callable[[str], np.ndarray]:
    """Give `supplied_data.runs_of` with a value in the voxels that were not measured."""
    intact = data.runs_of

    def runs_of(subject: str) -> np.ndarray:
        betas = intact(subject)
        noise = np.random.default_rng(3).standard_normal(betas.shape)
        filled = np.broadcast_to(value + rounding * noise, betas.shape).astype(np.float32)
        betas[runs, ..., UNMEASURED] = filled[runs, ..., UNMEASURED]
        return betas

    return runs_of


def write_spm_basis(root: Path, basis: str | None, n_functions: int, kind: str = "5") -> None:
    """Models of SPM whose conditions have several regressors each, one session a run."""
    for subject in data.SUBJECTS:
        folder = root / f"sub-{subject}"
        folder.mkdir(parents=True, exist_ok=True)
        names = []
        for session, betas in enumerate(data.runs_of(subject)):
            for stimulus, beta in zip(data.STIMULI, betas, strict=True):
                for function in range(1, n_functions + 1):
                    names.append(f"Sn({session + 1}) {stimulus}*bf({function})")
                    write_described(
                        folder / f"beta_{len(names):04d}.nii",
                        beta * function,
                        f"spm_spm:beta ({len(names):04d}) - {names[-1]}",
                    )
        write_model(folder / "SPM.mat", names, basis, kind)


def write_model(file: Path, names: Sequence[str], basis: str | None, kind: str = "5") -> None:
    """`SPM.mat` as MATLAB writes it in version 5 or 7.3, with the name of its basis or without."""
    if kind == "5":
        design: dict[str, object] = {"xX": {"name": np.array(names, dtype=object)[None]}}
        if basis is not None:
            design["xBF"] = {"name": basis, "order": 3.0}
        savemat(file, {"SPM": design})
        return
    with h5py.File(file, "w", userblock_size=512) as content:
        references = np.empty((len(names), 1), dtype=h5py.ref_dtype)
        for row, name in enumerate(names):
            references[row, 0] = content.create_dataset(f"#refs#/{row}", data=_codes(name)).ref
        content.create_dataset("SPM/xX/name", data=references)
        if basis is not None:
            content.create_dataset("SPM/xBF/name", data=_codes(basis))


def _codes(text: str) -> np.ndarray:
    return np.array([[ord(character)] for character in text], dtype=np.uint16)


def write_described(
    file: Path, volume: np.ndarray, description: str = "", intent: int = 0, labels: str = ""
) -> None:
    """A volume whose header says what it is: SPM's description, an intent, AFNI's labels."""
    image = nib.Nifti1Image(volume, data.AFFINE)
    image.header["descrip"] = description.encode("utf-8", "surrogateescape")[:80]
    image.header["intent_code"] = intent
    if labels:
        text = f'<AFNI_atr ni_type="String" atr_name="BRICK_LABS" >"{labels}"</AFNI_atr>'
        image.header.extensions.append(Nifti1Extension(4, text.encode()))
    nib.save(image, file)


def write_single_trials(root: Path) -> Path:
    """AFNI's betas of single trials, all of one condition, and a table of the volumes."""
    lines = ["subject\tstimulus\tfile\tvolume"]
    labels = "~".join(f"stim#{place}_Coef" for place in range(len(data.STIMULI)))
    for subject in data.SUBJECTS:
        betas = np.moveaxis(data.runs_of(subject).mean(axis=0), 0, -1)
        write_described(root / f"{subject}.nii.gz", betas, labels=labels)
        lines += [
            f"{subject}\t{stimulus}\t{subject}.nii.gz\t{volume}"
            for volume, stimulus in enumerate(data.STIMULI)
        ]
    table = root / "trials.tsv"
    table.write_text("\n".join(lines) + "\n")
    return table


def write_one_changed(root: Path, **header: object) -> Path:
    """A table of betas, in one of which the header says something else; gives the table."""
    lines = ["subject\tstimulus\tfile\trun"]
    for subject in data.SUBJECTS:
        for run, betas in enumerate(data.runs_of(subject), start=1):
            for stimulus, beta in zip(data.STIMULI, betas, strict=True):
                name = f"{subject}_{stimulus}_{run}.nii.gz"
                is_changed = (subject, stimulus, run) == ("02", data.STIMULI[3], 2)
                write_described(root / name, beta, **(header if is_changed else {}))
                lines.append(f"{subject}\t{stimulus}\t{name}\t{run}")
    table = root / "betas.tsv"
    table.write_text("\n".join(lines) + "\n")
    return table
