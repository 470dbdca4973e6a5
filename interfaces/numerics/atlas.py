"""Desikan-Killiany regions in MNI305."""

from functools import cache

import nibabel as nib
import numpy as np

from conceptrsa.bids_config.desikan_killiany import desikan_killiany_mni152
from conceptrsa.interfaces.numerics import mni305_grid


@cache
def desikan_killiany_mni305() -> tuple[nib.Nifti1Image, dict[int, str]]:
    """The atlas in the 76x76x93 MNI305 grid of 2 mm, by nearest neighbour; as in MNI152."""
    image, names = desikan_killiany_mni152()
    to_mni305 = mni305_grid.MNI152_TO_MNI305
    labels = mni305_grid.to_mni305(np.asarray(image.dataobj), image.affine, to_mni305, "nearest")
    return nib.Nifti1Image(labels, mni305_grid.AFFINE), names
