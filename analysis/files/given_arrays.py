"""Arrays and names that a user's own program gives: lists, NumPy, pandas."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.names import require_distinct, require_names, stimulus_ids


def names_given(names: Iterable[Any], source: str | Path) -> tuple[str, ...]:
    """Give names of stimuli, each once; whole numbers are taken as their digits.

    Parameters
    ----------
    names : iterable of str
        Names, or those of picture files.
    source : str or Path
        What they are of, for messages.

    Raises
    ------
    InputError
        On a single text in place of a sequence, a name that is empty or missing, or one twice.
    """
    if isinstance(names, str):
        raise InputError(f"the stimuli of {source} are the text {names!r}: give a list of names")
    ids = stimulus_ids([str(name) for name in names], source)
    require_names(ids, "stimulus", source)
    require_distinct(ids, f"the stimuli of {source} include")
    return ids


def rows_given(values: Any, stimuli: tuple[str, ...], source: str) -> NDArray[np.floating[Any]]:
    """Give an array whose rows are in the order of the stimuli.

    Parameters
    ----------
    values : array_like or DataFrame
        A table's rows are found by its index, if that names the stimuli; masked values are NaN.
    stimuli : tuple of str
    source : str
        What it is, for messages.

    Raises
    ------
    InputError
        On values that are no numbers, or an index of other stimuli.
    """
    index = getattr(values, "index", None)
    if index is not None and hasattr(values, "iloc") and list(index) != list(range(len(index))):
        rows = {name: row for row, name in enumerate(names_given(index, source))}
        if set(rows) != set(stimuli):
            raise InputError(f"the index of {source} names other stimuli: reset it, or give these")
        values = values.iloc[[rows[name] for name in stimuli]]
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(np.float64), np.nan)
    try:
        array = np.asarray(values)
        if not np.issubdtype(array.dtype, np.floating):
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source} are not numbers ({error}): give an array") from error
    return array
