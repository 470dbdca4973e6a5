"""Measure how far the recovered values of a demo subject are from the planted ones.

Spaces: the truth is given in the grid of the very first volume, before any motion. The recovered
motion, too, is referred to that volume, but any error in registering the first volume itself
shifts all others alike, and with them the space of the mean EPI. This common offset is arbitrary:
it is estimated as the mean disagreement of planted and recovered motion, taken out of the motion
error, and put before the planted coregistration, which starts from the first volume where the
recovered one starts from the mean EPI. The betas are compared voxel by voxel without it; it is a
few hundredths of a millimetre.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from scipy.linalg import polar

from conceptrsa.bids_config import load_dataset_config
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.tsv import read_table
from conceptrsa.interfaces.numerics.atlas import desikan_killiany_mni305
from conceptrsa.interfaces.numerics.design import MOTION_PARAMETERS
from conceptrsa.interfaces.numerics.mni305_grid import AFFINE, MNI305_TO_MNI152, SHAPE
from conceptrsa.interfaces.numerics.realignment import rigid_matrix
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import displacements, mask_points, read_matrix
from conceptrsa.pipelines.demo.demo_dataset import TASK
from conceptrsa.pipelines.demo.truth import SubjectTruth

HEMISPHERES = ("left", "right")

MOTION = "motion, RMS over the brain (mm)"
COREGISTRATION = "coregistration, mean over the brain (mm)"
NORMALIZATION = "normalization, mean over the brain (mm)"
DICE = "region, Dice of the worse hemisphere"
CENTRE = "region centre, worse hemisphere (mm)"
BOLD_BETAS = "betas, correlation in EPI space"
MNI305_BETAS = "betas, correlation in MNI305"


class Measure(NamedTuple):
    """One figure of one subject.

    For an error in mm, `planted` is the displacement that was planted, that is the error of doing
    nothing, and `recovered` is the error that is left; for the overlap and the centre of a region,
    `planted` is the figure of the plain atlas.
    """

    quantity: str
    roi: str
    subject: str
    planted: float
    recovered: float


def measure_subject(truth: SubjectTruth, folder: Path) -> Iterator[Measure]:
    """Compare a subject's derivatives with the truth.

    Parameters
    ----------
    truth : SubjectTruth
    folder : Path
        The subject's derivatives.

    Yields
    ------
    Measure
        Of the regions one for each hemisphere, in MNI305 under the hemisphere's name.

    Raises
    ------
    InputError
        If a derivative is missing or belongs to another data set.
    """
    subject = folder.name
    func, anat = folder / "func", folder / "anat"
    brain = mask_points(truth.brain, truth.bold_affine)
    still = np.eye(4)

    planted_motion = truth.motion.reshape(-1, 4, 4)
    recovered_motion = _read_motion(func, planted_motion)
    offset = common_offset(planted_motion, recovered_motion)
    moved = motion_error(planted_motion, np.broadcast_to(still, planted_motion.shape), brain)
    left = motion_error(planted_motion @ offset, recovered_motion, brain)
    yield Measure(MOTION, "n/a", subject, moved, left)

    bold_to_t1w = read_matrix(func / f"{subject}_task-{TASK}_from-boldref_to-T1w_xfm.txt")
    t1w_to_mni305 = read_matrix(anat / f"{subject}_from-T1w_to-MNI305_xfm.txt")
    t1w_to_mni152 = MNI305_TO_MNI152 @ t1w_to_mni305
    brain_in_t1w = apply_affine(truth.bold_to_t1w, brain)
    for quantity, planted, recovered, points in (
        (COREGISTRATION, truth.bold_to_t1w @ offset, bold_to_t1w, brain),
        (NORMALIZATION, truth.t1w_to_mni152, t1w_to_mni152, brain_in_t1w),
    ):
        moved, left = (
            float(displacements(planted, other, points).mean()) for other in (still, recovered)
        )
        yield Measure(quantity, "n/a", subject, moved, left)

    true = truth.labels_in_mni305(t1w_to_mni305)
    found = _read_labels(anat / f"{subject}_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz")
    yield from _measure_regions(true, found, truth.rois, subject)

    stem = f"{subject}_task-{TASK}_space"
    in_bold = func / f"{stem}-boldref_stat-effect_statmap.nii.gz"
    for roi, correlation in _beta_correlations(truth, in_bold).items():
        yield Measure(BOLD_BETAS, roi, subject, 1.0, correlation)
    in_mni305 = func / f"{stem}-MNI305_res-2_stat-effect_statmap.nii.gz"
    for roi, correlation in _mni305_correlations(truth, in_mni305, t1w_to_mni305).items():
        yield Measure(MNI305_BETAS, roi, subject, 1.0, correlation)


def _measure_regions(
    true: np.ndarray, found: np.ndarray, rois: tuple[str, ...], subject: str
) -> Iterator[Measure]:
    """Compare a segmentation with the subject's true regions, both seen through one affine.

    Each hemisphere counts for itself: errors to the left and to the right would cancel in the
    centre of both, and a flip of sides would not show.
    """
    atlas = np.asarray(desikan_killiany_mni305()[0].dataobj)
    labels = {roi.name: roi.labels for roi in load_dataset_config("demo").rois}
    for roi in rois:
        for hemisphere in HEMISPHERES:
            ids = labels[f"{roi}-{hemisphere}"]
            region, from_atlas, from_file = (np.isin(x, ids) for x in (true, atlas, found))
            planted, recovered = overlap(from_atlas, region), overlap(from_file, region)
            yield Measure(DICE, roi, subject, planted[0], recovered[0])
            yield Measure(CENTRE, roi, subject, planted[1], recovered[1])


def overlap(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Compare two masks in the MNI305 grid of 2 mm.

    Returns
    -------
    dice : float
        Twice the common voxels over all voxels of both.
    distance : float
        Between the centres of gravity in mm; NaN where a mask is empty.
    """
    if not (first.any() and second.any()):
        return 0.0, float("nan")
    centres = [apply_affine(AFFINE, np.argwhere(mask)).mean(axis=0) for mask in (first, second)]
    dice = 2 * int((first & second).sum()) / (int(first.sum()) + int(second.sum()))
    return dice, float(np.linalg.norm(centres[0] - centres[1]))


def _read_labels(dseg_file: Path) -> np.ndarray:
    if not dseg_file.is_file():
        raise InputError(f"{dseg_file} is missing: run the participant level again.")
    image = nib.load(dseg_file)
    _require_grid(image, dseg_file, SHAPE, AFFINE)
    return np.asarray(image.dataobj)


def _require_grid(
    image: nib.Nifti1Image, file: Path, shape: tuple[int, ...], affine: np.ndarray
) -> None:
    if image.shape[:3] != shape or not np.allclose(image.affine, affine, atol=1e-3):
        raise InputError(
            f"{file} does not lie in the demo's grid: remove the derivatives and run the demo "
            "again."
        )


def _read_motion(func: Path, planted: np.ndarray) -> np.ndarray:
    """Scanner RAS of the first volume to that of each volume, (volumes, 4, 4).

    The tables hold SPM's parameters, which lead from a volume back to the first one.
    """
    tables = sorted(func.glob("*_desc-confounds_timeseries.tsv"))
    parameters = [read_table(table).numbers(MOTION_PARAMETERS) for table in tables]
    if sum(map(len, parameters)) != len(planted):
        raise InputError(
            f"The confounds tables in {func} do not hold the {len(planted)} volumes of the demo: "
            "remove the derivatives and run the demo again."
        )
    back = np.stack([rigid_matrix(row) for row in np.concatenate(parameters)])
    inverse: np.ndarray = np.linalg.inv(back)
    return inverse


def common_offset(planted: np.ndarray, recovered: np.ndarray) -> np.ndarray:
    """Rigid 4x4 matrix that all recovered positions have in common before the planted ones.

    The mean over the volumes of inv(planted) @ recovered, its rotation the nearest orthogonal one.
    """
    mean = (np.linalg.inv(planted) @ recovered).mean(axis=0)
    mean[:3, :3], _ = polar(mean[:3, :3])
    offset: np.ndarray = mean
    return offset


def motion_error(planted: np.ndarray, recovered: np.ndarray, points: np.ndarray) -> float:
    """Root mean square distance, over volumes and points, of planted and recovered positions.

    Parameters
    ----------
    planted, recovered : (volumes, 4, 4) arrays
    points : (n, 3) array in mm
    """
    homogeneous = np.column_stack([points, np.ones(len(points))])
    second_moments = homogeneous.T @ homogeneous / len(points)
    difference = (planted - recovered)[:, :3]
    squares = np.einsum("vij,jk,vik->v", difference, second_moments, difference)
    return float(np.sqrt(max(squares.mean(), 0.0)))


def _beta_correlations(truth: SubjectTruth, betas_file: Path) -> dict[str, float]:
    """Pearson correlation over all stimuli and responsive voxels of each region.

    Voxels without betas, outside the field of view in some volume, are left out.
    """
    image, order = _read_betas(betas_file, truth)
    _require_grid(image, betas_file, truth.brain.shape, truth.bold_affine)
    is_responsive = truth.responsive > 0
    recovered = np.asarray(image.dataobj)[is_responsive].T
    planted = truth.betas[order]
    roi_of_voxel = truth.responsive[is_responsive]
    return {
        roi: _correlation(planted[:, roi_of_voxel == number], recovered[:, roi_of_voxel == number])
        for number, roi in enumerate(truth.rois, start=1)
    }


def _mni305_correlations(
    truth: SubjectTruth, betas_file: Path, t1w_to_mni305: np.ndarray
) -> dict[str, float]:
    """Correlation in MNI305 with the planted betas, taken there by way of the planted T1w.

    Over all stimuli and the voxels that lie mostly in responsive tissue of a region, for each
    hemisphere, so that a wrong transform, a flip of sides and a wrong order of stimuli all show.
    From the T1w image on, the planted betas go as the recovered ones did: no affine transform is
    the right one of a head of another shape, and how far it is off has rows of its own.
    """
    image, order = _read_betas(betas_file, truth)
    bold_to_mni305 = t1w_to_mni305 @ truth.bold_to_t1w
    is_responsive = truth.responsive > 0
    planted = np.zeros((*truth.brain.shape, len(order)), dtype=np.float32)
    planted[is_responsive] = truth.betas[order].T

    def to_mni305(values: np.ndarray) -> np.ndarray:
        return resample(values, truth.bold_affine, SHAPE, AFFINE, bold_to_mni305)

    planted_there = to_mni305(planted)
    recovered = np.asarray(image.dataobj)
    right = apply_affine(AFFINE, np.indices(SHAPE).reshape(3, -1).T)[:, 0].reshape(SHAPE) > 0
    correlations = {}
    for number, roi in enumerate(truth.rois, start=1):
        inside = to_mni305((truth.responsive == number).astype(np.float32)) > 0.5
        for hemisphere, side in (("left", ~right), ("right", right)):
            chosen = inside & side
            correlations[f"{roi}-{hemisphere}"] = _correlation(
                planted_there[chosen].T, recovered[chosen].T
            )
    return correlations


def _read_betas(betas_file: Path, truth: SubjectTruth) -> tuple[nib.Nifti1Image, list[int]]:
    """Give the image, and which of the planted stimuli each of its volumes is."""
    table_file = betas_file.with_name(betas_file.name.replace(".nii.gz", ".tsv"))
    for path in (betas_file, table_file):
        if not path.is_file():
            raise InputError(f"{path} is missing: run the participant level again.")
    stimuli = read_table(table_file).column("stimulus")
    return nib.load(betas_file), [truth.stimuli.index(stimulus) for stimulus in stimuli]


def _correlation(planted: np.ndarray, recovered: np.ndarray) -> float:
    """Pearson correlation of (stimuli, voxels) arrays over the voxels that have betas."""
    has_betas = np.isfinite(recovered).all(axis=0)
    if not has_betas.any():
        return float("nan")
    return float(np.corrcoef(planted[:, has_betas].ravel(), recovered[:, has_betas].ravel())[0, 1])
