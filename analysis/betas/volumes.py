"""Reading volumes of betas, and the grid that they lie in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.spatialimages import SpatialImage

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.brain.patterns import AFFINE_TOLERANCE_MM, VoxelGrid
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.image_spaces import family_of, space_of
from conceptrsa.bids_config.images import open_image, readable
from conceptrsa.bids_config.names import VOLUME_SUFFIXES

STANDARD = ("MNI152", "MNI305")
"""Families of spaces that templates and surfaces are known in."""

ESTIMATE_AGAIN = "estimate it again, or leave that stimulus out"


@dataclass(frozen=True)
class Grid:
    """Shape and affine (voxel to world, mm) of a volume, and the file they were read from."""

    shape: tuple[int, ...]
    affine: Floats
    file: Path
    header: Any = None

    @classmethod
    def of(cls, image: SpatialImage, file: Path) -> "Grid":
        """The grid of a volume, or of each of several."""
        return cls(tuple(image.shape[:3]), np.asarray(image.affine), file, image.header)

    @property
    def space(self) -> str | None:
        """Name of the space, where the file's name or header tells."""
        return space_of(self.file, self.header)

    def in_standard_space(self, atlas: Sequence[Path] = ()) -> VoxelGrid | None:
        """Give the grid of a standard space; None in any other.

        Where nothing tells the space, it is that of the atlas, which lies in the same grid.
        """
        if self.shape.count(1) > 1 or "hemi-" in self.file.name:
            return None  # a surface
        spaces = (self.space, *(space_of(file, None) for file in atlas))
        space = family_of(next(filter(None, spaces), ""))
        return VoxelGrid(self.shape, self.affine, space) if space in STANDARD else None

    def is_same(self, other: "Grid") -> bool:
        """Tell whether `other` has this grid."""
        return self.shape == other.shape and np.allclose(
            self.affine, other.affine, rtol=0, atol=AFFINE_TOLERANCE_MM
        )

    def require_same(self, other: "Grid") -> None:
        """Raise an InputError unless `other` has this grid."""
        if self.is_same(other):
            return
        what = f"its shape is {other.shape}, not {self.shape}"
        if self.shape == other.shape:
            what = f"both are of shape {self.shape}, but their affines differ"
        raise InputError(
            f"{other.file} is not in the grid of {self.file} ({what}): resample one of them to the "
            "other's grid"
        )


def load_volume(file: Path) -> SpatialImage:
    """Open a .nii, .nii.gz, .mgz or .mgh file of real numbers, its data still on disk.

    Raises
    ------
    InputError
        If it is absent, of another kind, or its header cannot be read.
    """
    if not str(file).endswith(VOLUME_SUFFIXES):
        raise InputError(f"{file} is not a volume file: give .nii, .nii.gz, .mgz or .mgh")
    return open_image(file)


def n_volumes_of(image: SpatialImage) -> int:
    """Number of volumes of a 3D or 4D image."""
    return int(image.shape[3]) if len(image.shape) == 4 else 1


def read_volume(image: SpatialImage, index: int, voxels: Integers, file: Path) -> Floats:
    """Values of volume `index` (0 for a 3D image) at flat voxel indices."""
    with readable(file):
        data = image.dataobj[..., index] if len(image.shape) == 4 else image.dataobj
        return np.asarray(data, dtype=np.float64).ravel()[voxels]


def require_finite(values: Floats, stimulus: str, place: object) -> None:
    """Check that a stimulus has a finite beta in some voxel.

    Raises
    ------
    InputError
    """
    if not np.isfinite(values).any():
        raise InputError(
            f"the beta of stimulus {stimulus} in {place} is not finite in any voxel of any region: "
            f"{ESTIMATE_AGAIN}"
        )
