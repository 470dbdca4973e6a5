"""From a BIDS folder to the inputs of each subject, checked before anything is computed."""

from collections.abc import Sequence
from pathlib import Path

from conceptrsa.bids_config.errors import InputError, Problems
from conceptrsa.bids_config.names import did_you_mean, natural_key, warn_once
from conceptrsa.bids_config.schema import DatasetConfig
from conceptrsa.pipelines.bids.checks import check_images
from conceptrsa.pipelines.bids.dataset import Reading, SubjectInputs
from conceptrsa.pipelines.bids.events import check_names
from conceptrsa.pipelines.bids.fmriprep import FmriprepDerivatives
from conceptrsa.pipelines.bids.layout import BidsDataset
from conceptrsa.pipelines.bids.subject_files import SubjectFinder


def read_dataset(
    bids_dir: str | Path,
    config: DatasetConfig,
    participant_labels: Sequence[str] | None = None,
    session_labels: Sequence[str] | None = None,
    *,
    names_only: bool = False,
    n_threads: int = 1,
    reading: Reading | None = None,
    problems: Problems | None = None,
) -> tuple[SubjectInputs, ...]:
    """Find the T1w image and the BOLD runs of every subject, and check them.

    Names, sidecars and events come first, then the images.

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
        Number of images read at the same time.
    reading : Reading, optional
        Filters, and fMRIPrep's output to start from.
    problems : Problems, optional
        Takes what is wrong with subjects, which may then be incomplete; by default the first
        mistake is raised.

    Returns
    -------
    tuple of SubjectInputs
        In natural order of the labels.

    Raises
    ------
    InputError
        For the first thing that is wrong.
    """
    reading = reading or Reading()
    problems = problems or Problems(stop_at_first=True)
    folder = reading.derivatives_dir
    derivatives = None if folder is None else FmriprepDerivatives(folder)
    dataset = BidsDataset(bids_dir)
    if not dataset.subjects:
        raise InputError(f"{dataset.root} holds no sub-* folder: give the root of a BIDS data set")
    labels, sessions = dataset.subjects, None
    if participant_labels:
        labels = _select(participant_labels, "sub-", labels, f"participant in {dataset.root}")
    if session_labels:
        there = {session for label in labels for session in dataset.sessions(label)}
        place = f"session of the chosen participants in {dataset.root}"
        sessions = _select(session_labels, "ses-", sorted(there, key=natural_key), place)
    finder = SubjectFinder(dataset, config, sessions, names_only, reading, derivatives, problems)
    if not participant_labels:
        labels = _with_runs(finder, labels)
    if derivatives is not None:
        derivatives.choose_space(reading.space, config.runs.task, labels)
    _require_standard_space(reading, derivatives)
    subjects = tuple(map(finder.find, labels))
    runs = [run for subject in subjects for run in subject.runs]
    with problems.noted():
        check_names([r.conditions for r in runs if not r.conditions.empty], dataset.root)
    wrong = [(r, r.preprocessed) for r in runs if r.preprocessed and r.preprocessed.wrong_header_tr]
    if wrong:
        run, preprocessed = wrong[0]
        warn_once(
            f"{len(wrong)} of {len(runs)} runs have a TR in their header that differs from their "
            f"sidecar's, which is used (the first: {run.image}, {preprocessed.wrong_header_tr:g} s "
            f"in the header, {run.repetition_time:g} s in the sidecar; fMRIPrep 23.2.0 writes 1 s "
            "into every header)"
        )
    return subjects if names_only else check_images(subjects, n_threads, problems, reading.ignore)


def survey(
    bids_dir: str | Path,
    config: DatasetConfig,
    participant_labels: Sequence[str] | None = None,
    session_labels: Sequence[str] | None = None,
    *,
    n_threads: int = 1,
    reading: Reading | None = None,
) -> tuple[tuple[SubjectInputs, ...], tuple[str, ...]]:
    """Give the subjects as far as names tell, and all problems; what can be, is read once.

    Parameters as for `read_dataset`.

    Returns
    -------
    subjects : tuple of SubjectInputs
        As `read_dataset` gives them with `names_only`; none where some of their files lack.
    problems : tuple of str
        Everything for which `read_dataset` would refuse the data set, a sentence each.
    """
    selection = (bids_dir, config, participant_labels, session_labels)
    problems = Problems()
    subjects: tuple[SubjectInputs, ...] = ()
    with problems.noted():
        found = read_dataset(*selection, n_threads=n_threads, reading=reading, problems=problems)
        if not all(subject.is_complete for subject in found):
            found = read_dataset(*selection, names_only=True, reading=reading)
        subjects = found
    return subjects, tuple(problems.found)


def _require_standard_space(reading: Reading, derivatives: FmriprepDerivatives | None) -> None:
    """Refuse options that have a meaning for runs in a standard space only."""
    if reading.space is not None and derivatives is None:
        raise InputError(
            f"--space {reading.space} chooses among fMRIPrep's runs: give --derivatives too, or "
            "leave it out (betas of raw runs go to MNI305)"
        )
    if reading.atlas is not None and (derivatives is None or derivatives.standard_space is None):
        raise InputError(
            f"the atlas {reading.atlas} needs fMRIPrep's runs in a standard space (--derivatives "
            "with --space): leave it out here, and give it to conceptrsa compare"
        )


def _select(labels: Sequence[str], prefix: str, there: Sequence[str], what: str) -> tuple[str, ...]:
    wanted = {label.removeprefix(prefix) for label in labels}
    for label in sorted(wanted, key=natural_key):
        if label not in there:
            raise InputError(
                f"{label!r} is not a {what}{did_you_mean(label, there)}: choose from "
                f"{', '.join(there) or 'none (it has none)'}"
            )
    return tuple(label for label in there if label in wanted)


def _with_runs(finder: SubjectFinder, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out participants without a run of the task, which BIDS allows; all lacking is an error.

    Those named by --participant-label are not left out.
    """
    having = tuple(filter(finder.has_runs, labels))
    lacking = [f"sub-{label}" for label in labels if label not in having]
    if not having or not lacking:
        return labels
    warn_once(
        f"{len(lacking)} of {len(labels)} participants in {finder.dataset.root} have no BOLD run "
        f"of task {finder.config.runs.task} that matches the selection and are left out: "
        f"{', '.join(lacking)}"
    )
    return having
