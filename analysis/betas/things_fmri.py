"""Single-trial responses of THINGS-fMRI in the table format of its authors.

`sub-XX_ResponseData.h5` (a DataFrame of pandas: voxels x trials), `sub-XX_StimulusMetadata.csv`
(a row per trial) and `sub-XX_VoxelMetadata.csv` (a row per voxel, regions as columns of 0 and 1).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conceptrsa.analysis.arrays import Integers
from conceptrsa.analysis.betas.beta_index import Request, by_subject, wanted_subjects
from conceptrsa.analysis.betas.single_trials import SubjectTrials, TrialFile, read_trials
from conceptrsa.analysis.betas.trial_arrays import array_in_hdf5
from conceptrsa.analysis.brain.patterns import SubjectPatterns
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import some_of
from conceptrsa.bids_config.region_choice import matching_names
from conceptrsa.bids_config.schema import RegionChoice
from conceptrsa.bids_config.tsv import read_table
from conceptrsa.bids_config.writing import file_errors

RESPONSES = "_ResponseData.h5"
TRIALS = "_StimulusMetadata.csv"
VOXELS = "_VoxelMetadata.csv"
ARRAY = "ResponseData/block0_values"
"""Block in which pandas keeps the numbers of all trials; `voxel_id` is in another."""

NOT_A_REGION = frozenset({"", "voxel_id", "subject_id", "voxel_x", "voxel_y", "voxel_z"})
NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z]+")


def find_responses(path: Path) -> list[Path]:
    """Files of responses in a folder, or in its folder `betas_csv`."""
    return sorted([*path.glob(f"*{RESPONSES}"), *path.glob(f"betas_csv/*{RESPONSES}")])


def read_things(want: Request) -> tuple[SubjectPatterns, ...]:
    """Read the responses of all subjects in the regions of their tables of voxels.

    Without a choice, regions are all those that every subject has voxels of. Several columns make
    one region where they are chosen so: `FFA=lFFA,rFFA`.

    Raises
    ------
    InputError
        On a missing table, a table of another number of trials or voxels, or a region that is not
        there.
    """
    files = {name: found[0] for name, found in by_subject(find_responses(want.path)).items()}
    if not files:
        raise InputError(f"{want.path} holds no sub-XX{RESPONSES}: give the folder betas_csv")
    names = wanted_subjects(files, want)
    tables = {name: _read_regions(_beside(files[name], VOXELS)) for name in names}
    listed = [_list_subject(name, files[name], tables[name], want, tables) for name in names]
    return read_trials(listed, want, None, zscore=True)


def _list_subject(
    name: str,
    file: Path,
    table: tuple[int, dict[str, Integers]],
    want: Request,
    tables: Mapping[str, tuple[int, dict[str, Integers]]],
) -> SubjectTrials:
    array = array_in_hdf5(file, ARRAY, trials_first=False)
    trials_file, voxels_file = _beside(file, TRIALS), _beside(file, VOXELS)
    trials = read_table(trials_file)
    trials.require_columns(["stimulus", "session"], "copy it again")
    n_voxels, columns = table
    for found, expected, what, where in (
        (len(trials.rows), array.n_trials, "trials", trials_file),
        (n_voxels, array.shape[0], "voxels", voxels_file),
    ):
        if found != expected:
            raise InputError(
                f"{where} lists {found} {what} but {file.name} holds {expected}: copy both again"
            )
    of_trials = TrialFile(array, trials.column("stimulus"), trials.column("session"))
    choices = [roi for roi in want.rois if isinstance(roi, RegionChoice)]
    if choices:
        rois = _choose(choices, columns, voxels_file)
        notes = []
    else:
        others = [regions for _, regions in tables.values()]
        rois = {roi: at for roi, at in columns.items() if all(len(o.get(roi, ())) for o in others)}
        gone = [roi for roi in columns if roi not in rois]
        notes = [f"regions that some subject has no voxel of: {some_of(gone)}"] if gone else []
    return SubjectTrials(name, [of_trials], (trials_file, voxels_file), notes, rois)


def _beside(file: Path, ending: str) -> Path:
    table = file.with_name(file.name.removesuffix(RESPONSES) + ending)
    if not table.exists():
        raise InputError(
            f"{table} is missing, which belongs to {file.name}: put both in one folder"
        )
    return table


def _read_regions(file: Path) -> tuple[int, dict[str, Integers]]:
    """Number of voxels, and those of each region, by its name without spaces and brackets."""
    # Two hundred columns of two hundred thousand voxels are too many for a table of texts.
    with file_errors(file, "copy it again", (ValueError,)):
        table = pd.read_csv(file)
    regions: dict[str, Integers] = {}
    for column in table.columns:
        values = table[column].to_numpy()
        if column not in NOT_A_REGION and values.dtype.kind in "biuf" and _is_mask(values):
            regions[NOT_IN_NAMES.sub("-", column).strip("-")] = np.flatnonzero(values)
    if not regions:
        raise InputError(f"{file} holds no region (a column of 0 and 1): copy it again")
    return len(table), regions


def _is_mask(values: NDArray[Any]) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _choose(
    choices: Sequence[RegionChoice], columns: Mapping[str, Integers], file: Path
) -> dict[str, Integers]:
    chosen: dict[str, Integers] = {}
    for choice in choices:
        if choice.mask is not None:
            raise InputError(f"{file} has its own regions: choose among them, not {choice}")
        found = [name for word in choice.words for name in matching_names(word, [*columns], file)]
        if choice.name is None:
            chosen |= {name: columns[name] for name in found}
        else:
            chosen[choice.name] = np.unique(np.concatenate([columns[name] for name in found]))
    for name, voxels in chosen.items():
        if not len(voxels):
            raise InputError(f"region {name} has no voxel in {file}: leave it out")
    return chosen
