"""From a BIDS folder to the inputs of each subject, checked before anything is computed."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
from nibabel.filebasedimages import ImageFileError

from bids_config.errors import InputError
from bids_config.schema import DatasetConfig
from pipelines.bids_checks import check_images
from pipelines.bids_layout import BidsDataset, natural_key
from pipelines.bids_runs import SubjectFiles, find_subject_files
from pipelines.problems import Problems


@dataclass(frozen=True)
class BoldRun:
    """One BOLD run.

    Attributes
    ----------
    subject, session, run : str, str or None, str or None
        Labels as in the file name, without `sub-`, `ses-`, `run-`.
    bold, events : Path
        The image (4D) and its events table.
    repetition_time : float
        TR (s).
    slice_times : tuple of float
        Acquisition time (s) of each slice, along `slice_axis`.
    slice_axis : str
        'i', 'j' or 'k'; with '-' the first time belongs to the last slice.
    """

    subject: str
    session: str | None
    run: str | None
    bold: Path
    events: Path
    repetition_time: float
    slice_times: tuple[float, ...]
    slice_axis: str


@dataclass(frozen=True)
class SubjectInputs:
    """What the participant level needs of a subject; `runs` are in session and run order."""

    subject: str
    t1w: Path
    runs: tuple[BoldRun, ...]


def read_dataset(
    bids_dir: str | Path,
    config: DatasetConfig,
    participant_labels: Sequence[str] | None = None,
    session_labels: Sequence[str] | None = None,
    *,
    names_only: bool = False,
    n_threads: int = 1,
) -> tuple[SubjectInputs, ...]:
    """Find the T1w image and the BOLD runs of every subject, and check them.

    Parameters
    ----------
    bids_dir : str or Path
        Root of a raw BIDS data set.
    config : DatasetConfig
        Which runs belong to the experiment, and what their events mean.
    participant_labels, session_labels : sequence of str, optional
        Take only these, with or without `sub-` and `ses-`. Sessions narrow down the BOLD runs; a
        T1w image may come from any session.
    names_only : bool
        Look at names, sidecars and events only and leave the images alone, which then need not
        be there: a missing one gets the path where BIDS would have it.
    n_threads : int
        How many images are read through at the same time.

    Returns
    -------
    tuple of SubjectInputs
        In natural order of the labels.

    Raises
    ------
    InputError
        For the first thing that is wrong; `find_problems` lists all.
    """
    subjects = _inspect(
        bids_dir,
        config,
        participant_labels,
        session_labels,
        names_only=names_only,
        n_threads=n_threads,
        problems=Problems(stop_at_first=True),
    )
    return tuple(_to_inputs(subject) for subject in subjects)


def find_problems(
    bids_dir: str | Path,
    config: DatasetConfig,
    participant_labels: Sequence[str] | None = None,
    session_labels: Sequence[str] | None = None,
    *,
    names_only: bool = False,
    n_threads: int = 1,
) -> tuple[str, ...]:
    """List everything for which `read_dataset` would refuse a data set, a sentence each."""
    problems = Problems(stop_at_first=False)
    with problems.noted():
        _inspect(
            bids_dir,
            config,
            participant_labels,
            session_labels,
            names_only=names_only,
            n_threads=n_threads,
            problems=problems,
        )
    return tuple(problems.found)


def _inspect(
    bids_dir: str | Path,
    config: DatasetConfig,
    participant_labels: Sequence[str] | None,
    session_labels: Sequence[str] | None,
    *,
    names_only: bool,
    n_threads: int,
    problems: Problems,
) -> list[SubjectFiles]:
    """Look at all subjects: names, sidecars and events first, then the images, dear checks last."""
    dataset = BidsDataset(bids_dir)
    labels = _select_subjects(dataset, participant_labels)
    sessions = _select_sessions(dataset, labels, session_labels)
    subjects = [
        find_subject_files(dataset, label, config, sessions, names_only, problems)
        for label in labels
    ]
    if not names_only:
        check_images(subjects, n_threads, problems)
    return subjects


def _select_subjects(
    dataset: BidsDataset, participant_labels: Sequence[str] | None
) -> tuple[str, ...]:
    if not dataset.subjects:
        raise InputError(f"{dataset.root} holds no sub-* folder: give the root of a BIDS data set")
    if not participant_labels:
        return dataset.subjects
    return _select(participant_labels, "sub-", dataset.subjects, f"participant in {dataset.root}")


def _select_sessions(
    dataset: BidsDataset, subjects: Sequence[str], session_labels: Sequence[str] | None
) -> tuple[str, ...] | None:
    """Choose sessions; None stands for all, and for runs that lie in none."""
    if not session_labels:
        return None
    there = {session for subject in subjects for session in dataset.sessions(subject)}
    place = f"session of the chosen participants in {dataset.root}"
    return _select(session_labels, "ses-", tuple(sorted(there, key=natural_key)), place)


def _select(
    labels: Sequence[str], prefix: str, there: tuple[str, ...], what: str
) -> tuple[str, ...]:
    wanted = {label.removeprefix(prefix) for label in labels}
    for label in sorted(wanted, key=natural_key):
        if label not in there:
            raise InputError(
                f"{label!r} is no {what}: choose from {', '.join(there) or 'none, it has none'}"
            )
    return tuple(label for label in there if label in wanted)


def _to_inputs(files: SubjectFiles) -> SubjectInputs:
    assert files.t1w is not None  # else refused before
    runs = []
    for found in files.runs:
        assert found.timing is not None and found.events_file is not None  # else refused before
        runs.append(
            BoldRun(
                subject=files.subject,
                session=found.bold.session,
                run=found.bold.run,
                bold=found.bold.path,
                events=found.events_file,
                repetition_time=found.timing.repetition_time,
                slice_times=found.timing.slice_times,
                slice_axis=found.timing.slice_axis,
            )
        )
    return SubjectInputs(files.subject, files.t1w, tuple(runs))


def count_volumes(subject: SubjectInputs) -> int:
    """Volumes of all runs of a subject together; images that are not there count as none."""
    count = 0
    for run in subject.runs:
        with suppress(OSError, ImageFileError, IndexError):
            count += nib.load(run.bold).shape[3]
    return count
