"""From a BIDS folder to the inputs of each subject, checked before anything is computed."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import warn_once
from conceptrsa.bids_config.schema import DatasetConfig, RunSelection
from conceptrsa.bids_config.toml_tables import did_you_mean
from conceptrsa.pipelines.bids.checks import check_images, read_image_header
from conceptrsa.pipelines.bids.events import check_names
from conceptrsa.pipelines.bids.filters import BidsFilters
from conceptrsa.pipelines.bids.fmriprep import FmriprepDerivatives, PreprocessedRun
from conceptrsa.pipelines.bids.layout import BidsDataset, natural_key
from conceptrsa.pipelines.bids.problems import Problems
from conceptrsa.pipelines.bids.runs import (
    Reading,
    SubjectFiles,
    find_subject_files,
    has_runs,
)


@dataclass(frozen=True)
class BoldRun:
    """One BOLD run.

    Attributes
    ----------
    subject, session, run : str, str or None, str or None
        Labels as in the file name, without `sub-`, `ses-`, `run-`.
    bold, events : Path
        The raw image (4D) and its events table.
    repetition_time : float
        TR (s).
    slice_times : tuple of float
        Acquisition time (s) of each slice, along `slice_axis`; none for a preprocessed run, and
        where slices are not to be corrected for it.
    slice_axis : str
        'i', 'j' or 'k'; with '-' the first time belongs to the last slice.
    preprocessed : PreprocessedRun or None
        What fMRIPrep made of it, where that is the input; the raw image need not be there then.
    """

    subject: str
    session: str | None
    run: str | None
    bold: Path
    events: Path
    repetition_time: float
    slice_times: tuple[float, ...]
    slice_axis: str
    preprocessed: PreprocessedRun | None = None

    @property
    def image(self) -> Path:
        """The image that is worked on: the raw one, or what fMRIPrep made of it."""
        return self.bold if self.preprocessed is None else self.preprocessed.bold

    @property
    def has_corrected_slices(self) -> bool:
        """Whether slices are corrected for their timing, here or by fMRIPrep."""
        return bool(self.slice_times) if self.preprocessed is None else self.preprocessed.corrected


@dataclass(frozen=True)
class SubjectInputs:
    """What the participant level needs of a subject; `runs` are in session and run order.

    Attributes
    ----------
    subject : str
        Label without `sub-`.
    t1w : Path
        Anatomical image, raw or fMRIPrep's.
    runs : tuple of BoldRun
    segmentation : Path or None
        aparc+aseg in T1w space, where fMRIPrep left one.
    t1w_mask : Path or None
        Brain mask of the T1w image, supplied or fMRIPrep's.
    made_by : str or None
        What preprocessed the runs, such as 'fMRIPrep 23.2.0'; None for raw ones.
    noticed : tuple of str
        Sentences on images that are taken in spite of something.
    """

    subject: str
    t1w: Path
    runs: tuple[BoldRun, ...]
    segmentation: Path | None = None
    made_by: str | None = None
    t1w_mask: Path | None = None
    noticed: tuple[str, ...] = ()

    @property
    def is_preprocessed(self) -> bool:
        """Whether the runs come from fMRIPrep."""
        return any(run.preprocessed is not None for run in self.runs)

    @property
    def has_corrected_slices(self) -> bool:
        """Whether slices are corrected for their timing, here or by fMRIPrep."""
        return all(run.has_corrected_slices for run in self.runs)


def read_dataset(
    bids_dir: str | Path,
    config: DatasetConfig,
    participant_labels: Sequence[str] | None = None,
    session_labels: Sequence[str] | None = None,
    *,
    names_only: bool = False,
    n_threads: int = 1,
    reading: Reading | None = None,
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
    reading : Reading, optional
        Filters, a folder for the index of names, and fMRIPrep's output to start from.

    Returns
    -------
    tuple of SubjectInputs
        In natural order of the labels.

    Raises
    ------
    InputError
        For the first thing that is wrong; `find_problems` lists all.
    """
    reading = reading or Reading()
    derivatives = _open_derivatives(reading)
    subjects = _inspect(
        bids_dir,
        config,
        participant_labels,
        session_labels,
        names_only=names_only,
        n_threads=n_threads,
        problems=Problems(stop_at_first=True),
        reading=reading,
    )
    made_by = None if derivatives is None else derivatives.made_by
    return tuple(_to_inputs(subject, made_by) for subject in subjects)


def find_problems(
    bids_dir: str | Path,
    config: DatasetConfig,
    participant_labels: Sequence[str] | None = None,
    session_labels: Sequence[str] | None = None,
    *,
    names_only: bool = False,
    n_threads: int = 1,
    reading: Reading | None = None,
) -> tuple[str, ...]:
    """List everything for which `read_dataset` would refuse a data set, a sentence each."""
    problems = Problems(stop_at_first=False)
    reading = reading or Reading()
    with problems.noted():
        _inspect(
            bids_dir,
            config,
            participant_labels,
            session_labels,
            names_only=names_only,
            n_threads=n_threads,
            problems=problems,
            reading=reading,
        )
    return tuple(problems.found)


def survey(
    bids_dir: str | Path,
    config: DatasetConfig,
    participant_labels: Sequence[str] | None = None,
    session_labels: Sequence[str] | None = None,
    reading: Reading | None = None,
) -> tuple[tuple[SubjectInputs, ...], tuple[str, ...]]:
    """Give the subjects as far as names tell, and all problems; what can be, is read once.

    Parameters as for `read_dataset`.

    Returns
    -------
    subjects : tuple of SubjectInputs
        As `read_dataset` gives them with `names_only`; none where some of their files lack.
    problems : tuple of str
        As `find_problems` gives them.
    """
    selection = (bids_dir, config, participant_labels, session_labels)
    problems = Problems(stop_at_first=False)
    reading = reading or Reading()
    subjects: tuple[SubjectInputs, ...] = ()
    with problems.noted():
        derivatives = _open_derivatives(reading)
        found = _inspect(
            *selection, names_only=False, n_threads=1, problems=problems, reading=reading
        )
        if all(map(_is_complete, found)):
            made_by = None if derivatives is None else derivatives.made_by
            subjects = tuple(_to_inputs(files, made_by) for files in found)
        else:
            subjects = read_dataset(*selection, names_only=True, reading=reading)
    return subjects, tuple(problems.found)


def _is_complete(files: SubjectFiles) -> bool:
    return (
        files.t1w is not None
        and bool(files.runs)
        and all(run.timing is not None and run.events is not None for run in files.runs)
    )


def _inspect(
    bids_dir: str | Path,
    config: DatasetConfig,
    participant_labels: Sequence[str] | None,
    session_labels: Sequence[str] | None,
    *,
    names_only: bool,
    n_threads: int,
    problems: Problems,
    reading: Reading,
) -> list[SubjectFiles]:
    """Look at all subjects: names, sidecars and events first, then the images, dear checks last."""
    dataset = BidsDataset(bids_dir, reading.database_dir)
    derivatives = _open_derivatives(reading)
    labels = _select_subjects(dataset, participant_labels)
    sessions = _select_sessions(dataset, labels, session_labels)
    if not participant_labels:
        labels = _with_runs(dataset, labels, config.runs, sessions, reading.filters)
    subjects = [
        find_subject_files(
            dataset,
            label,
            config,
            sessions,
            names_only,
            problems,
            reading.filters,
            derivatives,
            reading.t1w_mask,
            reading.ignore,
        )
        for label in labels
    ]
    with problems.noted():
        tables = [run.events for subject in subjects for run in subject.runs]
        check_names([events for events in tables if events is not None], dataset.root)
    _warn_of_headers(subjects)
    return subjects if names_only else check_images(subjects, n_threads, problems, reading.ignore)


def _with_runs(
    dataset: BidsDataset,
    labels: tuple[str, ...],
    selection: RunSelection,
    sessions: tuple[str, ...] | None,
    filters: BidsFilters,
) -> tuple[str, ...]:
    """Leave out participants without a run of the task, which BIDS allows; all lacking is an error.

    Those named by --participant-label are not left out.
    """
    having = tuple(
        label for label in labels if has_runs(dataset, label, selection, sessions, filters)
    )
    lacking = [f"sub-{label}" for label in labels if label not in having]
    if not having or not lacking:
        return labels
    warn_once(
        f"{len(lacking)} of {len(labels)} participants in {dataset.root} have no BOLD run of task "
        f"{selection.task} that is selected and are left out: {', '.join(lacking)}"
    )
    return having


def _open_derivatives(reading: Reading) -> FmriprepDerivatives | None:
    if reading.derivatives_dir is None:
        return None
    return FmriprepDerivatives(reading.derivatives_dir)


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
                f"{label!r} is no {what}{did_you_mean(label, there)}: choose from "
                f"{', '.join(there) or 'none, it has none'}"
            )
    return tuple(label for label in there if label in wanted)


def _warn_of_headers(subjects: Sequence[SubjectFiles]) -> None:
    runs = [run for subject in subjects for run in subject.runs if run.preprocessed is not None]
    wrong = [run for run in runs if run.preprocessed and run.preprocessed.wrong_header_tr]
    if wrong and wrong[0].preprocessed and wrong[0].timing:
        warn_once(
            f"{len(wrong)} of {len(runs)} runs have another TR in their header than in their "
            f"sidecar, which is used (the first: {wrong[0].image}, "
            f"{wrong[0].preprocessed.wrong_header_tr:g} s in the header, "
            f"{wrong[0].timing.repetition_time:g} s in the sidecar; fMRIPrep 23.2.0 writes 1 s "
            "into every header)"
        )


def _to_inputs(files: SubjectFiles, made_by: str | None) -> SubjectInputs:
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
                preprocessed=found.preprocessed,
            )
        )
    return SubjectInputs(
        files.subject,
        files.t1w,
        tuple(runs),
        files.segmentation,
        made_by,
        files.t1w_mask,
        files.noticed,
    )


def links_outside(subjects: Sequence[SubjectInputs], bids_dir: str | Path) -> str:
    """Say which raw files are links to places outside the data set; '' where none are.

    Links within it, as git-annex makes them, are what they seem to be.
    """
    root = Path(bids_dir).resolve()
    files = [
        file
        for subject in subjects
        for file in (
            subject.t1w,
            *(path for run in subject.runs for path in (run.bold, run.events)),
        )
    ]
    outside = [
        file
        for file in dict.fromkeys(files)
        if file.is_relative_to(root) and not file.resolve().is_relative_to(root)
    ]
    if not outside:
        return ""
    return (
        f"{len(outside)} of {len(set(files))} files are links to places outside {root}, which are "
        f"read (the first: {outside[0]} -> {outside[0].resolve()})"
    )


def count_volumes(subject: SubjectInputs) -> int:
    """Volumes of all runs of a subject together; images that are not there count as none."""
    count = 0
    for run in subject.runs:
        with suppress(InputError, IndexError):
            count += read_image_header(run.image).shape[3]
    return count
