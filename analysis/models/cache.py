"""The feature cache: vectors of stimuli, kept by all that they depend on."""

import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conceptrsa.analysis.arrays import Singles
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import atomic_path, write_text

FeatureVector = Singles
RECIPE_FILE = "recipe.json"
SECONDS_PER_PART = 30.0
"""After so long what was computed is written, so that a killed run loses little."""

_DAMAGE = (OSError, EOFError, LookupError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Part:
    """What one pass of a network gave: some stimuli, one or more layers.

    Attributes
    ----------
    inputs : tuple of str
        Hash of each stimulus.
    columns : dict of str to ndarray of float32, (inputs, features)
        By layer and pooling.
    """

    inputs: tuple[str, ...]
    columns: dict[str, Singles]


@dataclass(frozen=True)
class RecipeCache:
    """The features that one network gave, prepared and run in one way.

    Its folder is named by the SHA-256 of the recipe, which it holds as JSON. Each pass of the
    network is a `.npz` file of its own in there (arrays `inputs`, `columns` and one a column), so
    that nothing is written twice and processes do not get into each other's way. A column comes
    with a checksum: a damaged one is taken for missing.

    Attributes
    ----------
    cache_dir : Path
        Holds the folders of all recipes.
    recipe : mapping
        All that features depend on besides stimulus, layer and pooling; as JSON can hold it.
    """

    cache_dir: Path
    recipe: Mapping[str, Any]

    @cached_property
    def folder(self) -> Path:
        """Where the recipe's features are."""
        digest = hashlib.sha256(self._recipe_text.encode()).hexdigest()
        return self.cache_dir / digest[:2] / digest

    @cached_property
    def _recipe_text(self) -> str:
        return json.dumps(self.recipe, sort_keys=True, indent=1)

    def load(
        self, inputs: Sequence[str], columns: Sequence[str]
    ) -> dict[str, dict[str, FeatureVector]]:
        """Give the vectors that are there, by column and input."""
        found: dict[str, dict[str, FeatureVector]] = {column: {} for column in columns}
        wanted = set(inputs)
        for file in sorted(self.folder.glob("*.npz")):
            # Of a damaged file, what stands before the damage is taken.
            with suppress(*_DAMAGE), np.load(file, allow_pickle=False) as arrays:
                content = [str(entry) for entry in arrays["inputs"]]
                rows = [row for row, entry in enumerate(content) if entry in wanted]
                if not rows:
                    continue
                checksums = arrays["checksums"]
                for index, column in enumerate(map(str, arrays["columns"])):
                    if column not in found:
                        continue
                    values = np.asarray(arrays[f"column_{index}"], dtype=np.float32)
                    if _checksum(content, column, values) == checksums[index]:
                        found[column].update((content[row], values[row]) for row in rows)
        return found

    def save(self, part: Part) -> None:
        """Keep what a pass gave; a half-written file is never seen.

        Raises
        ------
        InputError
            The folder cannot be written.
        """
        arrays: dict[str, Any] = {
            "inputs": np.array(part.inputs),
            "columns": np.array(list(part.columns), dtype=np.str_),
            "checksums": np.array([_checksum(part.inputs, *item) for item in part.columns.items()]),
        }
        for index, values in enumerate(part.columns.values()):
            arrays[f"column_{index}"] = values
        identity = "\n".join([*part.inputs, "", *part.columns])
        name = hashlib.sha256(identity.encode()).hexdigest()
        with self._written(f"{name}.npz") as path:
            np.savez(path, **arrays)

    def load_list(self, name: str) -> tuple[str, ...] | None:
        """Give a list of layers that was kept before, or None."""
        try:
            kept = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        sound = isinstance(kept, list) and all(isinstance(entry, str) for entry in kept)
        return tuple(kept) if sound and kept else None

    def save_list(self, name: str, entries: Sequence[str]) -> None:
        """Keep a list of layers."""
        with self._written(f"{name}.json") as path:
            path.write_text(json.dumps(list(entries)), encoding="utf-8")

    @contextmanager
    def _written(self, name: str) -> Iterator[Path]:
        """Give the path for a new file of the folder, which is described with its first one."""
        try:
            with atomic_path(self.folder / name) as path:
                yield path
            recipe = self.folder / RECIPE_FILE
            if not recipe.exists():
                write_text(recipe, self._recipe_text)
        except OSError as error:
            raise InputError(
                f"{self.cache_dir} cannot be written ({error}): give another folder for the cache."
            ) from error


def gathered(parts: Iterable[Part], save: Callable[[Part], None]) -> Iterator[Part]:
    """Pass parts on, and save them joined, many at a time and whatever ends the run.

    Parameters
    ----------
    parts : iterable of Part
        With the same columns.
    save : callable
        Called for the parts of `SECONDS_PER_PART` each, and for what is there at the end or when
        the run is interrupted.
    """
    waiting: list[Part] = []
    start = time.monotonic()
    try:
        for part in parts:
            waiting.append(part)
            yield part
            if time.monotonic() - start > SECONDS_PER_PART:
                save(_joined(waiting))
                waiting, start = [], time.monotonic()
    finally:
        if waiting:
            save(_joined(waiting))


def _joined(parts: Sequence[Part]) -> Part:
    inputs = tuple(entry for part in parts for entry in part.inputs)
    columns = {
        column: np.concatenate([part.columns[column] for part in parts])
        for column in parts[0].columns
    }
    return Part(inputs, columns)


def _checksum(inputs: Sequence[str], column: str, values: Singles) -> str:
    digest = hashlib.sha256("\n".join([*inputs, column]).encode())
    digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
    return digest.hexdigest()
