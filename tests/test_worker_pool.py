"""The plugin: failures become sentences, a killed worker fails its step and nothing hangs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import small_workflow
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline.engine import MapNode, Node, Workflow
from rich.console import Console
from small_workflow import InProcessPlugin

from conceptrsa.bids_config.errors import StepError
from conceptrsa.pipelines.execution.failures import FailureKeeper, last_sentence
from conceptrsa.pipelines.execution.forecast import Forecast, Size, StepForecast
from conceptrsa.pipelines.execution.run_workflows import run_workflow
from conceptrsa.pipelines.participant_options import ParticipantOptions


class DoInput(BaseInterfaceInputSpec):
    what = traits.Str(mandatory=True)


class DoOutput(TraitedSpec):
    pid = traits.Int()


class Do(SimpleInterface):
    """Do as told: nothing, fail with a sentence, or be killed."""

    input_spec = DoInput
    output_spec = DoOutput

    def _run_interface(self, runtime):
        if self.inputs.what == "fail":
            raise StepError("the registration of that image did not converge")
        if self.inputs.what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.inputs.what == "sleep":
            time.sleep(60)
        kind, _, folder = self.inputs.what.partition(" ")
        if kind in ("killer", "once", "beside"):
            meet_and_die(kind, Path(folder))
        self._results["pid"] = os.getpid()
        return runtime


def meet_and_die(kind: str, folder: Path) -> None:
    """Note the try; in the first wait until another is at work, and be killed or be felled."""
    (folder / kind).mkdir(exist_ok=True)
    tries = len(list((folder / kind).iterdir()))
    (folder / kind / str(tries)).touch()
    if tries == 0:
        eventually(lambda: (folder / "beside").exists() and len(list(folder.iterdir())) == 2, 60)
        if kind == "beside":
            time.sleep(60)
    if kind == "killer" or (kind == "once" and tries == 0):
        os.kill(os.getpid(), signal.SIGKILL)


def as_text(pids):
    """What nipype hands from the one step to the other."""
    return str(pids)


def make_workflow(tmp_path: Path, steps: dict[str, list[str]]) -> Workflow:
    workflow = Workflow("conceptrsa_wf", base_dir=str(tmp_path / "work"))
    (tmp_path / "work").mkdir(exist_ok=True)
    for subject, whats in steps.items():
        subject_wf = Workflow(f"sub_{subject}_wf")
        each = MapNode(Do(), iterfield=["what"], name="estimate_betas")
        each.inputs.what = whats
        last = Node(Do(what="nothing"), name="coregister")
        subject_wf.connect([(each, last, [(("pid", as_text), "what")])])
        workflow.add_nodes([subject_wf])
    return workflow


def make_forecast(times: int) -> Forecast:
    step = StepForecast("GLM", "estimate betas", times, 10.0 * times, 0.0)
    return Forecast(Size(times, 1, 1, 1, False), (step,))


def run(tmp_path: Path, steps: dict[str, list[str]]) -> dict:
    return run_workflow(
        make_workflow(tmp_path, steps),
        {subject: make_forecast(len(whats)) for subject, whats in steps.items()},
        ParticipantOptions(n_procs=2),
        tmp_path / "logs",
        Console(file=(tmp_path / "console").open("w")),
    )


def test_all_well_is_no_failure(tmp_path: Path) -> None:
    assert run(tmp_path, {"01": ["a", "b"], "02": ["a"]}) == {"01": [], "02": []}


def test_a_failed_step_fails_its_subject_only_and_says_why(tmp_path: Path) -> None:
    failures = run(tmp_path, {"01": ["a", "fail"], "02": ["a", "b"]})
    assert failures["02"] == []
    (failure,) = failures["01"]
    assert failure.sentence == "the registration of that image did not converge"
    assert failure.crash_file is not None
    assert "StepError" in failure.crash_file.read_text()


def test_a_killed_worker_is_a_failure_and_not_a_hang(tmp_path: Path) -> None:
    start = time.monotonic()
    failures = run(tmp_path, {"01": ["die", "a"]})
    assert time.monotonic() - start < 60
    assert any("was killed" in failure.sentence for failure in failures["01"])


@pytest.mark.parametrize("kind", ["killer", "once"])
def test_a_killed_worker_fails_no_step_but_its_own(tmp_path: Path, kind: str) -> None:
    """What was beside it is done again, and what dies again while it is alone is given up."""
    tries = tmp_path / "tries"
    tries.mkdir()
    failures = run(tmp_path, {"01": [f"{kind} {tries}"], "02": [f"beside {tries}", "a"]})
    assert failures["02"] == []
    assert ["was killed" in failure.sentence for failure in failures["01"]] == (
        [True] if kind == "killer" else []
    )
    assert {path.name: len(list(path.iterdir())) for path in tries.iterdir()} == {
        kind: 2,
        "beside": 2,
    }


def test_a_step_that_was_alone_when_its_worker_died_is_not_repeated(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    (tries / "beside").mkdir(parents=True)
    failures = run(tmp_path, {"01": [f"killer {tries}"]})
    assert len(failures["01"]) == 1
    assert len(list((tries / "killer").iterdir())) == 1


class InProcess(FailureKeeper, InProcessPlugin):
    """Keeps what failed; a step that is finished already cannot be taken for it."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = []

    def _task_finished_cb(self, jobid, cached=False):
        if cached:
            raise StepError("what it left cannot be read")
        super()._task_finished_cb(jobid, cached)


def test_what_fails_in_the_main_process_has_a_sentence_too(tmp_path: Path) -> None:
    small_workflow.execute(tmp_path, keep_work=True)
    (tmp_path / "results" / "result0.bin").unlink()
    plugin = InProcess()
    plugin.start_from(tmp_path / "work", True)
    small_workflow.make_workflow(tmp_path).run(plugin=plugin)
    assert {failure.sentence for failure in plugin.failures} == {"what it left cannot be read"}


def start_parent(tmp_path: Path) -> subprocess.Popen:
    """A process that runs steps which sleep."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from test_worker_pool import run\n"
        "if __name__ == '__main__':\n"
        "    run(Path(sys.argv[1]), {'01': ['sleep', 'sleep']})\n"
    )
    file = tmp_path / "parent.py"
    file.write_text(script)
    return subprocess.Popen([sys.executable, str(file), str(tmp_path), str(Path(__file__).parent)])


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent death signal is Linux's")
def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    parent = start_parent(tmp_path)
    assert eventually(lambda: bool(workers_of(tmp_path)), 60)
    parent.kill()
    parent.wait()
    assert eventually(lambda: not workers_of(tmp_path), 20)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_workers_that_are_still_starting_when_their_parent_dies_end(tmp_path: Path) -> None:
    parent = start_parent(tmp_path)
    assert eventually(lambda: len(starting_workers(parent.pid)) == 2, 60)
    workers = starting_workers(parent.pid)
    parent.kill()
    parent.wait()
    assert eventually(lambda: not any(map(is_running, workers)), 60)


def starting_workers(parent: int) -> list[int]:
    """Children of a process that `multiprocessing` has just spawned."""
    found = []
    for children in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def workers_of(tmp_path: Path) -> list[int]:
    """Processes whose working folder lies below the test's: the workers that run a step."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            place = str((process / "cwd").readlink())
            running = (process / "stat").read_text().split(")")[1].split()[0] != "Z"
        except OSError:
            continue
        if running and place.startswith(str(tmp_path / "work" / "conceptrsa_wf")):
            found.append(int(process.name))
    return found


def test_last_sentence() -> None:
    wrapped = "Traceback\nbids_config.errors.StepError: it failed; try again\n\n"
    assert last_sentence(wrapped) == "it failed; try again"
    assert last_sentence("Traceback\n  x\nValueError: bad\n") == "ValueError: bad"
    assert last_sentence("") == "the step failed without a message"
