"""A Docker engine for tests: the one that runs here, or one of our own in a folder."""

import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.pipelines.execution.worker_processes import die_with_parent

BASE = "python:3.11.13-slim-bookworm"
BASE_MADE_HERE = "conceptrsa-test-base"
_RELEASE = "bookworm"
_PYTHON_OF_DEBIAN = "python3.11"
_SECONDS_TO_START = 40
_REACHED = (
    "https://pypi.org/simple/setuptools/",
    "http://deb.debian.org/debian/dists/bookworm/Release",
)


class NoEngineError(Exception):
    """No engine can run here, or nothing can be built with it; says why in a sentence."""


@dataclass(frozen=True)
class Engine:
    """A client that builds with BuildKit, and the daemon that it speaks to."""

    client: str
    host: str | None = None

    def run(self, *words: str | Path, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
        """Run the client to its end."""
        command = [self.client, *(str(word) for word in words)]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=self.environment()
        )

    def environment(self) -> dict[str, str]:
        """That of this process, with the address of the daemon and BuildKit."""
        address = {} if self.host is None else {"DOCKER_HOST": self.host}
        return {**os.environ, "DOCKER_BUILDKIT": "1", **address}

    def output(self, *words: str | Path) -> str:
        """What the client prints; it has to end well."""
        done = self.run(*words)
        if done.returncode != 0:
            raise AssertionError(f"docker {' '.join(map(str, words))}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """The engine that runs here, else one that is started for the time of the test.

    Raises
    ------
    NoEngineError
        If none runs and none can be started.
    """
    client = _client()
    running = Engine(client)
    if running.run("info").returncode == 0:
        yield running
        return
    daemon = shutil.which("dockerd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if daemon is None:
        raise NoEngineError("no Docker engine runs, and dockerd is not installed (docker.io)")
    if os.geteuid() != 0:
        raise NoEngineError("no Docker engine runs, and only root can start one")
    socket = f"unix://{folder}/docker.sock"
    with (folder / "dockerd.log").open("w") as log:
        process = subprocess.Popen(
            [
                daemon, "--host", socket, "--data-root", folder / "data",
                "--exec-root", folder / "exec", "--pidfile", folder / "dockerd.pid",
                "--bridge", "none", "--iptables=false",
            ],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            preexec_fn=die_with_parent,
        )  # fmt: skip
    started = Engine(client, socket)
    try:
        limit = time.monotonic() + _SECONDS_TO_START
        while started.run("info").returncode != 0:
            if process.poll() is not None or time.monotonic() > limit:
                last = (folder / "dockerd.log").read_text().strip().splitlines()[-1:]
                raise NoEngineError(f"a Docker engine cannot be started here: {' '.join(last)}")
            time.sleep(0.5)
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


def _client() -> str:
    """A client that builds with BuildKit: with buildx, or older than version 23."""
    folders = os.environ["PATH"].split(os.pathsep)
    clients = [found for folder in folders if (found := shutil.which("docker", path=folder))]
    for client in clients:
        version = subprocess.run([client, "--version"], capture_output=True, text=True).stdout
        major = version.removeprefix("Docker version ").split(".")[0]
        buildx = subprocess.run([client, "buildx", "version"], capture_output=True)
        if buildx.returncode == 0 or (major.isdigit() and int(major) < 23):
            return client
    raise NoEngineError("no Docker client that builds is installed: docker.io, or Docker's buildx")


def base_image(engine: Engine, folder: Path) -> str:
    """Name of the image that the Dockerfile starts from, or of one like it that is made here.

    Raises
    ------
    NoEngineError
        If it can neither be had nor made.
    """
    if engine.run("image", "inspect", BASE).returncode == 0 or _pulled(engine):
        return BASE
    if engine.run("image", "inspect", BASE_MADE_HERE).returncode == 0:
        return BASE_MADE_HERE
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise NoEngineError(f"{BASE} cannot be pulled, and debootstrap by root, to make it, is not")
    root = folder / "root"
    packages = f"{_PYTHON_OF_DEBIAN}-venv python3-distutils ca-certificates"
    install = (
        f"apt-get update -qq && apt-get install -qq --yes --no-install-recommends {packages}"
        f" && ln -s /usr/bin/{_PYTHON_OF_DEBIAN} /usr/local/bin/python"
        f" && ln -s /usr/bin/{_PYTHON_OF_DEBIAN} /usr/local/bin/python3"
        " && rm -rf /var/lib/apt/lists/* /var/cache/apt/*"
    )
    for command in (
        ["debootstrap", "--variant=minbase", _RELEASE, root],
        ["chroot", root, "sh", "-c", f"DEBIAN_FRONTEND=noninteractive && {install}"],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise NoEngineError(f"{BASE} cannot be made here: {done.stderr.strip()[-300:]}")
    import_folder(engine, root, BASE_MADE_HERE)
    return BASE_MADE_HERE


def _pulled(engine: Engine) -> bool:
    with suppress(subprocess.TimeoutExpired):
        return engine.run("pull", "--quiet", BASE, timeout=120).returncode == 0
    return False


def import_folder(engine: Engine, folder: Path, name: str) -> None:
    """Make an image of a folder's files."""
    archive = folder.with_suffix(".tar")
    subprocess.run(
        ["tar", "-C", folder, "--numeric-owner", "-cf", archive, "."], check=True, timeout=300
    )
    engine.output("import", archive, name)
    archive.unlink()


def index_secrets(folder: Path) -> list[str]:
    """Options that pass this machine's pip index and certificates to a build.

    Raises
    ------
    NoEngineError
        If what the build downloads from cannot be reached.
    """
    for address in _REACHED:
        try:
            urllib.request.urlopen(address, timeout=30).close()
        except OSError as error:
            raise NoEngineError(f"{address} cannot be reached ({error})") from error
    settings = ConfigParser()
    settings["global"] = {}
    options = []
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    if certificates:
        settings["global"]["cert"] = "/run/secrets/certificates"
        options += ["--secret", f"id=certificates,src={certificates}"]
    if os.environ.get("PIP_INDEX_URL"):
        settings["global"]["index-url"] = os.environ["PIP_INDEX_URL"]
    with (folder / "pip.conf").open("w") as file:
        settings.write(file)
    return [*options, "--secret", f"id=pip.conf,src={folder / 'pip.conf'}"]
