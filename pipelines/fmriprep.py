"""What fMRIPrep left of a subject: its runs in T1w space, their motion, and the anatomy.

fMRIPrep gives every run a reference image of its own, so only in T1w space do the voxels of all
runs of a subject lie in the same places; runs in the space of their own reference are refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_config.errors import InputError
from pipelines.bids_layout import BidsFile, natural_key, read_json_object
from pipelines.bids_timing import TIME_TOLERANCE, Timing, check_tr

MOTION_COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
REFERENCE_TOLERANCE = 0.01  # TR
UNCORRECTED = 0.5
"""Where slice timing was not corrected, slices were taken from 0 to 1 TR: half of it on average."""


@dataclass(frozen=True)
class PreprocessedRun:
    """A run as fMRIPrep left it.

    Attributes
    ----------
    bold : Path
        4D image in T1w space.
    confounds : Path
        TSV with the motion parameters among its columns.
    slice_time_reference : float
        Moment within a volume that its data stand for, as a share of the TR.
    """

    bold: Path
    confounds: Path
    slice_time_reference: float


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
        description = self.root / "dataset_description.json"
        if not description.is_file():
            below = self.root / "fmriprep" / description.name
            where = below.parent if below.is_file() else "the folder that holds that file"
            raise InputError(
                f"{self.root} is no BIDS derivatives data set, it has no {description.name}: give "
                f"--derivatives {where}"
            )
        content = read_json_object(description)
        if content.get("DatasetType", "derivative") != "derivative":
            raise InputError(
                f"{self.root} is a raw data set ({description.name} says so): give --derivatives "
                "what fMRIPrep made of it"
            )
        self.made_by = _generated_by(content.get("GeneratedBy"))

    def find_run(self, raw: BidsFile) -> tuple[PreprocessedRun, Timing]:
        """Find what became of a raw run, and its timing.

        Raises
        ------
        InputError
            When a file is missing, or the sidecar does not tell the timing.
        """
        stem = _stem(raw)
        session = [f"ses-{raw.session}"] if raw.session else []
        folder = self.root.joinpath(f"sub-{raw.entities['subject']}", *session, "func")
        bold = _first_of(folder, f"{stem}_space-T1w_desc-preproc_bold.nii")
        if bold is None:
            raise self._no_bold(folder, stem)
        confounds = folder / f"{stem}_desc-confounds_timeseries.tsv"
        if not confounds.exists():
            raise InputError(
                f"{confounds} is missing, which holds the motion parameters of {bold.name}: "
                "restore it, or leave --derivatives out"
            )
        _check_columns(confounds)
        sidecar = folder / f"{bold.name.split('.')[0]}.json"
        timing, reference = _read_timing(bold, sidecar)
        return PreprocessedRun(bold, confounds, reference), timing

    def find_t1w(self, subject: str) -> Path:
        """Find the anatomical image whose world T1w space is.

        Raises
        ------
        InputError
            When there is none, or one for each of several sessions.
        """
        found = self._anatomical(subject, "_desc-preproc_T1w.nii")
        if not found:
            raise InputError(
                f"sub-{subject} has no sub-{subject}_desc-preproc_T1w.nii.gz in {self.root}: run "
                "fMRIPrep to its end, or leave this participant out"
            )
        if len(found) > 1:
            raise InputError(
                f"sub-{subject} has {len(found)} anatomical references in {self.root} "
                f"({found[0].name}, ...), so its T1w space is not one: run fMRIPrep with one for "
                "all sessions"
            )
        return found[0]

    def find_segmentation(self, subject: str) -> Path | None:
        """Find FreeSurfer's aparc+aseg of the subject in T1w space; None where there is none."""
        return next(iter(self._anatomical(subject, "_desc-aparcaseg_dseg.nii")), None)

    def _anatomical(self, subject: str, ending: str) -> list[Path]:
        folders = (self.root / f"sub-{subject}").glob("**/anat")
        found = [
            path
            for folder in folders
            for path in folder.glob(f"sub-{subject}*{ending}*")
            if "_space-" not in path.name and path.name.endswith((".nii", ".nii.gz"))
        ]
        return sorted(found, key=lambda path: natural_key(str(path)))

    def _no_bold(self, folder: Path, stem: str) -> InputError:
        missing = folder / f"{stem}_space-T1w_desc-preproc_bold.nii.gz"
        if _first_of(folder, f"{stem}_desc-preproc_bold.nii") is not None:
            return InputError(
                f"{missing} is missing and the run is there in its own space only, in which runs "
                "do not lie on one another: run fMRIPrep with T1w among its --output-spaces"
            )
        return InputError(
            f"{missing} is missing: run fMRIPrep with T1w among its --output-spaces, or leave the "
            "run or participant out"
        )


def _stem(raw: BidsFile) -> str:
    """Name of a raw run without what fMRIPrep drops: echo, as it combines them, and part."""
    name = raw.path.name.removesuffix(f"_bold{raw.entities['extension']}")
    return re.sub(r"_(echo|part)-[0-9a-zA-Z]+", "", name)


def _first_of(folder: Path, name: str) -> Path | None:
    for path in (folder / f"{name}.gz", folder / name):
        if path.exists() or path.is_symlink():  # a link without content is said to be one later
            return path
    return None


def _read_timing(bold: Path, sidecar: Path) -> tuple[Timing, float]:
    values = read_json_object(sidecar)
    if "RepetitionTime" not in values:
        raise InputError(f"{sidecar} has no RepetitionTime: add it, in seconds")
    timing = Timing(check_tr(values["RepetitionTime"], bold, sidecar), (), "k")
    if not values.get("SliceTimingCorrected", "StartTime" in values):
        return timing, UNCORRECTED
    start = values.get("StartTime", timing.repetition_time * UNCORRECTED)
    if not isinstance(start, int | float) or not -TIME_TOLERANCE <= start < timing.repetition_time:
        raise InputError(
            f"{sidecar} has the StartTime {start!r}: it must be the moment (s) within a volume "
            "that slices were corrected to"
        )
    return timing, max(0.0, start / timing.repetition_time)


def check_one_reference(runs: Sequence[PreprocessedRun]) -> None:
    """Raise InputError when slices of several runs were corrected to different moments."""
    for run in runs:
        if abs(run.slice_time_reference - runs[0].slice_time_reference) > REFERENCE_TOLERANCE:
            raise InputError(
                f"the slices of {run.bold} were corrected to {run.slice_time_reference:g} TR and "
                f"those of {runs[0].bold.name} to {runs[0].slice_time_reference:g} TR: run "
                "fMRIPrep on both with the same --slice-time-ref"
            )


def _check_columns(confounds: Path) -> None:
    try:
        with confounds.open(encoding="utf-8") as stream:
            columns = stream.readline().rstrip("\n").split("\t")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{confounds} cannot be read ({error}): restore it") from error
    missing = [name for name in MOTION_COLUMNS if name not in columns]
    if missing:
        raise InputError(
            f"{confounds} lacks the columns {', '.join(missing)}: restore it from fMRIPrep's output"
        )


def _generated_by(value: object) -> str:
    first = value[0] if isinstance(value, list) and value else {}
    if not isinstance(first, dict) or "Name" not in first:
        return "unknown"
    return f"{first['Name']} {first.get('Version', '')}".strip()
