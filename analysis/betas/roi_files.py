"""Patterns of regions in `.npz` or HDF5 files, one per subject: no volumes, no atlas."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from conceptrsa.analysis.betas.beta_index import (
    LEAVE_OUT,
    Request,
    by_subject,
    subject_of,
    wanted_names,
    wanted_subjects,
)
from conceptrsa.analysis.betas.volumes import require_finite
from conceptrsa.analysis.brain.patterns import (
    RoiPatterns,
    SubjectPatterns,
    voxel_notes,
    with_data_only,
)
from conceptrsa.analysis.files.array_files import ARRAY_SUFFIXES, ArrayFile, open_arrays
from conceptrsa.analysis.files.given_arrays import names_given
from conceptrsa.analysis.files.rdm_files import RELATIVE_TOLERANCE
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import require_names, require_region_name, stimulus_ids
from conceptrsa.bids_config.region_choice import AnyRegion, matching_names, whole_names
from conceptrsa.bids_config.schema import RegionChoice
from conceptrsa.bids_config.writing import require_content


def subject_files(want: Request, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """Files of subjects in a folder, or a single one, by subject `sub-XX`.

    Raises
    ------
    InputError
        If there is none, or none of a subject wanted.
    """
    wanted = wanted_names(want)
    files: dict[str, list[Path]] = {}
    for file in files_of_subjects(want.path):
        name = subject_of(file.name)
        if name is None or file.suffix not in suffixes:
            continue
        if wanted is None or name in wanted:
            require_content(file, LEAVE_OUT)
        if file.is_file():
            files.setdefault(name, []).append(file)
    if not files:
        raise InputError(
            f"{want.path} holds no file sub-XX* ending in {', '.join(suffixes)}: name each "
            "subject's file like that"
        )
    return {name: files[name] for name in wanted_subjects(files, want)}


def files_of_subjects(path: Path) -> list[Path]:
    """List files called `sub-*`, in a folder or its folders `sub-*`; or the given file.

    Where nothing is called so, what is called by other names of subjects, such as `S1.npz`.
    """
    if path.is_file():
        return [path]
    found = sorted([*path.glob("sub-*"), *path.glob("sub-*/sub-*")])
    others = (file for file in path.glob("*") if file.is_file())
    return found or [file for files in by_subject(others).values() for file in files]


def only_file(subject: str, files: Sequence[Path]) -> Path:
    """The one file of a subject.

    Raises
    ------
    InputError
        If there are several.
    """
    if len(files) > 1:
        raise InputError(
            f"{files[0]} and {files[1].name} are both of {subject}: keep one file per subject"
        )
    return files[0]


def read_roi_files(want: Request) -> tuple[SubjectPatterns, ...]:
    """Read `sub-XX*.npz` or `.h5`, one per subject.

    In each are `stimulus` (stimuli,) and for each region `<roi>/betas`, (stimuli, voxels) or
    (runs, stimuli, voxels); if wished `<roi>/odd` and `<roi>/even` (stimuli, voxels),
    `<roi>/voxels` (voxels,) and `<roi>/residual_covariance` (voxels, voxels). Regions are those of
    the files, or those chosen of them; see `ordered_regions`.

    Raises
    ------
    InputError
        On no file, a missing array, arrays that do not fit each other, a stimulus that is there
        twice or has no data.
    """
    return tuple(
        _read_subject(name, only_file(name, files), want)
        for name, files in subject_files(want, ARRAY_SUFFIXES).items()
    )


def region_names(
    arrays: ArrayFile, ending: str, rois: Sequence[AnyRegion | RegionChoice]
) -> tuple[str, ...]:
    """Regions that have an array of this name, in the order of `ordered_regions`.

    Raises
    ------
    InputError
        If there is none, or one has a name that is none.
    """
    names = [
        name.removesuffix(f"/{ending}") for name in arrays.names if name.endswith(f"/{ending}")
    ]
    if not names:
        raise InputError(f"{arrays.file} holds no array <region>/{ending}: add one for each region")
    return ordered_regions(names, rois, arrays.file)


def ordered_regions(
    names: Iterable[str], rois: Sequence[AnyRegion | RegionChoice], source: Path
) -> tuple[str, ...]:
    """Names of regions: those chosen, or all of them, those of a configuration first.

    Raises
    ------
    InputError
        On a name that is none, or a choice that is not there.
    """
    names = tuple(names)
    places = {roi.name: place for place, roi in enumerate(rois)}
    for name in names:
        require_region_name(name, source)
    require_names(names, "region", source)
    choices = [roi for roi in rois if isinstance(roi, RegionChoice)]
    if not choices:
        return tuple(sorted(names, key=lambda name: places.get(name, len(places))))
    chosen: dict[str, None] = {}
    for choice in choices:
        if choice.name is not None and choice.words != (choice.name,):
            raise InputError(
                f"{source} has its own regions, not labels of an atlas: choose among them by name, "
                f"as in --rois {' '.join(names[:2])}, in place of {choice}"
            )
        for word in whole_names(choice.words, names):
            chosen |= dict.fromkeys(matching_names(word, names, source))
    return tuple(chosen)


def add_runs(subject: SubjectPatterns, file: Path) -> SubjectPatterns:
    """Add betas of runs and residual covariances from a file of the participant level.

    Voxels that it lacks, because some run has no data there, are left out of all betas.

    Raises
    ------
    InputError
        If it lacks a region or stimulus, or is damaged.
    """
    merged = {}
    with open_arrays(file) as arrays:
        places = {
            name: row for row, name in enumerate(stimulus_ids(arrays.texts("stimulus"), file))
        }
        for stimulus in subject.stimuli:
            if stimulus not in places:
                raise InputError(f"{file} holds no beta of stimulus {stimulus}: write it again")
        rows = [places[stimulus] for stimulus in subject.stimuli]
        for name, roi in subject.rois.items():
            if f"{name}/betas" not in arrays.names:
                raise InputError(
                    f"{file} holds no region {name}: run the participant level again with "
                    "--run-betas"
                )
            of_runs = _read_roi(arrays, name, with_covariance=True)
            if of_runs.runs is None:
                raise InputError(f"{file} holds betas of only one run in {name}: write it again")
            _, here, there = np.intersect1d(roi.voxels, of_runs.voxels, return_indices=True)
            covariance = of_runs.residual_covariance
            merged[name] = replace(
                roi.of_voxels(here),
                runs=np.ascontiguousarray(of_runs.runs[:, rows][:, :, there]),
                residual_covariance=(
                    None if covariance is None else covariance[np.ix_(there, there)]
                ),
            )
    outdated = voxel_notes(subject)
    notes = tuple(note for note in subject.notes if note not in outdated)
    return with_data_only(
        replace(subject, rois=merged, sources=(*subject.sources, file), notes=notes)
    )


def _read_subject(name: str, file: Path, want: Request) -> SubjectPatterns:
    with open_arrays(file) as arrays:
        stimuli = names_given(arrays.texts("stimulus"), file)
        _require_alternating(arrays)
        regions = {
            roi: _read_roi(arrays, roi, with_covariance=want.with_runs)
            for roi in region_names(arrays, "betas", want.rois)
        }
    for roi, patterns in regions.items():
        if patterns.n_stimuli != len(stimuli):
            raise InputError(
                f"{roi}/betas in {file} has {patterns.n_stimuli} rows for {len(stimuli)} "
                "stimuli: give (stimuli, voxels) or (runs, stimuli, voxels)"
            )
    values = [patterns.values for patterns in regions.values()]
    for row, stimulus in enumerate(stimuli):
        require_finite(np.concatenate([of_roi[row] for of_roi in values]), stimulus, file)
    subject = replace(SubjectPatterns.from_arrays(name, stimuli, regions), sources=(file,))
    if want.with_runs:
        return subject
    return replace(subject, rois={roi: p.without_runs() for roi, p in subject.rois.items()})


def _read_roi(arrays: ArrayFile, name: str, *, with_covariance: bool) -> RoiPatterns:
    """The arrays of a region as they are in the file, its voxels in increasing order."""

    def name_of(part: str) -> str:
        return f"{name}/{part} in {arrays.file}"

    given = {
        part: arrays.numbers(f"{name}/{part}")
        for part in ("voxels", "odd", "even", *(["residual_covariance"] * with_covariance))
        if f"{name}/{part}" in arrays.names
    }
    betas = arrays.numbers(f"{name}/betas")
    patterns = RoiPatterns.from_array(betas, **given, source=name_of("betas"), name_of=name_of)
    covariance = patterns.residual_covariance
    if covariance is None:
        return patterns
    covariance = covariance.astype(np.float32)
    known = np.nan_to_num(covariance, nan=0.0)
    if np.abs(known - known.T).max() > RELATIVE_TOLERANCE * np.abs(known).max():
        raise InputError(f"{name_of('residual_covariance')} is not symmetric: give a covariance")
    return replace(patterns, residual_covariance=covariance)


def _require_alternating(arrays: ArrayFile) -> None:
    if "half" not in arrays.names:
        return
    for place, half in enumerate(arrays.texts("half")):
        if half != ("even" if place % 2 else "odd"):
            raise InputError(
                f"half in {arrays.file} must read odd, even, odd, ... over the runs: reorder the "
                "runs, or leave half out"
            )
