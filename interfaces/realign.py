"""Realignment of all runs of a subject as a nipype step."""

from typing import Any

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bids_config.files import empty_file
from interfaces.embedded.reslicing import realign_files


class RealignInputSpec(BaseInterfaceInputSpec):
    """Inputs of `Realign`."""

    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="4D runs of a subject")
    n_threads = traits.Range(
        low=1, value=1, usedefault=True, nohash=True, desc="volumes worked on at the same time"
    )
    uses_up_inputs = traits.Bool(
        False, usedefault=True, nohash=True,
        desc="leave an empty file in the place of each run when it has been resliced",
    )  # fmt: skip


class RealignOutputSpec(TraitedSpec):
    """Outputs of `Realign`; its lists stay lists for a single run."""

    out_files = traits.List(File(exists=True), desc="runs resliced into the grid of mean_file")
    mean_file = File(exists=True, desc="mean of all volumes of all runs")
    motion_files = traits.List(
        File(exists=True), desc="text, volumes x 6: x y z (mm), pitch roll yaw (rad)"
    )
    valid_mask_file = File(exists=True, desc="1 where every volume of every run has data")


class Realign(SimpleInterface):
    """Realign all volumes of all runs to their mean and reslice them once."""

    input_spec = RealignInputSpec
    output_spec = RealignOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        realigned = realign_files(
            self.inputs.in_files,
            runtime.cwd,
            self.inputs.n_threads,
            on_resliced=empty_file if self.inputs.uses_up_inputs else None,
        )
        self._results["out_files"] = [str(path) for path in realigned.runs]
        self._results["mean_file"] = str(realigned.mean)
        self._results["motion_files"] = [str(path) for path in realigned.motions]
        self._results["valid_mask_file"] = str(realigned.valid_mask)
        return runtime
