"""Which files are taken, by the entities in their names: `--bids-filter-file`, as fMRIPrep has it.

The file holds a JSON object: a kind of image (`bold`, `t1w`), and for each the entities that its
files must have, by pybids' names. A text or a number must be met, a list holds alternatives, null
says that the name must not have the entity, and "*" that it must have it, whatever its value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.toml_tables import did_you_mean
from conceptrsa.pipelines.bids.layout import read_json_object

FILTERED = ("bold", "t1w")
NOT_USED = ("fmap", "flair", "roi", "sbref", "t2w")
"""What fMRIPrep's files may filter as well, and this tool never looks at."""
ENTITIES = (
    "subject", "session", "sample", "task", "tracksys", "acquisition", "ceagent", "staining",
    "tracer", "reconstruction", "direction", "run", "proc", "modality", "echo", "flip", "inv",
    "mt", "part", "recording", "space", "chunk", "datatype", "suffix", "extension",
)  # fmt: skip
NUMBERS = ("run", "echo", "flip", "inv", "chunk")
ANY = "*"
_OF_THE_IMAGE = ("datatype", "suffix", "extension")


@dataclass(frozen=True)
class BidsFilters:
    """Entities that the names of images must have.

    Attributes
    ----------
    bold, t1w : mapping of str to value
        Entity to what it must be; an entity that is not named may be anything.
    file : Path or None
        Where they were read from, for messages.
    """

    bold: Mapping[str, Any] = field(default_factory=dict)
    t1w: Mapping[str, Any] = field(default_factory=dict)
    file: Path | None = None

    def take_bold(self, entities: Mapping[str, str]) -> bool:
        """Tell whether a BOLD image has the entities asked for."""
        return matches(entities, self.bold)

    def take_events(self, entities: Mapping[str, str]) -> bool:
        """Tell whether the BOLD image that an events file describes would have them."""
        wanted = {key: value for key, value in self.bold.items() if key not in _OF_THE_IMAGE}
        return matches(entities, wanted)

    def take_t1w(self, entities: Mapping[str, str]) -> bool:
        """Tell whether a T1w image has the entities asked for."""
        return matches(entities, self.t1w)

    def may_take_t1w(self, entities: Mapping[str, str]) -> bool:
        """Tell whether the entities that a T1w image has, do not speak against it."""
        wanted = {key: value for key, value in self.t1w.items() if key in entities}
        return matches(entities, wanted)

    def in_words(self) -> str:
        """Say where the filters are from, to be put behind a sentence; empty without filters."""
        return "" if self.file is None else f", filtered by {self.file}"


def read_filters(file: Path) -> BidsFilters:
    """Read a filter file.

    Parameters
    ----------
    file : Path
        JSON, as `fmriprep --bids-filter-file` takes it.

    Raises
    ------
    InputError
        When it is no such file, or names what is no kind of image or no entity.
    """
    content = read_json_object(file)
    for kind, wanted in content.items():
        if kind not in FILTERED + NOT_USED:
            raise InputError(
                f"{file} filters {kind!r}, which is no kind of image"
                f"{did_you_mean(kind, FILTERED)}: choose from "
                f"{', '.join(FILTERED)} (and {', '.join(NOT_USED)}, which are of no matter here)"
            )
        if not isinstance(wanted, dict):
            raise InputError(f"{file} must hold an object of entities for {kind!r}: mend it")
        for entity, value in wanted.items():
            if entity not in ENTITIES:
                raise InputError(
                    f"{file} filters {kind} by {entity!r}, which is no entity"
                    f"{did_you_mean(entity, ENTITIES)}: write it as pybids does, such as "
                    "session, acquisition, reconstruction, direction or run"
                )
            if not all(map(_is_value, value if isinstance(value, list) else [value])):
                raise InputError(
                    f"{file} gives {entity} of {kind} the value {value!r}: it must be a text, a "
                    "whole number, null, or a list of these"
                )
    return BidsFilters(content.get("bold", {}), content.get("t1w", {}), file)


def matches(entities: Mapping[str, str], wanted: Mapping[str, Any]) -> bool:
    """Tell whether the entities of a name meet what is wanted of each."""
    return all(
        any(
            _meets(entity, entities.get(entity), one)
            for one in (value if isinstance(value, list) else [value])
        )
        for entity, value in wanted.items()
    )


def _meets(entity: str, found: str | None, wanted: object) -> bool:
    if wanted is None or found is None:
        return wanted is None and found is None
    if wanted == ANY or str(wanted) == found:
        return True
    # Numbers may be padded in names: run 1 is run-01.
    is_number = entity in NUMBERS and found.isdigit() and str(wanted).isdigit()
    return is_number and int(found) == int(str(wanted))


def _is_value(value: object) -> bool:
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))
