"""Slice timing by SPM12 as a nipype step."""

from pathlib import Path
from typing import Any

import nibabel as nib
from nipype.interfaces.base import SimpleInterface, isdefined

from bids_config.errors import InputError
from interfaces.embedded.slice_timing import times_by_place
from interfaces.programs.files import provide, remove_all
from interfaces.slice_timing import SliceTimingInputSpec, SliceTimingOutputSpec
from interfaces.spm.files import (
    Written,
    keep_from_saturating,
    mend_spikes,
    require_image,
    workplace,
)
from interfaces.spm.jobs import SliceTimingJob
from interfaces.spm.specs import SpmInputSpec, launcher_of

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
