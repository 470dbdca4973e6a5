"""A container with a read-only file system, and a user without a name and a home."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.cli import main
from conceptrsa.pipelines.cli.surroundings import provide_home

COMMANDS = [
    ["run", "bids", "out", "participant", "--dataset-config", "demo"],
    ["run", "bids", "out", "group"],
    ["compare", "--betas", "betas", "--out", "out"],
    ["features", "pictures", "out"],
    ["models"],
    ["graph", "graph.dot"],
    ["demo", "out"],
    ["doctor"],
]
NO_FOLDER = (
    "conceptrsa: no temporary folder is writable ($TMPDIR, /tmp): set TMPDIR to a writable folder, "
    "or add --tmpfs /tmp:exec to docker run"
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_a_folder_for_temporary_files_a_command_says_so(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/absent"])
    assert main(command) == 2
    assert capsys.readouterr().err.splitlines() == [NO_FOLDER]


READ_ONLY = """
for folder in /tmp /var/tmp /usr/tmp; do
  if [ -d $folder ]; then mount --rbind $folder $folder && mount -o remount,bind,ro $folder; fi
done
cd /proc && exec "$@"
"""


def test_in_a_read_only_file_system() -> None:
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, "sh"]
    if shutil.which("unshare") is None or subprocess.call([*alone, "true"]):
        pytest.skip("namespaces are not allowed here")
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
    done = subprocess.run(
        [*alone, sys.executable, "-m", "conceptrsa", "graph", "graph.dot"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()) == (2, [NO_FOLDER])


def test_libraries_find_a_home_and_say_nothing(tmp_path: Path) -> None:
    """matplotlib complains at import where it cannot write to the home."""
    (tmp_path / "file").touch()
    environment = {**os.environ, "HOME": f"{tmp_path}/file/home", "TMPDIR": str(tmp_path)}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-m", "conceptrsa", "compare", "--betas", "/absent", "--out", "out"],
        capture_output=True, text=True, env=environment, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    notice, sentence = done.stderr.splitlines()
    assert f"features and weights are kept in {tmp_path}/conceptrsa-{os.getuid()}" in notice
    assert sentence.startswith("conceptrsa: /absent")


@pytest.fixture
def no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As docker run --user 12345."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)


@pytest.mark.usefixtures("no_name")
def test_a_user_without_a_name_and_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "x")
    monkeypatch.delenv("HOME")
    provide_home(tmp_path)
    assert os.environ["USER"] == str(os.getuid())
    assert Path.home() == tmp_path / f"conceptrsa-{os.getuid()}"
    assert Path.home().is_dir()


@pytest.mark.usefixtures("no_name")
def test_caches_of_a_home_that_can_only_be_read_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    (home / ".cache").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    provide_home(tmp_path)
    assert Path.home() == home
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / f"conceptrsa-{os.getuid()}")


def test_a_folder_of_another_user_is_not_taken_for_a_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", f"{tmp_path}/file/home")
    (tmp_path / f"conceptrsa-{os.getuid()}").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(InputError, match="belongs to another user"):
        provide_home(tmp_path)
    assert os.environ["HOME"] == f"{tmp_path}/file/home"


def test_a_home_that_can_be_made_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", f"{tmp_path}/new/home")
    provide_home(tmp_path)
    assert os.environ["HOME"] == f"{tmp_path}/new/home"
    assert not list(tmp_path.iterdir())
