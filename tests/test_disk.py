"""Room on disk: a run that cannot end is refused, and a full disk costs nothing that was done."""

import errno
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from small_workflow import execute, results

from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.execution.failures import last_sentence
from conceptrsa.pipelines.execution.forecast import (
    DiskNeed,
    Forecast,
    Size,
    StepForecast,
    disk_need,
    require_room,
)
from conceptrsa.pipelines.participant_options import ParticipantOptions
from conceptrsa.pipelines.workflows import software

Usage = namedtuple("Usage", "total used free")
OPTIONS = ParticipantOptions(n_procs=2)
FORECAST = Forecast(
    Size(1, 1, 1, 1, False), (StepForecast("GLM", "estimate betas", 1, 1.0, 7.0),), 3.0, 0.5
)


def test_a_full_disk_is_refused_with_numbers_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**11, 0, 10**10))
    work, out = tmp_path / "out" / ".work", tmp_path / "out"
    require_room(DiskNeed(9.0, 0.9), work, out, OPTIONS, ["01"])
    with pytest.raises(InputError) as refused:
        require_room(DiskNeed(9.0, 1.1), work, out, replace(OPTIONS, keep_work=True), ["01"])
    said = str(refused.value)
    assert "needs about 10.1 GB" in said and "10.0 GB are free" in said
    assert "leave --keep-work out" in said and "--work-dir" in said
    assert not out.exists()


def test_what_an_earlier_run_of_the_subject_left_counts_as_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**11, 0, 0))
    work = tmp_path / ".work"
    step = software.of_subject(software.of_version(work), "01") / "step"
    step.mkdir(parents=True)
    (step / "file").write_bytes(bytes(2_000_000))
    (work / "of something else").write_bytes(bytes(2_000_000))
    require_room(DiskNeed(0.001, 0.0), work, tmp_path, OPTIONS, ["01"])
    with pytest.raises(InputError):
        require_room(DiskNeed(0.001, 0.0), work, tmp_path, OPTIONS, ["02"])


def test_kept_files_count_and_removed_ones_only_while_they_are_there() -> None:
    subjects = [FORECAST] * 5
    assert disk_need(subjects, replace(OPTIONS, keep_work=True)).total == 35.0
    need = disk_need(subjects, OPTIONS)
    # Two at work and one that waits, of three GB each, and five times half a GB that stays.
    assert (need.intermediate, need.results) == (9.0, 2.5)
    assert disk_need([FORECAST], OPTIONS).total == 3.5


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_fails_in_the_middle_leaves_what_is_done_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    execute(tmp_path / "undisturbed")
    written = Path.write_text

    def fail(self: Path, text: str, *more: object) -> int:
        if "estimated" in str(self) and self.suffix == ".bin":
            written(self, text[:100])  # what came before the disk was full
            raise OSError(code, os.strerror(code), str(self))
        return written(self, text, *more)

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(RuntimeError) as failed:
        execute(tmp_path / "failing")
    assert os.strerror(code) in f"{failed.value} {failed.value.__cause__}"
    monkeypatch.undo()
    assert not list((tmp_path / "failing" / "work").rglob(".writing-*"))
    done, _ = execute(tmp_path / "failing")
    assert results(tmp_path / "failing") == results(tmp_path / "undisturbed")
    assert "aligned" not in done and done["_estimated0"] == 1


FULL = """
import resource, signal, sys
from pathlib import Path
from conceptrsa.bids_config.writing import atomic_path

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_bytes(bytes(5000))
"""


def test_a_file_that_does_not_fit_leaves_the_one_of_before(tmp_path: Path) -> None:
    file = tmp_path / "table.tsv"
    file.write_text("whole\n")
    done = subprocess.run([sys.executable, "-c", FULL, str(file)], capture_output=True, text=True)
    assert done.returncode != 0 and "OSError" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["table.tsv"]
    assert file.read_text() == "whole\n"


def test_the_sentence_of_a_disk_error_says_what_to_do() -> None:
    said = last_sentence("Traceback\nOSError: [Errno 28] No space left on device: '/x/y.nii'\n")
    assert said.startswith("No space left on device: '/x/y.nii'; free some space")
    other = "FileNotFoundError: [Errno 2] No such file or directory: '/x'"
    assert last_sentence(f"Traceback\n{other}\n") == other
