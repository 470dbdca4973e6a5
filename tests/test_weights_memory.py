"""Files of weights are remembered by their SHA-256, and read again once they may have changed."""

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import local_weights
import pytest
from local_weights import FILE, NET, with_folder
from weights_server import OTHER, SHA256, names_in, put

from conceptrsa.analysis.models.registry import Weights, WeightsFile
from conceptrsa.analysis.models.weights import hashes as hashes_module
from conceptrsa.analysis.models.weights.hashes import HashMemory
from conceptrsa.analysis.models.weights.locate import obtain_weights
from conceptrsa.analysis.models.weights.places import WeightsOptions

identify_weights = partial(obtain_weights, thorough=False)
home, options = local_weights.home, local_weights.options


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files whose content was read; all files count as written long ago."""
    read: list[Path] = []
    hash_file = hashes_module.hash_file

    def note(path: Path) -> str:
        read.append(path)
        return hash_file(path)

    monkeypatch.setattr(hashes_module, "hash_file", note)
    monkeypatch.setattr(hashes_module, "_SETTLED_NS", -(10**12))
    return read


def test_a_file_is_read_once_for_its_identity_and_again_for_loading(
    tmp_path: Path, options: WeightsOptions, readings: list[Path]
) -> None:
    given = with_folder(options, None, net=put(tmp_path / "net"))
    first = identify_weights("Net", NET, given)
    assert identify_weights("Net", NET, given) == first
    assert len(readings) == 1
    assert obtain_weights("Net", NET, given) == first
    assert len(readings) == 2


def test_a_file_that_was_touched_is_read_again(tmp_path: Path, readings: list[Path]) -> None:
    memory, file = HashMemory(tmp_path / "memory.json"), put(tmp_path / "net")
    assert memory.sha256(file) == SHA256
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    time.sleep(0.02)
    put(file, OTHER)
    os.utime(file, ns=times)
    assert memory.sha256(file) == hashlib.sha256(OTHER).hexdigest()
    put(tmp_path / "replacement").replace(file)
    assert memory.sha256(file) == SHA256
    assert len(readings) == 3


def test_a_file_written_a_moment_ago_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes_module, "_SETTLED_NS", 10 * 10**9)
    memory, file = HashMemory(tmp_path / "memory.json"), put(tmp_path / "net")
    memory.sha256(file)
    assert not (tmp_path / "memory.json").exists()
    monkeypatch.setattr(hashes_module, "_SETTLED_NS", 10**7)
    time.sleep(0.05)
    memory.sha256(file)
    assert SHA256 in (tmp_path / "memory.json").read_text()


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"null", b'{"a": 1}', b'{"a": {"sha256": 5}}',
        b"[" * 100_000, None, "cut", "digit", "word",
    ],
)  # fmt: skip
def test_a_damaged_memory_is_forgotten(
    tmp_path: Path, options: WeightsOptions, readings: list[Path], damage: bytes | str | None
) -> None:
    given = with_folder(options, None, net=put(tmp_path / "net"))
    memory = options.cache / "hashes.json"
    net = NET if damage == "digit" else Weights((WeightsFile(FILE.name),))
    right = identify_weights("Net", net, given)
    if damage is None:
        memory.unlink()
        memory.mkdir()
    elif damage == "cut":
        memory.write_bytes(memory.read_bytes()[:-20])
    elif damage == "word":
        memory.write_text(memory.read_text().replace(SHA256, "none"))
    elif damage == "digit":
        text = memory.read_text()
        memory.write_text(text.replace(SHA256, SHA256[:-1] + ("0" if SHA256[-1] != "0" else "1")))
    else:
        memory.write_bytes(damage)
    assert identify_weights("Net", net, given) == right
    assert len(readings) == 2


def test_many_may_write_the_memory_at_once(tmp_path: Path, readings: list[Path]) -> None:
    file = tmp_path / "memory.json"
    paths = [put(tmp_path / f"net{i}", bytes([i])) for i in range(20)]
    expected = [hashlib.sha256(bytes([i])).hexdigest() for i in range(20)]
    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(HashMemory(file).sha256, paths)) == expected
    remembered = json.loads(file.read_text())
    assert remembered and all(len(entry["sha256"]) == 64 for entry in remembered.values())
    assert not [name for name in names_in(tmp_path) if name.startswith(".writing")]


def test_an_identity_from_memory_imports_no_network_library(tmp_path: Path) -> None:
    command = (
        "import sys; from pathlib import Path; "
        "from conceptrsa.analysis.models.registry import Weights, WeightsFile; "
        "from conceptrsa.analysis.models.weights.locate import obtain_weights; "
        "from conceptrsa.analysis.models.weights.places import WeightsOptions; "
        "options = WeightsOptions(Path(sys.argv[1]), {'Net': Path(sys.argv[2])}); "
        "net = Weights((WeightsFile('net.pth'),)); "
        "print(*obtain_weights('Net', net, options, thorough=False)); "
        "print({'torch', 'transformers', 'huggingface_hub', 'urllib.request', 'rich'} "
        "& set(sys.modules))"
    )
    arguments = [str(tmp_path / "cache"), str(put(tmp_path / "net"))]
    said = subprocess.check_output([sys.executable, "-c", command, *arguments], text=True)
    assert SHA256 in said and said.splitlines()[1] == "set()"
