"""Names that tables of results can hold without being read back as missing values."""

import re
from collections.abc import Iterable
from pathlib import Path

from bids_config.errors import InputError
from bids_config.names import READ_AS_MISSING, in_quotes, require_distinguishable

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def require_names(names: Iterable[str], what: str, source: Path | str) -> None:
    """Check that tables can tell names from missing values, and people one name from another.

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
        On a name that is empty, that tables are read with as a missing value, that stands in
        quotes or holds a control character, and on two that look the same.
    """
    names = tuple(names)
    require_distinguishable(dict.fromkeys(names), what, source)
    for name in names:
        if _CONTROL.search(name) or in_quotes([name]):
            raise InputError(
                f"{source} holds a {what} called {name!r}: write it without quotes round it and "
                "without control characters"
            )
        if name.strip() in READ_AS_MISSING:
            raise InputError(
                f"{source} holds a {what} called {name!r}, which tables of results cannot tell "
                "from a missing value: give it another name"
            )
