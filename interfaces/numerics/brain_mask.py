"""Where the brain is in the EPI, told by the T1w image and not by the EPI's intensity.

A threshold on the EPI would cut what dropout has darkened: orbitofrontal and ventral temporal
cortex, and the hippocampus among them. Instead the brain mask of the T1w image comes through the
coregistration, a little dilated, as the EPI is distorted where the field is.
"""

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from scipy import ndimage

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.numerics.resampling import resample

DILATION = 4.0  # mm
MINIMUM_VOLUME = 100_000.0  # mm3


def brain_mask(
    boldref: SpatialImage,
    valid: np.ndarray,
    bold_to_t1w: np.ndarray,
    t1w_mask: SpatialImage,
    dilation: float = DILATION,
) -> nib.Nifti1Image:
    """Brain mask in the grid of the mean EPI.

    Parameters
    ----------
    boldref : nibabel image
        Mean EPI; only its grid is used.
    valid : array of bool
        Voxels with data in every volume of every run.
    bold_to_t1w : array (4, 4)
        World RAS mm of the first to that of the second.
    t1w_mask : nibabel image
        Above 0 in the brain, in any grid in the world of the T1w image.
    dilation : float
        In mm.

    Returns
    -------
    nibabel image, uint8

    Raises
    ------
    StepError
        If less than 100 ml of brain lie inside the EPI.
    """
    whole = np.asarray(t1w_mask.dataobj) > 0
    if not whole.any():
        raise StepError("The brain mask of the T1w image is empty: supply another with --t1w-mask.")
    (box,) = ndimage.find_objects(whole.astype(np.int8))
    sizes = np.linalg.norm(t1w_mask.affine[:3, :3], axis=0)
    # Room for the dilation on all sides, also where the brain reaches the border of the image.
    room = np.ceil(dilation / sizes).astype(int)
    brain = np.pad(whole[box], [(size, size) for size in room])
    wide = ndimage.distance_transform_edt(~brain, sampling=sizes) <= dilation
    corner = nib.affines.from_matvec(np.eye(3), [side.start for side in box] - room)
    mask = valid & (
        resample(
            wide.astype(np.uint8),
            t1w_mask.affine @ corner,
            boldref.shape[:3],
            boldref.affine,
            np.linalg.inv(bold_to_t1w),
            "nearest",
        )
        > 0
    )
    volume = mask.sum() * abs(np.linalg.det(boldref.affine[:3, :3]))
    if volume < MINIMUM_VOLUME:
        raise StepError(
            f"Only {volume / 1000:.0f} ml of brain lie inside the EPI; check the field of view "
            "and the reports of the two registrations."
        )
    return nib.Nifti1Image(mask.astype(np.uint8), boldref.affine)
