"""Images that are odd: of other voxel types, shapes and headers, or with values of no tissue."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

AFFINE = np.array([[-3.0, 0, 0, 20], [0, 3, 0, -18], [0, 0, 3, -9], [0, 0, 0, 1]])
SHAPE = (14, 13, 10, 24)
TR = 2.0
SLICE_TIMES = [round(0.2 * place, 1) for place in range(SHAPE[2])]
EVENTS = (
    "onset\tduration\tevent_type\tstimulus_name\n"
    "0\t4\trest\tn/a\n4\t4\tstimulus\tx\n8\t4\tstimulus\ty\n12\t4\trest\tn/a\n"
)
T1W = "sub-01/anat/sub-01_T1w.nii.gz"
BOLD = "sub-01/func/sub-01_task-perception_run-1_bold.nii.gz"
SECOND_BOLD = BOLD.replace("run-1", "run-2")
SIDECAR = "task-perception_bold.json"
MASK = "sub-01_desc-brain_mask.nii.gz"


def write_data_set(root: Path) -> Path:
    """Write raw BIDS data of one subject with two runs, and a brain mask beside them."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / SIDECAR).write_text(json.dumps({"RepetitionTime": TR, "SliceTiming": SLICE_TIMES}))
    for bold in (BOLD, SECOND_BOLD):
        save(head(), root / bold)
        (root / bold.replace("_bold.nii.gz", "_events.tsv")).write_text(EVENTS)
    save(head()[..., 0], root / T1W)
    save((head()[..., 0] > 100).astype(np.uint8), root / MASK)
    return root


FMRIPREP = {
    "bold": "sub-01/func/sub-01_task-perception_run-1_space-T1w_desc-preproc_bold.nii.gz",
    "t1w": "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
    "mask": "sub-01/anat/sub-01_desc-brain_mask.nii.gz",
    "dseg": "sub-01/anat/sub-01_desc-aparcaseg_dseg.nii.gz",
}


def write_fmriprep(root: Path) -> Path:
    """Write what fMRIPrep makes of the data set of `write_data_set`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    for number in ("run-1", "run-2"):
        bold = save(head(), root / FMRIPREP["bold"].replace("run-1", number), np.float32)
        sidecar = {"RepetitionTime": TR, "SliceTimingCorrected": True, "StartTime": TR / 2}
        bold.with_name(bold.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
        columns = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
        rows = ["\t".join(columns), *["\t".join("0" * 6)] * SHAPE[3]]
        stem = bold.name.partition("_space-T1w")[0]
        (bold.parent / f"{stem}_desc-confounds_timeseries.tsv").write_text("\n".join(rows) + "\n")
    save(head()[..., 0], root / FMRIPREP["t1w"])
    inside = head()[..., 0] > 100
    save(inside, root / FMRIPREP["mask"], np.uint8)
    save(inside * 1011.0, root / FMRIPREP["dseg"])
    return root


def head(n_volumes: int = SHAPE[3]) -> NDArray[np.float64]:
    """A ball with structure inside that moves a little, whole numbers from 0 to 1200."""
    i, j, k = np.indices(SHAPE[:3])
    volumes = []
    for index in range(n_volumes):
        x, y, z = i - 6.5 - 0.02 * index, j - 6 + 0.01 * index, k - 4.5
        radius = np.sqrt((x / 5) ** 2 + (y / 4.8) ** 2 + (z / 4) ** 2)
        inside = 1 / (1 + np.exp(8 * (radius - 1)))
        volumes.append(inside * (700 + 200 * np.sin(1.1 * x + y) + 150 * np.cos(0.9 * z - y)))
    noise = np.random.default_rng(3).normal(0, 4, (*SHAPE[:3], n_volumes))
    return np.rint(np.clip(np.stack(volumes, axis=-1) + noise, 0, None))


def save(
    values: NDArray[Any],
    file: Path,
    dtype: Any = np.int16,
    kind: Callable[..., Any] = nib.Nifti1Image,
    endianness: str = "<",
    time_unit: str = "sec",
    tr: float = TR,
) -> Path:
    """Write values as they are, without a scale, sform and qform being the same."""
    header = kind.header_class(endianness=endianness)  # type: ignore[attr-defined]
    header.set_data_dtype(np.dtype(dtype).newbyteorder(endianness))
    image = kind(values.astype(dtype), AFFINE, header)
    image.set_sform(AFFINE, 1)
    image.set_qform(AFFINE, 1)
    if values.ndim == 4:
        image.header.set_zooms((3, 3, 3, tr))
    image.header.set_xyzt_units("mm", time_unit)
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, file)
    return file


def colours(shape: tuple[int, ...]) -> tuple[NDArray[Any], Any]:
    """RGB voxels and their type."""
    dtype = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    return np.ones(shape, dtype), dtype


def change_header(file: Path, change: Callable[[nib.Nifti1Header], object]) -> Path:
    """Change the bytes of a header, which nibabel's images would set right on saving."""
    packed = file.name.endswith(".gz")
    content = gzip.decompress(file.read_bytes()) if packed else file.read_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    change(header)
    content = header.binaryblock + content[348:]
    file.write_bytes(gzip.compress(content) if packed else content)
    return file


def fields(**values: Any) -> Callable[[nib.Nifti1Header], None]:
    """Set fields of a header; lists are written over the first of an array."""

    def change(header: nib.Nifti1Header) -> None:
        for name, value in values.items():
            if isinstance(value, list):
                header[name][: len(value)] = value
            else:
                header[name] = value

    return change


def other_qform(affine: NDArray[np.float64]) -> Callable[[nib.Nifti1Header], None]:
    """Set the qform alone."""
    return lambda header: header.set_qform(affine, 1)


def moved(x: float = 0.0, mirrored: bool = False) -> NDArray[np.float64]:
    """The affine with the origin moved along x (mm), or with left and right changed."""
    affine = AFFINE.copy()
    affine[0] *= -1 if mirrored else 1
    affine[0, 3] += x
    return affine


NO_CODES = fields(sform_code=0, qform_code=0)
UNTRUSTED: dict[str, tuple[Callable[[nib.Nifti1Header], object], str]] = {
    "no codes": (NO_CODES, "its sform and qform codes are both 0, so left and right are"),
    "qform moved": (other_qform(moved(5)), "its sform and qform put voxels up to 5 mm apart"),
    "qform mirrored": (other_qform(moved(mirrored=True)), "its sform and qform put voxels up to"),
    "qform broken": (fields(quatern_b=2.0, quatern_c=2.0), "its qform cannot be read"),
    "micrometres": (fields(xyzt_units=3 | 8), "its header gives coordinates in micron"),
    "other zooms": (
        fields(qform_code=0, pixdim=[1, 1, 1, 1]),
        "its voxels are 3 x 3 x 3 mm by its sform and 1 x 1 x 1 mm by pixdim",
    ),
}
TRUSTED: dict[str, Callable[[nib.Nifti1Header], object]] = {
    "only the qform": fields(sform_code=0),
    "only the sform": fields(qform_code=0),
    "only the sform, of a template": fields(qform_code=0, sform_code=4),
    "sform of a template, qform of the scanner": fields(sform_code=4),
    "rounding": other_qform(moved(0.05)),
    "no unit": fields(xyzt_units=0),
}


def with_spike(value: float, volume: int = 8) -> NDArray[np.float64]:
    """The head with one value, in a volume counted from 0, that no tissue has."""
    values = head()
    values[7, 6, 5, volume] = value
    return values
