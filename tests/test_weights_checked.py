"""Files of weights are checked against what was published, and fetched only where allowed."""

import hashlib
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path

import local_weights
import pytest
from local_weights import FILE, NET, PAIR, put_pair, with_folder
from weights_server import CONTENT, OTHER, SHA256, Publisher, one_sentence, put

from conceptrsa.analysis.models.registry import Weights, WeightsFile
from conceptrsa.analysis.models.weights import hashes
from conceptrsa.analysis.models.weights.locate import obtain_weights
from conceptrsa.analysis.models.weights.places import WeightsOptions, find_files
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config.errors import InputError

identify_weights = partial(obtain_weights, thorough=False)
home, options = local_weights.home, local_weights.options
publisher = local_weights.publisher


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


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
    for name in ("imagenet_l2_3_0.pt", "l2.pt"):
        given = with_folder(options, None, net=put(tmp_path / name))
        for _ in range(2):  # a file is looked at when it is identified and when it is loaded
            assert obtain_weights("Net", weights, given)[0].origin == "nothing published"
    (record,) = caplog.records
    assert "l2.pt is used for Net unverified" in record.message


def test_the_file_of_another_model_of_the_registry_is_refused(
    tmp_path: Path, options: WeightsOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Weights((WeightsFile("imagenet_l2_3_0.pt"),))
    for name in ("imagenet_linf_8.pt", "resnet50-0676ba61.pth"):
        given = with_folder(options, None, net=put(tmp_path / name))
        with pytest.raises(InputError, match="has the name of the file that was published for"):
            obtain_weights("Net", weights, given)
        # What a library has under its name is its own affair.
        library = with_folder(options, None, **{"timm:net": tmp_path / name})
        assert obtain_weights("timm:net", weights, library)
    resnet = read_zoo().find("ResNet50").network.weights
    monkeypatch.setattr(hashes, "hash_file", lambda path: resnet.files[0].sha256)
    given = with_folder(options, None, net=put(tmp_path / "imagenet_l2_3_0.pt", OTHER))
    with pytest.raises(InputError, match=r"it is resnet50-0676ba61.pth, .* for ResNet50"):
        obtain_weights("Net", weights, given)


def test_another_published_file_with_the_same_tensors_is_taken(
    tmp_path: Path, options: WeightsOptions
) -> None:
    other = hashlib.sha256(OTHER).hexdigest()
    weights = replace(PAIR, alternatives=(WeightsFile("pytorch_model.bin", sha256=other),))
    put_pair(tmp_path / "net")
    (tmp_path / "net" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"lacks model.safetensors or pytorch_model.bin"):
        obtain_weights("Net", weights, with_folder(options, tmp_path))
    put(tmp_path / "net" / "pytorch_model.bin", OTHER)
    checked, _ = obtain_weights("Net", weights, with_folder(options, tmp_path))
    assert (checked.name, checked.origin) == ("pytorch_model.bin", "published")
    put(tmp_path / "net" / "pytorch_model.bin", CONTENT)  # bears the name, is the other one
    checked, _ = obtain_weights("Net", weights, with_folder(options, tmp_path))
    assert (checked.name, checked.origin) == ("model.safetensors", "published")
    put(tmp_path / "net" / "pytorch_model.bin", b"neither")
    with pytest.raises(InputError, match=r"is not the published pytorch_model.bin of Net"):
        obtain_weights("Net", weights, with_folder(options, tmp_path))


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
    assert find_files("Net", truncated, WeightsOptions(tmp_path / "elsewhere")) is None


def test_a_download_that_changed_is_noticed_without_a_published_hash(
    publisher: Publisher, tmp_path: Path
) -> None:
    weights = Weights((publisher.file(sha256=""),))
    options = WeightsOptions(tmp_path / "cache")
    (checked,) = obtain_weights("Net", weights, options)
    put(checked.path, OTHER)
    for check in (obtain_weights, identify_weights):
        with pytest.raises(InputError, match=r"has changed since the download.*delete it") as error:
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
        assert find_files("Net", weights, options) is None
        with pytest.raises(InputError, match="nothing is downloaded when offline") as error:
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
