"""Read fMRIPrep derivatives of a subject: runs in one space, their motion, and the anatomy.

fMRIPrep gives every run a reference image of its own, so only in T1w space and in standard spaces
do the voxels of all runs of a subject lie in the same places; runs in the space of their own
reference are refused.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import open_image
from conceptrsa.bids_config.names import natural_key, warn_once
from conceptrsa.bids_config.spaces import Space
from conceptrsa.bids_config.tsv import read_table
from conceptrsa.interfaces.numerics.design import MOTION_PARAMETERS
from conceptrsa.interfaces.numerics.slice_timing import TIME_TOLERANCE
from conceptrsa.pipelines.bids.layout import (
    DESCRIPTION,
    BidsFile,
    BidsFilters,
    parse_entities,
    read_description,
    read_json_object,
    unpadded,
)
from conceptrsa.pipelines.bids.timing import Timing, check_tr, tr_in_header

T1W = Space("T1w")
PREPROC_BOLD = "_desc-preproc_bold"
CONFOUNDS, OLD_CONFOUNDS = "_desc-confounds_timeseries", "_desc-confounds_regressors"
"""Names in fMRIPrep since 20.2, and before."""
PREPROC_T1W = "_desc-preproc_T1w"
SEGMENTATION, MASK = "_desc-aparcaseg_dseg", "_desc-brain_mask"
OWN_SPACE = Space("func")
_LEFT_OUT = ("echo", "part", "echo|part")
"""Entities of raw names that fMRIPrep may leave out: one, the other, or both."""
NON_STEADY_STATE = "non_steady_state_outlier"  # and a number: a column per volume
REFERENCE_TOLERANCE = 0.01  # TR
UNCORRECTED = 0.5
"""Without slice timing correction, slices are acquired from 0 to 1 TR: half of it on average."""


@dataclass(frozen=True)
class PreprocessedRun:
    """A run as fMRIPrep left it.

    Attributes
    ----------
    bold : Path
        4D image in T1w space or in a standard space.
    confounds : Path
        TSV with the motion parameters among its columns.
    slice_time_reference : float
        Moment within a volume that its data stand for, as a share of the TR.
    corrected : bool
        Whether all slices were brought to that moment; else they stand for it on average.
    non_steady_state : int
        Volumes at its beginning that fMRIPrep found, or was told, to be of no steady state.
    wrong_header_tr : float or None
        TR (s) in the header of the image where it is not that of the sidecar, which counts:
        fMRIPrep 23.2.0 writes 1 s into every header.
    mask : Path or None
        Brain mask in the grid of the run, where that is in a standard space.
    """

    bold: Path
    confounds: Path
    slice_time_reference: float
    corrected: bool = True
    non_steady_state: int = 0
    wrong_header_tr: float | None = None
    mask: Path | None = None


def find_on_t1w(t1w: Path, suffix: str) -> Path | None:
    """Find an image that lies on an anatomical reference, such as its mask; None without one."""
    stem = t1w.name.partition(PREPROC_T1W)[0]
    return _first_of(t1w.parent, [f"{stem}{suffix}.nii.gz"])


class FmriprepDerivatives:
    """Names in what fMRIPrep left.

    Parameters
    ----------
    folder : str or Path
        Root of the derivatives data set.

    Raises
    ------
    InputError
        When the folder is no BIDS derivatives data set.
    """

    def __init__(self, folder: str | Path) -> None:
        self.root = Path(folder).resolve()
        self.space = T1W
        below = self.root / "fmriprep"
        where = below if (below / DESCRIPTION).is_file() else "the folder that holds that file"
        remedy = f"--derivatives {where}"
        content = read_description(self.root, "BIDS derivatives data set", remedy)
        if content.get("DatasetType", "derivative") != "derivative":
            raise InputError(
                f"{self.root} is a raw data set ({DESCRIPTION} says so): give --derivatives the "
                "output folder of fMRIPrep"
            )
        self.made_by = _generated_by(content.get("GeneratedBy"))

    def choose_space(self, wanted: Space | None, task: str, subjects: Sequence[str]) -> None:
        """Choose the one space that runs are taken in.

        Parameters
        ----------
        wanted : Space, optional
            By default T1w, or where that is not there the only standard space.
        task : str
            Label of the runs' task, without `task-`.
        subjects : sequence of str
            Labels, without `sub-`, of those whose runs are taken.

        Raises
        ------
        InputError
            Where no run is there in the space, or several could be meant; the message lists those
            that are there.
        """
        there = {
            space
            for label in subjects
            for func in (self.root / f"sub-{label}").glob("**/func")
            for stem, space in _spaces_in(func)
            if f"_task-{task}_" in f"{stem}_"
        }
        usable = sorted(space for space in there if space == T1W or space.is_standard)
        if wanted is None and (T1W in usable or not there):
            return
        fitting = [space for space in usable if wanted is None or wanted.allows(space)]
        if wanted in fitting:
            fitting = [wanted]
        if len(fitting) != 1:
            holds = f"{self.root} holds runs of task {task} in {_listed_spaces(there)}"
            raise InputError(holds + _remedy(wanted, usable, fitting))
        (self.space,) = fitting
        if wanted is None:
            warn_once(
                f"{self.root} holds no runs of task {task} in T1w space, so those in {self.space} "
                "are used, the only standard space found"
            )

    @property
    def standard_space(self) -> Space | None:
        """The space of the runs, unless it is each subject's own."""
        return self.space if self.space.is_standard else None

    def find_run(self, raw: BidsFile) -> tuple[PreprocessedRun, Timing]:
        """Find what became of a raw run, and its timing.

        Raises
        ------
        InputError
            When a file is missing, or the sidecar does not tell the timing.
        """
        stems = _stems(raw)
        session = [f"ses-{raw.session}"] if raw.session else []
        folder = self.root.joinpath(f"sub-{raw.entities['subject']}", *session, "func")
        entities = f"_{self.space.entities}"
        bold = _first_of(folder, [f"{stem}{entities}{PREPROC_BOLD}.nii.gz" for stem in stems])
        if bold is None:
            raise self._no_bold(folder, stems)
        stem = bold.name.partition(entities)[0]
        names = [f"{one}{CONFOUNDS}.tsv" for one in (stem, *stems)]
        old_names = [f"{one}{OLD_CONFOUNDS}.tsv" for one in (stem, *stems)]
        confounds = _first_of(folder, [*names, *old_names])
        if confounds is None:
            raise InputError(
                f"{_listed(folder, names)} is missing (motion parameters of {bold.name}): restore "
                "it, or leave --derivatives out"
            )
        mask = None
        if self.space.is_standard:
            name = f"{stem}{entities}{MASK}.nii.gz"
            mask = _first_of(folder, [name])
            if mask is None:
                raise InputError(
                    f"{folder / name} is missing (brain mask of {bold.name}): restore it from "
                    "fMRIPrep's output"
                )
        table = read_table(confounds)
        table.require_columns(MOTION_PARAMETERS, "restore it from fMRIPrep's output")
        sidecar = folder / f"{bold.name.split('.')[0]}.json"
        timing, reference, corrected = _read_timing(bold, sidecar)
        non_steady_state = sum(column.startswith(NON_STEADY_STATE) for column in table.columns)
        in_header = None
        with suppress(InputError):  # where it cannot be read, the check of images says so
            in_header = tr_in_header(open_image(bold).header)
        if in_header is None or abs(in_header - timing.repetition_time) <= TIME_TOLERANCE:
            in_header = None
        run = PreprocessedRun(
            bold, confounds, reference, corrected, non_steady_state, in_header, mask
        )
        return run, timing

    def find_segmentation(self, bold: Path) -> Path | None:
        """Find the subject's aparc+aseg in the grid of a run; None without one."""
        stem = bold.name.partition(PREPROC_BOLD)[0]
        return _first_of(bold.parent, [f"{stem}{SEGMENTATION}.nii.gz"])

    def _no_bold(self, folder: Path, stems: Sequence[str]) -> InputError:
        rest = f"_{self.space.entities}{PREPROC_BOLD}"
        missing = _listed(folder, [f"{stem}{rest}.nii.gz" for stem in stems])
        wanted = set(map(unpadded, stems))
        spaces = [space for stem, space in _spaces_in(folder) if stem in wanted]
        others = len(list(folder.glob(f"*{rest}.nii*")))
        where = (
            f"is missing; the run exists in {_listed_spaces(spaces)} only, but runs are read in "
            f"{self.space}"
            if spaces
            else f"is missing in {self.space} and every other space ({others} other runs exist in "
            f"{self.space})"
        )
        return InputError(
            f"{missing} {where}: run fMRIPrep on this run too, with {self.space} among its "
            "--output-spaces, or leave the run or participant out"
        )

    def find_t1w(self, subject: str, filters: BidsFilters) -> Path:
        """Find the anatomical image whose world T1w space is.

        Parameters
        ----------
        subject : str
            Label without `sub-`.
        filters : BidsFilters
            Entities that its name must have. fMRIPrep leaves out of it what the images that it
            averaged do not share, so an entity that is not there is no hindrance, unless there is
            a name that has it.

        Raises
        ------
        InputError
            When there is none, or several are left, as one for each of several sessions.
        """
        there = self._anatomical(subject)
        if not there:
            raise InputError(
                f"sub-{subject} has no sub-{subject}{PREPROC_T1W}.nii.gz in {self.root}: run "
                "fMRIPrep to its end, or leave this participant out"
            )
        found = [path for path in there if filters.take_t1w(_entities(path))] or [
            path for path in there if filters.may_take_t1w(_entities(path))
        ]
        if not found:
            raise filters.none_left(subject, "anatomical references", there, self.root)
        if len(found) > 1:
            raise InputError(
                f"sub-{subject} has {len(found)} anatomical references in {self.root} "
                f"({found[0].name}, ...), so it has more than one T1w space: choose one with t1w "
                "in --bids-filter-file, or run fMRIPrep with one reference for all sessions"
            )
        return found[0]

    def check_t1w_space(self, t1w: Path, raws: Sequence[BidsFile]) -> None:
        """Raise InputError where the session of a run has an anatomical reference of its own."""
        chosen = _entities(t1w)
        references = map(_entities, self._anatomical(chosen["subject"]))
        others = {entities.get("session") for entities in references} - {chosen.get("session")}
        for raw in raws:
            if raw.session in others:
                raise InputError(
                    f"{raw.path} is in the T1w space of its own session in {self.root}, not in "
                    f"that of {t1w.name}: choose one session with --session-label, or run fMRIPrep "
                    "with one anatomical reference for all"
                )

    def _anatomical(self, subject: str) -> list[Path]:
        """List references in T1w space, each once, be it there both packed and unpacked."""
        paths = [
            path
            for folder in (self.root / f"sub-{subject}").glob("**/anat")
            for path in folder.glob(f"sub-{subject}*{PREPROC_T1W}.nii*")
            if "_space-" not in path.name and path.name.endswith((".nii", ".nii.gz"))
        ]
        paths.sort(key=lambda path: natural_key(str(path)))
        return list({path.with_name(path.name.split(".")[0]): path for path in paths}.values())


def _stems(raw: BidsFile) -> list[str]:
    """Names that fMRIPrep may give a raw run, the likeliest first.

    It leaves out `echo` where it combined echoes, and `part` in some versions.
    """
    name = raw.path.name.removesuffix(f"_bold{raw.entities['extension']}")
    stems = [name, *(re.sub(rf"_({which})-[0-9a-zA-Z]+", "", name) for which in _LEFT_OUT)]
    if not raw.path.exists():  # a run that is known by its events, whose names say nothing of parts
        stems += [f"{stem}_part-mag" for stem in stems if "_part-" not in stem]
    return list(dict.fromkeys(stems))


def _entities(path: Path) -> dict[str, str]:
    return parse_entities(f"/{path.parent.name}/{path.name}")


def _first_of(folder: Path, names: Sequence[str]) -> Path | None:
    """Find the first of some names, packed or not; fMRIPrep 20.2 writes run-1 for run-01."""
    # The exact name has the last word; a link without content is found, and told as such later.
    paths = sorted(folder.glob("*"), key=lambda path: (path.name in names, path.name))
    there = {unpadded(path.name): path for path in paths}
    spelt = [unpadded(one) for name in names for one in (name, name.removesuffix(".gz"))]
    return next((there[name] for name in spelt if name in there), None)


def _listed(folder: Path, names: Sequence[str]) -> str:
    first, *others = dict.fromkeys(names)
    return f"{folder / first}" + (f" (or {', '.join(others)})" if others else "")


def _spaces_in(folder: Path) -> Iterator[tuple[str, Space]]:
    """Give the stem of each preprocessed volume, and its space; `func` is that of the run alone."""
    for path in folder.glob(f"*{PREPROC_BOLD}.nii*"):
        stem = re.split("_(?:space|desc)-", unpadded(path.name))[0]
        yield stem, Space.in_name(path.name) or OWN_SPACE


def _remedy(wanted: Space | None, usable: Sequence[Space], fitting: Sequence[Space]) -> str:
    """Say what to do where it is not one space that fits."""
    names = " or ".join(f"--space {space}" for space in fitting or usable)
    if fitting:
        return f": choose {names}"
    if wanted is None or not (wanted == T1W or wanted.is_standard):
        return ", but runs of a subject align only in T1w space and in standard spaces: " + (
            f"choose {names}"
            if names
            else "run fMRIPrep again with one of these among its --output-spaces"
        )
    return (
        f", not in {wanted}: {f'choose {names}, or ' if names else ''}run fMRIPrep again with "
        f"{wanted} among its --output-spaces"
    )


def _listed_spaces(spaces: Iterable[Space]) -> str:
    names = {"their own space" if space == OWN_SPACE else str(space) for space in spaces}
    *others, last = sorted(names) or ["no space"]
    return f"{', '.join(others)} and {last}" if others else last


def _read_timing(bold: Path, sidecar: Path) -> tuple[Timing, float, bool]:
    """Give the timing, the moment that slices stand for, and whether they were corrected to it."""
    values = read_json_object(sidecar)
    if "RepetitionTime" not in values:
        raise InputError(f"{sidecar} has no RepetitionTime: add it, in seconds")
    timing = Timing(check_tr(values["RepetitionTime"], bold, sidecar), (), "k")
    if not values.get("SliceTimingCorrected", "StartTime" in values):
        return timing, UNCORRECTED, False
    start = values.get("StartTime", timing.repetition_time * UNCORRECTED)
    if not isinstance(start, int | float) or not -TIME_TOLERANCE <= start < timing.repetition_time:
        raise InputError(
            f"{sidecar} has the StartTime {start!r}: give the time (s) within a volume that slices "
            "were corrected to"
        )
    return timing, max(0.0, start / timing.repetition_time), True


def check_one_reference(runs: Sequence[PreprocessedRun]) -> None:
    """Raise InputError when slices of several runs were not corrected in the same way."""
    for run in runs:
        if run.corrected != runs[0].corrected:
            one, other = (run, runs[0]) if run.corrected else (runs[0], run)
            raise InputError(
                f"slice timing was corrected in {one.bold} but not in {other.bold.name}: run "
                "fMRIPrep on both with SliceTiming in their sidecars or with --ignore slicetiming, "
                "or leave one out"
            )
        if abs(run.slice_time_reference - runs[0].slice_time_reference) > REFERENCE_TOLERANCE:
            raise InputError(
                f"the slices of {run.bold} were corrected to {run.slice_time_reference:g} TR and "
                f"those of {runs[0].bold.name} to {runs[0].slice_time_reference:g} TR: run "
                "fMRIPrep on both with the same --slice-time-ref"
            )


def _generated_by(value: object) -> str:
    first = value[0] if isinstance(value, list) and value else {}
    if not isinstance(first, dict) or "Name" not in first:
        return "unknown"
    return f"{first['Name']} {first.get('Version', '')}".strip()
