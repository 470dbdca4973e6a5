"""Small pictures of stimuli inside a page, as many bytes as a page may spend on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from conceptrsa.analysis.files.pictures import load_thumbnail
from conceptrsa.analysis.output.report.rendering import data_address
from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import map_on_threads

BUDGET = 1_000_000
"""Characters that the thumbnails of a page may take in all."""

SIZES = ((96, 70), (64, 60), (48, 50), (32, 40))
"""Longer side in pixels and quality of WebP, the first that is within the budget being taken; the
page shows them 48 wide, so that the first is sharp on every screen."""

N_TRIED = 40
"""So many pictures tell how many bytes all will take."""


@dataclass(frozen=True)
class Thumbnails:
    """Pictures of stimuli as `data:` addresses.

    Attributes
    ----------
    addresses : tuple of str
        In the order of the stimuli, empty where there is no picture that can be read; none at all
        where there are none, or they are too many.
    unreadable : tuple of Path
        Files that could not be read.
    too_many : bool
        Whether pictures were left out because they would take more than the budget.
    """

    addresses: tuple[str, ...] = ()
    unreadable: tuple[Path, ...] = ()
    too_many: bool = False


def make_thumbnails(files: Sequence[Path | None], budget: int = BUDGET) -> Thumbnails:
    """Make thumbnails as large as the budget allows.

    Parameters
    ----------
    files : sequence of (Path or None)
        A picture a stimulus, or None where there is none.
    budget : int
        Characters that all addresses may take.
    """
    there = [file for file in files if file is not None]
    if not there:
        return Thumbnails()
    tried = [there[place] for place in np.linspace(0, len(there) - 1, N_TRIED).astype(int)]
    for side, quality in SIZES:
        if _total(_encoded(tried, side, quality)) / len(tried) * len(there) > 1.1 * budget:
            continue
        addresses = _encoded(files, side, quality)
        if _total(addresses) <= budget:
            unreadable = [
                file
                for file, address in zip(files, addresses, strict=True)
                if file is not None and not address
            ]
            return Thumbnails(tuple(addresses) if any(addresses) else (), tuple(unreadable))
    return Thumbnails(too_many=True)


def _total(addresses: Sequence[str]) -> int:
    return sum(map(len, addresses))


def _encoded(files: Sequence[Path | None], side: int, quality: int) -> list[str]:
    def encode(file: Path | None) -> str:
        if file is None:
            return ""
        try:
            picture = load_thumbnail(file, side)
        except InputError:
            return ""
        content = BytesIO()
        picture.save(content, "WEBP", quality=quality, method=6)
        return data_address(content.getvalue(), ".webp")

    return map_on_threads(encode, files)
