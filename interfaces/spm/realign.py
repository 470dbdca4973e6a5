"""Realignment of all runs of a subject by SPM12 as a nipype step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import SimpleInterface
from numpy.typing import NDArray
from scipy.io import loadmat

from bids_config.errors import StepError
from bids_config.files import atomic_path, empty_file
from interfaces.embedded.realignment import motion_parameters
from interfaces.embedded.reslicing import common_field_of_view
from interfaces.embedded.time_series import TimeSeries, open_time_series
from interfaces.programs.files import copy, remove_all
from interfaces.realign import RealignInputSpec, RealignOutputSpec
from interfaces.spm.files import (
    Written,
    keep_from_saturating,
    mend_spikes,
    require_image,
    workplace,
)
from interfaces.spm.jobs import RealignJob
from interfaces.spm.specs import SpmInputSpec, launcher_of

LARGEST_DISAGREEMENT = 1e-3  # mm, rad; headers hold places as float32


class SpmRealignInputSpec(SpmInputSpec, RealignInputSpec):
    """Inputs of `SpmRealign`."""


class SpmRealign(SimpleInterface):
    """Realign all volumes of all runs to their mean and reslice them once (`spm_realign`).

    SPM's own settings: quality 0.9, points 4 mm apart, 5 mm smoothing, second-degree splines,
    two passes; reslicing with fourth-degree splines, masked to what all volumes have in common.
    SPM writes where each volume lies into its input, so it is given copies.
    """

    input_spec = SpmRealignInputSpec
    output_spec = RealignOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        folder = Path(runtime.cwd)
        in_files = [Path(path) for path in self.inputs.in_files]
        runs = [open_time_series(path) for path in in_files]
        with workplace(folder) as plain:
            copies = [plain / f"run{number:02d}.nii" for number in range(1, len(runs) + 1)]
            for in_file, target in zip(in_files, copies, strict=True):
                copy(in_file, target)
                mend_spikes(target)
                keep_from_saturating(target)
                if self.inputs.uses_up_inputs:
                    empty_file(in_file)
            job = RealignJob(
                in_files=[str(path) for path in copies],
                jobtype="estwrite",
                quality=0.9,
                separation=4.0,
                fwhm=5.0,
                register_to_mean=True,
                interp=2,
                wrap=[0, 0, 0],
                write_which=[2, 1],
                write_interp=4,
                write_wrap=[0, 0, 0],
                write_mask=True,
            )
            resliced = [path.with_name(f"r{path.name}") for path in copies]
            parameters = [path.with_name(f"rp_{path.stem}.txt") for path in copies]
            mean = plain / f"mean{copies[0].name}"
            written = Written([*resliced, *parameters, mean])
            job.run_in(launcher_of(self.inputs), plain, n_threads=self.inputs.n_threads)
            written.require(job.module)

            motions = _motions(runs, copies, parameters)
            for path, run in zip(resliced, runs, strict=True):
                require_image(path, (*runs[0].grid, run.n_volumes), job.module)
            require_image(mean, runs[0].grid, job.module)
            out_files = []
            for number, (path, in_file) in enumerate(zip(resliced, in_files, strict=True), 1):
                stem = in_file.name.removesuffix(".gz").removesuffix(".nii")
                out_files.append(folder / f"{number:02d}_{stem}_realigned.nii")
                path.rename(out_files[-1])
            mean.rename(folder / "mean.nii")
            remove_all([*copies, *(path.with_suffix(".mat") for path in copies)])

        self._results["out_files"] = [str(path) for path in out_files]
        self._results["mean_file"] = str(folder / "mean.nii")
        self._results["motion_files"] = [
            str(
                _write_motion(
                    Path(f"{str(path).removesuffix('_realigned.nii')}_motion.txt"), motion
                )
            )
            for path, motion in zip(out_files, motions, strict=True)
        ]
        valid = common_field_of_view(runs, motions)
        image = nib.Nifti1Image(valid.astype(np.uint8), nib.load(folder / "mean.nii").affine)
        with atomic_path(folder / "valid_mask.nii") as temporary:
            nib.save(image, temporary)
        self._results["valid_mask_file"] = str(folder / "valid_mask.nii")
        return runtime


def _motions(
    runs: Sequence[TimeSeries], copies: Sequence[Path], parameters: Sequence[Path]
) -> list[NDArray[np.float64]]:
    """Scanner world of the first volume of the first run to that of each volume.

    SPM's `rp_*.txt` refer each run to that run's own first volume and so lose how the runs lie to
    each other; the places that it gave the volumes have everything.

    Returns
    -------
    list of array, shape (volumes, 4, 4)

    Raises
    ------
    StepError
        If SPM's files do not hold what they should.
    """
    motions = []
    for run, realigned, parameter in zip(runs, copies, parameters, strict=True):
        moved = _places(realigned, run.n_volumes) @ np.linalg.inv(run.affine)
        _require_agreement(moved, parameter)
        motions.append(np.linalg.inv(moved))
    to_first = np.linalg.inv(motions[0][0])
    return [motion @ to_first for motion in motions]


def _places(realigned: Path, n_volumes: int) -> NDArray[np.float64]:
    """Voxel indices to aligned world of each volume, as `spm_get_space` finds them.

    They stand in a `.mat` file beside the image, counted from 1; a volume that has zeros there, or
    no such file, has the place in the header.
    """
    places = np.tile(nib.load(realigned).affine, (n_volumes, 1, 1))
    beside = realigned.with_suffix(".mat")
    if beside.exists():
        from_one = np.moveaxis(np.atleast_3d(loadmat(beside)["mat"]), -1, 0)[:n_volumes]
        given = np.flatnonzero(np.abs(from_one).sum(axis=(1, 2)))
        to_one_based = np.eye(4)
        to_one_based[:3, 3] = 1
        places[given] = from_one[given] @ to_one_based
    return places


def _require_agreement(moved: NDArray[np.float64], parameter: Path) -> None:
    """Hold the volumes' places against the parameters (mm, rad) that SPM wrote of them."""
    own = moved @ np.linalg.inv(moved[0])
    expected = motion_parameters(np.asarray(np.linalg.inv(own), dtype=np.float64))
    written = np.loadtxt(parameter, ndmin=2)
    if written.shape != expected.shape or not np.allclose(
        written, expected, rtol=0, atol=LARGEST_DISAGREEMENT
    ):
        raise StepError(
            f"SPM's {parameter.name} and the places it gave the volumes disagree; remove "
            f"{parameter.parent.resolve()} and run the same command again."
        )


def _write_motion(path: Path, motion: NDArray[np.float64]) -> Path:
    with atomic_path(path) as temporary:
        np.savetxt(temporary, motion_parameters(motion), fmt="%.17g")
    return path
