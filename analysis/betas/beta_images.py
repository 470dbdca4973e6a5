"""From volumes, each the beta of one stimulus, to the patterns of a subject.

What every layout of volumes has in common: which volumes are averaged, what the halves of the
runs are, and which voxels have data throughout.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import numpy as np

from conceptrsa.analysis.arrays import Floats, Integers
from conceptrsa.analysis.betas.beta_index import BetaImage, Request, SubjectImages
from conceptrsa.analysis.betas.response_kind import (
    MODEL_FILE,
    afni_labels,
    require_canonical,
    require_one_kind,
    require_response,
)
from conceptrsa.analysis.betas.roi_files import add_runs
from conceptrsa.analysis.betas.roi_voxels import RoiVoxels, notes_on_regions, regions_by_subject
from conceptrsa.analysis.betas.volumes import (
    ESTIMATE_AGAIN,
    Grid,
    load_volume,
    n_volumes_of,
    read_volume,
    require_finite,
)
from conceptrsa.analysis.brain.comparable import TELLING_VOXELS
from conceptrsa.analysis.brain.patterns import (
    MIN_STIMULI,
    Half,
    RoiPatterns,
    SubjectPatterns,
    vary_between,
    with_data_only,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.images import require_orientation
from conceptrsa.bids_config.names import natural_key, some_of
from conceptrsa.bids_config.region_choice import Region
from conceptrsa.bids_config.schema import RegionChoice

SPM_NAME = re.compile(r"(.*beta|[rsw]*(con|spmT))_\d{4,}\..+")
"""Betas and contrasts of SPM's; `SPM.mat` beside them tells of which basis they are."""


def read_subjects(
    listed: Sequence[SubjectImages], want: Request, atlas: Path | None, own_atlas: Path
) -> tuple[SubjectPatterns, ...]:
    """Read the betas that were found of each subject, at the regions of an atlas.

    Without one that the user gave, in any grid, it is the one that was made with the betas, in
    theirs.

    Raises
    ------
    InputError
        As `regions_by_subject` and `read_beta_images`.
    """
    regions = [region for region in want.rois if not isinstance(region, RegionChoice)]
    has_masks = any(isinstance(region, Region) and region.mask for region in regions)
    regions_of = regions_by_subject(atlas or own_atlas, regions, want.atlas_reading)
    subjects: list[SubjectPatterns] = []
    found: list[RoiVoxels] = []
    for of_subject in listed:
        file = of_subject.images[0].file
        grid = Grid.of(load_volume(file), file) if atlas or has_masks else None
        found.append(regions_of(of_subject.label, grid))
        subject = read_beta_images(of_subject, found[-1], want.with_runs)
        if of_subject.run_betas is not None:
            subject = add_runs(subject, of_subject.run_betas)
        subjects.append(subject)
    optional = [one.name for one in regions if isinstance(one, Region) and one.is_optional]
    subjects, left_out = _in_every_subject(subjects, optional)
    notes = [*notes_on_regions(found), *left_out]
    subjects[:1] = [replace(subject, notes=(*notes, *subject.notes)) for subject in subjects[:1]]
    return tuple(subjects)


def _in_every_subject(
    subjects: Sequence[SubjectPatterns], optional: Sequence[str]
) -> tuple[list[SubjectPatterns], list[str]]:
    """Leave out regions that were not asked for by name and of which some subject has no data.

    Returns
    -------
    subjects : list of SubjectPatterns
    notes : list of str
    """
    lacking = {
        name: [one.label for one in subjects if name not in one.rois or not one.rois[name].n_voxels]
        for name in optional
        if any(name in one.rois for one in subjects)
    }
    lacking = {name: of for name, of in lacking.items() if of}
    if not lacking or lacking.keys() >= set().union(*(one.rois for one in subjects)):
        return list(subjects), []
    kept = [
        replace(one, rois={name: roi for name, roi in one.rois.items() if name not in lacking})
        for one in subjects
    ]
    said = [
        name + ("" if len(of) == len(subjects) else f" ({some_of(of, 3)})")
        for name, of in lacking.items()
    ]
    what = f"regions left out, because some subject has no voxel with data in them: {some_of(said)}"
    return kept, [what]


def read_beta_images(
    listed: SubjectImages, regions: RoiVoxels, with_runs: bool = False
) -> SubjectPatterns:
    """Read and average a subject's betas.

    The betas of all runs are the images that are of no single run or half, where there are such;
    else the mean over runs; else the mean of the two halves. Halves are the images that say so,
    where there are such; else the mean of the 1st, 3rd, ... and of the 2nd, 4th, ... run.

    Parameters
    ----------
    listed : SubjectImages
    regions : RoiVoxels
        On the images' grid.
    with_runs : bool
        Whether the betas of each run are kept as well.

    Raises
    ------
    InputError
        On an image that is there twice, is unreadable, in a place that cannot be trusted (unless
        that is ignored) or on another grid, has no data, is no condition's
        response as its header says, or a stimulus without a beta of all runs.
    """
    images = listed.images
    _require_no_duplicates(images)
    files = dict.fromkeys(image.file for image in images)
    folders = dict.fromkeys(file.parent for file in files if SPM_NAME.fullmatch(file.name))
    models = [folder / MODEL_FILE for folder in folders if (folder / MODEL_FILE).is_file()]
    bases = dict.fromkeys(require_canonical(model) for model in models)
    union = regions.union
    sums = _Sums(images, len(union), with_runs)
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
    kind = require_one_kind(kinds)
    everywhere, missing = sums.patterns(listed.name, union)
    notes = [
        listed.left_out
        and f"conditions left out, because they are not stimuli: {', '.join(listed.left_out)}",
        *listed.notes,
        *bases,
        kind and f"the volumes hold {kind} values, according to their headers",
        *doubts,
        *missing,
        places and places[0] + (f" (the first of {len(places)} files)" if places[1:] else ""),
    ]
    return with_data_only(
        SubjectPatterns(
            subject=listed.label,
            stimuli=tuple(sums.rows),
            rois={
                roi: replace(everywhere.of_voxels(np.searchsorted(union, voxels)), n_dropped=0)
                for roi, voxels in regions.rois.items()
            },
            sources=(*files, *listed.tables, *regions.files),
            notes=tuple(f"{listed.name}: {note}" for note in notes if note),
            estimation=listed.estimation,
            kind=kind,
            grid=regions.grid.in_standard_space(regions.files),
        )
    )


class _Sums:
    """Sums of the betas of all runs, of the halves, and of each run."""

    def __init__(self, images: Sequence[BetaImage], n_voxels: int, keep_runs: bool) -> None:
        stimuli = sorted({image.stimulus for image in images})
        runs = sorted({image.run for image in images if image.run is not None}, key=natural_key)
        shape = (len(stimuli), n_voxels)
        self.rows = {stimulus: row for row, stimulus in enumerate(stimuli)}
        self._run_rows = {run: row for row, run in enumerate(runs)}
        self._has_whole = any(image.run is None and image.half is None for image in images)
        self._has_halves = any(image.run is None and image.half is not None for image in images)
        self._sums = {part: np.zeros(shape) for part in ("all", "odd", "even")}
        self._counts = {part: np.zeros(len(stimuli), dtype=int) for part in self._sums}
        self._runs = np.zeros((len(runs), *shape)) if keep_runs and len(runs) > 1 else None
        self._run_counts = np.zeros((len(runs), len(stimuli)), dtype=int)
        self._ranges: dict[str, tuple[Floats, Floats]] = {}

    def add(self, image: BetaImage, values: Floats) -> None:
        """Add the beta of an image, (voxels,), to what it is a part of."""
        row = self.rows[image.stimulus]
        for part in self._parts_of(image):
            self._sums[part][row] += values
            self._counts[part][row] += 1
        if image.run is not None:
            run = self._run_rows[image.run]
            self._run_counts[run, row] += 1
            low, high = self._ranges.get(image.run, (values, values))
            self._ranges[image.run] = np.minimum(low, values), np.maximum(high, values)
            if self._runs is not None:
                self._runs[run, row] = values

    def _parts_of(self, image: BetaImage) -> Iterator[str]:
        if image.run is None:
            is_whole = image.half is None or not (self._has_whole or self._run_rows)
            yield from filter(None, ["all" if is_whole else None, image.half])
            return
        half: Half = "even" if self._run_rows[image.run] % 2 else "odd"
        if image.half not in (None, half):
            raise InputError(
                f"{image.file} is said to be of run {image.run} and of the {image.half} half, but "
                f"runs alternate odd, even, odd, ... in order, which makes this one {half}: name "
                "the run or the half, not both"
            )
        if not self._has_whole:
            yield "all"
        if not self._has_halves:
            yield half

    def patterns(self, name: str, voxels: Integers) -> tuple[RoiPatterns, list[str]]:
        """Betas of all, odd, even and single runs, and notes on what is not there of them."""
        stimuli = list(self.rows)
        for stimulus, count in zip(stimuli, self._counts["all"], strict=True):
            if count == 0:
                raise InputError(
                    f"{name} has betas over all runs for other stimuli, but only of single runs or "
                    f"halves for {stimulus}: add it, or remove the betas over all runs"
                )
        whole, halves, runs = self._mean("all"), None, None
        for run, (low, high) in self._ranges.items():
            if self._run_counts[self._run_rows[run]].sum() >= MIN_STIMULI:
                # A run in which a voxel is the same for all stimuli holds no data there.
                whole[:, np.isfinite(high - low) & ~vary_between(low, high)] = 0
        notes = self._describe_fewer_runs()
        counts = np.minimum(self._counts["odd"], self._counts["even"])
        if counts.all():
            halves = self._mean("odd"), self._mean("even")
        elif counts.any() or len(self._run_rows) > 1:
            notes.append(
                f"no halves of the runs, because {stimuli[int(np.argmin(counts))]} is not in both "
                "an odd and an even run"
            )
        if self._runs is not None and self._run_counts.all():
            runs = self._runs
        elif self._runs is not None:
            run_row, row = np.argwhere(self._run_counts == 0)[0]
            notes.append(
                f"no betas of single runs, because {stimuli[row]} is not in run "
                f"{list(self._run_rows)[run_row]}"
            )
        return RoiPatterns(whole, voxels, halves=halves, runs=runs), notes

    def _describe_fewer_runs(self) -> list[str]:
        n_runs = len(self._run_rows)
        counts = np.count_nonzero(self._run_counts, axis=0)
        fewer = [
            f"{stimulus} ({count} of {n_runs})"
            for stimulus, count in zip(self.rows, counts, strict=True)
            if count < n_runs
        ]
        if self._has_whole or n_runs < 2 or not fewer:
            return []
        return [f"stimuli not in all runs, averaged over the runs that have them: {some_of(fewer)}"]

    def _mean(self, part: str) -> Floats:
        mean: Floats = self._sums[part] / self._counts[part][:, None]
        return mean


def _require_no_duplicates(images: Sequence[BetaImage]) -> None:
    places: dict[tuple[str, str | None, str | None], BetaImage] = {}
    for image in images:
        same = places.setdefault((image.stimulus, image.run, image.half), image)
        if same is not image:
            of = f" in run {image.run}" if image.run else ""
            raise InputError(
                f"{image.file} and {same.file.name} are both betas of stimulus "
                f"{image.stimulus}{of}: keep one"
            )


def _require_pattern(image: BetaImage, values: Floats) -> None:
    require_finite(values, image.stimulus, image)
    finite = values[np.isfinite(values)]
    if finite.size > 1 and np.ptp(finite) == 0:
        raise InputError(
            f"the beta of stimulus {image.stimulus} in {image} is the same in every voxel of every "
            f"region ({finite[0]:g}): {ESTIMATE_AGAIN}"
        )


def _require_no_copy(image: BetaImage, other: BetaImage) -> None:
    if other is not image:
        raise InputError(
            f"{other} and {image} hold the same numbers in every voxel of the regions (stimuli "
            f"{other.stimulus} and {image.stimulus}), so one is a copy: give each its own beta"
        )


def _read_in_order(
    images: Sequence[BetaImage], regions: RoiVoxels, places: list[str]
) -> Iterator[tuple[BetaImage, Floats, str | None, str | None]]:
    """Read each image at the regions' voxels, each file once and from its beginning on.

    With what its header says that it holds in place of betas, and leaves in doubt. `places`
    takes why the place of a file cannot be trusted, where that is ignored.
    """
    voxels = regions.union
    ordered = sorted(images, key=lambda image: (str(image.file), image.volume or 0))
    for file, of_file in groupby(ordered, key=lambda image: image.file):
        volumes = load_volume(file)
        if place := require_orientation(volumes, file, regions.ignore_place):
            places.append(place)
        regions.grid.require_same(Grid.of(volumes, file))
        labels = afni_labels(volumes)
        n_volumes = n_volumes_of(volumes)
        if len(volumes.shape) > 4:
            raise InputError(f"{file} has {len(volumes.shape)} dimensions: give 3D or 4D volumes")
        for image in of_file:
            if image.volume is None and n_volumes > 1:
                raise InputError(
                    f"{file} holds {n_volumes} volumes: give one beta per file, or a table that "
                    "numbers the volumes"
                )
            volume = image.volume or 0
            if not 0 <= volume < n_volumes:
                raise InputError(
                    f"{file} holds {n_volumes} volumes but volume {volume} is asked for: number "
                    "them from 0"
                )
            said = require_response(volumes, image.volume, file, labels, image.regressor)
            yield image, read_volume(volumes, volume, voxels, file), *said
