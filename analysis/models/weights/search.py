"""Where on this machine the files of a model's weights are, by their names alone."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from conceptrsa.analysis.models.feature_files import file_stem
from conceptrsa.analysis.models.registry import Weights, WeightsFile
from conceptrsa.analysis.models.weights.weight_options import WeightsOptions
from conceptrsa.bids_config.errors import InputError

_HUB = "huggingface.co"
_COMMIT = re.compile("[0-9a-f]{40}")
_COMMON_STEMS = ("model", "pytorch_model", "open_clip_model", "open_clip_pytorch_model", "weights")


def names_are_telling(weights: Weights) -> bool:
    """Whether the file's name tells whose it is: many repositories hold a 'model.safetensors'."""
    names = [PurePosixPath(file.name).stem for file in weights.files]
    return len(names) == 1 and names[0] not in _COMMON_STEMS


def library_folders(
    weights: Weights, environment: Mapping[str, str] = os.environ
) -> Iterator[Path]:
    """Give the folders that may hold the files: torch hub's, CLIP's, and Hugging Face's."""
    caches = Path(environment.get("XDG_CACHE_HOME") or "~/.cache")
    torch = Path(environment.get("TORCH_HOME") or caches / "torch")
    flat = [torch / "hub" / "checkpoints", Path("~/.cache/clip"), caches / "clip"]
    if names_are_telling(weights):
        yield from dict.fromkeys(folder.expanduser() for folder in flat)
    home = Path(environment.get("HF_HOME") or caches / "huggingface")
    hub = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    yield from _snapshots(weights, Path(hub or home / "hub").expanduser())


def _snapshots(weights: Weights, hub: Path) -> Iterator[Path]:
    """Give the stored revisions of a repository: the one that the address names comes first."""
    address = urlsplit(weights.files[0].url)
    repository, _, rest = unquote(address.path).strip("/").partition("/resolve/")
    if address.hostname != _HUB or not rest:
        return
    revision = rest.split("/")[0]
    folder = hub / f"models--{repository.replace('/', '--')}"
    try:
        named = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        named = revision
    yield folder / "snapshots" / named
    if _COMMIT.fullmatch(revision):
        return
    try:
        others = sorted((folder / "snapshots").iterdir())
    except OSError:
        return
    yield from (other for other in others if other.name != named)


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


def weights_present(name: str, weights: Weights, options: WeightsOptions) -> bool:
    """Whether the files are on this machine; their content is not looked at.

    Raises
    ------
    InputError
        See `find_files`.
    """
    return find_files(name, weights, options) is not None


def weights_chosen(name: str, weights: Weights, options: WeightsOptions) -> bool:
    """Whether the files are in an installed package, or where the user says that they are.

    Earlier downloads and the caches of other programs do not count.

    Raises
    ------
    InputError
        See `find_files`.
    """
    found = find_files(name, weights, options)
    if found is None:
        return False
    folder = options.folder.expanduser() if options.folder else None
    is_given = name.lower() in map(str.lower, options.given)
    places = filter(None, (folder, package_folder(weights)))
    return is_given or any(file.is_relative_to(place) for place in places for file in found)


@dataclass(frozen=True)
class FoundFiles:
    """Files in one place; `chosen` where the user, or this package, put them there."""

    files: tuple[Path, ...]
    chosen: bool = True


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
    for folder in filter(None, [package_folder(weights), download_folder(weights, options)]):
        if files := _files_in(folder, weights):
            yield FoundFiles(files)
    for folder in library_folders(weights):
        files = _files_in(folder, weights)
        if files and all(
            _has_right_size(published_as(weights, index, file), file)
            for index, file in enumerate(files)
        ):
            yield FoundFiles(files, chosen=False)


def _take_given(name: str, weights: Weights, path: Path) -> tuple[Path, ...]:
    if _is_folder(path):
        if files := _files_in(path, weights):
            return files
        raise InputError(
            f"--weights {name}={path}: the folder lacks {_lacking(path, weights)}, put it there "
            "under this name or name another folder."
        )
    if not _is_file(path):
        raise InputError(f"--weights {name}={path}: there is no such file, correct the path.")
    if len(weights.files) > 1:
        needed = ", ".join(base_name(file) for file in weights.files)
        raise InputError(
            f"--weights {name}={path} is one file, but {needed} are needed: name the folder that "
            "holds them."
        )
    return (path,)


def _search_folder(name: str, weights: Weights, folder: Path) -> Iterator[FoundFiles]:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"--weights-dir {folder} cannot be read ({error.strerror or error}): name the folder "
            "that holds files of weights."
        ) from error
    names = {name.lower(), file_stem(name).lower()}
    for subfolder in inside:
        if subfolder.name.lower() not in names or not subfolder.is_dir():
            continue
        if not (files := _files_in(subfolder, weights)):
            raise InputError(
                f"{subfolder} lacks {_lacking(subfolder, weights)} of {name}: put it there under "
                "this name, or give the folder another name."
            )
        yield FoundFiles(files)
    if files := _files_in(folder, weights):
        yield FoundFiles(files, chosen=names_are_telling(weights))


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
    for name_of in (lambda file: file.name, base_name):
        for first in weights.in_place_of(0):
            files = tuple(folder / name_of(file) for file in (first, *weights.files[1:]))
            if all(map(_is_file, files)):
                return files
    return None


def published_as(weights: Weights, index: int, path: Path, sha256: str = "") -> WeightsFile:
    """Give the published file that a file is, by its hash or else its name; or the usual one."""
    candidates = weights.in_place_of(index)
    same = [file for file in candidates if sha256 and is_published(file, sha256)]
    called = [file for file in candidates if base_name(file) == path.name]
    return (*same, *called, candidates[0])[0]


def is_published(file: WeightsFile, sha256: str) -> bool:
    """Tell whether a SHA-256 is the one that was published, or begins so."""
    return bool(file.sha256) and sha256.startswith(file.sha256.lower())


def _lacking(folder: Path, weights: Weights) -> str:
    names = [
        [base_name(file) for file in weights.in_place_of(index)]
        for index in range(len(weights.files))
    ]
    return ", ".join(
        " or ".join(some) for some in names if not any(_is_file(folder / name) for name in some)
    )


def base_name(file: WeightsFile) -> str:
    """Give a file's name without folders."""
    return PurePosixPath(file.name).name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _has_right_size(file: WeightsFile, path: Path) -> bool:
    return file.size in (None, path.stat().st_size)
