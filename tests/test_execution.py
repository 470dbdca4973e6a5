"""A run that ends before its time: nobody passes for done who is not."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline.engine import Workflow
from rich.console import Console

from conceptrsa.bids_config.errors import InputError, StepError
from conceptrsa.pipelines.execution.failures import Failure
from conceptrsa.pipelines.execution.forecast import Forecast, Size, StepForecast
from conceptrsa.pipelines.execution.run_workflows import run_workflow
from conceptrsa.pipelines.execution.slurm_queue import note_jobs
from conceptrsa.pipelines.execution.tidying import TidyingPlugin
from conceptrsa.pipelines.execution.worker_pool import WorkerPoolPlugin
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.workflows.steps import MapNode, Node


class DoInput(BaseInterfaceInputSpec):
    what = traits.Str(mandatory=True)
    after = traits.Any()


class DoOutput(TraitedSpec):
    what = traits.Str()


class Do(SimpleInterface):
    """Nothing, or fail with a sentence."""

    input_spec = DoInput
    output_spec = DoOutput

    def _run_interface(self, runtime):
        if self.inputs.what == "fail":
            raise StepError("the registration did not converge")
        self._results["what"] = self.inputs.what
        return runtime


def run(folder: Path, steps: dict[str, list[str]]) -> dict[str, list[Failure]]:
    """Two steps a subject, the first of several parts."""
    workflow = Workflow("conceptrsa_wf", base_dir=str(folder / "work"))
    (folder / "work").mkdir(exist_ok=True)
    for subject, whats in steps.items():
        subject_wf = Workflow(f"sub_{subject}_wf")
        each = MapNode(Do(), iterfield=["what"], name="estimate_betas")
        each.inputs.what = whats
        subject_wf.connect(each, "what", Node(Do(what="nothing"), name="coregister"), "after")
        workflow.add_nodes([subject_wf])
    forecast = Forecast(Size(1, 1, 1, 1, False), (StepForecast("GLM", "x", 1, 1.0, 0.0),))
    return run_workflow(
        workflow,
        dict.fromkeys(steps, forecast),
        ParticipantOptions(),
        folder / "logs",
        Console(file=(folder / "console").open("w")),
    )


@pytest.mark.parametrize("first", ["fail", "nothing"])
def test_subjects_that_a_broken_run_did_not_reach_have_failed(
    first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a step failed before, whose end nipype announces by an error, too."""
    finished = WorkerPoolPlugin._task_finished_cb

    def fail_for_02(self: Any, jobid: int, cached: bool = False) -> None:
        if "sub_02" in self.procs[jobid].output_dir():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x")
        finished(self, jobid, cached)

    monkeypatch.setattr(WorkerPoolPlugin, "_task_finished_cb", fail_for_02)
    failures = run(tmp_path, {"01": [first], "02": ["nothing", "nothing"]})
    assert bool(failures["01"]) is (first == "fail")
    (failure,) = failures["02"]
    assert failure.sentence.startswith("the run ended before all was done: No space left")
    assert failure.crash_file is not None and "ENOSPC" not in failure.sentence
    assert "OSError" in failure.crash_file.read_text()


def test_files_that_cannot_be_removed_fail_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: Any, path: str) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(TidyingPlugin, "_files_taken", fail)
    assert run(tmp_path, {"01": ["nothing"]}) == {"01": []}
    assert "were not removed" in caplog.text


def test_jobs_of_slurm_left_by_another_run_are_not_passed_over_without_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    note_jobs([tmp_path / "logs"], {"01": ".sub-01.conceptrsa-abc"})
    with pytest.raises(InputError, match=r"left jobs of Slurm .*sub-01\.jobs"):
        run(tmp_path, {"01": ["nothing"]})
    assert run(tmp_path, {"02": ["nothing"]}) == {"02": []}
