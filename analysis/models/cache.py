"""The feature cache: one small file a stimulus and model, named by all that it depends on."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_config.errors import InputError
from bids_config.files import atomic_path

FeatureVector = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureCache:
    """Feature vectors under a folder, found again by the description of how they were made.

    An entry is a `.npz` file named by the SHA-256 of its description. It holds the vector, the
    description as JSON, and a checksum of both, so that a damaged file is taken for missing.
    """

    folder: Path

    def load(self, description: Mapping[str, Any]) -> FeatureVector | None:
        """Give the vector of a description, or None where there is no intact one."""
        text = _as_text(description)
        try:
            with np.load(self._path(text), allow_pickle=False) as entry:
                values = np.asarray(entry["features"], dtype=np.float32)
                intact = str(entry["checksum"]) == _checksum(text, values)
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
            return None
        return values if intact else None

    def save(self, description: Mapping[str, Any], values: FeatureVector) -> None:
        """Keep the vector of a description; a half-written entry is never seen."""
        text = _as_text(description)
        try:
            with atomic_path(self._path(text)) as path:
                np.savez(path, features=values, description=text, checksum=_checksum(text, values))
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be written ({error}): give another folder for the cache."
            ) from error

    def _path(self, text: str) -> Path:
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / name[:2] / f"{name}.npz"


def _as_text(description: Mapping[str, Any]) -> str:
    return json.dumps(description, sort_keys=True)


def _checksum(text: str, values: FeatureVector) -> str:
    return hashlib.sha256(text.encode() + np.ascontiguousarray(values).tobytes()).hexdigest()


def hash_file(path: Path) -> str:
    """Give the SHA-256 of a file's content, as hexadecimal text."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
