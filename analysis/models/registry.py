"""Description of a network: source and reading of its weights, and its inputs."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from typing import Literal

from conceptrsa.bids_config.errors import InputError

Input = Literal["picture", "label"]
Pooling = Literal["mean", "flatten", "first-token", "last-token", "label-token"]
"""From a layer's output to one vector: its mean over space or tokens, all of it, or one token."""

_COMMON_STEMS = ("model", "pytorch_model", "open_clip_model", "open_clip_pytorch_model", "weights")

UNVOUCHED_NOTE = "nothing published verifies its weights"


HUB = "https://huggingface.co"
CONFIGURATION = "config.json"
"""Name of a model in its repository."""


@dataclass(frozen=True)
class WeightsFile:
    """One file of pretrained weights.

    Attributes
    ----------
    name : str
        File name as its publisher spells it; inside a package, the path below its folder.
    url : str
        Official address; empty for a file inside a package.
    sha256 : str
        SHA-256 in hexadecimal digits, or as many of its first digits as were published; empty
        where none were.
    size : int, optional
        In bytes, where it was published.
    """

    name: str
    url: str = ""
    sha256: str = ""
    size: int | None = None

    @property
    def base_name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.name).name

    def is_published(self, sha256: str) -> bool:
        """Tell whether a SHA-256 is the one that was published, or begins so."""
        return bool(self.sha256) and sha256.startswith(self.sha256.lower())

    def describe(self, licence: str) -> str:
        """Give what a reader needs to find the file elsewhere: name, size, SHA-256, licence."""
        size = "size not published" if self.size is None else format_size(self.size)
        digits = f"SHA-256 {self.sha256[:12]}..." if self.sha256 else "no SHA-256 published"
        return f"{self.name} ({size}, {digits}, licence: {licence or 'not stated'})"


def format_size(size: float) -> str:
    """Give a number of bytes in words: '98 MB'."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def hub_file(repository: str, file: str, revision: str = "main") -> WeightsFile:
    """Give a file of a repository on Hugging Face's hub."""
    return WeightsFile(file, f"{HUB}/{repository}/resolve/{revision}/{file}")


@dataclass(frozen=True)
class KeyMapping:
    r"""From the tensors of a checkpoint to those of an architecture.

    Every tensor of the file must find its place or be named as unused, and every tensor of the
    architecture must be filled or be named as absent. Patterns are regular expressions that match
    a whole name.

    Attributes
    ----------
    container : tuple of str
        Path of the tensors in the file: `("state_dict",)` for `checkpoint["state_dict"]`.
    prefix : str
        Prefix of the names; it is removed, and tensors without it must be unused.
    rename : tuple of (str, str)
        Substitutions (`re.sub`: pattern, replacement), done one after the other, after the prefix.
    unused : tuple of str
        Patterns of names, as the file spells them, of tensors that the features do not need.
    absent : tuple of str
        Patterns of the architecture's tensors that the file lacks and the features do not need.
    in_order : bool
        The names have nothing in common, but tensors follow each other in the same order, with
        the same shapes and the same last part of the name.
    channels_last : bool
        Kernels are stored as height, width, input, output (JAX, TensorFlow), and matrices as
        input, output; torch has output first.
    shapes : tuple of (str, tuple of int)
        Patterns of names, as the file spells them, and the shape that the file has there: the size
        of a head that the features do not need tells one network from another.
    foreign : tuple of str
        Patterns of names, as the file spells them, that the network's own file lacks although the
        architecture has a place for them: a file with one is another network's.
    """

    container: tuple[str, ...] = ()
    prefix: str = ""
    rename: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    in_order: bool = False
    channels_last: bool = False
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    foreign: tuple[str, ...] = ()


@dataclass(frozen=True)
class Weights:
    """Pretrained weights: files, and how their tensors become the architecture's.

    Attributes
    ----------
    files : tuple of WeightsFile
        The first holds the tensors; others (configuration, tokenizer) lie beside it.
    keys : KeyMapping
        From the file's names to the architecture's.
    package : str
        Import name of the package that they come in, whose folder is found without importing it;
        empty for files that are downloaded.
    alternatives : tuple of WeightsFile
        Other published files with the tensors of the first, which may stand in its place.
    layouts : tuple of KeyMapping
        Other names under which the tensors of the same network are found.
    """

    files: tuple[WeightsFile, ...]
    keys: KeyMapping = KeyMapping()
    package: str = ""
    alternatives: tuple[WeightsFile, ...] = ()
    layouts: tuple[KeyMapping, ...] = ()

    @property
    def is_vouched_for(self) -> bool:
        """Whether a hash of the tensors' file, or the beginning of one, was published."""
        return bool(self.files[0].sha256)

    @property
    def is_named_tellingly(self) -> bool:
        """Whether a file's name tells whose it is: many repositories have 'model.safetensors'."""
        names = [PurePosixPath(file.name).stem for file in self.files]
        return len(names) == 1 and names[0] not in _COMMON_STEMS

    def published_as(self, index: int, name: str, sha256: str = "") -> WeightsFile:
        """Give the published file that a file is, by its hash, else its name; or the usual."""
        candidates = self.in_place_of(index)
        same = [file for file in candidates if file.is_published(sha256)]
        called = [file for file in candidates if file.base_name == name]
        return (*same, *called, candidates[0])[0]

    def describe(self, licence: str) -> str:
        """Give what a reader needs to find all files elsewhere, with their addresses."""
        return " and ".join(
            file.describe(licence) + (f" from {file.url}" if file.url else "")
            for file in self.files
        )

    def in_place_of(self, index: int) -> tuple[WeightsFile, ...]:
        """Give the files that may stand at a place of `files`, the usual one first."""
        return (self.files[index], *(self.alternatives if index == 0 else ()))


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB picture to a network's input.

    Attributes
    ----------
    resize : int
        The shorter side is brought to so many pixels.
    crop : int
        Side in pixels of the square taken from the centre.
    interpolation : str
        'bicubic', 'bilinear' ...
    mean, std : tuple of float
        Subtracted from, and divided into, red, green and blue in [0, 1].
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Network:
    """All that a model's features depend on, save the stimulus, weights and libraries' versions.

    Attributes
    ----------
    loader : str
        The code that builds it, see `conceptrsa.analysis.models.networks.load`.
    input : {'picture', 'label'}
        Part of a stimulus that it is shown.
    architecture : str
        In the words of the library that the loader uses.
    layer : str
        Name of the module whose output the features are.
    n_features : int
        Length of a feature vector.
    libraries : tuple of str
        Distributions whose versions may change the numbers.
    pooling : {'mean', 'flatten', 'first-token', 'last-token', 'label-token'}
        From the layer's output to one vector.
    weights, preprocessing : optional
        Its own weights and preprocessing, if it has any.
    half_precision : bool
        Whether it was trained in half precision, so that it may be run so.
    parts : tuple of Network
        The networks that a combined model is made of; they are not combined themselves.
    part_names : tuple of str
        Names of the parts as models.
    n_classes, class_prompt : optional
        ConSE: how many classes it combines, and the text for each, with `{label}` for its name.
    n_frames : optional
        Networks for films: the picture is shown as a film of so many equal frames.
    """

    loader: str
    input: Input
    architecture: str
    layer: str
    n_features: int
    libraries: tuple[str, ...]
    pooling: Pooling = "mean"
    weights: Weights | None = None
    preprocessing: Preprocessing | None = None
    half_precision: bool = False
    parts: tuple["Network", ...] = ()
    part_names: tuple[str, ...] = ()
    n_classes: int | None = None
    class_prompt: str | None = None
    n_frames: int | None = None

    @property
    def all_libraries(self) -> tuple[str, ...]:
        """Its own libraries and those of its parts, sorted."""
        names = set(self.libraries).union(*(part.all_libraries for part in self.parts))
        return tuple(sorted(names))


@dataclass(frozen=True)
class ModelEntry:
    """One model of the zoo: how it is called, what it is, and where it comes from.

    `note` is what a reader must know before believing its results; figures print it. `of_paper`
    says whether it is one of the sixteen networks of the paper.
    """

    name: str
    group: str
    source: str
    licence: str
    reference: str
    network: Network
    note: str = ""
    of_paper: bool = False

    @property
    def all_weights(self) -> tuple[tuple[str, Weights], ...]:
        """Its own weights and those of its parts, each with the name of the model they are of."""
        parts = zip(self.network.part_names, self.network.parts, strict=True)
        named = ((self.name, self.network), *parts)
        return tuple((name, network.weights) for name, network in named if network.weights)

    @property
    def full_note(self) -> str:
        """Its note, and whether nothing published tells its weights from others."""
        vouched = all(weights.is_vouched_for for _, weights in self.all_weights)
        return "; ".join(filter(None, [self.note, "" if vouched else UNVOUCHED_NOTE]))

    @property
    def packaged(self) -> bool:
        """Whether all its weights come inside packages."""
        return all(weights.package for _, weights in self.all_weights)


LIBRARIES: dict[str, tuple[str, ...]] = {
    "torchvision": ("pillow", "torch", "torchvision"),
    "timm": ("pillow", "timm", "torch", "torchvision"),
    "open_clip": ("open_clip_torch", "pillow", "timm", "torch", "torchvision"),
    "open_clip_text": ("ftfy", "open_clip_torch", "regex", "torch"),
    "hf": ("pillow", "torch", "transformers"),
    "hf_text": ("tokenizers", "torch", "transformers"),
}
"""Prefix of a name before its colon, and the distributions that the model needs."""


def versions_of(libraries: Iterable[str], model: str) -> dict[str, str]:
    """Give the versions of the distributions that a model's numbers depend on.

    Raises
    ------
    InputError
        One is not installed.
    """
    try:
        return {library: version(library) for library in libraries}
    except PackageNotFoundError as error:
        raise InputError(
            f"{model} needs the library {error.name}, which is not installed: "
            "pip install 'conceptrsa[networks]'."
        ) from error
