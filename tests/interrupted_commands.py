"""`conceptrsa run` in a process of its own, with other work in place of its own, to be interrupted.

python interrupted_commands.py {run_steps,make_demo,ask_spm} FOLDER
"""

import sys
import time
from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline.engine import Workflow
from rich.console import Console
from small_demo import small_settings

from conceptrsa.pipelines import cli
from conceptrsa.pipelines.cli import run_command
from conceptrsa.pipelines.demo.demo_dataset import write_demo_dataset
from conceptrsa.pipelines.execution.find_programs import find_spm
from conceptrsa.pipelines.execution.forecast import Forecast, Size, StepForecast
from conceptrsa.pipelines.execution.run_workflows import run_workflow
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.workflows.steps import MapNode, Node

SECONDS = 300


class WaitInput(BaseInterfaceInputSpec):
    number = traits.Int(mandatory=True)
    folder = traits.Str(nohash=True)


class WaitOutput(TraitedSpec):
    number = traits.Int()


class Wait(SimpleInterface):
    """Give the number: 0 at once, others when a file named `release` appears."""

    input_spec = WaitInput
    output_spec = WaitOutput

    def _run_interface(self, runtime):
        folder = Path(self.inputs.folder)
        with (folder / f"tries{self.inputs.number}").open("a") as tries:
            tries.write("x")
        deadline = time.monotonic() + SECONDS
        while self.inputs.number > 0 and not (folder / "release").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self._results["number"] = self.inputs.number
        return runtime


def run_steps(folder: Path) -> int:
    """A step that ends at once, and two after it that wait."""
    workflow = Workflow("conceptrsa_wf", base_dir=str(folder / "work"))
    (folder / "work").mkdir(exist_ok=True)
    subject_wf = Workflow("sub_01_wf")
    first = Node(Wait(number=0, folder=str(folder)), name="first")
    waiting = MapNode(Wait(folder=str(folder)), iterfield=["number"], name="waiting")
    subject_wf.connect([(first, waiting, [(("number", one_and_two), "number")])])
    workflow.add_nodes([subject_wf])
    step = StepForecast("waiting", "waiting", 2, 10.0, 0.0)
    failures = run_workflow(
        workflow,
        {"01": Forecast(Size(1, 1, 1, 1, False), (step,))},
        ParticipantOptions(n_procs=2),
        folder / "logs",
        Console(stderr=True),
    )
    return 1 if failures["01"] else 0


def one_and_two(number):
    return [number + 1, number + 2]


def make_demo(folder: Path) -> int:
    """Two sessions by two processes."""
    rng = np.random.default_rng(0)
    settings = small_settings(n_subjects=2, n_runs=30)
    stimuli = tuple(f"thing_{n:02d}" for n in range(6))
    models = dict.fromkeys(roi.model for roi in settings.planted.values())
    planted = {model: rng.standard_normal((len(stimuli), 40)) for model in models}
    write_demo_dataset(folder / "demo", planted, stimuli, settings, n_procs=2)
    return 0


def ask_spm(folder: Path) -> int:
    """Ask an SPM that does not answer for its version."""
    command = f"/bin/sh -c 'touch {folder}/asked; sleep {SECONDS}' script"
    find_spm(ParticipantOptions(engine="spm", spm_command=command), folder / "scratch")
    return 0


def main() -> int:
    work, folder = sys.argv[1], Path(sys.argv[2])
    run_command.run = lambda args: globals()[work](folder)
    return cli.main(["run", "bids", "out", "participant"])


if __name__ == "__main__":
    sys.exit(main())
