"""How well a derivative's regions cover the subject's own, which the atlas and the warp give."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305
from conceptrsa.interfaces.numerics.mni305_grid import AFFINE, SHAPE
from conceptrsa.pipelines.demo.truth import SubjectTruth

HEMISPHERES = ("left", "right")


@dataclass(frozen=True)
class Overlap:
    """Of two masks of one region.

    Attributes
    ----------
    dice : float
        Twice the common voxels over all voxels of both.
    distance : float
        Between the centres of gravity in mm; NaN where a mask is empty.
    """

    dice: float
    distance: float


@dataclass(frozen=True)
class RegionErrors:
    """One region in one hemisphere of one subject, against the true region.

    Attributes
    ----------
    roi, hemisphere : str
    atlas : Overlap
        Of the atlas, put there by the recovered affine alone.
    found : Overlap
        Of the derivative's segmentation.
    """

    roi: str
    hemisphere: str
    atlas: Overlap
    found: Overlap


def overlap(first: np.ndarray, second: np.ndarray) -> Overlap:
    """Compare two masks in the MNI305 grid of 2 mm."""
    n_voxels = int(first.sum()) + int(second.sum())
    if not (first.any() and second.any()):
        return Overlap(0.0, float("nan"))
    centres = [apply_affine(AFFINE, np.argwhere(mask)).mean(axis=0) for mask in (first, second)]
    return Overlap(
        2 * int((first & second).sum()) / n_voxels, float(np.linalg.norm(centres[0] - centres[1]))
    )


def region_errors(
    truth: SubjectTruth, t1w_to_mni305: np.ndarray, dseg_file: Path
) -> tuple[RegionErrors, ...]:
    """Compare a segmentation with the subject's true regions, both seen through one affine.

    Each hemisphere counts for itself: errors to the left and to the right would cancel in the
    centre of both, and a flip of sides would not show.

    Parameters
    ----------
    truth : SubjectTruth
    t1w_to_mni305 : (4, 4) array
        The recovered affine.
    dseg_file : Path
        Desikan-Killiany ids in the MNI305 grid of 2 mm.

    Raises
    ------
    InputError
        If the segmentation is missing or lies in another grid.
    """
    found = _read_labels(dseg_file)
    true = truth.labels_in_mni305(t1w_to_mni305)
    atlas = np.asarray(desikan_killiany_mni305()[0].dataobj)
    labels = {roi.name: roi.labels for roi in load_dataset_config("demo").rois}
    errors = []
    for roi in truth.rois:
        for hemisphere in HEMISPHERES:
            ids = labels[f"{roi}-{hemisphere}"]
            region, from_atlas, from_file = (np.isin(x, ids) for x in (true, atlas, found))
            errors.append(
                RegionErrors(
                    roi, hemisphere, overlap(from_atlas, region), overlap(from_file, region)
                )
            )
    return tuple(errors)


def _read_labels(dseg_file: Path) -> np.ndarray:
    if not dseg_file.is_file():
        raise InputError(f"{dseg_file} is missing: run the participant level again.")
    image = nib.load(dseg_file)
    if image.shape != SHAPE or not np.allclose(image.affine, AFFINE, atol=1e-3):
        raise InputError(
            f"{dseg_file} does not lie in the MNI305 grid of 2 mm: remove the derivatives and run "
            "the demo again."
        )
    return np.asarray(image.dataobj)
