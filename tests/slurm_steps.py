"""Steps for the test of Slurm, where a job can import them, and a run of some of them."""

import os
import sys
import time
from pathlib import Path

from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline.engine import Workflow
from rich.console import Console

from conceptrsa.bids_config.errors import StepError
from conceptrsa.pipelines.cli.interrupts import exit_code, termination_as_interrupt
from conceptrsa.pipelines.execution.failures import Failure
from conceptrsa.pipelines.execution.forecast import Forecast, Size, StepForecast
from conceptrsa.pipelines.execution.run_workflows import run_workflow
from conceptrsa.pipelines.participant_options import ParticipantOptions, SlurmSettings
from conceptrsa.pipelines.workflows.steps import MapNode, Node

SECONDS_TO_WAIT = 120


class DoubleInput(BaseInterfaceInputSpec):
    number = traits.Int(mandatory=True)
    what = traits.Str("double", usedefault=True)
    folder = traits.Str(nohash=True)


class DoubleOutput(TraitedSpec):
    number = traits.Int()


class Double(SimpleInterface):
    """Double a number: at once, when a file named `release` appears, or fail."""

    input_spec = DoubleInput
    output_spec = DoubleOutput

    def _run_interface(self, runtime):
        folder = Path(self.inputs.folder)
        if self.inputs.what == "fail":
            raise StepError("twice that number is too much")
        if self.inputs.what == "wait":
            subject = next(part for part in Path.cwd().parts if part.startswith("sub_"))
            (folder / f"{subject}.pid").write_text(str(os.getpid()))
            deadline = time.monotonic() + SECONDS_TO_WAIT
            while not (folder / "release").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
        self._results["number"] = 2 * self.inputs.number
        return runtime


class WriteSumInput(BaseInterfaceInputSpec):
    numbers = traits.List(traits.Int(), mandatory=True)
    out_file = traits.Str(mandatory=True)


class WriteSumOutput(TraitedSpec):
    out_file = traits.Str()


class WriteSum(SimpleInterface):
    """Write the sum of numbers to a file."""

    input_spec = WriteSumInput
    output_spec = WriteSumOutput

    def _run_interface(self, runtime):
        Path(self.inputs.out_file).write_text(str(sum(self.inputs.numbers)))
        self._results["out_file"] = self.inputs.out_file
        return runtime


def run_steps(
    folder: Path,
    subjects: dict[str, tuple[str, list[int]]],
    slurm: SlurmSettings | None = None,
    n_threads: int = 1,
) -> dict[str, list[Failure]]:
    """Write twice the sum of each subject's numbers to `<subject>.txt`.

    A subject is what becomes of its first step ('double', 'wait', 'fail') and its numbers.
    """
    workflow = Workflow("conceptrsa_wf", base_dir=str(folder / "work"))
    (folder / "work").mkdir(parents=True, exist_ok=True)
    for subject, (what, numbers) in subjects.items():
        subject_wf = Workflow(f"sub_{subject}_wf")
        double = MapNode(Double(what=what), ["number"], name="double", n_procs=n_threads)
        double.inputs.number = numbers
        double.inputs.folder = str(folder)
        write = Node(WriteSum(out_file=str(folder / f"{subject}.txt")), name="write_sum")
        subject_wf.connect(double, "number", write, "numbers")
        workflow.add_nodes([subject_wf])
    step = StepForecast("GLM", "double", 1, 1.0, 0.0)
    return run_workflow(
        workflow,
        dict.fromkeys(subjects, Forecast(Size(1, 1, 1, 1, False), (step,))),
        ParticipantOptions(n_procs=2, slurm=slurm),
        folder / "logs",
        Console(file=(folder / "console").open("w")),
    )


def run_waiting_steps(folder: str) -> None:
    """Run steps that wait for the file `release`, and end as the command line does."""
    try:
        with termination_as_interrupt():
            run_steps(Path(folder), {"01": ("wait", [1]), "02": ("wait", [2])}, SlurmSettings())
    except KeyboardInterrupt as interrupt:
        sys.exit(exit_code(interrupt))
