"""Resampling into MNI305 by FreeSurfer's `mri_vol2vol --tal` as nipype steps."""

from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel.filebasedimages import ImageFileError
from nipype.interfaces.base import File, SimpleInterface, TraitedSpec, traits
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.tsv import write_table
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.interfaces.freesurfer.command import (
    FreeSurferInputSpec,
    HeaderRegistrationJob,
    ResamplingJob,
    Session,
    session_of,
)
from conceptrsa.interfaces.freesurfer.installation import (
    AVERAGE_SUBJECT,
    NEEDED_FILES,
    require_reconstruction,
)
from conceptrsa.interfaces.numerics import mni305_grid
from conceptrsa.interfaces.numerics.atlas import region_names
from conceptrsa.interfaces.numerics.freesurfer_subject import read_register_dat, talairach_file
from conceptrsa.interfaces.numerics.resampling import MINIMUM_VALID_WEIGHT
from conceptrsa.interfaces.programs.image_files import plain_folder, provide, remove_all

RESOLUTION = 2.0  # mm
Interpolation = Literal["trilin", "nearest"]


class ResampleByFreeSurferInputSpec(FreeSurferInputSpec):
    """Inputs of `ResampleByFreeSurfer`."""

    in_file = File(exists=True, mandatory=True, desc="3D or 4D in EPI space, NaN without data")
    mask_file = File(exists=True, mandatory=True, desc="brain mask in EPI space")
    register_file = File(exists=True, mandatory=True, desc="register.dat of the EPI")
    subject = traits.Str(mandatory=True, desc="name of its reconstruction, as sub-01")
    missing = traits.Enum(
        "excluded",
        "zero",
        usedefault=True,
        desc="what voxels without data count as in the interpolation of their neighbours",
    )


class ResampleByFreeSurferOutputSpec(TraitedSpec):
    """Outputs of `ResampleByFreeSurfer`."""

    out_file = File(exists=True, desc="float32 in the 76x76x93 grid of 2 mm, NaN without data")


class ResampleByFreeSurfer(SimpleInterface):
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

    input_spec = ResampleByFreeSurferInputSpec
    output_spec = ResampleByFreeSurferOutputSpec

    def files_read(self) -> list[Path]:
        """Files of the reconstruction that are read; see `conceptrsa.pipelines.workflows.steps`."""
        folder = Path(self.inputs.subjects_dir) / self.inputs.subject
        return [talairach_file(folder), folder / "mri" / "orig.mgz"]

    def _run_interface(self, runtime: Any) -> Any:
        inputs, folder = self.inputs, Path(runtime.cwd)
        subjects_dir = Path(inputs.subjects_dir).absolute()
        require_reconstruction(subjects_dir, inputs.subject)
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
        with plain_folder(folder) as plain, plain_folder(subjects_dir) as plain_subjects:
            session = session_of(inputs, plain_subjects)
            registration = plain / "registration_of_epi.dat"
            provide(Path(inputs.register_file), registration)
            filled = np.where(valid, data, np.float32(0))
            values = _resample(session, plain, "betas", filled, image, "trilin")
            weight = _resample(session, plain, "mask", kept, image, "nearest" if zero else "trilin")
            registration.unlink()
        inside = weight > MINIMUM_VALID_WEIGHT - 1e-5
        if valid.any() and not inside.any():
            raise StepError(
                f"no voxel of {inputs.in_file} lands in MNI305; look at the registration with the "
                "reconstruction, and at its talairach.xfm."
            )
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.where(inside, values if zero else values / weight, np.float32(np.nan))
        out_file = folder / "space-MNI305.nii"
        resampled = values.reshape(*mni305_grid.SHAPE, *image.shape[3:])
        with atomic_path(out_file) as temporary:
            nib.save(nib.Nifti1Image(resampled, mni305_grid.AFFINE), temporary)
        self._results["out_file"] = str(out_file)
        return runtime


class AtlasInMNI305InputSpec(FreeSurferInputSpec):
    """Inputs of `AtlasInMNI305`."""

    subject = traits.Str(
        AVERAGE_SUBJECT, usedefault=True, desc="whose aparc+aseg: fsaverage, or one as sub-01"
    )


class AtlasInMNI305OutputSpec(TraitedSpec):
    """Outputs of `AtlasInMNI305`."""

    dseg_file = File(exists=True, desc="int16, FreeSurfer aparc+aseg ids, 76x76x93 at 2 mm")
    labels_file = File(exists=True, desc="TSV: index, name")


class AtlasInMNI305(SimpleInterface):
    """Bring a subject's `aparc+aseg` into the MNI305 grid by nearest neighbour."""

    input_spec = AtlasInMNI305InputSpec
    output_spec = AtlasInMNI305OutputSpec

    def files_read(self) -> list[Path]:
        """Files of the reconstruction that are read; see `conceptrsa.pipelines.workflows.steps`."""
        folder = Path(self.inputs.subjects_dir) / self.inputs.subject
        return [folder / name for name in NEEDED_FILES]

    def _run_interface(self, runtime: Any) -> Any:
        inputs, folder = self.inputs, Path(runtime.cwd)
        subjects_dir = Path(inputs.subjects_dir).absolute()
        subject_dir = require_reconstruction(subjects_dir, inputs.subject)
        with plain_folder(folder) as plain, plain_folder(subjects_dir) as plain_subjects:
            session = session_of(inputs, plain_subjects)
            source = plain_subjects / inputs.subject / "mri" / "aparc+aseg.mgz"
            registration, resampled = plain / "atlas.dat", plain / "atlas_MNI305.nii"
            HeaderRegistrationJob(
                moving_image=str(source),
                subject_id=inputs.subject,
                reg_header=True,
                reg_file=str(registration),
            ).run_in(session, plain, [registration])
            _vol2vol(session, plain, source, registration, resampled, "nearest")
            labels = read_mni305(resampled, 1)[..., 0]
            remove_all([resampled])
        known = np.unique(np.asarray(nib.load(subject_dir / "mri" / "aparc+aseg.mgz").dataobj))
        present = np.unique(labels)
        if not np.isin(present, known).all() or not present.any():
            raise StepError(
                f"mri_vol2vol made other labels of {inputs.subject}'s aparc+aseg than it has; see "
                f"{folder / 'mri_vol2vol_atlas_MNI305.log'}."
            )
        dseg, table = folder / "dseg.nii", folder / "dseg.tsv"
        with atomic_path(dseg) as temporary:
            nib.save(nib.Nifti1Image(labels.astype(np.int16), mni305_grid.AFFINE), temporary)
        indices = [int(index) for index in present if index != 0]
        names = region_names()
        rows = {"index": indices, "name": [names.get(index, f"label-{index}") for index in indices]}
        write_table(table, pd.DataFrame(rows))
        self._results["dseg_file"] = str(dseg)
        self._results["labels_file"] = str(table)
        return runtime


def read_mni305(path: Path, n_volumes: int) -> NDArray[np.float32]:
    """Read what mri_vol2vol made, and make sure that it is in the grid it should be in.

    Returns
    -------
    array (76, 76, 93, n_volumes)

    Raises
    ------
    StepError
        If it is damaged, or has another grid or number of volumes.
    """
    try:
        image = nib.load(path)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise StepError(f"mri_vol2vol left {path.name} damaged ({error}).") from error
    if (
        data.shape[:3] != mni305_grid.SHAPE
        or data.size != np.prod(mni305_grid.SHAPE) * n_volumes
        or not np.allclose(image.affine, mni305_grid.AFFINE, atol=1e-3)
    ):
        raise StepError(
            f"mri_vol2vol left {path.name} in a grid of {data.shape} that is not MNI305's of 2 mm; "
            "is average/mni305.cor.subfov2.mgz in FreeSurfer's folder the one it came with?"
        )
    return data.reshape(*mni305_grid.SHAPE, n_volumes)


def _resample(
    session: Session,
    folder: Path,
    name: str,
    data: NDArray[Any],
    like: nib.spatialimages.SpatialImage,
    interpolation: Interpolation,
) -> NDArray[np.float32]:
    """Hand an array in the grid of `like` to mri_vol2vol, and read what it makes of it."""
    source, target = folder / f"{name}.nii", folder / f"{name}_MNI305.nii"
    image = nib.Nifti1Image(data.astype(np.float32), like.affine)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, source)
    _vol2vol(session, folder, source, folder / "registration_of_epi.dat", target, interpolation)
    resampled = read_mni305(target, data.shape[3])
    remove_all([source, target])
    return resampled


def _vol2vol(
    session: Session,
    folder: Path,
    source: Path,
    registration: Path,
    target: Path,
    interpolation: Interpolation,
) -> None:
    ResamplingJob(
        source_file=str(source),
        reg_file=str(registration),
        tal=True,
        tal_resolution=RESOLUTION,
        transformed_file=str(target),
        interp=interpolation,
    ).run_in(session, folder, [target], log_name=f"mri_vol2vol_{target.stem}")


def _read_mask(path: str, like: nib.spatialimages.SpatialImage) -> NDArray[np.bool_]:
    mask = nib.load(path)
    if mask.shape != like.shape[:3] or not np.allclose(mask.affine, like.affine, atol=1e-3):
        raise InputError(
            f"{path} and {like.get_filename()} are not in the same grid; give the mask of that EPI."
        )
    return np.asarray(np.asarray(mask.dataobj) > 0)
