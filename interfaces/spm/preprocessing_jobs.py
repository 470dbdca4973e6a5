"""Slice timing, realignment and coregistration by SPM12 as nipype steps."""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nipype.interfaces.base import isdefined
from numpy.typing import NDArray
from scipy.io import loadmat

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.images import open_volume, save_image
from conceptrsa.bids_config.writing import empty_file
from conceptrsa.interfaces.numerics.coregistration import coregister
from conceptrsa.interfaces.numerics.realignment import motion_parameters, write_motion
from conceptrsa.interfaces.numerics.reslicing import common_field_of_view
from conceptrsa.interfaces.numerics.slice_timing import times_by_place
from conceptrsa.interfaces.numerics.time_series import TimeSeries, image_stem, open_time_series
from conceptrsa.interfaces.programs import copy, provide, remove_all
from conceptrsa.interfaces.python.preprocess import (
    Coregister,
    Realign,
    SliceTiming,
)
from conceptrsa.interfaces.python.step import write_transform
from conceptrsa.interfaces.spm.jobs import (
    CoregisterJob,
    RealignJob,
    SliceTimingJob,
    SpmStep,
    launcher_of,
)
from conceptrsa.interfaces.spm.spm_files import ready_for_interpolation, require_image, workplace

MILLISECONDS = 1000.0


class SpmSliceTiming(SpmStep, SliceTiming):
    """Move all slices of a run to one reference time (`spm_slice_timing`, slice times in ms)."""

    def _run_in(self, folder: Path) -> dict[str, Path]:
        inputs = self.inputs
        in_file, reference_time = Path(inputs.in_file), inputs.reference_time
        if not isdefined(reference_time):
            reference_time = inputs.repetition_time / 2
        shape = nib.load(in_file).shape
        out_file = folder / f"{image_stem(in_file)}_stc.nii"
        with workplace(folder) as plain:
            raw, corrected = plain / "bold.nii", plain / "abold.nii"
            provide(in_file, raw)
            ready_for_interpolation(raw)
            job = SliceTimingJob(
                in_files=[str(raw)],
                num_slices=shape[2],
                time_repetition=inputs.repetition_time,
                time_acquisition=0.0,  # not looked at where times are given instead of an order
                slice_order=slice_times_ms(
                    inputs.slice_times,
                    inputs.slice_axis,
                    inputs.repetition_time,
                    shape,
                    in_file,
                ),
                ref_slice=float(reference_time) * MILLISECONDS,
            )
            job.run_in(launcher_of(inputs), plain, [corrected])
            require_image(corrected, shape, job.module)
            corrected.rename(out_file)
            remove_all([raw])
        return {"out_file": out_file}


def slice_times_ms(
    slice_times: list[float],
    slice_axis: str,
    repetition_time: float,
    shape: tuple[int, ...],
    in_file: Path,
) -> list[float]:
    """Give SPM's slice times: in ms, in the order of the image's third axis.

    Raises
    ------
    InputError
        If times and image do not fit together, or the slices lie along another axis, which SPM
        cannot correct.
    """
    times = times_by_place(slice_times, slice_axis, repetition_time, shape, in_file)
    if not slice_axis.startswith("k"):
        raise InputError(
            f"{in_file} has its slices along the axis {slice_axis[0]}, and SPM corrects them along "
            "the third (k) only; use --engine python."
        )
    return [float(time) * MILLISECONDS for time in times]


LARGEST_DISAGREEMENT = 1e-3  # mm, rad; headers hold places as float32


class SpmRealign(SpmStep, Realign):
    """Realign all volumes of all runs to their mean and reslice them once (`spm_realign`).

    SPM's own settings: quality 0.9, points 4 mm apart, 5 mm smoothing, second-degree splines,
    two passes; reslicing with fourth-degree splines, masked to what all volumes have in common.
    SPM writes where each volume lies into its input, so it is given copies.
    """

    def _run_in(self, folder: Path) -> dict[str, Path | list[Path]]:
        in_files = [Path(path) for path in self.inputs.in_files]
        runs = [open_time_series(path) for path in in_files]
        stems = [
            folder / f"{number:02d}_{image_stem(path)}" for number, path in enumerate(in_files, 1)
        ]
        out_files = [stem.with_name(f"{stem.name}_realigned.nii") for stem in stems]
        motion_files = [stem.with_name(f"{stem.name}_motion.txt") for stem in stems]
        with workplace(folder) as plain:
            copies = [plain / f"run{number:02d}.nii" for number in range(1, len(runs) + 1)]
            for in_file, target in zip(in_files, copies, strict=True):
                copy(in_file, target)
                ready_for_interpolation(target)
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
            outputs = [*resliced, *parameters, mean]
            job.run_in(launcher_of(self.inputs), plain, outputs, n_threads=self.inputs.n_threads)
            motions = _motions(runs, copies, parameters)
            require_image(mean, runs[0].grid, job.module)
            for path, run, out_file in zip(resliced, runs, out_files, strict=True):
                require_image(path, (*runs[0].grid, run.n_volumes), job.module)
                path.rename(out_file)
            mean.rename(folder / "mean.nii")
            remove_all([*copies, *(path.with_suffix(".mat") for path in copies)])
        for path, motion in zip(motion_files, motions, strict=True):
            write_motion(path, motion_parameters(motion))
        valid = common_field_of_view(runs, motions).astype(np.uint8)
        save_image(folder / "valid_mask.nii", valid, nib.load(folder / "mean.nii").affine)
        return {
            "out_files": out_files,
            "mean_file": folder / "mean.nii",
            "motion_files": motion_files,
            "valid_mask_file": folder / "valid_mask.nii",
        }


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


METHOD = "spm_coreg: normalised mutual information, 4 and 2 mm"


class SpmCoregister(SpmStep, Coregister):
    """Find the rigid motion of the mean EPI to the T1w (`spm_coreg`, estimate only).

    SPM writes the new place of the mean EPI into the header of a copy; what is kept is the matrix
    between the old place and the new one. SPM does not say whether a registration went wrong, so
    it is examined in the way of the embedded engine.
    """

    def _run_in(self, folder: Path) -> dict[str, Path]:
        source, reference = Path(self.inputs.source_file), Path(self.inputs.reference_file)
        with workplace(folder) as plain:
            moved, still = plain / "boldref.nii", plain / "T1w.nii"
            copy(source, moved)
            provide(reference, still)
            before = nib.load(moved).affine
            job = CoregisterJob(
                source=[str(moved)],
                target=str(still),
                jobtype="estimate",
                cost_function="nmi",
                separation=[4.0, 2.0],
                tolerance=[0.02] * 3 + [0.001] * 3 + [0.01] * 3 + [0.001] * 3,
                fwhm=[7.0, 7.0],
            )
            job.run_in(launcher_of(self.inputs), plain, [moved])
            matrix = np.asarray(nib.load(moved).affine @ np.linalg.inv(before))
            remove_all([moved, still])
        found = coregister(nib.load(source), open_volume(reference), matrix, METHOD)
        return write_transform(folder, "bold_to_t1w", found.matrix, found.report())
