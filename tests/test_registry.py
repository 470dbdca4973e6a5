"""Registry files: the worked example of the docs, and what is refused."""

import re
from pathlib import Path

import pytest

from conceptrsa.analysis.models.registry import KeyMapping
from conceptrsa.analysis.models.zoo import read_zoo, split_layer
from conceptrsa.bids_config.errors import InputError

DOCS = Path(__file__).parents[1] / "docs" / "models.md"


@pytest.fixture
def example() -> str:
    (block,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


def test_the_example_of_the_docs_is_a_registry(example: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(example)
    entry = read_zoo([file]).find("my resnet")
    (file_of_weights,) = entry.network.weights.files if entry.network.weights else ()
    assert (entry.group, file_of_weights.name, entry.network.n_features) == (
        "visual",
        "mine.pth",
        2048,
    )
    assert entry.network.weights.keys == KeyMapping(container=("state_dict",), prefix="module.")
    assert entry.network.preprocessing.std == (0.229, 0.224, 0.225)


LAST = 'network.architecture = "resnet50"'

MISTAKES = {
    "unknown key": (
        "network.input =",
        "network.inputs =",
        "[network] has an unknown key 'inputs' (did you",
    ),
    "missing key": ('licence = "MIT"\n', "", "the key licence is missing"),
    "number for a group": ('"visual"', "3", "group = 3 must be"),
    "text for a number": ("n_features = 2048", 'n_features = "2048"', "must be a whole number"),
    "two colours": ("mean = [0.485, 0.456, 0.406]", "mean = [0.5, 0.5]", "a list of 3 numbers"),
    "layer in the name": ('"My ResNet"', '"My@ResNet"', "must not hold ':' or '@'"),
    "taken name": ('"My ResNet"', '"clip"', "the name 'clip' is taken"),
    "no missing value": ('"My ResNet"', '"nan"', "cannot tell from a missing value"),
    "unknown preprocessing": (
        re.compile("network.preprocessing = .*"),
        'network.preprocessing = "imagenet"',
        "write a table [preprocessing.imagenet]",
    ),
    "unknown part": (
        '"resnet50"\n',
        '"resnet50"\nnetwork.parts = ["MiniLMM"]\n',
        "did you mean 'MiniLM'?",
    ),
    "combined part": (
        '"resnet50"\n',
        '"resnet50"\nnetwork.parts = ["ConSE-standin"]\n',
        "not itself combined",
    ),
    "no list of models": ("[[model]]", "[model]", "begins with [[model]]"),
    "no TOML": ("[[model]]", "[[model]", "is not valid TOML"),
}


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_one_sentence(
    example: str, tmp_path: Path, old: str | re.Pattern[str], new: str, message: str
) -> None:
    file = tmp_path / "mine.toml"
    changed = old.sub(new, example) if isinstance(old, re.Pattern) else example.replace(old, new)
    assert changed != example
    file.write_text(changed)
    with pytest.raises(InputError) as caught:
        read_zoo([file])
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_missing_registry_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml is missing"):
        read_zoo([tmp_path / "none.toml"])


def test_layers_stand_behind_the_model() -> None:
    assert split_layer("timm:vit@blocks.3") == ("timm:vit", "blocks.3")
    assert split_layer("CLIP") == ("CLIP", None)
    with pytest.raises(InputError, match="write MODEL or MODEL@LAYER"):
        split_layer("@layer")
