"""Files of weights are downloaded from a real server: resumed, checked, never half-written."""

import hashlib
import json
import logging
import shutil
import signal
import socket
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from urllib.request import Request

import local_weights
import pytest
from weights_server import (
    CONTENT,
    OTHER,
    SHA256,
    Publisher,
    names_in,
    one_sentence,
    put,
)

from conceptrsa.analysis.models.registry import WeightsFile
from conceptrsa.analysis.models.weights import download as download_module
from conceptrsa.analysis.models.weights.download import download
from conceptrsa.bids_config.errors import InputError

publisher = local_weights.publisher


def get(file: WeightsFile, target: Path, **options: bool) -> str:
    return download(file, target, model="Net", licence="MIT", remedy="name a copy", **options)


def test_a_download_is_the_published_file_and_leaves_its_checksum(
    publisher: Publisher, tmp_path: Path
) -> None:
    target = tmp_path / "cache" / "net.pth"
    assert get(publisher.file(), target) == SHA256
    assert target.read_bytes() == CONTENT
    assert names_in(target.parent) == {"net.pth", "net.pth.sha256"}
    checked = subprocess.run(["sha256sum", "-c", "net.pth.sha256"], cwd=target.parent)
    assert checked.returncode == 0


def test_a_cut_connection_is_resumed_where_it_was_cut(publisher: Publisher, tmp_path: Path) -> None:
    publisher.cuts = [1_000_000, 500_000]
    get(publisher.file(), tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    ranges = [request.get("Range") for request in publisher.asked]
    assert ranges == [None, "bytes=1000000-", "bytes=1500000-"]
    assert {request.get("If-Range") for request in publisher.asked[1:]} == {'"first"'}
    assert publisher.sent == len(CONTENT)


def test_a_date_serves_where_there_is_no_strong_tag(publisher: Publisher, tmp_path: Path) -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    publisher.headers = {"ETag": 'W/"weak"', "Last-Modified": date}
    publisher.cuts = [1_000_000]
    get(publisher.file(), tmp_path / "net.pth")
    assert publisher.asked[1]["If-Range"] == date
    assert publisher.sent == len(CONTENT)


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"weak"'}])
def test_what_cannot_be_told_apart_is_not_resumed(
    publisher: Publisher, tmp_path: Path, headers: dict[str, str]
) -> None:
    publisher.headers = headers
    publisher.cuts = [1_000_000]
    get(publisher.file(), tmp_path / "net.pth")
    assert "Range" not in publisher.asked[1]
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_server_without_ranges_sends_all_again(publisher: Publisher, tmp_path: Path) -> None:
    publisher.ranges = False
    publisher.cuts = [1_000_000]
    get(publisher.file(), tmp_path / "net.pth")
    assert "Range" in publisher.asked[1]
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_anew(
    publisher: Publisher, tmp_path: Path
) -> None:
    target = tmp_path / "net.pth"
    publisher.content, publisher.cuts = OTHER, [1_000_000] + 9 * [0]
    with pytest.raises(InputError):
        get(publisher.file(sha256=""), target)
    assert (tmp_path / "net.pth.part").stat().st_size == 1_000_000
    publisher.content, publisher.cuts, publisher.headers = CONTENT, [], {"ETag": '"second"'}
    assert get(publisher.file(sha256=""), target) == SHA256


def test_a_damaged_part_is_thrown_away(publisher: Publisher, tmp_path: Path) -> None:
    publisher.cuts = [1_000_000] + 9 * [0]
    with pytest.raises(InputError):
        get(publisher.file(), tmp_path / "net.pth")
    put(tmp_path / "net.pth.part", b"x" * 1_000_000)
    publisher.cuts = []
    assert get(publisher.file(), tmp_path / "net.pth") == SHA256
    assert publisher.asked[-2]["Range"] == "bytes=1000000-"
    assert "Range" not in publisher.asked[-1]


def test_a_part_longer_than_the_file_is_thrown_away(publisher: Publisher, tmp_path: Path) -> None:
    part = put(tmp_path / "net.pth.part", CONTENT + b"x")
    url = publisher.file().url
    part.with_name("net.pth.part.json").write_text(
        json.dumps({"url": url, "validator": '"first"', "total": len(CONTENT)})
    )
    assert get(publisher.file(), tmp_path / "net.pth") == SHA256


def test_another_place_of_the_file_is_not_appended(publisher: Publisher, tmp_path: Path) -> None:
    publisher.wrong_place = True
    publisher.cuts = [1_000_000]
    assert get(publisher.file(sha256=""), tmp_path / "net.pth") == SHA256
    assert "Range" not in publisher.asked[-1]


def test_a_whole_part_needs_no_request(publisher: Publisher, tmp_path: Path) -> None:
    part = put(tmp_path / "net.pth.part")
    part.with_name("net.pth.part.json").write_text(
        json.dumps({"url": publisher.file().url, "validator": "", "total": len(CONTENT)})
    )
    assert get(publisher.file(), tmp_path / "net.pth") == SHA256
    assert not publisher.asked


@pytest.mark.parametrize("total", [0, 1_000_000])
def test_attempts_are_limited_and_keep_what_came(
    publisher: Publisher, tmp_path: Path, total: int
) -> None:
    publisher.cuts = [total] + 20 * [0]
    with pytest.raises(InputError, match=r"cut at .* run the same command again") as error:
        get(publisher.file(size=len(CONTENT)), tmp_path / "net.pth")
    one_sentence(error)
    assert len(publisher.asked) <= 6
    kept = tmp_path / "net.pth.part"
    assert (kept.stat().st_size if kept.exists() else 0) == total
    assert not (tmp_path / "net.pth").exists()


def test_a_server_that_falls_silent_is_asked_again(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT_SECONDS", 0.4)
    publisher.stalls = [1_000_000]
    assert get(publisher.file(), tmp_path / "net.pth") == SHA256
    assert publisher.asked[1]["Range"] == "bytes=1000000-"


def test_a_busy_server_is_asked_again(publisher: Publisher, tmp_path: Path) -> None:
    publisher.statuses = [503, 429, 200]
    assert get(publisher.file(), tmp_path / "net.pth") == SHA256


def test_a_dead_link_is_one_sentence_with_all_that_is_needed(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.statuses = [404]
    file = publisher.file(size=len(CONTENT))
    with pytest.raises(InputError) as error:
        get(file, tmp_path / "net.pth")
    text = one_sentence(error)
    for needed in ("Net", file.url, "404", "net.pth", "3 MB", SHA256[:12], "MIT", "name a copy"):
        assert needed in text
    assert len(publisher.asked) == 1


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b"\n <HTML lang='en'>", b"<?xml v"])
def test_a_web_page_is_not_taken_for_weights(
    publisher: Publisher, tmp_path: Path, page: bytes
) -> None:
    publisher.content = page + b"x" * 1000
    with pytest.raises(InputError, match="web page"):
        get(publisher.file(sha256=""), tmp_path / "net.pth")
    assert names_in(tmp_path) <= {"net.pth.lock"}


def test_an_empty_file_is_refused(publisher: Publisher, tmp_path: Path) -> None:
    publisher.content = b""
    with pytest.raises(InputError, match="empty"):
        get(publisher.file(sha256=""), tmp_path / "net.pth")


def test_a_file_of_unknown_length_is_checked_by_its_hash(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.length = False
    assert get(publisher.file(), tmp_path / "net.pth") == SHA256
    publisher.cuts = [1_000_000]
    with pytest.raises(InputError, match=f"begins {SHA256[:0]}[0-9a-f]{{8}}, not {SHA256[:8]}"):
        get(publisher.file("cut.pth", SHA256[:8]), tmp_path / "cut.pth")


def test_another_file_is_refused_and_not_kept(publisher: Publisher, tmp_path: Path) -> None:
    publisher.content = OTHER
    with pytest.raises(InputError, match="--accept-unverified-weights") as error:
        get(publisher.file(), tmp_path / "net.pth")
    assert hashlib.sha256(OTHER).hexdigest()[:12] in one_sentence(error)
    assert SHA256[:12] in str(error.value)
    assert names_in(tmp_path) <= {"net.pth.lock"}


def test_another_length_is_refused_before_anything_is_received(
    publisher: Publisher, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="3,000,000 bytes are offered, 3,000,001 were published"):
        get(publisher.file(sha256="", size=len(CONTENT) + 1), tmp_path / "net.pth")
    assert names_in(tmp_path) <= {"net.pth.lock"}


def test_another_file_is_kept_on_demand(
    publisher: Publisher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.content = OTHER
    found = get(publisher.file(size=1), tmp_path / "net.pth", accept_unverified=True)
    assert found == hashlib.sha256(OTHER).hexdigest()
    assert "is kept although" in caplog.text


def test_redirects_are_followed_and_keep_the_range(publisher: Publisher, tmp_path: Path) -> None:
    publisher.redirects = {"/folder/net.pth?dl=1": "/elsewhere/net.pth"}
    publisher.cuts = [1_000_000]
    file = WeightsFile("net.pth", f"{publisher.address}/folder/net.pth?dl=1", SHA256)
    get(file, tmp_path / "net.pth")
    assert publisher.asked[-1]["path"] == "/elsewhere/net.pth"
    assert publisher.asked[-1]["Range"] == "bytes=1000000-"


def test_nothing_but_the_web_is_read(publisher: Publisher, tmp_path: Path) -> None:
    secret = put(tmp_path / "secret")
    with pytest.raises(InputError, match="does not begin with"):
        get(WeightsFile("net.pth", secret.as_uri()), tmp_path / "net.pth")
    for place in (secret.as_uri(), "ftp://127.0.0.1/net.pth"):
        publisher.redirects = {"/folder/net.pth": place}
        with pytest.raises(InputError, match="could not be downloaded"):
            get(publisher.file(sha256=""), tmp_path / "net.pth")
    assert not (tmp_path / "net.pth").exists()


@pytest.mark.parametrize(
    ("begin", "end", "allowed"),
    [("https", "https", True), ("http", "https", True), ("http", "http", True),
     ("https", "http", False)],
)  # fmt: skip
def test_a_redirect_does_not_give_up_encryption(begin: str, end: str, allowed: bool) -> None:
    handler = download_module._SafeRedirects()
    arguments = (Request(f"{begin}://a/"), BytesIO(), 302, "Found", {}, f"{end}://b/")
    if allowed:
        assert handler.redirect_request(*arguments).full_url == f"{end}://b/"
    else:
        with pytest.raises(download_module.Failed, match="https://"):
            handler.redirect_request(*arguments)


def test_without_a_connection_it_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/net.pth"
        begun = time.monotonic()
        with pytest.raises(InputError, match="no connection: Connection refused") as error:
            get(WeightsFile("net.pth", address), tmp_path / "net.pth")
    one_sentence(error)
    assert time.monotonic() - begun < 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_a_full_disk_is_said_plainly(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_path = Path.open

    def open_full(path: Path, mode: str = "r", **options: str) -> IO[Any]:
        return open_path(Path("/dev/full") if path.suffix == ".part" else path, mode, **options)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(InputError, match=r"No space left.*CONCEPTRSA_WEIGHTS") as error:
        get(publisher.file(), tmp_path / "net.pth")
    one_sentence(error)


def test_want_of_room_is_seen_before_the_download(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2_000_000))
    with pytest.raises(InputError, match="3 MB are needed but 2 MB are free") as error:
        get(publisher.file(), tmp_path / "net.pth")
    one_sentence(error)


def test_a_folder_that_cannot_be_written_is_said_plainly(
    publisher: Publisher, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"a-file cannot take .*CONCEPTRSA_WEIGHTS") as error:
        get(publisher.file(), put(tmp_path / "a-file") / "net.pth")
    one_sentence(error)


CHILD = """
import sys
from pathlib import Path
from conceptrsa.analysis.models.registry import WeightsFile
from conceptrsa.analysis.models.weights.download import download
url, sha256, target = sys.argv[1:]
print(download(WeightsFile("net.pth", url, sha256), Path(target), model="Net"))
"""


def start_child(publisher: Publisher, target: Path) -> subprocess.Popen[str]:
    arguments = [publisher.file().url, SHA256, str(target)]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True
    )


def test_of_two_processes_one_downloads(publisher: Publisher, tmp_path: Path) -> None:
    publisher.pause = 0.01
    children = [start_child(publisher, tmp_path / "net.pth") for _ in range(2)]
    said = [child.communicate(timeout=30)[0].strip() for child in children]
    assert said == [SHA256, SHA256]
    assert len(publisher.asked) == 1
    assert names_in(tmp_path) == {"net.pth", "net.pth.sha256"}


def test_without_locks_each_writes_a_part_of_its_own(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(download_module.fcntl, "flock", refuse)
    put(tmp_path / "net.pth.part", b"of another process")
    assert get(publisher.file(), tmp_path / "net.pth") == SHA256
    assert (tmp_path / "net.pth.part").read_bytes() == b"of another process"
    assert names_in(tmp_path) == {"net.pth", "net.pth.part", "net.pth.sha256"}
    publisher.cuts = [1_000_000] + 9 * [0]
    with pytest.raises(InputError):
        get(publisher.file("more.pth"), tmp_path / "more.pth")
    assert {name for name in names_in(tmp_path) if "more" in name} == {"more.pth.lock"}


def test_an_interrupted_download_goes_on_later(publisher: Publisher, tmp_path: Path) -> None:
    publisher.pause = 0.05
    child = start_child(publisher, tmp_path / "net.pth")
    part = tmp_path / "net.pth.part"
    while not part.exists() or part.stat().st_size < 500_000:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    have = part.stat().st_size
    assert part.read_bytes() == CONTENT[:have]
    publisher.pause = 0.0
    assert get(publisher.file(), tmp_path / "net.pth") == SHA256
    assert publisher.asked[-1]["Range"] == f"bytes={have}-"


def test_a_log_line_stands_for_the_bar_where_there_is_no_terminal(
    publisher: Publisher,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    get(publisher.file(size=len(CONTENT)), tmp_path / "net.pth")
    assert [record.message for record in caplog.records] == [
        f"downloading net.pth (3 MB) from {publisher.file().url} to {tmp_path}"
    ]
    assert capsys.readouterr() == ("", "")
    caplog.clear()
    monkeypatch.setenv("FORCE_COLOR", "1")
    get(publisher.file("more.pth"), tmp_path / "more.pth")
    shown = capsys.readouterr()
    assert "more.pth" in shown.err and "3.0/3.0 MB" in shown.err and not shown.out
    assert not caplog.records
