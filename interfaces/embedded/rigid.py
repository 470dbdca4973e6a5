"""Rigid-body parameters and their 4x4 matrices, in SPM's order."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def rigid_matrix(parameters: ArrayLike) -> NDArray[np.float64]:
    """Matrix of six rigid-body parameters: translation after pitch after roll after yaw.

    A point is turned about z (yaw), then y (roll), then x (pitch), all about the origin, then
    moved. The signs are SPM's: a positive yaw turns x towards -y, a positive roll x towards -z,
    a positive pitch y towards -z.

    Parameters
    ----------
    parameters : array_like, shape (6,)
        x, y, z in mm; pitch, roll, yaw in rad.

    Returns
    -------
    ndarray, shape (4, 4)
        The homogeneous matrix, as `spm_matrix(parameters)` of SPM12.
    """
    x, y, z, pitch, roll, yaw = np.asarray(parameters, dtype=float)
    about_x = np.array(
        [
            [1, 0, 0],
            [0, np.cos(pitch), np.sin(pitch)],
            [0, -np.sin(pitch), np.cos(pitch)],
        ]
    )
    about_y = np.array(
        [
            [np.cos(roll), 0, np.sin(roll)],
            [0, 1, 0],
            [-np.sin(roll), 0, np.cos(roll)],
        ]
    )
    about_z = np.array(
        [
            [np.cos(yaw), np.sin(yaw), 0],
            [-np.sin(yaw), np.cos(yaw), 0],
            [0, 0, 1],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = about_x @ about_y @ about_z
    matrix[:3, 3] = x, y, z
    return matrix


def rigid_parameters(matrix: ArrayLike) -> NDArray[np.float64]:
    """Six parameters of a rigid-body matrix: the inverse of `rigid_matrix`.

    Parameters
    ----------
    matrix : array_like, shape (4, 4)
        A rotation and a translation, no zoom or shear; |roll| below 90 degrees.

    Returns
    -------
    ndarray, shape (6,)
        x, y, z in mm; pitch, roll, yaw in rad, as the first six of SPM12's `spm_imatrix`.
    """
    rigid = np.asarray(matrix, dtype=float)
    rotation = rigid[:3, :3]
    pitch = np.arctan2(rotation[1, 2], rotation[2, 2])
    roll = np.arcsin(np.clip(rotation[0, 2], -1, 1))
    yaw = np.arctan2(rotation[0, 1], rotation[0, 0])
    return np.array([*rigid[:3, 3], pitch, roll, yaw])
