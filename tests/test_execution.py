"""A run that ends before its time: nobody passes for done who is not."""

import errno
import logging
import os
import re
import time
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

SECONDS_TO_WAIT = 60


class DoInput(BaseInterfaceInputSpec):
    what = traits.Str(mandatory=True)
    after = traits.Any()


class DoOutput(TraitedSpec):
    what = traits.Str()


class Do(SimpleInterface):
    """Nothing, fail with a sentence, or wait until that was noted in a folder."""

    input_spec = DoInput
    output_spec = DoOutput

    def _run_interface(self, runtime):
        kind, _, folder = self.inputs.what.rpartition(" ")
        deadline = time.monotonic() + SECONDS_TO_WAIT
        while kind == "after crash" and not list(Path(folder).glob("logs/crash-*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if kind == "after crash":
            time.sleep(0.5)
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
    assert failure.sentence.startswith("the run ended early: No space left")
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
    with pytest.raises(InputError, match=r"jobs of an earlier run .*sub-01\.jobs"):
        run(tmp_path, {"01": ["nothing"]})
    assert run(tmp_path, {"02": ["nothing"]}) == {"02": []}


def chain(kinds: dict[str, str]) -> list[Node]:
    """Steps one after the other."""
    return [Node(Do(what=what), name=name) for name, what in kinds.items()]


def test_a_subject_that_failed_goes_no_further_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One branch fails at once, and the other would be at work for long."""
    workflow = Workflow("conceptrsa_wf", base_dir=str(tmp_path / "work"))
    (tmp_path / "work").mkdir()
    for subject in ("01", "02"):
        subject_wf = Workflow(f"sub_{subject}_wf")
        after_crash = f"after crash {tmp_path}"  # so that the failure is known when it ends
        branch = chain({
            "slice_timing": after_crash, "realign": "nothing", "estimate_betas": "nothing"
        })  # fmt: skip
        each = MapNode(Do(), iterfield=["what"], name="save_betas")
        each.inputs.what = ["nothing", "nothing"]
        for step, following in zip(branch, [*branch[1:], each], strict=True):
            subject_wf.connect(step, "what", following, "after")
        failing = Node(Do(what="fail" if subject == "01" else "nothing"), name="reconstruct")
        subject_wf.connect(failing, "what", Node(Do(what="nothing"), name="normalize"), "after")
        workflow.add_nodes([subject_wf])
    forecast = Forecast(
        Size(1, 1, 1, 1, False),
        tuple(
            StepForecast(name, name, times, seconds, 0.0)
            for name, times, seconds in (
                ("reconstruct", 1, 7 * 3600.0), ("normalize", 1, 10.0), ("slice timing", 1, 10.0),
                ("realign", 1, 10.0), ("estimate betas", 1, 10.0), ("save betas", 2, 10.0),
            )
        ),
    )  # fmt: skip
    with caplog.at_level(logging.INFO, logger="conceptrsa"):
        failures = run_workflow(
            workflow,
            {"01": forecast, "02": forecast},
            ParticipantOptions(n_procs=2),
            tmp_path / "logs",
            Console(file=(tmp_path / "console").open("w")),
        )
    assert [failure.sentence for failure in failures["01"]] == ["the registration did not converge"]
    assert failures["02"] == []
    lines = [record.message for record in caplog.records if record.message.startswith("sub-")]
    of_first = [line for line in lines if line.startswith("sub-01")]
    assert re.match(
        r"sub-01 reconstruct failed \(\d+ s; no further steps of this subject will start\); ",
        of_first[0],
    )
    assert [line.split(" done")[0] for line in of_first[1:]] == ["sub-01 slice timing"]
    assert sum(line.startswith("sub-02") for line in lines) == 6
    assert not any(" 0 s left" in line for line in lines)
    assert all("left" in line for line in lines[:-1])
    assert lines[-1].endswith("; 100 % of all")


def test_a_subject_that_failed_is_done_by_the_next_run(tmp_path: Path) -> None:
    assert run(tmp_path, {"01": ["fail", "nothing"]})["01"]
    assert run(tmp_path, {"01": ["nothing", "nothing"]}) == {"01": []}
