"""The two ways in which a run can end short, and how mistakes in the input are told at once."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_PARTICULAR = re.compile(r"'[^']*'|\S*/\S*|(?:sub|ses|task)-\S+|\d+(?:\.\d+)?")
"""Parts in which sentences of one kind differ: names of files, values, numbers."""
_PARTICIPANT = re.compile(r"sub-[0-9a-zA-Z+]+")
N_NAMED = 3


class InputError(Exception):
    """Wrong input; the message is one sentence with the file and the remedy.

    The command line prints it without a traceback and ends with exit code 2.

    Examples
    --------
    >>> import conceptrsa as crsa
    >>> try:
    ...     crsa.read_betas("no-such-folder")
    ... except crsa.InputError as error:
    ...     print(error)
    no-such-folder ...
    """


@contextmanager
def told_of(place: object) -> Iterator[None]:
    """Begin the message of an `InputError` of the block with the place that it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


class StepError(Exception):
    """A step did not do its work; the message says which and what to do.

    The subject it belongs to fails (exit code 1); the others go on.
    """


class Problems:
    """Collects the sentences of `InputError`.

    Parameters
    ----------
    stop_at_first : bool
        Let the first error through instead of collecting it.
    """

    def __init__(self, stop_at_first: bool = False) -> None:
        self.found: list[str] = []
        self._stop_at_first = stop_at_first

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note an `InputError` of the block, the rest of which is skipped."""
        try:
            yield
        except InputError as error:
            if self._stop_at_first:
                raise
            if str(error) not in self.found:  # a shared sidecar is at fault once, not per run
                self.found.append(str(error))


def grouped(sentences: Sequence[str]) -> list[str]:
    """Say equal problems once, with their number, the participants they are of, and the first."""
    kinds: dict[str, list[str]] = {}
    for sentence in sentences:
        kinds.setdefault(_PARTICULAR.sub("#", sentence), []).append(sentence)
    return [_in_one(alike) if len(alike) > 1 else alike[0] for alike in kinds.values()]


def _in_one(alike: Sequence[str]) -> str:
    found = (_PARTICIPANT.search(sentence) for sentence in alike)
    participants = list(dict.fromkeys(match[0] for match in found if match))
    named = ", ".join(participants[:N_NAMED])
    if len(participants) > N_NAMED:
        named += f" and {len(participants) - N_NAMED} more participants"
    return f"{len(alike)} alike{f' ({named})' if named else ''}, the first: {alike[0]}"
