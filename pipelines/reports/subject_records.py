"""Records of a subject, read from its derivatives alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptrsa.bids_config.spaces import MNI305, Space
from conceptrsa.bids_config.tsv import read_table
from conceptrsa.interfaces.numerics.design import MOTION_PARAMETERS
from conceptrsa.pipelines.bids.layout import DESCRIPTION, read_json_object
from conceptrsa.pipelines.workflows.sidecars import BOLDREF, entities_of_epi

HIGH_MOTION_MM = 0.5
"""Framewise displacement above which a volume is counted (Power et al., 2012)."""

LOW_COVERAGE = 0.8


@dataclass(frozen=True)
class Volume:
    """A 3D image in memory."""

    data: NDArray[np.float32]
    affine: NDArray[np.float64]

    @classmethod
    def read(cls, file: Path) -> "Volume":
        """Read a file; what is no number counts as 0."""
        image = nib.load(file)
        data = np.nan_to_num(np.asarray(image.dataobj, dtype=np.float32), posinf=0, neginf=0)
        return cls(data, image.affine)


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes
    ----------
    name : str
        Session and run as in the file names.
    motion : array (volumes, 6)
        Translations (mm) and rotations (rad).
    displacement : array (volumes,)
        Framewise displacement (mm); NaN for the first volume.
    design_file, tsnr_file : Path or None
        None if there is no such file.
    acquisition : mapping
        `RepetitionTime`, `StartTime` (s, where slices were corrected to it) and, of runs that were
        not preprocessed before, `SliceTiming` (s) and `SliceEncodingDirection`; empty without a
        map of the tSNR.
    """

    name: str
    motion: NDArray[np.float64]
    displacement: NDArray[np.float64]
    design_file: Path | None
    tsnr_file: Path | None
    acquisition: Mapping[str, Any]

    @property
    def n_volumes(self) -> int:
        """Volumes of the run."""
        return len(self.motion)

    @property
    def repetition_time(self) -> float | None:
        """TR (s)."""
        value = self.acquisition.get("RepetitionTime")
        return None if value is None else float(value)

    @property
    def n_high_motion(self) -> int:
        """Volumes with a framewise displacement above 0.5 mm."""
        return int((self.displacement > HIGH_MOTION_MM).sum())

    def design(self) -> pd.DataFrame | None:
        """Columns and rows of the linear model; None where they were not saved."""
        return None if self.design_file is None else read_table(self.design_file).frame(texts=())

    def tsnr(self) -> NDArray[np.float32] | None:
        """Map of the temporal signal-to-noise ratio; None if there is none."""
        return None if self.tsnr_file is None else Volume.read(self.tsnr_file).data


@dataclass(frozen=True)
class RegionRecord:
    """A region of interest: labels (empty where unknown), voxels with betas, and its place.

    `distance_mm` is that of its centre from the packaged atlas'; NaN where it is not known.
    """

    name: str
    labels: tuple[int, ...]
    n_voxels: int
    n_covered: int
    coverage: float
    distance_mm: float = float("nan")


@dataclass(frozen=True)
class SubjectRecord:
    """A subject's derivatives.

    Attributes
    ----------
    subject, task : str
        Labels.
    data_set : str
        Name that the derivatives have as a data set.
    raw : str
        Where the raw data were.
    estimation, software : mapping of str to str
        Settings of the betas, and versions of libraries.
    n_stimuli : int
        Volumes of the betas.
    runs : tuple of RunRecord
        As they went into the betas, in that order.
    regions : tuple of RegionRecord
    coregistration, normalization, t1w_mask, segmentation : mapping
        The evidence that the steps left; empty if there is none.
    folder : Path
        The subject's folder.
    standard_space : Space or None
        The one that the runs are in; None where betas were taken to MNI305.
    """

    subject: str
    task: str
    data_set: str
    raw: str
    estimation: Mapping[str, Any]
    software: Mapping[str, str]
    n_stimuli: int
    runs: tuple[RunRecord, ...]
    regions: tuple[RegionRecord, ...]
    coregistration: Mapping[str, Any]
    normalization: Mapping[str, Any]
    t1w_mask: Mapping[str, Any]
    segmentation: Mapping[str, Any]
    folder: Path
    standard_space: Space | None = None

    @property
    def has_anatomy(self) -> bool:
        """Whether the runs were registered with a T1w image, and that with MNI305."""
        return self.standard_space is None

    @property
    def segmentation_file(self) -> Path:
        """Labels in the space of the betas."""
        return self.anat(f"{(self.standard_space or MNI305).regions}.nii.gz")

    def epi(self, rest: str) -> Path:
        """Path of an image in the grid of the runs."""
        return self.func(f"{entities_of_epi(self.standard_space)}_{rest}")

    @property
    def boldref(self) -> Path:
        """The mean EPI."""
        mean = "desc-mean_boldref.nii.gz"
        return self.func(mean) if self.has_anatomy else self.epi(mean)

    @property
    def by_freesurfer(self) -> bool:
        """Whether FreeSurfer took the betas to MNI305."""
        return str(self.estimation.get("Normalization", "")).startswith("FreeSurfer")

    def func(self, rest: str) -> Path:
        """Path of a functional derivative of all runs; `rest` follows the task."""
        return self.folder / "func" / f"{self.folder.name}_task-{self.task}_{rest}"

    def anat(self, rest: str) -> Path:
        """Path of an anatomical derivative."""
        return self.folder / "anat" / f"{self.folder.name}_{rest}"


def read_subject(
    out_dir: Path, subject: str, task: str, standard_space: Space | None = None
) -> SubjectRecord:
    """Read the tables and sidecars of a finished subject.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    subject, task : str
        Labels without `sub-` and `task-`.
    standard_space : Space, optional
        The one that the runs are in; None where betas were taken to MNI305.

    Raises
    ------
    InputError, OSError, ValueError
        When a file is missing or is not what it should be.
    """
    folder = out_dir / f"sub-{subject}"
    anat = folder / "anat"
    stem = folder / "func" / f"sub-{subject}_task-{task}"
    space = standard_space or MNI305
    in_space = f"{stem}_{space.entities}"
    betas = read_json_object(Path(f"{in_space}_stat-effect_statmap.json"))
    stimuli = read_table(f"{in_space}_stat-effect_statmap.tsv").rows
    read = read_json_object if standard_space is None else _read_if_there
    description = read_json_object(out_dir / DESCRIPTION)
    return SubjectRecord(
        subject=subject,
        task=task,
        data_set=str(description.get("Name", "")),
        raw=str(description.get("DatasetLinks", {}).get("raw", "")),
        estimation=betas.get("Estimation", {}),
        software=betas.get("Software", {}),
        n_stimuli=len(stimuli),
        runs=tuple(_read_run(folder / "func", name, standard_space) for name in betas["Runs"]),
        regions=_read_regions(Path(f"{in_space}_desc-coverage_rois.tsv")),
        coregistration=read(Path(f"{stem}_from-boldref_to-T1w_xfm.json")),
        normalization=read(anat / f"sub-{subject}_from-T1w_to-MNI305_xfm.json"),
        t1w_mask=_read_if_there(anat / f"sub-{subject}_desc-brain_mask.json"),
        segmentation=_read_if_there(anat / f"sub-{subject}_{space.regions}.json"),
        folder=folder,
        standard_space=standard_space,
    )


def _read_if_there(file: Path) -> dict[str, Any]:
    return read_json_object(file) if file.is_file() else {}


def _read_run(func: Path, name: str, standard_space: Space | None) -> RunRecord:
    stem = func / name
    table = read_table(f"{stem}_desc-confounds_timeseries.tsv")
    design = Path(f"{stem}_design.tsv")
    tsnr = Path(f"{stem}_{entities_of_epi(standard_space)}_stat-tsnr_boldmap.nii.gz")
    sidecar = tsnr.with_name(tsnr.name.replace(".nii.gz", ".json"))
    entities = name.split("_")[1:]
    return RunRecord(
        name=" ".join(part for part in entities if not part.startswith("task-")) or name,
        motion=table.numbers(MOTION_PARAMETERS, missing=True),
        displacement=table.numbers(["framewise_displacement"], missing=True)[:, 0],
        design_file=design if design.is_file() else None,
        tsnr_file=tsnr if tsnr.is_file() else None,
        acquisition=_read_if_there(sidecar),
    )


def _read_regions(table_file: Path) -> tuple[RegionRecord, ...]:
    sidecar = table_file.with_suffix(".json")
    labels = _read_if_there(sidecar).get("roi", {}).get("Labels", {})
    table = read_table(table_file).frame(texts=["roi"])
    return tuple(
        RegionRecord(
            name=str(row["roi"]),
            labels=tuple(labels.get(row["roi"], ())),
            n_voxels=int(row["n_voxels"]),
            n_covered=int(row["n_covered"]),
            coverage=float(row["coverage"]),
            distance_mm=float(row.get("distance_from_atlas_mm", "nan")),
        )
        for row in table.to_dict("records")
    )


def read_cautions(out_dir: Path, subject: str) -> list[str]:
    """Give a sentence for each: odd images, doubtful registrations, poor coverage, steps left out.

    Parameters
    ----------
    out_dir : Path
        Root of the derivatives.
    subject : str
        Label without `sub-`.
    """
    folder = out_dir / f"sub-{subject}"
    return [*_of_anatomy(folder), *_of_preprocessing(folder), *_of_coverage(folder)]


def _of_anatomy(folder: Path) -> Iterator[str]:
    """Warnings of the brain mask, the registrations and the regions."""
    reports = [file for kind in ("mask", "xfm", "dseg") for file in folder.glob(f"*/*_{kind}.json")]
    for report in sorted(reports):
        for warning in read_json_object(report).get("warnings", []):
            yield f"{report.stem}: {warning}"


def _of_preprocessing(folder: Path) -> Iterator[str]:
    for sidecar in sorted(folder.glob("func/*_stat-effect_statmap.json")):
        if f"_{BOLDREF}_" in sidecar.name:  # says the same
            continue
        betas = read_json_object(sidecar)
        yield from betas.get("Noticed", [])
        estimation = betas.get("Estimation", {})
        if estimation.get("SliceTimingCorrected") is False:
            left_out = (
                "fMRIPrep did not correct slice timing"
                if "Preprocessing" in estimation
                else "slice timing was not corrected (--ignore slicetiming)"
            )
            yield (
                f"{left_out}: the model assumes that all were acquired in mid-volume, so the first "
                "and last are up to half a TR off"
            )
        if wrong := betas.get("RepetitionTimesInHeaders", []):
            yield (
                f"the headers of {len(wrong)} of fMRIPrep's images give another TR ({wrong[0]:g} "
                "s) than their sidecars, a known fault of fMRIPrep 23.2.0; the sidecars' TR was "
                "used"
            )
        counts = betas.get("NonSteadyStateVolumes", [])
        if any(counts):
            yield (
                f"{sum(counts)} non-steady-state volumes flagged by fMRIPrep are modelled like all "
                f"others ({sum(map(bool, counts))} of {len(counts)} runs begin with some)"
            )


def _of_coverage(folder: Path) -> Iterator[str]:
    for table in sorted(folder.glob("func/*_desc-coverage_rois.tsv")):
        for row in read_table(table).frame(texts=["roi"]).to_dict("records"):
            if row["coverage"] < LOW_COVERAGE:
                yield f"only {row['coverage']:.0%} of the region {row['roi']} has betas"
