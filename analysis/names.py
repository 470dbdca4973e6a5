"""Names that tables of results can hold without being read back as missing values."""

from collections.abc import Iterable
from pathlib import Path

from bids_config.errors import InputError

READ_AS_MISSING = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
"""Cells that `pandas.read_csv` takes for missing values by default."""


def require_names(names: Iterable[str], what: str, source: Path | str) -> None:
    """Check that tables can tell names from missing values.

    Parameters
    ----------
    names : iterable of str
    what : str
        What is called so, for the message.
    source : Path or str
        Where the names come from, for the message.

    Raises
    ------
    InputError
        On a name that is empty or that tables are read with as a missing value.
    """
    for name in names:
        if name.strip() in READ_AS_MISSING:
            raise InputError(
                f"{source} holds a {what} called {name!r}, which tables of results cannot tell "
                "from a missing value: give it another name"
            )
