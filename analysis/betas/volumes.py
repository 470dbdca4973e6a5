"""Reading beta volumes and label volumes, and keeping only the voxels of the regions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.spatialimages import SpatialImage

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import (
    open_image,
    read_labels,
    readable,
    require_orientation,
)
from conceptrsa.bids_config.schema import RoiDefinition

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mgz")

ESTIMATE_AGAIN = "estimate it again, or leave that stimulus out of every subject"

SUBJECT_PLACE = "{subject}"
"""In the name of an atlas: the subject's label without `sub-`."""

AFFINE_TOLERANCE_MM = 1e-3
"""Two affines that differ by no more describe the same grid."""


@dataclass(frozen=True)
class Grid:
    """Shape and affine (voxel to world, mm) of a volume, and the file they were read from."""

    shape: tuple[int, ...]
    affine: Floats
    file: Path

    def require_same(self, other: "Grid") -> None:
        """Raise an InputError unless `other` has this grid."""
        same = self.shape == other.shape and np.allclose(
            self.affine, other.affine, rtol=0, atol=AFFINE_TOLERANCE_MM
        )
        if same:
            return
        what = f"its shape is {other.shape}, not {self.shape}"
        if self.shape == other.shape:
            what = f"both are of shape {self.shape}, but their affines differ"
        raise InputError(
            f"{other.file} lies on another grid than {self.file} ({what}): resample one of them to "
            "the other's grid"
        )


@dataclass(frozen=True)
class RoiVoxels:
    """The voxels of every region in one label volume.

    Attributes
    ----------
    grid : Grid
    rois : dict of str to ndarray
        Flat (C order) voxel indices by region name, increasing.
    ignore_place : bool
        Whether volumes whose place cannot be trusted are taken.
    doubt : str or None
        Why that of the label volume cannot be trusted, where that is ignored.
    """

    grid: Grid
    rois: dict[str, Integers]
    ignore_place: bool = False
    doubt: str | None = None

    @property
    def union(self) -> Integers:
        """Voxels that lie in any region, increasing."""
        return np.unique(np.concatenate(list(self.rois.values())))


def read_roi_voxels(
    atlas_file: Path, rois: Sequence[RoiDefinition], ignore_place: bool = False
) -> RoiVoxels:
    """Find the voxels of the regions in a label volume.

    Raises
    ------
    InputError
        If the file cannot be read, is not a volume of whole numbers, lacks a label, or, unless
        ignored, its place cannot be trusted.
    """
    doubt = require_orientation(load_volume(atlas_file), atlas_file, ignore_place)
    labels, affine = read_labels(atlas_file)
    flat = labels.ravel()
    present = set(np.unique(flat).tolist())
    voxels = {}
    for roi in rois:
        absent = [label for label in roi.labels if label not in present]
        if absent:
            raise InputError(
                f"{atlas_file} holds no voxel with label {absent[0]}, which region {roi.name} "
                "needs: give the atlas that the region's labels belong to"
            )
        voxels[roi.name] = np.flatnonzero(np.isin(flat, roi.labels))
    return RoiVoxels(Grid(labels.shape, affine, Path(atlas_file)), voxels, ignore_place, doubt)


def regions_by_subject(
    atlas: Path, rois: Sequence[RoiDefinition], ignore_place: bool = False
) -> Callable[[str], RoiVoxels]:
    """Give what finds the regions of a subject: the same for all, or an atlas for each.

    Parameters
    ----------
    atlas : Path
        Label volume; `{subject}` in it stands for the subject's label without `sub-`.
    rois : sequence of RoiDefinition
    ignore_place : bool
        Take volumes whose place and orientation cannot be trusted, with a note.

    Returns
    -------
    callable
        From a subject's label to `RoiVoxels`.

    Raises
    ------
    InputError
        As `read_roi_voxels`, for an atlas of each subject once it is asked for.
    """
    if SUBJECT_PLACE in str(atlas):
        return lambda subject: read_roi_voxels(
            Path(str(atlas).replace(SUBJECT_PLACE, subject)), rois, ignore_place
        )
    regions = read_roi_voxels(Path(atlas), rois, ignore_place)
    return lambda subject: regions


def load_volume(file: Path) -> SpatialImage:
    """Open a .nii, .nii.gz or .mgz file of real numbers, its data still on disk.

    Raises
    ------
    InputError
        If it is absent, of another kind, or its header cannot be read.
    """
    if not str(file).endswith(VOLUME_SUFFIXES):
        raise InputError(f"{file} is not a volume file: give .nii, .nii.gz or .mgz")
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
