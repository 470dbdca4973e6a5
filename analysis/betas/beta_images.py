"""From volumes, each the beta of one stimulus, to the patterns of a subject.

What every layout of volumes has in common: which volumes are averaged, what the halves of the
runs are, and which voxels have data throughout.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conceptrsa.analysis.betas.responses import (
    MODEL_FILE,
    afni_labels,
    require_canonical,
    require_one_kind,
    require_response,
)
from conceptrsa.analysis.betas.volumes import (
    Grid,
    RoiVoxels,
    load_volume,
    read_volume,
    require_values,
    split_into_rois,
)
from conceptrsa.analysis.brain.comparable import TELLING_VOXELS
from conceptrsa.analysis.brain.patterns import (
    MIN_STIMULI,
    Half,
    SubjectPatterns,
    vary_between,
    with_data_only,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import require_place
from conceptrsa.bids_config.toml_tables import did_you_mean
from conceptrsa.bids_config.writing import require_content

FOLDER_NAME = re.compile(r"sub-[0-9a-zA-Z]+")

SPM_NAME = re.compile(r"(.*beta|[rsw]*(con|spmT))_\d{4,}\..+")
"""Betas and contrasts of SPM's; `SPM.mat` beside them tells of which basis they are."""

LEAVE_OUT = ", or leave that subject out by --participant-label"

N_NAMED = 5
"""How many stimuli a note names."""


@dataclass(frozen=True)
class BetaImage:
    """Where the beta of one stimulus lies.

    Attributes
    ----------
    stimulus : str
    file : Path
    volume : int or None
        Counted from 0, of a file with several; None: the file's only one.
    run : str or None
        The run that it was estimated from; None: several.
    half : {'odd', 'even'} or None
        Estimated from the odd or the even runs.
    regressor : str or None
        Name of the regressor of SPM's model, which SPM writes into the file as well.
    """

    stimulus: str
    file: Path
    volume: int | None = None
    run: str | None = None
    half: Half | None = None
    regressor: str | None = None

    def __str__(self) -> str:
        """Where it lies, for messages."""
        return str(self.file) if self.volume is None else f"volume {self.volume} of {self.file}"


def subject_folders(root: Path, participants: Sequence[str] | None) -> list[Path]:
    """Folders `sub-XX` of all subjects, or of those wanted (labels with or without `sub-`).

    Raises
    ------
    InputError
        If there is none, or not that of a subject wanted.
    """
    folders = {path.name: path for path in sorted(root.glob("sub-*")) if path.is_dir()}
    if not folders:
        raise InputError(f"{root} holds no sub-* folder: give the folder that holds them")
    return [folders[name] for name in wanted_subjects(folders, participants, root)]


def files_below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All files below a folder, sorted; links to folders are followed, hidden ones passed over.

    `above` are the folders that it lies in, so that a link back to one of them ends there.

    Raises
    ------
    InputError
        On a folder without permission.
    """
    real = folder.resolve()
    if real in above:
        return
    try:
        entries = sorted(folder.iterdir())
    except PermissionError as error:
        raise InputError(f"{folder} may not be read: mend its permissions") from error
    for path in entries:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from files_below(path, above | {real})
        else:
            yield path


def wanted_subjects(
    present: Iterable[str],
    participants: Sequence[str] | None,
    source: Path,
) -> list[str]:
    """Names `sub-XX`, sorted, of the subjects wanted, or of all.

    Raises
    ------
    InputError
        If one wanted is not there, or a folder `sub-XX` of one cannot be used.
    """
    names = sorted(present)
    wanted = wanted_names(participants)
    _require_used(source, names, wanted)
    if wanted is None:
        return names
    for name in wanted:
        if name not in names:
            labels = [other.removeprefix("sub-") for other in names]
            close = did_you_mean(name.removeprefix("sub-"), labels)
            raise InputError(
                f"{source} holds nothing of {name}{close}: name participants that are there "
                f"({', '.join(names)})"
            )
    return wanted


def wanted_names(participants: Sequence[str] | None) -> list[str] | None:
    """Names `sub-XX`, sorted, of labels with or without `sub-`; None, all, stays so."""
    if participants is None:
        return None
    return sorted({f"sub-{label.removeprefix('sub-')}" for label in participants})


def is_there(path: Path) -> bool:
    """Whether there is a file or folder of this name, or a link, even if it leads nowhere."""
    return path.is_symlink() or path.exists()


def _require_used(source: Path, used: Sequence[str], wanted: Sequence[str] | None) -> None:
    """Refuse a subject that is there but would go missing from the results unnoticed."""
    for entry in sorted(source.glob("sub-*")) if source.is_dir() else ():
        if FOLDER_NAME.fullmatch(entry.name) is None or entry.name in used:
            continue
        if wanted is not None and entry.name not in wanted:
            continue
        require_content(entry, LEAVE_OUT)
        if entry.is_dir():
            raise InputError(
                f"{entry} holds no betas of the form that {source} is read in: add them, or leave "
                "that subject out by naming the others with --participant-label"
            )


def read_beta_images(
    subject: str,
    images: Sequence[BetaImage],
    regions: RoiVoxels,
    *,
    with_runs: bool = False,
    tables: Sequence[Path] = (),
    notes: Sequence[str] = (),
) -> SubjectPatterns:
    """Read and average a subject's betas.

    The betas of all runs are the images that are of no single run or half, where there are such;
    else the mean over runs; else the mean of the two halves. Halves are the images that say so,
    where there are such; else the mean of the 1st, 3rd, ... and of the 2nd, 4th, ... run.

    Parameters
    ----------
    subject : str
        Label without `sub-`.
    images : sequence of BetaImage
    regions : RoiVoxels
        On the images' grid.
    with_runs : bool
        Whether the betas of each run are kept as well.
    tables : sequence of Path
        What named the images, for the list of sources.
    notes : sequence of str
        Of finding the images.

    Raises
    ------
    InputError
        On an image that is there twice, is unreadable, in a place that cannot be trusted (unless
        that is ignored) or on another grid, has no data, is no condition's
        response as its header says, or a stimulus without a beta of all runs.
    """
    images = _without_duplicates(images)
    stimuli = tuple(sorted({image.stimulus for image in images}))
    runs = sorted({image.run for image in images if image.run is not None}, key=natural_order)
    folders = dict.fromkeys(
        image.file.parent for image in images if SPM_NAME.fullmatch(image.file.name)
    )
    models = [folder / MODEL_FILE for folder in folders if (folder / MODEL_FILE).is_file()]
    bases = dict.fromkeys(require_canonical(model) for model in models)
    sums = _Sums(images, stimuli, runs, regions, keep_runs=with_runs)
    seen: dict[bytes, BetaImage] = {}
    kinds: list[tuple[str | None, Path]] = []
    doubts: dict[str | None, None] = {}
    places: list[str] = []
    for image, values, kind, doubt in _read_in_order(images, regions, places):
        _require_pattern(image, values)
        if values.size >= TELLING_VOXELS:
            _require_no_copy(image, seen.setdefault(sha256(values.tobytes()).digest(), image))
        kinds.append((kind, image.file))
        doubts[doubt] = None
        sums.add(image, values)
    if regions.doubt:
        places.append(regions.doubt)
    whole = sums.mean_of_all(f"sub-{subject}")
    require_values(whole, stimuli, images[0].file.parent)
    odd, even, of_runs, missing = sums.parts(f"sub-{subject}")
    whole[:, sums.is_same_in_a_run] = 0
    patterns = split_into_rois(whole, regions, odd=odd, even=even, runs=of_runs)
    files = dict.fromkeys(image.file for image in images)
    kind = require_one_kind(kinds)
    told = [*bases, kind and f"the volumes hold {kind} values, as their headers say", *doubts]
    return with_data_only(
        SubjectPatterns(
            subject=subject,
            stimuli=stimuli,
            rois=patterns,
            sources=(*files, *tables, regions.grid.file),
            notes=(
                *notes,
                *(f"sub-{subject}: {said}" for said in told if said),
                *missing,
                *_describe_places(places, f"sub-{subject}"),
            ),
            kind=kind,
        )
    )


def _describe_places(places: Sequence[str], label: str) -> list[str]:
    """Say of the first file whose place cannot be trusted, and how many there are."""
    more = f" (the first of {len(places)} files)" if len(places) > 1 else ""
    return [f"{label}: {places[0]}{more}"] if places else []


def natural_order(text: str) -> list[tuple[int, int, str]]:
    """Key that sorts numbers in a text by their value: run 2 before run 10."""
    parts = re.findall(r"\d+|\D+", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


class _Sums:
    """Sums of the betas of all runs, of the halves, and of each run."""

    def __init__(
        self,
        images: Sequence[BetaImage],
        stimuli: tuple[str, ...],
        runs: list[str],
        regions: RoiVoxels,
        *,
        keep_runs: bool,
    ) -> None:
        shape = (len(stimuli), len(regions.union))
        self._rows = {stimulus: row for row, stimulus in enumerate(stimuli)}
        self._half_of_run: dict[str, Half] = {
            run: "even" if place % 2 else "odd" for place, run in enumerate(runs)
        }
        self._has_whole = any(image.run is None and image.half is None for image in images)
        self._has_halves = any(image.run is None and image.half is not None for image in images)
        self._sums = {part: np.zeros(shape) for part in ("all", "odd", "even")}
        self._counts = {part: np.zeros(len(stimuli), dtype=int) for part in self._sums}
        self._run_rows = {run: row for row, run in enumerate(runs)}
        self._runs = np.zeros((len(runs), *shape)) if keep_runs and len(runs) > 1 else None
        self._run_counts = np.zeros((len(runs), len(stimuli)), dtype=int)
        self._n_left = Counter(image.run for image in images)
        self._ranges: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        self.is_same_in_a_run = np.zeros(shape[1], dtype=bool)
        """Which voxels are the same for all stimuli of some run: there it holds no data."""

    def add(self, image: BetaImage, values: NDArray[np.float64]) -> None:
        """Add the beta of an image, (voxels,), to what it is a part of."""
        row = self._rows[image.stimulus]
        for part in self._parts_of(image):
            self._sums[part][row] += values
            self._counts[part][row] += 1
        if image.run is not None:
            run = self._run_rows[image.run]
            self._run_counts[run, row] += 1
            self._extend_range(image.run, values)
            if self._runs is not None:
                self._runs[run, row] = values

    def _extend_range(self, run: str, values: NDArray[np.float64]) -> None:
        """Follow the lowest and highest betas of a run, until its last image is there."""
        low, high = self._ranges.pop(run, (values, values))
        low, high = np.minimum(low, values), np.maximum(high, values)
        self._n_left[run] -= 1
        if self._n_left[run]:
            self._ranges[run] = low, high
        elif self._run_counts[self._run_rows[run]].sum() >= MIN_STIMULI:
            self.is_same_in_a_run |= np.isfinite(high - low) & ~vary_between(low, high)

    def _parts_of(self, image: BetaImage) -> Iterator[str]:
        if image.run is None:
            if image.half is None:
                yield "all"
                return
            yield image.half
            if not self._has_whole and not self._run_rows:
                yield "all"
            return
        if not self._has_whole:
            yield "all"
        half = self._half_of_run[image.run]
        if image.half not in (None, half):
            raise InputError(
                f"{image.file} is said to be of run {image.run} and of the {image.half} half, but "
                f"runs count as odd, even, odd, ... in their order, and this one as {half}: name "
                "the run or the half, not both"
            )
        if not self._has_halves:
            yield half

    def mean_of_all(self, label: str) -> NDArray[np.float64]:
        """Betas of all runs, (stimuli, voxels)."""
        for stimulus, count in zip(self._rows, self._counts["all"], strict=True):
            if count == 0:
                raise InputError(
                    f"{label} has a beta of all runs of other stimuli but of {stimulus} of single "
                    "runs or halves only: add it, or leave the betas of all runs away"
                )
        return self._mean("all")

    def parts(
        self, label: str
    ) -> tuple[
        NDArray[np.float64] | None,
        NDArray[np.float64] | None,
        NDArray[np.float64] | None,
        tuple[str, ...],
    ]:
        """Betas of odd, even and single runs, and notes on what is not there of them."""
        stimuli = list(self._rows)
        notes = []
        odd = even = runs = None
        if not self._has_whole and len(self._run_rows) > 1:
            notes += self._describe_fewer_runs(label)
        counts = np.minimum(self._counts["odd"], self._counts["even"])
        if counts.all():
            odd, even = self._mean("odd"), self._mean("even")
        elif counts.any() or len(self._run_rows) > 1:
            notes.append(
                f"{label}: no halves of the runs, because {stimuli[int(np.argmin(counts))]} is not "
                "in both an odd and an even run"
            )
        if self._runs is not None:
            if self._run_counts.all():
                runs = self._runs
            else:
                run, row = np.argwhere(self._run_counts == 0)[0]
                notes.append(
                    f"{label}: no betas of single runs, because {stimuli[row]} is not in run "
                    f"{list(self._run_rows)[run]}"
                )
        return odd, even, runs, tuple(notes)

    def _describe_fewer_runs(self, label: str) -> list[str]:
        n_runs = len(self._run_rows)
        counts = np.count_nonzero(self._run_counts, axis=0)
        fewer = [
            f"{stimulus} ({count} of {n_runs})"
            for stimulus, count in zip(self._rows, counts, strict=True)
            if count < n_runs
        ]
        if not fewer:
            return []
        more = f" and {len(fewer) - N_NAMED} more" if len(fewer) > N_NAMED else ""
        return [
            f"{label}: stimuli not in all runs, averaged over those that they are in: "
            f"{', '.join(fewer[:N_NAMED])}{more}"
        ]

    def _mean(self, part: str) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = self._sums[part] / self._counts[part][:, None]
        return mean


def _without_duplicates(images: Sequence[BetaImage]) -> list[BetaImage]:
    places: dict[tuple[str, str | None, str | None], BetaImage] = {}
    for image in images:
        same = places.setdefault((image.stimulus, image.run, image.half), image)
        if same is not image:
            of = f" in run {image.run}" if image.run else ""
            raise InputError(
                f"{image.file} and {same.file.name} are both betas of stimulus "
                f"{image.stimulus}{of}: keep one"
            )
    return list(places.values())


def _require_pattern(image: BetaImage, values: NDArray[np.float64]) -> None:
    finite = values[np.isfinite(values)]
    remedy = "estimate it again, or leave that stimulus out of every subject"
    if not finite.size:
        raise InputError(
            f"the beta of stimulus {image.stimulus} in {image} is not finite in any voxel of any "
            f"region: {remedy}"
        )
    if finite.size > 1 and np.ptp(finite) == 0:
        raise InputError(
            f"the beta of stimulus {image.stimulus} in {image} is the same in every voxel of every "
            f"region ({finite[0]:g}): {remedy}"
        )


def _require_no_copy(image: BetaImage, other: BetaImage) -> None:
    if other is image:
        return
    raise InputError(
        f"{other} and {image} hold the same numbers in every voxel of the regions (stimuli "
        f"{other.stimulus} and {image.stimulus}), so one is a copy: give each its own beta"
    )


def _read_in_order(
    images: Sequence[BetaImage], regions: RoiVoxels, places: list[str]
) -> Iterator[tuple[BetaImage, NDArray[np.float64], str | None, str | None]]:
    """Read each image at the regions' voxels, each file once and from its beginning on.

    With what its header says that it holds in place of betas, and leaves in doubt. `places`
    takes why the place of a file cannot be trusted, where that is ignored.
    """
    voxels = regions.union
    ordered = sorted(images, key=lambda image: (str(image.file), image.volume or 0))
    for file, of_file in groupby(ordered, key=lambda image: image.file):
        volumes = load_volume(file)
        if place := require_place(volumes, file, regions.ignore_place):
            places.append(place)
        regions.grid.require_same(Grid(volumes.shape[:3], volumes.affine, file))
        labels = afni_labels(volumes)
        n_volumes = volumes.shape[3] if len(volumes.shape) == 4 else 1
        if len(volumes.shape) > 4:
            raise InputError(f"{file} has {len(volumes.shape)} dimensions: give 3D or 4D volumes")
        for image in of_file:
            if image.volume is None and n_volumes > 1:
                raise InputError(
                    f"{file} holds {n_volumes} volumes: give one beta per file, or a table that "
                    "names the volumes"
                )
            volume = image.volume or 0
            if not 0 <= volume < n_volumes:
                raise InputError(
                    f"{file} holds {n_volumes} volumes but volume {volume} is asked for: number "
                    "them from 0"
                )
            said = require_response(volumes, image.volume, file, labels, image.regressor)
            yield image, read_volume(volumes, volume, voxels, file), *said
