"""One request for a file, or for the rest of it, and the ways in which it can go wrong."""

import re
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

TIMEOUT_SECONDS = 30.0

_CHUNK = 1 << 20
_HEAD = 512
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|\?xml|!--)", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Failed(Exception):
    """The message is the reason; `advice` is what to do about it."""

    advice = "get {copy} elsewhere and {remedy}"


class Refused(Failed):
    """Trying again would not help."""


class Differs(Refused):
    """The file is there, and is not the published one."""

    advice = Failed.advice + ", or say --accept-unverified-weights if you trust this one"


class Cut(Failed):
    """The connection was lost or could not be made."""

    advice = "run the same command again to go on from there, or " + Failed.advice


class Unreachable(Cut):
    """The server is not to be found, most often for want of a network."""

    advice = "connect this machine to the network, or " + Failed.advice


class Stale(Exception):
    """What is there is no beginning of what the server has."""


def open_at(url: str, begin: int, validator: str) -> HTTPResponse:
    """Ask for a file from a byte on, if it is still the one that the validator belongs to."""
    _require_scheme(url, ("https", "http"))
    headers = {"User-Agent": "conceptrsa"}
    if begin:
        headers |= {"Range": f"bytes={begin}-", "If-Range": validator}
    opener = build_opener(_SafeRedirects)
    try:
        response: HTTPResponse = opener.open(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code == 416 and begin:
            raise Stale from error
        kind = Cut if error.code in _PASSING else Refused
        raise kind(f"HTTP {error.code} {error.reason}") from error
    except URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            raise Refused(f"no secure connection: {error.reason}") from error
        reason = getattr(error.reason, "strerror", None) or error.reason
        hopeless = isinstance(error.reason, socket.gaierror | ConnectionRefusedError)
        raise (Unreachable if hopeless else Cut)(f"no connection: {reason}") from error
    except (OSError, HTTPException) as error:
        raise Cut(_reason(error)) from error
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
        raise Refused(f"{url} does not begin with {' or '.join(f'{s}://' for s in allowed)}")


def begin_and_total(response: HTTPResponse, have: int) -> tuple[int, int | None]:
    """Give the byte at which the response begins, and the length of the whole file if known."""
    if response.status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if have and (not found or int(found[1]) != have):
        raise Stale
    if not found or int(found[1]) != have:
        raise Refused(f"HTTP {response.status} without a file")
    return have, int(found[2]) if found[2] != "*" else None


def read_chunks(response: HTTPResponse, at_beginning: bool) -> Iterator[bytes]:
    """Give what comes, as it comes, unless it begins like a web page."""
    try:
        if at_beginning:
            head = response.read(_HEAD)
            if _WEB_PAGE.match(head):
                raise Refused("a web page came in place of the file, the link may be dead")
            yield head
        while chunk := response.read1(_CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise Cut(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came for {TIMEOUT_SECONDS:.0f} s"
    return f"the connection was cut: {error or type(error).__name__}"
