"""Every way in which SPM can fail stops the step where it happens, with a sentence that says how.

Failure paths only, with a stand-in for SPM (`fake_launcher.py`); what SPM computes is tested in
`test_spm_engine.py` with the real one.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype.pipeline.engine import Node

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.programs import run_logged
from conceptrsa.interfaces.spm.jobs import find_fault
from conceptrsa.interfaces.spm.preprocessing_jobs import SpmCoregister, SpmRealign, SpmSliceTiming
from conceptrsa.interfaces.spm.run_models import SpmConcatenatedBetas, SpmSessionBetas

FAKE = Path(__file__).parent / "fake_launcher.py"
TIME_LIMIT = 3.0
SENTENCES = {
    "crashes": "exit code 11.*Segmentation violation",
    "crashes by a signal": r"crashed \(signal 11\)",
    "is killed": r"killed \(signal 9\)",
    "is killed below a shell": r"killed \(signal 9\)",
    "skips": "skipped for lack of input",
    "raises": "stopped with the error: The images do not overlap",
    "raises and hides it": "stopped with the error: The images do not overlap",
    "does nothing": "without a word that .* was done",
    "hangs": "did not end within .* minutes",
    "says it was done": "without an error, but (left no|did not change)",
    "stops before the end": "before the last line of its script",
}
STEPS = ("slice timing", "realignment", "coregistration", "concatenated", "sessions")
MODULES = {
    "slice timing": "Slice Timing",
    "realignment": "Realign: Estimate & Reslice",
    "coregistration": "Coregister: Estimate",
    "concatenated": "fMRI model specification",
    "sessions": "fMRI model specification",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    run = rng.integers(1, 1000, (6, 6, 4, 30)).astype(np.int16)
    nib.save(nib.Nifti1Image(run, np.eye(4)), folder / "bold.nii")
    nib.save(nib.Nifti1Image(run, np.eye(4)), folder / "bold.nii.gz")
    nib.save(nib.Nifti1Image(run[..., 0], np.eye(4)), folder / "mean.nii")
    np.savetxt(folder / "motion.txt", rng.standard_normal((30, 6)))
    (folder / "events.tsv").write_text(
        "onset\tduration\tcondition\tkind\n3\t6\ta\tstimulus\n12\t6\tb\tstimulus\n"
    )
    return folder


def make_node(step: str, data: Path, folder: Path, behaviour: str) -> Node:
    command = shlex.join([sys.executable, str(FAKE), behaviour, "script"])
    common = {"spm_command": command, "time_limit": TIME_LIMIT}
    model = {
        "in_files": [str(data / "bold.nii")],
        "motion_files": [str(data / "motion.txt")],
        "events_files": [str(data / "events.tsv")],
        "repetition_times": [3.0],
        "mask_file": str(data / "mean.nii"),
        **common,
    }
    if step == "slice timing":
        interface = SpmSliceTiming(
            in_file=str(data / "bold.nii.gz"), slice_times=[0.0, 1.0, 2.0, 2.5],
            repetition_time=3.0, **common,
        )  # fmt: skip
    elif step == "realignment":
        interface = SpmRealign(in_files=[str(data / "bold.nii")], **common)
    elif step == "coregistration":
        mean = str(data / "mean.nii")
        interface = SpmCoregister(source_file=mean, reference_file=mean, **common)
    elif step == "concatenated":
        interface = SpmConcatenatedBetas(**model)
    else:
        interface = SpmSessionBetas(**model)
    return Node(interface, name="step", base_dir=str(folder))


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()
    }  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("behaviour", [name for name in SENTENCES if name != "hangs"])
def test_failure_stops_the_step(behaviour: str, step: str, data: Path, tmp_path: Path) -> None:
    before = contents(data)
    with pytest.raises(Exception, match=f"(?s){SENTENCES[behaviour]}") as failure:
        make_node(step, data, tmp_path, behaviour).run()
    assert "StepError" in str(failure.value) or isinstance(failure.value, StepError)
    assert MODULES[step] in str(failure.value)
    assert contents(data) == before


@pytest.mark.parametrize("step", ["concatenated", "sessions"])
@pytest.mark.parametrize("behaviour", [name for name in SENTENCES if name != "hangs"])
def test_failure_of_the_estimation(behaviour: str, step: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=f"(?s){SENTENCES[behaviour]}") as failure:
        make_node(step, data, tmp_path, f"{behaviour} @ Model estimation").run()
    assert "Model estimation" in str(failure.value)


@pytest.mark.parametrize("step", ["slice timing", "sessions"])
def test_a_hanging_spm_is_stopped(step: str, data: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(Exception, match=SENTENCES["hangs"]):
        make_node(step, data, tmp_path, "hangs").run()
    assert time.monotonic() - start < TIME_LIMIT + 20


def test_the_message_names_a_log_that_is_there(data: Path, tmp_path: Path) -> None:
    odd = tmp_path / "it's a folder"
    odd.mkdir()
    with pytest.raises(Exception, match="SPM's messages: ") as failure:
        make_node("slice timing", data, odd, "crashes").run()
    log = str(failure.value).rsplit("SPM's messages: ", 1)[1].split(".log")[0] + ".log"
    assert "Segmentation" in Path(log).read_text()


def test_long_messages_are_cut() -> None:
    printed = (
        f"x - Failed  'Slice Timing'\n{'word ' * 1000}\nconceptrsa: SPM stopped with an error: "
    )
    fault = find_fault(printed, 1, "Slice Timing")
    assert fault is not None and len(fault) < 1000


def test_standard_input_is_closed_and_the_home_is_its_own(tmp_path: Path) -> None:
    script = "import os, sys; print(repr(sys.stdin.read()), os.environ['HOME'])"
    log = tmp_path / "log"
    assert run_logged([sys.executable, "-c", script], tmp_path, log, 60) == 0
    said, home = log.read_text().split()
    assert said == "''"
    assert home != os.environ.get("HOME")
    assert not Path(home).exists()


def test_children_of_a_shell_do_not_outlive_the_program(tmp_path: Path) -> None:
    """`run_spm12.sh` starts SPM as a child and waits: both must go when the worker is killed."""
    child = (
        "import os, sys, time; open('pid', 'w').write(str(os.getpid())); time.sleep(120)"
    )  # fmt: skip
    (tmp_path / "run_spm12.sh").write_text(f'{shlex.quote(sys.executable)} -c "{child}"\nexit $?\n')
    program = (
        "from pathlib import Path; from conceptrsa.interfaces.programs import run_logged\n"
        "run_logged(['sh', 'run_spm12.sh'], Path('.'), Path('log'), 100)"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path)
    pid_file = tmp_path / "pid"
    for _ in range(300):
        if pid_file.exists() and pid_file.read_text():
            break
        time.sleep(0.1)
    pid = int(pid_file.read_text())
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    for _ in range(100):
        if not is_running(pid):
            break
        time.sleep(0.1)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
