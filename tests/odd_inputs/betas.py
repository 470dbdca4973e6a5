"""Betas that hold nothing, or that are not the response to one condition."""

from collections.abc import Callable, Mapping, Sequence
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


def write_model(
    file: Path,
    names: Sequence[str],
    basis: str | None,
    kind: str = "5",
    contrasts: Sequence[tuple[str, np.ndarray]] = (),
) -> None:
    """`SPM.mat` as MATLAB writes it in version 5 or 7.3, with the name of its basis or without.

    `contrasts` are names and weights.
    """
    if kind == "5":
        design: dict[str, object] = {"xX": {"name": np.array(names, dtype=object)[None]}}
        if basis is not None:
            design["xBF"] = {"name": basis, "order": 3.0}
        if contrasts:
            of_each = [("T", name, weights[:, None]) for name, weights in contrasts]
            fields = [(field, object) for field in ("STAT", "name", "c")]
            design["xCon"] = np.array(of_each, dtype=fields)[None]
        savemat(file, {"SPM": design}, do_compression=len(contrasts) > 1)
        return
    with h5py.File(file, "w", userblock_size=512) as content:
        references = np.empty((len(names), 1), dtype=h5py.ref_dtype)
        for row, name in enumerate(names):
            references[row, 0] = content.create_dataset(f"#refs#/{row}", data=_codes(name)).ref
        content.create_dataset("SPM/xX/name", data=references)
        if basis is not None:
            content.create_dataset("SPM/xBF/name", data=_codes(basis))
        of_fields = {
            "name": [_codes(c[0]) for c in contrasts],
            "c": [c[1][None] for c in contrasts],
        }
        for field, values in of_fields.items():
            if len(values) == 1:  # the only structure has its fields in itself
                content.create_dataset(f"SPM/xCon/{field}", data=values[0])
            elif values:
                references = np.empty((len(values), 1), dtype=h5py.ref_dtype)
                for row, value in enumerate(values):
                    stored = content.create_dataset(f"#refs#/{field}{row}", data=value)
                    references[row, 0] = stored.ref
                content.create_dataset(f"SPM/xCon/{field}", data=references)


def contrast_name(row: int) -> str:
    return f"{data.STIMULI[row]} - All Sessions"


def write_contrasts(
    root: Path,
    changed: Mapping[str, float] | None = None,
    *,
    each: float = 0.25,
    kind: str = "5",
    description: str = "Contrast {number}: {name}",
    prefix: str = "con",
) -> Path:
    """A contrast of each stimulus over SPM's sessions, and a table of their volumes.

    `changed` are other weights of regressors in the contrast of the fourth stimulus of sub-02, and
    of no others in it; `each` is the weight in all others, by which the volumes are made.
    """
    regressors = [name for _, _, name in data.spm_names()]
    lines = ["subject\tstimulus\tfile"]
    for subject in data.SUBJECTS:
        folder = root / subject
        folder.mkdir(parents=True)
        contrasts = []
        for row, stimulus in enumerate(data.STIMULI):
            weights = np.zeros(len(regressors))
            weights[[name.endswith(f") {stimulus}*bf(1)") for name in regressors]] = each
            if changed is not None and (subject, row) == ("02", 3):
                weights = np.array([changed.get(name, 0.0) for name in regressors])
            contrasts.append((contrast_name(row), weights))
            file = f"{prefix}_{row + 1:04d}.nii"
            write_described(
                folder / file,
                each * data.runs_of(subject)[:, row].sum(axis=0),
                description.format(number=row + 1, name=contrast_name(row)),
            )
            lines.append(f"{subject}\t{stimulus}\t{subject}/{file}")
        write_model(folder / "SPM.mat", regressors, "hrf", kind, contrasts)
    table = root / "contrasts.tsv"
    table.write_text("\n".join(lines) + "\n")
    return table


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
