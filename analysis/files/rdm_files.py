"""RDMs that others computed: square or as a vector, in arrays or tables, and what is wrong there.

The same for a brain's and for a model's RDM.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial.distance import squareform

from conceptrsa.analysis.arrays import Floats
from conceptrsa.analysis.files.given_arrays import names_given
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import stimulus_ids
from conceptrsa.bids_config.tsv import TextTable

RELATIVE_TOLERANCE = 1e-6
"""Tolerance relative to the largest distance; float32 files are symmetric to about 1e-7."""


def rdm_vector(rdm: Floats, n_stimuli: int, source: str) -> Floats:
    """Check an RDM and give its upper triangle.

    Parameters
    ----------
    rdm : ndarray, (stimuli, stimuli) or (pairs,)
        A vector is in the order of `scipy.spatial.distance.pdist`.
    n_stimuli : int
    source : str
        What it is and where it came from, for messages.

    Returns
    -------
    ndarray, (pairs,)

    Raises
    ------
    InputError
        On another size than the stimuli ask for, a distance that is not finite, a matrix that is
        not symmetric or not zero on its diagonal.
    """
    n_pairs = n_stimuli * (n_stimuli - 1) // 2
    if rdm.shape not in ((n_stimuli, n_stimuli), (n_pairs,)):
        raise InputError(
            f"{source} is of shape {rdm.shape} for {n_stimuli} stimuli: give a "
            f"{n_stimuli} x {n_stimuli} matrix, or the {n_pairs} distances above its diagonal"
        )
    if not np.isfinite(rdm).all():
        raise InputError(f"{source} holds a distance that is not finite: compute it again")
    if rdm.ndim == 1:
        return np.array(rdm, dtype=np.float64)
    tolerance = RELATIVE_TOLERANCE * np.abs(rdm).max(initial=0)
    if np.abs(np.diagonal(rdm)).max(initial=0) > tolerance:
        raise InputError(
            f"{source} is not 0 on its diagonal, so it may hold similarities: give distances, such "
            "as 1 - correlation"
        )
    if np.abs(rdm - rdm.T).max(initial=0) > tolerance:
        raise InputError(f"{source} is not symmetric: average it with its transpose")
    upper: Floats = ((rdm + rdm.T) / 2)[np.triu_indices(n_stimuli, k=1)]
    return upper


def absent_stimuli(rdms: Mapping[str, Floats], stimuli: Sequence[str]) -> tuple[str, ...]:
    """Stimuli all of whose distances are NaN in every RDM, as of one that a subject did not see.

    Parameters
    ----------
    rdms : mapping of str to ndarray, (stimuli, stimuli) or (pairs,)
    stimuli : sequence of str
    """
    known = np.zeros(len(stimuli), dtype=bool)
    for rdm in rdms.values():
        missing = np.isnan(rdm)
        if not missing.any():
            return ()
        square = squareform(missing) if rdm.ndim == 1 else missing
        if square.shape != (len(stimuli), len(stimuli)):
            return ()
        known |= (~square & ~np.eye(len(stimuli), dtype=bool)).any(axis=0)
    if not known.any():
        return ()
    return tuple(name for name, is_known in zip(stimuli, known, strict=True) if not is_known)


def without_stimuli(rdm: Floats, stimuli: Sequence[str], absent: Sequence[str]) -> Floats:
    """Leave some stimuli out of an RDM (stimuli, stimuli) or (pairs,)."""
    if not absent:
        return rdm
    gone = set(absent)
    rows = [row for row, name in enumerate(stimuli) if name not in gone]
    return reorder(rdm, rows) if rdm.ndim == 1 else np.asarray(rdm[np.ix_(rows, rows)])


def reorder(rdm: Floats, rows: Sequence[int]) -> Floats:
    """Give the distances (pairs,) between some of the stimuli, in the order of their rows."""
    return np.asarray(squareform(squareform(rdm)[np.ix_(rows, rows)], checks=False))


def is_square(table: TextTable) -> bool:
    """Tell whether a table names the same stimuli in its header and in its first column."""
    columns = stimulus_ids(table.columns[1:], table.file)
    names = stimulus_ids([row[0] for row in table.rows], table.file)
    return len(columns) > 0 and sorted(columns) == sorted(names)


def square_of_table(table: TextTable) -> tuple[tuple[str, ...], Floats]:
    """Stimuli and matrix of a table that is square, its columns in the order of its rows.

    Raises
    ------
    InputError
        On a stimulus that is there twice, or a distance that is no number.
    """
    stimuli = read_stimuli_column(table)
    place = {
        name: column for column, name in enumerate(stimulus_ids(table.columns[1:], table.file))
    }
    return stimuli, table.numbers(table.columns[1:])[:, [place[stimulus] for stimulus in stimuli]]


def read_stimuli_column(table: TextTable) -> tuple[str, ...]:
    """Stimuli of the first column, each once; InputError where one is there twice."""
    return names_given([row[0] for row in table.rows], table.file)
