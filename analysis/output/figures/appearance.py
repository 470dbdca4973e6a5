"""How figures look: in the report, in a paper, on slides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Sort = Literal["table", "score"]

MM_PER_INCH = 25.4

SANS_SERIF = ("Arial", "Helvetica", "Liberation Sans")
"""What journals ask for; where none is installed, letters are DejaVu Sans."""


@dataclass(frozen=True)
class Appearance:
    """How a figure looks, and what it shows of a result.

    Attributes
    ----------
    label_size : float
        Points of the labels of axes; everything else has its size in proportion to it.
    width : float or None
        Inches of the figure; None: as wide as its panels need.
    with_words : bool
        Whether heading and notes are in the figure; else they are its caption.
    fonts : tuple of str
        Families of the letters, the first that is installed; none: DejaVu Sans, as outlines.
    palette : sequence of str, or mapping of str to str
        Colours of the groups in their order, or by their names.
    sort : {'table', 'score'}
        Order of the models: as in the tables, group by group, or by their mean score.
    models : tuple of str
        Those that are shown where single models are; none: all.
    regions : tuple of str
        Those that are shown; none: all, or of very many those of the highest noise ceiling.
    """

    label_size: float = 9.0
    width: float | None = None
    with_words: bool = True
    fonts: tuple[str, ...] = ()
    palette: Sequence[str] | Mapping[str, str] = field(default=())
    sort: Sort = "table"
    models: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


IN_REPORT = Appearance()

APPEARANCES = {
    "paper": Appearance(7.0, 180 / MM_PER_INCH, with_words=False, fonts=SANS_SERIF),
    "slides": Appearance(16.0, 330 / MM_PER_INCH, with_words=False, fonts=SANS_SERIF),
    "report": IN_REPORT,
}
"""By name: two columns of a journal, a slide of 16:9, and the figures of a comparison's report."""
