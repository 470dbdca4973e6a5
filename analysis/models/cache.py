"""The feature cache: vectors of stimuli, kept by all that they depend on."""

import hashlib
import json
import time
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conceptrsa.analysis.arrays import Booleans, Singles
from conceptrsa.analysis.models.feature_arrays import FeatureArrays, make_arrays
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import atomic_path, write_text

FeatureVector = Singles
RECIPE_FILE = "recipe.json"
SECONDS_PER_PART, BYTES_PER_PART = 30.0, 32_000_000
"""After so long, or so much, what was computed is written: a killed run loses little."""

_DAMAGE = (
    OSError, EOFError, LookupError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Features of one pass of a network: some stimuli, one or more layers.

    Attributes
    ----------
    inputs : tuple of str
        Hash of each stimulus.
    columns : dict of str to ndarray of float32, (inputs, features)
        By layer and pooling.
    """

    inputs: tuple[str, ...]
    columns: dict[str, Singles]

    @property
    def n_bytes(self) -> int:
        """Memory of all columns."""
        return sum(values.nbytes for values in self.columns.values())


@dataclass(frozen=True)
class _OpenPart:
    """A file of the cache, and which of the wanted inputs it holds.

    Attributes
    ----------
    arrays : NpzFile
    inputs : tuple of str
        All that it holds.
    checksums : dict of str to (str, str)
        Of each column: what the file calls it, and its checksum.
    rows, places : list of int
        Rows in the file, and among the wanted inputs.
    """

    arrays: Any
    inputs: tuple[str, ...]
    checksums: dict[str, tuple[str, str]]
    rows: list[int]
    places: list[int]

    def read(self, column: str) -> Singles | None:
        """Vectors of the wanted inputs; None where they are not there, or damaged."""
        with suppress(*_DAMAGE):
            name, checksum = self.checksums[column]
            values: Singles = np.asarray(self.arrays[name], dtype=np.float32)
            if _checksum(self.inputs, column, values) == checksum:
                return values[self.rows]
        return None


@dataclass(frozen=True)
class RecipeCache:
    """The features that one network gave, prepared and run in one way.

    Its folder is named by the SHA-256 of the recipe, which it holds as JSON. What the network gave
    in some seconds is a `.npz` file of its own in there (arrays `inputs`, `columns` and one a
    column), so that nothing is written twice and processes do not get into each other's way. A
    column comes with a checksum: a damaged one is taken for missing.

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
        """Folder of the recipe's features."""
        digest = hashlib.sha256(self._recipe_text.encode()).hexdigest()
        return self.cache_dir / digest[:2] / digest

    @cached_property
    def _recipe_text(self) -> str:
        return json.dumps(self.recipe, sort_keys=True, indent=1)

    def find(self, inputs: Sequence[str], columns: Sequence[str]) -> Booleans:
        """Tell which vectors the files list, (columns, inputs); damage is seen by `gather` only."""
        found = np.zeros((len(columns), len(inputs)), dtype=bool)
        for part in self._parts(inputs):
            for row, column in enumerate(columns):
                if column in part.checksums:
                    found[row, part.places] = True
        return found

    def gather(
        self, inputs: Sequence[str], columns: Sequence[str]
    ) -> tuple[FeatureArrays, Booleans]:
        """Read the vectors that are there.

        Returns
        -------
        FeatureArrays
            By column, (inputs, features); rows of vectors that are not there hold any numbers.
        ndarray of bool, (columns, inputs)
            Which vectors are there.
        """
        gathered = make_arrays(len(inputs), self._lengths(inputs, columns), self.folder)
        found = np.zeros((len(columns), len(inputs)), dtype=bool)
        for part in self._parts(inputs):
            for row, column in enumerate(columns):
                values, room = part.read(column), gathered.columns[column]
                # Another length, or none, where another process has just written the first part.
                if values is not None and values.shape[1] == room.shape[1]:
                    room[part.places] = values
                    found[row, part.places] = True
            gathered.release()
        return gathered, found

    def _lengths(self, inputs: Sequence[str], columns: Sequence[str]) -> dict[str, int]:
        """Length of the vectors of each column, 0 of those that are not there."""
        lengths = dict.fromkeys(columns, 0)
        for part in self._parts(inputs):
            for column in columns:
                values = None if lengths[column] else part.read(column)
                if values is not None:
                    lengths[column] = values.shape[1]
            if all(lengths.values()):
                break
        return lengths

    def _parts(self, inputs: Sequence[str]) -> Iterator[_OpenPart]:
        """Open each file that holds some of the inputs."""
        places = defaultdict(list)
        for place, content in enumerate(inputs):
            places[content].append(place)
        for file in sorted(self.folder.glob("*.npz")):
            with suppress(*_DAMAGE), np.load(file, allow_pickle=False) as arrays:
                held = tuple(map(str, arrays["inputs"]))
                pairs = [
                    (row, place)
                    for row, content in enumerate(held)
                    for place in places.get(content, ())
                ]
                if pairs:
                    rows, wanted = map(list, zip(*pairs, strict=True))
                    names = [f"column_{index}" for index in range(len(arrays["columns"]))]
                    described = zip(names, map(str, arrays["checksums"]), strict=True)
                    checksums = dict(zip(map(str, arrays["columns"]), described, strict=True))
                    yield _OpenPart(arrays, held, checksums, rows, wanted)

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
                f"{self.cache_dir} cannot be written ({error}): give another folder with "
                "--cache-dir."
            ) from error


def save_parts(parts: Iterable[Part], cache: RecipeCache) -> None:
    """Save parts joined, many at a time, and what is there whatever ends the run.

    Parameters
    ----------
    parts : iterable of Part
        With the same columns.
    cache : RecipeCache
    """
    waiting: list[Part] = []
    n_bytes, start = 0, time.monotonic()
    try:
        for part in parts:
            waiting.append(part)
            n_bytes += part.n_bytes
            if n_bytes > BYTES_PER_PART or time.monotonic() - start > SECONDS_PER_PART:
                cache.save(_joined(waiting))
                waiting, n_bytes, start = [], 0, time.monotonic()
    finally:
        if waiting:
            cache.save(_joined(waiting))


def _joined(parts: Sequence[Part]) -> Part:
    inputs = tuple(entry for part in parts for entry in part.inputs)
    columns = {
        column: np.concatenate([part.columns[column] for part in parts])
        for column in parts[0].columns
    }
    return Part(inputs, columns)


def _checksum(inputs: Sequence[str], column: str, values: Singles) -> str:
    digest = hashlib.sha256("\n".join([*inputs, column]).encode())
    digest.update(np.ascontiguousarray(values, dtype="<f4").data)
    return digest.hexdigest()
