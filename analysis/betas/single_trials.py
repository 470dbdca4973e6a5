"""From responses to single trials to the patterns of a subject, in whatever files they lie."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from conceptrsa.analysis.arrays import Booleans, Floats, Integers
from conceptrsa.analysis.betas.beta_index import Request
from conceptrsa.analysis.betas.conditions import stimuli_of
from conceptrsa.analysis.betas.region_choice import RegionChoice
from conceptrsa.analysis.betas.roi_voxels import notes_on_regions, regions_by_subject
from conceptrsa.analysis.betas.trial_arrays import BLOCK_BYTES, TrialArray
from conceptrsa.analysis.brain.patterns import (
    MIN_STIMULI,
    RoiPatterns,
    SubjectPatterns,
    vary_between,
    with_data_only,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import times
from conceptrsa.bids_config.names import some_of, stimulus_ids


NO_STIMULUS = ""
"""In place of the name of a trial that is not used."""


@dataclass(frozen=True)
class TrialFile:
    """Responses to single trials that one file holds, in the order of presentation.

    Attributes
    ----------
    array : TrialArray
    stimuli : tuple of str
        Name of the stimulus of each trial, or `NO_STIMULUS`.
    sessions : tuple of str
        Scan session of each trial; none spans two files.
    scale : float
        What responses are divided by.
    """

    array: TrialArray
    stimuli: tuple[str, ...]
    sessions: tuple[str, ...]
    scale: float = 1.0


@dataclass(frozen=True)
class SubjectTrials:
    """The responses that were found of one subject, in the order of presentation.

    Attributes
    ----------
    name : str
        As in `sub-01`.
    files : sequence of TrialFile
    tables : sequence of Path
        What named the trials, for the list of sources.
    notes : sequence of str
        What the user should know.
    rois : mapping of str to ndarray of int
        Voxels of regions that the data hold themselves.
    """

    name: str
    files: Sequence[TrialFile]
    tables: Sequence[Path] = ()
    notes: Sequence[str] = ()
    rois: Mapping[str, Integers] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the grid of voxels."""
        return self.files[0].array.shape

    def trials(self) -> Iterator[str]:
        """Name of the stimulus of each trial."""
        for file in self.files:
            yield from file.stimuli


def read_trials(
    listed: Sequence[SubjectTrials], want: Request, atlas: Path | None, zscore: bool
) -> tuple[SubjectPatterns, ...]:
    """Average the responses of each subject to each stimulus.

    The 1st, 3rd, ... presentation of a stimulus are the odd half, the 2nd, 4th, ... the even one.
    Stimuli are those that every subject has seen; where three or more of them were presented
    twice or more, those (`want.min_repeats` says otherwise).

    Parameters
    ----------
    listed : sequence of SubjectTrials
    want : Request
    atlas : Path, optional
        Label volume in the grid of the responses, where they hold no regions of their own.
    zscore : bool
        Whether each voxel is z-scored over all trials of each session, as the authors of the data
        do; `want.zscore` says otherwise.

    Raises
    ------
    InputError
        On an atlas of another shape, or fewer than three stimuli that all subjects share.
    """
    zscore = zscore if want.zscore is None else want.zscore
    names = [_name_stimuli(subject, want) for subject in listed]
    stimuli, min_repeats, notes = _shared_stimuli(listed, names, want.min_repeats)
    rois = _find_regions(listed, want, atlas)
    subjects: list[SubjectPatterns] = []
    for subject, (named, left_out), (regions, files, on_regions) in zip(
        listed, names, rois, strict=True
    ):
        where = {stimulus: row for row, stimulus in enumerate(stimuli)}
        rows = {name: where[stimulus] for name, stimulus in named.items() if stimulus in where}
        union = np.unique(np.concatenate(list(regions.values())))
        everywhere, said = _average(subject, rows, union, zscore, want.with_runs)
        notes_here = [
            *subject.notes,
            *([f"left out as no stimuli: {some_of(left_out)}"] if left_out else []),
            *said,
            f"single trials are {'' if zscore else 'not '}z-scored by session",
        ]
        patterns = SubjectPatterns(
            subject=subject.name.removeprefix("sub-"),
            stimuli=stimuli,
            rois={
                name: replace(everywhere.of_voxels(np.searchsorted(union, voxels)), n_dropped=0)
                for name, voxels in regions.items()
            },
            sources=(*(file.array.file for file in subject.files), *subject.tables, *files),
            notes=(
                *(on_regions if not subjects else ()),
                *(notes if not subjects else ()),
                *(f"{subject.name}: {note}" for note in notes_here),
            ),
            estimation={
                "SingleTrials": True,
                "ZscoredBySession": zscore,
                "MinRepeats": min_repeats,
            },
        )
        subjects.append(with_data_only(patterns))
    return tuple(subjects)


def _name_stimuli(subject: SubjectTrials, want: Request) -> tuple[dict[str, str], tuple[str, ...]]:
    """Stimulus of each name of a subject's trials, and the names that are no stimuli."""
    source = subject.files[0].array.file.parent
    names = tuple(name for name in dict.fromkeys(subject.trials()) if name != NO_STIMULUS)
    ids = dict(zip(names, stimulus_ids(names, source), strict=True))
    chosen, left_out = stimuli_of(tuple(dict.fromkeys(ids.values())), want.conditions, source)
    return {name: chosen[id_] for name, id_ in ids.items() if id_ in chosen}, left_out


def _shared_stimuli(
    listed: Sequence[SubjectTrials],
    names: Sequence[tuple[dict[str, str], tuple[str, ...]]],
    min_repeats: int | None,
) -> tuple[tuple[str, ...], int, list[str]]:
    """Stimuli that all subjects have seen often enough, how often that is, and notes."""
    counts = []
    for subject, (named, _) in zip(listed, names, strict=True):
        counts.append(Counter(named[trial] for trial in subject.trials() if trial in named))
    seen = set().union(*counts)
    fewest = {stimulus: min(count[stimulus] for count in counts) for stimulus in seen}
    least = min_repeats
    if least is None:
        repeated = [stimulus for stimulus, number in fewest.items() if number > 1]
        least = 2 if len(repeated) >= MIN_STIMULI else 1
    stimuli = tuple(sorted(name for name, number in fewest.items() if number >= least))
    where = listed[0].files[0].array.file.parent
    if len(stimuli) < MIN_STIMULI:
        raise InputError(
            f"only {len(stimuli)} stimuli in {where} were presented {times_said(least)} to every "
            "subject: lower --min-repeats, or choose the subjects by --participant-label"
        )
    unseen = sum(number == 0 for number in fewest.values())
    fewer = sum(0 < number < least for number in fewest.values())
    notes = []
    if unseen:
        notes.append(
            f"{unseen} of {len(seen)} stimuli are left out because some subject did not see them"
        )
    if fewer:
        notes.append(
            f"{fewer} stimuli are left out because some subject saw them less than "
            f"{times_said(least)}; --min-repeats 1 takes all, without halves if one was seen once"
        )
    return stimuli, least, notes


def times_said(number: int) -> str:
    """Say how often."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


Regions = tuple[dict[str, Integers], tuple[Path, ...], list[str]]


def _find_regions(
    listed: Sequence[SubjectTrials], want: Request, atlas: Path | None
) -> list[Regions]:
    """Voxels of the regions of each subject, the files that say so, and notes."""
    if all(subject.rois for subject in listed):
        return [(dict(subject.rois), (), []) for subject in listed]
    regions = [region for region in want.rois if not isinstance(region, RegionChoice)]
    # Arrays have no place of their own: they are matched voxel by voxel.
    regions_of = regions_by_subject(atlas, regions, ignore_place=True)
    found = []
    for subject in listed:
        voxels = regions_of(subject.name.removeprefix("sub-"), None)
        if voxels.grid.shape != subject.shape:
            raise InputError(
                f"{voxels.grid.file} has {times(voxels.grid.shape)} voxels but the responses of "
                f"{subject.name} in {subject.files[0].array.file} have {times(subject.shape)}: "
                "give an atlas in the grid of the responses, with {subject} in its name where each "
                "subject has an own"
            )
        found.append(voxels)
    notes = notes_on_regions(found)
    return [(voxels.rois, voxels.files, notes) for voxels in found]


def _average(
    subject: SubjectTrials,
    rows: Mapping[str, int],
    voxels: Integers,
    zscore: bool,
    with_runs: bool,
) -> tuple[RoiPatterns, list[str]]:
    """Mean responses to each stimulus: of all, odd, even and single presentations.

    Parameters
    ----------
    subject : SubjectTrials
    rows : mapping of str to int
        Row of each name of the trials that is taken.
    voxels : ndarray of int
    zscore : bool
    with_runs : bool
    """
    n_stimuli = max(rows.values()) + 1
    presented = np.zeros(n_stimuli, dtype=np.intp)
    of_files: list[tuple[TrialFile, Integers, Integers]] = []
    for file in subject.files:
        row_of = np.array([rows.get(name, -1) for name in file.stimuli], dtype=np.intp)
        repeat_of = np.zeros(len(row_of), dtype=np.intp)
        for trial, row in enumerate(row_of):
            if row >= 0:
                repeat_of[trial] = presented[row]
                presented[row] += 1
        of_files.append((file, row_of, repeat_of))
    sums = _Sums(presented, len(voxels), keep_repeats=with_runs)
    for file, row_of, repeat_of in of_files:
        for columns in _blocks(file.array, len(voxels)):
            used = np.arange(len(row_of)) if zscore else np.flatnonzero(row_of >= 0)
            found = file.array.read(used, voxels[columns]).astype(np.float64) / file.scale
            lacking = np.zeros(found.shape[1], dtype=bool)
            sessions = np.array(file.sessions)[used]
            for session in dict.fromkeys(file.sessions):
                trials = np.flatnonzero(sessions == session)
                if len(trials) < MIN_STIMULI:
                    continue
                found[trials], same = _of_session(found[trials], zscore)
                lacking |= same
            taken = row_of[used] >= 0
            sums.add(columns, found[taken], row_of[used][taken], repeat_of[used][taken], lacking)
    return sums.patterns(voxels)


def _blocks(array: TrialArray, n_voxels: int) -> Iterator[slice]:
    most = max(1, BLOCK_BYTES // (8 * array.n_trials)) if array.by_voxel else n_voxels
    for start in range(0, n_voxels, most):
        yield slice(start, start + most)


def _of_session(found: Floats, zscore: bool) -> tuple[Floats, Booleans]:
    """Responses of a session (trials, voxels), and which voxels hold no data in it."""
    low, high = found.min(axis=0), found.max(axis=0)
    same = np.isfinite(high - low) & ~vary_between(low, high)
    if zscore:
        deviation = found.std(axis=0)
        found = (found - found.mean(axis=0)) / np.where(same, 1, deviation)
    return found, same


class _Sums:
    """Sums of responses to all, odd and even presentations of each stimulus."""

    def __init__(self, presented: Integers, n_voxels: int, keep_repeats: bool) -> None:
        self._presented = presented
        shape = (len(presented), n_voxels)
        halves = ("odd", "even") if presented.min() > 1 else ()
        self._sums = {part: np.zeros(shape) for part in ("all", *halves)}
        self._lacking = np.zeros(n_voxels, dtype=bool)
        same_number = presented.min() == presented.max() > 1
        self._repeats = np.zeros((presented[0], *shape)) if keep_repeats and same_number else None
        self._repeats_wanted = keep_repeats

    def add(
        self, columns: slice, found: Floats, rows: Integers, repeats: Integers, lacking: Booleans
    ) -> None:
        """Add responses (trials, voxels) of some voxels."""
        self._lacking[columns] |= lacking
        for values, row, repeat in zip(found, rows, repeats, strict=True):
            self._sums["all"][row, columns] += values
            half = "even" if repeat % 2 else "odd"
            if half in self._sums:
                self._sums[half][row, columns] += values
            if self._repeats is not None:
                self._repeats[repeat, row, columns] = values

    def patterns(self, voxels: Integers) -> tuple[RoiPatterns, list[str]]:
        """Means, and notes on what they are of."""
        counts = {
            "all": self._presented,
            "odd": (self._presented + 1) // 2,
            "even": self._presented // 2,
        }
        means = {part: total / counts[part][:, None] for part, total in self._sums.items()}
        # Voxels without data in a session are left out, as those of a run are.
        means["all"][:, self._lacking] = 0
        fewest, most = int(self._presented.min()), int(self._presented.max())
        number = str(fewest) if fewest == most else f"{fewest} to {most}"
        notes = [f"presentations of each stimulus that were averaged: {number}"]
        if fewest == 1 and most > 1:
            once = int(np.count_nonzero(self._presented == 1))
            notes.append(
                f"no halves, because {once} stimuli were presented once: --min-repeats 2 leaves "
                "them out"
            )
        if self._repeats_wanted and self._repeats is None and most > 1:
            notes.append(
                "no betas of single presentations, because stimuli were not presented equally often"
            )
        return (
            RoiPatterns(
                means["all"],
                voxels,
                odd=means.get("odd"),
                even=means.get("even"),
                runs=self._repeats,
            ),
            notes,
        )
