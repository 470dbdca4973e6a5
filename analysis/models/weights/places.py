"""Find files of a model's weights on this machine, by their names alone."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from conceptrsa.analysis.models.feature_files import file_stem
from conceptrsa.analysis.models.registry import ModelEntry, Weights
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import did_you_mean

_HUB = "huggingface.co"
_COMMIT = re.compile("[0-9a-f]{40}")
_is_file = os.path.isfile
"""A path's own method raises where a folder may not be read."""


@dataclass(frozen=True)
class WeightsOptions:
    """Places of files of weights, and whether they may be downloaded.

    Attributes
    ----------
    cache : Path
        Folder in which downloads are kept.
    given : mapping of str to Path
        Model to its file of weights, or to the folder of its files (`--weights`).
    folder : Path, optional
        Holds files under their official names, or sub-folders named after models
        (`--weights-dir`).
    offline : bool
        Nothing is downloaded.
    accept_unverified : bool
        Take files that differ from those that were published (`--accept-unverified-weights`).
    """

    cache: Path
    given: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None
    offline: bool = False
    accept_unverified: bool = False


def read_given(arguments: Iterable[str]) -> dict[str, Path]:
    """Read `NAME=PATH` of `--weights` options.

    Raises
    ------
    InputError
        One is not of that form, or a model is named twice.
    """
    given: dict[str, Path] = {}
    for argument in arguments:
        name, _, path = argument.partition("=")
        if not name or not path:
            raise InputError(f"--weights {argument}: write it as NAME=PATH, model and file.")
        if name.lower() in map(str.lower, given):
            raise InputError(f"--weights names {name} twice: give one path for each model.")
        given[name] = Path(path)
    return given


def require_given_asked(options: WeightsOptions, names: Iterable[str]) -> None:
    """Check that paths were given only for models that are asked for.

    Raises
    ------
    InputError
        `--weights` names another model.
    """
    asked = {name.lower(): name for name in names}
    for name in options.given:
        if name.lower() not in asked:
            raise InputError(
                f"--weights names {name!r}, which is not one of the requested models"
                f"{did_you_mean(name, asked.values())}: choose among {', '.join(asked.values())}."
            )


def find_files(name: str, weights: Weights, options: WeightsOptions) -> tuple[Path, ...] | None:
    """Find the files of a model's weights by name, without reading or downloading them.

    Parameters
    ----------
    name : str
        Name of the model.
    weights : Weights
        Its files, of which all must be in one place.
    options : WeightsOptions
        Where to look, in this order: what was given for the model, the user's folder, the package
        that they come in, earlier downloads, and the caches of other libraries.

    Returns
    -------
    tuple of Path or None
        In the order of `weights.files`; None where they are not on this machine.

    Raises
    ------
    InputError
        What was given for the model is not there, or the user's folder is not.
    """
    return next((found.files for found in search_files(name, weights, options)), None)


def weights_present(entry: ModelEntry, options: WeightsOptions) -> bool:
    """Whether the files of a model and its parts are on this machine; they are not read.

    Raises
    ------
    InputError
        See `find_files`.
    """
    return all(find_files(name, weights, options) for name, weights in entry.all_weights)


def weights_chosen(entry: ModelEntry, options: WeightsOptions) -> bool:
    """Whether all the files are in an installed package, or where the user says that they are.

    Earlier downloads and the caches of other programs do not count.

    Raises
    ------
    InputError
        See `find_files`.
    """
    places = [next(search_files(*named, options), None) for named in entry.all_weights]
    return all(found is not None and found.is_put_there for found in places)


@dataclass(frozen=True)
class FoundFiles:
    """Files in one place.

    Attributes
    ----------
    files : tuple of Path
    chosen : bool
        Whether a file that is not the published one is an error; others' files are passed over.
    is_put_there : bool
        Whether the user or a package put them there, not a download.
    """

    files: tuple[Path, ...]
    chosen: bool = True
    is_put_there: bool = True


def search_files(name: str, weights: Weights, options: WeightsOptions) -> Iterator[FoundFiles]:
    """Give every place that holds all files, best first; nothing beyond a path that was given.

    Raises
    ------
    InputError
        See `find_files`.
    """
    given = {model.lower(): path for model, path in options.given.items()}.get(name.lower())
    if given is not None:
        yield FoundFiles(_take_given(name, weights, given.expanduser()))
        return
    if options.folder is not None:
        yield from _search_folder(name, weights, options.folder.expanduser())
    if (folder := package_folder(weights)) and (files := _files_in(folder, weights)):
        yield FoundFiles(files)
    if (folder := download_folder(weights, options)) and (files := _files_in(folder, weights)):
        yield FoundFiles(files, is_put_there=False)
    for folder in _library_folders(weights):
        files = _files_in(folder, weights) or ()
        published = [weights.published_as(index, file.name) for index, file in enumerate(files)]
        if files and all(
            known.size in (None, file.stat().st_size)
            for known, file in zip(published, files, strict=True)
        ):
            yield FoundFiles(files, chosen=False, is_put_there=False)


def _take_given(name: str, weights: Weights, path: Path) -> tuple[Path, ...]:
    said = f"--weights {name}={path}"
    if not os.path.lexists(path):
        raise InputError(f"{said}: the file does not exist, correct the path.")
    if len(weights.files) == 1 and _is_file(path):
        return (path,)
    return _require_files(path, weights, said)


def _search_folder(name: str, weights: Weights, folder: Path) -> Iterator[FoundFiles]:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"--weights-dir {folder} cannot be read ({error.strerror or error}): give a folder "
            "with files of weights."
        ) from error
    for subfolder in inside:
        if subfolder.name.lower() in (name.lower(), file_stem(name).lower()) and subfolder.is_dir():
            yield FoundFiles(
                _require_files(subfolder, weights, f"{subfolder}, named after {name},")
            )
    if files := _files_in(folder, weights):
        yield FoundFiles(files, chosen=weights.is_named_tellingly)


def _library_folders(weights: Weights) -> Iterator[Path]:
    """Give the folders that may hold the files: torch hub's, CLIP's, and Hugging Face's."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    if weights.is_named_tellingly:
        torch = Path(os.environ.get("TORCH_HOME") or caches / "torch")
        flat = [torch / "hub" / "checkpoints", Path("~/.cache/clip"), caches / "clip"]
        yield from dict.fromkeys(folder.expanduser() for folder in flat)
    address = urlsplit(weights.files[0].url)
    repository, _, rest = unquote(address.path).strip("/").partition("/resolve/")
    if address.hostname != _HUB or not rest:
        return
    hub = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    home = Path(os.environ.get("HF_HOME") or caches / "huggingface")
    folder = Path(hub or home / "hub").expanduser() / f"models--{repository.replace('/', '--')}"
    revision = rest.split("/")[0]
    try:
        named = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        named = revision
    yield folder / "snapshots" / named
    if not _COMMIT.fullmatch(revision):
        yield from sorted(folder.glob("snapshots/*"))


def package_folder(weights: Weights) -> Path | None:
    """Find the package's folder without importing it."""
    try:
        spec = find_spec(weights.package) if weights.package else None
    except (ImportError, ValueError):
        return None
    locations = spec.submodule_search_locations if spec else None
    return Path(next(iter(locations))) if locations else None


def download_folder(weights: Weights, options: WeightsOptions) -> Path | None:
    """Name a folder after the address, so that models with the same weights share it."""
    url = weights.files[0].url
    if not url:
        return None
    address = urlsplit(url)
    place = f"{address.hostname}{PurePosixPath(address.path).parent}"
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", place)[-60:].strip("-.")
    return options.cache / f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _files_in(folder: Path, weights: Weights) -> tuple[Path, ...] | None:
    """Give the files under a folder if all are there, with or without their folders."""
    for attribute in ("name", "base_name"):
        for first in weights.in_place_of(0):
            published = (first, *weights.files[1:])
            files = tuple(folder / getattr(file, attribute) for file in published)
            if all(map(_is_file, files)):
                return files
    return None


def _require_files(folder: Path, weights: Weights, said: str) -> tuple[Path, ...]:
    if files := _files_in(folder, weights):
        return files
    names = [
        [file.base_name for file in weights.in_place_of(index)]
        for index in range(len(weights.files))
    ]
    lacking = ", ".join(
        " or ".join(some) for some in names if not any(_is_file(folder / name) for name in some)
    )
    raise InputError(
        f"{said} lacks {lacking}: put it there under this name, or give another folder."
    )
