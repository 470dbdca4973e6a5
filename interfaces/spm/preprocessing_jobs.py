"""Slice timing by SPM12 as a nipype step."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import SimpleInterface, isdefined
from numpy.typing import NDArray
from scipy.io import loadmat

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.bids_config.images import open_volume
from conceptrsa.bids_config.writing import atomic_path, empty_file
from conceptrsa.interfaces.numerics.coregistration import examine
from conceptrsa.interfaces.numerics.realignment import motion_parameters
from conceptrsa.interfaces.numerics.reslicing import common_field_of_view
from conceptrsa.interfaces.numerics.slice_timing import times_by_place
from conceptrsa.interfaces.numerics.time_series import TimeSeries, open_time_series
from conceptrsa.interfaces.numerics.transforms import write_matrix
from conceptrsa.interfaces.programs.image_files import copy, provide, remove_all
from conceptrsa.interfaces.python.preprocess import (
    CoregisterInputSpec,
    CoregisterOutputSpec,
    RealignInputSpec,
    RealignOutputSpec,
    SliceTimingInputSpec,
    SliceTimingOutputSpec,
)
from conceptrsa.interfaces.spm.jobs import (
    CoregisterJob,
    RealignJob,
    SliceTimingJob,
    SpmInputSpec,
    launcher_of,
)
from conceptrsa.interfaces.spm.spm_files import (
    Written,
    keep_from_saturating,
    mend_spikes,
    require_image,
    workplace,
)

MILLISECONDS = 1000.0


class SpmSliceTimingInputSpec(SpmInputSpec, SliceTimingInputSpec):
    """Inputs of `SpmSliceTiming`."""


class SpmSliceTiming(SimpleInterface):
    """Move all slices of a run to one reference time (`spm_slice_timing`, slice times in ms)."""

    input_spec = SpmSliceTimingInputSpec
    output_spec = SliceTimingOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs, folder = self.inputs, Path(runtime.cwd)
        in_file = Path(inputs.in_file)
        shape = nib.load(in_file).shape
        stem = in_file.name.removesuffix(".gz").removesuffix(".nii")
        out_file = folder / f"{stem}_stc.nii"
        with workplace(folder) as plain:
            raw, corrected = plain / "bold.nii", plain / "abold.nii"
            provide(in_file, raw)
            mend_spikes(raw)
            keep_from_saturating(raw)
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
                ref_slice=self._reference_time() * MILLISECONDS,
            )
            written = Written([corrected])
            job.run_in(launcher_of(inputs), plain)
            written.require(job.module)
            require_image(corrected, shape, job.module)
            corrected.rename(out_file)
            remove_all([raw])
        self._results["out_file"] = str(out_file)
        return runtime

    def _reference_time(self) -> float:
        if isdefined(self.inputs.reference_time):
            return float(self.inputs.reference_time)
        return float(self.inputs.repetition_time) / 2


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


METHOD = "spm_coreg: normalised mutual information, 4 and 2 mm"


class SpmCoregisterInputSpec(SpmInputSpec, CoregisterInputSpec):
    """Inputs of `SpmCoregister`."""


class SpmCoregister(SimpleInterface):
    """Find the rigid motion of the mean EPI to the T1w (`spm_coreg`, estimate only).

    SPM writes the new place of the mean EPI into the header of a copy; what is kept is the matrix
    between the old place and the new one. SPM does not say whether a registration went wrong, so
    it is examined in the way of the embedded engine.
    """

    input_spec = SpmCoregisterInputSpec
    output_spec = CoregisterOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        folder = Path(runtime.cwd)
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
            written = Written([moved])
            job.run_in(launcher_of(self.inputs), plain)
            written.require(job.module)
            matrix = np.asarray(nib.load(moved).affine @ np.linalg.inv(before))
            remove_all([moved, still])
        evidence = examine(nib.load(source), open_volume(reference), matrix, METHOD)
        transform, report = folder / "bold_to_t1w.txt", folder / "coregistration.json"
        write_matrix(transform, matrix)
        with atomic_path(report) as temporary:
            temporary.write_text(json.dumps(evidence.report(), indent=2) + "\n")
        self._results["transform_file"] = str(transform)
        self._results["report_file"] = str(report)
        return runtime
