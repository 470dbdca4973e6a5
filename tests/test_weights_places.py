"""Files of weights are found on this machine, in each place where they may lie."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import local_weights
import pytest
from local_weights import FILE, HUB, NET, PAIR, put_pair, with_folder
from weights_server import OTHER, SHA256, Publisher, one_sentence, put

from conceptrsa.analysis.models.registry import Weights, WeightsFile
from conceptrsa.analysis.models.weights.locate import obtain_weights
from conceptrsa.analysis.models.weights.places import (
    WeightsOptions,
    find_files,
    read_given,
    require_given_asked,
    weights_chosen,
    weights_present,
)
from conceptrsa.bids_config.errors import InputError

home, options = local_weights.home, local_weights.options
publisher = local_weights.publisher


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
    assert find_files("Net", weights, options) is None


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
    assert find_files("Net", weights, options) is None
    place = put(snapshots / ("c" * 40) / "net.bin")
    assert find_files("Net", weights, options) == (place,)


def test_common_file_names_prove_nothing(
    tmp_path: Path, home: Path, options: WeightsOptions, caplog: pytest.LogCaptureFixture
) -> None:
    single = Weights(PAIR.files[:1])
    put(home / ".cache" / "clip" / "model.safetensors")
    assert find_files("Net", single, options) is None
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
    with pytest.raises(InputError, match=r"named after Net, lacks config.json") as error:
        find_files("Net", PAIR, with_folder(options, folder))
    one_sentence(error)


def test_what_is_given_must_be_there(tmp_path: Path, options: WeightsOptions) -> None:
    pair = put_pair(tmp_path / "given")
    assert find_files("Net", PAIR, with_folder(options, None, net=tmp_path / "given")) == pair
    cases = [
        (NET, tmp_path / "absent", "the file does not exist"),
        (NET, tmp_path / "given", "lacks net-0a1b.pth"),
        (PAIR, pair[0], "lacks model.safetensors, config.json: put it there"),
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
    with pytest.raises(InputError, match=r"'bert', which is not one of .*CLIP, GPT-2"):
        require_given_asked(asked, ["CLIP", "GPT-2"])
    for wrong in (["CLIP"], ["=x"], ["CLIP="], ["CLIP=a", "clip=b"]):
        with pytest.raises(InputError, match="--weights"):
            read_given(wrong)


def test_what_other_programs_keep_does_not_choose_models(
    tmp_path: Path, home: Path, options: WeightsOptions
) -> None:
    put(home / ".cache" / "clip" / FILE.name)
    net: Any = SimpleNamespace(all_weights=(("Net", NET),))
    assert weights_present(net, options)
    assert not weights_chosen(net, options)
    put(tmp_path / "folder" / FILE.name)
    assert weights_chosen(net, with_folder(options, tmp_path / "folder"))
    assert weights_chosen(net, with_folder(options, None, NET=put(tmp_path / "x.pth")))
