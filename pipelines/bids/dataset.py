"""Subjects and runs of a data set, as the participant level needs them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from conceptrsa.bids_config.spaces import MNI305, Space
from conceptrsa.pipelines.bids.fmriprep import PreprocessedRun
from conceptrsa.pipelines.bids.layout import BidsFilters

NOT_FOUND = Path()
"""Stands for a missing file that was reported."""


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
        TR (s); NaN where it could not be read, which was noted.
    slice_times : tuple of float
        Acquisition time (s) of each slice, along `slice_axis`; none for a preprocessed run, and
        where slices are not to be corrected for it.
    slice_axis : str
        'i', 'j' or 'k'; with '-' the first time belongs to the last slice.
    preprocessed : PreprocessedRun or None
        fMRIPrep's run, if that is the input; the raw image may then be missing.
    conditions : DataFrame
        The events as `conceptrsa.pipelines.bids.events.read_run_events` gives them; empty where
        they could not be read, which was noted.
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
    conditions: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False, repr=False)

    @property
    def image(self) -> Path:
        """The image that is worked on: the raw one, or what fMRIPrep made of it."""
        return self.bold if self.preprocessed is None else self.preprocessed.bold

    @property
    def has_corrected_slices(self) -> bool:
        """Whether slices are corrected for their timing, here or by fMRIPrep."""
        return bool(self.slice_times) if self.preprocessed is None else self.preprocessed.corrected

    @property
    def is_complete(self) -> bool:
        """Whether its timing and its events could be read."""
        return not math.isnan(self.repetition_time) and not self.conditions.empty


@dataclass(frozen=True)
class SubjectInputs:
    """Files of a subject that the participant level needs; `runs` are in session and run order.

    Attributes
    ----------
    subject : str
        Label without `sub-`.
    t1w : Path
        Anatomical image, raw or fMRIPrep's; none where the runs are in a standard space.
    runs : tuple of BoldRun
    segmentation : Path or None
        aparc+aseg in the space of the runs, where fMRIPrep left one; or a supplied atlas.
    t1w_mask : Path or None
        Brain mask of the T1w image, supplied or fMRIPrep's.
    made_by : str or None
        Program that preprocessed the runs, such as 'fMRIPrep 23.2.0'; None for raw ones.
    noticed : tuple of str
        Sentences on images that are taken in spite of something.
    standard_space : Space or None
        The space that fMRIPrep left the runs in, where that is a standard one.
    """

    subject: str
    t1w: Path
    runs: tuple[BoldRun, ...]
    segmentation: Path | None = None
    made_by: str | None = None
    t1w_mask: Path | None = None
    noticed: tuple[str, ...] = ()
    standard_space: Space | None = None

    @property
    def space(self) -> Space:
        """The standard space that betas end in: MNI305 unless the runs are in another one."""
        return self.standard_space or MNI305

    @property
    def is_preprocessed(self) -> bool:
        """Whether the runs come from fMRIPrep."""
        return any(run.preprocessed is not None for run in self.runs)

    @property
    def has_corrected_slices(self) -> bool:
        """Whether slices are corrected for their timing, here or by fMRIPrep."""
        return all(run.has_corrected_slices for run in self.runs)

    @property
    def is_complete(self) -> bool:
        """Whether nothing of it is missing."""
        is_placed = self.t1w != NOT_FOUND or self.standard_space is not None
        return is_placed and bool(self.runs) and all(run.is_complete for run in self.runs)


@dataclass(frozen=True)
class Reading:
    """Options for reading a data set.

    Attributes
    ----------
    filters : BidsFilters
        Entities that the names of images must have.
    derivatives_dir : Path or None
        fMRIPrep derivatives of the data set, which then replace raw images.
    t1w_mask : Path or None
        Supplied brain masks, as `conceptrsa.pipelines.bids.subject_files` finds them.
    ignore : frozenset of {'slicetiming', 'orientation'}
        Take no slice times of raw runs; take images whose place cannot be trusted.
    space : Space or None
        The space of fMRIPrep's runs; see `FmriprepDerivatives.choose_space`.
    atlas : Path or None
        Labels in that space; `{subject}` stands for the subject's label.
    """

    filters: BidsFilters = field(default_factory=BidsFilters)
    derivatives_dir: Path | None = None
    t1w_mask: Path | None = None
    ignore: frozenset[str] = frozenset()
    space: Space | None = None
    atlas: Path | None = None


def links_outside(subjects: Sequence[SubjectInputs], bids_dir: str | Path) -> str:
    """Say which raw files are links to places outside the data set; '' where none are.

    Links within it, as git-annex makes them, are what they seem to be.
    """
    root = Path(bids_dir).resolve()
    files = [subject.t1w for subject in subjects if subject.t1w != NOT_FOUND]
    files += [path for subject in subjects for r in subject.runs for path in (r.bold, r.events)]
    outside = [
        file
        for file in dict.fromkeys(files)
        if file.is_relative_to(root) and not file.resolve().is_relative_to(root)
    ]
    if not outside:
        return ""
    return (
        f"{len(outside)} of {len(set(files))} files are links to places outside {root}, which are "
        f"followed (the first: {outside[0]} -> {outside[0].resolve()})"
    )
