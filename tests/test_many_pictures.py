"""Features of many pictures: memory, room on the disk, time left, and what an interruption leaves.

The networks are stand-ins whose vectors follow from the pictures, so that any number is known.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from conceptrsa.analysis import pace
from conceptrsa.analysis.files.stimuli import read_stimuli
from conceptrsa.analysis.models import cache as cache_module
from conceptrsa.analysis.models import feature_arrays, registry
from conceptrsa.analysis.models.extraction_settings import ExtractionSettings
from conceptrsa.analysis.models.feature_files import Features
from conceptrsa.analysis.models.features import (
    each_features,
    extract_features,
    read_features,
    write_features,
)
from conceptrsa.analysis.models.model_set import hash_model
from conceptrsa.bids_config.errors import InputError

MODEL = "EfficientNet-Lite0"
LENGTHS = {"wide": 2000, "global_pool": 1280}
SWEEP = ExtractionSettings(layers=tuple(LENGTHS), n_threads=1)


def colour_of(place: int) -> tuple[int, int, int]:
    return place % 256, place // 256, 7


def draw(folder: Path, number: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(number):
        Image.new("RGB", (2, 2), colour_of(place)).save(folder / f"{place:05d}.png")
    return folder


def expected(colours: np.ndarray, length: int) -> np.ndarray:
    """Vectors of pictures whose colours are the rows of `colours`."""
    return np.asarray(
        colours @ [1.0, 256.0, 0.0] + 1 + np.arange(length)[:, None], dtype=np.float32
    ).T


class ColourNetwork:
    """In the place of a network: a ramp that starts at the picture's number."""

    def __init__(self, lengths: dict[str, int]) -> None:
        self.lengths = lengths
        self.shown: list[str] = []
        self.before: Callable[[Path], None] = lambda picture: None

    def layers(self, which: str) -> tuple[str, ...]:
        return tuple(self.lengths)

    def extract(self, inputs: list[Path], layers: list[str], pooling: str) -> dict:
        colours = []
        for picture in inputs:
            self.before(picture)
            self.shown.append(picture.stem)
            colours.append(np.asarray(Image.open(picture))[0, 0])
        return {layer: expected(np.array(colours), self.lengths[layer]) for layer in layers}


def stand_in(network: ColourNetwork) -> SimpleNamespace:
    return SimpleNamespace(load_entry=lambda entry, files, settings: network)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[ColourNetwork]:
    network = ColourNetwork(LENGTHS)
    monkeypatch.setitem(sys.modules, "conceptrsa.analysis.models.networks.load", stand_in(network))
    monkeypatch.setattr(registry, "version", lambda library: "1.0")
    monkeypatch.setattr(cache_module, "BYTES_PER_PART", 20_000)
    return network


def require_expected(features: list[Features], number: int) -> None:
    colours = np.array([colour_of(place) for place in range(number)])
    for model, (layer, length) in zip(features, LENGTHS.items(), strict=True):
        assert model.model == f"{MODEL}@{layer}"
        np.testing.assert_array_equal(model.values, expected(colours, length))


def extract(pictures: Path, cache: Path, **more: object) -> list[Features]:
    return extract_features(read_stimuli(pictures), [MODEL], cache, SWEEP, **more)  # type: ignore[arg-type]


def files_of_cache(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.npz"))


@pytest.mark.parametrize("in_memory", [True, False])
def test_blocks_are_joined_in_memory_or_in_a_file(
    tmp_path: Path, network: ColourNetwork, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    if not in_memory:
        monkeypatch.setattr(feature_arrays, "BYTES_IN_MEMORY", 1000)
    pictures, cache = draw(tmp_path / "pictures", 9), tmp_path / "cache"
    first = extract(pictures, cache)
    require_expected(first, 9)
    assert len(files_of_cache(cache)) > 2
    require_expected(extract(pictures, cache), 9)
    assert len(network.shown) == 9
    # A file without a name is gone with the last array.
    assert not [file for file in cache.rglob("*") if file.suffix not in (".npz", ".json", "")]
    first[0].values[:] = 0
    require_expected(extract(pictures, cache), 9)
    write_features(each_features(read_stimuli(pictures), [MODEL], cache, SWEEP), tmp_path / "out")
    require_expected(read_features(tmp_path / "out"), 9)  # type: ignore[arg-type]


def test_of_several_blocks_only_the_damaged_one_is_computed_again(
    tmp_path: Path, network: ColourNetwork
) -> None:
    pictures, cache = draw(tmp_path / "pictures", 9), tmp_path / "cache"
    extract(pictures, cache)
    damaged = files_of_cache(cache)[1]
    with np.load(damaged) as arrays:
        n_lost = len(arrays["inputs"])
    content = bytearray(damaged.read_bytes())
    content[len(content) // 3] ^= 0xFF
    damaged.write_bytes(content)
    require_expected(extract(pictures, cache), 9)
    assert len(network.shown) == 9 + n_lost < 18
    require_expected(extract(pictures, cache), 9)
    assert len(network.shown) == 9 + n_lost


def test_pictures_that_are_the_same_are_shown_once(tmp_path: Path, network: ColourNetwork) -> None:
    pictures = draw(tmp_path / "pictures", 3)
    shutil.copy(pictures / "00001.png", pictures / "00000-again.png")
    wide, _ = extract(pictures, tmp_path / "cache")
    assert network.shown == ["00000", "00000-again", "00002"]
    np.testing.assert_array_equal(wide.values[:, 0], [1, 2, 2, 3])


def test_a_broken_picture_far_behind_is_said_before_a_network_runs(
    tmp_path: Path, network: ColourNetwork
) -> None:
    pictures = draw(tmp_path / "pictures", 30)
    broken = pictures / "00028.jpg"
    (pictures / "00028.png").unlink()
    Image.effect_noise((300, 200), 50).convert("RGB").save(broken)
    broken.write_bytes(broken.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"00028\.jpg cannot be read"):
        extract(pictures, tmp_path / "cache")
    assert not network.shown


def test_what_was_done_before_a_picture_broke_is_kept(
    tmp_path: Path, network: ColourNetwork
) -> None:
    pictures, cache = draw(tmp_path / "pictures", 9), tmp_path / "cache"

    def refuse(picture: Path) -> None:
        if picture.stem == "00006":
            raise InputError(f"{picture} cannot be read")

    network.before = refuse
    with pytest.raises(InputError, match=r"00006\.png cannot be read"):
        extract(pictures, cache)
    network.before = lambda picture: None
    network.shown.clear()
    require_expected(extract(pictures, cache), 9)
    assert network.shown == ["00006", "00007", "00008"]


def test_a_picture_that_changes_while_networks_run_is_said(
    tmp_path: Path, network: ColourNetwork
) -> None:
    """Its features would be kept under the hash of what it was before."""
    pictures, cache = draw(tmp_path / "pictures", 9), tmp_path / "cache"

    def change(picture: Path) -> None:
        if picture.stem == "00004":
            Image.new("RGB", (2, 3), (99, 0, 0)).save(picture)

    network.before = change
    with pytest.raises(InputError, match=r"00004\.png changed while features were computed"):
        extract(pictures, cache)
    network.before = lambda picture: None
    network.shown.clear()
    wide, _ = extract(pictures, cache)
    assert network.shown == [f"{place:05d}" for place in range(4, 9)]
    np.testing.assert_array_equal(wide.values[:, 0], [1, 2, 3, 4, 100, 6, 7, 8, 9])


KILLED = """
import os, sys
from pathlib import Path
import test_many_pictures as tests
from conceptrsa.analysis.models import cache, registry

network = tests.ColourNetwork(tests.LENGTHS)
network.before = lambda picture: os._exit(9) if picture.stem == "00006" else None
sys.modules["conceptrsa.analysis.models.networks.load"] = tests.stand_in(network)
registry.version = lambda library: "1.0"
cache.BYTES_PER_PART = 20_000
tests.extract(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def in_own_process(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    folders = [str(Path(__file__).parent), *sys.path]
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_killed_run_goes_on_from_its_blocks(tmp_path: Path, network: ColourNetwork) -> None:
    pictures, cache = draw(tmp_path / "pictures", 9), tmp_path / "cache"
    killed = in_own_process(KILLED, pictures, cache)
    assert killed.returncode == 9, killed.stderr
    assert len(files_of_cache(cache)) >= 1
    require_expected(extract(pictures, cache), 9)
    assert network.shown[-3:] == ["00006", "00007", "00008"]
    assert len(network.shown) < 9


def test_time_left_is_told(
    tmp_path: Path, network: ColourNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "SECONDS_BETWEEN_LINES", -1.0)
    told: list[str] = []
    extract(draw(tmp_path / "pictures", 3), tmp_path / "cache", progress=told.append)
    assert told == [
        f"{MODEL}: 3 stimuli, 2 layers",
        f"1 of 3 stimuli of {MODEL} done, about 1 s left",
        f"2 of 3 stimuli of {MODEL} done, about 1 s left",
    ]


def test_a_full_disk_is_said_at_the_first_picture(
    tmp_path: Path, network: ColourNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = draw(tmp_path / "pictures", 30)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(feature_arrays.shutil, "disk_usage", lambda folder: usage(100_000))
    with pytest.raises(InputError, match=r"has no room for .* GB of features .* fewer layers"):
        extract(pictures, tmp_path / "cache")
    assert len(network.shown) < 5


MEASURED = """
import re, sys
from pathlib import Path
import test_many_pictures as tests
from conceptrsa.analysis.models import cache, feature_arrays, registry
from conceptrsa.analysis.models.features import each_features, write_features
from conceptrsa.analysis.models.networks import running

tests.LENGTHS.update({f"layer{index}": 5000 for index in range(20)})
sweep = tests.ExtractionSettings(layers=tuple(tests.LENGTHS), n_threads=1)
sys.modules["conceptrsa.analysis.models.networks.load"] = tests.stand_in(
    tests.ColourNetwork(tests.LENGTHS)
)
registry.version = lambda library: "1.0"
cache.BYTES_PER_PART, feature_arrays.BYTES_IN_MEMORY = 4_000_000, 16_000_000
for number in (20, 50, 500):
    folder = Path(sys.argv[1]) / str(number)
    stimuli = tests.read_stimuli(tests.draw(folder / "pictures", number))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    write_features(each_features(stimuli, [tests.MODEL], folder / "cache", sweep), folder / "out")
    print(re.search(r"VmHWM:\\s*([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are Linux's")
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    """Of 500 pictures the vectors take 206 MB, and those of the widest layer 10 MB."""
    measured = in_own_process(MEASURED, tmp_path)
    assert measured.returncode == 0, measured.stderr
    _, few, many = map(int, measured.stdout.split())
    assert many < few + 40_000
    folder = tmp_path / "500" / "out"
    assert len(list(folder.glob("*.npz"))) == len(LENGTHS) + 20
    (last,) = read_features(folder / f"{MODEL}@layer19.npz")
    assert isinstance(last, Features) and last.values.shape == (500, 5000)
    np.testing.assert_array_equal(last.values[:, 0], 1 + np.arange(500))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_hash_of_a_model_is_that_of_its_numbers_in_double_precision(dtype: type) -> None:
    values = np.random.default_rng(0).standard_normal((700, 3)).astype(dtype)
    names = tuple(f"s{row}" for row in range(700))
    content = "\n".join(names).encode() + values.astype("<f8").tobytes()
    assert hash_model(Features("m", "g", names, values)) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("saved", "read"),
    [("f2", "f4"), ("<f4", "f4"), (">f4", "f4"), (">f8", "f8"), ("i8", "f8"), ("u1", "f8")],
)
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_features_are_read_in_the_precision_that_they_were_saved_in(
    tmp_path: Path, saved: str, read: str, suffix: str
) -> None:
    values = np.arange(12).reshape(3, 4).astype(saved)
    if suffix == ".npz":
        np.savez(tmp_path / "mine.npz", stimulus=list("abc"), features=values)
    else:
        np.save(tmp_path / "mine.npy", values)
        (tmp_path / "mine.txt").write_text("a\nb\nc\n")
    (mine,) = read_features(tmp_path / f"mine{suffix}")
    assert isinstance(mine, Features)
    assert mine.values.dtype == np.dtype(read)
    np.testing.assert_array_equal(mine.values, np.arange(12).reshape(3, 4))
