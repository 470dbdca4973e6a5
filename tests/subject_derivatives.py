"""A finished subject's derivatives, small and made of plain shapes."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.transforms import write_matrix

GRID = (30, 36, 24)
AFFINE = np.array([[6.0, 0, 0, -87], [0, 6, 0, -115], [0, 0, 6, -62], [0, 0, 0, 1]])
CENTRE = np.array([0.0, -10, 5])
TASK = "things"
TSNR = (50.0, 80.0)
MOTION = np.array([
    [0, 0, 0, 0, 0, 0],
    [0.6, 0, 0, 0, 0, 0],
    [0.6, 0.2, -0.1, 0.004, 0, 0],
    [0.6, 0.2, -0.1, 0.004, 0, -0.01],
    [0.6, 0.2, -0.1, 0.004, 0, -0.02001],
])  # fmt: skip
DISPLACEMENT = (np.nan, 0.6, 0.5, 0.5, 0.5005)
"""By hand: 0.2 + 0.1 + 50 x 0.004 = 0.5; 50 x 0.01 = 0.5; 50 x 0.01001 = 0.5005."""

STIMULUS = "<script>alert('stimulus')</script>"
DATA_SET = "<script>alert('data set')</script> & others"
REGION = "<img src=x onerror=alert(1)>"
REGIONS = {"hippocampus": (17, 53), REGION: (1007,)}


def write_subject(out_dir: Path, subject: str = "01", n_runs: int = 2) -> None:
    """Write all that a page is made from."""
    func = out_dir / f"sub-{subject}" / "func" / f"sub-{subject}_task-{TASK}"
    anat = out_dir / f"sub-{subject}" / "anat" / f"sub-{subject}"
    func.parent.mkdir(parents=True)
    anat.parent.mkdir(parents=True)
    write_json(out_dir / "dataset_description.json", {
        "Name": DATA_SET, "DatasetLinks": {"raw": "/is/no/longer/there"},
    })  # fmt: skip
    points = nib.affines.apply_affine(AFFINE, np.indices(GRID).reshape(3, -1).T) - CENTRE
    brain = ((points / [60, 80, 50]) ** 2).sum(axis=1).reshape(GRID) < 1
    save(f"{func}_desc-mean_boldref.nii.gz", (brain * 800.0).astype(np.float32), AFFINE)
    save(f"{func}_space-boldref_desc-brain_mask.nii.gz", brain.astype(np.uint8), AFFINE)
    save(f"{anat}_space-boldref_res-fine_T1w.nii.gz", (~brain * 300.0).astype(np.float32), AFFINE)
    save(
        f"{anat}_space-MNI305_res-2_T1w.nii.gz",
        np.ones(mni305_grid.SHAPE, np.float32),
        mni305_grid.AFFINE,
    )
    save(
        f"{anat}_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz", _labels(), mni305_grid.AFFINE
    )
    save(f"{anat}_desc-brain_mask.nii.gz", brain.astype(np.uint8), AFFINE)
    write_json(f"{anat}_desc-brain_mask.json", {
        "Type": "Brain", "method": "by hand", "volume_ml": 1005.0, "warnings": [],
    })  # fmt: skip
    for stem, space in ((func, "from-boldref_to-T1w"), (anat, "from-T1w_to-MNI305")):
        write_matrix(f"{stem}_{space}_xfm.txt", np.eye(4))
        write_json(
            f"{stem}_{space}_xfm.json",
            {"Units": "mm", "method": "by hand", "nmi": 1.25, "warnings": []},
        )
    names = [f"sub-{subject}_ses-a_task-{TASK}_run-{n + 1:02d}" for n in range(n_runs)]
    for number, name in enumerate(names):
        _write_run(func.parent / name, brain, TSNR[number % 2])
    maps = f"{func}_space-MNI305_res-2"
    write_json(f"{maps}_stat-effect_statmap.json", {
        "Runs": names,
        "Estimation": {"Engine": "python", "HighPassSeconds": 128.0},
        "Software": {"numpy": "2.0.0"},
    })  # fmt: skip
    table(f"{maps}_stat-effect_statmap.tsv", {"volume": [0], "stimulus": [STIMULUS]})
    table(f"{maps}_desc-coverage_rois.tsv", {
        "roi": list(REGIONS), "n_voxels": [40, 50], "n_covered": [30, 50], "coverage": [0.75, 1.0],
        "distance_from_atlas_mm": [2.34, float("nan")],
    })  # fmt: skip
    write_json(f"{maps}_desc-coverage_rois.json", {
        "roi": {"Labels": {name: list(labels) for name, labels in REGIONS.items()}}
    })  # fmt: skip


def change_sidecar(file: Path, **values: object) -> None:
    """Set values of a JSON file."""
    write_json(file, json.loads(file.read_text()) | values)


def write_json(file: str | Path, content: object) -> None:
    Path(file).write_text(json.dumps(content))


def save(file: str, data: np.ndarray, affine: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(data, affine), file)


def table(file: str, columns: dict[str, object]) -> None:
    pd.DataFrame(columns).to_csv(file, sep="\t", index=False, na_rep="n/a")


def _labels() -> np.ndarray:
    points = nib.affines.apply_affine(
        mni305_grid.AFFINE, np.indices(mni305_grid.SHAPE).reshape(3, -1).T
    )
    labels = np.zeros(len(points), dtype=np.int16)
    for label, centre in ((17, (-25, -20, -15)), (53, (25, -20, -15)), (1007, (-35, -60, -10))):
        labels[((points - centre) ** 2).sum(axis=1) < 12**2] = label
    return labels.reshape(mni305_grid.SHAPE)


def _write_run(stem: Path, brain: np.ndarray, tsnr: float) -> None:
    confounds = pd.DataFrame(
        MOTION, columns=["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]
    ).assign(framewise_displacement=DISPLACEMENT)
    table(f"{stem}_desc-confounds_timeseries.tsv", dict(confounds.items()))
    design = np.random.default_rng(0).normal(size=(5, 3))
    table(f"{stem}_design.tsv", {
        f"stimulus:{STIMULUS}": design[:, 0], "trans_x": design[:, 1], "constant": design[:, 2],
    })  # fmt: skip
    maps = f"{stem}_space-boldref_stat-tsnr_boldmap"
    save(f"{maps}.nii.gz", np.where(brain, tsnr, 0).astype(np.float32), AFFINE)
    write_json(f"{maps}.json", {
        "RepetitionTime": 3.0, "SliceTiming": [0.0, 1.5, 0.0, 1.5], "StartTime": 1.5,
        "SliceEncodingDirection": "k-",
    })  # fmt: skip
