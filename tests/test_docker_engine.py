"""`conceptrsa-docker` with Docker itself, and an image that holds little but a shell."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
FILE = Path(__file__).resolve().parents[1] / "pipelines" / "cli" / "conceptrsa_docker.py"
IMAGE = "conceptrsa-standin:test"
PROGRAMS = ("bash", "cat", "env", "id", "ls", "sh", "sleep")

# The entry point: it tells what it sees, tries to write, and waits until it is told to end.
CONCEPTRSA = """#!/bin/sh
trap 'echo ended by TERM; exit 7' TERM
trap 'echo ended by INT; exit 8' INT
for word in "$@"; do echo "word <$word>"; done
echo "user $(id -u):$(id -g)"
cat /data/file
echo data > /data/new || echo read-only data
echo program > /bin/new || echo read-only image
echo '#!/bin/sh' > /tmp/program && echo can write in /tmp
echo result > /out/result && echo cached > "$XDG_CACHE_HOME/kept"
case "$*" in *--wait*) echo waiting; sleep 60 & wait;; esac
exit 5
"""


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


def containers() -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"ancestor={IMAGE}").split()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Made of this machine's own programs, as nothing can be fetched."""
    if shutil.which("docker") is None or shutil.which("ldd") is None:
        pytest.skip("docker or ldd is not installed")
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker daemon answers")
    root = tmp_path_factory.mktemp("image")
    for folder in ("bin", "tmp", "data", "out", "scratch"):
        (root / folder).mkdir()
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found is not None
        shutil.copy(Path(found).resolve(), root / "bin" / name)
        linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(", linked):
            copy = root / library.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(library).resolve(), copy)
    (root / "bin" / "conceptrsa").write_text(CONCEPTRSA)
    (root / "bin" / "conceptrsa").chmod(0o755)
    archive = root.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(root, ".")
    docker("import", "--change", 'ENTRYPOINT ["conceptrsa", "run"]', "--change", "ENV PATH=/bin",
           str(archive), IMAGE)  # fmt: skip
    yield IMAGE
    for left in containers():
        docker("rm", "--force", left)
    docker("image", "rm", IMAGE)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder whose name a mount by -v could not take."""
    folder = tmp_path / 'a "lab": é, b'
    (folder / "bids").mkdir(parents=True)
    (folder / "bids" / "file").write_text("content\n")
    monkeypatch.chdir(folder)
    return folder


def command(*words: str) -> list[str]:
    level = ["bids", "bids/derivatives/out", "participant", "-w", "work"]
    return [sys.executable, str(FILE), *level, "--image", IMAGE, "--network", "none", *words]


def test_a_run(image: str, lab: Path) -> None:
    done = subprocess.run(
        command("--models", "timm:x@blocks.1", "--prompt", 'a "photo" of $HOME'),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert done.stdout.splitlines() == [
        "word <run>", "word </data>", "word </out>", "word <participant>",
        "word <--models>", "word <timm:x@blocks.1>", "word <--prompt>",
        'word <a "photo" of $HOME>', "word <--work-dir>", "word </scratch>",
        f"user {os.getuid()}:{os.getgid()}", "content", "read-only data", "read-only image",
        "can write in /tmp",
    ]  # fmt: skip
    result = lab / "bids" / "derivatives" / "out" / "result"
    assert result.read_text() == "result\n" and result.stat().st_uid == os.getuid()
    assert sorted(path.name for path in (lab / "bids").iterdir()) == ["derivatives", "file"]
    assert not containers()


def test_a_linked_folder_is_seen_where_its_link_leads(image: str, lab: Path) -> None:
    (lab / "store" / "sub-01").mkdir(parents=True)
    (lab / "store" / "sub-01" / "scan").write_text("a scan")
    (lab / "bids" / "sub-01").symlink_to(lab / "store" / "sub-01")
    done = subprocess.run(
        command("--shell"), input="cat /data/sub-01/scan; exit 3",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "a scan")


def test_a_link_does_not_replace_programs_of_the_image(image: str, lab: Path) -> None:
    (lab / "bids" / "program").symlink_to("/bin/sh")
    (lab / "bids" / "library").symlink_to("/lib/os-release")
    done = subprocess.run(command(), capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert "mounted as well" not in done.stderr


def test_a_secret_reaches_the_container_by_its_name(
    image: str, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", "a secret")
    words = command("--shell", "-e", "TOKEN_OF_TEST")
    done = subprocess.run(
        words, input='echo "$TOKEN_OF_TEST"', capture_output=True, text=True, check=False
    )
    assert done.stdout == "a secret\n"
    printed = subprocess.run([*words, "--print"], capture_output=True, text=True, check=True)
    assert "-e TOKEN_OF_TEST " in printed.stdout and "a secret" not in printed.stdout


def test_a_detached_container_is_refused(image: str, lab: Path) -> None:
    done = subprocess.run(
        command("--docker-arg=--detach"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "tmux" in done.stderr
    assert not containers()


def test_its_version(image: str) -> None:
    done = subprocess.run(command("--version"), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[:2] == ["conceptrsa-docker 0.1.0", "word <--version>"]


def wait_until_gone() -> None:
    until = time.monotonic() + 20
    while containers() and time.monotonic() < until:
        time.sleep(0.2)
    assert not containers()


@pytest.mark.parametrize(
    ("name", "code"), [("SIGTERM", 7), ("SIGINT", 8), ("SIGHUP", 129), ("SIGKILL", -9)]
)
def test_signals_reach_the_container(image: str, lab: Path, name: str, code: int) -> None:
    with subprocess.Popen(command("--wait"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "waiting\n" in iter(process.stdout.readline, "")
        process.send_signal(getattr(signal, name))
        last = process.stdout.read()
    assert process.returncode == code
    assert last == {"SIGTERM": "ended by TERM\n", "SIGINT": "ended by INT\n"}.get(name, "")
    wait_until_gone()


@pytest.mark.parametrize("seconds", [0.3, 0.5, 0.7])
def test_nothing_is_left_of_a_start_that_was_ended(image: str, lab: Path, seconds: float) -> None:
    with subprocess.Popen(command("--wait"), stdout=subprocess.DEVNULL) as process:
        time.sleep(seconds)
        process.terminate()
    time.sleep(2)
    wait_until_gone()


@pytest.mark.parametrize("is_closed", [False, True])
def test_keys_in_a_terminal(image: str, lab: Path, is_closed: bool) -> None:
    """Control-C ends the run, Control-P Control-Q does not leave it alone."""
    process, terminal = pty.fork()
    if process == 0:
        os.execvp(sys.executable, command("--wait"))
    seen = b""
    while b"waiting" not in seen:
        seen += os.read(terminal, 10_000)
    if is_closed:
        os.close(terminal)
    else:
        os.write(terminal, b"\x10\x11")
        time.sleep(1)
        assert os.waitpid(process, os.WNOHANG) == (0, 0)
        os.write(terminal, b"\x03")
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == (129 if is_closed else 8)
    wait_until_gone()
