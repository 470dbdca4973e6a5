"""The files of a BIDS data set by their names: entities, filters, and which sidecars apply."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import did_you_mean, natural_key
from conceptrsa.bids_config.writing import file_errors, require_content

DESCRIPTION = "dataset_description.json"
NIFTI = (".nii", ".nii.gz")
FUNC = "func"
"""The folder of BOLD runs; events beside other data, such as MEG or EEG, are of no BOLD run."""
NUMBERED = ("run", "echo", "inv", "flip", "chunk")
LABELLED = {
    "sub": "subject", "ses": "session", "sample": "sample", "task": "task",
    "tracksys": "tracksys", "acq": "acquisition", "nuc": "nucleus", "voi": "volume",
    "ce": "ceagent", "stain": "staining", "trc": "tracer", "rec": "reconstruction",
    "dir": "direction", "proc": "proc", "mod": "modality", "mt": "mt", "part": "part",
    "recording": "recording", "space": "space",
}  # fmt: skip
OF_THE_IMAGE = ("datatype", "suffix", "extension")
ENTITIES = (*NUMBERED, *LABELLED.values(), *OF_THE_IMAGE)
"""Entities by their names in pybids, and so in fMRIPrep's filter files."""
READ = frozenset({"T1w", "bold", "events"})
"""Suffixes of the files that this tool reads."""
FILTERED = ("bold", "t1w")
NOT_USED = ("fmap", "flair", "roi", "sbref", "t2w")
"""Further images that fMRIPrep's files may filter, which this tool never reads."""
ANY = "*"
_ENTITY = re.compile(
    f"[_/](?:({'|'.join(NUMBERED)})-([0-9]+)|({'|'.join(LABELLED)})-([0-9a-zA-Z+]+))"
)
_PADDED = re.compile(f"_({'|'.join(NUMBERED)})-0*(?=[0-9])")
_OF_ONE_RUN = re.compile(r"_(echo|part)-[0-9a-zA-Z]+")


def parse_entities(path: str) -> dict[str, str]:
    """Give the entities in a path, as texts (`run` is '01', as written).

    Folders count too, so the path should begin at the root of the data set, with a slash.
    """
    folder, _, name = path.rpartition("/")
    stem, dot, extension = name.partition(".")
    entities: dict[str, str] = {}
    for number, value, label, text in _ENTITY.findall(path):
        entities.setdefault(number or LABELLED[label], value or text)
    datatype = folder.rpartition("/")[2]
    return entities | {
        "datatype": datatype, "suffix": stem.rpartition("_")[2], "extension": dot + extension,
    }  # fmt: skip


@dataclass(frozen=True)
class BidsFile:
    """A file and the entities in its name."""

    path: Path
    entities: Mapping[str, str]

    @property
    def session(self) -> str | None:
        """Session label without `ses-`, None if there is none."""
        return self.entities.get("session")

    @property
    def run(self) -> str | None:
        """Run index as written in the name, None if there is none."""
        return self.entities.get("run")

    def describes(self, other: "BidsFile") -> bool:
        """Tell whether this file applies to a data file.

        BIDS' inheritance principle: it lies in the folder of that file or above it, and its name
        has no entity that the data file's name has not, or has otherwise.
        """
        return all(
            other.entities.get(entity) == value
            for entity, value in self.entities.items()
            if entity not in OF_THE_IMAGE
        ) and other.path.is_relative_to(self.path.parent)


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

    Raises
    ------
    InputError
        When the folder is no raw BIDS data set.
    """

    def __init__(self, bids_dir: str | Path) -> None:
        self.root = Path(bids_dir).resolve()
        _check_description(self.root)
        self._files = cache(self._list)

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
        return tuple(
            file
            for file in self._files(f"sub-{subject}")
            if file.entities["suffix"] == suffix and file.entities["extension"] in extensions
        )

    def applicable(self, file: BidsFile, suffix: str, extension: str) -> tuple[Path, ...]:
        """List the files that apply to `file` by the inheritance principle, nearest last."""
        found = [
            candidate
            for candidate in (*self._files(""), *self._files(f"sub-{file.entities['subject']}"))
            if candidate.entities["suffix"] == suffix
            and candidate.entities["extension"] == extension
            and candidate.describes(file)
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

    def _list(self, top: str) -> tuple[BidsFile, ...]:
        """List what is read in the folder of a subject, or beside all of them ('')."""
        files = [
            BidsFile(path, parse_entities(f"/{path.relative_to(self.root).as_posix()}"))
            for path in (_walk(self.root / top) if top else self.root.iterdir())
            if path.name.partition(".")[0].rpartition("_")[2] in READ
        ]
        return tuple(sorted(files, key=lambda file: natural_key(str(file.path))))


def _walk(top: Path) -> Iterator[Path]:
    """List all files below a folder; links are followed, and each folder is entered once."""
    entered = set()
    for folder, subfolders, names in os.walk(top, followlinks=True):
        state = os.stat(folder)  # noqa: PTH116
        if (state.st_dev, state.st_ino) in entered:
            subfolders.clear()
            continue
        entered.add((state.st_dev, state.st_ino))
        # Sorted, so that of two links to one folder it is always the same that is entered.
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (Path(folder, name) for name in names)


@dataclass(frozen=True)
class BidsFilters:
    """Entities that the names of images must have.

    Attributes
    ----------
    bold, t1w : mapping of str to value
        Entity to what it must be; an entity that is not named may be anything. A text or a number
        must be met, a list holds alternatives, None says that the name must not have the entity,
        and "*" that it must have it, whatever its value.
    file : Path or None
        File that they were read from, for messages.
    """

    bold: Mapping[str, Any] = field(default_factory=dict)
    t1w: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None

    def take_bold(self, entities: Mapping[str, str]) -> bool:
        """Tell whether a BOLD image, or the one that an events file describes, is asked for."""
        of_image = OF_THE_IMAGE if entities["suffix"] == "events" else ()
        wanted = {key: value for key, value in self.bold.items() if key not in of_image}
        return matches(entities, wanted)

    def take_t1w(self, entities: Mapping[str, str]) -> bool:
        """Tell whether a T1w image has the entities asked for."""
        return matches(entities, self.t1w)

    def may_take_t1w(self, entities: Mapping[str, str]) -> bool:
        """Tell whether the entities that a T1w image has, do not speak against it."""
        wanted = {key: value for key, value in self.t1w.items() if key in entities}
        return matches(entities, wanted)

    def none_left(self, subject: str, what: str, images: Sequence[Path], root: Path) -> InputError:
        """Make the error of a subject none of whose T1w images are asked for."""
        return InputError(
            f"sub-{subject} has {len(images)} {what} in {root} but {self.file} excludes all of "
            f"them ({images[0].name}, ...): correct the filter"
        )


def read_filters(file: Path) -> BidsFilters:
    """Read which images are taken from a JSON file, as `fmriprep --bids-filter-file` takes it.

    Raises
    ------
    InputError
        When it is no such file, or names what is no kind of image or no entity.
    """
    content = read_json_object(file)
    for kind, wanted in content.items():
        if kind not in FILTERED + NOT_USED:
            raise InputError(
                f"{file} filters {kind!r}, which is not a kind of "
                f"image{did_you_mean(kind, FILTERED)}: choose from {', '.join(FILTERED)} (and "
                f"{', '.join(NOT_USED)}, which are accepted without effect)"
            )
        if not isinstance(wanted, dict):
            raise InputError(
                f"{file} must give {kind!r} a JSON object of BIDS entities: correct it"
            )
        for entity, value in wanted.items():
            if entity not in ENTITIES:
                raise InputError(
                    f"{file} filters {kind} by {entity!r}, which is not a BIDS entity"
                    f"{did_you_mean(entity, ENTITIES)}: write it as pybids does, such as "
                    "session, acquisition, reconstruction, direction or run"
                )
            if not all(
                one is None or type(one) in (str, int) for one in _alternatives(value)
            ):  # true is no number
                raise InputError(
                    f"{file} gives {entity} of {kind} the value {value!r}: give a text, a whole "
                    "number, null, or a list of these"
                )
    return BidsFilters(content.get("bold", {}), content.get("t1w", {}), file)


def matches(entities: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    """Tell whether the entities of a name meet what is wanted of each."""
    return all(
        any(_meets(entity, entities.get(entity), one) for one in _alternatives(value))
        for entity, value in wanted.items()
    )


def _alternatives(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _meets(entity: str, found: str | None, wanted: object) -> bool:
    if wanted is None or found is None:
        return wanted is None and found is None
    if wanted == ANY or str(wanted) == found:
        return True
    # Numbers may be padded in names: run 1 is run-01.
    return entity in NUMBERED and str(wanted).isdigit() and int(found) == int(str(wanted))


def unpadded(name: str) -> str:
    """Give a file name without zeros in front of its numbers: run-01 and run-1 are one run."""
    return _PADDED.sub(r"_\1-", name)


def run_name(name: str) -> str:
    """Give what the names of all images of one run share: all but echo, part and extension."""
    return unpadded(_OF_ONE_RUN.sub("", name.split(".")[0]))


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; InputError where it does not."""
    try:
        with file_errors(file):
            values = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not valid JSON ({error}): correct it") from error
    if not isinstance(values, dict):
        raise InputError(f"{file} must hold a JSON object: correct it")
    return values


def read_description(root: Path, kind: str, remedy: str) -> dict[str, Any]:
    """Read what a data set says of itself; InputError, with a remedy, where it is none."""
    file = root / DESCRIPTION
    require_content(file)
    if not file.is_file():
        raise InputError(f"{root} is not a {kind}, because it has no {file.name}: give {remedy}")
    return read_json_object(file)


def _check_description(root: Path) -> None:
    if not root.is_dir():
        raise InputError(f"{root} is not a folder: give the root of a BIDS data set")
    remedy = "the folder that holds the sub-* folders and that file"
    if read_description(root, "BIDS data set", remedy).get("DatasetType") == "derivative":
        raise InputError(f"{root} is a BIDS derivative ({DESCRIPTION} says so): give the raw data")
