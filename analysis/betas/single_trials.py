"""From responses to single trials to the patterns of a subject, in whatever files they lie."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from conceptrsa.analysis.arrays import Booleans, Floats, Integers
from conceptrsa.analysis.betas.beta_index import Request
from conceptrsa.analysis.betas.conditions import stimuli_of
from conceptrsa.analysis.betas.roi_voxels import notes_on_regions, regions_by_subject
from conceptrsa.analysis.betas.trial_arrays import BLOCK_BYTES, TrialArray
from conceptrsa.analysis.betas.volumes import Grid
from conceptrsa.analysis.brain.patterns import (
    MIN_STIMULI,
    RoiPatterns,
    SubjectPatterns,
    VoxelGrid,
    vary_between,
    with_data_only,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import times
from conceptrsa.bids_config.names import some_of, stimulus_ids
from conceptrsa.bids_config.schema import RegionChoice

NO_STIMULUS = ""
"""Stands for the name of a trial that is not used."""


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
        """Shape of the grid of voxels."""
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
    Stimuli are all that a subject has seen; where every subject saw half of its own twice or more,
    or where the data were made to have some that were, those (`want.min_repeats` says otherwise).

    Parameters
    ----------
    listed : sequence of SubjectTrials
    want : Request
    atlas : Path, optional
        Label volume in the grid of the responses, where they hold no regions of their own.
    zscore : bool
        Whether the data are a published set whose authors z-score each voxel over all trials of
        each session, and repeat some stimuli for their reliability; `want.zscore` says otherwise.

    Raises
    ------
    InputError
        On an atlas of another shape, or fewer than three stimuli of a subject.
    """
    share_repeated = 0.0 if zscore else 0.5
    zscore = zscore if want.zscore is None else want.zscore
    for subject in listed:
        _require_one_shape(subject)
    names = [_name_stimuli(subject, want) for subject in listed]
    seen = [_times_seen(subject, named) for subject, (named, _) in zip(listed, names, strict=True)]
    min_repeats = want.min_repeats or _usual_repeats(seen, share_repeated)
    regions_of = _find_regions(listed, want, atlas)
    trials = [tuple(subject.trials()) for subject in listed]
    # A table may hold one row of betas a stimulus just as well.
    are_single = zscore or any(len(set(named)) < len(named) for named in trials)
    subjects: list[SubjectPatterns] = []
    said: list[tuple[str, ...]] = []
    for subject, times_seen, (named, left_out), (regions, files, on_regions, grid) in zip(
        listed, seen, names, regions_of, strict=True
    ):
        stimuli, on_stimuli = _often_enough(subject, times_seen, min_repeats)
        where = {stimulus: row for row, stimulus in enumerate(stimuli)}
        rows = {name: where[stimulus] for name, stimulus in named.items() if stimulus in where}
        union = np.unique(np.concatenate(list(regions.values())))
        everywhere, averaged = _average(subject, rows, union, zscore, want.with_runs)
        left_out_note = (
            f"left out, because they are not stimuli: {some_of(left_out)}" if left_out else None
        )
        zscore_note = f"single trials are {'' if zscore else 'not '}z-scored by session"
        candidates = (
            *on_stimuli, *on_regions, *subject.notes, left_out_note, *averaged,
            zscore_note if are_single else None,
        )  # fmt: skip
        said.append(tuple(note for note in candidates if note))
        patterns = SubjectPatterns(
            subject=subject.name.removeprefix("sub-"),
            stimuli=stimuli,
            rois={
                name: replace(everywhere.of_voxels(np.searchsorted(union, voxels)), n_dropped=0)
                for name, voxels in regions.items()
            },
            sources=(*(file.array.file for file in subject.files), *subject.tables, *files),
            estimation=(
                {"SingleTrials": True, "ZscoredBySession": zscore, "MinRepeats": min_repeats}
                if are_single
                else {}
            ),
            grid=grid,
        )
        subjects.append(with_data_only(patterns))
    of_all = [note for note in said[0] if all(note in others for others in said)]
    own = [
        tuple(f"{subject.label}: {note}" for note in notes_here if note not in of_all)
        for subject, notes_here in zip(subjects, said, strict=True)
    ]
    own[0] = (*of_all, *own[0])
    return tuple(
        replace(subject, notes=(*first, *subject.notes))
        for subject, first in zip(subjects, own, strict=True)
    )


def _require_one_shape(subject: SubjectTrials) -> None:
    for file in subject.files:
        if file.array.shape != subject.shape:
            raise InputError(
                f"{file.array.file} has {times(file.array.shape)} voxels but "
                f"{subject.files[0].array.file} has {times(subject.shape)}: bring all sessions of "
                f"{subject.name} to one grid"
            )


def _name_stimuli(subject: SubjectTrials, want: Request) -> tuple[dict[str, str], tuple[str, ...]]:
    """Stimulus of each name of a subject's trials, and the names that are no stimuli."""
    source = subject.files[0].array.file.parent
    names = tuple(name for name in dict.fromkeys(subject.trials()) if name != NO_STIMULUS)
    ids = dict(zip(names, stimulus_ids(names, source), strict=True))
    chosen, left_out = stimuli_of(tuple(dict.fromkeys(ids.values())), want.conditions, source)
    return {name: chosen[id_] for name, id_ in ids.items() if id_ in chosen}, left_out


def _times_seen(subject: SubjectTrials, named: Mapping[str, str]) -> Counter[str]:
    """Count how often a subject saw each stimulus."""
    return Counter(named[trial] for trial in subject.trials() if trial in named)


def _usual_repeats(seen: Sequence[Counter[str]], share_repeated: float) -> int:
    """Two where every subject saw enough of its stimuli twice, so that there are halves."""
    for times_seen in seen:
        n_repeated = sum(number > 1 for number in times_seen.values())
        if n_repeated < max(MIN_STIMULI, share_repeated * len(times_seen)):
            return 1
    return 2


def _often_enough(
    subject: SubjectTrials, times_seen: Counter[str], min_repeats: int
) -> tuple[tuple[str, ...], list[str]]:
    """Stimuli that a subject has seen often enough, and a note on the others."""
    stimuli = tuple(sorted(name for name, number in times_seen.items() if number >= min_repeats))
    if len(stimuli) < MIN_STIMULI:
        raise InputError(
            f"only {len(stimuli)} stimuli in {subject.files[0].array.file.parent} were presented "
            f"{times_said(min_repeats)} to {subject.name}: lower --min-repeats, or leave the "
            "subject out with --participant-label"
        )
    fewer = len(times_seen) - len(stimuli)
    if not fewer:
        return stimuli, []
    note = (
        f"{fewer} of {len(times_seen)} stimuli are left out, because they were presented less than "
        f"{times_said(min_repeats)}; --min-repeats 1 uses all, without halves if one was presented "
        "once"
    )
    return stimuli, [note]


def times_said(number: int) -> str:
    """Say how often."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


Regions = tuple[dict[str, Integers], tuple[Path, ...], list[str], VoxelGrid | None]


def _find_regions(
    listed: Sequence[SubjectTrials], want: Request, atlas: Path | None
) -> list[Regions]:
    """Voxels of the regions of each subject, the files that say so, notes, and a standard grid."""
    if all(subject.rois for subject in listed):
        return [(dict(subject.rois), (), [], None) for subject in listed]
    regions = [region for region in want.rois if not isinstance(region, RegionChoice)]
    # Arrays have no place of their own: they are matched voxel by voxel.
    regions_of = regions_by_subject(atlas, regions, replace(want.atlas_reading, ignore_place=True))
    found = []
    for subject in listed:
        voxels = regions_of(subject.name.removeprefix("sub-"), None)
        if voxels.grid.shape != subject.shape:
            raise InputError(
                f"{voxels.grid.file} has {times(voxels.grid.shape)} voxels but the responses of "
                f"{subject.name} in {subject.files[0].array.file} have {times(subject.shape)}: "
                "give an atlas in the grid of the responses, with {subject} in its name if "
                "subjects differ"
            )
        for file in subject.files:
            _require_same_axes(file.array, voxels.grid)
        found.append(voxels)
    notes = notes_on_regions(found)
    return [(voxels.rois, voxels.files, notes, voxels.grid.in_standard_space()) for voxels in found]


def _require_same_axes(array: TrialArray, grid: Grid) -> None:
    """Refuse an atlas whose axes run elsewhere, which its shape does not show."""
    if array.affine is None:
        return
    ours, theirs = (
        "".join(str(axis) for axis in nib.orientations.aff2axcodes(affine))
        for affine in (array.affine, grid.affine)
    )
    if ours != theirs:
        raise InputError(
            f"the axes of {grid.file} are {theirs} but those of {array.file} are {ours}: bring the "
            "atlas to the grid of the responses"
        )


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
        Whether single presentations are kept.
    """
    rows_of = [np.array([rows.get(name, -1) for name in file.stimuli]) for file in subject.files]
    taken = np.concatenate(rows_of)
    presented = np.bincount(taken[taken >= 0])
    fewest, most = int(presented.min()), int(presented.max())
    shape = (len(presented), len(voxels))
    # Of single presentations, or sums over those of each half.
    each = with_runs and 1 < fewest == most
    parts = np.zeros((most if each else 2 if fewest > 1 else 1, *shape))
    lacking = np.zeros(len(voxels), dtype=bool)
    seen = np.zeros(len(presented), dtype=np.intp)
    for file, rows_here in zip(subject.files, rows_of, strict=True):
        used = np.arange(len(rows_here)) if zscore else np.flatnonzero(rows_here >= 0)
        places = np.flatnonzero(rows_here[used] >= 0)
        row = rows_here[used][places]
        repeat = seen[row] + [np.count_nonzero(row[:at] == row[at]) for at in range(len(row))]
        seen += np.bincount(row, minlength=len(seen))
        sessions = np.array(file.sessions)[used]
        for columns in _blocks(file.array, len(voxels)):
            found = file.array.read(used, voxels[columns]).astype(np.float64) / file.scale
            for session in np.unique(sessions):
                of_session = np.flatnonzero(sessions == session)
                if zscore and len(of_session) < MIN_STIMULI:
                    raise InputError(
                        f"{file.array.file} has {len(of_session)} trials of session {session!r}, "
                        "too few to z-score: leave the session out, or give --no-zscore-sessions"
                    )
                if len(of_session) >= MIN_STIMULI:
                    found[of_session], same = _of_session(found[of_session], zscore)
                    lacking[columns] |= same
            for values, r, k in zip(found[places], row, repeat, strict=True):
                parts[k % len(parts), r, columns] += values
    with np.errstate(invalid="ignore"):
        # Voxels without data in a session are left out, as those of a run are.
        parts[..., lacking] *= 0
    notes = []
    if most > 1:
        number = str(most) if fewest == most else f"{fewest} to {most}"
        notes.append(f"presentations averaged per stimulus: {number}")
    if most > fewest == 1:
        notes.append(
            f"no halves, because {np.count_nonzero(presented == 1)} stimuli were presented once: "
            "--min-repeats 2 leaves them out"
        )
    if with_runs and most > fewest:
        notes.append(
            "no betas of single presentations, because stimuli were presented unequally often"
        )
    if each:
        return RoiPatterns(None, voxels, runs=parts), notes
    if fewest == 1:
        return RoiPatterns(parts[0] / presented[:, None], voxels), notes
    n_averaged = np.stack([(presented + 1) // 2, presented // 2])
    parts /= n_averaged[..., None]
    return RoiPatterns(None, voxels, halves=(parts[0], parts[1]), n_averaged=n_averaged), notes


def _blocks(array: TrialArray, n_voxels: int) -> Iterator[slice]:
    most = max(1, BLOCK_BYTES // (8 * array.n_trials)) if array.by_voxel else n_voxels
    for start in range(0, n_voxels, most):
        yield slice(start, start + most)


def _of_session(found: Floats, zscore: bool) -> tuple[Floats, Booleans]:
    """Responses of a session (trials, voxels), and which voxels hold no data in it."""
    low, high = found.min(axis=0), found.max(axis=0)
    same = np.isfinite(high - low) & ~vary_between(low, high)
    if zscore:
        found = (found - found.mean(axis=0)) / np.where(same, 1, found.std(axis=0))
    return found, same
