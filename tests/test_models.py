"""The zoo: the registry, and the networks themselves on real weights."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import pdist

from conceptrsa.analysis.files.stimuli import Stimulus, load_picture, read_stimuli
from conceptrsa.analysis.models.extraction_settings import Prompt
from conceptrsa.analysis.models.features import extract_features
from conceptrsa.analysis.models.trial import draw_waves
from conceptrsa.analysis.models.weights.locate import obtain_all_weights
from conceptrsa.analysis.models.weights.places import WeightsOptions, weights_present
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.demo.demo_dataset import write_stimuli

CATS = ("tabby", "tiger cat", "Egyptian cat")
HEAVY = ("torch", "timm", "torchvision", "transformers", "sentence_transformers")


def run_without_networks(code: str) -> None:
    """Run Python code in a process in which importing a network library is an error."""
    block = f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}))\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    subprocess.run([sys.executable, "-c", block + code], check=True, env=environment)


NO_DOWNLOADS = Path(tempfile.gettempdir()) / "conceptrsa-tests"
PACKAGED = tuple(entry.name for entry in read_zoo().entries if entry.packaged)
PAPER = (
    "CLIP", "TSM", "VirTex", "ICMLM-attfc", "ICMLM-tfm", "ResNet50", "BiT-M", "AR-L2", "AR-Linf4",
    "AR-Linf8", "SIN", "SIN-IN", "SIN-IN+FIN", "GPT-2", "BERT", "CLIP-L",
)  # fmt: skip


def test_registry_is_complete() -> None:
    entries = read_zoo().entries
    names = [entry.name for entry in entries]
    assert len(set(map(str.lower, names))) == len(names)
    assert tuple(entry.name for entry in entries if entry.of_paper) == PAPER
    groups = [entry.group for entry in entries if entry.of_paper]
    assert [groups.count(group) for group in ("multimodal", "visual", "language")] == [5, 8, 3]
    for entry in entries:
        assert entry.source and entry.licence and entry.reference
        assert entry.network.all_libraries and entry.all_weights
        for file in (file for _, weights in entry.all_weights for file in weights.files):
            assert set(file.sha256) <= set("0123456789abcdef") and len(file.sha256) <= 64
            assert file.url or len(file.sha256) == 64
    assert all("stand-in" in entry.note for entry in entries if "ConSE" in entry.name)


def test_models_are_found_by_name() -> None:
    assert read_zoo().find("minilm").name == "MiniLM"
    with pytest.raises(
        InputError, match=r"no model called 'CLIPP' \(did you mean 'CLIP'\?\): choose"
    ):
        read_zoo().find("CLIPP")


def test_a_combined_model_is_described_whole() -> None:
    conse, *parts = (
        read_zoo().find(name).network for name in ("ConSE-standin", "EfficientNet-Lite0", "MiniLM")
    )
    assert (conse.n_classes, conse.class_prompt) == (10, "a photo of {label}")
    expected = zip(("EfficientNet-Lite0", "MiniLM"), (part.weights for part in parts), strict=True)
    assert read_zoo().find("ConSE-standin").all_weights == tuple(expected)


def test_listing_needs_no_network_library(tmp_path: Path) -> None:
    run_without_networks(
        "from pathlib import Path\n"
        "from conceptrsa.analysis.models.weights import places\n"
        "from conceptrsa.analysis.models.zoo import read_zoo\n"
        f"options = places.WeightsOptions(cache=Path({str(tmp_path)!r}))\n"
        "for entry in read_zoo().entries:\n"
        "    places.weights_present(entry, options)"
    )


@pytest.fixture(scope="session")
def networks() -> None:
    """Skip where the extra `networks` is not installed."""
    for library in ("torch", "timm", "transformers"):
        pytest.importorskip(library, reason="needs the extra 'networks'")
    options = WeightsOptions(cache=NO_DOWNLOADS)
    missing = [name for name in PACKAGED if not weights_present(read_zoo().find(name), options)]
    if missing:
        pytest.skip(f"weights of {', '.join(missing)} are not installed")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stimulus, ...]:
    folder = tmp_path_factory.mktemp("stimuli")
    write_stimuli(folder)
    return read_stimuli(folder)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def load(name: str):
    from conceptrsa.analysis.models.networks.load import load_network

    entry = read_zoo().find(name)
    options = WeightsOptions(cache=NO_DOWNLOADS, offline=True)
    files = [file.path for file in obtain_all_weights(entry, options)]
    return load_network(entry.network, files)


def class_names() -> list[str]:
    from timm.data import ImageNetInfo

    return ImageNetInfo().label_descriptions()


@pytest.mark.usefixtures("networks")
def test_every_model_has_a_loader() -> None:
    from conceptrsa.analysis.models.networks.load import LOADERS

    assert {entry.network.loader for entry in read_zoo().entries} <= set(LOADERS)


@pytest.mark.usefixtures("networks")
@pytest.mark.parametrize("size", [0, 1, 2])
def test_photographs_are_recognised(size: int, tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data", reason="its photographs are not installed")
    from reference_torch import plain_torch

    inputs = []
    for name in ("chelsea", "coffee"):
        inputs.append(str(tmp_path / f"{name}.png"))
        Image.fromarray(getattr(data, name)()).save(inputs[-1])
    network = load(f"EfficientNet-Lite{size}")
    with plain_torch():
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
    stimulus = Stimulus("wavy", draw_waves(tmp_path / "wavy.png"), "pattern")
    (features,) = extract_features([stimulus], [name], tmp_path / "cache")
    mean, deviation, strongest = REFERENCE[name]
    np.testing.assert_allclose(features.values.mean(), mean, rtol=2e-3)
    np.testing.assert_allclose(features.values.std(), deviation, rtol=2e-3)
    found = features.values[0, list(strongest)]
    np.testing.assert_allclose(found, list(strongest.values()), rtol=1e-2)


@pytest.mark.usefixtures("networks")
def test_conse_is_the_weighted_sum_of_ten_class_names() -> None:
    from conceptrsa.analysis.models.networks.conse import COMBINATION, ConSE

    probabilities = np.linspace(1e-6, 1e-4, 1000, dtype=np.float32)
    probabilities[[281, 282]] = 0.6, 0.2
    asked: list[str] = []

    class Visual:
        def class_probabilities(self, inputs: list[str]) -> np.ndarray:
            return probabilities[None]

    def embed(prompt: Prompt) -> np.ndarray:
        asked.append(prompt.text)
        return np.array([3.0, 0.0]) if "tabby" in prompt.text else np.array([0.0, 7.0])

    conse = ConSE(Visual(), embed, 10, "a photo of {label}")
    (combined,) = conse.extract([Path("picture")], [COMBINATION], "mean")[COMBINATION]
    assert len(asked) == 10
    assert asked[:2] == ["a photo of tabby", "a photo of tiger cat"]
    rest = np.sort(np.delete(probabilities, [281, 282]))[-8:].sum()
    expected = np.array([0.6, 0.2 + rest]) / (0.8 + rest)
    np.testing.assert_allclose(combined, expected, rtol=1e-6)


@pytest.mark.usefixtures("networks")
def test_models_see_the_drawn_pictures_differently(
    drawn: tuple[Stimulus, ...], cache_dir: Path
) -> None:
    features = extract_features(drawn, PACKAGED, cache_dir)
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
        assert model.values.shape == (24, read_zoo().find(model.model).network.n_features)


@pytest.mark.usefixtures("networks")
def test_an_early_layer_is_the_mean_of_its_map(
    drawn: tuple[Stimulus, ...], cache_dir: Path
) -> None:
    import torch

    from conceptrsa.analysis.models.networks.vision import compose

    (early,) = extract_features(drawn[:2], ["EfficientNet-Lite0-early"], cache_dir)
    network = load("EfficientNet-Lite0")
    pictures = torch.stack(
        [compose(network.preprocessing)(load_picture(item.image)) for item in drawn[:2]]
    )
    with torch.inference_mode():
        maps = network.module.bn1(network.module.conv_stem(pictures))
        for stage in network.module.blocks[:3]:
            maps = stage(maps)
    np.testing.assert_allclose(early.values, maps.numpy().mean(axis=(2, 3)), atol=1e-5)


@pytest.mark.usefixtures("networks")
def test_a_warm_cache_needs_no_network_library(
    drawn: tuple[Stimulus, ...], cache_dir: Path
) -> None:
    names = list(PACKAGED)
    extract_features(drawn, names, cache_dir)
    run_without_networks(
        # Of the processor: other tests run beside this one.
        "import time; start = time.process_time()\n"
        "from conceptrsa.analysis.models.features import extract_features\n"
        "from conceptrsa.analysis.files.stimuli import read_stimuli\n"
        f"stimuli = read_stimuli({str(drawn[0].image.parent)!r})\n"
        f"extract_features(stimuli, {names!r}, {str(cache_dir)!r})\n"
        "assert time.process_time() - start < 2"
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
