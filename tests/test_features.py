"""Features in folders and in the cache; the networks themselves are in test_models.py."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import squareform

from conceptrsa.analysis.files.stimuli import read_stimuli
from conceptrsa.analysis.models import registry
from conceptrsa.analysis.models.extraction_settings import ExtractionSettings
from conceptrsa.analysis.models.feature_files import ModelRdm, file_stem
from conceptrsa.analysis.models.features import (
    Features,
    extract_features,
    read_features,
    write_features,
)
from conceptrsa.analysis.models.registry import Weights, WeightsFile
from conceptrsa.analysis.models.weights import places
from conceptrsa.analysis.models.weights.places import WeightsOptions
from conceptrsa.analysis.models.zoo import Zoo, read_zoo
from conceptrsa.bids_config.errors import InputError

IDS = ("a", "b", "c")


class CountingNetwork:
    """In the place of a network: the mean colour, and a note of what it was shown."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def layers(self, which: str) -> tuple[str, ...]:
        return ("early", "global_pool") if which == "all" else ("global_pool",)

    def extract(self, inputs: list[Path], layers: list[str], pooling: str) -> dict:
        self.shown += [Path(item).stem for item in inputs]
        means = [np.asarray(Image.open(item), dtype=float).mean() for item in inputs]
        values = np.array([np.arange(1280) * mean for mean in means], dtype=np.float32)
        return {layer: values if layer == "global_pool" else values[:, :3] for layer in layers}


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> CountingNetwork:
    counting = CountingNetwork()
    loaders = SimpleNamespace(load_entry=lambda entry, files, settings: counting)
    monkeypatch.setitem(sys.modules, "conceptrsa.analysis.models.networks.load", loaders)
    monkeypatch.setattr(registry, "version", lambda library: "1.0")
    return counting


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "stimuli"
    folder.mkdir()
    for value, name in enumerate(IDS, start=1):
        Image.new("RGB", (4, 4), (value, value, value)).save(folder / f"{name}.png")
    return folder


def extract(pictures: Path, cache: Path) -> Features:
    settings = ExtractionSettings(n_threads=1)
    (features,) = extract_features(read_stimuli(pictures), ["efficientnet-lite0"], cache, settings)
    return features


def test_values_come_in_the_order_of_the_stimuli(
    pictures: Path, tmp_path: Path, network: CountingNetwork
) -> None:
    features = extract(pictures, tmp_path / "cache")
    assert (features.model, features.group, features.stimuli) == (
        "EfficientNet-Lite0",
        "visual",
        IDS,
    )
    assert features.values.dtype == np.float32
    np.testing.assert_array_equal(features.values, np.outer([1, 2, 3], np.arange(1280)))


def test_a_warm_cache_computes_nothing_and_a_changed_picture_only_itself(
    pictures: Path, tmp_path: Path, network: CountingNetwork
) -> None:
    first = extract(pictures, tmp_path / "cache")
    again = extract(pictures, tmp_path / "cache")
    np.testing.assert_array_equal(first.values, again.values)
    assert network.shown == list(IDS)
    Image.new("RGB", (4, 4), (9, 9, 9)).save(pictures / "b.png")
    changed = extract(pictures, tmp_path / "cache")
    assert network.shown == [*IDS, "b"]
    np.testing.assert_array_equal(changed.values[1], 9 * np.arange(1280))


def test_a_renamed_picture_is_known_by_its_content(
    pictures: Path, tmp_path: Path, network: CountingNetwork
) -> None:
    extract(pictures, tmp_path / "cache")
    (pictures / "b.png").rename(pictures / "z.png")
    assert extract(pictures, tmp_path / "cache").stimuli == ("a", "c", "z")
    assert network.shown == list(IDS)


def test_another_version_of_a_library_makes_new_entries(
    pictures: Path, tmp_path: Path, network: CountingNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(pictures, tmp_path / "cache")
    monkeypatch.setattr(registry, "version", lambda library: "2.0")
    extract(pictures, tmp_path / "cache")
    assert network.shown == list(IDS) * 2


@pytest.mark.parametrize("damage", ["truncated", "emptied", "other content", "flipped byte"])
def test_a_damaged_entry_is_noticed_and_computed_again(
    pictures: Path, tmp_path: Path, network: CountingNetwork, damage: str
) -> None:
    first = extract(pictures, tmp_path / "cache")
    entry = sorted((tmp_path / "cache").rglob("*.npz"))[0]
    content = bytearray(entry.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "emptied":
        content = bytearray()
    elif damage == "flipped byte":
        content[300] ^= 0xFF
    entry.write_bytes(content)
    if damage == "other content":
        with np.load(entry) as arrays:
            parts = dict(arrays)
        np.savez(entry, **{**parts, "column_0": parts["column_0"] + 1})
    again = extract(pictures, tmp_path / "cache")
    np.testing.assert_array_equal(first.values, again.values)
    assert len(network.shown) == 6
    extract(pictures, tmp_path / "cache")
    assert len(network.shown) == 6


def test_an_interrupted_run_keeps_what_was_done(
    pictures: Path, tmp_path: Path, network: CountingNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = network.extract

    def fail_at_c(inputs: list[Path], layers: list[str], pooling: str) -> dict:
        if inputs[0].name == "c.png":
            raise KeyboardInterrupt
        return compute(inputs, layers, pooling)

    monkeypatch.setattr(network, "extract", fail_at_c)
    with pytest.raises(KeyboardInterrupt):
        extract(pictures, tmp_path / "cache")
    monkeypatch.setattr(network, "extract", compute)
    extract(pictures, tmp_path / "cache")
    assert network.shown == list(IDS)


def test_a_language_model_needs_labels(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png has no label, which MiniLM needs"):
        extract_features(read_stimuli(pictures), ["MiniLM"], tmp_path)


def test_a_missing_library_is_named_with_the_way_to_get_it(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(library: str) -> str:
        raise registry.PackageNotFoundError(library)

    monkeypatch.setattr(registry, "version", absent)
    with pytest.raises(InputError, match=r"pip install 'conceptrsa\[networks\]'"):
        extract_features(read_stimuli(pictures), ["EfficientNet-Lite0"], tmp_path)


def test_a_cache_that_cannot_be_written_is_said(
    pictures: Path, tmp_path: Path, network: CountingNetwork
) -> None:
    (tmp_path / "cache").write_text("a file in place of the folder")
    with pytest.raises(InputError, match="give another folder with --cache-dir"):
        extract(pictures, tmp_path / "cache")


def test_written_features_are_read_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 5))
    written = [
        Features("SIN-IN+FIN", "visual", IDS, values, "a note"),
        Features("timm:vit/16", "language", IDS, values * 2),
    ]
    write_features(written, tmp_path)
    assert (tmp_path / "SIN-IN+FIN.npz").is_file()
    assert (tmp_path / "timm%3Avit%2F16.npz").is_file()
    for one, other in zip(written, read_features(tmp_path), strict=True):
        assert (one.model, one.group, one.stimuli, one.note) == (
            other.model,
            other.group,
            other.stimuli,
            other.note,
        )
        np.testing.assert_array_equal(one.values, other.values)


def test_tables_are_read(tmp_path: Path) -> None:
    (tmp_path / "models.tsv").write_text("model\tgroup\nmine\tmultimodal\n")
    (tmp_path / "mine.tsv").write_text("stimulus\tx\ty\nb\t1\t2.5\na\t-3e2\t4\n")
    (mine,) = read_features(tmp_path)
    assert (mine.model, mine.group, mine.stimuli) == ("mine", "multimodal", ("b", "a"))
    np.testing.assert_array_equal(mine.values, [[1, 2.5], [-300, 4]])


@pytest.mark.parametrize("name", ["a/b", "a_b", "a:b", "..", ".a", "a%2Fb", "é ü", "x" * 9])
def test_file_names_are_safe_and_distinct(name: str) -> None:
    stem = file_stem(name)
    assert not set(stem) & set('/\\:*?"<>|') and not stem.startswith(".")
    others = {"a/b", "a_b", "a:b", "..", ".a", "a%2Fb"} - {name}
    assert stem not in {file_stem(other) for other in others}


ROWS = "model\tgroup\nmine\tvisual\n"
GOOD = "stimulus\tx\na\t1\nb\t2\n"


@pytest.mark.parametrize(
    ("models", "table", "message"),
    [
        (None, None, "holds no model"),
        (None, "name\tx\na\t1\n", "must be 'stimulus'"),
        ("model\tgroup\n", GOOD, "lists no model"),
        ("name\tgroup\nmine\tvisual\n", GOOD, "columns model and group"),
        ("model\tgroup\nmine\tn/a\n", GOOD, "called 'n/a'"),
        ("model\tgroup\nmine\tall\n", GOOD, "give the group another name"),
        ("model\tgroup\nmine\tvisual\nmine\tvisual\n", GOOD, "lists 'mine' more than once"),
        (ROWS, None, "none is there"),
        (ROWS, "name\tx\na\t1\n", "must be 'stimulus'"),
        (ROWS, "", r"mine\.tsv is empty"),
        (ROWS, "stimulus\tx\na\tn/a\n", "not a number"),
        (ROWS, "stimulus\tx\na\tnan\n", "missing or infinite value for the stimulus 'a'"),
        (ROWS, "stimulus\tx\ty\na\t1\n", "line 2 has 2 cells where the header has 3"),
        (ROWS, "stimulus\tx\na\t1\na\t2\n", "include 'a' more than once: keep one row"),
        (ROWS, "stimulus\na\nb\n", "at least one column"),
    ],
)
def test_bad_feature_folders_end_in_one_sentence(
    tmp_path: Path, models: str | None, table: str | None, message: str
) -> None:
    if models is not None:
        (tmp_path / "models.tsv").write_text(models)
    if table is not None:
        (tmp_path / "mine.tsv").write_text(table)
    with pytest.raises(InputError, match=message):
        read_features(tmp_path)


def test_groups_are_any_text(tmp_path: Path) -> None:
    (tmp_path / "models.tsv").write_text("model\tgroup\nmine\taudio and video\n")
    (tmp_path / "mine.tsv").write_text(GOOD)
    (mine,) = read_features(tmp_path)
    assert mine.group == "audio and video"
    (tmp_path / "models.tsv").write_text("model\nmine\n")
    assert read_features(tmp_path)[0].group == "models"


def test_models_are_found_without_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = np.arange(8.0).reshape(4, 2)
    names = [f"{name}.jpg" for name in FOUR]
    for folder in ("deep", "tenth"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "features.npy", values[:, None, None])
        (tmp_path / folder / "file_names.txt").write_text("\n".join(names) + "\n")
    np.savez(tmp_path / "timm%3Avit.npz", stimulus=FOUR, features=values)
    np.save(tmp_path / "layer10.npy", values)
    np.save(tmp_path / "layer2.npy", SQUARE)
    np.save(tmp_path / "layer3.npy", squareform(SQUARE))
    for layer in (2, 3, 10):
        (tmp_path / f"layer{layer}.txt").write_text("\n".join(FOUR))
    (tmp_path / "categories.tsv").write_text(
        "stimulus\tanimacy\n" + "".join(f"{name}\t{name in 'ab'}\n" for name in FOUR)
    )
    models = read_features(tmp_path)
    assert [model.model for model in models] == [
        "deep", "layer2", "layer3", "layer10", "tenth", "timm:vit", "animacy",
    ]  # fmt: skip
    assert [model.group for model in models] == ["models"] * 6 + ["categorical"]
    for model in models:
        assert model.stimuli == FOUR
        if model.model in ("layer2", "layer3"):
            np.testing.assert_array_equal(model.of_stimuli(FOUR), squareform(SQUARE))
        elif isinstance(model, Features):
            np.testing.assert_array_equal(model.values, values)
    assert "all 7 models in it are compared" in caplog.text


def test_plain_rdms_are_distances_in_spite_of_rounding(tmp_path: Path) -> None:
    """As `1 - np.corrcoef` gives them, with 1e-16 on the diagonal; similarities are refused."""
    rounded = SQUARE + 1e-16 * np.arange(16).reshape(4, 4)
    (tmp_path / "file_names.txt").write_text("\n".join(FOUR))
    np.save(tmp_path / "mine.npy", rounded)
    (mine,) = read_features(tmp_path / "mine.npy")
    assert isinstance(mine, ModelRdm)
    np.testing.assert_allclose(mine.of_stimuli(FOUR), squareform(SQUARE))
    np.save(tmp_path / "mine.npy", 1 - SQUARE / 10)
    with pytest.raises(InputError, match="is not 0 on its diagonal"):
        read_features(tmp_path / "mine.npy")
    np.save(tmp_path / "mine.npy", np.triu(SQUARE))
    with pytest.raises(InputError, match="is not symmetric"):
        read_features(tmp_path / "mine.npy")


def test_a_folder_of_thingsvision_is_one_of_models(tmp_path: Path) -> None:
    """Names are those of pictures in folders; labels and hidden files are no models."""
    np.save(tmp_path / "features.npy", np.eye(4)[:, :3])
    (tmp_path / "file_names.txt").write_text("".join(f"images/{n}/{n}.jpg\n" for n in FOUR))
    (tmp_path / "labels.csv").write_text("stimulus,label\na,1\n")
    (tmp_path / "._features.npy").write_bytes(b"\0\5\x16\7")
    (model,) = read_features(tmp_path)
    assert model.model == "features" and model.stimuli == FOUR
    (model,) = read_features(tmp_path / "features.npy")
    assert model.model == tmp_path.name
    (tmp_path / "file_names.txt").write_text("x/a.jpg\nx/b.jpg\ny/a.jpg\ny/b.jpg")
    assert read_features(tmp_path)[0].stimuli == ("x/a", "x/b", "y/a", "y/b")


def test_a_models_file_is_enough(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", stimulus=FOUR, features=np.eye(4))
    np.savez(tmp_path / "other.npz", stimulus=FOUR, features=np.eye(4))
    (mine,) = read_features(tmp_path / "mine.npz")
    assert mine.model == "mine"


@pytest.mark.parametrize(
    ("values", "names", "message"),
    [
        (np.eye(4)[:, :3], None, "does not name its rows: list the stimuli in file_names.txt"),
        (np.eye(4)[:, :3], "a\nb\n", "for 2 stimuli"),
        (np.array([{}], object), "a\n", "cannot be read"),
        (np.array(["x"]), "a\n", "is not a numeric array"),
    ],
)
def test_bad_plain_arrays_end_in_one_sentence(
    tmp_path: Path, values: np.ndarray, names: str | None, message: str
) -> None:
    np.save(tmp_path / "mine.npy", values)
    if names is not None:
        (tmp_path / "mine.txt").write_text(names)
    with pytest.raises(InputError, match=message):
        read_features(tmp_path)


@pytest.mark.parametrize("name", ["models.tsv", "mine.tsv"])
def test_tables_in_another_encoding_end_in_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "models.tsv").write_text(ROWS)
    (tmp_path / "mine.tsv").write_text(GOOD)
    file = tmp_path / name
    file.write_bytes(file.read_bytes() + "é\t1\n".encode("latin-1"))
    with pytest.raises(InputError, match=rf"{name} is not UTF-8"):
        read_features(tmp_path)


def test_bad_npz_files_end_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "models.tsv").write_text(ROWS)
    file = tmp_path / "mine.npz"
    for arrays in ({"features": np.ones((2, 2))}, {"stimulus": np.array([{"code": 1}], object)}):
        np.savez(file, **arrays)
        with pytest.raises(InputError, match=r"mine\.npz (cannot be read|has no array stimulus)"):
            read_features(tmp_path)
    np.savez(file, stimulus=np.array(["a"]), features=np.ones((2, 2)))
    with pytest.raises(InputError, match="for 1 stimuli"):
        read_features(tmp_path)
    (tmp_path / "mine.tsv").write_text(GOOD)
    with pytest.raises(InputError, match=r"mine\.npz and mine\.tsv exist"):
        read_features(tmp_path)


FOUR = ("a", "b", "c", "d")
SQUARE = squareform(np.array([1.0, 2, 3, 4, 5, 6]))
SQUARE_TABLE = "stimulus\td\tc\tb\ta\nb\t5\t4\t0\t1\na\t3\t2\t1\t0\nd\t0\t6\t5\t3\nc\t6\t0\t4\t2\n"


def write_models(folder: Path, *names: str) -> None:
    rows = [f"{name}\tvisual\t{name} it is\n" for name in names]
    (folder / "models.tsv").write_text("model\tgroup\tnote\n" + "".join(rows))


def test_rdms_stand_beside_features(tmp_path: Path) -> None:
    write_models(tmp_path, "square", "vector", "table", "features")
    np.savez(tmp_path / "square.npz", stimulus=FOUR, rdm=SQUARE)
    np.savez(tmp_path / "vector.npz", stimulus=FOUR, rdm=squareform(SQUARE))
    (tmp_path / "table.tsv").write_text(SQUARE_TABLE)
    np.savez(tmp_path / "features.npz", stimulus=FOUR, features=np.eye(4))
    models = read_features(tmp_path)
    assert [model.model for model in models] == ["square", "vector", "table", "features"]
    assert isinstance(models[3], Features)
    for model in models[:3]:
        assert isinstance(model, ModelRdm)
        assert (model.group, model.note) == ("visual", f"{model.model} it is")
        np.testing.assert_array_equal(model.of_stimuli(FOUR), squareform(SQUARE))
        picked = SQUARE[np.ix_([3, 0, 2], [3, 0, 2])]
        np.testing.assert_array_equal(model.of_stimuli(("d", "a", "c")), squareform(picked))


def test_categories_are_distances_of_0_and_1(tmp_path: Path) -> None:
    write_models(tmp_path, "size", "animacy")
    (tmp_path / "categories.tsv").write_text(
        "stimulus\tanimacy\tsize\na\talive\t1\nb\tthing\t2\nc\talive\t3\nd\tthing\t1\n"
    )
    size, animacy = read_features(tmp_path)
    assert isinstance(animacy, ModelRdm) and isinstance(size, ModelRdm)
    assert animacy.stimuli == FOUR
    np.testing.assert_array_equal(animacy.rdm, [1, 0, 1, 1, 0, 1])
    np.testing.assert_array_equal(size.rdm, [1, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(animacy.of_stimuli(("a", "c", "b")), [0, 1, 1])
    with pytest.raises(InputError, match="animacy has the same distance between all stimuli"):
        animacy.of_stimuli(("a", "c"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"stimulus": FOUR, "rdm": SQUARE[:3, :3]}, r"shape \(3, 3\) for 4 stimuli"),
        ({"stimulus": FOUR, "rdm": np.ones(7)}, r"shape \(7,\) for 4 stimuli"),
        ({"stimulus": FOUR, "rdm": SQUARE + np.eye(4)}, "not 0 on its diagonal"),
        ({"stimulus": FOUR, "rdm": np.tril(SQUARE)}, "not symmetric"),
        ({"stimulus": FOUR, "rdm": SQUARE * np.nan}, "not finite"),
        (
            {"stimulus": ("a", "a", "b", "c"), "rdm": SQUARE},
            "the stimuli of .* include 'a' more than once",
        ),
        ({"stimulus": FOUR, "rdm": SQUARE, "features": SQUARE}, "holds features and an RDM"),
        ({"stimulus": FOUR, "rdm": np.array(["x"] * 6)}, "does not hold numbers"),
    ],
)
def test_bad_model_rdms_end_in_one_sentence(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    write_models(tmp_path, "mine")
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_features(tmp_path)


@pytest.mark.parametrize(
    ("models", "categories", "message"),
    [
        (["mine"], "stimulus\tmine\na\tx\nb\t\n", "has no category of 'mine' for the stimulus 'b'"),
        (["mine"], "stimulus\tmine\na\tx\nb\tn/a\n", "no category of 'mine' for the stimulus 'b'"),
        (["mine"], "stimulus\tmine\na\tx\nb\tx\n", "into 1 categories of 'mine'"),
        (["mine"], "stimulus\tmine\na\tx\nb\ty\n", "into 2 categories of 'mine'"),
        (["mine"], "stimulus\tmine\na\tx\na\ty\n", "the stimuli of .* include 'a' more than once"),
        (["mine"], "stimulus\tmine\tmine\na\tx\ty\n", "the column 'mine' more than once"),
        (["mine"], "name\tmine\na\tx\n", "must be 'stimulus'"),
        (["mine"], "stimulus\na\n", "each other column a model"),
        (["mine"], "stimulus\tmine\na\tx\n", "lists 1 stimuli"),
        (["other"], "stimulus\tmine\na\tx\nb\ty\nc\tx\n", "'mine', which .* does not list"),
        (["mine", "other"], "stimulus\tmine\na\tx\nb\ty\nc\tx\n", "'other' needs"),
    ],
)
def test_bad_categories_end_in_one_sentence(
    tmp_path: Path, models: list[str], categories: str, message: str
) -> None:
    write_models(tmp_path, *models)
    (tmp_path / "categories.tsv").write_text(categories)
    with pytest.raises(InputError, match=message):
        read_features(tmp_path)


def test_a_model_comes_from_one_place(tmp_path: Path) -> None:
    write_models(tmp_path, "mine")
    (tmp_path / "mine.tsv").write_text(SQUARE_TABLE)
    (tmp_path / "categories.tsv").write_text("stimulus\tmine\na\tx\nb\ty\nc\tx\n")
    with pytest.raises(InputError, match=r"has a column in categories\.tsv as well, remove one"):
        read_features(tmp_path)


def test_layers_come_from_one_pass_and_have_names(
    pictures: Path, tmp_path: Path, network: CountingNetwork
) -> None:
    stimuli, cache = read_stimuli(pictures), tmp_path / "cache"
    sweep = ExtractionSettings(layers=("all",), n_threads=1)
    early, final = extract_features(stimuli, ["efficientnet-lite0"], cache, sweep)
    assert [early.model, final.model] == [
        "EfficientNet-Lite0@early",
        "EfficientNet-Lite0@global_pool",
    ]
    assert (early.values.shape, final.values.shape) == ((3, 3), (3, 1280))
    assert network.shown == list(IDS)
    extract_features(stimuli, ["efficientnet-lite0"], cache, sweep)
    (one,) = extract_features(stimuli, ["EfficientNet-Lite0@early"], cache)
    np.testing.assert_array_equal(one.values, early.values)
    # The registry's own layer is among those that are there.
    assert extract(pictures, cache).model == "EfficientNet-Lite0"
    assert network.shown == list(IDS)


def test_another_pooling_is_another_entry(
    pictures: Path, tmp_path: Path, network: CountingNetwork
) -> None:
    extract(pictures, tmp_path / "cache")
    flat = ExtractionSettings(pooling="flatten", n_threads=1)
    extract_features(read_stimuli(pictures), ["EfficientNet-Lite0"], tmp_path / "cache", flat)
    assert network.shown == list(IDS) * 2


def test_features_say_where_they_come_from(
    pictures: Path, tmp_path: Path, network: CountingNetwork
) -> None:
    features = extract(pictures, tmp_path / "cache")
    write_features([features], tmp_path / "out")
    (again,) = read_features(tmp_path / "out")
    assert isinstance(again, Features)
    assert again.origin["layer"] == "global_pool"
    assert again.origin["network"]["architecture"] == "tf_efficientnet_lite0"
    assert again.origin["libraries"]["torch"] == "1.0"
    ((file, sha256),) = again.origin["weights_sha256"]
    assert file.endswith(f"{sha256[:8]}.pth")


def test_weights_that_were_accepted_are_in_note_and_origin(
    pictures: Path, tmp_path: Path, network: CountingNetwork
) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(b"other weights")
    accepting = WeightsOptions(
        tmp_path / "weights", {"EfficientNet-Lite0": other}, accept_unverified=True
    )
    cache, stimuli = tmp_path / "cache", read_stimuli(pictures)
    (features,) = extract_features(stimuli, ["EfficientNet-Lite0"], cache, weights=accepting)
    assert features.note.endswith("is not the published one")
    ((_, origin),) = features.origin["weights_origin"]
    assert origin == "another"
    assert extract(pictures, cache).note == ""


def test_weights_that_nothing_vouches_for_are_in_the_note_and_warned_of_once(
    pictures: Path,
    tmp_path: Path,
    network: CountingNetwork,
    caplog: pytest.LogCaptureFixture,
) -> None:
    entry = read_zoo().find("EfficientNet-Lite0")
    weights = Weights((WeightsFile("net.pth"),))
    mine = replace(entry, name="Mine", network=replace(entry.network, weights=weights))
    file = tmp_path / "mine.pth"
    file.write_bytes(b"weights")
    options = WeightsOptions(tmp_path / "weights", {"Mine": file})
    models = ["Mine", "Mine@global_pool"]
    found = extract_features(
        read_stimuli(pictures), models, tmp_path / "cache", weights=options, zoo=Zoo((mine,))
    )
    assert {features.note for features in found} == {"nothing published verifies its weights"}
    (record,) = caplog.records
    assert "mine.pth is used for Mine unverified" in record.message


def test_a_warm_cache_does_without_the_files_of_weights(
    pictures: Path, tmp_path: Path, network: CountingNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = extract(pictures, tmp_path / "cache")
    monkeypatch.setattr(places, "package_folder", lambda weights: None)
    again = extract(pictures, tmp_path / "cache")
    assert network.shown == list(IDS)
    np.testing.assert_array_equal(first.values, again.values)
    Image.new("RGB", (4, 4), (9, 9, 9)).save(pictures / "b.png")
    with pytest.raises(InputError, match="needs the package efficientnet_lite0"):
        extract(pictures, tmp_path / "cache")


def test_features_that_are_no_numbers_are_refused(
    pictures: Path, tmp_path: Path, network: CountingNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflow(inputs: list[Path], layers: list[str], pooling: str) -> dict:
        values = np.ones((len(inputs), 1280), dtype=np.float32)
        values[-1, 7] = np.inf
        return dict.fromkeys(layers, values)

    monkeypatch.setattr(network, "extract", overflow)
    with pytest.raises(
        InputError, match=r"values that are not finite in its layer 'global_pool' for 'a'"
    ):
        extract(pictures, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npz"))


def test_a_model_and_one_of_its_layers_may_be_asked_for_together(
    pictures: Path, tmp_path: Path, network: CountingNetwork
) -> None:
    names = ["EfficientNet-Lite0@early", "EfficientNet-Lite0", "EfficientNet-Lite0@global_pool"]
    settings = ExtractionSettings(n_threads=1)
    features = extract_features(read_stimuli(pictures), names, tmp_path / "cache", settings)
    assert sorted(model.model for model in features) == sorted(names)
