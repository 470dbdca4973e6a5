"""Realignment of all runs of a subject as a nipype step."""

from pathlib import Path
from tempfile import TemporaryDirectory
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
from interfaces.programs.files import provide


class RealignInputSpec(BaseInterfaceInputSpec):
    """Inputs of `Realign`."""

    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="4D runs of a subject")
    n_threads = traits.Range(
        low=1, value=1, usedefault=True, nohash=True, desc="volumes worked on at the same time"
    )
    uses_up_inputs = traits.Bool(
        False, usedefault=True, nohash=True,
        desc="leave an empty file in place of each run when it has been resliced",
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
        in_files = [Path(path) for path in self.inputs.in_files]
        with TemporaryDirectory(dir=runtime.cwd) as folder:
            # Compressed runs would be held in memory, and unpacked for every pass over them.
            for number, packed in enumerate(in_files):
                if packed.suffix == ".gz":
                    in_files[number] = Path(folder, str(number), packed.stem)
                    in_files[number].parent.mkdir()
                    provide(packed, in_files[number])

            def give_up(path: Path) -> None:
                if path.is_relative_to(folder):
                    path.unlink()
                elif self.inputs.uses_up_inputs:
                    empty_file(path)

            realigned = realign_files(in_files, runtime.cwd, self.inputs.n_threads, give_up)
        self._results["out_files"] = [str(path) for path in realigned.runs]
        self._results["mean_file"] = str(realigned.mean)
        self._results["motion_files"] = [str(path) for path in realigned.motions]
        self._results["valid_mask_file"] = str(realigned.valid_mask)
        return runtime
