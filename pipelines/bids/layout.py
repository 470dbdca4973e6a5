"""The files of a BIDS data set by their names, and which sidecars apply to them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.writing import require_content
from conceptrsa.pipelines.bids.database import open_layout

NIFTI = (".nii", ".nii.gz")
FUNC = "func"
"""The folder of BOLD runs; events beside other data, such as MEG or EEG, are of no BOLD run."""
_NUMBERED = re.compile(r"_(run|echo|inv|flip|chunk)-0*(?=[0-9])")
_OF_ONE_RUN = re.compile(r"_(echo|part)-[0-9a-zA-Z]+")


@dataclass(frozen=True)
class BidsFile:
    """A file and the entities in its name, as texts (`run` is '01', as written)."""

    path: Path
    entities: Mapping[str, str]

    @property
    def session(self) -> str | None:
        """Session label without `ses-`, None where there is none."""
        return self.entities.get("session")

    @property
    def run(self) -> str | None:
        """Run index as written in the name, None where there is none."""
        return self.entities.get("run")

    def describes(self, name_parts: Mapping[str, str], folder: Path) -> bool:
        """Tell whether this file applies to a data file in `folder` with these entities.

        BIDS' inheritance principle: it lies in that folder or above it, and its name has no
        entity that the data file's name has not, or has otherwise.
        """
        return all(
            name_parts.get(entity) == value
            for entity, value in self.entities.items()
            if entity not in ("suffix", "extension", "datatype")
        ) and folder.is_relative_to(self.path.parent)


@dataclass(frozen=True)
class Sidecar:
    """The metadata of a data file, merged from all JSON files that apply to it."""

    files: tuple[Path, ...]
    values: Mapping[str, Any]


class BidsDataset:
    """Names in a raw BIDS data set (derivatives and sourcedata are left out).

    Parameters
    ----------
    bids_dir : str or Path
        Root of the data set.
    database_dir : Path, optional
        Folder in which the index of the names is kept.

    Raises
    ------
    InputError
        When the folder is no raw BIDS data set.
    """

    def __init__(self, bids_dir: str | Path, database_dir: Path | None = None) -> None:
        self.root = Path(bids_dir).resolve()
        _check_description(self.root)
        self._layout = open_layout(self.root, database_dir)

    @cached_property
    def _files(self) -> tuple[BidsFile, ...]:
        paths = sorted(map(Path, self._layout.get_files()), key=lambda path: natural_key(str(path)))
        return tuple(BidsFile(path, self._entities(path)) for path in paths)

    def _entities(self, path: Path) -> dict[str, str]:
        # Of the path within the data set only: pybids would also take `ses-1` out of the name
        # of a folder above the root.
        within = f"/{path.relative_to(self.root).as_posix()}"
        found = self._layout.parse_file_entities(within)
        return {entity: str(value) for entity, value in found.items()}

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """Labels of the `sub-*` folders, in natural order."""
        folders = [path.name for path in self.root.glob("sub-*") if path.is_dir()]
        return tuple(sorted((name.removeprefix("sub-") for name in folders), key=natural_key))

    def sessions(self, subject: str) -> tuple[str, ...]:
        """Labels of a subject's `ses-*` folders, in natural order."""
        folders = [path.name for path in (self.root / f"sub-{subject}").glob("ses-*")]
        return tuple(sorted((name.removeprefix("ses-") for name in folders), key=natural_key))

    def find(self, suffix: str, extensions: tuple[str, ...], subject: str) -> tuple[BidsFile, ...]:
        """List a subject's files in natural order."""
        folder = str(self.root / f"sub-{subject}" / "_")[:-1]
        return tuple(
            file for file in self._with(suffix, extensions) if str(file.path).startswith(folder)
        )

    def applicable(self, file: BidsFile, suffix: str, extension: str) -> tuple[Path, ...]:
        """List the files that apply to `file` by the inheritance principle, nearest last."""
        found = [
            candidate
            for candidate in self._with(suffix, (extension,))
            if candidate.describes(file.entities, file.path.parent)
        ]
        found.sort(key=lambda candidate: (len(candidate.path.parts), len(candidate.entities)))
        return tuple(candidate.path for candidate in found)

    def sidecar(self, file: BidsFile) -> Sidecar:
        """Merge the JSON files that apply to `file`; the nearest has the last word."""
        paths = self.applicable(file, file.entities["suffix"], ".json")
        values: dict[str, Any] = {}
        for path in paths:
            values |= read_json_object(path)
        return Sidecar(paths, values)

    def _with(self, suffix: str, extensions: tuple[str, ...]) -> tuple[BidsFile, ...]:
        return tuple(
            file
            for file in self._by_suffix.get(suffix, ())
            if file.entities.get("extension") in extensions
        )

    @cached_property
    def _by_suffix(self) -> dict[str | None, list[BidsFile]]:
        files: dict[str | None, list[BidsFile]] = {}
        for file in self._files:
            files.setdefault(file.entities.get("suffix"), []).append(file)
        return files


def unpadded(name: str) -> str:
    """Give a file name without zeros in front of its numbers: run-01 and run-1 are one run."""
    return _NUMBERED.sub(r"_\1-", name)


def run_name(name: str) -> str:
    """Give what the names of all images of one run share: all but echo, part and extension."""
    return unpadded(_OF_ONE_RUN.sub("", name.split(".")[0]))


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Sort key in which 'run-2' comes before 'run-10'."""
    parts = re.split(r"(\d+)", text)
    return tuple((int(part), part) if part.isdigit() else (-1, part) for part in parts)


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; InputError where it does not."""
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        require_content(file)
        raise InputError(f"{file} cannot be read ({error.strerror}): restore it") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not valid JSON ({error}): mend it") from error
    if not isinstance(values, dict):
        raise InputError(f"{file} must hold a JSON object: mend it")
    return values


def _check_description(root: Path) -> None:
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: give the root of a BIDS data set")
    file = root / "dataset_description.json"
    require_content(file)
    if not file.exists():
        raise InputError(
            f"{root} is not a BIDS data set, it has no {file.name}: give the folder that holds "
            "the sub-* folders and that file"
        )
    if read_json_object(file).get("DatasetType") == "derivative":
        raise InputError(f"{root} is a BIDS derivative ({file.name} says so): give the raw data")
