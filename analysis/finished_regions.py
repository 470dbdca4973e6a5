"""What was found in regions, kept on disk until a comparison is finished, so that it can go on.

A file is a `.npz` without pickled objects, for folders are handed on: arrays, and a description in
JSON of what they belong to. NumPy checks them as it reads; what is damaged is computed again.
"""

import hashlib
import json
import platform
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.brain.patterns import RoiPatterns, Subjects
from conceptrsa.analysis.inference.generalisation import CeilingEstimates, Generalisation
from conceptrsa.analysis.inference.population_inference import RegionInference
from conceptrsa.analysis.inference.random_effects import Estimates, Ratios
from conceptrsa.analysis.models.model_set import ModelSet
from conceptrsa.analysis.multiverse import MultiverseRow, RegionMultiverse
from conceptrsa.analysis.results import RoiResult
from conceptrsa.analysis.rsa.ceiling_sweep import CeilingSweep
from conceptrsa.analysis.rsa.noise_ceiling import NoiseCeiling
from conceptrsa.analysis.settings import is_own
from conceptrsa.analysis.single_region import Plan, RegionAnalysis, RegionFindings
from conceptrsa.bids_config.names import warn_once
from conceptrsa.bids_config.writing import atomic_path

FOLDER = ".finished-regions"
SECONDS_WORTH_KEEPING = 0.5
"""What took less is computed again as quickly as it is found."""

KINDS = {
    kind.__name__: kind
    for kind in (
        CeilingEstimates, CeilingSweep, Estimates, Generalisation, MultiverseRow, NoiseCeiling,
        Ratios, RegionAnalysis, RegionFindings, RegionInference, RegionMultiverse, RoiResult,
    )
}  # fmt: skip
"""What findings are made of."""

_LIBRARIES = ("conceptrsa", "numba", "numpy", "scipy")
_DAMAGE = (
    OSError, EOFError, LookupError, ValueError, TypeError, RecursionError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """Some of the regions, in turn: of three parts, the first has the first, fourth, ... one.

    Attributes
    ----------
    number : int
        From 1 on.
    n_parts : int
    """

    number: int
    n_parts: int


@dataclass(frozen=True)
class FinishedRegions:
    """The regions of one comparison that are finished.

    They are known by all that their numbers depend on: patterns or RDMs, models, settings, and the
    versions of this program and of the libraries that compute.

    Attributes
    ----------
    work_dir : Path
        Where they are kept, each comparison's in a folder of its own.
    subjects : sequence of SubjectPatterns or of SubjectRdms
    plan : Plan
    """

    work_dir: Path
    subjects: Subjects
    plan: Plan

    def load(self, roi: str) -> RegionFindings | None:
        """Give what was found in a region, or None."""
        if not self._was_interrupted:
            return None
        with suppress(*_DAMAGE), np.load(self._file(roi), allow_pickle=False) as arrays:
            description = json.loads(arrays["description"].tobytes())
            found = _made(description, [arrays[f"array_{n}"] for n in range(len(arrays) - 1)])
            if isinstance(found, RegionFindings):
                return found
        return None

    def has(self, roi: str) -> bool:
        """Whether a region is kept."""
        return self._file(roi).is_file()

    def count(self) -> int:
        """How many regions are kept."""
        return sum(not file.name.startswith(".") for file in self._folder.glob("*.npz"))

    @cached_property
    def _was_interrupted(self) -> bool:
        """Whether there was anything before; else data need not be hashed to look for it."""
        return self._folder.is_dir()

    def save(self, roi: str, found: RegionFindings) -> None:
        """Keep what was found in a region; where there is no place for it, say so and go on."""
        arrays: list[NDArray[Any]] = []
        description = json.dumps(_described(found, arrays)).encode()
        named: dict[str, Any] = {f"array_{n}": array for n, array in enumerate(arrays)}
        try:
            with atomic_path(self._file(roi)) as path, path.open("wb") as opened:
                np.savez(opened, description=np.frombuffer(description, np.uint8), **named)
        except OSError as error:
            warn_once(
                f"finished regions cannot be kept in {self.work_dir} ({error.strerror or error}): "
                "if this comparison is interrupted, it will start again from the first"
            )

    def _file(self, roi: str) -> Path:
        digest = hashlib.sha256(roi.encode())
        for name in (roi, self.plan.settings.threshold_roi):
            digest.update(self._hash_of_data(name))
        return self._folder / f"{digest.hexdigest()}.npz"

    def _hash_of_data(self, roi: str) -> bytes:
        """Of all subjects' patterns or RDMs; nothing where there is no such region."""
        if roi == self.plan.settings.threshold_roi:
            return self._hash_of_threshold_roi
        return _hash_of_data(self.subjects, roi)

    @cached_property
    def _hash_of_threshold_roi(self) -> bytes:
        return _hash_of_data(self.subjects, self.plan.settings.threshold_roi)

    @cached_property
    def _folder(self) -> Path:
        """Named by what all regions have in common."""
        plan = self.plan
        known = {
            "versions": _versions(),
            "settings": [repr(plan.settings), repr(plan.variants), repr(plan.sweep)],
            "multiverse": repr(plan.multiverse),
            "subjects": [(subject.label, subject.origin) for subject in self.subjects],
            "models": _hash_of_models(plan.model_set),
        }
        text = json.dumps(known, sort_keys=True)
        return self.work_dir / FOLDER / hashlib.sha256(text.encode()).hexdigest()[:32]


def can_be_kept(plan: Plan) -> bool:
    """Whether what is found depends on nothing but numbers, and on no function of the user's."""
    settings = plan.settings
    return not (plan.own or is_own(settings.rdm_metric) or is_own(settings.rsa_metric))


def remove_finished(work_dir: Path) -> None:
    """Remove all regions that are kept in a folder; nothing else, and nothing that it links to."""
    _remove(work_dir / FOLDER)


def _remove(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        return
    with suppress(OSError):
        for entry in folder.iterdir():
            if entry.suffix == ".npz":
                entry.unlink(missing_ok=True)
            else:
                _remove(entry)
        folder.rmdir()


def _versions() -> dict[str, str]:
    """Of what computes; of this program also the source, which may be changed between two runs."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    source = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        source.update(file.read_bytes())
    return found | {"source": source.hexdigest()}


def _hash_of_models(model_set: ModelSet) -> str:
    digest = hashlib.sha256(repr((model_set.names, model_set.groups, model_set.stimuli)).encode())
    for sha256 in model_set.hashes:
        digest.update(sha256.encode())
    return digest.hexdigest()


def _hash_of_data(subjects: Subjects, roi: str) -> bytes:
    digest = hashlib.sha256()
    for subject in subjects:
        data = subject.rois.get(roi)
        arrays = (
            (data.values, data.odd, data.even, data.runs, data.residual_covariance)
            if isinstance(data, RoiPatterns)
            else (data,)
        )
        for array in arrays:
            if array is None:
                digest.update(b"none")
            else:
                digest.update(f"{array.shape}{array.dtype}".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _described(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """Say in JSON what a value is made of; its arrays are put beside."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if is_dataclass(value) or hasattr(value, "_fields"):
        return {"kind": type(value).__name__, "parts": _described(dict(_parts(value)), arrays)}
    if isinstance(value, tuple):
        if len({type(entry) for entry in value}) == 1 and is_dataclass(value[0]):
            return {"rows": type(value[0]).__name__, "parts": _columns(value, arrays)}
        return {"tuple": [_described(entry, arrays) for entry in value]}
    if isinstance(value, Mapping):
        return {
            "mapping": [
                [_described(key, arrays), _described(entry, arrays)] for key, entry in value.items()
            ]
        }
    return value


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    names = value._fields if hasattr(value, "_fields") else [part.name for part in fields(value)]
    for name in names:
        yield name, getattr(value, name)


def _columns(rows: Sequence[Any], arrays: list[NDArray[Any]]) -> Any:
    """Columns of rows that are alike: numbers as arrays, which takes less time and space."""
    columns = {}
    for part in fields(rows[0]):
        values = [getattr(row, part.name) for row in rows]
        if all(type(value) is float for value in values):
            columns[part.name] = _described(np.array(values), arrays)
        else:
            columns[part.name] = _described(tuple(values), arrays)
    return {"mapping": [[name, column] for name, column in columns.items()]}


def _made(described: Any, arrays: Sequence[NDArray[Any]]) -> Any:
    """Make a value of what `_described` says of it."""
    if not isinstance(described, dict):
        return described
    if "array" in described:
        return arrays[described["array"]]
    if "tuple" in described:
        return tuple(_made(entry, arrays) for entry in described["tuple"])
    if "mapping" in described:
        return {_made(key, arrays): _made(entry, arrays) for key, entry in described["mapping"]}
    parts = _made(described["parts"], arrays)
    if "kind" in described:
        return KINDS[described["kind"]](**parts)
    kind = KINDS[described["rows"]]
    columns = [
        column.tolist() if isinstance(column, np.ndarray) else column for column in parts.values()
    ]
    return tuple(kind(**dict(zip(parts, row, strict=True))) for row in zip(*columns, strict=True))
