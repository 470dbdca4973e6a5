"""Read the user's choice of regions: labels, names and patterns of an atlas, and masks."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import (
    clean_name,
    did_you_mean,
    require_distinct,
    require_names,
    some_of,
)
from conceptrsa.bids_config.schema import MASK, RegionChoice, RoiDefinition

GIVE_TABLE = "give its label table with --atlas-labels FILE"
Source = Path | str
Chosen = Literal["by name", "by pattern", "as all"]
WILDCARDS = re.compile(r"[*?\[]")
HOW = "write NAME=LABEL,LABEL, NAME=PATTERN, NAME=mask:FILE, or a name of the label table"


@dataclass(frozen=True)
class LabelTable:
    """Names of labels.

    Attributes
    ----------
    file : Path or str
        Its place, for messages.
    labels : mapping of str to tuple of int
        By name, in the order of the table; labels of one name belong together. Without 0, which
        is what lies outside.
    """

    file: Source
    labels: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Region:
    """Definition of a region.

    Attributes
    ----------
    name : str
    parts : tuple of tuple of int
        Labels of the atlas, of each number, name and pattern by which they were chosen: one of each
        has to be there at least, as a label table may serve several atlases.
    chosen : {'by name', 'by pattern', 'as all'}
        By pattern, or as one of all labels of the table: there may be no such region.
    mask : Path or None
        Volume of the region alone, in place of labels; `{subject}` in it stands for the label.
    """

    name: str
    parts: tuple[tuple[int, ...], ...] = ()
    chosen: Chosen = "by name"
    mask: Path | None = None

    @property
    def labels(self) -> tuple[int, ...]:
        """All its labels of the atlas, each once."""
        return tuple(dict.fromkeys(label for part in self.parts for label in part))

    @property
    def is_optional(self) -> bool:
        """Whether there may be no such region."""
        return self.chosen != "by name"


AnyRegion = RoiDefinition | Region
"""A region of a configuration, all of whose labels have to be there, or one that was chosen."""


def read_choice(text: str) -> RegionChoice:
    """Read `NAME=SPEC` or `NAME`.

    SPEC is `mask:FILE`, or numbers, names and patterns (`*`, `?`, `[...]`) of labels, joined by
    commas.

    Raises
    ------
    InputError
        On an empty name or SPEC, or a name that tables of results cannot hold.
    """
    before, sign, after = text.partition("=")
    name, said = (clean_name(before), after.strip()) if sign else (None, text.strip())
    if name is not None:
        require_names([name] if name else [], "region", f"--rois {text}")
    if said.startswith(MASK):
        file = said.removeprefix(MASK)
        if not name or not file:
            raise InputError(f"{text!r} is not a region: write NAME={MASK}FILE")
        return RegionChoice(name, mask=Path(file))
    words = tuple(clean_name(word) for word in said.split(","))
    if not all(words) or (name is not None and not name):
        raise InputError(f"{text!r} is not a region: {HOW}")
    if "0" in words:
        raise InputError(f"{text!r} holds the label 0, which is outside all regions: leave it out")
    return RegionChoice(name, words)


def choose_regions(
    choices: Sequence[RegionChoice | AnyRegion],
    table: LabelTable | None,
    atlas: Source | None,
) -> tuple[AnyRegion, ...]:
    """Find the labels of each region chosen, in the order of the choices.

    Parameters
    ----------
    choices : sequence of RegionChoice, RoiDefinition or Region
        None at all: every name of the table is a region.
    table : LabelTable, optional
        Names of the labels, where known.
    atlas : Path, optional
        For messages.

    Raises
    ------
    InputError
        On names without a table or not in it, a pattern that fits no name, a region that is chosen
        twice, or labels without an atlas.
    """
    regions: list[AnyRegion] = []
    listed: set[str] = set()
    if not choices and table is not None:
        return tuple(Region(name, (labels,), "as all") for name, labels in table.labels.items())
    for choice in choices:
        if not isinstance(choice, RegionChoice):
            regions.append(choice)
        elif choice.mask is not None:
            regions.append(Region(str(choice.name), mask=choice.mask))
        elif atlas is None:
            raise InputError(f"{choice} is a region of an atlas: give the atlas with --atlas")
        elif choice.name is None:
            # A name that a pattern fits as well is one region, where it was given first.
            new = [roi for roi in _regions_of_names(choice, table, atlas) if roi.name not in listed]
            listed |= {roi.name for roi in new}
            regions += new
        else:
            regions.append(_region_of(choice, choice.name, table, atlas))
    require_distinct(
        (region.name for region in regions), "the regions include", "give each its own name"
    )
    return tuple(regions)


def definitions_of(
    choices: Sequence[RegionChoice], atlas: Path | None = None, table: LabelTable | None = None
) -> tuple[RoiDefinition, ...]:
    """Find the regions chosen among an atlas' labels.

    Parameters
    ----------
    choices : sequence of RegionChoice
    atlas : Path, optional
        By default FreeSurfer's `aparc+aseg`, which participants have.
    table : LabelTable, optional
        That of the atlas, where there is one.

    Raises
    ------
    InputError
        On a mask, or a name that it has not.
    """
    from conceptrsa.bids_config.desikan_killiany import region_names

    if not choices:
        return ()
    for choice in choices:
        if choice.mask is not None:
            raise InputError(
                f"{choice} is a mask, but the participant level takes labels: give masks to "
                "compare --rois"
            )
        is_numbered = choice.name is not None and all(map(str.isdecimal, choice.words))
        if atlas is not None and table is None and not is_numbered:
            raise InputError(
                f"{choice} names labels of {atlas}, which has no label table beside it: put one of "
                "the same name there (.tsv), or write NAME=LABEL,LABEL with numbers"
            )
    source: Source = atlas or "aparc+aseg (Desikan-Killiany)"
    if atlas is None:
        table = LabelTable(source, {name: (label,) for label, name in region_names().items()})
    regions = choose_regions(choices, table, source)
    return tuple(RoiDefinition(region.name, region.labels) for region in regions)


def matching_names(word: str, names: Sequence[str], source: object) -> list[str]:
    """Names that a word fits: the same, or by pattern.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    if word in names:
        return [word]
    found = [name for name in names if fnmatchcase(name, word)]
    if found:
        return found
    fits = " that fits" if WILDCARDS.search(word) else ""
    holding = [name for name in names if word.casefold() in name.casefold()]
    near = did_you_mean(WILDCARDS.sub("", word), names)
    if len(holding) > 1 or (holding and not near):
        near = f" (there is {some_of(holding, 4)})"
    raise InputError(
        f"{source} names no region{fits} {word!r}{near}: write one of {some_of(names, 8)}"
    )


def whole_names(words: Sequence[str], names: Iterable[str]) -> list[str]:
    """Words that commas divided, those that are one name with commas in it joined again."""
    known = {re.sub(", *", ",", name): name for name in names if "," in name}
    rest, whole = list(words), []
    while rest:
        lengths = (n for n in range(len(rest), 1, -1) if ",".join(rest[:n]) in known)
        length = next(lengths, 1)
        whole.append(known[",".join(rest[:length])] if length > 1 else rest[0])
        rest = rest[length:]
    return whole


def _regions_of_names(
    choice: RegionChoice, table: LabelTable | None, atlas: Path | str
) -> list[Region]:
    known = _require_table(choice, table, atlas)
    of_label = {label: name for name, labels in known.labels.items() for label in labels}
    regions = []
    for word in whole_names(choice.words, known.labels):
        if word.isdecimal() and word not in known.labels:
            if int(word) not in of_label:
                raise InputError(f"{known.file} names no label {word}: write NAME={word}")
            regions.append(Region(of_label[int(word)], ((int(word),),)))
            continue
        for name in matching_names(word, tuple(known.labels), known.file):
            chosen: Chosen = "by name" if word in known.labels else "by pattern"
            regions.append(Region(name, (known.labels[name],), chosen))
    return regions


def _region_of(
    choice: RegionChoice, name: str, table: LabelTable | None, atlas: Path | str
) -> Region:
    parts: list[tuple[int, ...]] = []
    for word in whole_names(choice.words, table.labels if table else ()):
        if word.isdecimal():
            parts.append((int(word),))
            continue
        known = _require_table(choice, table, atlas)
        names = matching_names(word, tuple(known.labels), known.file)
        parts.append(tuple(label for found in names for label in known.labels[found]))
    return Region(name, tuple(parts))


def _require_table(choice: RegionChoice, table: LabelTable | None, atlas: Source) -> LabelTable:
    if table is None:
        raise InputError(
            f"{choice} names labels of {atlas}, which has no label table beside it: {GIVE_TABLE}, "
            "or write NAME=LABEL,LABEL with numbers"
        )
    return table
