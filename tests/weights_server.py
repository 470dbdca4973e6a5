"""A real server of a file of weights, which can be told to misbehave, and what tests share."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from conceptrsa.analysis.models.registry import WeightsFile
from conceptrsa.bids_config.errors import InputError

CONTENT = hashlib.shake_256(b"weights").digest(3_000_000)
OTHER = hashlib.shake_256(b"others").digest(len(CONTENT))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Publisher:
    """What the server holds, how it behaves, and what it was asked for."""

    address: str = ""
    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"first"'})
    ranges: bool = True
    wrong_place: bool = False
    length: bool = True
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0
    asked: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0

    def file(self, name: str = "net.pth", sha256: str = SHA256, size: int | None = None):
        return WeightsFile(name, f"{self.address}/folder/{name}", sha256, size)


class Handler(BaseHTTPRequestHandler):
    publisher: Publisher

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        publisher = self.publisher
        publisher.asked.append({"path": self.path, **dict(self.headers)})
        if self.path in publisher.redirects:
            self.send_response(302)
            self.send_header("Location", publisher.redirects[self.path])
            self.end_headers()
            return
        if publisher.statuses and (status := publisher.statuses.pop(0)) != 200:
            self.send_error(status)
            return
        begin = self.asked_begin()
        if begin is not None and begin >= len(publisher.content):
            self.send_error(416)
            return
        self.send_response(200 if begin is None else 206)
        for name, value in publisher.headers.items():
            self.send_header(name, value)
        rest = publisher.content[begin or 0 :]
        if begin is not None:
            total = len(publisher.content)
            begin += publisher.wrong_place
            self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
        if publisher.length:
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.send(rest)

    def asked_begin(self) -> int | None:
        """First byte that is asked for, as RFC 9110 has it: whole where If-Range does not match."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        known = [self.publisher.headers.get(name) for name in ("ETag", "Last-Modified")]
        same = self.headers.get("If-Range") in known
        return int(asked[1]) if asked and same and self.publisher.ranges else None

    def send(self, rest: bytes) -> None:
        publisher = self.publisher
        stop = publisher.cuts.pop(0) if publisher.cuts else len(rest)
        stall = publisher.stalls.pop(0) if publisher.stalls else None
        step = 50_000 if publisher.pause else max(len(rest), 1)
        try:
            for start in range(0, min(stop, len(rest)), step):
                some = rest[start : min(start + step, stop if stall is None else stall)]
                # Counted first: once it is written, the other side may be done and ask.
                publisher.sent += len(some)
                self.wfile.write(some)
                time.sleep(publisher.pause if stall is None else 1.0)
        except OSError:  # the other side has gone
            pass


@contextmanager
def publishing() -> Iterator[Publisher]:
    """Run the server in a thread."""
    publisher = Publisher()
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), type("Own", (Handler,), {"publisher": publisher})
    )
    server.daemon_threads = True
    publisher.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield publisher
    server.shutdown()
    thread.join()
    server.server_close()


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def one_sentence(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert "\n" not in text and not re.search(r"[.!?] [A-Z]", text), text
    return text
