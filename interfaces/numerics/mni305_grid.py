"""The target space: FreeSurfer's MNI305 grid at 2 mm, and how it lies to MNI152.

The grid is that of FreeSurfer's `average/mni305.cor.subfov2`, into which `mri_vol2vol --tal
--talres 2` resamples; the affine between the two MNI spaces is that of FreeSurfer's
`average/mni152.register.dat`.
"""

from typing import Final

import numpy as np

SHAPE: Final = (76, 76, 93)

AFFINE: Final = np.array(
    [
        [-2.0, 0.0, 0.0, 74.0],
        [0.0, 0.0, 2.0, -109.0],
        [0.0, -2.0, 0.0, 85.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)

MNI305_TO_MNI152: Final = np.array(
    [
        [0.9975, -0.0073, 0.0176, -0.0429],
        [0.0146, 1.0009, -0.0024, 1.5496],
        [-0.0130, -0.0093, 0.9971, 1.1840],
        [0.0, 0.0, 0.0, 1.0],
    ]
)

MNI152_TO_MNI305: Final = np.linalg.inv(MNI305_TO_MNI152)

for _matrix in (AFFINE, MNI305_TO_MNI152, MNI152_TO_MNI305):
    _matrix.setflags(write=False)
