"""Find the files of a subject: T1w image and its mask, BOLD runs, sidecars and events."""

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptrsa.bids_config.errors import InputError, Problems
from conceptrsa.bids_config.names import SUBJECT_PLACE, natural_key, warn_once
from conceptrsa.bids_config.schema import DatasetConfig
from conceptrsa.bids_config.writing import require_content
from conceptrsa.pipelines.bids.dataset import (
    NOT_FOUND,
    BoldRun,
    Reading,
    SubjectInputs,
)
from conceptrsa.pipelines.bids.events import count_presentations, read_run_events
from conceptrsa.pipelines.bids.fmriprep import (
    MASK,
    SEGMENTATION,
    FmriprepDerivatives,
    check_one_reference,
    find_on_t1w,
)
from conceptrsa.pipelines.bids.layout import (
    FUNC,
    NIFTI,
    BidsDataset,
    BidsFile,
    parse_entities,
    run_name,
)
from conceptrsa.pipelines.bids.timing import Timing, read_timing

MASK_SUFFIX = f"{MASK}.nii"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubjectFinder:
    """Finds the files of subjects and reads all that are not images.

    Attributes
    ----------
    dataset : BidsDataset
        Data set to search.
    config : DatasetConfig
        Which runs are wanted and what their events mean.
    sessions : tuple of str or None
        The only sessions to take runs from, without `ses-`; None: all.
    names_only : bool
        Images need not be there: a run is then known by its events file.
    reading : Reading
        Filters, supplied masks, and what is ignored.
    derivatives : FmriprepDerivatives or None
        Derivatives that replace raw images.
    problems : Problems
        Takes what is wrong.
    """

    dataset: BidsDataset
    config: DatasetConfig
    sessions: tuple[str, ...] | None
    names_only: bool
    reading: Reading
    derivatives: FmriprepDerivatives | None
    problems: Problems

    def has_runs(self, subject: str) -> bool:
        """Tell whether a subject has an image or events of a selected run."""
        return any(self._selected(subject))

    def find(self, subject: str) -> SubjectInputs:
        """Find the files of a subject (label without `sub-`)."""
        derivatives, noted = self.derivatives, self.problems.noted
        t1w, segmentation, mask = NOT_FOUND, None, None
        standard_space = None if derivatives is None else derivatives.standard_space
        with noted():
            if derivatives is None:
                t1w = self._find_t1w(subject)
            elif standard_space is None:
                t1w = derivatives.find_t1w(subject, self.reading.filters)
                segmentation = find_on_t1w(t1w, SEGMENTATION)
                mask = find_on_t1w(t1w, MASK)
        if self.reading.t1w_mask is not None and t1w != NOT_FOUND:
            with noted():
                mask = find_t1w_mask(self.reading.t1w_mask, subject, t1w)
        bolds: list[BidsFile] = []
        with noted():
            bolds = self._find_bolds(subject)
        if derivatives is not None and t1w != NOT_FOUND:
            with noted():
                derivatives.check_t1w_space(t1w, bolds)
        runs = tuple(self._read_run(subject, bold) for bold in bolds)
        with noted():
            self._check_stimulus_count(subject, runs)
        with noted():
            check_one_reference([run.preprocessed for run in runs if run.preprocessed is not None])
        if derivatives is not None and standard_space is not None:
            with noted():
                segmentation = self._find_regions(subject, derivatives, runs)
        made_by = None if derivatives is None else derivatives.made_by
        return SubjectInputs(
            subject, t1w, runs, segmentation, made_by, mask, standard_space=standard_space
        )

    def _find_regions(
        self, subject: str, derivatives: FmriprepDerivatives, runs: Sequence[BoldRun]
    ) -> Path:
        """Find the labels in the standard space of the runs: the atlas, or the subject's own."""
        if self.reading.atlas is not None:
            file = Path(str(self.reading.atlas).replace(SUBJECT_PLACE, subject))
            require_content(file)
            if not file.is_file():
                raise InputError(f"the atlas {file} is missing: correct the path of --atlas")
            return file
        bolds = [run.preprocessed.bold for run in runs if run.preprocessed is not None]
        found = filter(None, map(derivatives.find_segmentation, bolds))
        segmentation = next(found, None)
        if segmentation is None:
            raise InputError(
                f"sub-{subject} has no {SEGMENTATION.lstrip('_')} in {derivatives.space} beside "
                f"its runs in {derivatives.root}, so it has no regions: give a label volume in "
                "that space with --atlas"
            )
        return segmentation

    def _find_t1w(self, subject: str) -> Path:
        root, filters = self.dataset.root, self.reading.filters
        images = self.dataset.find("T1w", NIFTI, subject)
        found = [file.path for file in images if filters.take_t1w(file.entities)]
        where_expected = root / f"sub-{subject}" / "anat" / f"sub-{subject}_T1w.nii.gz"
        if not images and self.names_only:
            return where_expected
        if images and not found:
            there = [file.path for file in images]
            raise filters.none_left(subject, "T1w images", there, root)
        if not found:
            raise InputError(
                f"sub-{subject} has no T1w image in {root}: add {where_expected.name} to its "
                "anat folder, or leave this participant out"
            )
        if len(found) > 1:
            logger.warning(
                "sub-%s has %d T1w images; the first by name is used: %s",
                subject, len(found), found[0],
            )  # fmt: skip
        return found[0]

    def _of_runs(self, suffix: str, extensions: tuple[str, ...], subject: str) -> list[BidsFile]:
        """List a subject's files of any task that lie where BOLD runs do."""
        return [
            file
            for file in self.dataset.find(suffix, extensions, subject)
            if "task" in file.entities and file.path.parent.name == FUNC
        ]

    def _selected(self, subject: str) -> tuple[list[BidsFile], list[BidsFile]]:
        """List the images and the events files of the selected runs."""
        selection = self.config.runs

        def is_selected(file: BidsFile) -> bool:
            return (
                file.entities["task"] == selection.task
                and selection.takes_session(file.session)
                and (self.sessions is None or file.session in self.sessions)
                and self.reading.filters.take_bold(file.entities)
            )

        return (
            list(filter(is_selected, self._of_runs("bold", NIFTI, subject))),
            list(filter(is_selected, self._of_runs("events", (".tsv",), subject))),
        )

    def _find_bolds(self, subject: str) -> list[BidsFile]:
        """List the selected runs in session and run order; fMRIPrep combines their echoes."""
        found, all_events = self._selected(subject)
        runs: dict[str, list[BidsFile]] = {}
        for file in found:  # images that only echo, part or compression tells apart are one run
            runs.setdefault(run_name(file.path.name), []).append(file)
        bolds = [_one_of(files, self.derivatives is not None) for files in runs.values()]
        for events in all_events:
            if any(map(events.describes, bolds)):
                continue
            # Raw images of runs that are preprocessed need not be there.
            if not self.names_only and self.derivatives is None:
                raise InputError(
                    f"{events.path} has no BOLD image beside it: restore the image, or remove the "
                    "events file if the run is not wanted"
                )
            name = events.path.name.removesuffix("_events.tsv") + "_bold.nii.gz"
            of_bold = {**events.entities, "suffix": "bold", "extension": ".nii.gz"}
            bolds.append(BidsFile(events.path.with_name(name), of_bold))
        if not bolds:
            raise self._no_runs(subject)
        reconstructions = {bold.entities.get("reconstruction") for bold in bolds}
        if len(reconstructions) > 1:
            warn_once(
                f"sub-{subject} in {self.dataset.root} has runs of {len(reconstructions)} "
                "reconstructions (rec-), which count as separate runs: if they come from one "
                "recording, choose one with --bids-filter-file"
            )
        return sorted(
            bolds,
            key=lambda bold: (
                natural_key(bold.session or ""),
                natural_key(bold.run or ""),
                natural_key(bold.path.name),
            ),
        )

    def _no_runs(self, subject: str) -> InputError:
        selection, dataset = self.config.runs, self.dataset
        files = self._of_runs("bold", NIFTI, subject) + self._of_runs("events", (".tsv",), subject)
        tasks = ", ".join(sorted({file.entities["task"] for file in files}))
        wanted = f"task {selection.task}"
        if selection.session_pattern is not None:
            wanted += f", sessions like {selection.session_pattern}"
        if self.sessions is not None:
            wanted += f", chosen sessions {' and '.join(self.sessions)}"
        if self.reading.filters.file is not None:
            wanted += f", filtered by {self.reading.filters.file}"
        return InputError(
            f"sub-{subject} has no BOLD run of {wanted} in {dataset.root} (tasks there: "
            f"{tasks or 'none'}; sessions: {', '.join(dataset.sessions(subject)) or 'none'}): "
            "choose another data set configuration, or leave this participant out"
        )

    def _read_run(self, subject: str, bold: BidsFile) -> BoldRun:
        timing, preprocessed = Timing(math.nan, (), "k"), None
        events, conditions = NOT_FOUND, pd.DataFrame()
        with self.problems.noted():
            if self.derivatives is None:
                sidecar = self.dataset.sidecar(bold)
                timing = read_timing(bold.path, sidecar, "slicetiming" in self.reading.ignore)
            else:
                preprocessed, timing = self.derivatives.find_run(bold)
        with self.problems.noted():
            found = self.dataset.applicable(bold, "events", ".tsv")
            if not found:
                stem = bold.path.name.removesuffix(f"_bold{bold.entities['extension']}")
                raise InputError(
                    f"{bold.path} has no events file: add {stem}_events.tsv beside it, or remove "
                    "the run"
                )
            events = found[-1]
            conditions = read_run_events(events, self.config.events)
        return BoldRun(
            subject,
            bold.session,
            bold.run,
            bold.path,
            events,
            timing.repetition_time,
            timing.slice_times,
            timing.slice_axis,
            preprocessed,
            conditions,
        )

    def _check_stimulus_count(self, subject: str, runs: Sequence[BoldRun]) -> None:
        expected = self.config.stimuli.count
        if expected is None or not runs or any(run.conditions.empty for run in runs):
            return
        found = len(count_presentations(run.conditions for run in runs))
        if found != expected:
            raise InputError(
                f"the {len(runs)} runs of sub-{subject} in {self.dataset.root} show {found} "
                f"different stimuli but the data set configuration {self.config.name} says "
                f"{expected}: check the run selection and the events, or correct stimuli.count"
            )


def _one_of(files: Sequence[BidsFile], are_combined: bool) -> BidsFile:
    """Choose the image that a run is known by; InputError if there is none."""
    magnitude = [file for file in files if file.entities.get("part") in (None, "mag")]
    if not magnitude:
        raise InputError(
            f"{files[0].path} is part of a complex image without its magnitude (part-mag): add the "
            "magnitude image, or leave the run out"
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
            "give fMRIPrep's output, which combines them, to --derivatives, or choose one with "
            '--bids-filter-file ({"bold": {"echo": 2}})'
        )
    if others:
        raise InputError(
            f"{first.path} and {others[0].path.name} have names of the same run: keep one of them"
        )
    return first


def find_t1w_mask(where: Path, subject: str, t1w: Path) -> Path:
    """Find the brain mask of a subject that the user supplies.

    Parameters
    ----------
    where : Path
        A file, in whose path `{subject}` stands for the label; or a folder of BIDS derivatives
        with `sub-<label>_desc-brain_mask.nii.gz` in an `anat` folder of each subject.
    subject : str
        Label without `sub-`.
    t1w : Path
        The T1w image. A mask whose name has another session, run or acquisition is not taken.

    Raises
    ------
    InputError
        If there is none, or one file for several subjects, or several that could be meant.
    """
    file = Path(str(where).replace("{subject}", subject))
    if file.is_dir():
        return _find_in(file if file != where else where / f"sub-{subject}", subject, t1w)
    require_content(file)
    if not file.is_file():
        raise InputError(
            f"--t1w-mask {file} is missing: give a mask, a file name with {{subject}} for the "
            "label, or a folder with sub-*/anat/sub-*_desc-brain_mask.nii.gz"
        )
    if file == where and not re.search(rf"sub-{re.escape(subject)}(?![0-9A-Za-z])", file.name):
        _require_one_subject(where, subject, t1w)
    return file


def _find_in(folder: Path, subject: str, t1w: Path) -> Path:
    found = [
        path
        for path in sorted(folder.glob(f"**/sub-{subject}_*{MASK_SUFFIX}*"))
        if "_space-" not in path.name and path.name.endswith(NIFTI)
    ]
    found += sorted(folder.glob(f"**/sub-{subject}{MASK_SUFFIX}*"))
    fitting = [path for path in dict.fromkeys(found) if _may_be_of(path, t1w)]
    stem = t1w.name.split(".")[0].removesuffix("_T1w").removesuffix("_desc-preproc")
    chosen = [path for path in fitting if path.name.startswith(f"{stem}{MASK_SUFFIX}")] or fitting
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise InputError(
            f"{folder} has no brain mask of {t1w.name}: add anat/{stem}{MASK_SUFFIX}.gz, or leave "
            "--t1w-mask out"
        )
    raise InputError(
        f"{folder} has {len(chosen)} brain masks that match {t1w.name} ({chosen[0].name}, "
        f"...): keep one, named {stem}{MASK_SUFFIX}.gz"
    )


def _may_be_of(mask: Path, t1w: Path) -> bool:
    """Whether no entity in the name of a mask contradicts that of the image."""
    of_mask, of_image = (parse_entities(f"/{path.parent.name}/{path.name}") for path in (mask, t1w))
    entities = ("subject", "session", "acquisition", "run", "reconstruction", "ceagent")
    return "task" not in of_mask and all(  # with a task it is of an EPI
        of_mask[entity] == of_image.get(entity) for entity in entities if entity in of_mask
    )


def _require_one_subject(where: Path, subject: str, t1w: Path) -> None:
    """Refuse one file for several subjects, which are then in one data set."""
    folder = next((path for path in t1w.parents if path.name == f"sub-{subject}"), None)
    of_all = [] if folder is None else list(filter(Path.is_dir, folder.parent.glob("sub-*")))
    if len(of_all) > 1:
        raise InputError(
            f"--t1w-mask {where} is one file but the data set has {len(of_all)} subjects: write "
            "{subject} for the label, or give a folder of BIDS derivatives"
        )
