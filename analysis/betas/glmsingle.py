"""Single-trial betas as GLMsingle leaves them, of Python (`.npy`, `.hdf5`) or MATLAB (`.mat`)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conceptrsa.analysis.betas.beta_index import (
    Request,
    by_subject,
    files_below,
    wanted_subjects,
)
from conceptrsa.analysis.betas.mat_files import read_numbers
from conceptrsa.analysis.betas.single_trials import SubjectTrials, TrialFile
from conceptrsa.analysis.betas.trial_arrays import (
    TrialArray,
    array_in_hdf5,
    array_in_mask,
    array_in_mat,
    array_in_memory,
)
from conceptrsa.analysis.betas.trial_tables import TrialTable, read_trial_table
from conceptrsa.analysis.files.pickled_arrays import read_pickled
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import natural_key, some_of
from conceptrsa.bids_config.writing import file_errors

TYPES = ("TYPED_FITHRF_GLMDENOISE_RR", "TYPEC_FITHRF_GLMDENOISE", "TYPEB_FITHRF")
"""Models with a beta per trial, the one with the most steps first."""

SUFFIXES = (".hdf5", ".h5", ".mat", ".npy")
"""File endings by preference: `.npy` must be read into memory as a whole."""

DESIGN = "DESIGNINFO"
MASK = "*mask.nii*"
"""Beside the outputs, or in the folder above: the voxels that data of units x time were of."""

NAME_STIMULI = "name the stimuli with --trials FILE"


def find_outputs(path: Path) -> Iterator[tuple[str, Path]]:
    """Subject `sub-XX` and file of every model with a beta per trial."""
    for name, folders in by_subject(p for p in path.glob("*") if p.is_dir()).items():
        for folder in folders:
            for file in files_below(folder):
                if file.stem in TYPES and file.suffix in SUFFIXES:
                    yield name, file


def list_glmsingle(want: Request) -> Iterator[SubjectTrials]:
    """List the outputs below each `sub-XX`: of one model, or of one in each folder of a session.

    Raises
    ------
    InputError
        On a model whose trials nothing names, or that holds another number of them.
    """
    found: dict[str, list[Path]] = {}
    for name, file in find_outputs(want.path):
        found.setdefault(name, []).append(file)
    for name in wanted_subjects(found, want):
        yield _list_subject(name, found[name], want)


def _list_subject(name: str, files: Sequence[Path], want: Request) -> SubjectTrials:
    kinds = [kind for kind in TYPES if any(file.stem == kind for file in files)]
    folders: dict[Path, list[Path]] = {}
    for file in files:
        if file.stem == kinds[0]:
            folders.setdefault(file.parent, []).append(file)
    for file in files:
        if file.parent not in folders:
            raise InputError(
                f"{file.parent} holds {file.stem} but not {kinds[0]}, which other folders of "
                f"{name} hold: give the same model for all sessions"
            )
    if want.trials is None:
        raise InputError(
            f"GLMsingle numbers the conditions in {next(iter(folders))} but does not name them: "
            f"{NAME_STIMULI}, a table with a column stimulus and a row per trial, or per condition "
            "numbered in a column condition"
        )
    table = read_trial_table(want.trials, name)
    taken, designs, used, position = [], [], [], 0
    orders: list[list[int] | None] = []
    for folder in sorted(folders, key=lambda folder: natural_key(str(folder))):
        file = min(folders[folder], key=lambda file: SUFFIXES.index(file.suffix))
        array = _open(file)
        mask = _find_mask(folder) if array.shape[1:] == (1, 1) else None
        if mask is not None:
            array = array_in_mask(array, mask, "F" if file.suffix == ".mat" else "C")
            used.append(mask)
        design, order = _read_order(folder, array)
        designs += design
        orders.append(order)
        here = slice(position, position + array.n_trials)
        position = here.stop
        if table.conditions is None:
            names = table.stimuli[here]
        elif order is not None:
            names = table.names_of(order, folder)
        else:
            raise InputError(
                f"{folder} holds no {DESIGN}.npy or .mat, which has the condition of each trial: "
                f"put it there, or give {table.file} a row per trial and no column condition"
            )
        sessions = table.sessions[here] if table.sessions and not table.conditions else ()
        single = (folder.name,) * array.n_trials
        taken.append(TrialFile(array, names, sessions or single))
    _require_all_named(name, table, position)
    notes = [f"GLMsingle's {kinds[0]} taken, not {', '.join(kinds[1:])}"] if kinds[1:] else []
    if len(folders) > 1:
        said = some_of(sorted((folder.name for folder in folders), key=natural_key))
        notes.append(f"GLMsingle outputs in several folders are read as sessions: {said}")
    if table.conditions is not None:
        shown = {number for order in orders for number in order or ()}
        if idle := sorted({*table.conditions} - shown):
            said = some_of([str(number) for number in idle])
            notes.append(f"conditions of {table.file.name} without a trial: {said}")
    elif None not in orders:
        notes += _doubt_about_names(table, [n for order in orders for n in order or ()])
    return SubjectTrials(name, taken, (table.file, *designs, *used), notes)


def _find_mask(folder: Path) -> Path | None:
    masks = sorted(folder.glob(MASK)) or sorted(folder.parent.glob(MASK))
    if len(masks) > 1:
        raise InputError(
            f"{masks[0]} and {masks[1].name} could both be the mask of GLMsingle's data: keep one"
        )
    return masks[0] if masks else None


def _doubt_about_names(table: TrialTable, order: Sequence[int]) -> list[str]:
    """Note names of trials that go across the conditions of the design, as in another order."""
    pairs = {*zip(order, table.stimuli, strict=True)}
    stimuli, conditions = Counter(n for n, _ in pairs), Counter(name for _, name in pairs)
    # A name in two conditions, or two names in one, is a choice; both at once hardly are.
    crossing = [name for n, name in pairs if stimuli[n] > 1 and conditions[name] > 1]
    if not crossing:
        return []
    return [
        f"{table.file.name} gives {len({*crossing})} stimuli that mix several conditions of the "
        "design: check that its rows are in the order of presentation"
    ]


def _open(file: Path) -> TrialArray:
    if file.suffix == ".npy":
        return array_in_memory(file, lambda file: _read(file, "betasmd"))
    if file.suffix == ".mat":
        return array_in_mat(file, "modelmd")
    return array_in_hdf5(file, "betasmd", trials_first=False)


def _read(file: Path, name: str) -> Any:
    content = read_pickled(file)
    if name not in content:
        raise InputError(f"{file} holds no {name}: give the file that GLMsingle saved")
    return content[name]


def _read_order(folder: Path, array: TrialArray) -> tuple[list[Path], list[int] | None]:
    """File of the design and the number, from 1, of each trial's condition, where it is there."""
    file = folder / f"{DESIGN}{'.mat' if array.file.suffix == '.mat' else '.npy'}"
    if not file.exists():
        return [], None
    if file.suffix == ".mat":
        with file_errors(file, "save it again", (ValueError,)):
            order = read_numbers(file, ["stimorder"])[0].astype(int).tolist()
    else:
        order = (np.asarray(_read(file, "stimorder"), dtype=int).ravel() + 1).tolist()
    if len(order) != array.n_trials:
        raise InputError(
            f"{file} lists {len(order)} trials but {array.file.name} holds {array.n_trials}: keep "
            "the files of one model together"
        )
    return [file], order


def _require_all_named(name: str, table: TrialTable, n_trials: int) -> None:
    if table.conditions is None and len(table.stimuli) != n_trials:
        raise InputError(
            f"{table.file} names {len(table.stimuli)} trials but GLMsingle estimated {n_trials} of "
            f"{name}: give a row per trial, or per condition numbered in a column condition"
        )
