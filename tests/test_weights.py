"""Files of weights are found on this machine, checked, and remembered by their SHA-256."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from weights_server import (
    CONTENT,
    OTHER,
    SHA256,
    Publisher,
    names_in,
    one_sentence,
    publishing,
    put,
)

from analysis.models.registry import Weights, WeightsFile
from analysis.models.weights import download as download_module
from analysis.models.weights import hashes as hashes_module
from analysis.models.weights.hashes import HashMemory
from analysis.models.weights.locate import (
    WeightsOptions,
    find_files,
    identify_weights,
    obtain_weights,
    read_given,
    require_given_asked,
    weights_chosen,
    weights_present,
)
from bids_config.errors import InputError


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    monkeypatch.setattr(download_module, "PAUSES_SECONDS", (0.0, 0.0, 0.0))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with publishing() as publisher:
        yield publisher


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, so that this machine's caches of other libraries play no part."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HUGGINGFACE_HUB_CACHE", raising=False)
    return home


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


# Where files are looked for.

FILE = WeightsFile("net-0a1b.pth", "https://example.org/nets/net-0a1b.pth", SHA256)
NET = Weights((FILE,))
HUB = "https://huggingface.co/someone/some-net/resolve/main"
PAIR = Weights(
    (
        WeightsFile("model.safetensors", f"{HUB}/model.safetensors", SHA256),
        WeightsFile("config.json", f"{HUB}/config.json", hashlib.sha256(b"{}").hexdigest()),
    )
)


@pytest.fixture
def options(tmp_path: Path) -> WeightsOptions:
    return WeightsOptions(cache=tmp_path / "cache", offline=True)


def put_pair(folder: Path) -> tuple[Path, Path]:
    return put(folder / "model.safetensors"), put(folder / "config.json", b"{}")


def with_folder(options: WeightsOptions, folder: Path, **given: Path) -> WeightsOptions:
    return WeightsOptions(options.cache, given, folder, offline=True)


def download_place(publisher: Publisher, cache: Path) -> Path:
    (checked,) = obtain_weights("Net", Weights((publisher.file(),)), WeightsOptions(cache))
    return checked.path


def test_the_places_are_searched_in_order(
    publisher: Publisher, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "folder"
    packages = tmp_path / "packages"
    put(packages / "some_net_package" / "__init__.py", b"raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(packages)
    file = publisher.file()
    weights = Weights((file,), package="some_net_package")
    places = [
        put(tmp_path / "any name"),
        put(folder / "NET" / "net.pth"),
        put(folder / "net.pth"),
        put(packages / "some_net_package" / "net.pth"),
        download_place(publisher, cache),
        put(home / ".cache" / "torch" / "hub" / "checkpoints" / "net.pth"),
        put(home / ".cache" / "clip" / "net.pth"),
    ]
    given = {"nEt": tmp_path / "any name"}
    assert find_files("Net", weights, WeightsOptions(cache, given, folder)) == (places[0],)
    options = WeightsOptions(cache, folder=folder, offline=True)
    for place in places[1:]:
        assert find_files("Net", weights, options) == (place,)
        (checked,) = obtain_weights("Net", weights, options)
        assert (checked.name, checked.path, checked.sha256) == ("net.pth", place, SHA256)
        place.unlink()
        if place.parent.name == "NET":
            place.parent.rmdir()
    assert not weights_present("Net", weights, options)


def test_names_of_odd_models_can_be_folders(tmp_path: Path, options: WeightsOptions) -> None:
    place = put(tmp_path / "folder" / "timm%3Anet" / FILE.name)
    assert find_files("timm:net", NET, with_folder(options, tmp_path / "folder")) == (place,)


def test_the_folders_of_torch_hub_are_torchs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("torch.hub")
    for variable, value in (("", ""), ("XDG_CACHE_HOME", "xdg"), ("TORCH_HOME", "torch home")):
        if variable:
            monkeypatch.setenv(variable, str(home / value))
        place = put(Path(hub.get_dir()) / "checkpoints" / FILE.name)
        assert find_files("Net", NET, WeightsOptions(home / "cache")) == (place,)


@pytest.mark.parametrize("variable", ["", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE"])
def test_the_cache_of_hugging_face_is_known(
    home: Path, options: WeightsOptions, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    if variable:
        monkeypatch.setenv(variable, str(home / "own"))
    command = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    cache = Path(subprocess.check_output([sys.executable, "-c", command], text=True).strip())
    repository = cache / "models--someone--some-net"
    old = put_pair(repository / "snapshots" / ("a" * 40))
    put(repository / "refs" / "main", b"b" * 40)
    assert find_files("Net", PAIR, options) == old
    current = put_pair(repository / "snapshots" / ("b" * 40))
    assert hub.try_to_load_from_cache("someone/some-net", "config.json", cache) == str(current[1])
    assert find_files("Net", PAIR, options) == current
    assert obtain_weights("Net", PAIR, options)[0].path == current[0]


def test_a_fixed_revision_is_not_replaced_by_another(home: Path, options: WeightsOptions) -> None:
    url = HUB.replace("main", "c" * 40)
    weights = Weights((WeightsFile("net.bin", f"{url}/net.bin"),))
    snapshots = home / ".cache/huggingface/hub/models--someone--some-net/snapshots"
    put(snapshots / ("a" * 40) / "net.bin")
    assert not weights_present("Net", weights, options)
    place = put(snapshots / ("c" * 40) / "net.bin")
    assert find_files("Net", weights, options) == (place,)


def test_common_file_names_prove_nothing(
    tmp_path: Path, home: Path, options: WeightsOptions, caplog: pytest.LogCaptureFixture
) -> None:
    single = Weights(PAIR.files[:1])
    put(home / ".cache" / "clip" / "model.safetensors")
    assert not weights_present("Net", single, options)
    put(tmp_path / "folder" / "model.safetensors", OTHER)
    with pytest.raises(InputError, match="not on this machine"):
        obtain_weights("Net", single, with_folder(options, tmp_path / "folder"))
    assert "passed over" in caplog.text


def test_all_files_must_be_in_one_place(tmp_path: Path, options: WeightsOptions) -> None:
    folder = tmp_path / "folder"
    put(folder / "model.safetensors")
    assert find_files("Net", PAIR, with_folder(options, folder)) is None
    pair = put_pair(folder / "Net")
    assert find_files("Net", PAIR, with_folder(options, folder)) == pair
    pair[1].unlink()
    with pytest.raises(InputError, match=r"Net lacks config.json of Net") as error:
        find_files("Net", PAIR, with_folder(options, folder))
    one_sentence(error)


def test_what_is_given_must_be_there(tmp_path: Path, options: WeightsOptions) -> None:
    pair = put_pair(tmp_path / "given")
    assert find_files("Net", PAIR, with_folder(options, None, net=tmp_path / "given")) == pair
    cases = [
        (NET, tmp_path / "absent", "there is no such file"),
        (NET, tmp_path / "given", "the folder lacks net-0a1b.pth"),
        (PAIR, pair[0], "is one file, but model.safetensors, config.json are needed"),
    ]
    for weights, path, expected in cases:
        with pytest.raises(InputError, match=expected) as error:
            find_files("Net", weights, with_folder(options, None, net=path))
        assert f"--weights Net={path}" in one_sentence(error)
    with pytest.raises(InputError, match=r"--weights-dir .*absent cannot be read"):
        find_files("Net", NET, with_folder(options, tmp_path / "absent"))


def test_a_home_in_a_path_is_expanded(home: Path, options: WeightsOptions) -> None:
    place = put(home / "net")
    assert find_files("Net", NET, with_folder(options, None, Net=Path("~/net"))) == (place,)


def test_the_option_names_models_that_are_asked_for(options: WeightsOptions) -> None:
    given = read_given(["CLIP=a=b.pt", "bert=~/x"])
    assert given == {"CLIP": Path("a=b.pt"), "bert": Path("~/x")}
    asked = WeightsOptions(options.cache, given)
    require_given_asked(asked, ["clip", "BERT", "GPT-2"])
    with pytest.raises(InputError, match=r"'bert', which is none of the models.*CLIP, GPT-2"):
        require_given_asked(asked, ["CLIP", "GPT-2"])
    for wrong in (["CLIP"], ["=x"], ["CLIP="], ["CLIP=a", "clip=b"]):
        with pytest.raises(InputError, match="--weights"):
            read_given(wrong)


# What is found is checked.


def test_another_file_on_this_machine_is_refused(
    tmp_path: Path, options: WeightsOptions, caplog: pytest.LogCaptureFixture
) -> None:
    other = put(tmp_path / "other.pth", OTHER)
    with pytest.raises(InputError, match="accept-unverified-weights") as error:
        obtain_weights("Net", NET, with_folder(options, None, net=other))
    text = one_sentence(error)
    found = hashlib.sha256(OTHER).hexdigest()
    for needed in (str(other), FILE.name, FILE.url, found[:12], SHA256[:12]):
        assert needed in text
    accepting = WeightsOptions(options.cache, {"net": other}, accept_unverified=True)
    assert obtain_weights("Net", NET, accepting)[0].sha256 == found
    assert obtain_weights("Net", NET, accepting)[0].origin == "another"
    assert "although its SHA-256 begins" in caplog.text


def test_a_truncated_file_is_refused_by_its_length(tmp_path: Path, options: WeightsOptions) -> None:
    weights = Weights((WeightsFile("net.pth", "", "", len(CONTENT)),))
    cut = put(tmp_path / "cut.pth", CONTENT[:-1])
    with pytest.raises(InputError, match="2,999,999 bytes long and 3,000,000 were published"):
        obtain_weights("Net", weights, with_folder(options, None, net=cut))


@pytest.mark.parametrize("sha256", [SHA256, SHA256.upper(), SHA256[:8], ""])
def test_a_published_hash_may_be_cut_short_or_absent(
    tmp_path: Path, options: WeightsOptions, sha256: str
) -> None:
    weights = Weights((WeightsFile("net.pth", "", sha256),))
    given = with_folder(options, None, net=put(tmp_path / "net"))
    (checked,) = obtain_weights("Net", weights, given)
    assert checked.sha256 == SHA256
    origins = {64: "published", 8: "begins as published", 0: "nothing published"}
    assert checked.origin == origins[len(sha256)]


def test_a_file_of_another_name_is_taken_on_trust_aloud(
    tmp_path: Path, options: WeightsOptions, caplog: pytest.LogCaptureFixture
) -> None:
    weights = Weights((WeightsFile("imagenet_l2_3_0.pt"),))
    for name in ("imagenet_l2_3_0.pt", "imagenet_linf_8.pt"):
        given = with_folder(options, None, net=put(tmp_path / name))
        assert obtain_weights("Net", weights, given)[0].origin == "nothing published"
    (record,) = caplog.records
    assert "imagenet_linf_8.pt is taken for Net on trust" in record.message


def test_what_other_programs_keep_does_not_choose_models(
    tmp_path: Path, home: Path, options: WeightsOptions
) -> None:
    put(home / ".cache" / "clip" / FILE.name)
    assert weights_present("Net", NET, options)
    assert not weights_chosen("Net", NET, options)
    put(tmp_path / "folder" / FILE.name)
    assert weights_chosen("Net", NET, with_folder(options, tmp_path / "folder"))
    assert weights_chosen("Net", NET, with_folder(options, None, NET=put(tmp_path / "x.pth")))


def test_a_damaged_file_of_another_library_is_passed_over(
    publisher: Publisher, tmp_path: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(home / ".cache" / "clip" / "net.pth", OTHER)
    for accept in (False, True):
        options = WeightsOptions(tmp_path / f"cache{accept}", accept_unverified=accept)
        (checked,) = obtain_weights("Net", Weights((publisher.file(),)), options)
        assert checked.path.is_relative_to(options.cache)
        assert checked.sha256 == SHA256
    assert "passed over" in caplog.text
    truncated = Weights((publisher.file(size=len(OTHER) + 1),))
    assert not weights_present("Net", truncated, WeightsOptions(tmp_path / "elsewhere"))


def test_a_download_that_changed_is_noticed_without_a_published_hash(
    publisher: Publisher, tmp_path: Path
) -> None:
    weights = Weights((publisher.file(sha256=""),))
    options = WeightsOptions(tmp_path / "cache")
    (checked,) = obtain_weights("Net", weights, options)
    put(checked.path, OTHER)
    for check in (obtain_weights, identify_weights):
        with pytest.raises(
            InputError, match=r"changed since it was downloaded.*delete it"
        ) as error:
            check("Net", weights, options)
        one_sentence(error)
    checked.path.unlink()
    assert obtain_weights("Net", weights, options) == (checked,)


def test_models_with_the_same_weights_share_a_download(
    publisher: Publisher, tmp_path: Path
) -> None:
    weights, options = Weights((publisher.file(),)), WeightsOptions(tmp_path / "cache")
    assert obtain_weights("CLIP", weights, options) == obtain_weights("CLIP-L", weights, options)
    assert len(publisher.asked) == 1


def test_only_the_missing_file_of_several_is_downloaded(
    publisher: Publisher, tmp_path: Path
) -> None:
    weights = Weights((publisher.file(), publisher.file("second.bin")))
    options = WeightsOptions(tmp_path / "cache")
    first, second = obtain_weights("Net", weights, options)
    assert first.path.parent == second.path.parent
    second.path.unlink()
    publisher.asked.clear()
    assert obtain_weights("Net", weights, options) == (first, second)
    assert [request["path"] for request in publisher.asked] == ["/folder/second.bin"]


def test_names_cannot_lead_out_of_the_cache(publisher: Publisher, tmp_path: Path) -> None:
    file = WeightsFile("../../outside.pth", publisher.file().url, SHA256)
    (checked,) = obtain_weights("Net", Weights((file,)), WeightsOptions(tmp_path / "cache"))
    assert checked.path.resolve().is_relative_to(tmp_path / "cache")


@pytest.mark.usefixtures("no_network")
def test_offline_the_network_is_never_touched(tmp_path: Path, options: WeightsOptions) -> None:
    for weights in (NET, PAIR):
        assert not weights_present("Net", weights, options)
        with pytest.raises(InputError, match="offline nothing is downloaded") as error:
            obtain_weights("Net", weights, options, "MIT")
        text = one_sentence(error)
        for file in weights.files:
            assert f"{file.name} (size not published, SHA-256 {file.sha256[:12]}" in text
            assert file.url in text and "licence: MIT" in text
        assert "--weights 'Net=" in text
    put_pair(tmp_path / "given")
    assert obtain_weights("Net", PAIR, with_folder(options, None, net=tmp_path / "given"))


def test_a_missing_package_is_named(options: WeightsOptions) -> None:
    weights = Weights((WeightsFile("net.pth"),), package="a_package_that_nobody_made")
    with pytest.raises(InputError, match="not installed: pip install a_package_that_nobody_made"):
        obtain_weights("Net", weights, options)
    incomplete = Weights((WeightsFile("net.pth"),), package="rich")
    with pytest.raises(InputError, match="incomplete: pip install --force-reinstall"):
        obtain_weights("Net", incomplete, options)


# The memory of hashes.


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
        "from analysis.models.registry import Weights, WeightsFile; "
        "from analysis.models.weights.locate import WeightsOptions, identify_weights; "
        "options = WeightsOptions(Path(sys.argv[1]), {'Net': Path(sys.argv[2])}); "
        "print(*identify_weights('Net', Weights((WeightsFile('net.pth'),)), options)); "
        "print({'torch', 'transformers', 'huggingface_hub', 'urllib.request', 'rich'} "
        "& set(sys.modules))"
    )
    arguments = [str(tmp_path / "cache"), str(put(tmp_path / "net"))]
    said = subprocess.check_output([sys.executable, "-c", command, *arguments], text=True)
    assert SHA256 in said and said.splitlines()[1] == "set()"
