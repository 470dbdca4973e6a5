"""Going on after a mistake in the input, so that all of them can be told at once."""

from collections.abc import Iterator
from contextlib import contextmanager

from bids_config.errors import InputError


class Problems:
    """Collects the sentences of `InputError`.

    Parameters
    ----------
    stop_at_first : bool
        Let the first error through instead of collecting it.
    """

    def __init__(self, stop_at_first: bool) -> None:
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
