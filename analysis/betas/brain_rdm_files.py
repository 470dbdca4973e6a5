"""Brain RDMs that were computed elsewhere, one file per subject, or one per subject and region."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.betas.beta_index import Request, behind_subject
from conceptrsa.analysis.betas.roi_files import (
    only_file,
    ordered_regions,
    region_names,
    subject_files,
)
from conceptrsa.analysis.brain.patterns import SubjectRdms, notes_on_absent
from conceptrsa.analysis.files.array_files import ARRAY_SUFFIXES, ArrayFile, open_arrays
from conceptrsa.analysis.files.given_arrays import names_given
from conceptrsa.analysis.files.rdm_files import (
    absent_stimuli,
    is_square,
    rdm_vector,
    reorder,
    square_of_table,
    without_stimuli,
)
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import natural_key
from conceptrsa.bids_config.region_choice import AnyRegion
from conceptrsa.bids_config.schema import RegionChoice
from conceptrsa.bids_config.tsv import read_table

TABLE_SUFFIXES = (".tsv", ".csv")
HALVES = ("rdm_odd", "rdm_even")
HALF_ENDINGS = tuple(f"/{half}" for half in HALVES)


def read_rdm_files(want: Request) -> tuple[SubjectRdms, ...]:
    """Read `sub-XX*.npz`, `.h5`, or `sub-XX_<roi>.tsv`.

    In arrays are `stimulus` (stimuli,) and for each region `<roi>/rdm`, (stimuli, stimuli) or
    (pairs,) in the order of `pdist`; where `<roi>/rdm_odd` and `<roi>/rdm_even` are there, of odd
    and even runs, these two folds are taken instead. Tables are square, and name the stimuli in
    the header and in the first column. A stimulus all of whose distances are NaN is one that the
    subject did not see. Regions are those of the files, or those chosen of them; see
    `ordered_regions`.

    Raises
    ------
    InputError
        On no file, several of one subject and region, an RDM that is none, a half of the runs
        that some region lacks, regions of one subject with different stimuli, or a stimulus that
        is there twice.
    """
    files = subject_files(want, (*ARRAY_SUFFIXES, *TABLE_SUFFIXES))
    return tuple(
        _read_tables(name, of_subject, want.rois)
        if of_subject[0].suffix in TABLE_SUFFIXES
        else _read_arrays(name, only_file(name, of_subject), want.rois)
        for name, of_subject in files.items()
    )


def _read_arrays(name: str, file: Path, rois: Sequence[AnyRegion | RegionChoice]) -> SubjectRdms:
    with open_arrays(file) as arrays:
        stimuli = names_given(arrays.texts("stimulus"), file)
        has_halves = any(array.endswith(HALF_ENDINGS) for array in arrays.names)
        if has_halves:
            _require_halves_of_all(arrays)
        parts = HALVES if has_halves else ("rdm",)
        regions = region_names(arrays, parts[0], rois)
        names = [f"{region}/{part}" for region in regions for part in parts]
        given = {array: arrays.numbers(array).astype(np.float64) for array in names}
    stimuli, vectors, absent = _known_distances(
        stimuli, given, {array: f"{array} in {file}" for array in names}
    )
    rdms = {region: np.stack([vectors[f"{region}/{part}"] for part in parts]) for region in regions}
    note = (
        f"{name}: RDMs of odd and even runs are scored and averaged; those of all runs are not used"
    )
    return SubjectRdms(
        subject=name.removeprefix("sub-"),
        stimuli=stimuli,
        rois=rdms,
        sources=(file,),
        notes=(*notes_on_absent(name, absent), *((note,) if has_halves else ())),
    )


def _known_distances(
    stimuli: Sequence[str], given: Mapping[str, Floats], sources: Mapping[str, str]
) -> tuple[tuple[str, ...], dict[str, Floats], tuple[str, ...]]:
    """Leave out the stimuli that a subject did not see.

    Returns
    -------
    stimuli : tuple of str
        The others, sorted.
    rdms : dict of str to ndarray, (pairs,)
        Of these.
    absent : tuple of str
    """
    absent = absent_stimuli(given, stimuli)
    known = [stimulus for stimulus in stimuli if stimulus not in set(absent)]
    order = sorted(range(len(known)), key=known.__getitem__)
    rdms = {}
    for name, rdm in given.items():
        vector = rdm_vector(without_stimuli(rdm, stimuli, absent), len(known), sources[name])
        rdms[name] = reorder(vector, order)
    return tuple(sorted(known)), rdms, absent


def _require_halves_of_all(arrays: ArrayFile) -> None:
    for array in sorted(arrays.names):
        region, _, part = array.rpartition("/")
        if not region or part not in ("rdm", *HALVES):
            continue
        for half in HALVES:
            if f"{region}/{half}" not in arrays.names:
                raise InputError(
                    f"{arrays.file} holds {array} but no {region}/{half}: give RDMs of odd and "
                    "even runs for every region, or for none"
                )


def _read_tables(
    name: str, files: Sequence[Path], rois: Sequence[AnyRegion | RegionChoice]
) -> SubjectRdms:
    of_region: dict[str, Path] = {}
    for file in files:
        region = behind_subject(file)
        if file.suffix not in TABLE_SUFFIXES or not region:
            raise InputError(f"{file} is not called {name}_<roi>.tsv: rename it or move it away")
        other = of_region.setdefault(region, file)
        if other != file:
            raise InputError(f"{other} and {file} are both the RDM of {region}: keep one")
    stimuli: tuple[str, ...] = ()
    given, sources = {}, {}
    for region in ordered_regions(sorted(of_region, key=natural_key), rois, files[0].parent):
        file = of_region[region]
        table = read_table(file)
        if not is_square(table):
            raise InputError(
                f"{file} does not name the same stimuli in its header and in its first column: "
                "give the full square RDM with both, or --betas-format roi-tables if its columns "
                "are voxels"
            )
        named, square = square_of_table(table)
        if not np.isnan(square).any():
            rdm_vector(square, len(named), f"the RDM in {file}")
        if stimuli and sorted(named) != list(stimuli):
            raise InputError(
                f"{file} holds other stimuli than {name}'s other tables: give the same stimuli in "
                "all"
            )
        stimuli = tuple(sorted(named))
        rows = sorted(range(len(named)), key=named.__getitem__)
        given[region] = square[np.ix_(rows, rows)]
        sources[region] = f"the RDM in {file}"
    known, vectors, absent = _known_distances(stimuli, given, sources)
    return SubjectRdms(
        name.removeprefix("sub-"),
        known,
        {region: rdm[None] for region, rdm in vectors.items()},
        sources=tuple(of_region.values()),
        notes=notes_on_absent(name, absent),
    )
