"""How well what was planted in the demo was found again; all else that runs never sees the truth.

Spaces: the truth is given in the grid of the very first volume, before any motion. The recovered
motion, too, is referred to that volume, but any error in registering the first volume itself
shifts all others alike, and with them the space of the mean EPI. This common offset is arbitrary:
it is estimated as the mean disagreement of planted and recovered motion, taken out of the motion
error, and put before the planted coregistration, which starts from the first volume where the
recovered one starts from the mean EPI. The betas are compared voxel by voxel without it; it is a
few hundredths of a millimetre.
"""

from dataclasses import fields
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.affines import apply_affine
from scipy.linalg import polar

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.tsv import read_table, write_table
from conceptrsa.interfaces.numerics.mni305_grid import AFFINE, MNI305_TO_MNI152, SHAPE
from conceptrsa.interfaces.numerics.realignment import rigid_matrix
from conceptrsa.interfaces.numerics.resampling import resample
from conceptrsa.interfaces.numerics.transforms import displacements, mask_points, read_matrix
from conceptrsa.pipelines.demo.demo_dataset import TASK
from conceptrsa.pipelines.demo.recovery_rows import RecoveryRow, SubjectErrors, recovery_rows
from conceptrsa.pipelines.demo.regions import region_errors
from conceptrsa.pipelines.demo.truth import SubjectTruth

MOTION_COLUMNS = ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]


def write_recovery(
    truth_dir: Path, derivatives_dir: Path, out_file: Path
) -> tuple[RecoveryRow, ...]:
    """Compare the derivatives with the truth, write the table and return its rows.

    The regions have rows for each subject, with the hemisphere that came off worse. Any other
    figure is that of the subject who came off worst, except the highest score of a region, whose
    score is the mean over subjects as in the group's figures.

    Parameters
    ----------
    truth_dir : Path
        As `write_demo_dataset` wrote it.
    derivatives_dir : Path
        What the participant and the group level wrote.
    out_file : Path
        Tab-separated; columns are the fields of `RecoveryRow`.

    Raises
    ------
    InputError
        If a derivative is missing or belongs to another data set.
    """
    truth_files = sorted(truth_dir.glob("sub-*.npz"))
    if not truth_files:
        raise InputError(f"{truth_dir} holds no planted truth: run the demo again.")
    truths = {path.stem: SubjectTruth.read(path) for path in truth_files}
    errors = [
        _compare_subject(truth, derivatives_dir / subject, subject)
        for subject, truth in truths.items()
    ]
    first = next(iter(truths.values()))
    rows = recovery_rows(errors, first.rois, first.models, derivatives_dir / "group" / "rsa.tsv")
    columns = [field.name for field in fields(RecoveryRow)]
    write_table(out_file, pd.DataFrame([row.as_text() for row in rows], columns=columns))
    return rows


def _compare_subject(truth: SubjectTruth, folder: Path, subject: str) -> SubjectErrors:
    func, anat = folder / "func", folder / "anat"
    brain = mask_points(truth.brain, truth.bold_affine)
    still = np.eye(4)

    planted_motion = truth.motion.reshape(-1, 4, 4)
    recovered_motion = _read_motion(func, planted_motion)
    offset = common_offset(planted_motion, recovered_motion)

    bold_to_t1w = read_matrix(func / f"{subject}_task-{TASK}_from-boldref_to-T1w_xfm.txt")
    planted_bold_to_t1w = truth.bold_to_t1w @ offset
    t1w_to_mni305 = read_matrix(anat / f"{subject}_from-T1w_to-MNI305_xfm.txt")
    brain_in_t1w = apply_affine(truth.bold_to_t1w, brain)
    return SubjectErrors(
        subject=subject,
        motion=(
            motion_error(planted_motion, np.broadcast_to(still, planted_motion.shape), brain),
            motion_error(planted_motion @ offset, recovered_motion, brain),
        ),
        coregistration=(
            float(displacements(planted_bold_to_t1w, still, brain).mean()),
            float(displacements(planted_bold_to_t1w, bold_to_t1w, brain).mean()),
        ),
        normalization=(
            float(displacements(truth.t1w_to_mni152, still, brain_in_t1w).mean()),
            float(
                displacements(
                    truth.t1w_to_mni152, MNI305_TO_MNI152 @ t1w_to_mni305, brain_in_t1w
                ).mean()
            ),
        ),
        regions=region_errors(
            truth,
            t1w_to_mni305,
            anat / f"{subject}_space-MNI305_seg-DesikanKilliany_res-2_dseg.nii.gz",
        ),
        correlations=_beta_correlations(
            truth, func / f"{subject}_task-{TASK}_space-boldref_stat-effect_statmap.nii.gz"
        ),
        mni305_correlations=_mni305_correlations(
            truth,
            func / f"{subject}_task-{TASK}_space-MNI305_res-2_stat-effect_statmap.nii.gz",
            t1w_to_mni305,
        ),
    )


def _read_motion(func: Path, planted: np.ndarray) -> np.ndarray:
    """Scanner RAS of the first volume to that of each volume, (volumes, 4, 4).

    The tables hold SPM's parameters, which lead from a volume back to the first one.
    """
    tables = sorted(func.glob("*_desc-confounds_timeseries.tsv"))
    parameters = [read_table(table).numbers(MOTION_COLUMNS) for table in tables]
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
    if image.shape[:3] != truth.brain.shape or not np.allclose(
        image.affine, truth.bold_affine, atol=1e-3
    ):
        raise InputError(
            f"{betas_file} does not lie in the grid of the demo's BOLD runs: remove the "
            "derivatives and run the demo again."
        )
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
) -> dict[tuple[str, str], float]:
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
            correlations[roi, hemisphere] = _correlation(
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
