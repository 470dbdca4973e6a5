"""Resampling into MNI305 by FreeSurfer's `mri_vol2vol --tal` as nipype steps."""

from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nipype.interfaces.base import traits
from numpy.typing import NDArray

from conceptrsa.bids_config.desikan_killiany import names_of
from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.images import save_image
from conceptrsa.interfaces.freesurfer.command import (
    HeaderRegistrationJob,
    ReadsReconstruction,
    ResamplingJob,
    Session,
    session_of,
)
from conceptrsa.interfaces.freesurfer.installation import (
    NEEDED_FILES,
    require_reconstruction,
)
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.freesurfer_subject import (
    read_register_dat,
    segmentation_file,
)
from conceptrsa.interfaces.numerics.glm import same_grid
from conceptrsa.interfaces.numerics.resampling import MINIMUM_VALID_WEIGHT
from conceptrsa.interfaces.programs import provide, remove_all
from conceptrsa.interfaces.python.rois import GivesSegmentation, write_segmentation
from conceptrsa.interfaces.python.step import file_in, file_out

RESOLUTION = 2.0  # mm
Interpolation = Literal["trilin", "nearest"]


class ResampleByFreeSurfer(ReadsReconstruction):
    """Resample betas into the MNI305 grid of 2 mm with `mri_vol2vol --tal --talres 2`.

    FreeSurfer has no missing values: it reads NaN as 0 (`MRIread` calls `MRIremoveNaNs`), so at
    the border of the brain, in dropout above all, betas are drawn towards 0 by as much as their
    neighbours have no data; and it writes 0 where the image does not reach. Neither may look like
    data, so where there are data is resampled too:

    - `missing='excluded'` (default): trilinearly, and the betas are divided by it; what has less
      than half of its weight in data is NaN. This is the rule of the embedded engine.
    - `missing='zero'`: by nearest neighbour, and betas are left as mri_vol2vol makes them. This is
      what FreeSurfer alone gives, and so the paper's way; only what has no data is NaN, not 0.

    References
    ----------
    FreeSurfer's `mri_vol2vol/mri_vol2vol.cpp`, `utils/mriio.cpp` (`MRIread`), `utils/mri2.cpp`
    (`MRIvol2Vol`), `utils/mri.cpp` (`MRIsampleSeqVolume`).
    """

    read = ("mri/transforms/talairach.xfm", "mri/orig.mgz")

    in_file = file_in("3D or 4D in EPI space, NaN without data")
    mask_file = file_in("brain mask in EPI space")
    register_file = file_in("register.dat of the EPI")
    missing = traits.Enum(
        "excluded",
        "zero",
        usedefault=True,
        desc="what voxels without data count as in the interpolation of their neighbours",
    )

    out_file = file_out("float32 in the 76x76x93 grid of 2 mm, NaN without data")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        inputs = self.inputs
        require_reconstruction(Path(inputs.subjects_dir), inputs.subject)
        registered = read_register_dat(inputs.register_file)[0]
        if registered != inputs.subject:
            raise InputError(
                f"{inputs.register_file} is of {registered!r} and not of {inputs.subject!r}; give "
                "the registration with that reconstruction."
            )
        image = nib.load(inputs.in_file)
        data = np.asarray(image.dataobj, dtype=np.float32).reshape(*image.shape[:3], -1)
        valid = np.isfinite(data) & _read_mask(inputs.mask_file, image)[..., np.newaxis]
        kept = valid if (valid != valid[..., :1]).any() else valid[..., :1]
        zero = inputs.missing == "zero"
        with session_of(inputs, folder) as session:
            registration = session.folder / "registration_of_epi.dat"
            provide(Path(inputs.register_file), registration)
            filled = np.where(valid, data, np.float32(0))
            values = _resample(session, "betas", filled, image, "trilin")
            weight = _resample(session, "mask", kept, image, "nearest" if zero else "trilin")
            registration.unlink()
        inside = weight > MINIMUM_VALID_WEIGHT - 1e-5
        if valid.any() and not inside.any():
            raise StepError(
                f"no voxel of {inputs.in_file} lies within MNI305; check the registration with the "
                "reconstruction, and its talairach.xfm."
            )
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.where(inside, values if zero else values / weight, np.float32(np.nan))
        resampled = values.reshape(*mni305_grid.SHAPE, *image.shape[3:])
        save_image(folder / "space-MNI305.nii", resampled, mni305_grid.AFFINE)
        return {"out_file": folder / "space-MNI305.nii"}


class AtlasInMNI305(ReadsReconstruction, GivesSegmentation):
    """Bring a subject's `aparc+aseg` into the MNI305 grid by nearest neighbour."""

    read = NEEDED_FILES

    def _run_in(self, folder: Path) -> dict[str, Path]:
        subject = self.inputs.subject
        subject_dir = require_reconstruction(Path(self.inputs.subjects_dir), subject)
        with session_of(self.inputs, folder) as session:
            source = session.subjects_dir / subject / "mri" / "aparc+aseg.mgz"
            registration = session.folder / "atlas.dat"
            resampled = session.folder / "atlas_MNI305.nii"
            HeaderRegistrationJob(
                moving_image=str(source),
                subject_id=subject,
                reg_header=True,
                reg_file=str(registration),
            ).run_in(session, [registration])
            labels = _vol2vol(session, source, registration, resampled, "nearest")[..., 0]
            remove_all([resampled])
        known = np.unique(np.asarray(nib.load(segmentation_file(subject_dir)).dataobj))
        if not np.isin(labels, known).all() or not labels.any():
            raise StepError(
                f"mri_vol2vol changed the labels of {subject}'s aparc+aseg; see "
                f"{folder / 'mri_vol2vol_atlas_MNI305.log'}."
            )
        return write_segmentation(folder, labels.astype(np.int16), names_of(labels))


def _resample(
    session: Session,
    name: str,
    data: NDArray[Any],
    like: nib.spatialimages.SpatialImage,
    interpolation: Interpolation,
) -> NDArray[np.float32]:
    """Hand an array in the grid of `like` to mri_vol2vol, and read what it makes of it."""
    source, target = (session.folder / f"{name}{end}.nii" for end in ("", "_MNI305"))
    save_image(source, data.astype(np.float32), like.affine)
    registration = session.folder / "registration_of_epi.dat"
    resampled = _vol2vol(session, source, registration, target, interpolation, data.shape[3])
    remove_all([source, target])
    return resampled


def _vol2vol(
    session: Session,
    source: Path,
    registration: Path,
    target: Path,
    interpolation: Interpolation,
    n_volumes: int = 1,
) -> NDArray[np.float32]:
    """Run mri_vol2vol, and read what it made, if it is in the grid it should be in.

    Returns
    -------
    array (76, 76, 93, volumes)

    Raises
    ------
    StepError
        If it is damaged, or has another grid or number of volumes.
    """
    ResamplingJob(
        source_file=str(source),
        reg_file=str(registration),
        tal=True,
        tal_resolution=RESOLUTION,
        transformed_file=str(target),
        interp=interpolation,
    ).run_in(session, [target], log_name=f"mri_vol2vol_{target.stem}")
    try:
        image = nib.load(target)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise StepError(f"mri_vol2vol left {target.name} damaged ({error}).") from error
    if (
        data.shape[:3] != mni305_grid.SHAPE
        or data.size != np.prod(mni305_grid.SHAPE) * n_volumes
        or not np.allclose(image.affine, mni305_grid.AFFINE, atol=1e-3)
    ):
        raise StepError(
            f"mri_vol2vol left {target.name} in a grid of {data.shape}, not the 2 mm grid of "
            "MNI305; restore average/mni305.cor.subfov2.mgz in FreeSurfer's folder"
        )
    return data.reshape(*mni305_grid.SHAPE, -1)


def _read_mask(path: str, like: nib.spatialimages.SpatialImage) -> NDArray[np.bool_]:
    mask = nib.load(path)
    if mask.ndim != 3 or not same_grid(mask, like):
        raise InputError(
            f"{path} and {like.get_filename()} are not in the same grid; give the mask of that EPI."
        )
    return np.asarray(np.asarray(mask.dataobj) > 0)
