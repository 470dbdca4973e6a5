"""A half-written file is never seen under its name, and does not outlive the next run."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import atomic_path, file_errors, remove_leftovers

WRITER = """
import sys, time
from conceptrsa.bids_config.writing import atomic_path

with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(120)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that is writing deep below the folder."""
    file = tmp_path / "sub-01" / "func" / "betas.nii.gz"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file)], stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def test_what_a_killed_process_was_writing_is_removed(
    writer: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    assert writer.stdout is not None
    temporary = Path(writer.stdout.readline().strip())
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert temporary.read_text() == "half"
    remove_leftovers(tmp_path)
    assert not list(temporary.parent.iterdir())


def test_what_a_living_process_is_writing_stays(
    writer: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    assert writer.stdout is not None
    temporary = Path(writer.stdout.readline().strip())
    remove_leftovers(tmp_path)
    assert temporary.read_text() == "half"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "table.tsv"
    file.write_text("whole")
    with pytest.raises(RuntimeError), atomic_path(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert file.read_text() == "whole" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("raised", "otherwise", "message"),
    [
        (FileNotFoundError(), "", "is missing: restore it, or give one that exists"),
        (FileNotFoundError(), "ask", "is missing: restore it, or ask"),
        (PermissionError(), "", "is not readable: correct its permissions"),
        (PermissionError(), "ask", "is not readable: correct its permissions, or ask"),
        (IsADirectoryError(21, "Is a directory"), "", "cannot be read (Is a directory): save it"),
        (EOFError("half"), "ask", "cannot be read (half): save it, or ask"),
    ],
)
def test_what_cannot_be_read_is_told_with_each_way_out(
    raised: Exception, otherwise: str, message: str
) -> None:
    file = Path("folder/file")
    with (
        pytest.raises(InputError) as caught,
        file_errors(file, "save it", (EOFError,), otherwise),
    ):
        raise raised
    assert str(caught.value) == f"{file} {message}"
