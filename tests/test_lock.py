"""Two runs never write the same results at once, and a dead run locks nothing."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import supplied_data as data

from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.execution.run_lock import lock, only_run

HOLDER = """
import sys, time
from pathlib import Path
from conceptrsa.pipelines.execution.run_lock import only_run

with only_run([Path(sys.argv[1])], sys.argv[2:]):
    print("locked", flush=True)
    time.sleep(120)
"""


def hold(folder: Path, *names: str) -> subprocess.Popen:
    """Another process that has the locks."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), *names], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    return process


def test_a_second_run_is_refused_and_told_who_is_at_it(tmp_path: Path) -> None:
    other = hold(tmp_path, "sub-01", "sub-02")
    try:
        with pytest.raises(InputError) as refused, only_run([tmp_path], ["sub-02", "sub-03"]):
            pass
        said = str(refused.value)
        assert "sub-02" in said and str(tmp_path) in said
        assert f"process {other.pid} on {os.uname().nodename}, since 20" in said
        # What the refused run had locked before is free again.
        with only_run([tmp_path], ["sub-03"]):
            pass
    finally:
        other.kill()
        other.wait()


def test_runs_take_turns_at_what_takes_a_moment(tmp_path: Path) -> None:
    inside: list[int] = []

    def take() -> None:
        for _ in range(20):
            with lock(tmp_path, "record", wait=True):
                inside.append(1)
                assert len(inside) == 1
                inside.pop()
            done.append(1)

    done: list[int] = []
    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 160 and not list(tmp_path.iterdir())


def test_the_lock_of_a_killed_run_is_gone_with_it(tmp_path: Path) -> None:
    other = hold(tmp_path, "group")
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert list(tmp_path.iterdir())
    with only_run([tmp_path], ["group"]):
        pass
    assert not list(tmp_path.iterdir())


def test_other_subjects_and_other_folders_are_free(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        only_run([tmp_path / "one"], ["sub-01"]),
        only_run([tmp_path / "one"], ["sub-02"]),
        only_run([tmp_path / "two"], ["sub-01"]),
    ):
        assert len(list(tmp_path.rglob("*.lock"))) == 3


def test_a_lock_that_its_holder_removed_while_it_was_waited_for_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the file and locking it, the run before ends and removes it."""
    path = tmp_path / ".conceptrsa-group.lock"
    taken = []

    def remove_first(file, operation):
        if not taken:
            path.unlink()
        taken.append(operation)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    with only_run([tmp_path], ["group"]):
        assert len(taken) == 2
        assert path.exists()


def test_a_file_system_without_locks_is_said_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with only_run([tmp_path], ["group"]):
        pass
    assert "does not support locks" in caplog.text and str(tmp_path) in caplog.text


def test_compare_takes_the_lock_of_its_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data.write_rdms(tmp_path / "rdms")
    data.write_models(tmp_path / "models")
    (tmp_path / "small.toml").write_text(data.CONFIG)
    out = tmp_path / "out"
    out.mkdir()
    with only_run([out], ["group"]):
        code = main([
            "compare", "--betas", str(tmp_path / "rdms"), "--features", str(tmp_path / "models"),
            "--out", str(out), "--dataset-config", str(tmp_path / "small.toml"),
        ])  # fmt: skip
    assert code == 2
    assert "another run is writing group" in capsys.readouterr().err
    assert not (out / "group").exists()


def test_group_waits_for_no_subject_that_is_being_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / "sub-01").mkdir(parents=True)
    with only_run([out], ["sub-01"]):
        assert main(["run", str(tmp_path / "bids"), str(out), "group"]) == 2
    assert "another run is writing sub-01" in capsys.readouterr().err


def test_demo_takes_the_lock_of_its_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with only_run([tmp_path], ["demo"]):
        assert main(["demo", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "another run is writing demo" in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())
