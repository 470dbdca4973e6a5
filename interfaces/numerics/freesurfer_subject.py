"""Read files of a FreeSurfer subject directory, in FreeSurfer's two coordinate systems.

A FreeSurfer volume has a scanner world (`vox2ras`, the RAS of its NIfTI affine) and a
"tkregister" world (`vox2ras-tkr`), centred on the volume with the axes along the scanner's nearest
ones for conformed volumes. `talairach.xfm` maps the *scanner* RAS of `orig.mgz` to MNI305 RAS;
`register.dat` maps *tkregister* RAS of the anatomy to *tkregister* RAS of the functional volume.
Everything else in this project speaks scanner RAS.
"""

from pathlib import Path

import nibabel as nib
import numpy as np

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import read_labels
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.transforms import is_affine

LARGEST_LABEL = 32767
"""Regions are saved as int16."""


def talairach_file(subject_dir: str | Path) -> Path:
    """Path of the transform to MNI305 in a FreeSurfer subject directory."""
    return Path(subject_dir) / "mri" / "transforms" / "talairach.xfm"


def segmentation_file(subject_dir: str | Path) -> Path:
    """Path of the regions in a FreeSurfer subject directory."""
    return Path(subject_dir) / "mri" / "aparc+aseg.mgz"


def read_talairach(subject_dir: str | Path) -> np.ndarray:
    """Read the scanner RAS to MNI305 RAS matrix (4x4) of `mri/transforms/talairach.xfm`.

    Raises
    ------
    InputError
        If the subject directory or the file is missing, or the file is not an MNI .xfm file with
        a linear transform.
    """
    path = talairach_file(subject_dir)
    remedy = "run recon-all on this subject, or leave the FreeSurfer subjects directory out"
    if not path.is_file():
        raise InputError(f"{path} is missing; {remedy}.")
    try:
        header, _, body = path.read_text().partition("Linear_Transform")
        numbers = [float(word) for word in body.partition(";")[0].replace("=", " ").split()]
        matrix = np.vstack([np.reshape(numbers, (3, 4)), [0, 0, 0, 1]])
    except (OSError, ValueError):
        header, matrix = "", np.zeros((4, 4))
    if "MNI Transform File" not in header or not is_affine(matrix):
        raise InputError(f"{path} is not an MNI .xfm file with a linear transform; {remedy}.")
    return matrix


def read_register_dat(path: str | Path) -> tuple[str, np.ndarray]:
    """Read a tkregister `register.dat` file.

    Returns
    -------
    subject : str
    matrix : array (4, 4)
        tkregister RAS of the subject's anatomy to tkregister RAS of the registered volume.

    Raises
    ------
    InputError
        If the file cannot be read as one.
    """
    try:
        lines = Path(path).read_text().split("\n")
        matrix = np.array([[float(word) for word in line.split()] for line in lines[4:8]])
    except (OSError, ValueError):
        lines, matrix = [], np.zeros((4, 4))
    if not is_affine(matrix):
        raise InputError(
            f"{path} is not a register.dat file with an invertible 4x4 matrix in its lines 5 to 8."
        )
    return lines[0].strip(), matrix


def scanner_to_tkr(image: nib.spatialimages.SpatialImage) -> np.ndarray:
    """Scanner RAS to tkregister RAS (4x4) of a volume: FreeSurfer's `vox2ras-tkr` for its grid."""
    columns, rows, slices = np.asarray(image.shape[:3]) / 2
    x, y, z = np.linalg.norm(image.affine[:3, :3], axis=0)
    vox2ras_tkr = np.array(
        [
            [-x, 0, 0, x * columns],
            [0, 0, z, -z * slices],
            [0, -y, 0, y * rows],
            [0, 0, 0, 1],
        ]
    )
    return np.asarray(vox2ras_tkr @ np.linalg.inv(image.affine))


def labels_mni305(path: str | Path, t1w_to_mni305: np.ndarray) -> nib.Nifti1Image:
    """A label image in the MNI305 grid, by nearest neighbour, int16.

    Parameters
    ----------
    path : str or Path
        3D label image in T1w space.
    t1w_to_mni305 : array (4, 4)
        World RAS mm of the image to MNI305 RAS.

    Raises
    ------
    InputError
        If the image is missing, cannot be read, or holds no labels.
    """
    labels, affine = read_labels(path)
    if labels.max() > LARGEST_LABEL:
        raise InputError(
            f"{path} holds the label {labels.max()}, above the largest of an aparc+aseg that is "
            f"known, {LARGEST_LABEL}: give an aparc+aseg"
        )
    moved = mni305_grid.to_mni305(labels.astype(np.int16), affine, t1w_to_mni305, "nearest")
    return nib.Nifti1Image(moved, mni305_grid.AFFINE)
