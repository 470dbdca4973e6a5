"""4x4 matrices between world spaces, and images in the terms of nibabel and of SimpleITK.

Everywhere in this project a matrix maps RAS mm world points of one space to another
(x to the right, y to the front, z up, as in NIfTI). SimpleITK's worlds are LPS (x to the left,
y to the back); the change of sign happens here and nowhere else.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from scipy.spatial.transform import Rotation

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import atomic_path

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_matrix(path: str | Path) -> np.ndarray:
    """Read a 4x4 affine matrix from plain text.

    Raises
    ------
    InputError
        If the file is missing or does not hold an invertible 4x4 affine matrix.
    """
    try:
        matrix = np.loadtxt(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error}); write it again."
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not a 4x4 matrix; write it again.") from error
    if not is_affine(matrix):
        raise InputError(f"{path} is not an invertible 4x4 affine matrix; write it again.")
    return np.asarray(matrix, dtype=float)


def write_matrix(path: str | Path, matrix: np.ndarray) -> None:
    """Write a 4x4 affine matrix as four rows of plain text with ten decimals."""
    with atomic_path(path) as temporary:
        np.savetxt(temporary, matrix, fmt="%.10f")


def is_affine(matrix: np.ndarray) -> bool:
    """Tell whether this is a finite, invertible 4x4 matrix whose last row is 0 0 0 1."""
    return bool(
        matrix.shape == (4, 4)
        and np.isfinite(matrix).all()
        and np.allclose(matrix[3], [0, 0, 0, 1])
        and abs(np.linalg.det(matrix[:3, :3])) > 1e-9
    )


def flip_ras_lps(matrix: np.ndarray) -> np.ndarray:
    """Turn a 4x4 matrix between RAS worlds into one between LPS worlds, and the reverse."""
    return np.asarray(_FLIP @ matrix @ _FLIP)


def rigid_matrix(
    translation: np.ndarray, rotation: np.ndarray, centre: np.ndarray | None = None
) -> np.ndarray:
    """4x4 matrix of a turn about `centre`, followed by a shift.

    Parameters
    ----------
    translation : array (3,)
        Shift in mm.
    rotation : array (3,)
        Angles in rad about x, y and z, taken one after the other about the fixed axes.
    centre : array (3,), optional
        Point in mm about which is turned; the origin by default.
    """
    about = np.zeros(3) if centre is None else np.asarray(centre, dtype=float)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation).as_matrix()
    matrix[:3, 3] = about + np.asarray(translation) - matrix[:3, :3] @ about
    return matrix


def displacements(first: np.ndarray, second: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance in mm between where two 4x4 matrices take each of `points` (n, 3)."""
    return np.asarray(
        np.linalg.norm(apply_affine(first, points) - apply_affine(second, points), axis=1)
    )


def is_inside(voxels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Tell which voxel coordinates (n, 3) lie between the outermost voxel centres of a grid."""
    return np.asarray(((voxels >= 0) & (voxels <= np.array(shape) - 1)).all(axis=1))


def mask_points(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """World coordinates (n, 3) in mm of the voxels that are true in a 3D mask."""
    return np.asarray(apply_affine(affine, np.argwhere(mask)))


def to_sitk(image: SpatialImage) -> sitk.Image:
    """Give a 3D nibabel image to SimpleITK, as 32-bit float, with its place in the world.

    Raises
    ------
    InputError
        If the image's axes are not at right angles, which SimpleITK cannot represent.
    """
    affine = flip_ras_lps(image.affine) @ _FLIP
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise InputError(
            f"{image.get_filename() or 'an image'} has a sheared affine; "
            "resample it to a grid with perpendicular axes."
        )
    left, _, right = np.linalg.svd(direction)
    data = np.asarray(image.dataobj, dtype=np.float32)
    converted = sitk.GetImageFromArray(data.T)
    converted.SetSpacing(spacing.tolist())
    converted.SetDirection((left @ right).ravel().tolist())
    converted.SetOrigin(affine[:3, 3].tolist())
    return converted


def to_sitk_transform(matrix: np.ndarray) -> sitk.AffineTransform:
    """SimpleITK transform that takes LPS points as the 4x4 `matrix` takes RAS points."""
    lps = flip_ras_lps(matrix)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def from_sitk_transform(transform: sitk.Transform) -> np.ndarray:
    """4x4 RAS matrix of any linear SimpleITK transform, read off from four points."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    lps = np.eye(4)
    for axis, unit in enumerate(np.eye(3)):
        lps[:3, axis] = np.array(transform.TransformPoint(unit.tolist())) - origin
    lps[:3, 3] = origin
    return flip_ras_lps(lps)
