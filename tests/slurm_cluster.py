"""A whole Slurm of one node on this machine, in a folder of its own, for tests."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.pipelines.execution.worker_processes import die_with_parent

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
_SECONDS_TO_START = 30
_SECONDS_TO_END = 10
_SETTINGS = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=300
DependencyParameters=kill_invalid_depend
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes={host} MaxTime=1 State=UP
"""


def reason_not_to_start() -> str | None:
    """Why no Slurm can be started here; None if one can."""
    path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        return f"no {missing[0]}: install Debian's slurm-wlm and munge"
    if getpass.getuser() != "root":
        return "Slurm's daemons of this test are started by root"
    return None


@dataclass(frozen=True)
class Job:
    """A job in the queue: its name, its number (with `_task` in an array), its state."""

    name: str
    number: str
    state: str


class Cluster:
    """A Slurm that runs.

    Attributes
    ----------
    environment : dict of str
        What Slurm's commands need to find it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def ask(self, *command: str) -> str:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30,
            env={**os.environ, **self.environment},
        ).stdout  # fmt: skip

    def jobs(self) -> list[Job]:
        """Jobs that wait or run."""
        listed = self.ask("squeue", "--noheader", "--format=%j|%i|%T")
        return [Job(*line.split("|")) for line in listed.splitlines()]

    def cancel_all(self) -> None:
        """End all jobs, and wait for it."""
        deadline = time.monotonic() + _SECONDS_TO_END
        while (jobs := self.jobs()) and time.monotonic() < deadline:
            self.ask("scancel", *(job.number for job in jobs))
            time.sleep(0.2)


@contextmanager
def started_cluster(folder: Path) -> Iterator[Cluster]:
    """Start munged, slurmctld and slurmd, and end them with every job, come what may."""
    path = os.environ["PATH"] + os.pathsep + "/usr/sbin"
    cluster = Cluster(folder)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().split(".")[0]
    controller_port, node_port = _free_ports(2)
    (folder / "slurm.conf").write_text(
        _SETTINGS.format(
            host=host, folder=folder, controller_port=controller_port, node_port=node_port
        )
    )
    environment = {**os.environ, **cluster.environment, "PATH": path}
    daemons: list[subprocess.Popen] = []
    try:
        daemons.append(_start_munge(folder, environment))
        for command in (["slurmctld", "-D"], ["slurmd", "-D", "-N", host]):
            daemons.append(_start(command, folder, environment))
        _wait_until_idle(cluster, daemons)
        yield cluster
    finally:
        _end(cluster, daemons)


def _start_munge(folder: Path, environment: dict[str, str]) -> subprocess.Popen:
    munge = folder / "munge"
    key = munge / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    # Forced, as it would rather not live in a temporary folder.
    command = [
        "munged", "--foreground", "--force", f"--key-file={key}",
        f"--socket={folder}/munge.socket", f"--pid-file={munge}/pid",
        f"--log-file={munge}/log", f"--seed-file={munge}/seed",
    ]  # fmt: skip
    return _start(command, folder, environment)


def _start(command: list[str], folder: Path, environment: dict[str, str]) -> subprocess.Popen:
    with (folder / f"{command[0]}.out").open("w") as stream:
        return subprocess.Popen(
            command, stdout=stream, stderr=stream, env=environment, start_new_session=True,
            # So that no daemon is left when the tests are killed.
            preexec_fn=die_with_parent,
        )  # fmt: skip


def _wait_until_idle(cluster: Cluster, daemons: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    said = ""
    while time.monotonic() < deadline:
        ended = [daemon.args for daemon in daemons if daemon.poll() is not None]
        if ended:
            logs = "\n".join(file.read_text() for file in cluster.folder.glob("*.out"))
            raise RuntimeError(f"{ended[0]} ended: {logs}")
        try:
            said = cluster.ask("sinfo", "--noheader", "--partition=main", "--format=%T")
        except subprocess.SubprocessError as error:
            said = str(error)
        if said.strip() == "idle":
            return
        time.sleep(0.2)
    raise RuntimeError(f"Slurm did not start: {said}")


def _end(cluster: Cluster, daemons: list[subprocess.Popen]) -> None:
    if len(daemons) == 3:
        # The daemons are ended all the same.
        with suppress(subprocess.SubprocessError):
            cluster.cancel_all()
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
