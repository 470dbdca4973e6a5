"""Processors and memory, as control groups of versions 1 and 2 limit them; imitations of /sys."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from conceptrsa.bids_config import machine
from conceptrsa.bids_config.machine import (
    THREAD_VARIABLES,
    Share,
    available_memory,
    available_processors,
    limit_threads,
    limited_to,
    map_on_threads,
    share_of_machine,
)

N_CORES = 64
MACHINE_BYTES = 2 << 40
GB = 1 << 30
NO_LIMIT = "9223372036854771712\n"  # as version 1 says it


@pytest.fixture
def large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": MACHINE_BYTES // 4096}
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(N_CORES)), raising=False)
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)


def limits(folder: Path, own: str, files: dict[str, str]) -> tuple[int, int]:
    """Processors and memory, where /proc/self/cgroup and the files below /sys/fs/cgroup are so."""
    for name, content in files.items():
        file = folder / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    (folder / "own").write_text(own)
    places = folder / "cgroup", folder / "own"
    return available_processors(*places), available_memory(*places)


UNLIMITED = (N_CORES, MACHINE_BYTES)
V1 = "5:memory:{0}\n4:cpu,cpuacct:{0}\n1:name=systemd:{0}\n0::/system.slice\n"
OF_DOCKER = "/docker/0123abcd"
OF_KUBERNETES = "/kubepods/burstable/pod1/0123"
SLURM_V1 = "9:memory:{0}/task_0\n8:cpuset:{0}\n4:cpuacct,cpu:/system.slice/slurmd.service\n".format(
    "/slurm/uid_1000/job_7/step_batch"
)
SLURM_V2 = "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n"
JOB_V2 = "system.slice/slurmstepd.scope/job_7"

CASES = {
    "no control groups": ("", {}, UNLIMITED),
    "the machine itself, v2": ("0::/user.slice\n", {"user.slice/cpu.max": "max 100000\n",
        "user.slice/memory.max": "max\n"}, UNLIMITED),
    "docker run --cpus 1 --memory 8g, v2": ("0::/\n", {"cpu.max": "100000 100000\n",
        "memory.max": f"{8 * GB}\n"}, (1, 8 * GB)),
    "--cpus 1.5 is rounded up": ("0::/\n", {"cpu.max": "150000 100000\n"}, (2, MACHINE_BYTES)),
    "--cpus 0.1 is one": ("0::/\n", {"cpu.max": "10000 100000\n"}, (1, MACHINE_BYTES)),
    "more than there are": ("0::/\n", {"cpu.max": "9900000 100000\n"}, UNLIMITED),
    "the tightest is in the middle": ("0::/a/b/c\n", {
        "a/cpu.max": "800000 100000\n", "a/b/cpu.max": "400000 100000\n",
        "a/b/c/cpu.max": "max 100000\n",
        "a/memory.max": f"{3 * GB}\n", "a/b/memory.max": f"{4 * GB}\n", "a/b/c/memory.max": "max\n",
        "other/cpu.max": "100000 100000\n", "other/memory.max": "1\n"}, (4, 3 * GB)),
    "the group of a container as the machine names it, v2": (f"0::{OF_KUBERNETES}\n", {
        "cpu.max": "250000 100000\n", "memory.max": f"{2 * GB}\n"}, (3, 2 * GB)),
    "a group beside the container's": ("0::/../../other.slice/x\n", {
        "cpu.max": "200000 100000\n", "other.slice/x/cpu.max": "100000 100000\n",
        "memory.max": "max\n"}, (2, MACHINE_BYTES)),
    "the machine itself, v1": (V1.format("/"), {
        "cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": NO_LIMIT}, UNLIMITED),
    "docker run --cpus 2.5 --memory 6g, v1": (V1.format(OF_DOCKER), {
        "cpu,cpuacct/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": f"{6 * GB}\n"}, (3, 6 * GB)),
    "the same, seen from the machine": (V1.format(OF_DOCKER), {
        f"cpu{OF_DOCKER}/cpu.cfs_quota_us": "250000\n",
        f"cpu{OF_DOCKER}/cpu.cfs_period_us": "100000\n", "cpu/cpu.cfs_quota_us": "-1\n",
        f"memory{OF_DOCKER}/memory.limit_in_bytes": f"{6 * GB}\n",
        "memory/memory.limit_in_bytes": NO_LIMIT}, (3, 6 * GB)),
    "hybrid: v1 limits, v2 is empty": ("4:memory:/a\n2:cpu:/a\n0::/a\n", {
        "cpu/a/cpu.cfs_quota_us": "300000\n", "cpu/a/cpu.cfs_period_us": "100000\n",
        "memory/a/memory.limit_in_bytes": f"{GB}\n", "unified/a/cgroup.procs": "1\n"}, (3, GB)),
    "hybrid: processors by v2, memory by v1": ("4:memory:/a\n0::/b\n", {
        "unified/b/cpu.max": "500000 100000\n",
        "memory/a/memory.limit_in_bytes": f"{GB}\n"}, (5, GB)),
    "a job of Slurm, v1": (SLURM_V1, {
        "memory/slurm/uid_1000/job_7/memory.limit_in_bytes": f"{16 * GB}\n",
        "memory/slurm/uid_1000/job_7/step_batch/memory.limit_in_bytes": f"{16 * GB}\n",
        "memory/slurm/uid_1000/job_7/step_batch/task_0/memory.limit_in_bytes": NO_LIMIT,
        "cpuacct,cpu/system.slice/cpu.cfs_quota_us": "-1\n"}, (N_CORES, 16 * GB)),
    "a job of Slurm, v2": (SLURM_V2, {
        f"{JOB_V2}/memory.max": f"{16 * GB}\n", f"{JOB_V2}/cpu.max": "max 100000\n",
        f"{JOB_V2}/step_0/memory.max": f"{12 * GB}\n",
        f"{JOB_V2}/step_0/user/task_0/memory.max": "max\n"}, (N_CORES, 12 * GB)),
    "files that hold something else": ("0::/\n\nnonsense\nmore::::\n", {
        "cpu.max": "\n", "memory.max": "much\n"}, UNLIMITED),
}  # fmt: skip


@pytest.mark.usefixtures("large_machine")
@pytest.mark.parametrize("case", CASES)
def test_limits_of_control_groups(case: str, tmp_path: Path) -> None:
    own, files, expected = CASES[case]
    assert limits(tmp_path, own, files) == expected


@pytest.mark.usefixtures("large_machine")
def test_libraries_start_as_many_threads_as_there_are_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    limits(tmp_path, "0::/\n", {"cpu.max": "max 100000\n"})
    limit_threads(tmp_path / "cgroup", tmp_path / "own")
    assert "OMP_NUM_THREADS" not in os.environ
    limits(tmp_path, "0::/\n", {"cpu.max": "200000 100000\n"})
    try:
        limit_threads(tmp_path / "cgroup", tmp_path / "own")
        found = {name: os.environ[name] for name in THREAD_VARIABLES}
    finally:
        for name in THREAD_VARIABLES:
            os.environ.pop(name, None)
    assert found == {**dict.fromkeys(THREAD_VARIABLES, "2"), "MKL_NUM_THREADS": "7"}


LIMITS = {
    "cpu.max": "50000 100000", "memory.max": str(GB),
    "cpu.cfs_quota_us": "50000", "memory.limit_in_bytes": str(GB),
}  # fmt: skip


@pytest.fixture
def own_groups() -> Iterator[list[Path]]:
    """Groups below this process's own that limit both resources, made by this machine's Linux."""
    made = []
    for resource in ("cpu", "memory"):
        folders = list(machine._own(machine.GROUPS, machine.OWN_GROUPS, resource))
        limiting = [own for own in folders if any((own / name).exists() for name in LIMITS)]
        for group in {own / f"conceptrsa-test-{os.getpid()}" for own in limiting[-1:]}:
            with suppress(OSError):
                group.mkdir()
                made.append(group)
    files = [group / name for group in made for name in LIMITS if (group / name).exists()]
    if len(files) == 2:
        for file in files:
            file.write_text(LIMITS[file.name])
        yield made
    for group in made:
        group.rmdir()
    if len(files) != 2:
        pytest.skip("control groups may not be made here")


@pytest.mark.parametrize(
    ("n_bytes", "in_turn", "expected"),
    [(0, False, 4), (GB, False, 4), (3 * GB, False, 2), (9 * GB, False, 1), (0, True, 1)],
)
def test_calls_side_by_side_are_as_many_as_fit_in_half_the_memory(
    monkeypatch: pytest.MonkeyPatch, n_bytes: int, in_turn: bool, expected: int
) -> None:
    monkeypatch.setattr(machine, "available_processors", lambda: 4)
    monkeypatch.setattr(machine, "available_memory", lambda: 12 * GB)
    lock, now, most = threading.Lock(), [0], [0]

    def call(item: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return item * item

    found = map_on_threads(call, range(8), n_bytes, in_turn)
    assert found == [item * item for item in range(8)]
    assert most[0] == expected


def test_calls_within_calls_share_what_is_left() -> None:
    """Two calls on five processors have two each; one after the other, all."""

    def share(item: int) -> Share:
        return share_of_machine()

    with limited_to(Share(5, 12 * GB)):
        assert map_on_threads(share, range(2)) == [Share(2, 6 * GB)] * 2
        assert map_on_threads(share, range(9)) == [Share(1, 12 * GB // 5)] * 9
        assert map_on_threads(share, range(2), in_turn=True) == [Share(5, 12 * GB)] * 2
        assert (
            map_on_threads(lambda _: map_on_threads(share, range(2)), range(2))
            == [[Share(1, 3 * GB)] * 2] * 2
        )
        assert share_of_machine() == Share(5, 12 * GB)


def test_a_process_in_control_groups_of_its_own(own_groups: list[Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "conceptrsa", "doctor"],
        capture_output=True, text=True, check=True,
        preexec_fn=lambda: [(group / "cgroup.procs").write_text("0") for group in own_groups],
    )  # fmt: skip
    found = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if "  " in line)
    assert (found["processors"], found["memory"]) == ("1", "1.1 GB")
