"""Small BIDS data sets with what is legal and seldom thought of; images are empty files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

TASK = "perception"
TR = 2.0
EVENTS = (
    "onset\tduration\tevent_type\tstimulus_name\n"
    "0\t12\trest\tn/a\n12\t9\tstimulus\tx\n21\t9\tstimulus\ty\n"
)
SIDECAR = {"RepetitionTime": TR, "SliceTiming": [0.0, 0.5, 1.0, 1.5]}
MOTION = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
OF_RUNS = {
    "acq": ("acq-fast", "acq-slow"),
    "ce": ("ce-gadolinium", "ce-none"),
    "rec": ("rec-dico", "rec-orig"),
    "dir": ("dir-AP", "dir-PA"),
    "acq and run": ("acq-fast_run-1", "acq-slow_run-1"),
    "dir and run": ("dir-AP_run-01", "dir-PA_run-01"),
    "chunk": ("run-1_chunk-1", "run-1_chunk-2"),
}
"""Entities that tell two runs apart."""
OTHER_DATA = ("ses-meg/meg", "ses-meg/beh", "ses-meg/eeg", "ses-ieeg/ieeg", "ses-nirs/nirs")
"""Folders whose events are of no BOLD run."""
MULTIPLE_ECHOES = ("echo-1", "echo-2", "echo-3")


def make(root: Path, subjects: Mapping[str, Sequence[str]], events: str = EVENTS) -> Path:
    """Make a data set.

    Each subject has a T1w image, and a run with events for each of its entities, `acq-a_run-1`.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / f"task-{TASK}_bold.json").write_text(json.dumps(SIDECAR))
    for subject, runs in subjects.items():
        touch(root / f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz")
        for entities in runs:
            add_run(root, subject, entities, events)
    return root


def stem(subject: str, entities: str) -> str:
    """Beginning of the names of a run's files."""
    return "_".join(part for part in (f"sub-{subject}", f"task-{TASK}", entities) if part)


def add_run(root: Path, subject: str, entities: str, events: str | None = EVENTS) -> None:
    """Add an image and, if wished, its events."""
    func = root / f"sub-{subject}" / "func"
    touch(func / f"{stem(subject, entities)}_bold.nii.gz")
    if events is not None:
        (func / f"{stem(subject, entities)}_events.tsv").write_text(events)


def add_other_data(root: Path, subject: str, folder: str) -> None:
    """Add events of the same task beside data that are no BOLD run."""
    path = root / f"sub-{subject}" / folder
    path.mkdir(parents=True)
    session = folder.split("/")[0]
    name = f"sub-{subject}_{session}_task-{TASK}_run-1_events.tsv"
    (path / name).write_text("onset\tduration\ttrigger\n0\tn/a\t5\n")


def make_fmriprep(
    root: Path,
    subject: str,
    runs: Sequence[str],
    *,
    spaces: Sequence[str] = ("_space-T1w",),
    header_tr: float | None = None,
    **sidecar: Any,
) -> Path:
    """Make what fMRIPrep leaves of some runs in some spaces; '' is the space of the run itself."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    touch(root / f"sub-{subject}/anat/sub-{subject}_desc-preproc_T1w.nii.gz")
    content = {"RepetitionTime": TR, "SliceTimingCorrected": False, **sidecar}
    for entities in runs:
        name = root / f"sub-{subject}/func/{stem(subject, entities)}"
        for space in spaces:
            bold = Path(f"{name}{space}_desc-preproc_bold.nii.gz")
            if header_tr is None:
                touch(bold)
            else:
                save_series(bold, header_tr)
            bold.with_name(bold.name.replace(".nii.gz", ".json")).write_text(json.dumps(content))
        Path(f"{name}_desc-confounds_timeseries.tsv").write_text("\t".join(MOTION) + "\n")
    return root


def save_series(file: Path, tr: float) -> None:
    """Write a run of noise with a TR (s) in its header."""
    file.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 1000, (4, 4, 4, 24), dtype=np.int16)
    image = nib.Nifti1Image(values, np.diag([3.0, 3, 3, 1]))
    image.header.set_zooms((3, 3, 3, tr))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, file)


def touch(file: Path) -> None:
    """Make an empty file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def save_t1w(file: Path) -> None:
    """Write a small anatomical image of noise."""
    values = np.random.default_rng(0).integers(0, 1000, (9, 9, 9), dtype=np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4)), file)
