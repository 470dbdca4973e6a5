"""Steps as jobs of a real Slurm: the local run's results, and no job's end is the run's."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from rdm_study import write_study
from slurm_cluster import Cluster, reason_not_to_start, started_cluster
from slurm_steps import run_steps

from conceptrsa.analysis.kept_findings import FOLDER
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.execution import slurm
from conceptrsa.pipelines.participant_options import SlurmSettings

MAXIMUM_SECONDS = 300
OPTIONS = ("--roi-source", "template", "--skip-bids-validation")
CLUSTER_PAGE = Path(__file__).parents[1] / "docs" / "cluster.md"


@pytest.fixture(scope="module")
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    reason = reason_not_to_start()
    if reason is not None:
        pytest.skip(reason)
    with started_cluster(tmp_path_factory.mktemp("slurm") / "cluster") as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, found by this process; without a job before and after."""
    for name, value in running_cluster.environment.items():
        monkeypatch.setenv(name, value)
    of_tests = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, of_tests)))
    monkeypatch.delenv("LOGNAME", raising=False)
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(slurm, "PATIENCE_SECONDS", 2.0)
    yield running_cluster
    running_cluster.cancel_all()


def eventually(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_cancelled_or_killed_job_fails_its_subject_and_a_resumed_run_finishes(
    cluster: Cluster, tmp_path: Path
) -> None:
    # Results of other numbers lie in the folders of the subject whose job will be cancelled.
    (tmp_path / "release").touch()
    assert not any(run_steps(tmp_path, {"cancelled": ("wait", [1, 1])}).values())
    assert (tmp_path / "cancelled.txt").read_text() == "4"
    for file in tmp_path.iterdir():
        if file.is_file():
            file.unlink()

    # Two jobs fill the machine, so that the others wait.
    subjects = {"kept": ("wait", [2]), "killed": ("wait", [3]), "cancelled": ("wait", [4, 5])}
    disturbed: list[str] = []

    def disturb() -> None:
        eventually(lambda: all((tmp_path / f"sub_{s}_wf.pid").exists() for s in ("kept", "killed")))
        eventually(lambda: len(pending("cancelled")) == 2)
        cluster.ask("scancel", pending("cancelled")[0])
        os.kill(int((tmp_path / "sub_killed_wf.pid").read_text()), signal.SIGKILL)
        (tmp_path / "release").touch()
        disturbed.append("done")

    def pending(subject: str) -> list[str]:
        return [
            job.number
            for job in cluster.jobs()
            if f".sub-{subject}." in job.name and job.state == "PENDING"
        ]

    thread = threading.Thread(target=disturb)
    thread.start()
    failures = run_steps(tmp_path, subjects | {"failing": ("fail", [6])}, SlurmSettings())
    thread.join()
    assert disturbed == ["done"]
    assert failures["kept"] == []
    assert (tmp_path / "kept.txt").read_text() == "4"
    assert not (tmp_path / "cancelled.txt").exists()
    assert not (tmp_path / "killed.txt").exists()
    sentences = {label: failed[0].sentence for label, failed in failures.items() if failed}
    assert re.fullmatch(r"job \d+ was cancelled; run the same .* again.*", sentences["cancelled"])
    assert "was killed" in sentences["killed"]
    assert Path(re.search(r"its log: (.*)\)", sentences["killed"])[1]).is_file()
    assert sentences["failing"] == "twice that number is too much"
    for failed in failures.values():
        assert all("StepError" in failure.crash_file.read_text() for failure in failed)

    assert not any(run_steps(tmp_path, subjects, SlurmSettings()).values())
    sums = [(tmp_path / f"{label}.txt").read_text() for label in subjects]
    assert sums == ["4", "6", "18"]
    logs = [file.name for file in (tmp_path / "logs" / "slurm").iterdir()]
    assert any(name.startswith("double1.sub-cancelled.") for name in logs)


def test_a_job_that_cannot_start_is_a_failure_and_not_a_hang(
    cluster: Cluster, tmp_path: Path
) -> None:
    too_long = SlurmSettings("--partition=short --time=10")
    (failure,) = run_steps(tmp_path / "long", {"01": ("double", [1])}, too_long)["01"]
    assert "will never start" in failure.sentence and "PartitionTimeLimit" in failure.sentence
    assert cluster.jobs() == []
    (failure,) = run_steps(
        tmp_path / "wide", {"01": ("double", [1])}, SlurmSettings(), n_threads=1000
    )["01"]
    assert "will never start" in failure.sentence and "--omp-nthreads" in failure.sentence
    unknown = SlurmSettings("--partition=nowhere")
    (failure,) = run_steps(tmp_path / "unknown", {"01": ("double", [1])}, unknown)["01"]
    assert "Slurm refused the step" in failure.sentence and "partition" in failure.sentence


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cancels_its_jobs(
    cluster: Cluster, tmp_path: Path, number: signal.Signals
) -> None:
    run = start_run_that_waits(tmp_path)
    run.send_signal(number)
    assert run.wait(60) == 128 + number
    eventually(lambda: cluster.jobs() == [])


def test_jobs_that_a_killed_run_left_do_not_disturb_the_next(
    cluster: Cluster, tmp_path: Path
) -> None:
    run = start_run_that_waits(tmp_path)
    run.kill()
    run.wait()
    left = [job.number for job in cluster.jobs()]
    assert len(left) == 2
    (tmp_path / "release").touch()
    processes = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
    again = {"01": ("wait", [3]), "02": ("wait", [4])}
    assert not any(run_steps(tmp_path, again, SlurmSettings()).values())
    assert [(tmp_path / f"{label}.txt").read_text() for label in again] == ["6", "8"]
    assert not any(Path(f"/proc/{process}").exists() for process in processes)


def test_jobs_that_a_killed_run_left_do_not_disturb_a_run_without_slurm(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run_that_waits(tmp_path)
    run.kill()
    run.wait()
    assert len(cluster.jobs()) == 2
    # What the user would rather see in the list must not hide the jobs.
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    (tmp_path / "release").touch()
    assert not any(run_steps(tmp_path, {"01": ("double", [3]), "02": ("double", [4])}).values())
    monkeypatch.delenv("SQUEUE_STATES")
    assert cluster.jobs() == []
    assert not list(tmp_path.rglob("*.jobs"))


def start_run_that_waits(folder: Path) -> subprocess.Popen:
    """A run of its own process, with two jobs that wait for a file named `release`."""
    code = "import sys, slurm_steps; slurm_steps.run_waiting_steps(sys.argv[1])"
    run = subprocess.Popen([sys.executable, "-c", code, str(folder)], start_new_session=True)
    eventually(lambda: len(list(folder.glob("*.pid"))) == 2)
    return run


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("", "Slurm no longer lists job 7, which left no result"),
        ("7|OUT_OF_MEMORY|OutOfMemory", "job 7 ran out of memory (1000 MB"),
        ("7|TIMEOUT|TimeLimit", "job 7 reached its time limit"),
        ("7|NODE_FAIL|NodeDown", "the machine that ran job 7 failed"),
        ("7|COMPLETED|None", "job 7 ended without a result"),
    ],
)
def test_the_end_of_a_job_is_told_in_a_sentence(
    listed: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what one machine cannot be made to do, by stand-ins for Slurm's commands."""
    # The first answer about the job is none: a controller that restarts loses no job.
    answers = f"""#!/bin/sh
case "$*" in *--user=*) exit 0;; esac
if [ ! -e {tmp_path}/asked ]; then
  touch {tmp_path}/asked
  echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2
  exit 1
fi
echo '{listed}'
"""
    stand_ins = {"sbatch": "#!/bin/sh\ncat > /dev/null\necho 7\n", "squeue": answers}
    for name, text in stand_ins.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(slurm, "PATIENCE_SECONDS", 0.5)
    (failure,) = run_steps(tmp_path, {"01": ("double", [1])}, SlurmSettings())["01"]
    assert failure.sentence.startswith(said)
    assert failure.sentence.endswith("run the same command again to continue")
    assert (tmp_path / "asked").exists()


@pytest.fixture(scope="module")
def bids(small_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects with the same two runs."""
    bids = tmp_path_factory.mktemp("data") / "bids"
    shutil.copytree(small_demo / "bids", bids, ignore=shutil.ignore_patterns("sub-02"))
    for path in sorted((bids / "sub-01").rglob("*")):
        if path.is_file():
            twin = bids / str(path.relative_to(bids)).replace("sub-01", "sub-02")
            twin.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, twin)
    return bids


@pytest.mark.slow
def test_the_command_gives_the_same_bytes_by_jobs_of_steps_and_of_subjects(
    cluster: Cluster, bids: Path, tmp_path: Path
) -> None:
    """Subjects as jobs run on local processes; one of them is killed and submitted again."""
    script = array_script(bids, tmp_path / "subjects")
    array = submit(script, tmp_path, "0-1")
    work = tmp_path / "subjects" / ".work"
    eventually(lambda: any(work.glob("*/*/sub_02_wf/**/result_*.pklz")), MAXIMUM_SECONDS)
    cluster.ask("scancel", f"{array}_1")
    eventually(lambda: cluster.jobs() == [], MAXIMUM_SECONDS)
    log = (tmp_path / "conceptrsa-0.log").read_text()
    assert "1 of 1 subjects done" in log, log
    assert "1 of 1 subjects done" not in (tmp_path / "conceptrsa-1.log").read_text()
    submit(script, tmp_path, "1")

    settings = tmp_path / "slurm.yml"
    settings.write_text("plugin: SLURM\nplugin_args: {sbatch_args: '--time=30 --mem=2G'}\n")
    code = main([
        "run", str(bids), str(tmp_path / "steps"), "participant", "--dataset-config", "demo",
        "--participant-label", "01", "--use-plugin", str(settings), *OPTIONS,
    ])  # fmt: skip
    assert code == 0
    eventually(lambda: cluster.jobs() == [], MAXIMUM_SECONDS)
    assert "1 of 1 subjects done" in (tmp_path / "conceptrsa-1.log").read_text()

    by_steps, by_subjects = (checksums(tmp_path / way / "sub-01") for way in ("steps", "subjects"))
    assert len(by_steps) > 20
    assert by_steps == by_subjects
    resumed = checksums(tmp_path / "subjects" / "sub-02")
    same = {name for name in by_steps if name.endswith((".tsv", ".nii.gz"))}
    assert {name: resumed[name.replace("sub-01", "sub-02")] for name in same} == {
        name: by_subjects[name] for name in same
    }
    assert list((tmp_path / "steps" / "logs" / "slurm").glob("estimate_betas1.sub-01.*.log"))


def scripts_of_page() -> list[str]:
    """Of the subjects, and of the regions."""
    return re.findall(r"```bash\n(#!/bin/bash\n.*?)```", CLUSTER_PAGE.read_text(), re.DOTALL)


def test_jobs_of_parts_are_joined(cluster: Cluster, tmp_path: Path) -> None:
    """The script of the documentation, for a comparison of RDMs."""
    words = shlex.join(write_study(tmp_path))
    _, script = scripts_of_page()
    command = 'run "$bids" "$out" group --features /data/features'
    assert script.count(command) == 1
    script = script.replace(command, words).replace("parts=8", "parts=2")
    submit(script, tmp_path, "1-2")
    finished = tmp_path / "out" / "group" / FOLDER
    eventually(lambda: len(list(finished.rglob("[!.]*.npz"))) == 3, MAXIMUM_SECONDS)
    logs = [tmp_path / f"conceptrsa-part-{part}.log" for part in (1, 2)]
    eventually(lambda: all("parts are done" in log.read_text() for log in logs))
    assert "regions finished: a, c" in logs[0].read_text()
    assert main(shlex.split(words)) == 0
    assert (tmp_path / "out" / "group" / "provenance.json").exists() and not finished.exists()


def array_script(bids: Path, out: Path) -> str:
    """The script of the documentation, for the test's data set."""
    text, _ = scripts_of_page()
    for name, value in {
        "bids": f'"{bids}"',
        "out": f'"{out}"',
        "subjects": "(01 02)",
        "options": f"(--dataset-config demo {' '.join(OPTIONS)})",
    }.items():
        text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert count == 1
    return text


def submit(script: str, folder: Path, tasks: str) -> str:
    path = Path(sys.executable).parent
    return subprocess.run(
        ["sbatch", "--parsable", f"--array={tasks}", "--cpus-per-task=1", "--mem=4G",
         f"--chdir={folder}"],
        input=script, capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
    ).stdout.strip()  # fmt: skip


def checksums(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
