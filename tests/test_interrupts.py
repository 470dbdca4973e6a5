"""Ctrl-C and SIGTERM: one sentence, the exit code of shells, and nothing is left at work."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from conceptrsa.pipelines.cli.interrupts import Terminated, termination_as_interrupt
from conceptrsa.pipelines.execution.worker_processes import interrupts_held_back

SENTENCE = "conceptrsa: interrupted; run the same command again to continue"
SECONDS_TO_START = 120
SECONDS_TO_END = 30
"""One or two on an idle machine; `docker stop` kills what is there after ten."""
PROGRAM = Path(__file__).parent / "interrupted_commands.py"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


def start(work: str, folder: Path, before: Sequence[str] = ()) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*before, sys.executable, str(PROGRAM), work, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def eventually(condition: Callable[[], object], seconds: float = SECONDS_TO_START) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def processes_of(folder: Path) -> list[int]:
    """Processes that were told of a folder or work in it, and what those have started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            place = str((process / "cwd").readlink())
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z" and (str(folder) in words or place.startswith(str(folder))):
            found.append(int(process.name))
    return found


def children_of(parent: int) -> list[int]:
    return [
        int(child)
        for children in Path(f"/proc/{parent}/task").glob("*/children")
        for child in children.read_text().split()
    ]


def require_orderly_end(program: subprocess.Popen, code: int, folder: Path) -> None:
    _, said = program.communicate(timeout=SECONDS_TO_END)
    lines = [line for line in said.splitlines() if " sub-01 " not in line]  # of finished steps
    assert lines == [SENTENCE]
    assert program.returncode == code
    assert eventually(lambda: not processes_of(folder), SECONDS_TO_END)


TO_ONE_OR_ALL = [
    pytest.param(os.kill, signal.SIGTERM, id="docker stop"),
    pytest.param(os.killpg, signal.SIGTERM, id="Slurm's time limit"),
    pytest.param(os.killpg, signal.SIGINT, id="Ctrl-C"),
]


@pytest.mark.parametrize(("send", "number"), TO_ONE_OR_ALL)
def test_steps_are_ended_and_a_run_started_again_goes_on(
    send: Callable[[int, int], None], number: signal.Signals, tmp_path: Path
) -> None:
    program = start("run_steps", tmp_path)
    tries = [tmp_path / f"tries{number}" for number in range(3)]
    assert eventually(lambda: all(file.exists() for file in tries))
    send(program.pid, number)
    require_orderly_end(program, 128 + number, tmp_path)
    if send is os.killpg:
        return  # what is left is the same, and a run takes its time
    (tmp_path / "release").touch()
    again = start("run_steps", tmp_path)
    _, said = again.communicate(timeout=SECONDS_TO_START)
    assert again.returncode == 0, said
    assert [len(file.read_text()) for file in tries] == [1, 2, 2]


@pytest.mark.parametrize(("send", "number"), TO_ONE_OR_ALL)
def test_workers_that_are_just_starting_say_nothing(
    send: Callable[[int, int], None], number: signal.Signals, tmp_path: Path
) -> None:
    program = start("run_steps", tmp_path)
    # The second child is the first worker; the first counts semaphores.
    assert eventually(lambda: len(children_of(program.pid)) > 1)
    send(program.pid, number)
    require_orderly_end(program, 128 + number, tmp_path)


def test_an_interrupt_waits_until_workers_are_started_whichever_thread_takes_it() -> None:
    ended = threading.Event()
    threading.Thread(target=ended.wait, daemon=True).start()
    reached = []
    with pytest.raises(Terminated), termination_as_interrupt():
        with interrupts_held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
            reached.append("the end of the block")
        reached.append("what comes after it")
    ended.set()
    assert reached == ["the end of the block"]


@pytest.mark.parametrize(("send", "number"), TO_ONE_OR_ALL)
def test_a_demo_that_is_being_made_ends(
    send: Callable[[int, int], None], number: signal.Signals, tmp_path: Path
) -> None:
    program = start("make_demo", tmp_path)
    assert eventually(lambda: list(tmp_path.rglob("*_T1w.nii.gz")))
    send(program.pid, number)
    require_orderly_end(program, 128 + number, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_folder_in_which_spm_was_asked_is_removed(
    number: signal.Signals, tmp_path: Path
) -> None:
    program = start("ask_spm", tmp_path)
    assert eventually((tmp_path / "asked").exists)
    assert list((tmp_path / "scratch").glob("conceptrsa-spm-*"))
    program.send_signal(number)
    require_orderly_end(program, 128 + number, tmp_path)
    assert not list((tmp_path / "scratch").iterdir())


def can_make_process_namespaces() -> bool:
    command = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "true"]
    return shutil.which("unshare") is not None and not subprocess.call(
        command, stderr=subprocess.DEVNULL
    )


@pytest.mark.skipif(not can_make_process_namespaces(), reason="namespaces are not allowed here")
def test_the_first_process_of_a_container_ends_as_well(tmp_path: Path) -> None:
    """The kernel drops signals to it that it does not handle itself."""
    alone = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    container = start("run_steps", tmp_path, alone)
    assert eventually(lambda: all((tmp_path / f"tries{n}").exists() for n in (1, 2)))
    (first,) = children_of(container.pid)
    os.kill(first, signal.SIGTERM)
    require_orderly_end(container, 128 + signal.SIGTERM, tmp_path)
