"""--nprocs and --mem-mb are kept by the local pool: counted while steps run."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline.engine import Workflow
from rich.console import Console

from conceptrsa.pipelines.execution.forecast import Forecast, Size, StepForecast
from conceptrsa.pipelines.execution.run_workflows import run_workflow
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.workflows.steps import Node

SECONDS = 0.4
SECONDS_TO_WAIT = 60


class OccupyInput(BaseInterfaceInputSpec):
    note = traits.Str(mandatory=True)
    n_started = traits.Int(desc="steps that must have started before it goes on, it among them")


class OccupyOutput(TraitedSpec):
    note = traits.Str()


class Occupy(SimpleInterface):
    """Take a while, and note from when to when.

    A process takes seconds to start, in which another could do all steps: so wait for it.
    """

    input_spec = OccupyInput
    output_spec = OccupyOutput

    def _run_interface(self, runtime):
        start = time.monotonic()
        note = Path(self.inputs.note)
        note.with_suffix(".started").touch()
        while len(list(note.parent.glob("*.started"))) < self.inputs.n_started:
            assert time.monotonic() < start + SECONDS_TO_WAIT, "no other step was started"
            time.sleep(0.05)
        time.sleep(SECONDS)
        note.write_text(f"{start} {time.monotonic()}")
        self._results["note"] = self.inputs.note
        return runtime


@dataclass(frozen=True)
class Step:
    """What a step says it needs, whether another runs beside it, and when it ran (s)."""

    n_procs: int = 1
    memory_gb: float = 0.2
    is_alone: bool = False
    start: float = 0.0
    end: float = 0.0


def run_all(folder: Path, steps: Sequence[Step], options: ParticipantOptions) -> list[Step]:
    """Run independent steps, and say when each one ran."""
    (folder / "work").mkdir()
    workflow = Workflow("conceptrsa_wf", base_dir=str(folder / "work"))
    subject_wf = Workflow("sub_01_wf")
    notes = [folder / f"note{index}" for index in range(len(steps))]
    for index, (step, note) in enumerate(zip(steps, notes, strict=True)):
        node = Node(
            Occupy(note=str(note), n_started=1 if step.is_alone else 2),
            name=f"step{index}",
            n_procs=step.n_procs,
            mem_gb=step.memory_gb,
        )
        subject_wf.add_nodes([node])
    workflow.add_nodes([subject_wf])
    forecast = StepForecast("GLM", "occupy", 1, 1.0, 0.0)
    failures = run_workflow(
        workflow,
        {"01": Forecast(Size(1, 1, 1, 1, False), (forecast,))},
        options,
        folder / "logs",
        Console(file=(folder / "console").open("w")),
    )
    assert failures == {"01": []}
    times = [[float(word) for word in note.read_text().split()] for note in notes]
    return [
        replace(step, start=start, end=end) for step, (start, end) in zip(steps, times, strict=True)
    ]


def running_with(step: Step, steps: Sequence[Step]) -> list[Step]:
    """Steps that ran at the moment when a step started, itself among them."""
    return [other for other in steps if other.start <= step.start < other.end]


def test_no_more_processes_than_nprocs_run_at_once(tmp_path: Path) -> None:
    steps = run_all(
        tmp_path, [Step()] * 5 + [Step(n_procs=2, is_alone=True)], ParticipantOptions(n_procs=2)
    )
    at_once = [sum(other.n_procs for other in running_with(step, steps)) for step in steps]
    assert max(at_once) == 2
    assert max(len(running_with(step, steps)) for step in steps) == 2


def test_no_more_memory_than_allowed_is_taken_and_a_larger_step_runs_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = [Step(memory_gb=gb, is_alone=gb > 4) for gb in (1.5, 1.5, 9.0, 3.0, 1.0)]
    with caplog.at_level(logging.INFO, logger="pipelines"):
        steps = run_all(tmp_path, wanted, ParticipantOptions(n_procs=3))
    larger = next(step for step in steps if step.memory_gb == 9.0)
    assert all(larger not in running_with(step, steps) for step in steps if step is not larger)
    assert running_with(larger, steps) == [larger]
    others = [step for step in steps if step is not larger]
    assert max(sum(s.memory_gb for s in running_with(step, others)) for step in others) <= 4.0
    assert max(len(running_with(step, others)) for step in others) >= 2
    (note,) = (record.message for record in caplog.records if "--mem-mb" in record.message)
    assert note == "step2 may need 9.0 GB, more than the 4.0 GB of --mem-mb; it runs alone"
