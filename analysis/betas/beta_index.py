"""Index of betas: which file holds which beta of which subject."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conceptrsa.analysis.betas.atlas_volumes import AtlasReading
from conceptrsa.analysis.betas.conditions import ConditionRule
from conceptrsa.analysis.brain.patterns import Half
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import require_one_of
from conceptrsa.bids_config.region_choice import AnyRegion
from conceptrsa.bids_config.schema import RegionChoice
from conceptrsa.bids_config.writing import file_errors, require_content

SUBJECT_NAME = re.compile(r"sub-[0-9a-zA-Z]+")
OTHER_SUBJECT_NAME = re.compile(r"(?:sub(?:j(?:ect)?)?|s)?[-_ ]?(\d+)(?=[_.]|$)", re.IGNORECASE)
"""Other common names of subjects: `subj01`, `S1`, `01`."""

LEAVE_OUT = ", or leave that subject out with --participant-label"


@dataclass(frozen=True)
class Request:
    """Request for betas; see `conceptrsa.analysis.betas.read.read_betas`."""

    path: Path
    rois: tuple[AnyRegion | RegionChoice, ...]
    participants: tuple[str, ...] | None = None
    task: str | None = None
    conditions: ConditionRule = field(default_factory=ConditionRule)
    with_runs: bool = False
    atlas_reading: AtlasReading = field(default_factory=AtlasReading)
    trials: Path | None = None
    min_repeats: int | None = None
    zscore: bool | None = None


@dataclass(frozen=True)
class BetaImage:
    """Location of the beta of one stimulus.

    Attributes
    ----------
    stimulus : str
    file : Path
    volume : int or None
        Counted from 0, of a file with several; None: the file's only one.
    run : str or None
        The run that it was estimated from; None: several.
    half : {'odd', 'even'} or None
        Estimated from the odd or the even runs.
    regressor : str or None
        Name of the regressor of SPM's model, which SPM writes into the file as well.
    """

    stimulus: str
    file: Path
    volume: int | None = None
    run: str | None = None
    half: Half | None = None
    regressor: str | None = None

    def __str__(self) -> str:
        """Its location, for messages."""
        return str(self.file) if self.volume is None else f"volume {self.volume} of {self.file}"


@dataclass(frozen=True)
class SubjectImages:
    """The betas that were found of one subject.

    Attributes
    ----------
    name : str
        Label such as `sub-01`.
    images : sequence of BetaImage
    tables : sequence of Path
        Files that named the images, for the list of sources.
    left_out : sequence of str
        Conditions that are no stimuli.
    notes : sequence of str
        Further notes for the user.
    estimation : mapping
        How the betas were estimated; see `SubjectPatterns`.
    run_betas : Path, optional
        File of run-wise betas and residual covariances that belong to the images.
    """

    name: str
    images: Sequence[BetaImage]
    tables: Sequence[Path] = ()
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()
    estimation: Mapping[str, Any] = field(default_factory=dict)
    run_betas: Path | None = None

    @property
    def label(self) -> str:
        """The name without `sub-`."""
        return self.name.removeprefix("sub-")


def subject_of(name: str) -> str | None:
    """Give the subject `sub-XX` that the name of a file or folder begins with, if any."""
    if found := SUBJECT_NAME.match(name):
        return found[0]
    other = OTHER_SUBJECT_NAME.match(name)
    return f"sub-{other[1]}" if other else None


def behind_subject(file: Path) -> str:
    """Give what stands behind the subject in the name of a file: `V1` of `sub_01_V1.csv`."""
    name = file.name.removesuffix(file.suffix)
    found = SUBJECT_NAME.match(name) or OTHER_SUBJECT_NAME.match(name)
    return name[found.end() :].partition("_")[2] if found else ""


def by_subject(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Paths of each subject `sub-XX`, sorted; others are passed over.

    Where some are called `sub-XX`, only these are subjects.
    """
    found: dict[str, list[Path]] = {}
    paths = sorted(paths)
    are_bids = any(SUBJECT_NAME.match(path.name) for path in paths)
    for path in paths:
        name = subject_of(path.name)
        if name is not None and (SUBJECT_NAME.match(path.name) or not are_bids):
            found.setdefault(name, []).append(path)
    return dict(sorted(found.items()))


def subject_folders(want: Request) -> list[Path]:
    """Folders `sub-XX` of the subjects wanted.

    Raises
    ------
    InputError
        If there is none, or not that of a subject wanted.
    """
    folders = {path.name: path for path in want.path.glob("sub-*") if path.is_dir()}
    if not folders:
        raise InputError(f"{want.path} holds no sub-* folder: give the folder that holds them")
    return [folders[name] for name in wanted_subjects(folders, want)]


def wanted_subjects(present: Iterable[str], want: Request) -> list[str]:
    """Names `sub-XX`, sorted, of the subjects wanted, or of all.

    Raises
    ------
    InputError
        If one wanted is not there, or a folder `sub-XX` of one cannot be used, so that the subject
        would go missing from the results unnoticed.
    """
    names = sorted(present)
    wanted = wanted_names(want)
    for entry in sorted(want.path.glob("sub-*")):
        is_used = entry.name in names or SUBJECT_NAME.fullmatch(entry.name) is None
        if is_used or (wanted is not None and entry.name not in wanted):
            continue
        require_content(entry, LEAVE_OUT)
        if entry.is_dir():
            raise InputError(
                f"{entry} holds no betas in the form of the other subjects of {want.path}: add "
                "them, or name only the others with --participant-label"
            )
    labels = [name.removeprefix("sub-") for name in names]
    for name in wanted or ():
        what = f"{want.path} holds no participant"
        remedy = "give --participant-label some that exist:"
        require_one_of(name.removeprefix("sub-"), labels, what, remedy)
    return names if wanted is None else wanted


def wanted_names(want: Request) -> list[str] | None:
    """Names `sub-XX`, sorted, of the participants wanted; None stands for all."""
    if want.participants is None:
        return None
    return sorted({f"sub-{label.removeprefix('sub-')}" for label in want.participants})


def files_below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All files below a folder, sorted; links to folders are followed, hidden ones passed over.

    `above` are the folders that it lies in, so that a link back to one of them ends there.

    Raises
    ------
    InputError
        On a folder without permission.
    """
    real = folder.resolve()
    if real in above:
        return
    with file_errors(folder):
        entries = sorted(folder.iterdir())
    for path in entries:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from files_below(path, above | {real})
        else:
            yield path
