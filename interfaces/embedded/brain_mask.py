"""Where the brain is in the EPI, told by the template and not by the EPI's intensity.

A threshold on the EPI would cut what dropout has darkened: orbitofrontal and ventral temporal
cortex, and the hippocampus among them. Instead the template's brain mask comes through the two
transforms, a little dilated, as an affine transform leaves some of the brain outside.
"""

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from scipy import ndimage

from bids_config.errors import StepError
from interfaces.embedded import mni305
from interfaces.embedded.resampling import resample

DILATION = 4.0  # mm
MINIMUM_VOLUME = 100_000.0  # mm3


def brain_mask(
    boldref: SpatialImage,
    valid: np.ndarray,
    bold_to_t1w: np.ndarray,
    t1w_to_mni305: np.ndarray,
    dilation: float = DILATION,
) -> nib.Nifti1Image:
    """Brain mask in the grid of the mean EPI.

    Parameters
    ----------
    boldref : nibabel image
        Mean EPI; only its grid is used.
    valid : array of bool
        Voxels with data in every volume of every run.
    bold_to_t1w, t1w_to_mni305 : array (4, 4)
        World RAS mm of the first to that of the second.
    dilation : float
        In mm, in the space of the template.

    Returns
    -------
    nibabel image, uint8

    Raises
    ------
    StepError
        If less than 100 ml of brain lie inside the EPI.
    """
    from nilearn.datasets import load_mni152_brain_mask

    template = load_mni152_brain_mask(resolution=2)
    brain = np.asarray(template.dataobj) > 0
    sizes = np.linalg.norm(template.affine[:3, :3], axis=0)
    wide = ndimage.distance_transform_edt(~brain, sampling=sizes) <= dilation
    template_to_bold = (
        np.linalg.inv(bold_to_t1w) @ np.linalg.inv(t1w_to_mni305) @ mni305.MNI152_TO_MNI305
    )
    mask = valid & (
        resample(
            wide.astype(np.uint8),
            template.affine,
            boldref.shape[:3],
            boldref.affine,
            template_to_bold,
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
