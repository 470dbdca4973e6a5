"""Downloads a file of weights: resumed, checked, and never seen half-written."""

import fcntl
import json
import logging
import os
import re
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from conceptrsa.analysis.models.registry import WeightsFile, format_size
from conceptrsa.analysis.models.weights.hashes import find_difference, hash_file, sum_file
from conceptrsa.bids_config.errors import InputError

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 30.0
PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Between attempts that brought nothing new; after the last the download is given up."""

_CHUNK = 1 << 20
_HEAD = 512
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Report = Callable[[int, int | None], None]
"""Told how many bytes are there, and of how many where that is known."""


class Failed(Exception):
    """The message is the reason; `advice` is what to do about it."""

    advice = "get {copy} elsewhere and {remedy}"


class Differs(Failed):
    """The file is there, and is not the published one."""

    advice = Failed.advice + ", or give --accept-unverified-weights if you trust this one"


class Cut(Failed):
    """The connection was lost or could not be made; another attempt may help."""

    advice = "run the same command again to resume, or " + Failed.advice


class Unreachable(Cut):
    """The server is not to be found, most often for lack of a network."""

    advice = "connect this machine to the network, or " + Failed.advice


class Stale(Exception):
    """The partial file is not the beginning of the server's file."""


def download(
    file: WeightsFile,
    target: Path,
    *,
    model: str,
    licence: str = "",
    remedy: str = "get it elsewhere",
    accept_unverified: bool = False,
) -> str:
    """Download a file unless it is there, and check it against what was published.

    An earlier attempt, also one that was interrupted, is resumed where the server still has the
    same file. Of several processes that want the same file one downloads and the others wait.
    Beside the file its SHA-256 is kept, see `hashes.sum_file`.

    Parameters
    ----------
    file : WeightsFile
        Address, size and SHA-256.
    target : Path
        Where the file goes; what is incomplete lies beside it, with `.part` appended.
    model, licence, remedy : str
        For messages: whose weights these are, their licence, and what to do where the download
        fails.
    accept_unverified : bool
        Keep a file that differs from the published size or SHA-256.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    InputError
        The address cannot be reached or leads to another file, or the folder cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _reserve(target) as part:
            if target.is_file():
                return hash_file(target)
            return _download(file, target, part, accept_unverified)
    except Failed as error:
        advice = error.advice.format(copy=file.describe(licence), remedy=remedy)
        raise InputError(
            f"{model}: {file.name} could not be downloaded from {file.url} ({error}): {advice}."
        ) from error
    except OSError as error:
        raise InputError(
            f"{target.parent} cannot take {file.describe(licence)} of {model} "
            f"({error.strerror or error}): free some space, correct its permissions, or set "
            "CONCEPTRSA_WEIGHTS to another folder."
        ) from error


def _download(file: WeightsFile, target: Path, part: "_Part", accept_unverified: bool) -> str:
    resumed = part.size > 0
    with _shown(file, target) as report:
        _receive_all(file, part, accept_unverified, report)
    sha256 = hash_file(part.path)
    difference = find_difference(sha256, file.sha256, part.size, file.size)
    if difference and resumed:
        log.info("%s: %s; the download starts over", file.name, difference)
        part.forget()
        return _download(file, target, part, accept_unverified)
    if difference and not accept_unverified:
        part.forget()
        raise Differs(f"the downloaded file is not the published one: {difference}")
    if difference:
        log.warning("%s is kept although %s", target, difference)
    sum_file(target).write_text(f"{sha256}  {target.name}\n", encoding="utf-8")
    part.path.replace(target)
    part.forget()
    return sha256


@dataclass(frozen=True)
class _Part:
    """An incomplete file, and beside it what tells whether the server still has the same one."""

    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def origin_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def origin(self, url: str) -> dict[str, Any]:
        """Give what the server said of the file at an address; nothing where it is not known."""
        try:
            origin = json.loads(self.origin_file.read_text(encoding="utf-8"))
            return dict(origin) if origin["url"] == url and self.size else {}
        except (OSError, ValueError, TypeError, LookupError):
            return {}

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
        self.origin_file.unlink(missing_ok=True)


@contextmanager
def _reserve(target: Path) -> Iterator[_Part]:
    """Give the part to write to, which no other process does."""
    part = _Part(target.with_name(f"{target.name}.part"))
    lock = target.with_name(f"{target.name}.lock")
    with lock.open("a") as opened:
        locked = _lock(opened, target)
        if not locked:
            process = f"{socket.gethostname()}-{os.getpid()}"
            part = _Part(target.with_name(f"{target.name}.{process}.part"))
        try:
            yield part
        finally:
            if not locked or part.size == 0:
                part.forget()
        # Only after success: whoever still waits for this lock then finds the finished file.
        lock.unlink(missing_ok=True)


def _lock(opened: IO[Any], target: Path) -> bool:
    """Wait for the lock; give False on a file system that has none."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("waiting for another process to download %s", target)
        fcntl.flock(opened, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _receive_all(file: WeightsFile, part: _Part, any_size: bool, report: Report) -> None:
    """Receive until all is there, going on after a cut as long as each attempt brings more."""
    begun = most = part.size
    vain = 0
    while True:
        try:
            return _receive(file, part, any_size, report)
        except Stale:
            part.forget()
        except Cut as error:
            vain = 0 if part.size > most else vain + 1
            most = max(most, part.size)
            hopeless = isinstance(error, Unreachable) and most == begun
            if hopeless or vain > len(PAUSES_SECONDS):
                raise
            pause = PAUSES_SECONDS[max(vain - 1, 0)]
            log.info("%s: %s; next attempt in %.0f s", file.name, error, pause)
            time.sleep(pause)


def _receive(file: WeightsFile, part: _Part, any_size: bool, report: Report) -> None:
    """Receive the file, or the rest of it, by one request."""
    origin = part.origin(file.url)
    if origin.get("total") == part.size:
        return
    if not origin.get("validator"):
        part.forget()
    with _ask(file.url, part.size, origin.get("validator", "")) as response:
        _keep(response, file, part, any_size, report)


def _ask(url: str, begin: int, validator: str) -> HTTPResponse:
    """Ask for a file from a byte on, if it is still the one that the validator belongs to."""
    _require_scheme(url, ("https", "http"))
    headers = {"User-Agent": "conceptrsa"}
    if begin:
        headers |= {"Range": f"bytes={begin}-", "If-Range": validator}
    request = Request(url, headers=headers)
    try:
        response: HTTPResponse = build_opener(_SafeRedirects).open(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code == 416 and begin:
            raise Stale from error
        kind = Cut if error.code in _PASSING else Failed
        raise kind(f"HTTP {error.code} {error.reason}") from error
    except URLError as error:
        kind = Cut
        if isinstance(error.reason, ssl.SSLError):
            kind = Failed
        elif isinstance(error.reason, socket.gaierror | ConnectionRefusedError):
            kind = Unreachable
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise kind(f"no connection: {reason}") from error
    except (OSError, HTTPException) as error:
        raise _cut(error) from error
    return response


class _SafeRedirects(HTTPRedirectHandler):
    """Follows redirects, but from an encrypted connection to encrypted ones only."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        encrypted = urlsplit(req.full_url).scheme == "https"
        _require_scheme(newurl, ("https",) if encrypted else ("https", "http"))
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_scheme(url: str, allowed: tuple[str, ...]) -> None:
    if urlsplit(url).scheme not in allowed:
        raise Failed(f"{url} does not begin with {' or '.join(f'{s}://' for s in allowed)}")


def _keep(
    response: HTTPResponse, file: WeightsFile, part: _Part, any_size: bool, report: Report
) -> None:
    """Write what comes to the part, after checks of the length and of the room for it."""
    have, total = _begin_and_total(response, part.size)
    if total is not None and file.size not in (None, total) and not any_size:
        raise Differs(f"{total:,} bytes are offered, {file.size:,} were published")
    # Quotas show only when they are reached.
    free = shutil.disk_usage(part.path.parent).free
    if total is not None and total - have > free:
        needed = format_size(total - have)
        raise OSError(f"no space left: {needed} are needed but {format_size(free)} are free")
    with part.path.open("ab" if have else "wb") as opened:
        if not have:
            # Weak tags do not tell bytes apart.
            tag = response.headers.get("ETag", "")
            validator = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
            origin = {"url": file.url, "validator": validator, "total": total}
            part.origin_file.write_text(json.dumps(origin), encoding="utf-8")
        for chunk in _chunks(response, at_beginning=not have):
            opened.write(chunk)
            have += len(chunk)
            report(have, total)
    if total is not None and have != total:
        raise Cut(f"the connection was cut at {have:,} of {total:,} bytes")
    if not have:
        raise Failed("the file there is empty")


def _begin_and_total(response: HTTPResponse, have: int) -> tuple[int, int | None]:
    """Give the byte at which the response begins, and the length of the whole file if known."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found and int(found[1]) == have:
        return have, int(found[2]) if found[2] != "*" else None
    raise Stale if have else Failed(f"HTTP {response.status} without a file")


def _chunks(response: HTTPResponse, at_beginning: bool) -> Iterator[bytes]:
    """Give what comes, as it comes, unless it begins like a web page."""
    try:
        if at_beginning:
            head = response.read(_HEAD)
            if _WEB_PAGE.match(head):
                raise Failed("a web page came instead of the file, so the link may be dead")
            yield head
        while chunk := response.read1(_CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _cut(error) from error


def _cut(error: Exception) -> Cut:
    if isinstance(error, TimeoutError):
        return Cut(f"nothing came for {TIMEOUT_SECONDS:.0f} s")
    return Cut(f"the connection was cut: {error or type(error).__name__}")


@contextmanager
def _shown(file: WeightsFile, target: Path) -> Iterator[Report]:
    """Show a bar on a terminal, and write one line elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        size = f" ({format_size(file.size)})" if file.size is not None else ""
        log.info("downloading %s%s from %s to %s", file.name, size, file.url, target.parent)
    numbers = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    columns = ("{task.description}", BarColumn(), *numbers)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(file.name, total=file.size)
        yield lambda done, total: bar.update(task, completed=done, total=total)
