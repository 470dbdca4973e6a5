"""Which files belong to a subject: T1w image, BOLD runs, their sidecars and events."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import warn_once
from conceptrsa.bids_config.schema import DatasetConfig, RunSelection
from conceptrsa.pipelines.bids.events import read_run_events, summarize_events
from conceptrsa.pipelines.bids.filters import BidsFilters
from conceptrsa.pipelines.bids.fmriprep import (
    FmriprepDerivatives,
    PreprocessedRun,
    check_one_reference,
)
from conceptrsa.pipelines.bids.layout import (
    FUNC,
    NIFTI,
    BidsDataset,
    BidsFile,
    natural_key,
    run_name,
)
from conceptrsa.pipelines.bids.problems import Problems
from conceptrsa.pipelines.bids.t1w_masks import find_t1w_mask
from conceptrsa.pipelines.bids.timing import Timing, read_timing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFiles:
    """A BOLD run as found; None stands for what is missing or wrong, and was noted as such."""

    bold: BidsFile
    timing: Timing | None
    events_file: Path | None
    events: pd.DataFrame | None
    preprocessed: PreprocessedRun | None = None

    @property
    def image(self) -> Path:
        """The image that is worked on: the raw one, or what fMRIPrep made of it."""
        return self.bold.path if self.preprocessed is None else self.preprocessed.bold


@dataclass(frozen=True)
class SubjectFiles:
    """The files of a subject as found, runs in session and run order.

    `noticed` are sentences on images that are taken in spite of something.
    """

    subject: str
    t1w: Path | None
    runs: tuple[RunFiles, ...]
    segmentation: Path | None = None
    t1w_mask: Path | None = None
    noticed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What may be said about how a data set is read.

    Attributes
    ----------
    filters : BidsFilters
        Entities that the names of images must have.
    database_dir : Path or None
        Folder in which the index of the names is kept.
    derivatives_dir : Path or None
        What fMRIPrep made of the data set, which is then taken in place of raw images.
    t1w_mask : Path or None
        Supplied brain masks, as `conceptrsa.pipelines.bids.t1w_masks` finds them.
    ignore : frozenset of {'slicetiming', 'orientation'}
        Take no slice times of raw runs; take images whose place cannot be trusted.
    """

    filters: BidsFilters = field(default_factory=BidsFilters)
    database_dir: Path | None = None
    derivatives_dir: Path | None = None
    t1w_mask: Path | None = None
    ignore: frozenset[str] = frozenset()


def find_subject_files(
    dataset: BidsDataset,
    subject: str,
    config: DatasetConfig,
    sessions: tuple[str, ...] | None,
    names_only: bool,
    problems: Problems,
    filters: BidsFilters | None = None,
    derivatives: FmriprepDerivatives | None = None,
    t1w_masks: Path | None = None,
    ignore: frozenset[str] = frozenset(),
) -> SubjectFiles:
    """Find a subject's files and read all that are not images.

    Parameters
    ----------
    dataset : BidsDataset
        Where to look.
    subject : str
        Label without `sub-`.
    config : DatasetConfig
        Which runs are wanted and what their events mean.
    sessions : tuple of str or None
        The only sessions to take runs from, without `ses-`; None: all.
    names_only : bool
        Images need not be there: a run is then known by its events file.
    problems : Problems
        Takes what is wrong.
    filters : BidsFilters, optional
        Entities that the names of images must have.
    derivatives : FmriprepDerivatives, optional
        Where runs and anatomy are taken from, in place of raw images.
    t1w_masks : Path, optional
        Supplied brain masks.
    ignore : frozenset of str
        With 'slicetiming' in it, raw runs need no slice times, and none are taken.
    """
    filters = filters or BidsFilters()
    t1w = segmentation = mask = None
    with problems.noted():
        if derivatives is None:
            t1w = _find_t1w(dataset, subject, names_only, filters)
        else:
            t1w = derivatives.find_t1w(subject, filters)
            segmentation = derivatives.find_segmentation(t1w)
            mask = derivatives.find_mask(t1w)
    if t1w_masks is not None and t1w is not None:
        with problems.noted():
            mask = find_t1w_mask(t1w_masks, subject, t1w)
    bolds: list[BidsFile] = []
    with problems.noted():
        # Raw images of runs that are preprocessed need not be there.
        by_name = names_only or derivatives is not None
        bolds = _find_bolds(
            dataset, subject, config.runs, sessions, by_name, filters, derivatives is not None
        )
    if derivatives is not None and t1w is not None:
        with problems.noted():
            derivatives.check_t1w_space(t1w, bolds)
    runs = tuple(_read_run(dataset, bold, config, problems, derivatives, ignore) for bold in bolds)
    with problems.noted():
        _check_stimulus_count(dataset, subject, runs, config)
    with problems.noted():
        check_one_reference([run.preprocessed for run in runs if run.preprocessed is not None])
    return SubjectFiles(subject, t1w, runs, segmentation, mask)


def _find_t1w(dataset: BidsDataset, subject: str, names_only: bool, filters: BidsFilters) -> Path:
    images = dataset.find("T1w", NIFTI, subject)
    found = [file.path for file in images if filters.take_t1w(file.entities)]
    where_expected = dataset.root / f"sub-{subject}" / "anat" / f"sub-{subject}_T1w.nii.gz"
    if not images and names_only:
        return where_expected
    if images and not found:
        raise InputError(
            f"sub-{subject} has {len(images)} T1w images in {dataset.root} but none that "
            f"{filters.file} lets through ({images[0].path.name}, ...): mend the filter"
        )
    if not found:
        raise InputError(
            f"sub-{subject} has no T1w image in {dataset.root}: add {where_expected.name} to its "
            "anat folder, or leave this participant out"
        )
    if len(found) > 1:
        logger.warning(
            "sub-%s has %d T1w images: the first by name is used, %s", subject, len(found), found[0]
        )
    return found[0]


def has_runs(
    dataset: BidsDataset,
    subject: str,
    selection: RunSelection,
    sessions: tuple[str, ...] | None,
    filters: BidsFilters,
) -> bool:
    """Tell whether a subject has an image or events of a selected run."""
    return any(_selected(dataset, subject, selection, sessions, filters))


def _selected(
    dataset: BidsDataset,
    subject: str,
    selection: RunSelection,
    sessions: tuple[str, ...] | None,
    filters: BidsFilters,
) -> tuple[list[BidsFile], list[BidsFile]]:
    """List the images and the events files of the selected runs."""

    def is_selected(file: BidsFile) -> bool:
        return (
            file.entities.get("task") == selection.task
            and file.path.parent.name == FUNC
            and selection.takes_session(file.session)
            and (sessions is None or file.session in sessions)
        )

    bolds = filter(is_selected, dataset.find("bold", NIFTI, subject))
    events = filter(is_selected, dataset.find("events", (".tsv",), subject))
    return (
        [file for file in bolds if filters.take_bold(file.entities)],
        [file for file in events if filters.take_events(file.entities)],
    )


def _find_bolds(
    dataset: BidsDataset,
    subject: str,
    selection: RunSelection,
    sessions: tuple[str, ...] | None,
    names_only: bool,
    filters: BidsFilters,
    are_combined: bool,
) -> list[BidsFile]:
    """List the selected runs in session and run order; fMRIPrep combines their echoes."""
    found, all_events = _selected(dataset, subject, selection, sessions, filters)
    bolds = [_one_of(files, are_combined) for files in _by_run(found)]
    for events in all_events:
        if any(events.describes(bold.entities, bold.path.parent) for bold in bolds):
            continue
        if not names_only:
            raise InputError(
                f"{events.path} has no BOLD image beside it: restore the image, or remove the "
                "events file if the run does not count"
            )
        bolds.append(_bold_beside(events))
    if not bolds:
        raise _no_runs(dataset, subject, selection, sessions, filters)

    bolds.sort(
        key=lambda bold: (
            natural_key(bold.session or ""),
            natural_key(bold.run or ""),
            natural_key(bold.path.name),
        )
    )
    reconstructions = {bold.entities.get("reconstruction") for bold in bolds}
    if len(reconstructions) > 1:
        warn_once(
            f"sub-{subject} in {dataset.root} has runs of {len(reconstructions)} reconstructions "
            "(rec-), each of which is taken for a run of its own: where they are of one "
            "recording, choose one by --bids-filter-file"
        )
    return bolds


def _by_run(files: Sequence[BidsFile]) -> list[list[BidsFile]]:
    """Group images by run: all that only their echo, part or compression tells apart."""
    runs: dict[str, list[BidsFile]] = {}
    for file in files:
        runs.setdefault(run_name(file.path.name), []).append(file)
    return list(runs.values())


def _one_of(files: Sequence[BidsFile], are_combined: bool) -> BidsFile:
    """Choose the image that a run is known by; InputError where there is no such one."""
    magnitude = [file for file in files if file.entities.get("part") in (None, "mag")]
    if not magnitude:
        raise InputError(
            f"{files[0].path} is a part of a complex image and its magnitude (part-mag) is not "
            "there: add the magnitude image, or leave the run out"
        )
    first, *others = magnitude
    echoes = {file.entities.get("echo") for file in magnitude}
    if len(echoes) == len(magnitude) > 1:
        if are_combined:  # fMRIPrep made one of them
            name = re.sub("_echo-[0-9]+", "", first.path.name)
            entities = {key: value for key, value in first.entities.items() if key != "echo"}
            return BidsFile(first.path.with_name(name), entities)
        raise InputError(
            f"{first.path} is one of {len(echoes)} echoes of a run, which are not combined here: "
            "give fMRIPrep's output, which combines them, by --derivatives, or choose an echo by "
            '--bids-filter-file ({"bold": {"echo": 2}})'
        )
    if others:
        raise InputError(
            f"{first.path} and {others[0].path.name} are the same run by their names: keep one of "
            "them"
        )
    return first


def _bold_beside(events: BidsFile) -> BidsFile:
    name = events.path.name.removesuffix("_events.tsv") + "_bold.nii.gz"
    entities = {**events.entities, "suffix": "bold", "extension": ".nii.gz"}
    return BidsFile(events.path.with_name(name), entities)


def _no_runs(
    dataset: BidsDataset,
    subject: str,
    selection: RunSelection,
    sessions: tuple[str, ...] | None,
    filters: BidsFilters,
) -> InputError:
    files = dataset.find("bold", NIFTI, subject) + dataset.find("events", (".tsv",), subject)
    tasks = sorted(
        {
            file.entities["task"]
            for file in files
            if "task" in file.entities and file.path.parent.name == FUNC
        }
    )
    wanted = f"task {selection.task}"
    if selection.session_pattern is not None:
        wanted += f", sessions like {selection.session_pattern}"
    if sessions is not None:
        wanted += f", chosen sessions {' and '.join(sessions)}"
    wanted += filters.in_words()
    return InputError(
        f"sub-{subject} has no BOLD run of {wanted} in {dataset.root} (tasks there: "
        f"{', '.join(tasks) or 'none'}; sessions: {', '.join(dataset.sessions(subject)) or 'none'})"
        ": choose another data set configuration, or leave this participant out"
    )


def _read_run(
    dataset: BidsDataset,
    bold: BidsFile,
    config: DatasetConfig,
    problems: Problems,
    derivatives: FmriprepDerivatives | None,
    ignore: frozenset[str],
) -> RunFiles:
    timing, events_file, events, preprocessed = None, None, None, None
    with problems.noted():
        if derivatives is None:
            timing = read_timing(bold.path, dataset.sidecar(bold), "slicetiming" in ignore)
        else:
            preprocessed, timing = derivatives.find_run(bold)
    with problems.noted():
        events_file = _find_events(dataset, bold)
        events = read_run_events(events_file, config.events)
    return RunFiles(bold, timing, events_file, events, preprocessed)


def _find_events(dataset: BidsDataset, bold: BidsFile) -> Path:
    found = dataset.applicable(bold, "events", ".tsv")
    if not found:
        name = bold.path.name.removesuffix(f"_bold{bold.entities['extension']}") + "_events.tsv"
        raise InputError(f"{bold.path} has no events file: add {name} beside it, or remove the run")
    return found[-1]


def _check_stimulus_count(
    dataset: BidsDataset, subject: str, runs: tuple[RunFiles, ...], config: DatasetConfig
) -> None:
    expected = config.stimuli.count
    tables = [run.events for run in runs if run.events is not None]
    if expected is None or len(tables) < len(runs) or not runs:
        return
    found = len(summarize_events(tables).presentations)
    if found != expected:
        raise InputError(
            f"the {len(runs)} runs of sub-{subject} in {dataset.root} show {found} different "
            f"stimuli but the data set configuration {config.name} says {expected}: check the run "
            "selection and the events, or mend stimuli.count"
        )
