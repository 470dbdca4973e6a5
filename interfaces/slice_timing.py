"""Slice timing as a nipype step."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from interfaces.embedded.slice_timing import SLICE_AXES, correct_slice_timing


class SliceTimingInputSpec(BaseInterfaceInputSpec):
    """Inputs of `SliceTiming`."""

    in_file = File(exists=True, mandatory=True, desc="4D run")
    slice_times = traits.List(
        traits.Float, mandatory=True, desc="acquisition time of each slice in its volume (s)"
    )
    slice_axis = traits.Enum(
        "k", *SLICE_AXES, usedefault=True, desc="axis of the slices; '-': the last slice first"
    )
    repetition_time = traits.Float(mandatory=True, desc="time between volumes (s)")
    reference_time = traits.Float(desc="moment to move all slices to (s); default TR / 2")


class SliceTimingOutputSpec(TraitedSpec):
    """Outputs of `SliceTiming`."""

    out_file = File(exists=True, desc="the run with all slices at the reference time")


class SliceTiming(SimpleInterface):
    """Move all slices of a run to one reference time by a phase shift in Fourier space."""

    input_spec = SliceTimingInputSpec
    output_spec = SliceTimingOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        in_file = Path(self.inputs.in_file)
        stem = in_file.name.removesuffix(".gz").removesuffix(".nii")
        out_file = Path(runtime.cwd) / f"{stem}_stc.nii"
        reference_time = self.inputs.reference_time
        correct_slice_timing(
            in_file,
            out_file,
            self.inputs.slice_times,
            self.inputs.slice_axis,
            self.inputs.repetition_time,
            reference_time if isdefined(reference_time) else None,
        )
        self._results["out_file"] = str(out_file)
        return runtime
