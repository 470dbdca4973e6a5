"""Registration of the mean EPI with a FreeSurfer reconstruction as a nipype step."""

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.spatialimages import SpatialImage
from nipype.interfaces.base import traits
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.interfaces.freesurfer.command import (
    BoundaryRegistrationJob,
    FreeSurferStep,
    HeaderRegistrationJob,
    Session,
    session_of,
)
from conceptrsa.interfaces.freesurfer.installation import require_reconstruction
from conceptrsa.interfaces.numerics.freesurfer_subject import read_register_dat, scanner_to_tkr
from conceptrsa.interfaces.numerics.transforms import displacements, read_matrix
from conceptrsa.interfaces.programs import real
from conceptrsa.interfaces.python.step import file_in, file_out, write_transform

LARGEST_DISAGREEMENT = 0.01  # mm; register.dat has seven digits
HIGHEST_GOOD_COST = 0.8
LARGEST_GOOD_MOVE = 5.0  # mm
_SURFACE_FILES = [
    f"{folder}/{side}.{name}"
    for side in ("lh", "rh")
    for folder, name in (("surf", "white"), ("surf", "thickness"), ("label", "cortex.label"))
]
_METHODS = {
    "header": "tkregister2 --regheader, after the coregistration with the T1w image",
    "bbregister": "bbregister, begun at the coregistration with the T1w image",
}


class RegisterToReconstruction(FreeSurferStep):
    """Make FreeSurfer's register.dat of the mean EPI from the coregistration with the T1w.

    A reconstruction keeps the scanner world of its T1w, so an EPI whose header is moved by
    `bold_to_t1w` (as SPM's coregistration moves it) lies right by the headers alone. bbregister
    then fits the white-matter surface to the image, from there on. Its cost is the mean over that
    surface of 1 + tanh(slope * contrast): 1 where the image has no contrast there, and towards 0
    the better grey and white matter differ in the direction they should.

    References
    ----------
    Greve and Fischl, NeuroImage 48:63 (2009). FreeSurfer's `tkregister2/tkregister2.cpp`,
    `utils/mri.cpp` (`MRItkRegMtx`), `scripts/bbregister`, `mri_segreg/mri_segreg.cpp`.
    """

    boldref_file = file_in("mean EPI, 3D")
    bold_to_t1w_file = file_in("4x4 matrix, RAS mm, rigid")
    method = traits.Enum(
        *_METHODS, usedefault=True, desc="that matrix as it is, or refined by bbregister"
    )

    register_file = file_out("register.dat: tkregister RAS of orig.mgz to the EPI's")
    transform_file = file_out("the same as a 4x4 matrix, EPI world to T1w, RAS mm")
    report_file = file_out("JSON: method, final cost, displacement (mm), warnings")

    def files_read(self) -> list[Path]:
        """Files of the reconstruction that are read; see `conceptrsa.pipelines.workflows.steps`."""
        surfaces = _SURFACE_FILES if self.inputs.method == "bbregister" else []
        return [self.reconstruction / name for name in ("mri/orig.mgz", *surfaces)]

    def _run_in(self, folder: Path) -> dict[str, Path]:
        inputs = self.inputs
        subject_dir = require_reconstruction(Path(inputs.subjects_dir), inputs.subject)
        boldref = nib.load(inputs.boldref_file)
        moved = move_header(boldref, read_matrix(inputs.bold_to_t1w_file))
        orig = nib.load(subject_dir / "mri" / "orig.mgz")
        with session_of(inputs, folder) as session:
            nib.save(moved, session.folder / "boldref_moved.nii")
            cost = self._register(session)
        register = folder / "register.dat"
        subject, found = read_register_dat(register)
        if subject != inputs.subject:
            raise StepError(f"{register} is of {subject!r} and not of {inputs.subject!r}.")
        report = examine(found, moved, orig, inputs.method, cost)
        matrix = np.linalg.inv(found @ scanner_to_tkr(orig)) @ scanner_to_tkr(boldref)
        return {"register_file": register, **write_transform(folder, "bold_to_t1w", matrix, report)}

    def _register(self, session: Session) -> float | None:
        """Run the chosen program; give bbregister's final cost."""
        moved = session.folder / "boldref_moved.nii"
        register = session.folder / "register.dat"
        subject = self.inputs.subject
        if self.inputs.method == "header":
            HeaderRegistrationJob(
                moving_image=str(moved), subject_id=subject, reg_header=True, reg_file=str(register)
            ).run_in(session, [register])
            return None
        cost_file = register.with_name("register.dat.mincost")
        BoundaryRegistrationJob(
            subject_id=subject,
            source_file=str(moved),
            init="header",
            contrast_type="bold",
            out_reg_file=str(register),
        ).run_in(session, [register, cost_file])
        try:
            # As bbregister itself takes it.
            return float(cost_file.read_text().split()[0])
        except (ValueError, IndexError) as error:
            raise StepError(f"bbregister wrote no cost to {real(cost_file)}.") from error


def move_header(boldref: SpatialImage, bold_to_t1w: NDArray[np.float64]) -> nib.Nifti1Image:
    """Copy a 3D image, its place in the world moved; the voxels stay as they are.

    Parameters
    ----------
    boldref : nibabel image
    bold_to_t1w : array (4, 4)
        RAS mm.

    Raises
    ------
    InputError
        If it is not 3D.
    """
    if boldref.ndim != 3:
        raise InputError(
            f"{boldref.get_filename()} has {boldref.ndim} dimensions; give the mean EPI, which has "
            "three."
        )
    data = np.nan_to_num(np.asarray(boldref.dataobj, dtype=np.float32))
    moved = nib.Nifti1Image(data, bold_to_t1w @ boldref.affine)
    # Both, so that it does not matter which of them FreeSurfer reads.
    moved.set_sform(moved.affine, code=1)
    moved.set_qform(moved.affine, code=1)
    moved.header.set_xyzt_units("mm", "sec")
    return moved


def header_registration(moved_image: SpatialImage, orig_image: SpatialImage) -> NDArray[np.float64]:
    """Compute the matrix of `tkregister2 --regheader`: R = Tmov inv(Smov) Sorig inv(Torig).

    T are `vox2ras-tkr` and S the scanner's `vox2ras` (FreeSurfer's `MRItkRegMtx`).

    Parameters
    ----------
    moved_image : nibabel image
        EPI whose scanner world is that of the T1w.
    orig_image : nibabel image
        `orig.mgz`.

    Returns
    -------
    array (4, 4)
        tkregister RAS of the anatomy to tkregister RAS of the EPI, mm.
    """
    return np.asarray(scanner_to_tkr(moved_image) @ np.linalg.inv(scanner_to_tkr(orig_image)))


def examine(
    found: NDArray[np.float64],
    moved: SpatialImage,
    orig: SpatialImage,
    method: str,
    cost: float | None = None,
) -> dict[str, object]:
    """Hold a registration against the one by the headers.

    Parameters
    ----------
    found : array (4, 4)
        From register.dat.
    moved, orig : nibabel image
        As in `header_registration`.
    method : {'header', 'bbregister'}
    cost : float, optional
        bbregister's.

    Returns
    -------
    dict
        Method, cost, displacement between the two over the voxels of the EPI (mm), warnings.

    Raises
    ------
    StepError
        If it is not rigid, or is said to be that by the headers and is not.
    """
    expected = header_registration(moved, orig)
    voxels = np.indices(moved.shape).reshape(3, -1).T
    places = apply_affine(scanner_to_tkr(moved) @ moved.affine, voxels)
    moves = displacements(np.linalg.inv(found), np.linalg.inv(expected), places)
    largest = float(moves.max())
    if method == "header" and largest > LARGEST_DISAGREEMENT:
        raise StepError(
            f"tkregister2's register.dat lies {largest:.3g} mm from the position in the headers; "
            f"check that {orig.get_filename()} is complete and that FreeSurfer is version 5 or "
            "newer"
        )
    if not np.allclose(np.linalg.svd(found[:3, :3], compute_uv=False), 1, atol=1e-3):
        raise StepError(
            f"{_METHODS[method].split()[0]} gave a registration that is not rigid; check the mean "
            "EPI and the coregistration."
        )
    warnings = []
    if cost is not None and cost > HIGHEST_GOOD_COST:
        warnings.append(
            f"bbregister ended with a cost of {cost:.2f}, above {HIGHEST_GOOD_COST} and close to "
            "1, the cost without contrast at the cortex; check the mean EPI over the T1w image"
        )
    if method == "bbregister" and largest > LARGEST_GOOD_MOVE:
        warnings.append(
            f"bbregister moved the EPI by up to {largest:.1f} mm from its coregistration with the "
            "T1w image, so one of the two is wrong; check both in the report"
        )
    return {
        "method": _METHODS[method],
        "cost": cost,
        "mean_displacement": float(moves.mean()),
        "max_displacement": largest,
        "warnings": warnings,
    }
